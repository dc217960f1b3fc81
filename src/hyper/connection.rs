//! What a request needs to know of its connection, and the hand-over.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use http_types as http;

use super::{
    body::{BodyProgress, ResponseBody},
    bridge::Bridge,
    lent::{Lender, Lent, Socket},
};
use crate::{
    engine::{Answer, Context, Handle, TrySendError},
    http::{BodyFollows, HeaderLines, Method, Peer, Request},
};

/// A connection of the server; its requests carry it in their extensions.
#[derive(Clone)]
pub(super) struct Connection(Arc<Shared>);

struct Shared {
    live: Handle,
    /// Weak, because the connection ends when the server drops it, no matter who keeps a request.
    lender: Option<Weak<dyn Lender>>,
    /// `None` if only the system can know it.
    peer: Option<Peer>,
    requests: AtomicU64,
}

/// In the extensions of every request.
#[derive(Clone)]
pub(super) struct Incoming {
    pub(super) connection: Connection,
    /// Its number on the connection.
    number: u64,
    /// As the server has read it, and whether it was a HEAD: layers may change both.
    version: http::Version,
    body_follows: BodyFollows,
    body: BodyProgress,
}

/// In the extensions of the response that stands for an answer while layers run. They have to be
/// `Clone`.
#[derive(Clone)]
pub(super) struct Pending(Arc<Mutex<Option<Box<TakeOver>>>>);

/// An answer that waits until all layers have run.
pub(super) struct TakeOver {
    pub(super) incoming: Incoming,
    pub(super) request: Request,
    pub(super) answer: Box<AnswerFn>,
}

type AnswerFn = dyn FnOnce(&mut Request, &mut Context<'_>) -> Answer + Send;

/// What comes of a response.
pub(super) enum Outcome<B> {
    Ready(http::Response<ResponseBody<B>>),
    /// The reactor's answer comes through this.
    Bridged(Bridge),
}

impl Connection {
    pub(super) fn new(live: Handle) -> Self {
        Self(Arc::new(Shared { live, lender: None, peer: None, requests: AtomicU64::new(0) }))
    }

    pub(super) fn on<S: Send + 'static>(&self, lent: &Lent<S>, peer: Option<SocketAddr>) -> Self {
        let live = self.0.live.clone();
        let peer = peer.map(Peer::Ip).or_else(|| Lent::<S>::is_unix().then_some(Peer::Unix));
        let lender = Some(lent.lender());
        Self(Arc::new(Shared { live, lender, peer, requests: AtomicU64::new(0) }))
    }

    /// A request that comes on it.
    pub(super) fn incoming(&self, head: &http::request::Parts, body: BodyProgress) -> Incoming {
        Incoming {
            connection: self.clone(),
            number: self.0.requests.fetch_add(1, Ordering::Relaxed),
            version: head.version,
            body_follows: match head.method {
                http::Method::HEAD => BodyFollows::No,
                _ => BodyFollows::Yes,
            },
            body,
        }
    }

    pub(super) fn live(&self) -> &Handle {
        &self.0.live
    }
}

impl Incoming {
    pub(super) fn restore_framing(&self, request: &mut Request) {
        request.restore_framing(self.version, self.body_follows);
    }

    /// Its response, when all layers have run.
    pub(super) fn finish<B>(&self, mut response: http::Response<B>) -> Outcome<B> {
        let Some(pending) = response.extensions_mut().remove::<Pending>() else {
            return Outcome::Ready(response.map(ResponseBody::app));
        };
        // A layer has put its own response in place of the answer.
        if response.status() != http::StatusCode::OK {
            return Outcome::Ready(response.map(ResponseBody::app));
        }
        match pending.take() {
            Some(take_over) if take_over.incoming.is(self) => {
                take_over.start(added_lines(&response))
            }
            _ => {
                log::error!("an answer of `Live::answer` was returned for another request");
                Outcome::Ready(failed(http::StatusCode::INTERNAL_SERVER_ERROR))
            }
        }
    }

    /// The server gets its response, to write it.
    pub(super) fn response_begins(&self) {
        if let Some(lender) = self.connection.0.lender() {
            lender.response_begins();
        }
    }

    fn is(&self, other: &Self) -> bool {
        self.number == other.number && Arc::ptr_eq(&self.connection.0, &other.connection.0)
    }
}

impl Pending {
    pub(super) fn new(take_over: TakeOver) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::new(take_over)))))
    }

    fn take(&self) -> Option<Box<TakeOver>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl TakeOver {
    fn start<B>(self, lines: HeaderLines) -> Outcome<B> {
        let Self { incoming, request, answer } = self;
        let answer = move |request: &mut Request, cx: &mut Context<'_>| {
            answer(request, cx).with_missing_lines(&lines)
        };
        let connection = &*incoming.connection.0;
        // The rest of a body would be taken for events that the client has sent.
        let may_leave = incoming.version <= http::Version::HTTP_11 && incoming.body.is_read();
        let lender = connection.lender().filter(|_| may_leave);
        match lender.and_then(|lender| Some((lender.take()?, lender))) {
            Some((socket, lender)) => connection.hand_over(&*lender, socket, request, answer),
            None => connection.bridge(request, answer),
        }
    }
}

impl Shared {
    fn lender(&self) -> Option<Arc<dyn Lender>> {
        self.lender.as_ref()?.upgrade()
    }

    fn hand_over<B>(
        &self,
        lender: &dyn Lender,
        socket: std::io::Result<Socket>,
        request: Request,
        answer: impl FnOnce(&mut Request, &mut Context<'_>) -> Answer + Send + 'static,
    ) -> Outcome<B> {
        let error = match socket {
            Ok(socket) => match self.live.adopt_on_behalf_of(self.peer, socket, request, answer) {
                Ok(()) => return Outcome::Ready(handed_over()),
                Err(error) => {
                    let response = busy(&error);
                    let (socket, _request, _answer) = error.into_inner();
                    match lender.give_back(socket) {
                        Ok(()) => return Outcome::Ready(response),
                        Err(error) => error,
                    }
                }
            },
            Err(error) => error,
        };
        log::debug!("a connection was lost at its hand-over: {error}");
        Outcome::Ready(handed_over())
    }

    fn bridge<B>(
        &self,
        request: Request,
        answer: impl FnOnce(&mut Request, &mut Context<'_>) -> Answer + Send + 'static,
    ) -> Outcome<B> {
        let body_follows = match request.method() {
            Method::Head => BodyFollows::No,
            _ => BodyFollows::Yes,
        };
        let (bridge, theirs) = match Bridge::new(body_follows) {
            Ok(ends) => ends,
            Err(error) => {
                log::warn!("no socket pair for a stream: {error}");
                return Outcome::Ready(failed(http::StatusCode::SERVICE_UNAVAILABLE));
            }
        };
        let is_known = self.peer.is_some();
        let answer = move |request: &mut Request, cx: &mut Context<'_>| {
            // A Unix socket leads here, but it is not the client's.
            if !is_known {
                request.forget_forwarded();
            }
            answer(request, cx)
        };
        match self.live.adopt_on_behalf_of(self.peer, theirs, request, answer) {
            Ok(()) => Outcome::Bridged(bridge),
            Err(error) => Outcome::Ready(busy(&error)),
        }
    }
}

/// The header fields that layers have added to the response that stands for an answer.
fn added_lines<B>(response: &http::Response<B>) -> HeaderLines {
    let mut lines = HeaderLines::new();
    for (name, value) in response.headers() {
        let name = name.as_str();
        // Layers describe a body that is not sent.
        if name == "content-encoding" || HeaderLines::is_reserved(name) {
            continue;
        }
        match std::str::from_utf8(value.as_bytes()) {
            Ok(value) => lines.push(name, value),
            Err(_) => log::error!("the response header {name} is not sent: it is not UTF-8"),
        }
    }
    lines
}

/// The response that goes to the place of the socket. It has to end the connection, or the server
/// waits for the next request.
fn handed_over<B>() -> http::Response<ResponseBody<B>> {
    let mut response = http::Response::new(ResponseBody::empty());
    let close = http::HeaderValue::from_static("close");
    response.headers_mut().insert(http::header::CONNECTION, close);
    response
}

fn busy<T, B>(error: &TrySendError<T>) -> http::Response<ResponseBody<B>> {
    log::warn!("a stream was not handed over: {error}");
    let mut response = failed(http::StatusCode::SERVICE_UNAVAILABLE);
    let delay = http::HeaderValue::from_static("1");
    response.headers_mut().insert(http::header::RETRY_AFTER, delay);
    response
}

pub(super) fn failed<B>(status: http::StatusCode) -> http::Response<ResponseBody<B>> {
    let mut response = http::Response::new(ResponseBody::empty());
    *response.status_mut() = status;
    response
}
