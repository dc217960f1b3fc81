//! One connection's state: which phase it is in, what is queued for it, and what its one timer
//! stands for.
//!
//! ```text
//!             request complete        the handler         last chunk,
//!             and answered by a       opened a stream     keep-alive
//!             Reply, keep-alive  ┌────────────────────┐  ┌───────────┐
//!               ┌──────┐         │                    ▼  │           │
//!  accept ──► Reading ◄┘──► Answering ─────────► Streaming ──────────┼──► Reading
//!               │                                     │
//!               │ refusal, `Connection: close`        │ dropped, or finished on HTTP/1.0
//!               ▼                                     ▼
//!            Draining ◄───────────────────────────────┘
//!               └── all written, then end of input or the linger timeout ──► released
//! ```
//!
//! Whatever the phase, a connection whose socket refuses bytes lives under the stall timeout.
//!
//! This floor knows neither sockets nor clocks nor user closures: bytes and `now` come in as
//! arguments, and what is to be done comes out as values. A connection that waits, between
//! requests or as a quiet stream, owns no heap memory.

mod outbox;
mod phase;
mod subscriptions;

pub(crate) use outbox::{Outbox, Pool};
pub(crate) use phase::{
    Ending, FAREWELL_MS, Farewell, Goodbye, NEVER, OFF, Phase, Streaming, linger_due, millis,
    stall_due,
};
pub(crate) use subscriptions::{Standing, Subscription, Subscriptions};

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::{
    http::{Peer, StreamFraming},
    limits::Limits,
};

/// One connection, from accept to release.
///
/// 100,000 of them are the point of this crate: `size_is_part_of_the_contract` guards its size.
#[derive(Debug)]
pub(crate) struct Conn {
    /// What is queued because the socket would not take it, or because it was sent by somebody
    /// else than the stream's own updater.
    pub(crate) outbox: Outbox,
    pub(crate) phase: Phase,
    /// Renewed for every stream on this connection, so that a `StreamId` never means a later one.
    pub(crate) generation: u32,
    peer: PackedPeer,
    pub(crate) input: Input,
    /// Listed for reading on in the next turn.
    pub(crate) is_put_off: bool,
    pub(crate) output: Output,
    /// How the stream on this connection is delimited; decided by the request's HTTP version.
    pub(crate) framing: StreamFraming,
    /// What follows when the current answer is out.
    pub(crate) afterwards: Afterwards,
    pub(crate) admission: Admission,
    /// Where the engine keeps what it must remember of a compressed stream, or [`NO_CODEC`].
    pub(crate) codec: u32,
    /// The number of the route that opened the stream, or [`NO_ROUTE`].
    pub(crate) route: u16,
}

/// What is known about bytes that wait in the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// The last read took everything; the poller will tell of more.
    Drained,
    /// Reading was put off. An edge-triggered poller will not tell again.
    Waiting,
    /// The peer has sent its FIN.
    Ended,
}

/// Where the outbox stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// Nothing is queued, or it has been tried and must wait for the next flush.
    Quiet,
    /// Queued since the last flush, and listed for the next.
    Dirty,
    /// The socket refused the rest, and has taken nothing since; the poller will tell when it
    /// takes more.
    Blocked,
}

/// What becomes of the connection behind the current answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Afterwards {
    ReadOn,
    Close,
}

/// Whether there was room for the connection when it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is served.
    Admitted,
    /// It gets one short answer, because there are as many connections as may be.
    NoRoom,
    /// The same, because its address has as many as one may have.
    NoRoomForAddress,
}

impl Conn {
    pub(crate) fn new(peer: Peer, generation: u32, now: u64, admission: Admission) -> Self {
        Self {
            outbox: Outbox::new(),
            phase: Phase::reading(now),
            generation,
            peer: PackedPeer::from(peer),
            input: Input::Drained,
            is_put_off: false,
            output: Output::Quiet,
            framing: StreamFraming::Chunked,
            afterwards: Afterwards::ReadOn,
            admission,
            codec: NO_CODEC,
            route: NO_ROUTE,
        }
    }

    pub(crate) fn peer(&self) -> Peer {
        self.peer.into()
    }

    pub(crate) fn streaming(&mut self) -> Option<&mut Streaming> {
        match &mut self.phase {
            Phase::Streaming(streaming) => Some(streaming),
            _ => None,
        }
    }

    /// True while a stream is open and nothing has decided to end it.
    pub(crate) fn is_live_stream(&self) -> bool {
        matches!(&self.phase, Phase::Streaming(streaming) if streaming.ending.is_none())
    }

    /// The one moment at which something has to happen, in ticks of the wheel.
    ///
    /// Which of the possible reasons it is gets worked out when the timer fires: nothing is
    /// stored per reason, and a deadline that has moved away meanwhile merely re-arms.
    pub(crate) fn deadline(&self, limits: &Limits) -> Option<u64> {
        match self.phase {
            // Who is not admitted has the time of one head, counted from the beginning.
            Phase::Reading { since, .. } if self.admission != Admission::Admitted => {
                Some(since.saturating_add(millis(limits.head_timeout)))
            }
            _ => self.phase.deadline(limits, self.output),
        }
    }

    /// When a stream whose socket takes nothing has been blocked for too long.
    pub(crate) fn stall_due(&self, limits: &Limits) -> Option<u64> {
        match (&self.phase, self.output) {
            (Phase::Streaming(streaming), Output::Blocked) => Some(streaming.stall_due(limits)),
            _ => None,
        }
    }

    /// The socket refuses more from now on, behind the last that it took: the time in which the
    /// client has to read some of it begins. Who is not admitted has a time of his own.
    pub(crate) fn begin_stall(&mut self, now: u64, limits: &Limits) {
        if self.admission != Admission::Admitted {
            return;
        }
        match &mut self.phase {
            Phase::Streaming(streaming) => streaming.last_write = now,
            Phase::Reading { since, .. } => *since = now,
            Phase::Draining { goodbye: Goodbye::Later, .. } => {}
            Phase::Draining { until, .. } => *until = stall_due(now, limits),
            Phase::Answering | Phase::Closed { .. } => {}
        }
    }

    /// The socket has taken all that a blocked connection had for it.
    pub(crate) fn end_stall(&mut self, now: u64, limits: &Limits) {
        match &mut self.phase {
            Phase::Draining { goodbye: Goodbye::Later, .. } => {}
            Phase::Draining { until, .. } if self.admission == Admission::Admitted => {
                *until = linger_due(now, limits);
            }
            _ => {}
        }
    }
}

/// The stream is not compressed.
pub(crate) const NO_CODEC: u32 = u32::MAX;
/// No router has matched the request.
pub(crate) const NO_ROUTE: u16 = u16::MAX;

/// A [`Peer`] in 20 bytes instead of 36: flow label and scope of IPv6 are not kept.
#[derive(Debug, Clone, Copy)]
struct PackedPeer {
    address: [u8; 16],
    port: u16,
    family: Family,
}

#[derive(Debug, Clone, Copy)]
enum Family {
    V4,
    V6,
    Unix,
}

impl From<Peer> for PackedPeer {
    fn from(peer: Peer) -> Self {
        match peer {
            Peer::Ip(SocketAddr::V4(v4)) => Self {
                address: v4.ip().to_ipv6_mapped().octets(),
                port: v4.port(),
                family: Family::V4,
            },
            Peer::Ip(SocketAddr::V6(v6)) => {
                Self { address: v6.ip().octets(), port: v6.port(), family: Family::V6 }
            }
            Peer::Unix => Self { address: [0; 16], port: 0, family: Family::Unix },
        }
    }
}

impl From<PackedPeer> for Peer {
    fn from(packed: PackedPeer) -> Self {
        let [.., a, b, c, d] = packed.address;
        match packed.family {
            Family::V4 => Self::Ip(SocketAddr::new(IpAddr::from([a, b, c, d]), packed.port)),
            Family::V6 => {
                Self::Ip(SocketAddr::new(Ipv6Addr::from(packed.address).into(), packed.port))
            }
            Family::Unix => Self::Unix,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_is_part_of_the_contract() {
        assert!(size_of::<Conn>() <= 104, "{} bytes", size_of::<Conn>());
    }

    #[test]
    fn peers_survive_packing() {
        for text in ["127.0.0.1:80", "[::1]:8080", "[2001:db8::7]:1", "255.1.2.3:65535"] {
            let peer = Peer::Ip(text.parse().unwrap());
            assert_eq!(Peer::from(PackedPeer::from(peer)).to_string(), text);
        }
        assert!(matches!(Peer::from(PackedPeer::from(Peer::Unix)), Peer::Unix));
    }
}
