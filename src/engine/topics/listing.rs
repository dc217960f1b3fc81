//! Which topics are listed in the statistics, and what has to be brought up to date there.

use crate::conn::TopicIndex;

/// The topics that are listed in the statistics.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// A bit for each place that is taken.
    pub(super) taken: u128,
    /// Topics that have changed since their figures were copied.
    pub(super) touched: Vec<TopicIndex>,
    /// Topics that have changed since their slowest subscriber was looked for.
    pub(super) unmeasured: Vec<TopicIndex>,
    /// Places of topics that have been forgotten.
    pub(super) left: Vec<usize>,
    /// Until then, lags are not measured again.
    pub(super) measure_at: u64,
    /// More topics ask for it than there are places. This was logged.
    pub(super) is_full: bool,
}

/// The place of a topic in the statistics.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) place: usize,
    pub(super) is_touched: bool,
    pub(super) is_unmeasured: bool,
    /// As it was measured last.
    pub(super) lag: u64,
}
