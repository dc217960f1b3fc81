//! What is kept after a peak, and what is freed.
//!
//! * Buffers reused in every turn keep at most 64 KiB each. The rest is freed at the end of the
//!   turn, so a large event does not hold its memory until the next one.
//! * Lists whose length follows their use (subscribers and frames of a topic, topics of a stream,
//!   the table of topics, waiting requests) shrink when a quarter is left.
//! * Tables of slots (connections, timers, their closures, the entries of the wheel, the state of
//!   compressed streams) and the lists of slots for one turn keep the size of their peak so far,
//!   about 170 bytes per slot. An index refers to a connection while it lives, so slots cannot
//!   move.
//! * With TLS, an incomplete record, the unsent rest of one and an unfinished handshake are freed as
//!   soon as they are not needed. `Stats::tls` has their bytes, apart from those of the outbox.
//! * The contexts of encoders keep the memory of their largest event, within a limit set by the
//!   level; see [`Compression::zstd_level`](crate::Compression::zstd_level). zstd frees it after
//!   128 smaller events.

/// Frees a buffer that exceeds the kept size. Its bytes are no longer needed.
pub(super) fn release(bytes: &mut Vec<u8>) {
    if bytes.capacity() > KEPT_BYTES {
        *bytes = Vec::new();
    }
}

/// What each buffer keeps for the next turn: enough for all but the largest events.
pub(super) const KEPT_BYTES: usize = 64 * 1024;
