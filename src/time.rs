//! Time in milliseconds: converts durations to ticks of the wheel, continues schedules, and spreads
//! deadlines.

use std::time::Duration;

/// No deadline.
pub(crate) const NEVER: u64 = u64::MAX;

/// A duration in ticks of the wheel, rounded up: nothing fires early.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(NEVER)
}

/// The next run of a repeating schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NextPeriod {
    pub(crate) deadline: u64,
    /// Full periods that passed without a run.
    pub(crate) missed: u64,
}

/// The period after the one that was due at `deadline`.
///
/// It starts at `deadline + interval`, whenever the current run really happened: no drift. Periods
/// that have passed since (the process was suspended, a turn was long) are skipped. There is one
/// late run instead of a burst, and the phase is kept.
pub(crate) fn next_period(deadline: u64, interval_ms: u32, now: u64) -> NextPeriod {
    let interval = u64::from(interval_ms).max(1);
    let missed = now.saturating_sub(deadline) / interval;
    let deadline = deadline.saturating_add((missed + 1).saturating_mul(interval));
    NextPeriod { deadline, missed }
}

/// The position of the nth member of a group in `0..range`. For any group size the positions are
/// spread as evenly as possible, and neighbours are far apart: multiples of the golden ratio,
/// modulo one (Knuth, TAOCP 3, 6.4). Random delays would not separate clients that disconnect
/// together as well.
pub(crate) fn spread(range: u64, nth: u64) -> u64 {
    let share = nth.wrapping_mul(GOLDEN_RATIO);
    // Below `range`, so nothing is truncated.
    ((u128::from(range) * u128::from(share)) >> 64) as u64
}

/// Its fraction, in units of 2^-64.
const GOLDEN_RATIO: u64 = 0x9E37_79B9_7F4A_7C15;

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
    fn a_crowd_is_spread_over_the_whole_range() {
        for crowd in [10, 100, 1_000] {
            let mut places: Vec<u64> = (0..crowd).map(|nth| spread(10_000_000, nth)).collect();
            places.sort_unstable();
            assert!(places[places.len() - 1] < 10_000_000);
            let even = 10_000_000 / crowd;
            let nearest = places.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap();
            let farthest = places.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
            assert!(nearest > even / 3 && farthest < even * 2, "{nearest} {even} {farthest}");
        }
        assert!((0..1_000).all(|nth| spread(u64::MAX, nth) < u64::MAX && spread(0, nth) == 0));
    }

    #[test]
    fn durations_round_up_and_saturate() {
        assert_eq!(millis(Duration::from_micros(1)), 1);
        assert_eq!(millis(Duration::from_millis(5)), 5);
        assert_eq!(millis(Duration::MAX), NEVER);
    }
}
