//! The end of a topic: its last event, and what becomes of its subscribers.

use super::Core;
use crate::{
    conn::TopicIndex,
    engine::{
        keys::{ConnIndex, StreamId},
        pending::Birth,
        remote::TrySendError,
    },
    error::CloseReason,
    span::Publication,
    sse::Encode,
    topic::{Backlog, Compressible, Continues, JoinAt, Topic, encode_last},
};

/// Finishing.
impl Core {
    /// Publishes the last event of a topic. A namespace may refuse it; this reactor never does.
    pub(in crate::engine) fn finish<E: Encode>(
        &mut self,
        topic: &Topic,
        event: E,
    ) -> Result<(), TrySendError<E>> {
        let events = encode_last(&event);
        if self.topics.leaves_for_namespace(topic) {
            return self.leave(Publication::last(topic, &[&events])).map_err(|it| it.with(event));
        }
        self.finish_locally(topic, &events);
        Ok(())
    }

    /// The same with an event that another thread has encoded.
    pub(in crate::engine) fn finish_bytes(&mut self, topic: &Topic, events: &[u8]) {
        match self.topics.leaves_for_namespace(topic) {
            true => self.pass_on_all(Publication::last(topic, &[events])),
            false => self.finish_locally(topic, events),
        }
    }

    fn finish_locally(&mut self, topic: &Topic, events: &[u8]) {
        if self.topics.is_finished(topic, self.now) {
            return;
        }
        if self.topics.find(topic).is_some() || topic.options().keeps_events() {
            let index = self.topics.open(topic, self.now);
            self.finish_at(index, events, Compressible::Yes);
        }
    }

    /// Appends the last event of a topic.
    pub(in crate::engine) fn finish_at(
        &mut self,
        index: TopicIndex,
        events: &[u8],
        compression: Compressible,
    ) {
        self.begin_again(index);
        if !self.topics.has_no_audience(index) {
            self.stats.published += 1;
            let last = (compression, Continues::No);
            self.topics.append(index, events, last, self.now);
        }
        self.settle_end(index);
    }

    /// The topic has got its last event: it is rendered no more, and is kept only for as long as its
    /// [options](Topic::keep_finished) say.
    pub(in crate::engine) fn settle_end(&mut self, index: TopicIndex) {
        let topic = self.topics[index].topic().clone();
        if let Some(watch) = self.topics[index].end_other_watch() {
            self.cancel_timer(watch);
        }
        if !self.stop_driving(&topic) {
            drop(topic);
            self.watch_topic(index);
        }
    }

    /// The name of a topic that does not remember its end is used again. Streams of which all topics
    /// have ended get what was published before, and end now. Others stay on the new topic.
    #[inline]
    pub(super) fn begin_again(&mut self, index: TopicIndex) {
        for conn in self.topics.begin_again(index) {
            if self.would_end(conn, index) {
                self.end_stream(conn, CloseReason::TopicsFinished);
            }
        }
    }

    /// True for a stream without other sources than topics that have ended, and this one.
    fn would_end(&self, conn: ConnIndex, ended: TopicIndex) -> bool {
        self.conns[conn].streaming().is_some_and(|streaming| {
            let mut topics = streaming.subscriptions().iter();
            !streaming.has_updater()
                && !self.topics.is_waiting(conn)
                && topics.all(|it| it.topic == ended || self.topics.has_ended(*it))
        })
    }

    /// A local topic has been finished elsewhere by its name, before it was used here or while this
    /// reactor was left out. Its own past goes no further.
    pub(super) fn end_locally(&mut self, index: TopicIndex, backlog: &Backlog) {
        if backlog.end.is_none() || self.topics[index].is_finished() {
            return;
        }
        match backlog.events.last() {
            Some(last) => self.finish_at(index, &last.frame().events(), last.compression()),
            None => {
                self.topics.end_unseen(index, self.now);
                self.settle_end(index);
            }
        }
    }

    /// True for an event on a topic that has been finished. It is counted.
    pub(super) fn is_late(&mut self, topic: &Topic) -> bool {
        let is_late = self.topics.is_finished(topic, self.now);
        if is_late {
            self.mailbox.late().note(topic.name(), 1);
        }
        is_late
    }
}

/// Streams.
impl Core {
    /// The stream may have been given the end of a topic. That is looked at when the turn settles.
    pub(in crate::engine) fn review_later(&mut self, id: StreamId) {
        self.pending.add_birth(Birth::Review(id));
    }

    /// Ends a stream if all of its topics have ended. One that goes on, with other topics or an
    /// updater, leaves those that have ended.
    pub(in crate::engine) fn review(&mut self, id: StreamId) {
        let Some(conn) = self.conns.live(id) else { return };
        let Some(streaming) = self.conns[conn].streaming() else { return };
        if self.topics.is_waiting(conn) || streaming.subscriptions().is_empty() {
            return;
        }
        let all_ended = streaming.subscriptions().iter().all(|it| self.topics.is_at_end(*it));
        if all_ended && !streaming.has_updater() {
            self.end_stream(conn, CloseReason::TopicsFinished);
            return;
        }
        let subscriptions = streaming.subscriptions().iter();
        let ended: Vec<_> = subscriptions.filter_map(|it| self.topics.topic_at_end(*it)).collect();
        for topic in &ended {
            self.end_subscription(id, topic);
        }
    }

    /// True if a client with this id has seen the end of all these topics.
    pub(in crate::engine) fn has_seen_all(&self, id: &str, topics: &[(Topic, JoinAt)]) -> bool {
        let has_seen_end = |(topic, _): &(Topic, JoinAt)| {
            let elsewhere = || self.mailbox.outlet()?.end_of(topic);
            self.topics.has_seen_end(id, topic, self.now, elsewhere)
        };
        !topics.is_empty() && topics.iter().all(has_seen_end)
    }
}
