//! The watchdog: which closure held everybody up, and for how long.
//!
//! One thread serves all, so one slow closure is felt by all, and the lateness of a thousand ticks
//! does not say whose fault it was. Every call of user code is timed by a clock that the reactor
//! lends (no clock is read below it). It is a coarse one, because two readings per tick have to cost
//! nothing: what it tells is right to within some milliseconds, which is enough for a tenth of a
//! second. Below the limit nothing else is done; above it, the call is counted and its culprit named
//! in the log, once a second at most.

use std::{mem, time::Duration};

use crate::{
    conn::TopicIndex,
    engine::keys::ConnIndex,
    error::Logged,
    http::Request,
    time::{NEVER, millis},
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
    Stream(&'static str, ConnIndex),
    /// The updater of this topic.
    Topic(TopicIndex),
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

/// A slow call, when it is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Report {
    /// It is only counted: there was a warning a moment ago.
    Silent,
    /// It is logged, with how many others were not since the last warning.
    Warn { unreported: u64 },
}

impl Watchdog {
    /// A call was slow.
    pub(in crate::engine) fn report(&mut self, now: u64) -> Report {
        if now < self.silent_until {
            self.unreported += 1;
            return Report::Silent;
        }
        self.silent_until = now + WARNING_INTERVAL_MS;
        Report::Warn { unreported: mem::take(&mut self.unreported) }
    }
}

impl Call {
    pub(in crate::engine) fn what(self) -> &'static str {
        match self {
            Self::Stream(what, _) | Self::Free(what) => what,
            Self::Topic(_) => "the updater of a topic",
        }
    }
}

/// A request as the culprit of a slow handler: its route, or else its path.
#[cold]
pub(in crate::engine) fn handler_of(request: &Request) -> String {
    let route = request.route().unwrap_or_else(|| request.path());
    format!("the handler of {} {} for {}", request.method(), Logged(route), request.peer())
}

const WARNING_INTERVAL_MS: u64 = 1_000;
