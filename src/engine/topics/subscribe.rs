//! Subscriptions: where each starts, and what happens to subscribers that the log has passed.

use std::{mem, sync::Arc};

use super::{
    Topics,
    state::{Subscriber, TopicState},
};
use crate::{
    conn::{Standing, Subscription, TopicIndex},
    engine::keys::ConnIndex,
    topic::{Backpressure, JoinAt, LastSeen, Progress, Resume, Retain, Series, Topic},
};

/// The loss of frames that a stream has not been given.
#[derive(Debug)]
pub(in crate::engine) enum Loss {
    /// None are lost.
    Nothing,
    /// The stream continues with what there is, and gets a gap event if the topic has one.
    Skipped { gap: Option<Topic> },
    /// The stream must be disconnected.
    Disconnect,
}

impl Topics {
    /// True when frames that this subscription has not been given are gone.
    pub(in crate::engine) fn has_passed_by(&self, subscription: Subscription) -> bool {
        let (log, cursor) = self.position(subscription);
        log.has_passed_by(cursor)
    }

    /// Applies the topic's policy to a subscriber that the log has passed. Of the remaining frames
    /// it gets none after `last`.
    pub(in crate::engine) fn skip_lost(
        &mut self,
        subscription: Subscription,
        last: Progress,
        now: u64,
    ) -> Loss {
        if !self.has_passed_by(subscription) {
            return Loss::Nothing;
        }
        let state = &mut self[subscription.topic];
        let last = last.of(state.series);
        let (cursor, gap) = match state.topic.options().backpressure {
            Backpressure::Disconnect => return Loss::Disconnect,
            Backpressure::Latest => {
                // There is no newest event anymore, only the end.
                let gap = state.log.is_tombstone().then(|| state.topic.clone());
                (state.log.newest_cursor(last), gap)
            }
            Backpressure::DropOldest => {
                let cursor = state.subscribers[subscription.place as usize].cursor;
                (state.after_gap(cursor), Some(state.topic.clone()))
            }
        };
        let subscriber = &mut state.subscribers[subscription.place as usize];
        let moved_from = mem::replace(&mut subscriber.cursor, cursor);
        self.moved_on_from(subscription.topic, moved_from, now);
        Loss::Skipped { gap }
    }
}

impl Topics {
    /// Adds a stream to the list, and keeps its frames until this turn has served it.
    pub(in crate::engine) fn join(
        &mut self,
        index: TopicIndex,
        conn: ConnIndex,
        start: Start,
        now: u64,
    ) -> Subscription {
        let state = &mut self[index];
        let place = state.subscribers.len() as u32;
        state.subscribers.push(Subscriber { conn, cursor: start.cursor });
        state.last_use = now;
        self.note_audience(index);
        let subscription = Subscription { topic: index, place };
        self.hold(subscription);
        subscription
    }

    /// Removes a stream from the list. Returns which others have moved, and where to.
    pub(in crate::engine) fn leave(
        &mut self,
        left: Subscription,
        conn: ConnIndex,
        now: u64,
    ) -> [Option<(ConnIndex, u32)>; 2] {
        let state = &mut self[left.topic];
        let Subscriber { conn: owner, cursor } = state.subscribers[left.place as usize];
        debug_assert_eq!(owner, conn, "a stream and its topic agree on its place");
        let moved = state.take_out(left.place as usize);
        state.last_use = now;
        self.note_audience(left.topic);
        self.moved_on_from(left.topic, cursor, now);
        moved
    }

    /// The stream that has joined is compressed.
    pub(in crate::engine) fn join_coded(&mut self, index: TopicIndex) {
        let window_bytes = self.window_bytes;
        let state = &mut self[index];
        state.coded_subscribers += 1;
        if state.last.is_none() {
            state.last = state.log.newest(window_bytes);
        }
    }

    /// The stream that leaves is compressed.
    pub(in crate::engine) fn leave_coded(&mut self, index: TopicIndex) {
        let state = &mut self[index];
        state.coded_subscribers -= 1;
        if state.coded_subscribers == 0 {
            state.last = None;
        }
    }

    /// True when there are frames that this subscription has not been given.
    pub(in crate::engine) fn has_news(&self, subscription: Subscription) -> bool {
        let (log, cursor) = self.position(subscription);
        log.last_sequence() > cursor
    }

    /// The delay before an unused topic is checked again has passed.
    pub(in crate::engine) fn end_watch(&mut self, name: &Arc<str>) -> Option<TopicIndex> {
        let index = *self.by_name.get(name)?;
        self[index].watch = None;
        Some(index)
    }
}

/// Where a stream that joins a topic starts.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Start {
    cursor: u64,
    /// Events that it should have got are gone.
    pub(in crate::engine) is_gap: bool,
    /// What to check before the next frames; nothing without history.
    pub(in crate::engine) standing: Standing,
}

impl TopicState {
    /// Where a stream starts whose client has seen this much of the topic. `ahead` is what it has
    /// seen of its namespace, which may be more than has arrived here. A stream that has waited for the
    /// past of its topics is as if it had joined at the place `since`.
    pub(in crate::engine) fn start_for(
        &self,
        join_at: JoinAt,
        last_seen: Option<LastSeen>,
        ahead: u64,
        since: Option<u64>,
    ) -> Start {
        let options = self.topic.options();
        // A place of the namespace says nothing of the sequences of a local topic.
        let live_after = if self.series == Series::Spanning { self.live_after } else { 0 };
        let joined = since.map_or(u64::MAX, |since| since.max(live_after));
        // No other event comes after the last one.
        let retain = if self.is_finished() { Retain::Last } else { options.retain };
        let fresh = match (join_at, retain) {
            // What a topic holds for slow subscribers is kept for nobody else.
            (JoinAt::Oldest, _) if options.keeps_events() => self.log.oldest_cursor(),
            (_, Retain::Last) => self.log.newest_cursor(u64::MAX).min(joined),
            (_, Retain::Nothing) => self.log.last_sequence().min(joined).max(ahead),
        };
        let (cursor, is_gap, standing) = match last_seen.map(|seen| self.log.resume(seen)) {
            // The client already holds an id that covers this topic.
            Some(Resume::At(cursor)) => (cursor, false, Standing::Uneven),
            Some(Resume::Gap(cursor)) => (cursor.min(fresh), true, Standing::Unmarked),
            // Of a finished topic, everything is gone.
            None => (fresh, self.log.is_tombstone() && self.is_finished(), Standing::Unmarked),
        };
        let standing = if self.gives_ids() { standing } else { Standing::Even };
        Start { cursor, is_gap, standing }
    }
}
