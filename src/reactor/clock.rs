//! The only reader of clocks.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::system::COARSE_NANOS;

/// Milliseconds since the start of the reactor, from the monotonic clock. The wall clock is used
/// only for the `Date` header, never for a deadline.
#[derive(Debug)]
pub(super) struct Clock {
    start: Instant,
    unix_seconds: u64,
    /// When the wall clock must be read again.
    unix_valid_until: Duration,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { start: Instant::now(), unix_seconds: 0, unix_valid_until: Duration::ZERO }
    }

    /// Whole milliseconds, rounded down: a tick is never early.
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Time left until tick `deadline_ms`; zero if it has passed.
    pub(super) fn until(&self, deadline_ms: u64) -> Duration {
        Duration::from_millis(deadline_ms).saturating_sub(self.start.elapsed())
    }

    /// Seconds since 1970. The wall clock is read once per second of the monotonic one.
    pub(super) fn unix_seconds(&mut self, now_ms: u64) -> u64 {
        let now = Duration::from_millis(now_ms);
        if now >= self.unix_valid_until {
            let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.unix_seconds = wall.as_secs();
            let rest = Duration::from_secs(1) - Duration::from_nanos(wall.subsec_nanos().into());
            self.unix_valid_until = now + rest;
        }
        self.unix_seconds
    }
}

/// Nanoseconds since the first call, for measuring durations.
pub(super) fn nanos() -> u64 {
    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(FIRST.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// The nanosecond clock that times closures, read twice per call: an exact one if reading it is
/// cheap. If that is a system call (a virtual machine without a usable counter), a coarse one if
/// the system has it.
pub(super) fn for_calls() -> fn() -> u64 {
    let reading_nanos = || {
        let began = nanos();
        nanos() - began
    };
    let least_nanos = (0..READINGS).map(|_| reading_nanos()).min().unwrap_or(0);
    if least_nanos <= CHEAP_READING_NANOS { nanos } else { COARSE_NANOS.unwrap_or(nanos) }
}

/// Enough readings that at least one is undisturbed.
const READINGS: u32 = 16;
/// About 30 ns through the vDSO, several hundred as a system call.
const CHEAP_READING_NANOS: u64 = 150;
