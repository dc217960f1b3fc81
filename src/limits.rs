//! Every bound the crate keeps, with its name, unit, default and reason.

use std::time::Duration;

/// What one connection may cost at most. All fields have defaults; change single ones:
///
/// ```
/// use starwheel::Limits;
/// let mut limits = Limits::default();
/// limits.body_bytes = 64 * 1024;
/// assert_eq!(limits.head_bytes, 16 * 1024);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// Request line and header fields together; beyond it 431, or 414 when the request line alone
    /// is longer. 16 KiB, because Datastar carries signals in the URL of a GET.
    pub head_bytes: usize,
    /// Header fields of one request; beyond it 431. 100, as in hyper and Apache.
    pub header_fields: usize,
    /// Body of one request after de-chunking; beyond it 413. 1 MiB.
    pub body_bytes: usize,
    /// Chunk extensions and trailer fields of one chunked body together; beyond it 400. 8 KiB.
    pub chunk_overhead_bytes: usize,
    /// Bytes queued for one client that does not read fast enough. A stream to which more is sent
    /// ends with [`CloseReason::Slow`](crate::CloseReason::Slow). 256 KiB. What one tick or one
    /// reply leaves over is kept whole even if it is larger, provided that nothing was queued before.
    pub outbox_bytes: usize,
    /// From the first byte of a request to the end of its head; beyond it 408. 10 s.
    pub head_timeout: Duration,
    /// From the end of the head to the end of the body, in total; beyond it 408. 30 s.
    pub body_timeout: Duration,
    /// How long a kept-alive connection may stay without a request before it is closed. 60 s.
    pub idle_timeout: Duration,
    /// How long a reply may take to be read by the client once it has been written in part, and
    /// how long a refused client may take to read the refusal. 30 s.
    pub linger_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 16 * 1024,
            header_fields: 100,
            body_bytes: 1024 * 1024,
            chunk_overhead_bytes: 8 * 1024,
            outbox_bytes: 256 * 1024,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            linger_timeout: Duration::from_secs(30),
        }
    }
}
