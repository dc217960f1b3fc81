//! A tick of a stream or topic: updater, scratch buffer, one write or publish.

use std::sync::Arc;

use crate::{
    conn::TopicIndex,
    engine::{
        Engine, Transport,
        api::{Feed, Next, Stream},
        calls::{Panicked, watchdog::Call},
        core::Core,
        keys::{ConnIndex, TimerIndex},
        pending::{TimerCall, TopicUpdater},
        topics::Render,
    },
    error::{CloseReason, Logged},
    time::millis,
};

/// Of a stream.
impl<T: Transport> Engine<T> {
    pub(super) fn fire_tick(&mut self, index: ConnIndex) {
        let core = &mut self.core;
        let conn = &mut core.conns[index];
        let Some(streaming) = conn.streaming() else { return };
        let late_ms = core.now - streaming.tick_due();
        core.stats.tick_lateness_ms.add(late_ms);
        let missed = conn.schedule_next_tick(core.now);
        let is_blocked = conn.is_blocked();
        // Rearmed before the updater runs, which may change the deadline.
        core.rearm(index);
        if missed > 0 {
            core.stats.ticks_missed += missed;
            core.report_missed_runs(Call::Stream(AN_UPDATER, index), missed);
        }
        if is_blocked {
            core.stats.ticks_skipped += 1;
        } else {
            core.scratch.begin();
            self.tick(index);
            self.write_scratch(index, &[]);
        }
    }

    /// Calls the updater; its events are in the scratch buffer afterwards.
    pub(super) fn tick(&mut self, index: ConnIndex) {
        let Some(updater) = &mut self.closures[index.slot()].updater else { return };
        let core = &mut self.core;
        core.stats.ticks += 1;
        let sent_at_birth_bytes = core.scratch.events().len();
        let next = match core.lend(index, AN_UPDATER, |stream| updater(stream)) {
            Ok(next) => next,
            Err(Panicked) => {
                core.end_stream(index, CloseReason::Panicked);
                return;
            }
        };
        self.drop_if_unchanged(index, sent_at_birth_bytes);
        self.core.go_on(index, next);
    }

    /// Discards the output of a tick, from `start` in the scratch buffer, if it equals the previous
    /// output; for streams with `skip_unchanged`.
    fn drop_if_unchanged(&mut self, index: ConnIndex, start: usize) {
        let Some(hooks) = &mut self.closures[index.slot()].hooks else { return };
        let Some(last_output) = &mut hooks.last_output else { return };
        let hash = self.core.scratch.hash_from(start);
        if hash == *last_output {
            self.core.stats.ticks_unchanged += 1;
            self.core.scratch.cut(start);
        }
        *last_output = hash;
    }
}

impl Core {
    /// Does what an updater returned.
    fn go_on(&mut self, index: ConnIndex, next: Next) {
        match next {
            Next::Again => {}
            Next::After(delay) => {
                let deadline = self.now.saturating_add(millis(delay).max(1));
                self.conns[index].tick_at(deadline);
                self.rearm(index);
            }
            Next::Finish => {
                self.end_stream(index, CloseReason::Finished);
            }
            Next::Drop => {
                self.end_stream(index, CloseReason::Dropped);
            }
            Next::Fail(error) if self.conns[index].is_live_stream() => {
                self.end_stream(index, CloseReason::Failed(Arc::from(error)));
            }
            // The updater closed its stream first; that is the close reason.
            Next::Fail(error) => self.drop_guarded(error),
        }
    }

    /// Lends a stream to one of its closures. Its output goes to the scratch buffer.
    pub(super) fn lend<R>(
        &mut self,
        index: ConnIndex,
        what: &'static str,
        closure: impl FnOnce(&mut Stream<'_>) -> R,
    ) -> Result<R, Panicked> {
        let id = self.conns.stream_id(index);
        self.lent = Some(index);
        let call = Call::Stream(what, index);
        let result = self.call(call, |core| closure(&mut Stream::new(core, id)));
        self.lent = None;
        result
    }
}

/// Of a topic.
impl<T: Transport> Engine<T> {
    /// A driven topic has got its first subscriber.
    pub(super) fn render_now(&mut self, topic: TopicIndex, timer: TimerIndex) {
        let core = &mut self.core;
        if core.topics.begin_first_render(topic, timer) == Render::No {
            return;
        }
        core.conns.restart_timer(timer, core.now);
        if let Some(TimerCall::Drive(topic, updater)) = self.timers.remove(&timer) {
            self.render(topic, timer, updater);
        }
    }

    /// Runs a topic's updater and publishes its output, unless it equals that of the previous run.
    pub(super) fn render(
        &mut self,
        topic: TopicIndex,
        timer: TimerIndex,
        mut updater: TopicUpdater,
    ) {
        let core = &mut self.core;
        // Its last subscriber may have ended in this turn.
        if core.topics.subscribers_at(topic) == 0 {
            self.timers.insert(timer, TimerCall::Drive(topic, updater));
            return;
        }
        core.stats.ticks += 1;
        core.scratch.begin();
        let next = core.call(Call::Topic(topic), |core| updater(&mut Feed::new(core, topic)));
        self.timers.insert(timer, TimerCall::Drive(topic, updater));
        match next {
            Ok(Next::Finish | Next::Drop) => {
                core.publish_render(topic, timer);
                core.retire_driver(topic, timer);
            }
            Ok(Next::After(delay)) => {
                core.publish_render(topic, timer);
                core.fire_after(timer, millis(delay));
            }
            Ok(Next::Again) => core.publish_render(topic, timer),
            Ok(Next::Fail(error)) => {
                let reason = core.text_of(&error);
                log::warn!("{} failed: {}", core.culprit(Call::Topic(topic)), Logged(&reason));
                core.drop_guarded(error);
            }
            Err(Panicked) => {}
        }
    }
}

const AN_UPDATER: &str = "an updater";
