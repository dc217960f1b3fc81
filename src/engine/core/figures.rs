//! Figures by route and by topic: what is counted where.

use std::time::Duration;

use super::Core;
use crate::{
    conn::RouteIndex,
    engine::keys::{ConnIndex, StreamId},
    error::CloseReason,
};

/// By route.
impl Core {
    /// The number of the route with this pattern, which has its place in the statistics from here on.
    #[inline]
    pub(in crate::engine) fn note_route(&mut self, pattern: Option<&str>) -> Option<RouteIndex> {
        let pattern = pattern?;
        self.routes.find(pattern).or_else(|| self.add_route(pattern))
    }

    #[cold]
    fn add_route(&mut self, pattern: &str) -> Option<RouteIndex> {
        let route = self.routes.add(pattern)?;
        self.stats.routes.name(route, self.routes.name(route));
        Some(route)
    }

    /// The stream on this connection is open.
    pub(in crate::engine) fn count_opened(&mut self, index: ConnIndex) {
        self.stats.streams += 1;
        self.stats.opened += 1;
        self.stats.routes.opened(self.conns[index].route());
    }

    /// The end of the stream on this connection is decided.
    pub(in crate::engine) fn count_ended(&mut self, index: ConnIndex) {
        self.stats.streams -= 1;
        self.stats.routes.ended(self.conns[index].route());
    }

    /// The stream on this connection has ended. Its hooks have not run.
    pub(in crate::engine) fn count_closed(&mut self, index: ConnIndex, reason: &CloseReason) {
        let conn = &self.conns[index];
        let after = conn.streaming().map_or(Duration::ZERO, |streaming| streaming.age(self.now));
        self.stats.closed.count(reason);
        self.stats.routes.closed(conn.route(), reason, after);
    }

    /// The pattern of the route that opened a stream.
    pub(in crate::engine) fn pattern_of(&self, id: StreamId) -> Option<&str> {
        let route = self.conns[self.conns.live(id)?].route()?;
        Some(self.routes.name(route))
    }
}

/// By topic.
impl Core {
    /// Number of events of its topics that a stream has not been given.
    pub(in crate::engine) fn lag(&self, id: StreamId) -> Option<u64> {
        let conn = &self.conns[self.conns.live(id)?];
        Some(conn.subscriptions().iter().map(|&it| self.topics.lag(it)).sum())
    }

    /// Copies what has changed into the statistics.
    pub(in crate::engine) fn refresh_topics(&mut self) {
        self.topics.refresh_figures(&mut self.stats.topics, self.now);
    }
}
