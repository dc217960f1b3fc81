//! Topics of a [`Hub`] that have been finished.

use super::{Entry, Hub, Inbox};
use crate::topic::Topic;

impl<I: Inbox> Hub<I> {
    /// The place of the last event of a topic that has been finished, as far as it is remembered.
    pub(crate) fn end_of(&self, topic: &Topic, now_ms: u64) -> Option<u64> {
        match self.by_name.get(topic.shared_name()) {
            Some(&index) => self.topics[index].archive.end(),
            None => self.tombstones.get(topic.name(), now_ms).map(|it| it.end),
        }
    }

    /// True if the topic is in use here, or its events are kept here, and it has been finished.
    pub(in crate::span) fn is_known_to_be_finished(&self, topic: &Topic) -> bool {
        let index = self.by_name.get(topic.shared_name());
        index.is_some_and(|&index| self.topics[index].archive.end().is_some())
    }

    /// Drops the events of a topic that was finished long ago; its end stays.
    pub(super) fn drop_what_is_over(&mut self, index: usize, now_ms: u64) {
        let entry = &mut self.topics[index];
        if entry.kept_until_ms().is_some_and(|until_ms| until_ms <= now_ms) {
            entry.archive.drop_events();
        }
    }
}

impl Entry {
    /// Until when the events of a finished topic are kept.
    pub(super) fn kept_until_ms(&self) -> Option<u64> {
        self.archive.end()?;
        Some(self.finished_ms.saturating_add(self.topic.options().keep_finished_ms))
    }
}
