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

/// Frees a buffer that is larger than what is kept. Its bytes are not needed any more.
pub(super) fn release(bytes: &mut Vec<u8>) {
    if bytes.capacity() > KEPT_BYTES {
        *bytes = Vec::new();
    }
}

/// What each buffer keeps for the next turn: enough for all but the largest events.
pub(super) const KEPT_BYTES: usize = 64 * 1024;
