//! The watchdog: which closure held everybody up, and for how long.
//!
//! One thread serves all, so one slow closure is felt by all, and the lateness of a thousand ticks
//! does not say whose fault it was. Every call of user code is timed by a clock that the reactor
//! lends (no clock is read below it). It is a coarse one, because two readings per tick have to cost
//! nothing: what it tells is right to within some milliseconds, which is enough for a tenth of a
//! second. Below the limit nothing else is done; above it, the call is counted and its culprit named
//! in the log, once a second at most.

use std::{collections::HashMap, fmt::Display, sync::Arc, time::Duration};

use crate::engine::{
    calls::{Panicked, guard},
    core::{Core, Slot},
};
use crate::{
    conn::{NEVER, NO_ROUTE, millis},
    error::Logged,
    http::Request,
};

#[derive(Debug)]
pub(in crate::engine) struct Watchdog {
    clock_ms: fn() -> u64,
    slow_call_ms: u64,
    /// Until then, slow calls are only counted.
    silent_until: u64,
    unreported: u64,
}

/// User code, and what is known of where it belongs.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) enum Call {
    /// A closure of the stream on this connection.
    Stream(&'static str, u32),
    /// The updater of this topic.
    Topic(u32),
    /// A closure of nobody in particular.
    Free(&'static str),
}

impl Watchdog {
    pub(in crate::engine) fn new(slow_call: Option<Duration>) -> Self {
        Self {
            clock_ms: || 0,
            slow_call_ms: slow_call.map_or(NEVER, |length| millis(length).max(1)),
            silent_until: 0,
            unreported: 0,
        }
    }

    pub(in crate::engine) fn set_clock(&mut self, clock_ms: fn() -> u64) {
        // Switched off, it does not even look at the clock.
        if self.slow_call_ms != NEVER {
            self.clock_ms = clock_ms;
        }
    }

    /// Begins to time a call.
    pub(in crate::engine) fn begin(&self) -> u64 {
        (self.clock_ms)()
    }

    /// How long a call took that began then, if that was too long.
    pub(in crate::engine) fn slow_since(&self, began_ms: u64) -> Option<u64> {
        let took_ms = (self.clock_ms)().saturating_sub(began_ms);
        (took_ms >= self.slow_call_ms).then_some(took_ms)
    }
}

impl Call {
    fn what(self) -> &'static str {
        match self {
            Self::Stream(what, _) | Self::Free(what) => what,
            Self::Topic(_) => "the updater of a topic",
        }
    }
}

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
        if self.now < self.watchdog.silent_until {
            self.watchdog.unreported += 1;
            return;
        }
        self.watchdog.silent_until = self.now + WARNING_INTERVAL_MS;
        let others = match std::mem::take(&mut self.watchdog.unreported) {
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
                let name = self.topics.state(topic).map(|state| state.topic.name().to_owned());
                format!("{what}, \"{}\",", Logged(&name.unwrap_or_default()))
            }
            Call::Stream(_, index) => {
                let route = match self.slots.get(index as usize) {
                    Some(Slot::Conn(conn)) => self.routes.name(conn.route),
                    _ => None,
                };
                let route = route.unwrap_or("a route without a pattern");
                format!("{what} of {} for {}", Logged(route), self.peer(index))
            }
        }
    }
}

/// A request as the culprit of a slow handler: its route, or else its path.
#[cold]
pub(in crate::engine) fn handler_of(request: &Request) -> String {
    let route = request.route().unwrap_or_else(|| request.path());
    format!("the handler of {} {} for {}", request.method(), Logged(route), request.peer())
}

/// The patterns of routes that have streams, as numbers that fit into a gap of each connection.
#[derive(Debug, Default)]
pub(in crate::engine) struct Routes {
    names: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u16>,
}

impl Routes {
    /// The number of a pattern. A program that makes up patterns as it goes runs out of them, and
    /// its streams have none.
    pub(in crate::engine) fn number(&mut self, route: Option<&str>) -> u16 {
        let Some(route) = route else { return NO_ROUTE };
        if let Some(&number) = self.numbers.get(route) {
            return number;
        }
        match u16::try_from(self.names.len()) {
            Ok(NO_ROUTE) | Err(_) => NO_ROUTE,
            Ok(number) => {
                let name: Arc<str> = route.into();
                self.names.push(Arc::clone(&name));
                self.numbers.insert(name, number);
                number
            }
        }
    }

    fn name(&self, number: u16) -> Option<&str> {
        self.names.get(usize::from(number)).map(|name| &**name)
    }
}

const WARNING_INTERVAL_MS: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_has_one_number_and_numbers_end() {
        let mut routes = Routes::default();
        assert_eq!(routes.number(None), NO_ROUTE);
        assert_eq!([routes.number(Some("/a")), routes.number(Some("/b"))], [0, 1]);
        assert_eq!((routes.number(Some("/a")), routes.name(1)), (0, Some("/b")));
        for number in 0..70_000 {
            routes.number(Some(&format!("/{number}")));
        }
        assert_eq!(routes.number(Some("/one more")), NO_ROUTE);
        assert_eq!((routes.number(Some("/b")), routes.name(NO_ROUTE)), (1, None));
    }
}
