//! The simulated run time of closures.

use std::{cell::Cell, time::Duration};

/// Makes a closure appear to run for this long, without taking time: for tests of
/// [`Config::slow_call`](crate::Config::slow_call) and [`Stats::call_nanos`](crate::Stats::call_nanos). Clocks that closures
/// can see do not move.
///
/// ```
/// use starwheel::{Response, Router, testing::{Simulation, take_time}};
/// use std::time::Duration;
///
/// let router = Router::new().get("/", |_req, _cx| {
///     take_time(Duration::from_millis(300));
///     Response::text("at last")
/// });
/// let mut simulation = Simulation::new(router);
/// simulation.get("/");
/// assert_eq!((simulation.stats().slow_calls, simulation.stats().slowest_call_ms), (1, 300));
/// ```
pub fn take_time(length: Duration) {
    let length_nanos = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
    CALL_CLOCK_NANOS.set(CALL_CLOCK_NANOS.get().saturating_add(length_nanos));
}

pub(super) fn nanos() -> u64 {
    CALL_CLOCK_NANOS.get()
}

thread_local! {
    /// Simulated run time of closures on this thread, for all simulations together.
    static CALL_CLOCK_NANOS: Cell<u64> = const { Cell::new(0) };
}
