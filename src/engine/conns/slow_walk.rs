//! [`SlowWalk`]: who is slow at the moment, found without a long turn.
//!
//! Nothing keeps a list of slow clients, because a list would cost every write something. The dashboard
//! walks over all slots instead, a bounded number of them in each turn. A stream that opens or moves on
//! during a walk may be missed; the next walk finds it.

use std::{cmp::Reverse, time::Duration};

use super::{Conns, Slot};
use crate::engine::keys::{ConnIndex, StreamId};

/// A walk over all connections that looks for streams whose client does not keep up.
#[derive(Debug, Default)]
pub(crate) struct SlowWalk {
    next_slot: usize,
    /// Slots in use that were seen.
    seen: usize,
    count: u64,
    /// The worst of them; the worst first.
    worst: Vec<(Reverse<Arrears>, StreamId)>,
}

/// What a stream is behind with. Ordered by what is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrears {
    /// For how long its socket has taken nothing.
    pub(crate) stuck_ms: u64,
    /// Events of its topics.
    pub(crate) lag: u64,
    pub(crate) queued_bytes: usize,
}

/// A stream whose client does not keep up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlowStream {
    pub(crate) route: Option<Box<str>>,
    pub(crate) tag: Option<Box<str>>,
    pub(crate) arrears: Arrears,
    pub(crate) age: Duration,
}

impl SlowWalk {
    /// Number of streams that were found.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    #[cold]
    pub(in crate::engine) fn note(&mut self, arrears: Arrears, id: StreamId) {
        self.count += 1;
        let rank = Reverse(arrears);
        let at = self.worst.partition_point(|(other, _)| *other <= rank);
        if at < WORST_MAX {
            self.worst.truncate(WORST_MAX - 1);
            self.worst.insert(at, (rank, id));
        }
    }

    /// The worst first.
    pub(in crate::engine) fn into_worst(self) -> impl Iterator<Item = (Arrears, StreamId)> {
        self.worst.into_iter().map(|(Reverse(arrears), id)| (arrears, id))
    }
}

impl Conns {
    /// The streams among the next connections of a walk whose sockets take nothing, and since when.
    pub(in crate::engine) fn walk_on(
        &self,
        walk: &mut SlowWalk,
        slow: &mut Vec<(ConnIndex, u64)>,
    ) -> Progress {
        let until = self.slots.capacity().min(walk.next_slot + SLOTS_AT_A_TIME);
        for slot in walk.next_slot..until {
            let Some(entry) = self.slots.get(slot) else { continue };
            walk.seen += 1;
            if let Slot::Conn(conn) = entry
                && conn.is_blocked()
                && conn.is_live_stream()
                && let Some(since) = conn.blocked_since()
            {
                slow.push((ConnIndex::new(slot), since));
            }
        }
        walk.next_slot = until;
        // The slots after the last one in use may be many: room for a server that is not full.
        match until < self.slots.capacity() && walk.seen < self.slots.len() {
            true => Progress::More,
            false => Progress::Complete,
        }
    }
}

/// Whether a walk has seen all connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    More,
    Complete,
}

/// Slots of one turn: some ten microseconds.
const SLOTS_AT_A_TIME: usize = 1_024;
/// Streams that are named.
const WORST_MAX: usize = 20;
