//! Publishing: one event, encoded once, into the log of a topic.

use std::mem;

use super::Core;
use crate::{
    conn::TopicIndex,
    sse::Encode,
    topic::{Allowed, Topic},
};

impl Core {
    /// Publishes one event. Returns the number of subscribers it will be offered to.
    pub(in crate::engine) fn publish(
        &mut self,
        topic: &Topic,
        event: &(impl Encode + ?Sized),
        compression: Allowed,
    ) -> usize {
        let Some(index) = self.topics.open_to_publish(topic, self.now) else { return 0 };
        let mut buffer = mem::take(&mut self.publish_buffer);
        buffer.clear();
        buffer.push(event);
        let subscribers = self.publish_at(index, buffer.as_bytes(), compression);
        self.publish_buffer = buffer;
        subscribers
    }

    /// Publishes events that another thread has encoded.
    pub(in crate::engine) fn publish_bytes(&mut self, topic: &Topic, events: &[u8]) -> usize {
        match self.topics.open_to_publish(topic, self.now) {
            Some(index) => self.publish_at(index, events, Allowed::Yes),
            None => 0,
        }
    }

    pub(in crate::engine) fn publish_at(
        &mut self,
        index: TopicIndex,
        events: &[u8],
        compression: Allowed,
    ) -> usize {
        let audience = self.topics.subscribers_at(index);
        if !events.is_empty() && !self.topics.is_for_nobody(index) {
            self.stats.published += 1;
            self.topics.append(index, events, compression, self.now);
        }
        // Also if there was nothing to append: the topic may have been opened for it.
        if audience == 0 {
            self.watch_topic(index);
        }
        audience
    }
}
