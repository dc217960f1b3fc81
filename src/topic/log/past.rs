//! What a log learns of its past from elsewhere, and what it loses at once.

use super::Log;
use crate::topic::{Backlog, Placed, TopicOptions};

impl Log {
    /// Everything up to this sequence is gone.
    pub(crate) fn lose_up_to(&mut self, sequence: u64) {
        self.lost_up_to = sequence.max(self.last_sequence());
        self.frames.clear();
        (self.bytes, self.with_own_ids, self.end) = (0, 0, None);
        self.shrink_after_a_burst();
    }

    /// Adds what was before the first frame. Keeps to the log's limits.
    ///
    /// If the log has lost something after the end of the backlog, there is a hole between the two.
    /// Then nothing is added, and everything up to the hole stays lost.
    pub(crate) fn prepend(&mut self, backlog: &Backlog, options: &TopicOptions) {
        if backlog.complete_up_to < self.lost_up_to {
            return;
        }
        // Unless the topic has begun again since.
        if self.frames.is_empty() {
            self.end = backlog.end;
        }
        let mut lost_up_to = backlog.lost_up_to;
        let first = self.frames.front().map_or(u64::MAX, |frame| frame.sequence);
        let missing = lost_up_to + 1..first;
        let older = backlog.events.iter().rev().filter(|it| missing.contains(&it.sequence()));
        for placed in older {
            if !self.has_room_for(placed, options) {
                lost_up_to = placed.sequence();
                break;
            }
            self.bytes += placed.len();
            let frame = placed.frame();
            self.with_own_ids += usize::from(!frame.own_ids.is_empty());
            self.frames.push_front(frame);
        }
        self.lost_up_to = lost_up_to;
    }

    /// The newest event is kept whatever its size.
    fn has_room_for(&self, placed: &Placed, options: &TopicOptions) -> bool {
        let has_room = self.frames.len() < options.log_events
            && self.bytes + placed.len() <= options.log_bytes;
        self.frames.is_empty() || has_room
    }
}
