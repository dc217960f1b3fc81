//! Calls of user code: guarded, timed, and named when they are slow.

use std::fmt::Display;

use super::Core;
use crate::{
    engine::{
        api::Sse,
        calls::{
            Closures, Hooks, Panicked, guard,
            watchdog::{Call, Report},
        },
    },
    error::Logged,
};

impl Core {
    /// Calls user code, which is lent the core: guarded, and timed.
    pub(in crate::engine) fn call<R>(
        &mut self,
        call: Call,
        closure: impl FnOnce(&mut Self) -> R,
    ) -> Result<R, Panicked> {
        let began_ms = self.watchdog.begin();
        let result = guard(call.what(), || closure(self));
        if let Some(took_ms) = self.watchdog.slow_since(began_ms) {
            let culprit = self.culprit(call);
            self.report_slow_call(culprit, took_ms);
        }
        self.stats.panics += u64::from(result.is_err());
        result
    }

    /// Counts a slow call, and warns of it unless there was a warning a moment ago.
    #[cold]
    pub(in crate::engine) fn report_slow_call(&mut self, culprit: impl Display, took_ms: u64) {
        self.stats.slow_calls += 1;
        self.stats.slowest_call_ms = self.stats.slowest_call_ms.max(took_ms);
        let Report::Warn { unreported } = self.watchdog.report(self.now) else { return };
        let others = match unreported {
            0 => String::new(),
            count => format!(" (and {count} other slow calls since the last warning)"),
        };
        log::warn!("{culprit} held everybody up for {took_ms} ms{others}");
    }

    #[cold]
    fn culprit(&mut self, call: Call) -> String {
        let what = call.what();
        match call {
            Call::Free(_) => what.to_owned(),
            Call::Topic(topic) => {
                let name = self.topics.name(topic).unwrap_or_default();
                format!("{what}, \"{}\",", Logged(name))
            }
            Call::Stream(_, index) => {
                let conn = &self.conns[index];
                let route = conn
                    .route()
                    .map_or("a route without a pattern", |route| self.routes.name(route));
                format!("{what} of {} for {}", Logged(route), conn.peer())
            }
        }
    }

    /// What an error of the user's says, unless it panics instead.
    pub(in crate::engine) fn text_of(&mut self, error: &dyn Display) -> String {
        guard("the Display of an error", || error.to_string()).unwrap_or_else(|Panicked| {
            self.stats.panics += 1;
            "(an error that cannot be shown)".to_owned()
        })
    }

    /// Drops one closure or error, whose captured values may have destructors that panic. What holds
    /// several of them is taken apart first: two panics in one unwinding end the process.
    pub(in crate::engine) fn drop_guarded<V>(&mut self, value: V) {
        if guard("a destructor", || drop(value)).is_err() {
            self.stats.panics += 1;
        }
    }

    /// Drops the closures of a stream.
    pub(in crate::engine) fn drop_closures(&mut self, closures: Closures) {
        self.drop_guarded(closures.updater);
        if let Some(hooks) = closures.hooks {
            let Hooks { on_connect, on_disconnect, last_output: _ } = *hooks;
            self.drop_guarded(on_connect);
            self.drop_guarded(on_disconnect);
        }
    }

    /// Drops a stream that is not born.
    pub(in crate::engine) fn drop_sse(&mut self, sse: Sse) {
        self.drop_closures(Closures::new(sse.updater, sse.hooks));
    }
}
