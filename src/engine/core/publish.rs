//! Publishing: one event, encoded once, into the log of a topic.

use std::mem;

use super::Core;
use crate::{
    conn::TopicIndex,
    engine::remote::TrySendError,
    sse::Encode,
    topic::{Compressible, Continues, Topic},
};

impl Core {
    /// Publishes one event. A namespace may refuse it; this reactor never does.
    pub(in crate::engine) fn publish<E: Encode>(
        &mut self,
        topic: &Topic,
        event: E,
        compression: Compressible,
        once: Option<&str>,
    ) -> Result<(), TrySendError<E>> {
        if self.topics.leaves_for_namespace(topic) {
            return self.publish_outside(topic, event, compression, once);
        }
        if self.is_late(topic) || !self.is_first(topic, once) {
            return Ok(());
        }
        let Some(index) = self.open_to_publish(topic) else { return Ok(()) };
        let mut buffer = mem::take(&mut self.publish_buffer);
        buffer.clear();
        buffer.push(&event);
        self.publish_at(index, buffer.as_bytes(), compression);
        self.publish_buffer = buffer;
        Ok(())
    }

    /// Publishes events that another thread has encoded.
    pub(in crate::engine) fn publish_bytes(
        &mut self,
        topic: &Topic,
        events: &[u8],
        compression: Compressible,
        once: Option<&str>,
    ) {
        if self.topics.leaves_for_namespace(topic) {
            return self.pass_on(topic, events, compression, once);
        }
        if !self.is_late(topic)
            && self.is_first(topic, once)
            && let Some(index) = self.open_to_publish(topic)
        {
            self.publish_at(index, events, compression);
        }
    }

    /// False if another event on this topic has had the same key in the last minutes.
    fn is_first(&mut self, topic: &Topic, once: Option<&str>) -> bool {
        once.is_none_or(|key| {
            let keys = self.once.get_or_insert_default();
            keys.is_first(topic.name(), key, self.now)
        })
    }

    /// The topic, if it exists or must be created. A new one is watched immediately, because
    /// nothing may follow: events may be empty, and encoding them may panic.
    fn open_to_publish(&mut self, topic: &Topic) -> Option<TopicIndex> {
        if let Some(index) = self.topics.find(topic) {
            return Some(index);
        }
        if !topic.options().keeps_events() {
            return None;
        }
        let index = self.topics.open(topic, self.now);
        self.watch_topic(index);
        Some(index)
    }

    pub(in crate::engine) fn publish_at(
        &mut self,
        index: TopicIndex,
        events: &[u8],
        compression: Compressible,
    ) {
        if events.is_empty() {
            return;
        }
        self.begin_again(index);
        if !self.topics.has_no_audience(index) {
            self.stats.published += 1;
            let as_usual = (compression, Continues::Yes);
            self.topics.append(index, events, as_usual, self.now);
        }
    }
}
