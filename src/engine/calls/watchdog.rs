//! The watchdog measures the time that closures take, and names the ones that blocked the reactor
//! and the runs that were missed.
//!
//! One thread serves everything, so one slow closure delays all streams, and so do many fast ones.
//! Every call of user code is timed with a clock lent by the reactor (the engine reads no clock
//! itself). The time is summed; a call above the limit is counted and logged with its culprit. A
//! stream, topic or timer that missed a run is logged too, and a client that reads too slowly. Each
//! kind is logged at most once a second.

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
    clock_nanos: fn() -> u64,
    slow_call_nanos: u64,
    slow_calls: Warnings,
    missed_runs: Warnings,
    slow_clients: Warnings,
}

/// Warnings of one kind.
#[derive(Debug, Default)]
struct Warnings {
    /// Until then, reports are only counted.
    silent_until: u64,
    unreported: u64,
}

/// User code, and what it belongs to.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) enum Call {
    /// A closure of the stream on this connection.
    Stream(&'static str, ConnIndex),
    /// The updater of this topic.
    Topic(TopicIndex),
    /// A closure that belongs to no stream or topic.
    Free(&'static str),
}

impl Watchdog {
    pub(in crate::engine) fn new(slow_call: Option<Duration>) -> Self {
        let limit = |length| millis(length).max(1).saturating_mul(NANOS_PER_MS);
        Self {
            clock_nanos: || 0,
            slow_call_nanos: slow_call.map_or(NEVER, limit),
            slow_calls: Warnings::default(),
            missed_runs: Warnings::default(),
            slow_clients: Warnings::default(),
        }
    }

    pub(in crate::engine) fn set_clock(&mut self, clock_nanos: fn() -> u64) {
        // When switched off, the clock is not even read.
        if self.slow_call_nanos != NEVER {
            self.clock_nanos = clock_nanos;
        }
    }

    /// Begins to time a call.
    pub(in crate::engine) fn begin(&self) -> u64 {
        (self.clock_nanos)()
    }

    /// Duration of a call that began then.
    pub(in crate::engine) fn end(&self, began_nanos: u64) -> Took {
        let nanos = (self.clock_nanos)().saturating_sub(began_nanos);
        let slow_ms = (nanos >= self.slow_call_nanos).then_some(nanos / NANOS_PER_MS);
        Took { nanos, slow_ms }
    }

    /// A call was slow.
    pub(in crate::engine) fn report_slow_call(&mut self, now: u64) -> Report {
        self.slow_calls.report(now, 1)
    }

    /// Reports `count` missed runs.
    pub(in crate::engine) fn report_missed_runs(&mut self, now: u64, count: u64) -> Report {
        self.missed_runs.report(now, count)
    }

    /// A client was disconnected because it read too slowly.
    pub(in crate::engine) fn report_slow_client(&mut self, now: u64) -> Report {
        self.slow_clients.report(now, 1)
    }
}

/// Duration of a call.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Took {
    pub(in crate::engine) nanos: u64,
    /// The same in milliseconds, if it was too long.
    pub(in crate::engine) slow_ms: Option<u64>,
}

/// What to do with a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Report {
    /// Only count it: there was a warning less than a second ago.
    Silent,
    /// Log it, with the number of unlogged reports since the last warning.
    Warn { unreported: u64 },
}

impl Warnings {
    fn report(&mut self, now: u64, count: u64) -> Report {
        if now < self.silent_until {
            self.unreported += count;
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

/// A request's handler as the culprit: by its route, or else by the path.
#[cold]
pub(in crate::engine) fn handler_of(request: &Request) -> String {
    let route = request.route().unwrap_or_else(|| request.path());
    format!("the handler of {} {} for {}", request.method(), Logged(route), request.peer())
}

const WARNING_INTERVAL_MS: u64 = 1_000;
const NANOS_PER_MS: u64 = 1_000_000;
