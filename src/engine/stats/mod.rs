//! What the engine counts. Plain integers, bumped where things happen; nothing is sampled.

mod prometheus;
mod refused;

pub use self::refused::RefusedCounts;

use crate::{compress::CompressionCounts, error::CloseReason};

/// Figures of one reactor since its start.
///
/// Gauges say so; everything else only grows. Reading them copies a few hundred bytes.
///
/// ```
/// use starwheel::{Context, Response};
/// fn health(cx: &Context<'_>) -> Response {
///     Response::text(format!("{} streams\n", cx.stats().streams))
/// }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Gauge: open streams, from birth until their end is decided.
    pub streams: u64,
    /// Gauge: open connections, those with a stream included.
    pub connections: u64,
    /// Streams opened.
    pub opened: u64,
    /// Streams ended, by reason. Counted just before `on_disconnect` runs.
    pub closed: ClosedCounts,
    /// Connections accepted, and sockets adopted.
    pub accepted: u64,
    /// Requests read completely and given to the handler.
    pub requests: u64,
    /// Requests refused, by status: those that no handler saw because they were malformed, too
    /// large, too slow, for a host not on the [list](crate::Config::hosts), without the
    /// [PROXY protocol header](crate::ListenOptions::proxy_protocol) that was required, or a command that
    /// [`OriginCheck`](crate::OriginCheck) stopped; streams that had
    /// [expired](crate::Sse::expires_at) before their birth; those turned away by the limits of
    /// connections and streams; and those that a handler sent away with
    /// [`Response::with_retry_after`](crate::Response::with_retry_after).
    pub refused: RefusedCounts,
    /// Connections reset at once, because there were far more than the limits allow.
    pub resets: u64,
    /// Attempts to accept that failed, most often for want of descriptors. While it lasts, there
    /// are ten a second for each listener. Connections that were lost while they waited (a reset, a
    /// firewall, a network that is down) are passed over and not counted.
    pub accept_failures: u64,
    /// Connections closed because a time limit of [`Limits`](crate::Limits) ran out.
    pub timed_out: u64,
    /// Runs of updaters.
    pub ticks: u64,
    /// Ticks not run because the client had not taken the output of the one before.
    pub ticks_skipped: u64,
    /// Ticks of streams and topics dropped because their time had passed while the process or a turn
    /// was held up. A warning names one of those concerned, once a second at most.
    pub ticks_missed: u64,
    /// Ticks whose output equalled that of the one before and was not sent.
    pub ticks_unchanged: u64,
    /// Events sent to single streams by closures. Those of [`Sse::send`](crate::Sse::send) are not
    /// counted.
    pub events: u64,
    /// Events published on topics.
    pub published: u64,
    /// Events of topics given to streams.
    pub delivered: u64,
    /// Times a slow stream was passed by a topic's log, whatever its policy then did.
    pub passed_by: u64,
    /// Gap events sent.
    pub gaps: u64,
    /// Runs of [`Context::every`](crate::Context::every) dropped for the same reason.
    pub timers_missed: u64,
    /// How late ticks ran, in milliseconds.
    pub tick_lateness_ms: Histogram,
    /// How long it took to offer a published event to all subscribers, in milliseconds.
    pub fan_out_ms: Histogram,
    /// Gauge: bytes that the logs of all topics held when the last turn ended.
    pub log_bytes: u64,
    /// Gauge: commands of other threads that waited when the last turn began.
    pub queue_depth: u64,
    /// What was compressed, and to what.
    pub compression: CompressionCounts,
    /// Keep-alive comments sent.
    pub keep_alives: u64,
    /// Bytes read from clients.
    pub bytes_in: u64,
    /// Bytes taken by sockets.
    pub bytes_out: u64,
    /// Panics of users' closures that were caught.
    pub panics: u64,
    /// Time spent in users' closures, in nanoseconds: handlers, updaters, hooks, timers and those of
    /// [`Handle::run`](crate::Handle::run), with what they do through [`Context`](crate::Context)
    /// and [`Stream`](crate::Stream). One thread runs them all, so a growth of nearly 1,000,000,000 a
    /// second means that the reactor is overloaded, even if no call is slow.
    ///
    /// Exact where reading the system's clock costs little, as it does on nearly all machines;
    /// elsewhere counted in the kernel's ticks of 1 to 10 ms, right on the average of many calls. Zero
    /// with [`Config::slow_call`](crate::Config::slow_call) switched off.
    pub call_nanos: u64,
    /// Calls of users' closures that took longer than [`Config::slow_call`](crate::Config::slow_call).
    pub slow_calls: u64,
    /// Gauge: how long the slowest of them took, in milliseconds.
    pub slowest_call_ms: u64,
}

/// Counts by powers of two: [`Histogram::BOUNDS`] are the upper bounds, the last has none.
///
/// ```
/// use starwheel::Histogram;
/// let histogram = Histogram::default();
/// assert_eq!(histogram.count(), 0);
/// assert_eq!(Histogram::BOUNDS[3], 4);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; Self::BOUNDS.len() + 1],
    sum: u64,
}

impl Histogram {
    /// Inclusive upper bounds of the counts.
    pub const BOUNDS: [u64; 12] = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

    /// How many values were at most each bound, and how many were above all of them.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// How many values there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all values.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    pub(in crate::engine) fn add(&mut self, value: u64) {
        self.sum = self.sum.saturating_add(value);
        self.counts[Self::BOUNDS.partition_point(|bound| *bound < value)] += 1;
    }
}

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
    /// [`CloseReason::Dropped`].
    pub dropped: u64,
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
    /// Each reason's name and count.
    ///
    /// ```
    /// let closed = starwheel::Stats::default().closed;
    /// assert!(closed.by_reason().iter().any(|(reason, count)| *reason == "slow" && *count == 0));
    /// ```
    #[must_use]
    pub fn by_reason(&self) -> [(&'static str, u64); 9] {
        [
            ("finished", self.finished),
            ("dropped", self.dropped),
            ("lifetime", self.lifetime),
            ("shutdown", self.shutdown),
            ("disconnected", self.disconnected),
            ("io", self.io),
            ("slow", self.slow),
            ("failed", self.failed),
            ("panicked", self.panicked),
        ]
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_reason().iter().map(|(_, count)| count).sum()
    }

    pub(in crate::engine) fn count(&mut self, reason: &CloseReason) {
        *match reason {
            CloseReason::Finished => &mut self.finished,
            CloseReason::Dropped => &mut self.dropped,
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
