//! What a due timer means, and the path of a tick: updater, scratch buffer, one write.

use std::{
    io::{ErrorKind, IoSlice},
    sync::Arc,
};

use super::{
    Engine, Transport,
    calls::Panicked,
    codec::Source,
    context::Context,
    core::{Core, Death, Slot, Stopping, Timer, TimerCall},
    next::Next,
    stream::{Stream, StreamId},
    watchdog::Call,
};
use crate::{
    compress::Compressor,
    conn::{Conn, Ending, Goodbye, NO_CODEC, Output, Phase, millis},
    error::{CloseReason, Logged},
    http::{Refusal, Stage},
};

impl<T: Transport> Engine<T> {
    /// Fires what is due, up to a turn's share. What is left stays in the wheel, and so goes first
    /// in the next turn, whose clock is read anew: a hundred thousand ticks that are due together
    /// hold up neither sockets nor publishers, and count how late they really are.
    pub(super) fn fire_due(&mut self) {
        for _ in 0..TIMERS_PER_TURN {
            let Some((index, deadline)) = self.core.wheel.pop_due(self.core.now) else {
                self.timers_wait = false;
                return;
            };
            self.fire(index, deadline);
        }
        self.timers_wait = true;
    }

    /// The one timer of a slot has run out; what it stood for is worked out only now.
    pub(super) fn fire(&mut self, index: u32, deadline: u64) {
        match self.core.slots.get_mut(index as usize) {
            Some(Slot::Timer(_)) => self.fire_timer(index, deadline),
            Some(Slot::Conn(Conn { phase: Phase::Streaming(_), .. })) => self.fire_stream(index),
            Some(Slot::Conn(conn)) => {
                let due = conn.deadline(&self.core.config.limits);
                if due.is_some_and(|due| due <= self.core.now) {
                    self.time_out(index);
                } else {
                    self.core.rearm(index);
                }
            }
            None => {}
        }
    }

    /// A client took longer than its limit. One that is in the middle of a request is told.
    fn time_out(&mut self, index: u32) {
        let Some(conn) = self.core.conn(index) else { return };
        if matches!(conn.phase, Phase::Draining { goodbye: Goodbye::Later, .. }) {
            return self.core.cut(index);
        }
        self.core.stats.timed_out += 1;
        let Some(conn) = self.core.conn(index) else { return };
        match &conn.phase {
            Phase::Reading { reader, .. }
                if conn.outbox.is_empty() && reader.stage() != Stage::Idle =>
            {
                self.refuse(index, Refusal::TIMED_OUT);
            }
            _ => self.core.release(index),
        }
    }

    fn fire_stream(&mut self, index: u32) {
        let (now, stopping) = (self.core.now, self.core.stopping);
        let Some(Slot::Conn(conn)) = self.core.slots.get_mut(index as usize) else { return };
        let stall_due = conn.stall_due(&self.core.config.limits);
        let Some(streaming) = conn.streaming() else { return };
        if streaming.ending.is_some() {
            return;
        }
        let (expires, tick_due) = (streaming.expires, streaming.tick_due());
        if streaming.is_farewell_due(now) {
            self.core.say_farewell(index);
        }
        if expires <= now {
            let reason = match stopping {
                Stopping::No => CloseReason::Lifetime,
                _ => CloseReason::Shutdown,
            };
            return self.core.end_stream_at(index, reason);
        }
        if stall_due.is_some_and(|due| due <= now) {
            return self.core.end_stream_at(index, CloseReason::Slow);
        }
        if tick_due <= now {
            self.fire_tick(index);
        }
        // Also behind a tick: one that sent nothing proves nothing.
        self.keep_alive(index);
    }

    fn fire_tick(&mut self, index: u32) {
        let now = self.core.now;
        let Some(conn) = self.core.conn(index) else { return };
        let blocked = conn.output == Output::Blocked;
        let Some(streaming) = conn.streaming() else { return };
        let late_ms = now - streaming.tick_due();
        let missed = streaming.schedule_next(now);
        self.core.stats.ticks_missed += missed;
        self.core.stats.tick_lateness_ms.add(late_ms);
        // Armed again before the updater runs, which may then decide otherwise.
        self.core.rearm(index);
        if blocked {
            self.core.stats.ticks_skipped += 1;
        } else {
            self.core.scratch.begin();
            self.tick(index);
            self.write_scratch(index, &[]);
        }
    }

    fn keep_alive(&mut self, index: u32) {
        let now = self.core.now;
        let Some(conn) = self.core.conn(index).filter(|conn| conn.is_live_stream()) else { return };
        let (blocked, codec) = (conn.output == Output::Blocked, conn.codec);
        let Some(streaming) = conn.streaming() else { return };
        if !blocked && streaming.keep_alive_due() <= now {
            streaming.last_write = now;
            self.core.stats.keep_alives += 1;
            self.core.prepare_keep_alive(codec);
            self.write_output(index, &[]);
        }
        self.core.rearm(index);
    }

    /// Calls the updater; its events are in the scratch buffer afterwards.
    pub(super) fn tick(&mut self, index: u32) {
        let Some(updater) = &mut self.calls[index as usize].updater else { return };
        self.core.stats.ticks += 1;
        let sent_at_birth_bytes = self.core.scratch.events().len();
        let next = self.core.lend(index, "an updater", |stream| updater(stream));
        let next = match next {
            Ok(next) => next,
            Err(Panicked) => return self.core.end_stream_at(index, CloseReason::Panicked),
        };
        self.drop_if_unchanged(index, sent_at_birth_bytes);
        match next {
            Next::Again => {}
            Next::After(delay) => self.tick_after(index, millis(delay)),
            Next::Close => self.core.end_stream_at(index, CloseReason::Finished),
            Next::Drop => self.core.end_stream_at(index, CloseReason::Dropped),
            Next::Fail(error)
                if self.core.conn(index).is_some_and(|conn| conn.is_live_stream()) =>
            {
                self.core.end_stream_at(index, CloseReason::Failed(Arc::from(error)));
            }
            // The updater closed its stream first, and that was the reason.
            Next::Fail(error) => self.core.drop_guarded(error),
        }
    }

    fn tick_after(&mut self, index: u32, delay_ms: u64) {
        let next_tick = self.core.now.saturating_add(delay_ms.max(1));
        if let Some(streaming) = self.core.conn(index).and_then(Conn::streaming) {
            streaming.next_tick = next_tick;
            self.core.rearm(index);
        }
    }

    /// Forgets the output of a tick, which starts at `start` in the scratch buffer, if it equals
    /// the last one; for streams that ask for it.
    fn drop_if_unchanged(&mut self, index: u32, start: usize) {
        let Some(hooks) = &mut self.calls[index as usize].hooks else { return };
        let Some(last_output) = &mut hooks.last_output else { return };
        let hash = self.core.scratch.hash_from(start);
        if hash == *last_output {
            self.core.stats.ticks_unchanged += 1;
            self.core.scratch.cut(start);
        }
        *last_output = hash;
    }

    /// Writes the scratch buffer, compressed if the stream is, behind `head` if it is just born.
    pub(super) fn write_scratch(&mut self, index: u32, head: &[u8]) {
        // What a client comes back with has to be the position of the stream.
        if self.core.scratch.has_id() {
            self.core.push_bookmark(index, Source::Scratch);
        }
        let Some(conn) = self.core.conn(index) else { return };
        let codec = conn.codec;
        if codec != NO_CODEC {
            // At birth, the opening bytes of the coding are there already.
            if head.is_empty() {
                self.core.coded.begin();
            }
            self.core.code(codec, Source::Scratch);
        }
        self.write_output(index, head);
    }

    /// Writes what is in the buffer that fits the stream, plain or compressed. What the socket does
    /// not take waits in the outbox; an end that has been decided meanwhile leaves in the same write.
    fn write_output(&mut self, index: u32, head: &[u8]) {
        let Some(Slot::Conn(conn)) = self.core.slots.get_mut(index as usize) else { return };
        let Phase::Streaming(streaming) = &mut conn.phase else { return };
        let output = match conn.codec {
            NO_CODEC => &mut self.core.scratch,
            _ => &mut self.core.coded,
        };
        let bytes = match streaming.ending {
            Some(Ending::Abort) => return,
            // Behind its last frames, if it has topics; see `give_last_frames`.
            Some(Ending::Finish) if streaming.subscriptions.as_slice().is_empty() => {
                streaming.ending = Some(Ending::Finished);
                if let Some(codec) = self.core.codecs.get(conn.codec as usize) {
                    output.push_encoded(Compressor::end(codec.encoding));
                }
                output.seal_last(conn.framing)
            }
            _ => output.seal(conn.framing),
        };
        if head.is_empty() && bytes.is_empty() {
            return;
        }
        let mut written = 0;
        if conn.outbox.is_empty() {
            let Some(transport) = &mut self.transports[index as usize] else { return };
            let result = match (head, bytes) {
                // A plain send costs the kernel less than one of slices.
                ([], bytes) => transport.write(bytes),
                (head, []) => transport.write(head),
                (head, bytes) => {
                    transport.write_vectored(&[IoSlice::new(head), IoSlice::new(bytes)])
                }
            };
            match result {
                Ok(count) => written = count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    conn.output = Output::Blocked
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.lose(index, &error),
            }
            self.core.stats.bytes_out += written as u64;
            streaming.last_write = self.core.now;
            if written == head.len() + bytes.len() {
                return;
            }
        }
        let head_written = written.min(head.len());
        conn.outbox.push(&head[head_written..], &mut self.core.pool);
        conn.outbox.push(&bytes[written - head_written..], &mut self.core.pool);
        self.core.mark_dirty(index);
    }

    fn fire_timer(&mut self, index: u32, deadline: u64) {
        let Some(Slot::Timer(timer)) = self.core.slots.get_mut(index as usize) else { return };
        debug_assert_eq!(timer.deadline, deadline);
        let next_deadline = timer.next_deadline(self.core.now);
        let core = &mut self.core;
        let next = match self.timers.remove(&index) {
            Some(TimerCall::Once(call)) => {
                core.slots.remove(index as usize);
                core.call(A_TIMER, |core| call(&mut Context::new(core))).map(|()| Next::Again)
            }
            Some(TimerCall::Drive(topic, updater)) => {
                core.rearm_timer(index, next_deadline);
                return self.render(topic, index, updater);
            }
            Some(TimerCall::Repeating(mut call)) => {
                core.rearm_timer(index, next_deadline);
                let next = core.call(A_TIMER, |core| call(&mut Context::new(core)));
                self.timers.insert(index, TimerCall::Repeating(call));
                next
            }
            None => return,
        };
        match next {
            Ok(Next::Again) => {}
            Ok(Next::After(delay)) => {
                let deadline = self.core.now.saturating_add(millis(delay).max(1));
                if self.core.wheel.deadline(index).is_some() {
                    self.core.rearm_timer(index, deadline);
                }
            }
            Ok(Next::Close | Next::Drop) => self.core.end_timer(index),
            Ok(Next::Fail(error)) => {
                let reason = self.core.text_of(&error);
                log::warn!("a timer failed and is stopped: {}", Logged(&reason));
                self.core.drop_guarded(error);
                self.core.end_timer(index);
            }
            Err(Panicked) => self.core.end_timer(index),
        }
    }
}

impl Core {
    /// Lends a stream to one of its closures: what the closure sends goes to the scratch buffer.
    pub(super) fn lend<R>(
        &mut self,
        index: u32,
        what: &'static str,
        closure: impl FnOnce(&mut Stream<'_>) -> R,
    ) -> Result<R, Panicked> {
        let Some(conn) = self.conn(index) else { return Err(Panicked) };
        let id = StreamId { index, generation: conn.generation };
        self.lent = Some(index);
        let call = Call::Stream(what, index);
        let result = self.call(call, |core| closure(&mut Stream::new(core, id)));
        self.lent = None;
        result
    }

    /// Ends a repeating timer, unless it was cancelled meanwhile.
    fn end_timer(&mut self, index: u32) {
        if self.wheel.cancel(index) {
            self.deaths.push_back(Death::Timer(index));
        }
    }
}

impl Timer {
    /// Without drift, and without a storm after a pause; the rules of updaters.
    fn next_deadline(&self, now: u64) -> u64 {
        let interval = u64::from(self.interval_ms).max(1);
        let missed = now.saturating_sub(self.deadline) / interval;
        self.deadline.saturating_add((missed + 1).saturating_mul(interval))
    }
}

const A_TIMER: Call = Call::Free("a timer");
/// Timers fired in one turn: some milliseconds of ticks. Four times the share of deliveries, because
/// ticks have a time to keep and what waits behind them has not.
const TIMERS_PER_TURN: u32 = 512;
