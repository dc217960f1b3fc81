//! [`Wake`]: ends the sleep of the thread.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use mio::{Registry, Token, Waker};

/// Wakes the thread of the connections.
///
/// Publishers first change the member, under its lock, and then call [`wake`](Self::wake). The thread
/// says that it sleeps before it looks at the member for the last time. So either it sees the change,
/// or the publisher sees that it sleeps.
#[derive(Clone)]
pub(crate) struct Wake(Arc<Shared>);

struct Shared {
    waker: Waker,
    sleeps: AtomicBool,
    /// How often the thread went around, for tests.
    turns: AtomicU64,
}

impl Wake {
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let waker = Waker::new(registry, token)?;
        let (sleeps, turns) = (AtomicBool::new(false), AtomicU64::new(0));
        Ok(Self(Arc::new(Shared { waker, sleeps, turns })))
    }

    /// There is a request that [`next_request`](super::Membership::next_request) or
    /// [`next_read`](super::Membership::next_read) would return. It costs a system call only if the
    /// thread sleeps with a connection, and then only once: whether it did.
    pub(crate) fn wake(&self) -> bool {
        // The first look is cheap where many publish at the same time.
        let must_wake =
            self.0.sleeps.load(Ordering::SeqCst) && self.0.sleeps.swap(false, Ordering::SeqCst);
        if must_wake {
            self.end();
        }
        must_wake
    }

    /// [`is_over`](super::Membership::is_over) has become true. It always wakes the thread, also one
    /// that waits for its next attempt.
    pub(crate) fn end(&self) {
        if let Err(error) = self.0.waker.wake() {
            log::error!("cannot wake the thread of the backplane: {error}");
        }
    }

    pub(super) fn fall_asleep(&self) {
        self.0.sleeps.store(true, Ordering::SeqCst);
    }

    pub(super) fn stay_awake(&self) {
        self.0.sleeps.store(false, Ordering::SeqCst);
    }

    pub(super) fn count_turn(&self) {
        self.0.turns.fetch_add(1, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn turns(&self) -> u64 {
        self.0.turns.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wake").field("sleeps", &self.0.sleeps).finish_non_exhaustive()
    }
}
