//! The end of a topic: its last event.

use super::{Frame, Log};
use crate::topic::{Continues, History, TopicOptions};

impl Frame {
    /// Whether the topic continues after this event. Of a topic without history, only the last one has
    /// an id, which may not be the position of a stream with other topics.
    pub(crate) fn continuing(mut self, continues: Continues, options: &TopicOptions) -> Self {
        self.continues = continues;
        self.has_foreign_id |= continues == Continues::No
            && options.gives_id(continues)
            && options.history == History::Off;
        self
    }

    /// True for the last event of its topic.
    pub(crate) fn is_last(&self) -> bool {
        self.continues == Continues::No
    }
}

impl Log {
    /// The sequence of the last event, if the topic has been finished.
    pub(crate) fn end(&self) -> Option<u64> {
        self.end
    }

    /// The topic has been finished with this event, and its log is elsewhere, or dropped.
    pub(crate) fn has_ended_at(&mut self, sequence: u64) {
        self.end = Some(sequence);
    }

    /// Another topic of the same name begins.
    pub(crate) fn begins_again(&mut self) {
        self.end = None;
    }

    /// True if the last event of a finished topic has this publisher's id.
    pub(crate) fn end_has_own_id(&self, id: &str) -> bool {
        let last = self.frames.back().filter(|frame| frame.is_last());
        last.is_some_and(|frame| {
            let of_last = frame.own_ids.last();
            of_last.is_some_and(|(point, own)| point.events == 0 && **own == *id)
        })
    }

    /// True for a finished topic whose events have been dropped.
    pub(crate) fn is_tombstone(&self) -> bool {
        self.end.is_some() && self.frames.is_empty()
    }
}
