//! Topics that have been finished, and who has seen their end.
//!
//! The end of a topic is its last event, with a sequence like any other. A stream that has been given
//! it leaves the topic when the turn settles, or ends with it.

use super::{Topics, state::TopicState};
use crate::{
    conn::{Subscription, TopicIndex},
    engine::keys::ConnIndex,
    topic::{History, Position, Series, Topic, TopicKey},
};

impl Topics {
    /// True if a topic of this name was finished, and is not new yet.
    pub(in crate::engine) fn is_finished(&self, topic: &Topic, now: u64) -> bool {
        match self.find(topic) {
            Some(index) => self[index].is_finished(),
            None => self.tombstones.get(topic.name(), now).is_some(),
        }
    }

    /// True if the stream has been given everything, and the topic has been finished.
    pub(in crate::engine) fn is_at_end(&self, subscription: Subscription) -> bool {
        let (log, cursor) = self.position(subscription);
        log.end().is_some_and(|end| cursor >= end)
    }

    /// True if the topic has been finished, and a client with this id has seen its last event.
    /// `spanning_end` is that of a topic which spans reactors and is not open here.
    pub(in crate::engine) fn has_seen_end(
        &self,
        id: &str,
        topic: &Topic,
        now: u64,
        spanning_end: impl FnOnce() -> Option<u64>,
    ) -> bool {
        let state = self.find(topic).map(|index| &self[index]);
        if let Some(state) = state.filter(|it| it.log.end().is_some() || it.is_known()) {
            return state.log.end().filter(|_| state.is_finished()).is_some_and(|end| {
                let position = self.position_of(id, state.series);
                let seen = position.map(|it| it.of(TopicKey::of(topic.name())).cursor());
                seen.is_some_and(|seen| seen >= end) || state.log.end_has_own_id(id)
            });
        }
        let series = state.map_or_else(|| self.series_of_new(topic), |state| state.series);
        let end = match series {
            Series::Local => self.tombstones.get(topic.name(), now).map(|it| it.end),
            Series::Spanning => spanning_end(),
        };
        let position = self.position_of(id, series);
        let seen = position.map(|it| it.of(TopicKey::of(topic.name())).cursor());
        end.is_some_and(|end| seen.is_some_and(|seen| seen >= end))
    }

    /// The position that an id of this series stands for.
    fn position_of(&self, id: &str, series: Series) -> Option<Position> {
        match series {
            Series::Local => Position::parse(id, &self.epoch)
                .filter(|position| position.up_to.sequence <= self.sequence),
            Series::Spanning => self.spanning_position(id),
        }
    }

    /// The topic of a subscription whose end the stream has been given.
    pub(in crate::engine) fn topic_at_end(&self, subscription: Subscription) -> Option<Topic> {
        self.is_at_end(subscription).then(|| self[subscription.topic].topic.clone())
    }

    /// True if the topic of this subscription has been finished; the stream may have yet to get that.
    pub(in crate::engine) fn has_ended(&self, subscription: Subscription) -> bool {
        self[subscription.topic].log.end().is_some()
    }

    /// The name of a topic that does not remember its end is used again. Returns those who have not
    /// left it yet.
    pub(in crate::engine) fn begin_again(&mut self, index: TopicIndex) -> Vec<ConnIndex> {
        let state = &mut self[index];
        if state.log.end().is_none() || state.is_finished() {
            return Vec::new();
        }
        state.log.begins_again();
        state.subscribers.iter().map(|subscriber| subscriber.conn).collect()
    }

    /// A local topic has been finished elsewhere, and its last event is gone.
    pub(in crate::engine) fn end_unseen(&mut self, index: TopicIndex, now: u64) {
        self.drop_log(index, now);
        let end = self.sequence;
        self[index].log.has_ended_at(end);
        self.note_end(index, now);
    }

    /// The topic has got its last event.
    pub(super) fn note_end(&mut self, index: TopicIndex, now: u64) {
        // Its last event has an id, even without a history.
        self.has_history = true;
        self[index].finished_at = now;
    }
}

impl TopicState {
    /// True for a topic that has got its last event, and remembers that.
    pub(in crate::engine) fn is_finished(&self) -> bool {
        self.log.end().is_some() && self.topic.options().keeps_events()
    }

    /// True if ids speak of the topic: it has a history, or an end.
    pub(super) fn gives_ids(&self) -> bool {
        self.topic.options().history == History::On || self.is_finished()
    }

    /// A topic of this name was finished, and nothing else is left of it.
    pub(super) fn was_finished(&mut self, end: u64) {
        self.log.has_ended_at(end);
    }

    /// Until when its events are kept though nobody subscribes.
    pub(super) fn kept_until(&self) -> Option<u64> {
        let is_kept_here = self.series == Series::Local && !self.log.is_tombstone();
        let until = self.finished_at.saturating_add(self.topic.options().keep_finished_ms);
        // Otherwise there is nothing to keep, or the namespace keeps it.
        self.is_finished().then_some(if is_kept_here { until } else { 0 })
    }
}
