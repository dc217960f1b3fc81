//! Events into logs.

use super::Topics;
use crate::{
    conn::TopicIndex,
    topic::{Compressible, Continues, Frame},
};

impl Topics {
    /// True when an event published now would be neither kept nor delivered: subscribers that are
    /// leaving do not get it.
    pub(in crate::engine) fn has_no_audience(&self, index: TopicIndex) -> bool {
        let state = &self[index];
        state.audience() == 0 && !state.topic.options().keeps_events()
    }

    /// Appends events to a topic's log as one frame, and starts a pass over its subscribers.
    pub(in crate::engine) fn append(
        &mut self,
        index: TopicIndex,
        events: &[u8],
        (compression, continues): (Compressible, Continues),
        now: u64,
    ) {
        self.sequence += 1;
        let state = &mut self.states[index.slot()];
        let options = state.topic.options();
        let epoch = options.gives_id(continues).then_some(self.epoch.as_str());
        let frame = Frame::new(self.sequence, events, epoch, &mut self.frame_scratch);
        let frame = frame.continuing(continues, options);
        let frame = match compression {
            Compressible::Yes => frame,
            Compressible::No => frame.uncompressed(),
        };
        state.last_use = now;
        self.append_frame(index, frame, now);
    }

    /// Appends a frame, and starts a pass over the topic's subscribers.
    #[inline]
    pub(super) fn append_frame(&mut self, index: TopicIndex, frame: Frame, now: u64) {
        let state = &mut self.states[index.slot()];
        state.published += 1;
        let frame = match frame.compression() {
            Compressible::Yes => frame.with_previous(state.last.take()),
            Compressible::No => frame,
        };
        if state.coded_subscribers > 0 {
            state.last = frame.as_previous(self.window_bytes);
        }
        let (is_alone, is_last) = (state.subscribers.is_empty(), frame.is_last());
        if !is_alone {
            state.unoffered_bytes += frame.bytes.len();
            self.unoffered_bytes += frame.bytes.len();
        }
        self.change(index, |state| {
            if is_alone {
                state.offered = frame.sequence;
            }
            state.log.push(frame);
            state.evict();
            if is_alone {
                state.log.trim(state.offered, state.topic.options());
            }
        });
        if is_last {
            self.note_end(index, now);
        }
        if !is_alone {
            self.begin_pass(index, now);
        }
    }
}
