//! [`BackplaneStats`]: how a process is connected with the others of its namespace.

use std::time::Duration;

use super::exposition::{
    Exposition,
    Kind::{Counter, Gauge},
    Metric,
    Value::{Count, Millis},
};

/// How this process is connected with the other machines of its [`Backplane`](crate::Backplane), and
/// what has passed; from [`Handle::backplane`](crate::Handle::backplane).
///
/// It is not a health check: while Redis is away, streams stay open, local topics and ticks go on, and
/// publishers are accepted until the outbox is full. A load balancer that takes machines out for it
/// would take out all of them at the same time.
///
/// ```
/// use starwheel::Handle;
/// /// For a page of the operators.
/// fn state(handle: &Handle) -> String {
///     match handle.backplane() {
///         None => "one machine".to_owned(),
///         Some(backplane) => match backplane.down_for {
///             None => format!("connected, events are {} ms late", backplane.lag_ms),
///             Some(since) => format!("without Redis for {since:?}: {}", backplane.last_error),
///         },
///     }
/// }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackplaneStats {
    /// Gauge: both connections are up and the store has answered.
    pub connected: bool,
    /// For how long there has been no connection; `None` while there is one.
    pub down_for: Option<Duration>,
    /// Why the last connection ended or could not be made. Empty if that never happened.
    pub last_error: String,
    /// Gauge: the place of the last event that has come here, which is the number in its id.
    pub position: u64,
    /// Gauge: for how long the oldest event that the store is known to have has been on its way here,
    /// in milliseconds. Measured by the clock of this machine alone.
    pub lag_ms: u64,
    /// Gauge: bytes of events that wait to be stored.
    pub outbox_bytes: u64,
    /// Gauge: batches of events that were sent and not answered yet.
    pub in_flight: u64,
    /// Gauge: topics that are in use in this process.
    pub topics: u64,
    /// Events published in this process.
    pub published: u64,
    /// Publishes that were refused because the outbox was full.
    pub refused: u64,
    /// Events that came from the store, of all machines.
    pub received: u64,
    /// Those of topics that nobody uses in this process.
    pub skipped: u64,
    /// Entries of the store that this release cannot read, or that are no whole events. Nobody gets
    /// them.
    pub unreadable: u64,
    /// Batches that were sent again after the store had lost them.
    pub resent: u64,
    /// Batches that the store had already when they were sent again.
    pub duplicates: u64,
    /// Times that events were gone before this process had read them, because it was away for too
    /// long. The subscribers are notified by the [policies](crate::Backpressure) of their topics.
    pub holes: u64,
    /// Times that the store had lost events that this process had read.
    pub undone: u64,
    /// Times that the store was found to be in another life: it was restarted, or has failed over, with
    /// or without a loss.
    pub generations: u64,
    /// Times that a connection was made.
    pub connects: u64,
    /// Histories of topics that came from the store.
    pub histories: u64,
}

impl BackplaneStats {
    /// The metrics in Prometheus' text format.
    pub(in crate::engine) fn prometheus(&self) -> String {
        let mut out = Exposition::with_capacity(4 * 1024);
        out.metrics(Gauge, &self.gauges());
        out.metrics(Counter, &self.counters());
        out.into_text()
    }

    fn gauges(&self) -> Vec<Metric> {
        let down_ms = self.down_for.map_or(0, |down| down.as_millis() as u64);
        vec![
            (
                "backplane_connected",
                Count(self.connected.into()),
                "1 while connected with the store",
            ),
            ("backplane_down_seconds", Millis(down_ms), "Time without a connection"),
            (
                "backplane_position",
                Count(self.position),
                "Place of the last event that has come here",
            ),
            (
                "backplane_lag_seconds",
                Millis(self.lag_ms),
                "Time that stored events have been on their way here",
            ),
            (
                "backplane_outbox_bytes",
                Count(self.outbox_bytes),
                "Bytes of events that wait to be stored",
            ),
            (
                "backplane_in_flight",
                Count(self.in_flight),
                "Batches of events that are not answered yet",
            ),
            ("backplane_topics", Count(self.topics), "Topics in use in this process"),
        ]
    }

    fn counters(&self) -> Vec<Metric> {
        vec![
            ("backplane_published", Count(self.published), "Events published in this process"),
            (
                "backplane_refused",
                Count(self.refused),
                "Publishes refused because the outbox was full",
            ),
            (
                "backplane_received",
                Count(self.received),
                "Events of all machines that came from the store",
            ),
            ("backplane_skipped", Count(self.skipped), "Events of topics that nobody uses here"),
            (
                "backplane_unreadable",
                Count(self.unreadable),
                "Entries of the store that cannot be read",
            ),
            (
                "backplane_resent",
                Count(self.resent),
                "Batches sent again after the store had lost them",
            ),
            ("backplane_duplicates", Count(self.duplicates), "Batches that the store had already"),
            (
                "backplane_holes",
                Count(self.holes),
                "Times that events were gone before they were read",
            ),
            (
                "backplane_undone",
                Count(self.undone),
                "Times that the store had lost events that were read",
            ),
            (
                "backplane_generations",
                Count(self.generations),
                "Times that the store was restarted or has failed over",
            ),
            ("backplane_connects", Count(self.connects), "Connections made"),
            (
                "backplane_histories",
                Count(self.histories),
                "Histories of topics that came from the store",
            ),
        ]
    }
}
