//! Calls of user code: guarded, timed, and named when they are slow.

use std::fmt::Display;

use super::Core;
use crate::{
    engine::{
        api::Sse,
        calls::{
            Closures, Hooks, Panicked, catch, guard,
            watchdog::{Call, Report, Took},
        },
        keys::ConnIndex,
        remote::{Adoption, Command, First},
    },
    error::Logged,
};

impl Core {
    /// Calls user code with access to the core: guarded and timed.
    pub(in crate::engine) fn call<R>(
        &mut self,
        call: Call,
        closure: impl FnOnce(&mut Self) -> R,
    ) -> Result<R, Panicked> {
        let began_nanos = self.watchdog.begin();
        let result = catch(|| closure(self));
        let took = self.end_call(began_nanos);
        if let Call::Stream(_, index) = call {
            self.stats.routes.called(self.conns[index].route(), took.nanos);
        }
        if let Some(took_ms) = took.slow_ms {
            let culprit = self.culprit(call);
            self.report_slow_call(culprit, took_ms);
        }
        result.map_err(|caught| {
            self.stats.panics += 1;
            caught.log(self.culprit(call))
        })
    }

    /// Counts the time of a call that began then.
    pub(in crate::engine) fn end_call(&mut self, began_nanos: u64) -> Took {
        let took = self.watchdog.end(began_nanos);
        self.stats.call_nanos += took.nanos;
        took
    }

    /// Counts a slow call, and logs a warning at most once a second.
    #[cold]
    pub(in crate::engine) fn report_slow_call(&mut self, culprit: impl Display, took_ms: u64) {
        self.stats.slow_calls += 1;
        self.stats.slowest_call_ms = self.stats.slowest_call_ms.max(took_ms);
        let Report::Warn { unreported } = self.watchdog.report_slow_call(self.now) else { return };
        let others = match unreported {
            0 => String::new(),
            count => format!(" (and {count} other slow calls since the last warning)"),
        };
        log::warn!("{culprit} blocked the reactor for {took_ms} ms{others}");
    }

    /// Logs missed runs as a warning, at most once a second.
    #[cold]
    pub(in crate::engine) fn report_missed_runs(&mut self, call: Call, count: u64) {
        let report = self.watchdog.report_missed_runs(self.now, count);
        let Report::Warn { unreported } = report else { return };
        let others = match unreported {
            0 => String::new(),
            others => format!(", others missed {others} since the last warning"),
        };
        let culprit = self.culprit(call);
        log::warn!(
            "{culprit} missed {count} runs{others}: closures take too much time (see \
             Stats::call_nanos), or the process was suspended"
        );
    }

    /// The route of the stream on this connection.
    pub(in crate::engine) fn route_of(&self, index: ConnIndex) -> Logged<'_> {
        let route = self.conns[index].route();
        Logged(route.map_or("a route without a pattern", |route| &**self.routes.name(route)))
    }

    /// What user code belongs to, for the log.
    #[cold]
    pub(in crate::engine) fn culprit(&self, call: Call) -> String {
        let what = call.what();
        match call {
            Call::Free(_) => what.to_owned(),
            Call::Topic(topic) => {
                let name = self.topics.name(topic).unwrap_or_default();
                format!("{what}, \"{}\",", Logged(name))
            }
            Call::Stream(_, index) => {
                format!("{what} of {} for {}", self.route_of(index), self.conns[index].peer())
            }
        }
    }

    /// The text of a user's error; its `Display` may panic.
    pub(in crate::engine) fn text_of(&mut self, error: &dyn Display) -> String {
        guard("the Display of an error", || error.to_string()).unwrap_or_else(|Panicked| {
            self.stats.panics += 1;
            "(an error whose Display panicked)".to_owned()
        })
    }

    /// Drops one closure or error whose captured values may have destructors that panic. Anything
    /// that holds several of them is taken apart first: two panics during one unwinding abort the
    /// process.
    pub(in crate::engine) fn drop_guarded<V>(&mut self, value: V) {
        if guard("a destructor", || drop(value)).is_err() {
            self.stats.panics += 1;
        }
    }

    /// Drops a command that is not run.
    pub(in crate::engine) fn drop_command(&mut self, command: Command) {
        match command {
            Command::Adopt(Adoption { socket, first, peer: _ }) => {
                self.drop_guarded(socket);
                self.drop_first(first);
            }
            command => self.drop_guarded(command),
        }
    }

    /// Drops what was to come first on a connection that is not adopted.
    pub(in crate::engine) fn drop_first(&mut self, first: First) {
        if let First::Request(mut request, build) = first {
            self.drop_guarded(build);
            self.drop_extensions(&mut request);
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

    /// Drops a stream that was never opened.
    pub(in crate::engine) fn drop_sse(&mut self, sse: Sse) {
        self.drop_closures(Closures::new(sse.updater, sse.hooks));
    }
}
