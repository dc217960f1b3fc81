//! [`Lifetime`]: the age at which streams are dropped.

use std::{
    ops::{Range, RangeInclusive},
    time::Duration,
};

use crate::time::{millis, spread};

/// The age at which a stream is dropped: the same for all, or out of a range. For
/// [`Sse::max_lifetime`](crate::Sse::max_lifetime).
///
/// With a range, the ages of the streams that a reactor opens are spread evenly over it: multiples
/// of the golden ratio, without random numbers. The order of its ends does not matter.
///
/// ```
/// use starwheel::Lifetime;
/// use std::time::Duration;
/// let minutes = |count: u64| Duration::from_secs(60 * count);
/// assert_eq!(Lifetime::from(minutes(60)), Lifetime::from(minutes(60)..=minutes(60)));
/// assert_eq!(Lifetime::from(minutes(50)..minutes(70)), Lifetime::from(minutes(70)..=minutes(50)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    least_ms: u64,
    most_ms: u64,
}

impl Lifetime {
    /// The age of the nth stream.
    pub(in crate::engine) fn age_ms(self, nth: u64) -> u64 {
        self.least_ms + spread((self.most_ms - self.least_ms).saturating_add(1), nth)
    }
}

impl From<Duration> for Lifetime {
    fn from(age: Duration) -> Self {
        (age..=age).into()
    }
}

impl From<RangeInclusive<Duration>> for Lifetime {
    fn from(ages: RangeInclusive<Duration>) -> Self {
        let (start_ms, end_ms) = (millis(*ages.start()), millis(*ages.end()));
        Self { least_ms: start_ms.min(end_ms), most_ms: start_ms.max(end_ms) }
    }
}

/// Ages are whole milliseconds, so the end is included as well.
impl From<Range<Duration>> for Lifetime {
    fn from(ages: Range<Duration>) -> Self {
        (ages.start..=ages.end).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_within_the_range_both_ends_included() {
        let ages = |lifetime: Lifetime| {
            let ages = || (0..1_000).map(move |nth| lifetime.age_ms(nth));
            (ages().min().unwrap(), ages().max().unwrap())
        };
        let ms = Duration::from_millis;
        assert_eq!(ages(ms(5).into()), (5, 5));
        assert_eq!(ages((ms(5)..=ms(9)).into()), (5, 9));
        assert_eq!(ages((ms(9)..ms(5)).into()), (5, 9));
        let (least, most) = ages((Duration::ZERO..=Duration::MAX).into());
        assert!(least == 0 && most > u64::MAX / 1_000 * 998);
    }
}
