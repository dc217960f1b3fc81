//! What can go wrong in a simulated network.

/// What goes wrong in the network, by chance; the same seed gives the same faults.
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
    /// Writes that take only a part, at any byte.
    pub short_writes_percent: u8,
    /// Reads that give only a part.
    pub short_reads_percent: u8,
    /// Reads and writes that are refused for now.
    pub would_block_percent: u8,
    /// Reads and writes that a signal interrupts. Whoever is interrupted tries again, so 100 is
    /// a standstill.
    pub interrupts_percent: u8,
    /// Reads and writes that find the connection reset.
    pub resets_percent: u8,
    /// Events that report everything a poller can see at that moment, as epoll does, instead of
    /// nothing but what has changed.
    pub spurious_readiness_percent: u8,
    /// What the kernel buffers for a client that does not read. 64 KiB by default.
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
