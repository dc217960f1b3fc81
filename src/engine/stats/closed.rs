//! [`ClosedCounts`]: ended streams by reason.

use crate::error::CloseReason;

/// Streams ended, by [`CloseReason`].
///
/// ```
/// let closed = starwheel::Stats::default().closed;
/// assert_eq!(closed.total(), 0);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClosedCounts {
    /// [`CloseReason::Finished`].
    pub finished: u64,
    /// [`CloseReason::TopicsFinished`].
    pub topics_finished: u64,
    /// [`CloseReason::Dropped`].
    pub dropped: u64,
    /// [`CloseReason::Replaced`].
    pub replaced: u64,
    /// [`CloseReason::Lifetime`].
    pub lifetime: u64,
    /// [`CloseReason::Shutdown`].
    pub shutdown: u64,
    /// [`CloseReason::Disconnected`].
    pub disconnected: u64,
    /// [`CloseReason::Io`].
    pub io: u64,
    /// [`CloseReason::Slow`].
    pub slow: u64,
    /// [`CloseReason::Failed`].
    pub failed: u64,
    /// [`CloseReason::Panicked`].
    pub panicked: u64,
}

impl ClosedCounts {
    /// The name and count of each reason.
    ///
    /// ```
    /// let closed = starwheel::Stats::default().closed;
    /// assert!(closed.by_reason().iter().any(|(reason, count)| *reason == "slow" && *count == 0));
    /// ```
    #[must_use]
    pub fn by_reason(&self) -> [(&'static str, u64); 11] {
        [
            ("finished", self.finished),
            ("topics_finished", self.topics_finished),
            ("dropped", self.dropped),
            ("replaced", self.replaced),
            ("lifetime", self.lifetime),
            ("shutdown", self.shutdown),
            ("disconnected", self.disconnected),
            ("io", self.io),
            ("slow", self.slow),
            ("failed", self.failed),
            ("panicked", self.panicked),
        ]
    }

    /// The sum of all counts.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_reason().iter().map(|(_, count)| count).sum()
    }

    pub(in crate::engine) fn count(&mut self, reason: &CloseReason) {
        *match reason {
            CloseReason::Finished => &mut self.finished,
            CloseReason::TopicsFinished => &mut self.topics_finished,
            CloseReason::Dropped => &mut self.dropped,
            CloseReason::Replaced => &mut self.replaced,
            CloseReason::Lifetime => &mut self.lifetime,
            CloseReason::Shutdown => &mut self.shutdown,
            CloseReason::Disconnected => &mut self.disconnected,
            CloseReason::Io(_) => &mut self.io,
            CloseReason::Slow => &mut self.slow,
            CloseReason::Failed(_) => &mut self.failed,
            CloseReason::Panicked => &mut self.panicked,
        } += 1;
    }
}
