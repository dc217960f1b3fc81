//! Whether a topic continues after an event.

use super::{History, TopicOptions};
use crate::sse::{Encode, EventBuffer, each_event, is_whole};

/// Whether a topic continues after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Continues {
    Yes,
    /// It is the last one: the topic has been finished.
    No,
}

/// Encodes the last event of a topic. What has no event that could have an id gets an id without an
/// event, because a client that has got the end must be able to say so.
pub(crate) fn encode_last(event: &impl Encode) -> Vec<u8> {
    let mut buffer = EventBuffer::new();
    buffer.push(event);
    let mut events = buffer.into_bytes();
    if !each_event(&events).any(is_whole) {
        events.extend_from_slice(b"id:\n\n");
    }
    events
}

impl TopicOptions {
    /// True if an event of the topic gets an id.
    pub(crate) fn gives_id(&self, continues: Continues) -> bool {
        self.history == History::On || (continues == Continues::No && self.keeps_events())
    }
}
