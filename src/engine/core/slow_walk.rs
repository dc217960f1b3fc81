//! What the dashboard is told of this reactor that its statistics do not say: slow clients by name,
//! and a drain.

use std::time::Duration;

use super::{Core, Stopping};
use crate::engine::conns::{Arrears, Progress, SlowStream, SlowWalk};

impl Core {
    /// Looks at the next connections.
    pub(in crate::engine) fn walk_on(&self, walk: &mut SlowWalk) -> Progress {
        let mut slow = Vec::new();
        let progress = self.conns.walk_on(walk, &mut slow);
        for (index, since) in slow {
            let conn = &self.conns[index];
            let lag = conn.subscriptions().iter().map(|&it| self.topics.lag(it)).sum();
            let stuck_ms = self.now.saturating_sub(since);
            let arrears = Arrears { stuck_ms, lag, queued_bytes: conn.outbox.len() };
            walk.note(arrears, self.conns.stream_id(index));
        }
        progress
    }

    /// What a walk has found, without streams that have ended since.
    pub(in crate::engine) fn end_walk(&self, walk: SlowWalk) -> Vec<SlowStream> {
        let named = |(arrears, id)| {
            Some(SlowStream {
                route: self.pattern_of(id).map(Box::from),
                tag: self.tags.of(id).map(Box::from),
                arrears,
                age: self.age(id)?,
            })
        };
        walk.into_worst().filter_map(named).collect()
    }

    /// How long a drain goes on, if there is one.
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
