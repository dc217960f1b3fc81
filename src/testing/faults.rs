//! Faults of a simulated network.

/// Random faults of the network; the same seed gives the same faults.
///
/// ```
/// use starwheel::testing::Faults;
/// let mut faults = Faults::default();
/// faults.short_writes_percent = 50;
/// assert_eq!(faults.resets_percent, 0);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Faults {
    /// Writes that take only a part, of any length.
    pub short_writes_percent: u8,
    /// Reads that return only a part.
    pub short_reads_percent: u8,
    /// Reads and writes that are refused for now.
    pub would_block_percent: u8,
    /// Reads and writes that a signal interrupts. Interrupted calls are repeated, so 100 never
    /// makes progress.
    pub interrupts_percent: u8,
    /// Reads and writes that find the connection reset.
    pub resets_percent: u8,
    /// Events that report everything a poller can see at that moment, like epoll, instead of only
    /// what has changed.
    pub spurious_readiness_percent: u8,
    /// Kernel buffer for a client that does not read. 64 KiB by default.
    pub socket_buffer_bytes: usize,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            short_writes_percent: 0,
            short_reads_percent: 0,
            would_block_percent: 0,
            interrupts_percent: 0,
            resets_percent: 0,
            spurious_readiness_percent: 0,
            socket_buffer_bytes: 64 * 1024,
        }
    }
}
