//! How much a log has, and how far a cursor lags.

use super::Log;

impl Log {
    /// Number of frames.
    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Number of frames after `cursor`.
    pub(crate) fn count_after(&self, cursor: u64) -> usize {
        // Nearly all cursors are at the end.
        match self.last_sequence() <= cursor {
            true => 0,
            false => {
                let seen = self.frames.partition_point(|frame| frame.sequence <= cursor);
                self.frames.len() - seen
            }
        }
    }
}
