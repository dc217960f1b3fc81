//! How regularly the events of one stream came, judged by the stream's own first events.
//!
//! A stream's schedule is `offset + n * interval`. Nobody tells the generator the offset, so it is
//! the smallest one that any event had: what delays all events alike drops out.

/// The arrivals of one stream against its schedule.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Regularity {
    /// For each event how long after its place in the schedule it came.
    pub lateness_ns: Vec<u64>,
    /// For each pair of neighbours how far their distance was from the interval.
    pub jitter_ns: Vec<u64>,
    /// Places in the schedule that no event came for.
    pub missed: u64,
}

/// Judges the arrivals between `begin_ns` and `end_ns`, in the order they came.
pub fn judge(arrivals_ns: &[u64], interval_ns: u64, begin_ns: u64, end_ns: u64) -> Regularity {
    if arrivals_ns.is_empty() {
        return Regularity { missed: (end_ns - begin_ns) / interval_ns, ..Regularity::default() };
    }
    let (interval, slack) = (interval_ns as i64, interval_ns as i64 / SLACK_DIVISOR);
    let offsets: Vec<i64> =
        (0..).zip(arrivals_ns).map(|(n, &at)| at as i64 - begin_ns as i64 - n * interval).collect();

    // An event that is late once is followed by events that are not; a place that was skipped
    // moves all later ones. So skipped places show in the smallest offset from here to the end.
    let mut earliest_from_here = offsets.clone();
    for n in (1..earliest_from_here.len()).rev() {
        earliest_from_here[n - 1] = earliest_from_here[n - 1].min(earliest_from_here[n]);
    }
    let schedule = earliest_from_here[0];
    let skipped_before = |n: usize| (earliest_from_here[n] - schedule + slack) / interval;

    let lateness_ns = (0..offsets.len())
        .map(|n| (offsets[n] - schedule - skipped_before(n) * interval).max(0).unsigned_abs())
        .collect();
    let jitter_ns =
        arrivals_ns.windows(2).map(|pair| (pair[1] - pair[0]).abs_diff(interval_ns)).collect();

    // The whole schedule, from the first place in the window to the last one that was due.
    let places_before_first = (schedule - slack).max(0) / interval;
    let last = offsets.len() - 1;
    let places_until_last = last as i64 + skipped_before(last) + 1;
    let places_due = ((end_ns - begin_ns) as i64 - schedule - slack) / interval + 1;
    let places = places_before_first + places_until_last.max(places_due);
    let missed = places.unsigned_abs() - arrivals_ns.len() as u64;
    Regularity { lateness_ns, jitter_ns, missed }
}

/// A tenth of an interval is the doubt allowed: whether a place was skipped, or lies in the window.
const SLACK_DIVISOR: i64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: u64 = 100;

    fn judge_from_zero(arrivals: &[u64]) -> Regularity {
        judge(arrivals, INTERVAL, 0, 500)
    }

    #[test]
    fn a_punctual_stream_is_never_late() {
        let regularity = judge_from_zero(&[7, 107, 207, 307, 407]);
        assert_eq!(
            regularity,
            Regularity { lateness_ns: vec![0; 5], jitter_ns: vec![0; 4], missed: 0 }
        );
    }

    #[test]
    fn a_late_event_counts_once_but_disturbs_two_distances() {
        let regularity = judge_from_zero(&[7, 107, 267, 307, 407]);
        assert_eq!(regularity.lateness_ns, [0, 0, 60, 0, 0]);
        assert_eq!(regularity.jitter_ns, [0, 60, 60, 0]);
        assert_eq!(regularity.missed, 0);
    }

    #[test]
    fn a_late_first_event_does_not_shift_the_schedule() {
        assert_eq!(judge_from_zero(&[37, 107, 207, 307, 407]).lateness_ns, [30, 0, 0, 0, 0]);
    }

    #[test]
    fn drift_adds_up() {
        assert_eq!(judge_from_zero(&[0, 103, 206, 309, 412]).lateness_ns, [0, 3, 6, 9, 12]);
    }

    #[test]
    fn skipped_places_are_missed_not_late() {
        let regularity = judge_from_zero(&[7, 107, 302, 410]);
        assert_eq!(regularity.lateness_ns, [0, 0, 0, 3]);
        assert_eq!(regularity.missed, 1);
    }

    #[test]
    fn silence_at_either_end_is_missed() {
        assert_eq!(judge_from_zero(&[]).missed, 5);
        assert_eq!(judge_from_zero(&[240, 340]).missed, 2 + 1);
        assert_eq!(judge_from_zero(&[101, 202, 300, 400]).missed, 0);
    }
}
