//! [`SlowWalk`]: who is slow at the moment, found without a long turn.
//!
//! Nothing keeps a list of slow clients, because a list costs every write something. Whoever wants to
//! know walks over all slots, a bounded number of them in each turn. A stream that opens or moves on
//! during a walk may be missed; the next walk finds it.

use std::{cmp::Reverse, time::Duration};

use super::{Core, Stopping};
use crate::engine::keys::{ConnIndex, StreamId};

/// A walk over all connections that looks for streams whose client does not keep up.
#[derive(Debug, Default)]
pub(crate) struct SlowWalk {
    next_slot: usize,
    /// Slots in use that were seen.
    seen: usize,
    /// Streams whose sockets take nothing at the moment.
    pub(crate) count: u64,
    /// The worst of them; the worst first.
    worst: Vec<(Rank, StreamId)>,
}

/// For how many milliseconds the socket has taken nothing, events behind, bytes queued.
type Rank = Reverse<(u64, u64, usize)>;

/// A stream whose client does not keep up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlowStream {
    pub(crate) route: Option<Box<str>>,
    pub(crate) tag: Option<Box<str>>,
    pub(crate) stuck_ms: u64,
    pub(crate) lag: u64,
    pub(crate) queued_bytes: usize,
    pub(crate) age: Duration,
}

impl Core {
    /// Looks at the next connections; true if there are more.
    pub(in crate::engine) fn walk_on(&self, walk: &mut SlowWalk) -> bool {
        let (in_use, capacity) = self.conns.slots_in_use();
        let until = capacity.min(walk.next_slot + SLOTS_AT_A_TIME);
        for slot in self.conns.in_slots(walk.next_slot..until) {
            walk.seen += 1;
            if let Some((index, conn)) = slot
                && let Some(since) = conn.blocked_since()
                && conn.is_live_stream()
            {
                self.note_slow(walk, index, since);
            }
        }
        walk.next_slot = until;
        // The slots after the last one in use may be many: room for a server that is not full.
        until < capacity && walk.seen < in_use
    }

    #[cold]
    fn note_slow(&self, walk: &mut SlowWalk, index: ConnIndex, since: u64) {
        walk.count += 1;
        let conn = &self.conns[index];
        let lag = conn.subscriptions().iter().map(|&it| self.topics.lag(it)).sum();
        let rank = Reverse((self.now.saturating_sub(since), lag, conn.outbox.len()));
        let at = walk.worst.partition_point(|(other, _)| *other <= rank);
        if at < WORST_MAX {
            walk.worst.truncate(WORST_MAX - 1);
            walk.worst.insert(at, (rank, self.conns.stream_id(index)));
        }
    }

    /// What a walk has found, without streams that have ended since.
    pub(in crate::engine) fn end_walk(&self, walk: SlowWalk) -> Vec<SlowStream> {
        let named = |(Reverse((stuck_ms, lag, queued_bytes)), id)| {
            Some(SlowStream {
                route: self.pattern_of(id).map(Box::from),
                tag: self.tags.of(id).map(Box::from),
                stuck_ms,
                lag,
                queued_bytes,
                age: self.age(id)?,
            })
        };
        walk.worst.into_iter().filter_map(named).collect()
    }

    pub(in crate::engine) fn drains_for(&self) -> Option<Duration> {
        match self.stopping {
            Stopping::No => None,
            Stopping::Draining { until, .. } => {
                Some(Duration::from_millis(until.saturating_sub(self.now)))
            }
            Stopping::Now => Some(Duration::ZERO),
        }
    }
}

/// Slots of one turn: some ten microseconds.
const SLOTS_AT_A_TIME: usize = 1_024;
/// Streams that are named.
const WORST_MAX: usize = 20;
