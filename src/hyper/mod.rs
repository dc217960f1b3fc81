//! Streams in a server that is built on hyper, on its port. Feature `hyper`.
//!
//! The server accepts, parses and routes as before. A handler answers with [`Live::answer`]. When all
//! layers have run, the connection leaves the server: its socket moves to a reactor, and neither a
//! task nor a buffer of tokio is left. For axum, use `starwheel::axum` instead.
//!
//! ```
//! # use {bytes::Bytes, http_body_util::Full};
//! use hyper::{Request, Response, body::Incoming, server::conn::http1};
//! use hyper_util::{rt::TokioIo, service::TowerToHyperService};
//! use starwheel::{Handle, Sse, hyper::{Lent, Live, LiveService, RequestBody}};
//! use std::convert::Infallible;
//! use tower::service_fn;
//!
//! async fn handle(
//!     request: Request<RequestBody<Incoming>>,
//! ) -> Result<Response<Full<Bytes>>, Infallible> {
//!     let (parts, _body) = request.into_parts();
//!     Ok(match Live::from_parts(&parts) {
//!         Ok(live) => live.answer(|_req, _cx| Sse::new().send("hello")).into(),
//!         Err(error) => Response::<String>::from(error).map(Into::into),
//!     })
//! }
//!
//! async fn accept(listener: tokio::net::TcpListener, live: Handle) -> std::io::Result<()> {
//!     loop {
//!         let (stream, peer) = listener.accept().await?;
//!         let stream = Lent::new(stream);
//!         let service = LiveService::new(service_fn(handle), live.clone()).on(&stream, Some(peer));
//!         let service = TowerToHyperService::new(service);
//!         tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
//!     }
//! }
//! ```
//!
//! # What cannot be handed over
//! HTTP/2 and TLS connections, and requests whose body was not read to its end. There the stream
//! comes from the reactor through a Unix socket pair and becomes the body of the response. The
//! application does not see the difference. Such a stream costs two more descriptors, and what the
//! server needs for a response that stays open.
//!
//! # Rules
//! - Layers run before the hand-over. Header fields that they add to the response are sent with the
//!   stream, except those of framing, `Content-Type`, `Content-Encoding`, and values that are not
//!   UTF-8. Responses with which the reactor refuses a client (429, 503) do not have them. A layer that
//!   changes the status replaces the answer: the closure is dropped.
//! - An answer belongs to its request. Returned for another one, from a cache for example, it is a 500.
//! - The closure gets the target that the handler gets. A nested router of axum has removed its prefix.
//! - The answer says `Connection: close`. Requests that a client has pipelined after it are dropped,
//!   as RFC 9112 section 9.3.2 prepares clients for.
//! - Do not set hyper's `pipeline_flush`. It keeps bytes of a response where nobody sees them, and the
//!   stream may come before them.
//! - [`Config::hosts`](crate::Config::hosts) and the limits of requests are the server's affair. The
//!   limits of connections and streams are the reactor's, and its drain ends these streams.

mod body;
mod bridge;
mod connection;
mod lent;
mod live;
mod service;

pub use self::{
    body::{RequestBody, ResponseBody},
    lent::Lent,
    live::{Live, LiveAnswer, LiveError},
    service::{LiveFuture, LiveService},
};
