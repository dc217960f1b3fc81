//! Who is subscribed, where it begins, and what becomes of those that the log has passed by.

use std::{mem, sync::Arc};

use super::{
    Topics,
    state::{Subscriber, TopicState},
};
use crate::{
    conn::{Standing, Subscription, TopicIndex},
    engine::keys::ConnIndex,
    topic::{Backpressure, History, JoinAt, LastSeen, Resume, Retain, Topic},
};

/// Where frames are gone that a stream has not been given.
#[derive(Debug)]
pub(in crate::engine) enum Loss {
    /// None are.
    Nothing,
    /// The stream goes on with what there is, and is told of it if the topic says so.
    Skipped { gap: Option<Topic> },
    /// The stream is to be disconnected.
    Disconnect,
}

impl Topics {
    /// True when frames that this subscription has not been given are gone.
    pub(super) fn has_passed_by(&self, subscription: Subscription) -> bool {
        let (log, cursor) = self.position(subscription);
        log.has_passed_by(cursor)
    }

    /// Applies the topic's policy to a subscriber that the log has passed by. Of what is still there
    /// it is to be given nothing after `last`.
    pub(in crate::engine) fn skip_lost(
        &mut self,
        subscription: Subscription,
        last: u64,
        now: u64,
    ) -> Loss {
        if !self.has_passed_by(subscription) {
            return Loss::Nothing;
        }
        let state = &mut self[subscription.topic];
        let (cursor, gap) = match state.topic.options().backpressure {
            Backpressure::Disconnect => return Loss::Disconnect,
            Backpressure::Latest => (state.log.newest_cursor(last), None),
            Backpressure::DropOldest => (state.log.oldest_cursor(), Some(state.topic.clone())),
        };
        let subscriber = &mut state.subscribers[subscription.place as usize];
        let moved_from = mem::replace(&mut subscriber.cursor, cursor);
        self.moved_on_from(subscription.topic, moved_from, now);
        Loss::Skipped { gap }
    }
}

impl Topics {
    /// Lists a stream, and keeps what it is to be given until this turn has served it.
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
        let subscription = Subscription { topic: index, place };
        self.hold(subscription);
        subscription
    }

    /// Takes a stream off the list. Returns which others have moved, and where to.
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

    /// The time after which an unused topic is looked at again is over.
    pub(in crate::engine) fn end_watch(&mut self, name: &Arc<str>) -> Option<TopicIndex> {
        let index = *self.by_name.get(name)?;
        self[index].watch = None;
        Some(index)
    }
}

/// Where a stream begins that joins a topic.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Start {
    cursor: u64,
    /// Events are gone that it should have got.
    pub(in crate::engine) is_gap: bool,
    /// What the next frames need of a look; nothing without history.
    pub(in crate::engine) standing: Standing,
}

impl TopicState {
    pub(in crate::engine) fn start_for(
        &self,
        join_at: JoinAt,
        last_seen: Option<LastSeen>,
    ) -> Start {
        let options = self.topic.options();
        let fresh = match (join_at, options.retain) {
            (JoinAt::Oldest, _) => self.log.oldest_cursor(),
            (JoinAt::Live, Retain::Last) => self.log.newest_cursor(u64::MAX),
            (JoinAt::Live, Retain::Nothing) => self.log.last_sequence(),
        };
        let (cursor, is_gap, standing) = match last_seen.map(|seen| self.log.resume(seen)) {
            // The client holds an id already that speaks of this topic.
            Some(Resume::At(cursor)) => (cursor, false, Standing::Uneven),
            Some(Resume::Gap(cursor)) => (cursor.min(fresh), true, Standing::Unmarked),
            None => (fresh, false, Standing::Unmarked),
        };
        let standing = match options.history {
            History::On => standing,
            History::Off => Standing::Even,
        };
        Start { cursor, is_gap, standing }
    }
}
