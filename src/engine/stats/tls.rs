//! [`TlsStats`]: handshakes, alerts, and what connections with TLS hold.

use super::histogram::Histogram;

/// What has happened on [connections with TLS](crate::Reactor::listen_tls), and what they hold.
///
/// Gauges are marked; all other values only grow. Each accepted connection is counted once among
/// those in a handshake, then among the complete or the failed ones.
///
/// ```
/// let tls = starwheel::Stats::default().tls;
/// assert_eq!((tls.handshakes, tls.failed.total()), (0, 0));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsStats {
    /// Gauge: connections in a handshake.
    pub handshaking: u64,
    /// Handshakes completed, resumed ones included.
    pub handshakes: u64,
    /// Handshakes that resumed a session, which costs less.
    pub resumed: u64,
    /// Handshakes that failed, by reason.
    pub failed: FailedHandshakes,
    /// Time from accepting a connection to the end of its handshake, in milliseconds: with the
    /// client's round trips and the wait for this reactor. Only completed handshakes count.
    pub handshake_ms: Histogram,
    /// Keys replaced during connections (RFC 8446 section 4.6.3), by either side.
    pub key_updates: u64,
    /// Error alerts that clients sent. A `close_notify` is none.
    pub alerts_received: u64,
    /// Error alerts that were sent to clients, or would have been sent if their sockets had taken
    /// them.
    pub alerts_sent: u64,
    /// Connections that ended after their handshake because the client broke the rules of TLS.
    pub faults: u64,
    /// Connections closed because a record was not complete within
    /// [`Limits::tls_record_timeout`](crate::Limits::tls_record_timeout).
    pub records_timed_out: u64,
    /// Connections closed after their handshake because incomplete records had more than
    /// [`Limits::tls_partial_bytes`](crate::Limits::tls_partial_bytes).
    pub records_refused: u64,
    /// Gauge: received bytes of incomplete records and handshakes that are kept.
    pub partial_bytes: u64,
    /// Gauge: sealed bytes that sockets have not taken yet. They are not counted in
    /// [`Limits::outbox_bytes`](crate::Limits::outbox_bytes): the rest of one record for each slow
    /// client, at most 16 KiB.
    pub unsent_bytes: u64,
    /// Gauge: bytes of client certificates and server names that open connections keep, where a
    /// `TlsConfig` asks for it (`TlsConfig::keep_client_certificates`).
    pub client_bytes: u64,
}

/// Failed TLS handshakes, by reason.
///
/// ```
/// let failed = starwheel::Stats::default().tls.failed;
/// assert!(failed.by_reason().contains(&("old_version", 0)));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedHandshakes {
    /// Not complete within
    /// [`Limits::tls_handshake_timeout`](crate::Limits::tls_handshake_timeout).
    pub timed_out: u64,
    /// The first bytes were not those of TLS; perhaps a request in the clear.
    pub not_tls: u64,
    /// The client does not support TLS 1.3.
    pub old_version: u64,
    /// Anything else that the specification or the configuration forbids, or that the client
    /// reported with an alert: it does not trust the certificate, for example.
    pub refused: u64,
    /// More than 64 KiB, or than 512 records.
    pub too_long: u64,
    /// Incomplete records and handshakes had more than
    /// [`Limits::tls_partial_bytes`](crate::Limits::tls_partial_bytes).
    pub overload: u64,
    /// The connection ended first, mostly because the client left.
    pub closed: u64,
}

impl FailedHandshakes {
    /// The name and count of each reason.
    ///
    /// ```
    /// let failed = starwheel::Stats::default().tls.failed;
    /// assert!(failed.by_reason().iter().all(|(_, count)| *count == 0));
    /// ```
    #[must_use]
    pub fn by_reason(&self) -> [(&'static str, u64); 7] {
        [
            ("timed_out", self.timed_out),
            ("not_tls", self.not_tls),
            ("old_version", self.old_version),
            ("refused", self.refused),
            ("too_long", self.too_long),
            ("overload", self.overload),
            ("closed", self.closed),
        ]
    }

    /// The sum of all counts.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_reason().iter().map(|(_, count)| count).sum()
    }
}

impl TlsStats {
    pub(super) fn add(&mut self, other: &Self) {
        let Self { failed, handshake_ms, .. } = self;
        for (sum, more) in [
            (&mut failed.timed_out, other.failed.timed_out),
            (&mut failed.not_tls, other.failed.not_tls),
            (&mut failed.old_version, other.failed.old_version),
            (&mut failed.refused, other.failed.refused),
            (&mut failed.too_long, other.failed.too_long),
            (&mut failed.overload, other.failed.overload),
            (&mut failed.closed, other.failed.closed),
            (&mut self.handshaking, other.handshaking),
            (&mut self.handshakes, other.handshakes),
            (&mut self.resumed, other.resumed),
            (&mut self.key_updates, other.key_updates),
            (&mut self.alerts_received, other.alerts_received),
            (&mut self.alerts_sent, other.alerts_sent),
            (&mut self.faults, other.faults),
            (&mut self.records_timed_out, other.records_timed_out),
            (&mut self.records_refused, other.records_refused),
            (&mut self.partial_bytes, other.partial_bytes),
            (&mut self.unsent_bytes, other.unsent_bytes),
            (&mut self.client_bytes, other.client_bytes),
        ] {
            *sum += more;
        }
        handshake_ms.add_all(&other.handshake_ms);
    }
}
