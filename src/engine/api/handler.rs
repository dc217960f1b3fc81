//! [`Handler`]: what answers requests, and [`Response`]: what it answers.

use crate::engine::{api::context::Context, api::sse::Sse};
use crate::{
    http::{Reply, Request},
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
/// use starwheel::{Context, Reactor, Reply, Request};
///
/// let mut reactor = Reactor::new(|request: &Request, _cx: &mut Context<'_>| match request.path() {
///     "/health" => Reply::text("ok"),
///     _ => Reply::not_found(),
/// })?;
/// reactor.listen("127.0.0.1:0")?;
/// reactor.run()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Handler {
    /// Answers one request. `request` is mutable so that a router or a layer around another
    /// handler can leave something in it, such as path parameters.
    fn handle(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Response;
}

impl<F, R> Handler for F
where
    F: FnMut(&Request, &mut Context<'_>) -> R,
    R: Into<Response>,
{
    fn handle(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Response {
        self(request, cx).into()
    }
}

/// An answer: a [`Reply`] that is complete, or an [`Sse`] stream.
///
/// Handlers return anything that turns into one, a `Result` whose error is a [`Reply`] included,
/// so that `?` answers with the reason.
///
/// ```
/// use starwheel::{Context, Reply, Request, Response, Sse};
/// fn either(request: &Request, _cx: &mut Context<'_>) -> Response {
///     match request.query_value("wait") {
///         Some(_) => Sse::new().send("wait for it").into(),
///         None => Reply::text("done").into(),
///     }
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Response {
    /// A complete answer.
    Reply(Reply),
    /// A stream of events; boxed, because it carries the closures.
    Sse(Box<Sse>),
}

impl Response {
    /// Adds a header field, whichever answer it is; see [`Reply::header`] and [`Sse::header`]. For
    /// layers around other handlers.
    ///
    /// ```
    /// use starwheel::{Response, Sse};
    /// let response = Response::from(Sse::new()).header("X-Frame-Options", "DENY");
    /// assert_eq!(response.header_value("x-frame-options"), Some("DENY"));
    /// ```
    #[must_use]
    pub fn header(self, name: &str, value: &str) -> Self {
        match self {
            Self::Reply(reply) => Self::Reply(reply.header(name, value)),
            Self::Sse(mut sse) => {
                sse.header_lines.push(name, value);
                Self::Sse(sse)
            }
        }
    }

    /// The first value of a header field that was set so far, in any case of its name.
    #[must_use]
    pub fn header_value(&self, name: &str) -> Option<&str> {
        match self {
            Self::Reply(reply) => reply.header_value(name),
            Self::Sse(sse) => sse.header_lines.value(name),
        }
    }
}

impl From<Reply> for Response {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

impl From<Sse> for Response {
    fn from(sse: Sse) -> Self {
        Self::Sse(Box::new(sse))
    }
}

// One concrete error type, so that `?` in a closure needs no annotation.
impl<T: Into<Self>> From<Result<T, Reply>> for Response {
    fn from(result: Result<T, Reply>) -> Self {
        match result {
            Ok(answer) => answer.into(),
            Err(reply) => reply.into(),
        }
    }
}

/// 500, the reason is logged: names and ids of events are the server's own. Where one is made from
/// what the client sent, answer with [`Reply::error`] and status 400.
impl From<EventError> for Reply {
    fn from(error: EventError) -> Self {
        Self::failed(&error)
    }
}
