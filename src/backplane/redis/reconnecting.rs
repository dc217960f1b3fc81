//! [`Backoff`]: how long to wait before the next attempt.

use std::time::{Duration, Instant};

/// The first attempt after a loss comes soon, and each further one later.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    connected_at: Option<Instant>,
}

impl Backoff {
    pub(super) fn note_connected(&mut self, now: Instant) {
        self.connected_at = Some(now);
    }

    /// An attempt has failed, or a connection has ended. `random` spreads the members of a namespace,
    /// which lose their server at the same time.
    pub(super) fn next_delay(&mut self, now: Instant, random: u64) -> Duration {
        let connected_at = self.connected_at.take();
        // A server that accepts connections and ends them at once has not recovered.
        if connected_at.is_some_and(|at| now.saturating_duration_since(at) >= DELAY_MAX) {
            self.failures = 0;
        }
        let delay = DELAY_MIN.saturating_mul(1 << self.failures.min(10)).min(DELAY_MAX);
        self.failures = self.failures.saturating_add(1);
        let half_us = delay.as_micros() as u64 / 2;
        Duration::from_micros(half_us + random % (half_us + 1))
    }
}

const DELAY_MIN: Duration = Duration::from_millis(50);
const DELAY_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_a_second_and_is_spread() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        for delay_ms in [50, 100, 200, 400, 800, 1000, 1000, 1000] {
            let mut other = Backoff { failures: backoff.failures, connected_at: None };
            let shortest = other.next_delay(now, 0);
            assert_eq!(shortest, Duration::from_millis(delay_ms / 2));
            let longest = backoff.next_delay(now, delay_ms * 1000 / 2);
            assert_eq!(longest, Duration::from_millis(delay_ms));
        }
        for random in [u64::MAX, 12_345_678_901] {
            assert!(backoff.next_delay(now, random) <= DELAY_MAX);
        }
    }

    #[test]
    fn only_a_connection_that_has_lasted_makes_the_next_attempt_soon() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        for _ in 0..5 {
            backoff.next_delay(now, 0);
        }
        backoff.note_connected(now);
        assert_eq!(backoff.next_delay(now + DELAY_MAX / 2, 0), DELAY_MAX / 2);
        backoff.note_connected(now);
        assert_eq!(backoff.next_delay(now + DELAY_MAX, 0), DELAY_MIN / 2);
    }
}
