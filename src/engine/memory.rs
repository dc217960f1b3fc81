//! What is kept after a peak, and what is freed.
//!
//! * Buffers that every turn uses again keep at most 64 KiB each. The rest is freed at the end of the
//!   turn, so a large event does not hold its memory until the next one.
//! * Lists whose length follows their use (subscribers and frames of a topic, topics of a stream,
//!   the table of topics) shrink when a quarter is left.
//! * Tables of slots (connections, timers, their closures, the entries of the wheel, what is remembered of
//!   compressed streams) and the lists of slots for one turn keep the size of the largest crowd so
//!   far, some 170 bytes per slot. An index names a connection while it lives, so slots cannot move.
//! * The contexts of encoders keep what their largest event needed, within a bound that the level
//!   sets; see [`Compression::zstd_level`](crate::Compression::zstd_level). zstd frees it itself
//!   after 128 smaller events.

use super::{Engine, core::Core};
use crate::sse::EventBuffer;

impl<T> Engine<T> {
    /// Frees what this turn needed beyond [`KEPT_BYTES`] per buffer.
    pub(super) fn release_large_buffers(&mut self) {
        self.request.release_large_buffers();
        release(&mut self.head_buffer);
        self.core.release_large_buffers();
    }
}

impl Core {
    fn release_large_buffers(&mut self) {
        self.scratch.release_large_buffers();
        self.aside.release_large_buffers();
        self.coding.out().release_large_buffers();
        if self.publish_buffer.capacity() > KEPT_BYTES {
            self.publish_buffer = EventBuffer::new();
        }
        self.topics.release_large_buffers();
    }
}

/// Frees a buffer that is larger than what is kept. Its bytes are not needed any more.
pub(super) fn release(bytes: &mut Vec<u8>) {
    if bytes.capacity() > KEPT_BYTES {
        *bytes = Vec::new();
    }
}

/// What each buffer keeps for the next turn: enough for all but the largest events.
pub(super) const KEPT_BYTES: usize = 64 * 1024;
