//! The phases of a connection, and the deadline of each.
//!
//! They are read here and changed only in `transitions.rs`.

use super::{Output, Streaming};
use crate::{
    http::{Reader, Stage},
    limits::Limits,
    proxy_protocol::HeaderReader,
    time::{NEVER, millis},
};

/// What a connection is doing. The data of a phase is in its variant.
///
/// ```text
///  accepted             accepted where the PROXY protocol or TLS is required
///     |                                    |
///     v    header or handshake complete    v
///  Reading <-------------------------- ProxyHeader, Handshake
///   |  ^  |
///   |  |  |--- an answer is promised --> Waiting, and back when it comes
///   |  |  |
///   |  |  '--- a stream is asked for ---> Answering
///   |  |                                     | the turn settles
///   |  |                                     v
///   |  '------- its last chunk is out --- Streaming
///   | refused, timed out,                    | it ends, and the connection with it
///   | or the last answer                     |
///   v                                        |
/// Draining <---------------------------------'
///   | all is out, and the peer has closed or has had its time
///   v
/// Closed   <--- from every phase, when the connection breaks
/// ```
#[derive(Debug)]
pub(crate) enum Phase {
    /// Waiting since `since` for the PROXY protocol header that the listener requires.
    ProxyHeader { announcer: Announcer, since: u64 },
    /// A TLS handshake is in progress since `since`. Nothing of HTTP has been received.
    Handshake { since: u64 },
    /// Waiting for a request, or in the middle of one. `since` is when the current stage of the
    /// reader (fresh, idle, head, body) began; while output is blocked, when the socket last took
    /// bytes.
    Reading { reader: Reader, since: u64 },
    /// The handler has returned a stream that has not started yet; lasts until the turn settles.
    /// `since` keeps its value from reading the request.
    Answering { since: u64 },
    /// The handler has promised an answer that comes later. Boxed, because it is rare and as large
    /// as `Reading`.
    Waiting(Box<Paused>),
    /// An SSE stream is open.
    Streaming(Streaming),
    /// Nothing more is expected from the peer: the queue is sent, then our FIN, then we wait for
    /// the peer's FIN. Closing immediately would send a reset for unread input, and a reset may
    /// destroy a response that the client has not read yet. While output is blocked, `since` is
    /// when the socket last took bytes.
    Draining { until: u64, goodbye: Goodbye, since: u64 },
    /// Released at the end of this turn; `goodbye` is what a draining connection still had to send.
    Closed { goodbye: Goodbye },
}

/// The reader of requests while a promised answer is awaited.
#[derive(Debug)]
pub(crate) struct Paused {
    pub(super) reader: Reader,
    /// While output is blocked, when the socket last took bytes.
    pub(super) since: u64,
    /// How long the answer may take.
    pub(super) until: u64,
}

/// Whether the peer may send a PROXY protocol header.
#[derive(Debug)]
pub(crate) enum Announcer {
    Trusted(HeaderReader),
    /// The peer is not trusted to send a header: it is refused at its first byte.
    Untrusted,
}

/// How a draining connection ends once everything queued is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goodbye {
    /// Our FIN, then waiting for the peer's.
    Fin,
    /// A reset: the only signal to an HTTP/1.0 client, whose streams end with the connection, that
    /// the stream was cut and not finished.
    Reset,
    /// A cut, but not before the deadline: until then the client can read what is queued, which a
    /// cut may destroy.
    Later,
    /// The FIN has been sent.
    Said,
}

impl Paused {
    pub(super) fn new(reader: Reader, since: u64, until: u64) -> Self {
        Self { reader, since, until }
    }

    /// The socket has taken bytes, and refuses more.
    pub(super) fn begin_stall(&mut self, now: u64) {
        self.since = now;
    }

    /// Keeps bytes of the next requests.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        self.reader.keep(bytes);
    }

    /// Takes out the reader, to continue.
    pub(super) fn resume(&mut self) -> Reader {
        std::mem::replace(&mut self.reader, Reader::new())
    }
}

impl Phase {
    /// Just accepted.
    pub(crate) const fn fresh(now: u64) -> Self {
        Self::Reading { reader: Reader::new(), since: now }
    }

    /// Waiting for the next request.
    pub(crate) const fn idle(now: u64) -> Self {
        Self::Reading { reader: Reader::between_requests(), since: now }
    }

    pub(super) fn deadline(&self, limits: &Limits, output: Output) -> Option<u64> {
        let at = match self {
            Self::ProxyHeader { announcer: Announcer::Trusted(reader), since }
                if reader.has_begun() =>
            {
                head_due(*since, limits)
            }
            Self::ProxyHeader { since, .. } => {
                let first = limits.first_request_timeout.min(limits.head_timeout);
                since.saturating_add(millis(first))
            }
            Self::Handshake { since } => handshake_due(*since, limits),
            Self::Reading { since, .. } if output == Output::Blocked => stall_due(*since, limits),
            Self::Reading { reader, since } => since.saturating_add(millis(match reader.stage() {
                Stage::Fresh => limits.first_request_timeout,
                Stage::Idle => limits.idle_timeout,
                Stage::Head => limits.head_timeout,
                Stage::Body => limits.body_timeout,
            })),
            Self::Waiting(paused) if output == Output::Blocked => {
                paused.until.min(stall_due(paused.since, limits))
            }
            Self::Waiting(paused) => paused.until,
            Self::Streaming(streaming) => streaming.deadline(limits, output),
            Self::Draining { until, .. } => *until,
            Self::Answering { .. } | Self::Closed { .. } => NEVER,
        };
        (at != NEVER).then_some(at)
    }
}

/// The deadline of a request head or PROXY protocol header that began then.
pub(super) fn head_due(since: u64, limits: &Limits) -> u64 {
    since.saturating_add(millis(limits.head_timeout))
}

/// The deadline of a TLS handshake that began then.
pub(super) fn handshake_due(since: u64, limits: &Limits) -> u64 {
    since.saturating_add(millis(limits.tls_handshake_timeout))
}

/// When a client that has taken nothing since then is disconnected.
pub(crate) fn stall_due(since: u64, limits: &Limits) -> u64 {
    since.saturating_add(millis(limits.stall_timeout))
}

/// How long to wait for a client after the last bytes and the FIN were sent.
pub(crate) fn linger_due(since: u64, limits: &Limits) -> u64 {
    since.saturating_add(millis(limits.linger_timeout))
}
