//! Fan-out: from the logs of topics straight to sockets, in slices.

use crate::{
    conn::{Standing, StreamEnd, TopicIndex},
    engine::{
        Engine, Transport,
        core::{Core, Evened},
        keys::ConnIndex,
        topics::{Frames, Loss, News},
        turn::send::Queued,
    },
    error::CloseReason,
    topic::Progress,
};

impl<T: Transport> Engine<T> {
    /// Offers published events to subscribers, up to a turn's share of deliveries. Topics take
    /// turns. A subscriber gets everything published up to then, so events that come faster than
    /// passes leave together, in one write.
    pub(in crate::engine) fn fan_out(&mut self) {
        let mut budget = DELIVERIES_PER_TURN;
        while budget > 0
            && let Some(topic) = self.core.topics.next_pass()
        {
            self.go_on_with_pass(topic, &mut budget);
        }
        let topics = &self.core.topics;
        debug_assert!(
            topics.has_passes() || topics.unoffered_bytes() == 0,
            "what no pass is to offer would block publishers forever"
        );
    }

    fn go_on_with_pass(&mut self, topic: TopicIndex, budget: &mut u32) {
        loop {
            if *budget == 0 && !self.core.topics.has_met_all(topic) {
                return self.core.topics.rest_pass(topic);
            }
            let Some(met) = self.core.topics.meet_next(topic) else {
                let core = &mut self.core;
                if let Some(began) = core.topics.end_pass(topic, core.now) {
                    core.stats.fan_out_ms.add(core.now.saturating_sub(began));
                }
                return;
            };
            *budget -= u32::from(met.news != News::None);
            match met.news {
                News::None => {}
                News::Ended => self.core.review_later(self.core.conns.stream_id(met.conn)),
                News::TooLate => {
                    self.core.skip_what_is_lost(met.conn, Frames::All);
                }
                // A blocked stream continues when its socket is writable again.
                News::Some if self.core.conns[met.conn].is_blocked() => {}
                News::Some => self.flush_one(met.conn, Frames::All),
            }
            self.core.topics.offered(topic, met);
        }
    }

    /// A stream that finishes gets what was published before its end was decided, because a finish
    /// promises a complete stream. A stream that is dropped while blocked does not: its client
    /// reconnects.
    /// A stream that still waits for the past of a topic gets nothing, and cannot be complete.
    pub(super) fn give_last_frames(&mut self, index: ConnIndex, published: Progress) -> LastFrames {
        if self.core.topics.is_waiting(index) {
            return self.core.end_incomplete(index);
        }
        let conn = &self.core.conns[index];
        let in_order = matches!(conn.ending(), Some(StreamEnd::Finish | StreamEnd::Drop));
        if !in_order || conn.subscriptions().is_empty() {
            return LastFrames::Given;
        }
        let frames = Frames::UpTo(&published);
        if !conn.is_blocked() {
            self.flush_one(index, frames);
        }
        self.core.queue_last_frames(index, frames)
    }
}

/// The result of [`Engine::give_last_frames`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LastFrames {
    Given,
    /// The client should have got all of them, but lags too far.
    TooMany,
}

impl Core {
    fn end_incomplete(&mut self, index: ConnIndex) -> LastFrames {
        if self.conns[index].ending() != Some(StreamEnd::Finish) {
            return LastFrames::Given;
        }
        self.conns[index].abort_stream();
        LastFrames::TooMany
    }

    /// Queues undelivered frames of a stream that finishes, as far as the outbox may grow.
    fn queue_last_frames(&mut self, index: ConnIndex, frames: Frames<'_>) -> LastFrames {
        let bytes_max = self.config.limits.outbox_bytes;
        while self.conns[index].ending() == Some(StreamEnd::Finish) {
            let queued = match self.skip_what_is_lost(index, frames) {
                false => Queued::TooMany,
                true if self.even_out(index, frames) == Evened::Further => {
                    match self.conns[index].outbox.len() > bytes_max {
                        true => Queued::TooMany,
                        false => Queued::Some,
                    }
                }
                true => self.queue_frames(index, frames, bytes_max),
            };
            match queued {
                Queued::Some => {}
                Queued::Nothing => break,
                Queued::TooMany => {
                    self.conns[index].abort_stream();
                    return LastFrames::TooMany;
                }
            }
        }
        LastFrames::Given
    }

    /// Applies the backpressure policies of topics whose logs have discarded events this stream has
    /// not seen. False when the stream takes no more frames.
    pub(super) fn skip_what_is_lost(&mut self, index: ConnIndex, frames: Frames<'_>) -> bool {
        if !frames.are_for(&self.conns[index]) {
            return false;
        }
        let (mut gaps, mut has_moved) = (Vec::new(), false);
        for &subscription in self.conns[index].subscriptions() {
            match self.topics.skip_lost(subscription, frames.last(), self.now) {
                Loss::Nothing => {}
                Loss::Skipped { gap } => {
                    self.stats.passed_by += 1;
                    has_moved = true;
                    gaps.extend(gap);
                }
                Loss::Disconnect => {
                    self.stats.passed_by += 1;
                    self.end_stream(index, CloseReason::Slow);
                    return false;
                }
            }
        }
        if has_moved {
            // It may now be ahead of what is due from other topics.
            self.conns[index].doubt_standing(Standing::Uneven);
            self.review_later(self.conns.stream_id(index));
        }
        for topic in gaps {
            self.stats.gaps += 1;
            self.aside.begin();
            self.aside.push(&topic.gap());
            self.queue_aside(index);
            // Otherwise a client that leaves before the next event comes back with the id from before
            // the loss, and gets the gap event again.
            self.conns[index].doubt_standing(Standing::Unmarked);
        }
        true
    }
}

/// Deliveries per turn: less than a millisecond of system calls, so that ticks stay on time.
const DELIVERIES_PER_TURN: u32 = 128;
