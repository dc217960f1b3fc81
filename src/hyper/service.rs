//! [`LiveService`], the outermost layer of an application.

use std::{
    fmt,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::Body;
use http_types as http;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    body::{RequestBody, ResponseBody},
    bridge::Bridge,
    connection::{Connection, Incoming, Outcome, failed},
    lent::Lent,
};
use crate::engine::Handle;

/// An application whose handlers can answer from a reactor: the outermost of its layers, around a
/// tower service.
///
/// Without [`on`](Self::on) no connection can be handed over, and all streams come through socket
/// pairs. That is right for TLS, and for tests that call the service. Their clients have no address
/// then: none is limited by it, and forwarding fields are ignored.
///
/// ```
/// use starwheel::{Handle, hyper::LiveService};
/// fn wrap<A>(app: A, live: Handle) -> LiveService<A> {
///     LiveService::new(app, live)
/// }
/// ```
#[derive(Clone)]
pub struct LiveService<A> {
    app: A,
    connection: Connection,
}

impl<A> LiveService<A> {
    /// The application, and the reactor that serves its streams.
    #[must_use]
    pub fn new(app: A, live: Handle) -> Self {
        Self { app, connection: Connection::new(live) }
    }

    /// The same application for the requests of one connection, whose socket can be taken. `peer` is
    /// the client's address for handlers and the limits of the reactor. With `None` it is the address
    /// that the system reports for a socket that is taken, and otherwise [`Peer::Unix`](crate::Peer).
    #[must_use]
    pub fn on<S: Send + 'static>(self, lent: &Lent<S>, peer: Option<SocketAddr>) -> Self {
        let connection = self.connection.on(lent, peer);
        Self { connection, ..self }
    }
}

impl<A, B, R> Service<http::Request<B>> for LiveService<A>
where
    A: Service<http::Request<RequestBody<B>>, Response = http::Response<R>>,
    B: Body,
{
    type Response = http::Response<ResponseBody<R>>;
    type Error = A::Error;
    type Future = LiveFuture<A::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), A::Error>> {
        self.app.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let (body, progress) = RequestBody::new(body);
        let incoming = self.connection.incoming(&parts, progress);
        let mut request = http::Request::from_parts(parts, body);
        request.extensions_mut().insert(incoming.clone());
        LiveFuture { state: State::App { response: self.app.call(request) }, incoming }
    }
}

impl<A: fmt::Debug> fmt::Debug for LiveService<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveService").field("app", &self.app).finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of a response of [`LiveService`].
    #[project = LiveFutureProject]
    pub struct LiveFuture<F> {
        #[pin]
        state: State<F>,
        incoming: Incoming,
    }
}

pin_project! {
    #[project = StateProject]
    enum State<F> {
        App { #[pin] response: F },
        Bridged { bridge: Option<Bridge> },
    }
}

impl<F, R, E> Future for LiveFuture<F>
where
    F: Future<Output = Result<http::Response<R>, E>>,
{
    type Output = Result<http::Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let LiveFutureProject { mut state, incoming } = self.project();
        if let StateProject::App { response } = state.as_mut().project() {
            let response = ready!(response.poll(cx))?;
            match incoming.finish(response) {
                Outcome::Ready(response) => {
                    incoming.response_begins();
                    return Poll::Ready(Ok(response));
                }
                Outcome::Bridged(bridge) => state.set(State::Bridged { bridge: Some(bridge) }),
            }
        }
        let StateProject::Bridged { bridge } = state.project() else { return Poll::Pending };
        let Some(waiting) = bridge else { return Poll::Pending };
        let head = ready!(waiting.poll_head(cx));
        incoming.response_begins();
        Poll::Ready(Ok(match (head, bridge.take()) {
            (Ok(head), Some(bridge)) => head.map(|()| ResponseBody::bridge(bridge)),
            (head, _) => {
                log::warn!("the reactor did not answer: {:?}", head.err());
                failed(http::StatusCode::SERVICE_UNAVAILABLE)
            }
        }))
    }
}

impl<F> fmt::Debug for LiveFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LiveFuture")
    }
}
