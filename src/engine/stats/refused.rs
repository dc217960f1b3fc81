//! [`RefusedCounts`]: refusals by status.

use crate::http::StatusCode;
/// Requests refused, by the status that they were answered with.
///
/// An `EventSource` that was told to come back later got 200, because it understands nothing else;
/// it is counted by the status that stands for (429, 503).
///
/// ```
/// let refused = starwheel::Stats::default().refused;
/// assert_eq!((refused.with(starwheel::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE), refused.total()), (0, 0));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RefusedCounts {
    counts: [u64; STATUSES.len()],
    other: u64,
}

impl RefusedCounts {
    /// How many were refused with this status; 0 for one that refusals do not have.
    ///
    /// ```
    /// assert_eq!(starwheel::Stats::default().refused.with(starwheel::StatusCode::REQUEST_TIMEOUT), 0);
    /// ```
    #[must_use]
    pub fn with(&self, status: StatusCode) -> u64 {
        STATUSES.binary_search(&status.as_u16()).map_or(0, |at| self.counts[at])
    }

    /// The statuses that refusals have, each with its count.
    ///
    /// ```
    /// let refused = starwheel::Stats::default().refused;
    /// assert!(refused.by_status().any(|(status, count)| status == 413 && count == 0));
    /// ```
    pub fn by_status(&self) -> impl Iterator<Item = (StatusCode, u64)> {
        STATUSES.into_iter().map(StatusCode::of).zip(self.counts)
    }

    /// Those with a status that [`by_status`](Self::by_status) does not list: only handlers choose
    /// such, with [`Response::with_retry_after`](crate::Response::with_retry_after).
    #[must_use]
    pub fn other(&self) -> u64 {
        self.other
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.other
    }

    pub(in crate::engine) fn count(&mut self, status: StatusCode) {
        match STATUSES.binary_search(&status.as_u16()) {
            Ok(at) => self.counts[at] += 1,
            Err(_) => self.other += 1,
        }
    }
}

/// In order, for the search.
const STATUSES: [u16; 13] = [400, 403, 408, 413, 414, 415, 417, 421, 429, 431, 501, 503, 505];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_count() {
        assert!(STATUSES.is_sorted());
        let mut refused = RefusedCounts::default();
        let statuses = STATUSES.map(StatusCode::of);
        let more = [StatusCode::HTTP_VERSION_NOT_SUPPORTED, StatusCode::NOT_FOUND];
        statuses.into_iter().chain(more).for_each(|status| refused.count(status));
        assert!(statuses.into_iter().all(|status| refused.with(status) >= 1));
        assert_eq!(
            (
                refused.with(StatusCode::HTTP_VERSION_NOT_SUPPORTED),
                refused.with(StatusCode::NOT_FOUND),
                refused.other()
            ),
            (2, 0, 1)
        );
        assert_eq!(refused.total(), 15);
        assert_eq!(refused.by_status().map(|(_, count)| count).sum::<u64>(), 14);
    }
}
