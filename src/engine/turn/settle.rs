//! Starts and ends of streams: closures are stored and removed here, while no user code is running.

use crate::engine::{
    Engine, Transport,
    pending::{Birth, DEATHS_PER_TURN, Death},
};

impl<T: Transport> Engine<T> {
    /// Stores the closures of timers that were set between two turns. They cannot wait for births
    /// to be settled, because such a timer may be due already.
    ///
    /// Returns how many they were.
    pub(in crate::engine) fn store_timers(&mut self) -> usize {
        let timers = self.core.pending.take_timers();
        let count = timers.len();
        self.timers.extend(timers);
        count
    }

    /// Births before deaths, so that a stream opened and closed in one turn gets its hooks;
    /// repeated until there are none of either, because hooks may cause more. Deaths are limited to
    /// a turn's share: a closure may close a hundred thousand streams, and each death runs a hook
    /// and writes. The rest comes first in the next turn; until then, these streams have ended and
    /// are not counted anywhere.
    ///
    /// Each birth adds one to the share, so that pending deaths decrease even under a constant rate
    /// of births.
    pub(in crate::engine) fn settle(&mut self) {
        let mut share = DEATHS_PER_TURN;
        loop {
            while let Some(birth) = self.core.pending.next_birth() {
                share += self.settle_birth(birth);
            }
            share += self.store_timers();
            if share == 0 {
                return;
            }
            let Some(death) = self.core.pending.next_death() else { return };
            share -= 1;
            self.settle_death(death);
        }
    }

    /// The same without the limit of a turn's share.
    pub(super) fn settle_all(&mut self) {
        while !self.core.pending.is_empty() {
            self.settle();
        }
    }

    /// Returns how many were born: with a first render, the timers that it may need.
    fn settle_birth(&mut self, birth: Birth) -> usize {
        match birth {
            Birth::Stream { index, sse, request } => {
                self.open_stream(index, *sse, &request);
                1
            }
            Birth::Review(id) => {
                self.core.review(id);
                1
            }
            Birth::Render { topic, timer } => {
                let timers = self.store_timers();
                self.render_now(topic, timer);
                1 + timers
            }
        }
    }

    fn settle_death(&mut self, death: Death) {
        match death {
            Death::Stream { id, reason, published } => self.close_stream(id, reason, published),
            Death::Promise(promise, on_gone) => self.core.bury_promise(*promise, on_gone),
            Death::Timer(index) => {
                let call = self.timers.remove(&index);
                self.core.conns.remove_timer(index);
                self.core.drop_guarded(call);
            }
        }
    }
}
