//! Streams join topics, resume, and leave; unused topics are forgotten.

use std::sync::Arc;

use super::Core;
use crate::{
    conn::{Standing, Subscription, TopicIndex},
    engine::{
        keys::{ConnIndex, StreamId},
        pending::{Birth, TimerCall},
        topics::Entry,
    },
    topic::{Compressible, JoinAt, Topic},
};

impl Core {
    /// Subscribes a stream; false if it has ended or is already subscribed. A reconnected client
    /// resumes after what it had seen, unless the stream has had the topic since.
    pub(in crate::engine) fn subscribe(
        &mut self,
        id: StreamId,
        topic: &Topic,
        join_at: JoinAt,
    ) -> bool {
        let Some(conn) = self.conns.live(id) else { return false };
        let index = self.topics.open(topic, self.now);
        let streaming = self.conns[conn].streaming();
        if streaming.is_some_and(|streaming| streaming.subscription(index).is_some()) {
            return false;
        }
        if self.topics.has_namespace() && self.entry(conn, index, topic) != Entry::Open {
            return self.wait_for(conn, index, join_at);
        }
        self.join(id, index, join_at, None);
        true
    }

    /// Adds a stream to the subscribers of a topic. One that had to wait for it gets what has come since
    /// a place.
    pub(super) fn join(
        &mut self,
        id: StreamId,
        index: TopicIndex,
        join_at: JoinAt,
        since: Option<u64>,
    ) {
        self.begin_again(index);
        let conn = id.conn;
        let coding = self.conns[conn].coding();
        let last_seen = self.topics.last_seen(conn, index);
        let ahead = self.topics.seen_ahead(conn, index);
        let start = self.topics[index].start_for(join_at, last_seen, ahead, since);
        let subscription = self.topics.join(index, conn, start, self.now);
        if let Some(coding) = coding {
            self.topics.join_coded(index);
            self.coding.share(coding);
        }
        self.conns[conn].subscribe(subscription);
        self.conns[conn].doubt_standing(start.standing);
        if let Some(timer) = self.topics.render_for_first(subscription) {
            self.pending.add_birth(Birth::Render { topic: index, timer });
        }
        if start.is_gap {
            self.stats.gaps += 1;
            let topic = self.topics[index].topic().clone();
            self.send(id, &topic.gap(), Compressible::Yes);
        }
        if self.topics.is_at_end(subscription) {
            self.review_later(id);
        }
        if self.topics.has_news(subscription) || start.standing == Standing::Unmarked {
            self.conns.mark_dirty(conn);
        }
    }

    /// Ends a subscription; false if there was none. If the topics that are left have all ended, so does
    /// the stream.
    pub(in crate::engine) fn unsubscribe(&mut self, id: StreamId, topic: &Topic) -> bool {
        let has_left = self.end_subscription(id, topic);
        if has_left && let Some(conn) = self.conns.live(id) {
            let subscriptions = self.conns[conn].subscriptions();
            // Nearly always decided by the first.
            let have_ended = subscriptions.iter().all(|it| self.topics.is_at_end(*it));
            if have_ended && !subscriptions.is_empty() {
                self.review_later(id);
            }
        }
        has_left
    }

    /// Ends a subscription; false if there was none.
    pub(in crate::engine) fn end_subscription(&mut self, id: StreamId, topic: &Topic) -> bool {
        let (Some(index), Some(conn)) = (self.topics.find(topic), self.conns.live(id)) else {
            return false;
        };
        if self.topics.is_waiting(conn) && self.stop_waiting_for(id, topic) {
            return true;
        }
        let left = self.conns[conn].unsubscribe(index);
        if let Some(left) = left {
            self.topics.note_left_topic(conn, left);
            self.leave_topic(conn, left);
            if let Some(coding) = self.conns[conn].coding()
                && self.conns[conn].subscriptions().is_empty()
            {
                self.coding.unshare(coding);
            }
        }
        left.is_some()
    }

    /// Ends all subscriptions of a stream that has ended.
    pub(in crate::engine) fn leave_topics(&mut self, conn: ConnIndex) {
        for &left in self.conns[conn].take_subscriptions().as_slice() {
            self.leave_topic(conn, left);
        }
        if self.topics.is_waiting(conn) {
            self.abandon_waiting(conn);
        }
        self.topics.forget_stream(conn);
    }

    /// Removes a stream from the list of a topic that is no longer on the stream's own list.
    fn leave_topic(&mut self, conn: ConnIndex, left: Subscription) {
        if self.conns[conn].coding().is_some() {
            self.topics.leave_coded(left.topic);
        }
        if !self.conns[conn].is_live_stream() {
            self.topics.end_leaving(left);
        }
        for (moved, place) in self.topics.leave(left, conn, self.now).into_iter().flatten() {
            self.conns[moved].subscription_moved(left.topic, place);
        }
        if let Some(timer) = self.topics[left.topic].idle_driver() {
            self.conns.disarm_timer(timer);
        }
        self.watch_topic(left.topic);
    }

    /// Forgets the topic if it is unused, or sets a timer to check again later.
    pub(super) fn watch_topic(&mut self, index: TopicIndex) {
        if self.topics[index].is_unused(self.now) {
            self.end_use(index);
            let forgotten = self.topics.forget(index, self.now);
            if let Some(watch) = forgotten.watch {
                self.cancel_timer(watch);
            }
            if let Some(driver) = forgotten.driver {
                self.end_driver(driver);
            }
        } else if let Some(delay_ms) = self.topics[index].watch_in(self.now) {
            let name = self.topics[index].topic().shared_name().clone();
            let call = TimerCall::Once(Box::new(move |cx| cx.review_topic(&name)));
            let watch = self.add_timer(delay_ms, 0, call);
            self.topics[index].begin_watch(watch);
        }
    }

    /// The delay before an unused topic is checked again has passed.
    pub(in crate::engine) fn review_topic(&mut self, name: &Arc<str>) {
        if let Some(index) = self.topics.end_watch(name) {
            self.watch_topic(index);
        }
    }
}
