//! Keys and ids of the engine. A connection's key cannot be confused with a timer's, and ids held
//! by applications are inert after their stream or timer has ended.

use std::fmt;

/// A connection. Valid until the end of the turn in which the connection is closed, so code within
/// a turn need not check it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ConnIndex(u32);

/// One of the reactors of this process. Ids carry it, because equal slots and generations are likely
/// in reactors that do the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct ReactorNumber(pub(crate) u32);

/// A timer of the application or of a topic's updater. Timers and connections share one range of
/// numbers, the keys of the wheel; see `conns.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct TimerIndex(u32);

/// Identifies one stream, even after it has ended.
///
/// The id of an ended stream is inert: sending to it does nothing and returns false. So is the id
/// of a stream of another reactor in this process. Twelve bytes; cheap to copy and to use as a key.
///
/// ```
/// use starwheel::{Context, StreamId};
/// fn nudge(cx: &mut Context<'_>, id: StreamId) {
///     if !cx.send(id, "hello?") {
///         log::debug!("{id} is gone");
///     }
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    pub(super) reactor: ReactorNumber,
    pub(super) conn: ConnIndex,
    pub(super) generation: u32,
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream {}.{}", self.conn.token(), self.generation)
    }
}

/// Names a timer set with [`Context::after`](crate::Context::after) or [`Context::every`](crate::Context::every). Stale ids are inert, and
/// so are those of another reactor.
///
/// ```
/// use starwheel::{Context, TimerId};
/// fn stop(cx: &mut Context<'_>, timer: TimerId) {
///     assert!(cx.cancel(timer));
///     assert!(!cx.cancel(timer));
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimerId {
    pub(super) reactor: ReactorNumber,
    pub(super) index: TimerIndex,
    pub(super) generation: u32,
}

impl ConnIndex {
    pub(super) fn new(slot: usize) -> Self {
        Self(key(slot))
    }

    /// The token under which the poller knows the connection.
    pub(crate) fn token(self) -> u32 {
        self.0
    }

    pub(super) fn slot(self) -> usize {
        self.0 as usize
    }
}

impl TimerIndex {
    pub(super) fn new(slot: usize) -> Self {
        Self(key(slot))
    }

    pub(super) fn token(self) -> u32 {
        self.0
    }

    pub(super) fn slot(self) -> usize {
        self.0 as usize
    }
}

fn key(slot: usize) -> u32 {
    // Every slot is a descriptor or a boxed closure: memory runs out long before 2^32 of them.
    u32::try_from(slot).expect("fewer than 2^32 slots")
}
