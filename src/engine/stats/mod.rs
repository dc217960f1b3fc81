//! The engine's counters: plain integers, incremented where things happen. Nothing is sampled.

mod backplane;
mod closed;
mod exposition;
mod histogram;
mod listed;
mod prometheus;
mod refused;
mod routes;
mod sum;
mod table;
mod tls;
mod topics;

pub(in crate::engine) use self::topics::{TOPICS_MAX, TopicTable};
pub use self::{
    backplane::BackplaneStats,
    closed::ClosedCounts,
    histogram::Histogram,
    refused::RefusedCounts,
    routes::{DurationHistogram, RouteStats},
    tls::{FailedHandshakes, TlsStats},
    topics::TopicStats,
};

use std::mem;

use self::table::Table;

use crate::compress::CompressionCounts;

/// Statistics of one reactor since its start, or the sum of those of all workers.
///
/// Gauges are marked; all other values only grow. Reading them copies a few hundred bytes, and about
/// 250 for each route that is listed.
///
/// The methods [`routes`](Self::routes) and [`topics`](Self::topics) tell by which route and topic.
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
    /// Gauge: open streams, from their start until their end is decided.
    pub streams: u64,
    /// Gauge: open connections, including those with a stream.
    pub connections: u64,
    /// Streams opened.
    pub opened: u64,
    /// Streams ended, by reason. Counted just before `on_disconnect` runs.
    pub closed: ClosedCounts,
    /// Connections accepted, and sockets adopted.
    pub accepted: u64,
    /// Requests read completely and passed to the handler.
    pub requests: u64,
    /// Refused requests, by status. These are:
    /// * requests that reached no handler because they were malformed, too large, too slow, for a
    ///   host not on the [list](crate::Config::hosts), or without a required [PROXY protocol
    ///   header](crate::ListenOptions::proxy_protocol);
    /// * requests stopped by [`OriginCheck`](crate::OriginCheck);
    /// * streams that had [expired](crate::Sse::expires_at) before they started;
    /// * connections and streams over their limits;
    /// * requests that a handler rejected with
    ///   [`Response::with_retry_after`](crate::Response::with_retry_after).
    pub refused: RefusedCounts,
    /// Connections reset immediately because far more than the limits allow were open.
    pub resets: u64,
    /// Failed attempts to accept, usually for lack of descriptors. While that lasts, there are ten
    /// a second for each listener. Connections lost in the accept backlog (a reset, a firewall, a
    /// network that is down) are skipped and not counted.
    pub accept_failures: u64,
    /// Connections closed by a timeout of [`Limits`](crate::Limits).
    pub timed_out: u64,
    /// Runs of updaters.
    pub ticks: u64,
    /// Ticks skipped because the client had not taken the previous output.
    pub ticks_skipped: u64,
    /// Ticks of streams and topics skipped because a full interval had passed while the process or
    /// a turn was blocked. A warning names one of the affected streams or topics, at most once a
    /// second.
    pub ticks_missed: u64,
    /// Ticks whose output equalled the previous one and was not sent.
    pub ticks_unchanged: u64,
    /// Events sent to single streams by closures. Events from [`Sse::send`](crate::Sse::send) are
    /// not counted.
    pub events: u64,
    /// Events published on topics.
    pub published: u64,
    /// Events published on topics that had been [finished](crate::Handle::finish). They are dropped.
    pub published_late: u64,
    /// Topic events delivered to streams.
    pub delivered: u64,
    /// Times a slow stream missed events that had left a topic's log, for every backpressure
    /// policy.
    pub passed_by: u64,
    /// Gap events sent.
    pub gaps: u64,
    /// Times this worker missed events that were published for all [`Workers`](crate::Workers),
    /// because its queue was full and it had taken nothing for a second.
    pub left_out: u64,
    /// Runs of [`Context::every`](crate::Context::every) timers skipped for the same reason.
    pub timers_missed: u64,
    /// Lateness of ticks in milliseconds.
    pub tick_lateness_ms: Histogram,
    /// Time until a published event was offered to all subscribers, in milliseconds.
    pub fan_out_ms: Histogram,
    /// Gauge: bytes in the logs of all topics at the end of the last turn.
    pub log_bytes: u64,
    /// Gauge: commands from other threads in the queue at the start of the last turn.
    pub queue_depth: u64,
    /// Bytes before and after compression, and its cost.
    pub compression: CompressionCounts,
    /// Handshakes and records of connections with TLS. Zero without them.
    pub tls: TlsStats,
    /// Keep-alives sent: comments and [events](crate::KeepAlive::Event).
    pub keep_alives: u64,
    /// Bytes read from clients; with TLS, those of HTTP.
    pub bytes_in: u64,
    /// Bytes written to sockets; with TLS, those of HTTP.
    pub bytes_out: u64,
    /// Panics in your closures that were caught.
    pub panics: u64,
    /// Time spent in your closures, in nanoseconds: handlers, updaters, hooks, timers and
    /// [`Handle::run`](crate::Handle::run), with everything they do through
    /// [`Context`](crate::Context) and [`Stream`](crate::Stream). One thread runs them all, so
    /// growth near 1,000,000,000 a second means that the reactor is overloaded, even if no single
    /// call is slow.
    ///
    /// Exact where reading the system's clock is cheap, as on nearly all machines. Elsewhere it is
    /// counted in kernel ticks of 1 to 10 ms, which is correct on average over many calls. Zero
    /// when [`Config::slow_call`](crate::Config::slow_call) is off.
    pub call_nanos: u64,
    /// Calls of your closures that took longer than
    /// [`Config::slow_call`](crate::Config::slow_call).
    pub slow_calls: u64,
    /// Gauge: duration of the slowest of these calls, in milliseconds.
    pub slowest_call_ms: u64,
    pub(in crate::engine) routes: Table<RouteStats>,
    pub(in crate::engine) topics: Table<TopicStats>,
}

impl Stats {
    /// Brings an earlier copy up to date. Of the tables, only what has changed is copied.
    pub(in crate::engine) fn copy_changes_to(&mut self, copy: &mut Self) {
        let (mut routes, mut topics) = (mem::take(&mut self.routes), mem::take(&mut self.topics));
        let (mut old_routes, mut old_topics) =
            (mem::take(&mut copy.routes), mem::take(&mut copy.topics));
        routes.copy_changes_to(&mut old_routes);
        topics.copy_changes_to(&mut old_topics);
        copy.clone_from(self);
        (copy.routes, copy.topics) = (old_routes, old_topics);
        (self.routes, self.topics) = (routes, topics);
    }
}
