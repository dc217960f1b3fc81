//! [`Live`], with which a handler answers from the reactor.

use std::{error::Error, fmt};

use http_types as http;

use super::connection::{Connection, Incoming, Pending, TakeOver};
use crate::{
    engine::{Answer, Context, Handle},
    http::{FromHttpError, Request},
};

/// A request that can be answered from the reactor: with a stream, a [`Response`](crate::Response) or
/// a promise of either. In axum it is an extractor.
///
/// ```
/// use starwheel::{Sse, Topic, hyper::{Live, LiveAnswer}};
/// /// What the application has found out travels in the closure.
/// fn watch(live: Live, user: String, news: Topic) -> LiveAnswer {
///     live.answer(move |_req, _cx| Sse::new().tag(&*user).subscribe(&news))
/// }
/// ```
pub struct Live {
    incoming: Incoming,
    request: Request,
}

impl Live {
    /// From the head of a request that came through a [`LiveService`](super::LiveService). Copies the
    /// head.
    ///
    /// ```
    /// use {http_types::Request, starwheel::hyper::{Live, LiveError}};
    /// let (parts, _body) = Request::new(()).into_parts();
    /// assert!(matches!(Live::from_parts(&parts), Err(LiveError::NoService))); // It did not.
    /// ```
    ///
    /// # Errors
    /// [`LiveError::NoService`] without that service, [`LiveError::Request`] for a method that is not
    /// served and for a target or host that the reactor would refuse.
    pub fn from_parts(parts: &http::request::Parts) -> Result<Self, LiveError> {
        let incoming = parts.extensions.get::<Incoming>().ok_or(LiveError::NoService)?.clone();
        let mut request = Request::try_from(parts).map_err(LiveError::Request)?;
        incoming.restore_framing(&mut request);
        Ok(Self { incoming, request })
    }

    /// Answers with what `answer` returns, which is what a [`Handler`](crate::Handler) may return. It
    /// runs on the reactor's thread once all layers have run.
    ///
    /// The request that it gets has no body; read that in the application. Its client address is that
    /// of the connection, or of a forwarding field if the peer is
    /// [trusted](crate::Config::trusted_proxies).
    ///
    /// If the reactor's queue is full, or the reactor has stopped, the client gets a 503 instead.
    ///
    /// ```
    /// use starwheel::{Response, hyper::{Live, LiveAnswer}};
    /// fn streams(live: Live) -> LiveAnswer {
    ///     live.answer(|_req, cx| Response::text(cx.streams().count().to_string()))
    /// }
    /// ```
    pub fn answer<F, R>(self, answer: F) -> LiveAnswer
    where
        F: FnOnce(&mut Request, &mut Context<'_>) -> R + Send + 'static,
        R: Into<Answer>,
    {
        let answer =
            Box::new(move |request: &mut Request, cx: &mut Context<'_>| answer(request, cx).into());
        let Self { incoming, request } = self;
        LiveAnswer(TakeOver { incoming, request, answer })
    }

    /// The reactor, to publish to its streams.
    ///
    /// ```
    /// use starwheel::{Topic, hyper::Live};
    /// fn say(live: &Live, news: &Topic) -> bool {
    ///     live.handle().publish(news, "hello").is_ok()
    /// }
    /// ```
    #[must_use]
    pub fn handle(&self) -> &Handle {
        self.connection().live()
    }

    /// The request has matched this pattern.
    #[cfg(feature = "axum")]
    pub(crate) fn set_route(&mut self, pattern: &str) {
        self.request.set_route(pattern);
    }

    fn connection(&self) -> &Connection {
        &self.incoming.connection
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("request", &self.request).finish_non_exhaustive()
    }
}

/// An answer that the reactor gives; from [`Live::answer`]. Return it from the handler: as it is in
/// axum, converted into an `http::Response` elsewhere.
///
/// The response that layers see has status 200, the media type of an event stream, and no body.
///
/// ```
/// use {http_types::Response, starwheel::hyper::LiveAnswer};
/// fn response(answer: LiveAnswer) -> Response<String> {
///     answer.into()
/// }
/// ```
#[must_use = "it answers only when it is returned"]
pub struct LiveAnswer(TakeOver);

impl<B: Default> From<LiveAnswer> for http::Response<B> {
    fn from(answer: LiveAnswer) -> Self {
        let mut response = Self::new(B::default());
        // Layers that compress leave event streams alone.
        let media_type = http::HeaderValue::from_static("text/event-stream");
        response.headers_mut().insert(http::header::CONTENT_TYPE, media_type);
        response.extensions_mut().insert(Pending::new(answer.0));
        response
    }
}

impl fmt::Debug for LiveAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LiveAnswer").field(&self.0.request).finish()
    }
}

/// Why a request cannot be answered from the reactor. Converted into a response it is a 500, or the
/// status of the refusal.
///
/// ```
/// use {http_types::Response, starwheel::hyper::LiveError};
/// assert_eq!(Response::<String>::from(LiveError::NoService).status(), 500);
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum LiveError {
    /// The request did not come through a [`LiveService`](super::LiveService). In axum: the
    /// application is served by `axum::serve` instead of `starwheel::axum::serve`.
    NoService,
    /// The reactor does not serve such a request.
    Request(FromHttpError),
}

impl fmt::Display for LiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoService => f.write_str(
                "the request did not come through a LiveService; serve the application with \
                 starwheel::axum::serve or wrap it in LiveService::new",
            ),
            Self::Request(error) => error.fmt(f),
        }
    }
}

impl Error for LiveError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NoService => None,
            Self::Request(error) => Some(error),
        }
    }
}

impl<B: From<String>> From<LiveError> for http::Response<B> {
    fn from(error: LiveError) -> Self {
        let (status, text) = match &error {
            // The text names no secret, and without a logger nobody would know what is missing.
            LiveError::NoService => {
                log::error!("{error}");
                (http::StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
            }
            LiveError::Request(FromHttpError::Request(refusal)) => {
                (refusal.status().into(), error.to_string())
            }
            // As for a client of the reactor. 405 is about the target.
            LiveError::Request(_) => (http::StatusCode::NOT_IMPLEMENTED, error.to_string()),
        };
        let mut response = Self::new(text.into());
        *response.status_mut() = status;
        response
    }
}
