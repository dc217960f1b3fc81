//! [`TopicStats`]: figures of one topic.

use std::sync::Arc;

use super::table::{PLACES, Table};

/// Figures of one topic in one reactor; from [`Context::topic_stats`](crate::Context::topic_stats),
/// and for topics with [`Topic::metrics`](crate::Topic::metrics) from [`Stats::topics`](crate::Stats::topics).
///
/// Counters begin with the use of the topic in this reactor. A topic that is forgotten and used again
/// begins from zero.
///
/// ```
/// use starwheel::{Context, Response, Topic};
/// fn state(cx: &Context<'_>, news: &Topic) -> Response {
///     let stats = cx.topic_stats(news).unwrap_or_default();
///     Response::text(format!("{} subscribers, the slowest lags by {} events\n", stats.subscribers, stats.lag))
/// }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicStats {
    /// Gauge: open streams that are subscribed.
    pub subscribers: u64,
    /// Gauge: how far the slowest subscriber lags, in events of the topic's log. While an event is on
    /// its way to all subscribers, it counts for those that it has not reached yet.
    pub lag: u64,
    /// Gauge: events in the log.
    pub log_events: u64,
    /// Gauge: bytes in the log.
    pub log_bytes: u64,
    /// Events published that have come to the log of this reactor. In a sum over workers it is the
    /// largest of their numbers, because they all get the events of a topic that spans them.
    pub published: u64,
    /// Events delivered to streams: those that a socket has begun to take, or that a stream that ends
    /// has queued.
    pub delivered: u64,
}

pub(in crate::engine) type TopicTable = Table<TopicStats>;

impl TopicTable {
    pub(in crate::engine) fn note_topic(
        &mut self,
        place: usize,
        name: &Arc<str>,
        figures: TopicStats,
    ) {
        match self.change(place) {
            Some(known) => *known = figures,
            None => self.set(place, name, figures),
        }
    }

    pub(in crate::engine) fn forget_topic(&mut self, place: usize) {
        self.remove(place);
    }
}

impl TopicStats {
    pub(super) fn add(&mut self, other: &Self) {
        let Self { subscribers, lag, log_events, log_bytes, published, delivered } = self;
        *subscribers += other.subscribers;
        *lag = other.lag.max(*lag);
        *log_events += other.log_events;
        *log_bytes += other.log_bytes;
        *published = other.published.max(*published);
        *delivered += other.delivered;
    }
}

/// Topics of a reactor that are listed by name.
pub(in crate::engine) const TOPICS_MAX: usize = PLACES - 1;
