//! [`Handler`]: what answers requests, and [`Answer`]: what it answers.

use crate::engine::{api::context::Context, api::sse::Sse};
use crate::{
    http::{Request, Response},
    sse::EventError,
};

/// Answers requests. A closure `|request: &Request, cx: &mut Context<'_>|` is one, and so is
/// [`Router`](crate::Router).
///
/// Handlers run on the reactor thread and hold up everybody else until they return: they must not
/// block. Slow work belongs on another thread, which hands its result back through
/// [`Handle`](crate::Handle).
///
/// ```no_run
/// use starwheel::{Context, Reactor, Response, Request};
///
/// let mut reactor = Reactor::new(|request: &Request, _cx: &mut Context<'_>| match request.path() {
///     "/health" => Response::text("ok"),
///     _ => Response::not_found(),
/// })?;
/// reactor.listen("127.0.0.1:0")?;
/// reactor.run()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Handler {
    /// Answers one request. `request` is mutable so that a router or a layer around another
    /// handler can leave something in it: path parameters, or a value of your own, as
    /// [`Extensions`](crate::Extensions) shows.
    fn handle(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Answer;
}

impl<F, R> Handler for F
where
    F: FnMut(&Request, &mut Context<'_>) -> R,
    R: Into<Answer>,
{
    fn handle(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Answer {
        self(request, cx).into()
    }
}

/// An answer: a [`Response`] that is complete, or an [`Sse`] stream.
///
/// Handlers return anything that turns into one, a `Result` whose error is a [`Response`] included,
/// so that `?` answers with the reason.
///
/// ```
/// use starwheel::{Context, Response, Request, Answer, Sse};
/// fn either(request: &Request, _cx: &mut Context<'_>) -> Answer {
///     match request.query_value("wait") {
///         Some(_) => Sse::new().send("wait for it").into(),
///         None => Response::text("done").into(),
///     }
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Answer {
    /// A complete answer.
    Response(Response),
    /// A stream of events; boxed, because it carries the closures.
    Sse(Box<Sse>),
}

impl Answer {
    /// Adds a header field, whichever answer it is; see [`Response::header`] and [`Sse::header`]. For
    /// layers around other handlers.
    ///
    /// ```
    /// use starwheel::{Answer, Sse};
    /// let response = Answer::from(Sse::new()).with_header("X-Frame-Options", "DENY");
    /// assert_eq!(response.header("x-frame-options"), Some("DENY"));
    /// ```
    #[must_use]
    pub fn with_header(self, name: &str, value: &str) -> Self {
        match self {
            Self::Response(response) => Self::Response(response.with_header(name, value)),
            Self::Sse(mut sse) => {
                sse.header_lines.push(name, value);
                Self::Sse(sse)
            }
        }
    }

    /// The first value of a header field that was set so far, in any case of its name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        match self {
            Self::Response(response) => response.header(name),
            Self::Sse(sse) => sse.header_lines.value(name),
        }
    }
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self::Response(response)
    }
}

impl From<Sse> for Answer {
    fn from(sse: Sse) -> Self {
        Self::Sse(Box::new(sse))
    }
}

// One concrete error type, so that `?` in a closure needs no annotation.
impl<T: Into<Self>> From<Result<T, Response>> for Answer {
    fn from(result: Result<T, Response>) -> Self {
        match result {
            Ok(answer) => answer.into(),
            Err(response) => response.into(),
        }
    }
}

/// 500, the reason is logged: names and ids of events are the server's own. Where one is made from
/// what the client sent, answer with [`Response::error`] and status 400.
impl From<EventError> for Response {
    fn from(error: EventError) -> Self {
        Self::failed(&error)
    }
}
