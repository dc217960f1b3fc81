//! How far a stream has come in all its topics: bookmarks, and frames that are older than others it
//! already has.
//!
//! A client holds one id for all topics of its stream. The id in a shared frame is valid for all of
//! them as long as frames are delivered in sequence order. If a topic starts at an older position
//! than the others (a retained event, the oldest event, a replay), its frames are copied for the
//! stream, and the copies carry ids with the position in each topic.
//!
//! An id speaks of one series. A stream with topics of both that keep a history has the ids of those
//! that span reactors, and frames of its local topics are copied with these ids.

use super::Topics;
use crate::{
    conn::Subscription,
    engine::keys::ConnIndex,
    topic::{Frame, IdOf, Point, Position, Series, TopicKey},
};

/// The series of a stream's topics with history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kinds {
    One(Series),
    /// Both; the ids are those of the topics that span reactors.
    Both,
}

impl Topics {
    /// How far a stream has come in its topics with history; `None` if it has none.
    pub(in crate::engine) fn stream_position(
        &self,
        conn: ConnIndex,
        subscriptions: &[Subscription],
    ) -> Option<Position> {
        let series = self.series_of_ids(subscriptions);
        let kept = || subscriptions.iter().filter(|it| self.keeps_history_in(series, **it));
        let cursors = kept().map(|subscription| self.position(*subscription).1);
        let up_to = cursors.max()?.max(self.left_at(conn, series));
        let mut position = Position::at(Point::whole(up_to));
        for subscription in kept() {
            let key = TopicKey::of(self[subscription.topic].topic.name());
            let (log, cursor) = self.position(*subscription);
            let next = log.after(cursor).next();
            let half_seen = self.half_seen_next(conn, key, (series, cursor), next);
            let has_older = self.has_older((series, cursor), next, up_to);
            // The stream gets the gap event later, or when its client reconnects.
            if has_older || (log.has_passed_by(cursor) && cursor < up_to) {
                position.lags(key, half_seen.unwrap_or_else(|| Point::whole(cursor)));
            } else if let Some(point) = half_seen {
                position.up_to = point;
            }
        }
        Some(position)
    }

    /// The same, but everything published counts as seen if the stream has been given its part of
    /// it.
    pub(in crate::engine) fn latest_position(
        &mut self,
        conn: ConnIndex,
        subscriptions: &[Subscription],
    ) -> Option<Position> {
        let series = self.series_of_ids(subscriptions);
        let kept = || subscriptions.iter().filter(|it| self.keeps_history_in(series, **it));
        let is_behind = |subscription: &Subscription| {
            let (log, cursor) = self.position(*subscription);
            log.last_sequence() > cursor
        };
        if !kept().any(is_behind)
            && let Some(&first) = kept().next()
        {
            let latest = self.progress().of(series);
            let cursor = &mut self[first.topic].subscribers[first.place as usize].cursor;
            *cursor = latest.max(*cursor);
        }
        self.stream_position(conn, subscriptions)
    }

    /// True if no frame of a stream can be shared, because its topics with history are of both
    /// series and it has one id for them.
    pub(in crate::engine) fn needs_copies(&self, subscriptions: &[Subscription]) -> bool {
        self.kinds(subscriptions) == Kinds::Both
    }

    /// The series that the ids of a stream speak of.
    pub(in crate::engine) fn series_of_ids(&self, subscriptions: &[Subscription]) -> Series {
        match self.kinds(subscriptions) {
            Kinds::One(series) => series,
            Kinds::Both => Series::Spanning,
        }
    }

    fn kinds(&self, subscriptions: &[Subscription]) -> Kinds {
        if self.namespace.is_none() {
            return Kinds::One(Series::Local);
        }
        let has = |series| subscriptions.iter().any(|it| self.keeps_history_in(series, *it));
        match (has(Series::Local), has(Series::Spanning)) {
            (true, true) => Kinds::Both,
            (false, true) => Kinds::One(Series::Spanning),
            (_, false) => Kinds::One(Series::Local),
        }
    }

    pub(in crate::engine) fn keeps_history(&self, subscription: Subscription) -> bool {
        self[subscription.topic].gives_ids()
    }

    fn keeps_history_in(&self, series: Series, subscription: Subscription) -> bool {
        self[subscription.topic].series == series && self.keeps_history(subscription)
    }

    /// How much of its next frame the client has seen, if it was cut in the middle of it. Until a
    /// reactor that is behind its client has come to that frame, it may be of any topic.
    fn half_seen_next(
        &self,
        conn: ConnIndex,
        topic: TopicKey,
        (series, cursor): (Series, u64),
        next: Option<&Frame>,
    ) -> Option<Point> {
        let half_seen = self.half_seen(conn, topic, (series, cursor))?;
        let is_next = match next {
            Some(next) => next.sequence == half_seen.sequence,
            None => self.progress().of(series) < half_seen.sequence,
        };
        is_next.then_some(half_seen)
    }

    /// True if a stream that has come to `up_to` in other topics has not been given everything up to
    /// there of this one. A client may be ahead of this reactor, and so may its topics: then what is
    /// older is still on its way.
    fn has_older(&self, (series, cursor): (Series, u64), next: Option<&Frame>, up_to: u64) -> bool {
        match next {
            Some(next) => next.sequence <= up_to,
            None => cursor < up_to && self.progress().of(series) < up_to,
        }
    }

    /// Copies the next frame of an uneven stream into `out`, for this stream alone. A frame older
    /// than `position` gets ids with all positions.
    pub(in crate::engine) fn copy_frame(
        &self,
        conn: ConnIndex,
        (series, mut position): (Series, Position),
        (frame, subscription): (&Frame, Subscription),
        out: &mut Vec<u8>,
    ) {
        let (log, cursor) = self.position(subscription);
        let key = TopicKey::of(self[subscription.topic].topic.name());
        let of_topic = self[subscription.topic].series;
        let half_seen = self.half_seen_next(conn, key, (of_topic, cursor), Some(frame));
        let seen = half_seen.map_or(0, |point| point.events);
        let up_to = position.up_to.sequence;
        let prefix = self.id_prefix(series);
        if of_topic != series && self.keeps_history(subscription) {
            let id_at = |_: Point| IdOf { position: &position, epoch: prefix };
            return frame.copy_events_with(seen, id_at, out);
        }
        if !self.keeps_history(subscription)
            || frame.sequence > up_to
            || half_seen == Some(position.up_to)
        {
            return frame.copy_events(seen, out);
        }
        position.has_caught_up(key);
        let next = log.after(frame.sequence).next();
        let has_more = self.has_older((of_topic, frame.sequence), next, up_to);
        let id_at = |point: Point| {
            let mut position = position.clone();
            if point.events > 0 || has_more {
                position.lags(key, point);
            }
            IdOf { position: &position, epoch: prefix }.to_string()
        };
        frame.copy_events_with(seen, id_at, out);
    }
}
