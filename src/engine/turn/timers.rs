//! What a due timer means: a tick, a keep-alive, a timeout, an end by age, or a timer of the
//! application.

use crate::{
    conn::{Goodbye, Phase},
    engine::{
        Engine, Transport,
        api::{Context, Next},
        calls::{Panicked, watchdog::Call},
        conns::{Expired, Repeated},
        core::{Core, Stopping},
        keys::{ConnIndex, TimerIndex},
        pending::{Death, TimerCall},
    },
    error::{CloseReason, Logged},
    http::Refusal,
    time::millis,
};

impl<T: Transport> Engine<T> {
    /// Fires due timers, up to a turn's share. The rest stays in the wheel and comes first in the
    /// next turn, which reads the clock again. A hundred thousand ticks due together therefore
    /// block neither sockets nor publishers, and their lateness is measured correctly.
    pub(in crate::engine) fn fire_due(&mut self) {
        let mut moves = MOVES_PER_TURN;
        self.timers_wait = true;
        for _ in 0..TIMERS_PER_TURN {
            match self.core.conns.pop_due(self.core.now, &mut moves) {
                Expired::Conn(index) => self.fire_conn(index),
                Expired::Timer(index) => self.fire_timer(index),
                Expired::Nothing => {
                    self.timers_wait = false;
                    return;
                }
                Expired::Unfinished => return,
            }
        }
    }

    /// The one timer of a connection has expired; its meaning is derived only now.
    fn fire_conn(&mut self, index: ConnIndex) {
        let conn = &self.core.conns[index];
        if conn.streaming().is_some() {
            return self.fire_stream(index);
        }
        match conn.deadline(&self.core.config.limits) {
            Some(deadline) if deadline <= self.core.now => {
                if conn.is_in_handshake() {
                    self.links.give_up_handshake(index);
                }
                self.core.time_out(index);
            }
            _ => self.core.rearm(index),
        }
    }

    /// Closes connections that have not completed a record of TLS in time, up to a turn's share.
    pub(in crate::engine) fn give_up_records(&mut self) {
        for _ in 0..RECORDS_PER_TURN {
            let Some((index, error)) = self.links.give_up_record() else { return };
            self.core.stats.timed_out += 1;
            self.lose(index, &error);
        }
    }

    fn fire_stream(&mut self, index: ConnIndex) {
        let core = &mut self.core;
        let (now, conn) = (core.now, &core.conns[index]);
        let Some(streaming) = conn.streaming().filter(|it| it.ending().is_none()) else { return };
        let is_stalled = conn.stall_due(&core.config.limits).is_some_and(|due| due <= now);
        let (expires, tick_due) = (streaming.expires(), streaming.tick_due());
        if streaming.is_farewell_due(now) {
            core.say_farewell(index);
        }
        if expires <= now {
            let reason = match core.stopping {
                Stopping::No => CloseReason::Lifetime,
                _ => CloseReason::Shutdown,
            };
            core.end_stream(index, reason);
        } else if is_stalled {
            core.end_stream(index, CloseReason::Slow);
        } else {
            if tick_due <= now {
                self.fire_tick(index);
            }
            // Also after a tick, because it may have sent nothing.
            self.keep_alive(index);
        }
    }

    fn keep_alive(&mut self, index: ConnIndex) {
        let core = &mut self.core;
        let conn = &mut core.conns[index];
        let Some(streaming) = conn.streaming().filter(|it| it.ending().is_none()) else { return };
        if !conn.is_blocked() && streaming.keep_alive_due() <= core.now {
            let heartbeat = streaming.heartbeat();
            conn.kept_alive(core.now);
            core.stats.keep_alives += 1;
            match conn.coding() {
                Some(coding) => {
                    core.coding.begin();
                    core.coding.keep_alive(coding);
                }
                None => {
                    core.scratch.begin();
                    core.scratch.push_encoded(heartbeat.bytes());
                }
            }
            self.write_events(index, &[]);
        }
        self.core.rearm(index);
    }

    fn fire_timer(&mut self, index: TimerIndex) {
        let core = &mut self.core;
        let next = match self.timers.remove(&index) {
            Some(TimerCall::Once(call)) => {
                core.conns.remove_timer(index);
                // From here on, the slot may belong to a timer that this one sets.
                let _panicked = core.call(A_TIMER, |core| call(&mut Context::new(core)));
                return;
            }
            Some(TimerCall::Drive(topic, updater)) => {
                let Repeated { late_ms, missed } = core.conns.repeat_timer(index, core.now);
                core.stats.tick_lateness_ms.add(late_ms);
                if missed > 0 {
                    core.stats.ticks_missed += missed;
                    core.report_missed_runs(Call::Topic(topic), missed);
                }
                return self.render(topic, index, updater);
            }
            Some(TimerCall::Repeating(mut call)) => {
                let missed = core.conns.repeat_timer(index, core.now).missed;
                if missed > 0 {
                    core.stats.timers_missed += missed;
                    core.report_missed_runs(A_TIMER, missed);
                }
                let next = core.call(A_TIMER, |core| call(&mut Context::new(core)));
                self.timers.insert(index, TimerCall::Repeating(call));
                next
            }
            None => {
                debug_assert!(false, "a timer is due whose closure has not been stored");
                return;
            }
        };
        let core = &mut self.core;
        match next {
            Ok(Next::Again) => {}
            Ok(Next::After(delay)) => core.fire_after(index, millis(delay)),
            Ok(Next::Finish | Next::Drop) => core.end_timer(index),
            Ok(Next::Fail(error)) => {
                let reason = core.text_of(&error);
                log::warn!("a timer failed and was cancelled: {}", Logged(&reason));
                core.drop_guarded(error);
                core.end_timer(index);
            }
            Err(Panicked) => core.end_timer(index),
        }
    }
}

impl Core {
    /// A client exceeded a timeout. If it is in the middle of a request, it gets a 408.
    fn time_out(&mut self, index: ConnIndex) {
        let conn = &self.conns[index];
        let is_stalled = conn.stall_due(&self.config.limits).is_some_and(|due| due <= self.now);
        if matches!(conn.phase(), Phase::Draining { goodbye: Goodbye::Later, .. }) && !is_stalled {
            return self.cut(index);
        }
        self.stats.timed_out += 1;
        match conn.phase() {
            Phase::Reading { reader, .. }
                if conn.outbox.is_empty() && !reader.stage().is_between_requests() =>
            {
                self.refuse(index, Refusal::TIMED_OUT);
            }
            Phase::Waiting(_) if !is_stalled => self.give_up_waiting(index),
            _ => self.close_conn(index),
        }
    }

    /// A repeating timer runs next after this delay, unless it has been cancelled.
    pub(super) fn fire_after(&mut self, index: TimerIndex, delay_ms: u64) {
        let deadline = self.now.saturating_add(delay_ms.max(1));
        self.conns.move_timer(index, deadline, self.now);
    }

    /// Ends a repeating timer, unless it has been cancelled.
    fn end_timer(&mut self, index: TimerIndex) {
        if self.conns.disarm_timer(index) {
            self.pending.add_death(Death::Timer(index));
        }
    }
}

const A_TIMER: Call = Call::Free("a timer");
/// Timers fired per turn: some milliseconds of ticks. Four times the share of deliveries, because
/// ticks have deadlines and the work that waits for them has none.
const TIMERS_PER_TURN: u32 = 512;
/// Connections given up per turn for their incomplete records.
const RECORDS_PER_TURN: u32 = 128;
/// Keys that the wheel may move to lower levels per turn. A move takes up to 200 ns when the keys
/// do not fit the CPU caches.
const MOVES_PER_TURN: u32 = 4_096;
