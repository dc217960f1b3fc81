//! [`RefusedCounts`]: refusals by status.

use crate::http::StatusCode;
/// Refused requests, by the status of the response.
///
/// An `EventSource` that must retry later gets status 200, because any other status stops it. It is
/// counted under the status that the refusal has otherwise (429, 503).
///
/// ```
/// let refused = starwheel::Stats::default().refused;
/// assert_eq!((refused.with(starwheel::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE), refused.total()), (0, 0));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RefusedCounts {
    pub(super) counts: [u64; STATUSES.len()],
    pub(super) other: u64,
}

impl RefusedCounts {
    /// Number of requests refused with this status; 0 for statuses that refusals do not use.
    ///
    /// ```
    /// assert_eq!(starwheel::Stats::default().refused.with(starwheel::StatusCode::REQUEST_TIMEOUT), 0);
    /// ```
    #[must_use]
    pub fn with(&self, status: StatusCode) -> u64 {
        STATUSES.binary_search(&status.as_u16()).map_or(0, |at| self.counts[at])
    }

    /// All statuses that refusals use, each with its count.
    ///
    /// ```
    /// let refused = starwheel::Stats::default().refused;
    /// assert!(refused.by_status().any(|(status, count)| status == 413 && count == 0));
    /// ```
    pub fn by_status(&self) -> impl Iterator<Item = (StatusCode, u64)> {
        STATUSES.into_iter().map(StatusCode::of).zip(self.counts)
    }

    /// Refusals with a status that [`by_status`](Self::by_status) does not list. Only handlers can
    /// choose such a status, with
    /// [`Response::with_retry_after`](crate::Response::with_retry_after).
    #[must_use]
    pub fn other(&self) -> u64 {
        self.other
    }

    /// The sum of all counts.
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

/// Sorted, for binary search.
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
