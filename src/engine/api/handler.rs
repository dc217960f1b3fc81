//! [`Handler`], which answers requests, and [`Answer`], which it returns.

use crate::engine::{api::context::Context, api::sse::Sse, later::Later};
use crate::{
    http::{Asset, HeaderLines, Request, Response},
    sse::EventError,
};

/// Answers requests. Implemented by closures `|request: &Request, cx: &mut Context<'_>|` and by
/// [`Router`](crate::Router).
///
/// Handlers run on the reactor thread and must not block: all other streams wait until they return.
/// Do slow work on another thread, which answers [later](crate::Context::later), or passes the result
/// back through a [`Handle`](crate::Handle).
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

/// Answers every request with the same bytes, for [`Router::handler`](crate::Router::handler).
impl Handler for Asset {
    fn handle(&mut self, _request: &mut Request, _cx: &mut Context<'_>) -> Answer {
        Response::from(&*self).into()
    }
}

/// What a handler returns: a complete [`Response`], an [`Sse`] stream, or the promise of either,
/// [`Later`].
///
/// Handlers may return anything that converts into it, including a `Result` whose error is a
/// [`Response`], so that `?` can return an error response early.
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
    /// A complete response.
    Response(Response),
    /// A stream of events; boxed, because it carries the closures.
    Sse(Box<Sse>),
    /// The answer comes later, from another thread.
    Later(Later),
}

impl Answer {
    /// Adds a header field to any kind of answer; see [`Response::header`] and [`Sse::header`].
    /// For layers around other handlers. If the answer comes [later](Self::Later) and then has the
    /// field itself, its own value counts; fields that may repeat, such as `Set-Cookie`, `Vary` and
    /// `Content-Security-Policy`, are sent as well. A `Content-Type` for it is ignored.
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
            // The answer that comes knows its own media type.
            Self::Later(later) if name.eq_ignore_ascii_case("Content-Type") => Self::Later(later),
            Self::Later(mut later) => {
                later.header_lines.push(name, value);
                Self::Later(later)
            }
        }
    }

    /// Adds what earlier layers have set, as [`with_header`](Self::with_header) does for a promise.
    pub(crate) fn with_missing_lines(self, lines: &HeaderLines) -> Self {
        match self {
            Self::Response(response) => Self::Response(response.with_missing_lines(lines)),
            Self::Sse(mut sse) => {
                sse.header_lines.append_missing(lines);
                Self::Sse(sse)
            }
            Self::Later(mut later) => {
                later.header_lines.append_missing(lines);
                Self::Later(later)
            }
        }
    }

    /// The first value of a header field set so far. Names are case-insensitive.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        match self {
            Self::Response(response) => response.header(name),
            Self::Sse(sse) => sse.header_lines.value(name),
            Self::Later(later) => later.header_lines.value(name),
        }
    }
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self::Response(response)
    }
}

impl From<Asset> for Answer {
    fn from(asset: Asset) -> Self {
        Self::Response(asset.into())
    }
}

impl From<Sse> for Answer {
    fn from(sse: Sse) -> Self {
        Self::Sse(Box::new(sse))
    }
}

impl From<Later> for Answer {
    fn from(later: Later) -> Self {
        Self::Later(later)
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

/// Becomes a 500 whose reason is logged, because event names and ids are usually the server's own.
/// For a name or id made from client input, return [`Response::error`] with status 400.
impl From<EventError> for Response {
    fn from(error: EventError) -> Self {
        Self::failed(&error)
    }
}

/// Both sides of a `Result` are responses to be sent, for [`Responder::answer`](crate::Responder).
impl<T: Into<Self>> From<Result<T, Self>> for Response {
    fn from(result: Result<T, Self>) -> Self {
        result.map_or_else(|error| error, Into::into)
    }
}
