//! The phases of a connection, and the deadline each of them lives under.
//!
//! They are read from here and changed in `transitions.rs` alone.

use super::{Output, Streaming};
use crate::{
    http::{Reader, Stage},
    limits::Limits,
    proxy_protocol::HeaderReader,
    time::{NEVER, millis},
};

/// What a connection is doing. The data of a phase lives in its variant and dies with it.
///
/// ```text
///  accepted             accepted where the PROXY protocol is required
///     |                                    |
///     v       the header is complete       v
///  Reading <-------------------------- ProxyHeader
///   |  ^  |
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
    /// Waiting for the PROXY protocol header that the listener requires, since the connection came.
    ProxyHeader { announcer: Announcer, since: u64 },
    /// Waiting for a request, or in the middle of one. `since` is when the present stage of the
    /// reader (fresh, idle, head, body) began; while output is blocked, when the socket last took some.
    Reading { reader: Reader, since: u64 },
    /// The handler asked for a stream that has not been born yet; lasts until the turn settles.
    /// `since` is what it was while the request was read.
    Answering { since: u64 },
    /// An SSE stream is open.
    Streaming(Streaming),
    /// Nothing is asked of the peer any more: what is queued goes out, then our FIN, then we wait
    /// for the peer's. Closing at once would send a reset for unread input, and a reset may take
    /// the answer away from a client that has not read it yet. `since` is when the socket last took
    /// some, while output is blocked.
    Draining { until: u64, goodbye: Goodbye, since: u64 },
    /// To be released at the end of this turn; `goodbye` is what a draining one still had to say.
    Closed { goodbye: Goodbye },
}

/// Who is to announce whose connection this is.
#[derive(Debug)]
pub(crate) enum Announcer {
    Trusted(HeaderReader),
    /// The peer is not trusted to send a header: it is refused at its first byte, whatever that is.
    Untrusted,
}

/// How a draining connection takes leave once everything queued is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goodbye {
    /// Our FIN, then waiting for the peer's.
    Fin,
    /// A reset: the only way to tell a client of HTTP/1.0, whose streams end with the
    /// connection, that the stream was cut and not finished.
    Reset,
    /// A cut, but not before the deadline: until then the client can read what is queued, which a
    /// cut may take away from it.
    Later,
    /// The FIN is sent.
    Said,
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
            Self::Reading { since, .. } if output == Output::Blocked => stall_due(*since, limits),
            Self::Reading { reader, since } => since.saturating_add(millis(match reader.stage() {
                Stage::Fresh => limits.first_request_timeout,
                Stage::Idle => limits.idle_timeout,
                Stage::Head => limits.head_timeout,
                Stage::Body => limits.body_timeout,
            })),
            Self::Streaming(streaming) => streaming.deadline(limits, output),
            Self::Draining { until, .. } => *until,
            Self::Answering { .. } | Self::Closed { .. } => NEVER,
        };
        (at != NEVER).then_some(at)
    }
}

/// When the head of a request, or a PROXY protocol header, that began then is waited for no longer.
pub(super) fn head_due(since: u64, limits: &Limits) -> u64 {
    since.saturating_add(millis(limits.head_timeout))
}

/// When a client that has taken nothing since then is given up.
pub(crate) fn stall_due(since: u64, limits: &Limits) -> u64 {
    since.saturating_add(millis(limits.stall_timeout))
}

/// When a client that has been told everything then, and goodbye, is waited for no longer.
pub(crate) fn linger_due(since: u64, limits: &Limits) -> u64 {
    since.saturating_add(millis(limits.linger_timeout))
}
