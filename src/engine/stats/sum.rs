//! Sums of statistics over workers.

use super::{ClosedCounts, RefusedCounts, RouteStats, Stats, TopicStats};
use crate::compress::CompressionCounts;

impl Stats {
    /// Adds those of another worker. Of maxima, the larger one counts.
    pub(in crate::engine) fn add(&mut self, other: &Self) {
        self.add_connections(other);
        self.add_events(other);
        self.closed.add(&other.closed);
        self.refused.add(&other.refused);
        self.tick_lateness_ms.add_all(&other.tick_lateness_ms);
        self.fan_out_ms.add_all(&other.fan_out_ms);
        self.compression.add(&other.compression);
        self.routes.add_all(&other.routes, RouteStats::add);
        self.topics.add_all(&other.topics, TopicStats::add);
        self.tls.add(&other.tls);
        self.slowest_call_ms = self.slowest_call_ms.max(other.slowest_call_ms);
    }

    fn add_connections(&mut self, other: &Self) {
        self.streams += other.streams;
        self.connections += other.connections;
        self.opened += other.opened;
        self.accepted += other.accepted;
        self.requests += other.requests;
        self.resets += other.resets;
        self.accept_failures += other.accept_failures;
        self.timed_out += other.timed_out;
        self.keep_alives += other.keep_alives;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
    }

    fn add_events(&mut self, other: &Self) {
        self.ticks += other.ticks;
        self.ticks_skipped += other.ticks_skipped;
        self.ticks_missed += other.ticks_missed;
        self.ticks_unchanged += other.ticks_unchanged;
        self.events += other.events;
        self.published += other.published;
        self.published_late += other.published_late;
        self.delivered += other.delivered;
        self.passed_by += other.passed_by;
        self.gaps += other.gaps;
        self.left_out += other.left_out;
        self.timers_missed += other.timers_missed;
        self.log_bytes += other.log_bytes;
        self.queue_depth += other.queue_depth;
        self.panics += other.panics;
        self.call_nanos += other.call_nanos;
        self.slow_calls += other.slow_calls;
    }
}

impl ClosedCounts {
    pub(super) fn add(&mut self, other: &Self) {
        let Self {
            finished,
            topics_finished,
            dropped,
            replaced,
            lifetime,
            shutdown,
            disconnected,
            io,
            slow,
            failed,
            panicked,
        } = self;
        for (sum, more) in [
            (finished, other.finished),
            (topics_finished, other.topics_finished),
            (dropped, other.dropped),
            (replaced, other.replaced),
            (lifetime, other.lifetime),
            (shutdown, other.shutdown),
            (disconnected, other.disconnected),
            (io, other.io),
            (slow, other.slow),
            (failed, other.failed),
            (panicked, other.panicked),
        ] {
            *sum += more;
        }
    }
}

impl RefusedCounts {
    fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(sum, more)| *sum += more);
        self.other += other.other;
    }
}

impl CompressionCounts {
    fn add(&mut self, other: &Self) {
        let Self { bytes_in, bytes_out, keys, deltas, wholes, nanos } = self;
        *bytes_in += other.bytes_in;
        *bytes_out += other.bytes_out;
        *keys += other.keys;
        *deltas += other.deltas;
        *wholes += other.wholes;
        *nanos += other.nanos;
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Histogram, TlsStats, table::Table},
        *,
    };
    use crate::{error::CloseReason, http::StatusCode};

    /// 12 and 16 integers, a maximum, and what adds itself.
    #[test]
    fn no_field_is_forgotten() {
        let integers = (12 + 16 + 1) * size_of::<u64>();
        let others = size_of::<ClosedCounts>()
            + size_of::<RefusedCounts>()
            + 2 * size_of::<Histogram>()
            + size_of::<CompressionCounts>()
            + size_of::<Table<RouteStats>>()
            + size_of::<Table<TopicStats>>()
            + size_of::<TlsStats>();
        assert_eq!(size_of::<Stats>(), integers + others, "add the new field above");
        let of_tls = (7 + 12) * size_of::<u64>() + size_of::<Histogram>();
        assert_eq!(size_of::<TlsStats>(), of_tls, "add the new field in tls.rs");
    }

    #[test]
    fn counts_are_added_and_of_maxima_the_larger_counts() {
        let mut one = Stats { streams: 3, slowest_call_ms: 9, ..Stats::default() };
        one.tick_lateness_ms.add(4);
        one.closed.count(&CloseReason::Slow);
        let mut two = Stats { streams: 4, slowest_call_ms: 7, ..Stats::default() };
        two.tick_lateness_ms.add(5);
        two.closed.count(&CloseReason::Slow);
        two.refused.count(StatusCode::NOT_FOUND);
        let mut sum = Stats::default();
        sum.add(&one);
        sum.add(&two);
        assert_eq!((sum.streams, sum.slowest_call_ms), (7, 9));
        assert_eq!((sum.tick_lateness_ms.count(), sum.tick_lateness_ms.sum()), (2, 9));
        assert_eq!((sum.closed.slow, sum.refused.total()), (2, 1));
    }
}
