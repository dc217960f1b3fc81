//! Streams in an axum application, on its port. Feature `axum`.
//!
//! ```
//! use axum::{Router, routing::get};
//! use starwheel::{Reactor, Sse, axum::{Live, LiveAnswer}};
//! use std::time::Duration;
//!
//! async fn count(live: Live) -> LiveAnswer {
//!     live.answer(|_req, _cx| {
//!         let mut count = 0;
//!         Sse::every(Duration::from_secs(1), move |stream| {
//!             count += 1;
//!             stream.send(count.to_string());
//!         })
//!     })
//! }
//!
//! # async fn run() -> std::io::Result<()> {
//! let app = Router::new().route("/count", get(count));
//! let live = Reactor::spawn("live", starwheel::Router::new)?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! starwheel::axum::serve(listener, app, live.handle()).await
//! # }
//! # let _not_run = run();
//! ```
//!
//! Extractors, state, middleware and cookies work as before: they run before the hand-over. Other
//! routes do not change. [`starwheel::hyper`](crate::hyper) says what happens to the connection, and
//! what cannot be handed over.
//!
//! # Shutdown
//! Streams that were handed over are no longer axum's, so its graceful shutdown does not wait for
//! them. Drain the reactor when the signal comes; clients then reconnect to the next process, spread
//! over the time given:
//!
//! ```
//! # use {axum::Router, starwheel::{Reactor, Spawned}, std::time::Duration};
//! # async fn run(listener: tokio::net::TcpListener, app: Router, live: Spawned) -> std::io::Result<()> {
//! # async fn signal() {}
//! let handle = live.handle();
//! starwheel::axum::serve(listener, app, live.handle())
//!     .with_graceful_shutdown(async move {
//!         signal().await;
//!         handle.drain(Duration::from_secs(10));
//!     })
//!     .await?;
//! live.join()
//! # }
//! ```
//!
//! # HTTPS and other servers
//! Wrap the application in [`LiveService`] where a server takes a tower
//! service instead of a listener, such as `axum-server`. Its streams come through socket pairs.

use std::{
    any::Any,
    convert::Infallible,
    fmt,
    future::{Future, Ready, ready},
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready as poll_ready},
};

use ::axum::{
    body::Body,
    extract::{ConnectInfo, FromRequestParts, MatchedPath, Request},
    response::{IntoResponse, Response},
    serve::{IncomingStream, Listener, Serve},
};
use http_types::request::Parts;
use pin_project_lite::pin_project;
use tower_service::Service;

pub use crate::hyper::{Live, LiveAnswer, LiveError};
use crate::{
    engine::Handle,
    hyper::{Lent, LiveFuture, LiveService, RequestBody},
};

/// As `axum::serve`, for an application whose handlers can answer from a reactor. `live` is that
/// reactor, often from [`Reactor::spawn`](crate::Reactor::spawn).
///
/// `listener` is a `tokio::net::TcpListener` or `UnixListener`, or a listener of your own; a
/// connection is handed over if its type is `TcpStream` or `UnixStream`. Handlers can extract
/// `ConnectInfo<L::Addr>`. It is short for `axum::serve(Lending(listener), LiveApp::new(app, live))`.
///
/// ```
/// # use {axum::Router, starwheel::Handle};
/// async fn serve(app: Router, live: Handle) -> std::io::Result<()> {
///     let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
///     starwheel::axum::serve(listener, app, live).await
/// }
/// ```
pub fn serve<L, A>(
    listener: L,
    app: A,
    live: Handle,
) -> Serve<Lending<L>, LiveApp<A>, OnConnection<A, L::Addr>>
where
    L: Listener,
    L::Addr: fmt::Debug + Clone + Send + Sync + 'static,
    A: Service<Request<RequestBody<Body>>, Response = Response, Error = Infallible>,
    A: Clone + Send + 'static,
    A::Future: Send,
{
    ::axum::serve(Lending(listener), LiveApp::new(app, live))
}

/// A listener whose connections can be taken by handlers.
///
/// ```
/// # use {axum::Router, starwheel::{Handle, axum::{Lending, LiveApp}}};
/// async fn serve(app: Router, live: Handle) -> std::io::Result<()> {
///     let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
///     axum::serve(Lending(listener), LiveApp::new(app, live)).await
/// }
/// ```
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "a wrapper, complete for good")]
pub struct Lending<L>(
    /// The listener that accepts.
    pub L,
);

impl<L: Listener> Listener for Lending<L> {
    type Io = Lent<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = self.0.accept().await;
        (Lent::new(stream), address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

/// An application for [`Lending`] listeners: what `axum::serve` makes the service of a connection
/// with. See [`serve`].
///
/// ```
/// # use {axum::Router, starwheel::{Handle, axum::LiveApp}};
/// fn with_streams(app: Router, live: Handle) -> LiveApp<Router> {
///     LiveApp::new(app, live)
/// }
/// ```
#[derive(Debug, Clone)]
pub struct LiveApp<A> {
    app: A,
    live: Handle,
}

impl<A> LiveApp<A> {
    /// The application, and the reactor that serves its streams.
    #[must_use]
    pub fn new(app: A, live: Handle) -> Self {
        Self { app, live }
    }
}

impl<A, L> Service<IncomingStream<'_, Lending<L>>> for LiveApp<A>
where
    A: Clone,
    L: Listener,
    L::Addr: Clone + Send + Sync + 'static,
{
    type Response = OnConnection<A, L::Addr>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, stream: IncomingStream<'_, Lending<L>>) -> Self::Future {
        let address = stream.remote_addr().clone();
        let peer = (&address as &dyn Any).downcast_ref::<SocketAddr>().copied();
        let service = LiveService::new(self.app.clone(), self.live.clone()).on(stream.io(), peer);
        ready(Ok(OnConnection { service, address }))
    }
}

/// The application on one connection. See [`serve`].
#[derive(Debug, Clone)]
pub struct OnConnection<A, P> {
    service: LiveService<A>,
    address: P,
}

impl<A, P> Service<Request> for OnConnection<A, P>
where
    A: Service<Request<RequestBody<Body>>, Response = Response>,
    P: Clone + Send + Sync + 'static,
{
    type Response = Response;
    type Error = A::Error;
    type Future = ResponseFuture<A::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), A::Error>> {
        Service::<Request>::poll_ready(&mut self.service, cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        request.extensions_mut().insert(ConnectInfo(self.address.clone()));
        ResponseFuture { response: self.service.call(request) }
    }
}

pin_project! {
    /// The future of a response of [`OnConnection`].
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        response: LiveFuture<F>,
    }
}

impl<F, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response, E>>,
{
    type Output = Result<Response, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = poll_ready!(self.project().response.poll(cx))?;
        Poll::Ready(Ok(response.map(Body::new)))
    }
}

/// Works in handlers of an application that [`serve`] or a
/// [`LiveService`](crate::hyper::LiveService) serves. Reads nothing of the body, so an extractor of
/// the body can follow. The path that axum has matched is the route of the request, in
/// [statistics](crate::RouteStats) and logs.
impl<S: Sync> FromRequestParts<S> for Live {
    type Rejection = LiveError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, LiveError> {
        let mut live = Self::from_parts(parts)?;
        if let Some(matched) = parts.extensions.get::<MatchedPath>() {
            live.set_route(matched.as_str());
        }
        Ok(live)
    }
}

impl IntoResponse for LiveAnswer {
    fn into_response(self) -> Response {
        self.into()
    }
}

impl IntoResponse for LiveError {
    fn into_response(self) -> Response {
        self.into()
    }
}
