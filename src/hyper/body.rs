//! The bodies of requests and responses.

use std::{
    error::Error,
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::bridge::Bridge;

type BoxError = Box<dyn Error + Send + Sync>;

pin_project! {
    /// The body of a request, which remembers whether it was read to its end.
    ///
    /// ```
    /// # use {http_body::Body, http_types::Request, starwheel::hyper::RequestBody};
    /// /// A handler treats it as any other body.
    /// fn length(request: &Request<RequestBody<String>>) -> Option<u64> {
    ///     request.body().size_hint().exact()
    /// }
    /// ```
    pub struct RequestBody<B> {
        #[pin]
        body: B,
        progress: BodyProgress,
    }
}

/// Whether the body of a request was read to its end.
#[derive(Debug, Clone, Default)]
pub(super) struct BodyProgress(
    /// `None` for an empty body.
    Option<Arc<AtomicBool>>,
);

impl<B: Body> RequestBody<B> {
    pub(super) fn new(body: B) -> (Self, BodyProgress) {
        let is_read = (!body.is_end_stream()).then(Arc::default);
        let progress = BodyProgress(is_read);
        (Self { body, progress: progress.clone() }, progress)
    }
}

impl BodyProgress {
    pub(super) fn is_read(&self) -> bool {
        self.0.as_ref().is_none_or(|is_read| is_read.load(Ordering::Relaxed))
    }

    fn ended(&self) {
        if let Some(is_read) = &self.0 {
            is_read.store(true, Ordering::Relaxed);
        }
    }
}

impl<B: Body> Body for RequestBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        // Readers that know the length do not ask for the end.
        if frame.is_none() || this.body.is_end_stream() {
            this.progress.ended();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> fmt::Debug for RequestBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").field("is_read", &self.progress.is_read()).finish()
    }
}

pin_project! {
    /// The body of a response: that of the application, or a stream from the reactor.
    ///
    /// ```
    /// # use {http_body::Body, starwheel::hyper::ResponseBody};
    /// fn is_for_hyper<B: Body>(_body: &B) {}
    /// fn check(body: &ResponseBody<String>) {
    ///     is_for_hyper(body);
    /// }
    /// ```
    pub struct ResponseBody<B> {
        #[pin]
        body: Source<B>,
    }
}

pin_project! {
    #[project = SourceProject]
    enum Source<B> {
        App { #[pin] body: B },
        Bridge { bridge: Bridge },
        Empty,
    }
}

impl<B> ResponseBody<B> {
    pub(super) fn app(body: B) -> Self {
        Self { body: Source::App { body } }
    }

    pub(super) fn bridge(bridge: Bridge) -> Self {
        Self { body: Source::Bridge { bridge } }
    }

    pub(super) fn empty() -> Self {
        Self { body: Source::Empty }
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project().body.project() {
            SourceProject::App { body } => body.poll_frame(cx).map(|frame| {
                let frame = frame?.map_err(Into::into);
                Some(frame.map(|it| it.map_data(|mut data| data.copy_to_bytes(data.remaining()))))
            }),
            SourceProject::Bridge { bridge } => {
                let data = ready!(bridge.poll_data(cx));
                Poll::Ready(data.map(|data| data.map(Frame::data).map_err(Into::into)))
            }
            SourceProject::Empty => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Source::App { body } => body.is_end_stream(),
            Source::Bridge { bridge } => bridge.is_complete(),
            Source::Empty => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Source::App { body } => body.size_hint(),
            Source::Bridge { bridge } => {
                bridge.remaining_bytes().map_or_else(SizeHint::default, SizeHint::with_exact)
            }
            Source::Empty => SizeHint::with_exact(0),
        }
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseBody")
    }
}
