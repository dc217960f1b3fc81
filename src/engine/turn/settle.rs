//! Births and deaths: the moments at which closures move in and out, with no user code running.

use crate::engine::{
    Engine, Transport,
    pending::{Birth, Death},
};

impl<T: Transport> Engine<T> {
    /// Stores the closures of timers that were set between two turns. They cannot wait for births
    /// to be settled, because such a timer may be due already.
    pub(in crate::engine) fn store_timers(&mut self) {
        for (index, call) in self.core.pending.take_timers() {
            self.timers.insert(index, call);
        }
    }

    /// Births before deaths, so that a stream that is opened and closed in one turn gets its
    /// hooks; until there are none of either, because hooks may cause more.
    pub(in crate::engine) fn settle(&mut self) {
        let mut rounds_left = HOOK_ROUNDS_MAX;
        loop {
            while let Some(birth) = self.core.pending.next_birth() {
                match birth {
                    Birth::Stream { index, sse, request } => {
                        self.open_stream(index, *sse, &request);
                    }
                    Birth::Render { topic, timer } => self.render_now(topic, timer),
                    Birth::Timer { index, call } => {
                        self.timers.insert(index, call);
                    }
                }
            }
            match self.core.pending.next_death() {
                Some(Death::Stream { id, reason, last_sequence }) => {
                    self.close_stream(id, reason, last_sequence);
                }
                Some(Death::Timer(index)) => {
                    let call = self.timers.remove(&index);
                    self.core.conns.remove_timer(index);
                    self.core.drop_guarded(call);
                }
                None => return,
            }
            rounds_left -= 1;
            assert!(rounds_left > 0, "hooks open and close streams without end");
        }
    }
}

/// Hooks that keep opening and closing streams for one another are a mistake of the program.
const HOOK_ROUNDS_MAX: u32 = 10_000_000;
