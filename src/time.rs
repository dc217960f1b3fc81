//! Milliseconds: how durations become ticks of the wheel, and how a schedule goes on.

use std::time::Duration;

/// No deadline.
pub(crate) const NEVER: u64 = u64::MAX;

/// A duration in ticks of the wheel, rounded up: nothing ever fires early.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(NEVER)
}

/// Where a repeating schedule goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NextPeriod {
    pub(crate) deadline: u64,
    /// Whole periods that passed without a run.
    pub(crate) missed: u64,
}

/// The period after the one that was due at `deadline`.
///
/// It begins at `deadline + interval`, whenever the present one really ran: no drift. Periods that
/// have passed in the meantime (the process was stopped, a turn was long) are dropped, so there is
/// one late run instead of a storm, and the phase is kept.
pub(crate) fn next_period(deadline: u64, interval_ms: u32, now: u64) -> NextPeriod {
    let interval = u64::from(interval_ms).max(1);
    let missed = now.saturating_sub(deadline) / interval;
    let deadline = deadline.saturating_add((missed + 1).saturating_mul(interval));
    NextPeriod { deadline, missed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_run_does_not_move_the_next_one() {
        let next = next_period(1_000, 100, 1_030);
        assert_eq!(next, NextPeriod { deadline: 1_100, missed: 0 });
    }

    #[test]
    fn missed_periods_are_dropped_and_the_phase_is_kept() {
        let next = next_period(1_007, 100, 3_601_007);
        assert_eq!(next, NextPeriod { deadline: 3_601_107, missed: 36_000 });
    }

    #[test]
    fn a_schedule_ends_where_time_ends() {
        assert_eq!(next_period(NEVER, 100, NEVER).deadline, NEVER);
        assert_eq!(next_period(NEVER - 1, u32::MAX, NEVER - 1).deadline, NEVER);
    }

    #[test]
    fn durations_round_up_and_saturate() {
        assert_eq!(millis(Duration::from_micros(1)), 1);
        assert_eq!(millis(Duration::from_millis(5)), 5);
        assert_eq!(millis(Duration::MAX), NEVER);
    }
}
