//! [`Histogram`]: how often values occurred, by size.

/// A histogram with powers of two as bounds. [`Histogram::BOUNDS`] are the upper bounds; the last
/// count has none.
///
/// ```
/// use starwheel::Histogram;
/// let histogram = Histogram::default();
/// assert_eq!(histogram.count(), 0);
/// assert_eq!(Histogram::BOUNDS[3], 4);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; Self::BOUNDS.len() + 1],
    sum: u64,
}

impl Histogram {
    /// Inclusive upper bounds of the counts.
    pub const BOUNDS: [u64; 12] = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

    /// Number of values for each bound; the last is the number above all bounds.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Number of values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all values.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    pub(in crate::engine) fn add(&mut self, value: u64) {
        self.sum = self.sum.saturating_add(value);
        self.counts[Self::BOUNDS.partition_point(|bound| *bound < value)] += 1;
    }

    pub(super) fn add_all(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(sum, more)| *sum += more);
        self.sum = self.sum.saturating_add(other.sum);
    }
}
