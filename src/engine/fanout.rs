//! Fan-out: from the logs of topics straight to sockets, in slices.

use std::{io::ErrorKind, mem};

use super::{
    Engine, Transport,
    batch::{Batch, Due, FRAMES_PER_WRITE, Frames, Given},
    calls::Panicked,
    core::{Core, Slot, TimerCall, TopicUpdater},
    feed::Feed,
    next::Next,
    output::Output as Scratch,
    watchdog::Call,
};
use crate::{
    conn::{Conn, Ending, NO_CODEC, Outbox, Output, Phase, Pool, Streaming, millis},
    error::{CloseReason, Logged},
    http::StreamFraming,
    topic::{Allowed, Backpressure, Retain},
};

impl<T: Transport> Engine<T> {
    /// Offers what was published to the subscribers, up to a turn's share of deliveries. Topics
    /// take turns, and what one pass meets includes all that came since it began: events that
    /// come faster than passes leave together, in one write.
    pub(super) fn fan_out(&mut self) {
        let mut budget = DELIVERIES_PER_TURN;
        while budget > 0
            && let Some(index) = self.core.topics.fan_out.pop_front()
        {
            self.go_on_with_pass(index, &mut budget);
        }
        let topics = &self.core.topics;
        debug_assert!(
            !topics.fan_out.is_empty() || topics.unoffered_bytes == 0,
            "what no pass is to offer holds publishers up for ever"
        );
    }

    fn go_on_with_pass(&mut self, index: u32, budget: &mut u32) {
        loop {
            let Some(state) = self.core.topics.state(index) else { return };
            let Some(pass) = &mut state.pass else { return };
            let Some(subscriber) = state.subscribers.get(pass.next_place).copied() else {
                // A pass without bytes only looked for what can be let go.
                if pass.bytes > 0 {
                    self.core.stats.fan_out_ms.add(self.core.now.saturating_sub(pass.began));
                }
                return self.core.topics.end_pass(index, self.core.now);
            };
            if *budget == 0 {
                return self.core.topics.fan_out.push_back(index);
            }
            let (place, is_outdated) = (pass.next_place, pass.is_outdated);
            pass.next_place += 1;
            if subscriber.cursor < state.log.last_sequence() {
                *budget -= 1;
                let passed_by = state.log.has_passed_by(subscriber.cursor);
                let cut =
                    passed_by && state.topic.options().backpressure == Backpressure::Disconnect;
                if cut {
                    self.core.skip_what_is_lost(subscriber.conn, Frames::All);
                } else {
                    self.offer(subscriber.conn);
                }
            }
            if let Some(state) = self.core.topics.state(index)
                && let (Some(pass), Some(seen)) = (&mut state.pass, state.subscribers.get(place))
            {
                pass.seen_by_all = pass.seen_by_all.min(seen.cursor);
                // That this one has moved on is what the pass is for.
                pass.is_outdated = is_outdated;
            }
        }
    }

    /// A blocked stream goes on by itself when its socket takes more.
    fn offer(&mut self, index: u32) {
        if self.core.conn(index).is_some_and(|conn| conn.output != Output::Blocked) {
            self.flush_one(index);
        }
    }

    /// Writes what the stream has not been given of its topics, as much as fits one vectored
    /// write. Called with an empty outbox.
    pub(super) fn write_frames(&mut self, index: u32, frames: Frames) -> Written {
        let Some(Slot::Conn(conn)) = self.core.slots.get_mut(index as usize) else {
            return Written::Nothing;
        };
        let Phase::Streaming(streaming) = &mut conn.phase else { return Written::Nothing };
        if !frames.are_for(streaming) {
            return Written::Nothing;
        }
        let topics = &self.core.topics;
        let subscriptions = streaming.subscriptions.as_slice();
        if subscriptions.iter().any(|&subscription| topics.has_passed_by(subscription)) {
            return match self.core.skip_what_is_lost(index, frames) {
                true => Written::Some,
                false => Written::Nothing,
            };
        }
        if conn.codec != NO_CODEC {
            return self.write_coded_frames(index, frames);
        }
        let batch = Batch::gather(topics, subscriptions, frames);
        let Some(transport) = &mut self.transports[index as usize] else { return Written::Nothing };
        let only = match batch.as_slice() {
            [] => return Written::Nothing,
            [(only, _)] => only.contiguous(conn.framing),
            _ => None,
        };
        let result = match only {
            Some(bytes) => transport.write(bytes),
            None => {
                let (slices, count) = batch.slices(conn.framing);
                transport.write_vectored(&slices[..count])
            }
        };
        let written = match result {
            Ok(written) => written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                conn.output = Output::Blocked;
                return Written::Blocked;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => return Written::Some,
            Err(error) => {
                self.lose(index, &error);
                return Written::Nothing;
            }
        };
        streaming.last_write = self.core.now;
        self.core.stats.bytes_out += written as u64;

        let given = match (only, batch.as_slice()) {
            (Some(bytes), [(frame, _)]) if written == bytes.len() => Given::one(frame.sequence),
            (_, frames) => {
                give(frames, written, conn.framing, &mut conn.outbox, &mut self.core.pool)
            }
        };
        // Mostly so: it spares a second look at the logs.
        let is_all = given.frames == batch.as_slice().len()
            && given.frames < FRAMES_PER_WRITE
            && conn.outbox.is_empty();
        self.core.note_given(index, given);
        if is_all { Written::Nothing } else { Written::Some }
    }
}

impl<T: Transport> Engine<T> {
    /// A driven topic has got its first subscriber.
    pub(super) fn render_now(&mut self, topic: u32, timer: u32) {
        let Some(state) = self.core.topics.state(topic) else { return };
        let Some(driver) = &mut state.driver else { return };
        if driver.timer.index != timer {
            return;
        }
        driver.renders_at_once = false;
        if state.subscribers.is_empty() {
            return;
        }
        // He has not seen the last render, unless it is kept for those who join.
        if state.topic.options().retain == Retain::Nothing || state.log.is_empty() {
            driver.last_output = None;
        }
        let Some(Slot::Timer(slot)) = self.core.slots.get(timer as usize) else { return };
        let deadline = self.core.now + u64::from(slot.interval_ms);
        self.core.rearm_timer(timer, deadline);
        if let Some(TimerCall::Drive(topic, updater)) = self.timers.remove(&timer) {
            self.render(topic, timer, updater);
        }
    }

    /// Runs a topic's updater and publishes what it sent, unless that is what it sent last time.
    pub(super) fn render(&mut self, topic: u32, timer: u32, mut updater: TopicUpdater) {
        self.core.stats.ticks += 1;
        self.core.scratch.begin();
        let next = self.core.call(Call::Topic(topic), |core| updater(&mut Feed::new(core, topic)));
        self.timers.insert(timer, TimerCall::Drive(topic, updater));
        let core = &mut self.core;
        match next {
            Ok(Next::Close | Next::Drop) => {
                core.publish_render(topic, timer);
                core.stop_driving(topic, timer);
            }
            Ok(Next::After(delay)) => {
                core.publish_render(topic, timer);
                let deadline = core.now.saturating_add(millis(delay).max(1));
                if core.wheel.deadline(timer).is_some() {
                    core.rearm_timer(timer, deadline);
                }
            }
            Ok(Next::Again) => core.publish_render(topic, timer),
            Ok(Next::Fail(error)) => {
                let reason = core.text_of(&error);
                log::warn!("the updater of a topic failed: {}", Logged(&reason));
                core.drop_guarded(error);
            }
            Err(Panicked) => {}
        }
    }

    /// A stream that ends in order gets what was published before its end was decided. One that
    /// is cut while it is blocked does not: its client comes back. But an end that says "this was
    /// all" has to be true.
    pub(super) fn give_last_frames(&mut self, index: u32, last_sequence: u64) -> LastFrames {
        let Some(conn) = self.core.conn(index) else { return LastFrames::Given };
        let blocked = conn.output == Output::Blocked;
        let Some(streaming) = conn.streaming() else { return LastFrames::Given };
        let in_order = matches!(streaming.ending, Some(Ending::Finish | Ending::Drop));
        if !in_order || streaming.subscriptions.as_slice().is_empty() {
            return LastFrames::Given;
        }
        let frames = Frames::UpTo(last_sequence);
        if !blocked {
            self.flush_frames(index, frames);
        }
        self.core.queue_last_frames(index, frames)
    }
}

/// The socket took the first `written` bytes of these frames. One that was written in part becomes
/// the outbox: it is shared, not copied, and stays alive for this stream even if the log lets it go.
fn give(
    frames: &[Due<'_>],
    written: usize,
    framing: StreamFraming,
    outbox: &mut Outbox,
    pool: &mut Pool,
) -> Given {
    let mut left = written;
    let mut given = Given::default();
    for (frame, _) in frames {
        if left == 0 {
            break;
        }
        let length = frame.len(framing);
        if left < length {
            match framing {
                StreamFraming::Chunked => outbox.push_shared(frame.bytes.iter(), left, pool),
                StreamFraming::UntilClose => {
                    frame.slices(framing, left).for_each(|bytes| outbox.push(bytes, pool));
                }
            }
        }
        left = left.saturating_sub(length);
        given.add(frame.sequence);
    }
    given
}

/// What [`Engine::give_last_frames`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LastFrames {
    Given,
    /// A client that should have got all of them lags too far behind.
    TooMany,
}

/// What [`Engine::write_frames`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// Nothing is left to write, or nobody to write to.
    Nothing,
    /// Something was; there may be more, also in the outbox.
    Some,
    /// The socket takes nothing now.
    Blocked,
}

impl Core {
    /// Moves the stream's cursors. Frames are given in the order of their sequences, whatever their
    /// topic, so the last one says how far all of them have come.
    pub(super) fn note_given(&mut self, index: u32, given: Given) {
        self.stats.delivered += given.frames as u64;
        let Some(Slot::Conn(conn)) = self.slots.get_mut(index as usize) else { return };
        let Phase::Streaming(streaming) = &conn.phase else { return };
        for &subscription in streaming.subscriptions.as_slice() {
            self.topics.advance(subscription, given.last_sequence, self.now);
        }
    }

    /// Queues what a stream that finishes has not been given, as far as the outbox may grow.
    fn queue_last_frames(&mut self, index: u32, frames: Frames) -> LastFrames {
        let bytes_max = self.config.limits.outbox_bytes;
        loop {
            let finishes = |streaming: &mut Streaming| streaming.ending == Some(Ending::Finish);
            if !self.conn(index).and_then(Conn::streaming).is_some_and(finishes) {
                return LastFrames::Given;
            }
            let takes_frames = self.skip_what_is_lost(index, frames);
            let Some(Slot::Conn(conn)) = self.slots.get_mut(index as usize) else {
                return LastFrames::Given;
            };
            let Phase::Streaming(streaming) = &mut conn.phase else { return LastFrames::Given };
            let batch = Batch::gather(&self.topics, streaming.subscriptions.as_slice(), frames);
            let length = batch.bytes(conn.framing);
            if !takes_frames || (length > 0 && conn.outbox.len() + length > bytes_max) {
                streaming.ending = Some(Ending::Abort);
                return LastFrames::TooMany;
            }
            if conn.codec != NO_CODEC {
                if !self.queue_coded_frames(index, frames) {
                    return LastFrames::Given;
                }
                continue;
            }
            let mut given = Given::default();
            for (frame, _) in batch.as_slice() {
                for bytes in frame.slices(conn.framing, 0) {
                    conn.outbox.push(bytes, &mut self.pool);
                }
                given.add(frame.sequence);
            }
            if given.frames == 0 {
                return LastFrames::Given;
            }
            self.note_given(index, given);
        }
    }

    /// Publishes what the updater driven by `timer` has sent; nothing if it was replaced meanwhile.
    fn publish_render(&mut self, topic: u32, timer: u32) {
        let hash = self.scratch.hash_from(0);
        let Some(state) = self.topics.state(topic) else { return };
        let Some(driver) = &mut state.driver else { return };
        if driver.timer.index != timer || self.scratch.events().is_empty() {
            return;
        }
        if driver.last_output.replace(hash) == Some(hash) {
            self.stats.ticks_unchanged += 1;
            return;
        }
        let scratch = mem::replace(&mut self.scratch, Scratch::new());
        self.publish_encoded(topic, scratch.events(), Allowed::Yes);
        self.scratch = scratch;
    }

    /// Applies the backpressure policies of topics whose logs have passed this stream by. False
    /// when the stream takes no more frames.
    fn skip_what_is_lost(&mut self, index: u32, frames: Frames) -> bool {
        let Some(Slot::Conn(conn)) = self.slots.get_mut(index as usize) else { return false };
        let Phase::Streaming(streaming) = &mut conn.phase else { return false };
        if !frames.are_for(streaming) {
            return false;
        }
        let mut gaps = Vec::new();
        for &subscription in streaming.subscriptions.as_slice() {
            let Some(state) = self.topics.state(subscription.topic) else { continue };
            let cursor = state.subscribers[subscription.place as usize].cursor;
            if !state.log.has_passed_by(cursor) {
                continue;
            }
            self.stats.passed_by += 1;
            let go_on_at = match state.topic.options().backpressure {
                Backpressure::Disconnect => {
                    self.end_stream_at(index, CloseReason::Slow);
                    return false;
                }
                Backpressure::Latest => state.log.newest_cursor(frames.last()),
                Backpressure::DropOldest => {
                    gaps.push(state.topic.clone());
                    state.log.oldest_cursor()
                }
            };
            state.subscribers[subscription.place as usize].cursor = go_on_at;
            self.topics.moved_on_from(subscription.topic, cursor, self.now);
        }
        for topic in gaps {
            self.stats.gaps += 1;
            self.aside.begin();
            self.aside.push(&topic.gap());
            self.queue_aside(index);
        }
        true
    }
}

/// Deliveries in one turn: less than a millisecond of system calls, so that ticks stay on time.
const DELIVERIES_PER_TURN: u32 = 128;
