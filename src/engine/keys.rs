//! Typed keys of the engine's tables: a connection's number cannot be taken for a topic's.

/// A connection. It stays valid until the end of the turn in which the connection is closed, so
/// that nothing which holds one in the meantime has to ask whether it still means anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ConnIndex(u32);

/// A timer of the application's, or of a topic's updater. Timers and connections share one range of
/// numbers, which are the keys of the wheel; see `conns.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct TimerIndex(u32);

impl ConnIndex {
    pub(super) fn new(slot: usize) -> Self {
        Self(key(slot))
    }

    /// The number under which a poller knows the connection.
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
    // Every slot is a descriptor or a boxed closure: memory ends long before 2^32 of them.
    u32::try_from(slot).expect("fewer than 2^32 slots")
}
