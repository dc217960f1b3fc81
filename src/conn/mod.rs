//! The state of one connection: its phase, its queue, and the meaning of its one timer.
//!
//! ```text
//!             request complete        the handler         last chunk,
//!             and answered by a       opened a stream     keep-alive
//!             Response, keep-alive  ┌────────────────────┐  ┌───────────┐
//!               ┌──────┐         │                    ▼  │           │
//!  accept ──► Reading ◄┘──► Answering ─────────► Streaming ──────────┼──► Reading
//!               │                                     │
//!               │ refusal, `Connection: close`        │ dropped, or finished on HTTP/1.0
//!               ▼                                     ▼
//!            Draining ◄───────────────────────────────┘
//!               └── all written, then end of input or the linger timeout ──► released
//! ```
//!
//! If the listener requires a PROXY protocol header, `ProxyHeader` comes first; with TLS,
//! `Handshake` does. In every phase, a connection whose socket refuses bytes is subject to the stall
//! timeout.
//!
//! This layer knows neither sockets nor clocks nor user closures: bytes and `now` come in as
//! arguments, and actions come out as values. A connection that waits, between requests or as a
//! quiet stream, owns no heap memory.

mod keep_alive;
mod keys;
mod outbox;
mod peer;
mod phase;
mod streaming;
mod subscriptions;
mod transitions;

pub(crate) use keep_alive::KeepAlive;
pub(crate) use keys::{CodingIndex, RouteIndex, TopicIndex};
pub(crate) use outbox::{Outbox, Pool, SLICES_PER_WRITE};
pub(crate) use phase::{Announcer, Goodbye, Phase, linger_due, stall_due};
pub(crate) use streaming::{FAREWELL_MS, Farewell, Schedule, StreamEnd, Streaming};
pub(crate) use subscriptions::{Standing, Subscription, Subscriptions};

use peer::PackedPeer;
use phase::{Paused, handshake_due, head_due};

use crate::{
    http::{Peer, StreamFraming},
    limits::Limits,
};

/// One connection, from accept to release.
///
/// Its state changes only through the methods in `transitions.rs`, which are named after what
/// happened. The crate must hold 100,000 of them: `size_is_part_of_the_contract` checks the size.
#[derive(Debug)]
pub(crate) struct Conn {
    /// Bytes that the socket did not take, or that were sent by other closures than the stream's
    /// own updater.
    pub(crate) outbox: Outbox,
    phase: Phase,
    /// Changes with every stream on this connection, so that a `StreamId` never refers to a later
    /// one.
    generation: u32,
    peer: PackedPeer,
    input: InputState,
    /// Listed for further reading in the next turn.
    is_put_off: bool,
    output: Output,
    /// How the stream on this connection is delimited; depends on the request's HTTP version.
    framing: StreamFraming,
    /// What follows after the current response.
    afterwards: Afterwards,
    admission: Admission,
    /// Set for a compressed stream.
    coding: Option<CodingIndex>,
    /// The route that opened the stream, if a router has matched the request.
    route: Option<RouteIndex>,
}

/// Whether bytes wait in the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InputState {
    /// The last read took everything; the poller will report more.
    Drained,
    /// Reading was deferred. An edge-triggered poller will not report it again.
    Waiting,
    /// The peer has sent its FIN.
    Ended,
}

/// State of the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    /// Nothing is queued, or it has been tried and must wait for the next flush.
    Quiet,
    /// Queued since the last flush, and listed for the next.
    Dirty,
    /// The same, but everything was sent by closures other than the stream's own, or is the rest of
    /// a response after its share of this turn. It may have to wait for a later flush.
    Sent,
    /// The socket refused the rest and has taken nothing since; the poller will report when it
    /// takes more.
    Blocked,
}

/// What happens to the connection after the current response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Afterwards {
    ReadOn,
    Close,
}

/// Whether there was room for the connection when it was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is served.
    Admitted,
    /// It is served and counts toward no address: it must first send a PROXY protocol header that
    /// names one.
    Unannounced,
    /// It gets one short response, because the connection limit is reached.
    NoRoom,
    /// The same, because the limit of its address is reached.
    NoRoomForAddress,
    /// It is closed at the end of the turn. Its place is already free.
    Leaving,
}

impl Conn {
    pub(crate) fn new(peer: Peer, generation: u32, phase: Phase, admission: Admission) -> Self {
        Self {
            outbox: Outbox::new(),
            phase,
            generation,
            peer: PackedPeer::from(peer),
            input: InputState::Drained,
            is_put_off: false,
            output: Output::Quiet,
            framing: StreamFraming::Chunked,
            afterwards: Afterwards::ReadOn,
            admission,
            coding: None,
            route: None,
        }
    }

    pub(crate) fn phase(&self) -> &Phase {
        &self.phase
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    pub(crate) fn peer(&self) -> Peer {
        self.peer.into()
    }

    pub(crate) fn input(&self) -> InputState {
        self.input
    }

    pub(crate) fn framing(&self) -> StreamFraming {
        self.framing
    }

    pub(crate) fn afterwards(&self) -> Afterwards {
        self.afterwards
    }

    pub(crate) fn admission(&self) -> Admission {
        self.admission
    }

    /// The coding state of a compressed stream.
    pub(crate) fn coding(&self) -> Option<CodingIndex> {
        self.coding
    }

    pub(crate) fn route(&self) -> Option<RouteIndex> {
        self.route
    }

    /// False while the connection is being rejected.
    pub(crate) fn is_admitted(&self) -> bool {
        matches!(self.admission, Admission::Admitted | Admission::Unannounced)
    }

    /// True while the socket refuses bytes.
    pub(crate) fn is_blocked(&self) -> bool {
        self.output == Output::Blocked
    }

    /// True if only events from other closures are queued.
    pub(crate) fn waits_with_sends(&self) -> bool {
        self.output == Output::Sent
    }

    /// When a socket that refuses bytes last took some, or since when it refuses them. A change of
    /// the phase does not restart that time.
    pub(crate) fn blocked_since(&self) -> Option<u64> {
        match &self.phase {
            _ if !self.is_blocked() => None,
            Phase::Reading { since, .. }
            | Phase::Answering { since }
            | Phase::Draining { since, .. } => Some(*since),
            Phase::Waiting(paused) => Some(paused.since),
            Phase::Streaming(streaming) => Some(streaming.last_write()),
            Phase::ProxyHeader { .. } | Phase::Handshake { .. } | Phase::Closed { .. } => None,
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed { .. })
    }

    pub(crate) fn streaming(&self) -> Option<&Streaming> {
        match &self.phase {
            Phase::Streaming(streaming) => Some(streaming),
            _ => None,
        }
    }

    /// True while a stream is open and its end is not decided.
    pub(crate) fn is_live_stream(&self) -> bool {
        self.streaming().is_some_and(|streaming| streaming.ending().is_none())
    }

    /// How the stream ends, once that is decided.
    pub(crate) fn ending(&self) -> Option<StreamEnd> {
        self.streaming().and_then(Streaming::ending)
    }

    /// The topics of the stream; none without a stream.
    pub(crate) fn subscriptions(&self) -> &[Subscription] {
        self.streaming().map_or(&[], |streaming| streaming.subscriptions())
    }

    /// Whether the ids of shared frames give the stream's position.
    pub(crate) fn standing(&self) -> Standing {
        self.streaming().map_or(Standing::Even, Streaming::standing)
    }

    /// False while responses must be sent first. Bytes then stay in the socket, which is the
    /// backpressure for a pipelining client.
    pub(crate) fn takes_input(&self, pipelined_bytes: usize) -> bool {
        match &self.phase {
            // Kept requests must be answered first. Otherwise a flood of small requests would pile
            // up, and a FIN after them would be seen too early.
            Phase::Reading { reader, .. } => {
                !reader.has_kept() && self.outbox.len() <= pipelined_bytes
            }
            Phase::Waiting(paused) => {
                !paused.reader.has_kept() && self.outbox.len() <= pipelined_bytes
            }
            Phase::ProxyHeader { .. } | Phase::Handshake { .. } | Phase::Draining { .. } => true,
            // Its client may have read the last chunk and sent a request before the end has
            // settled.
            Phase::Streaming(streaming) => streaming.ending().is_none(),
            Phase::Answering { .. } | Phase::Closed { .. } => false,
        }
    }

    /// The one deadline of the connection, in ticks of the wheel.
    ///
    /// The reason is derived when the timer fires: nothing is stored per reason, and a deadline
    /// that has moved since only re-arms the timer.
    #[inline]
    pub(crate) fn deadline(&self, limits: &Limits) -> Option<u64> {
        match self.is_admitted() {
            true => self.phase.deadline(limits, self.output),
            false => self.deadline_of_rejected(limits),
        }
    }

    /// A rejected connection has the timeout of one head, counted from its start.
    #[cold]
    fn deadline_of_rejected(&self, limits: &Limits) -> Option<u64> {
        match self.phase {
            Phase::Reading { since, .. } => Some(head_due(since, limits)),
            Phase::Handshake { since } => {
                Some(handshake_due(since, limits).min(head_due(since, limits)))
            }
            _ => self.phase.deadline(limits, self.output),
        }
    }

    /// When the client of a blocked socket is disconnected. A rejected connection has its own
    /// timeout.
    pub(crate) fn stall_due(&self, limits: &Limits) -> Option<u64> {
        self.blocked_since().filter(|_| self.is_admitted()).map(|since| stall_due(since, limits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_is_part_of_the_contract() {
        assert!(size_of::<Conn>() <= 104, "{} bytes", size_of::<Conn>());
    }
}
