//! [`Config`]: settings of a reactor.

use std::time::Duration;

use crate::{
    compress::Compression,
    http::{ForwardedField, Hosts, TrustedPeers},
    limits::Limits,
    sse::EventName,
};

/// Settings of a reactor; each field has a default.
///
/// ```
/// use starwheel::{Config, Response, Reactor, Request, Context};
/// use std::time::Duration;
///
/// let mut config = Config::default();
/// config.keep_alive = Some(Duration::from_secs(30));
/// config.limits.body_bytes = 64 * 1024;
/// let reactor = Reactor::with_config(config, |_: &Request, _: &mut Context<'_>| Response::text("hi"))?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Limits on connections, requests and streams.
    pub limits: Limits,
    /// Quiet time before a stream gets a keep-alive comment; `None` turns comments off. 15 s, which
    /// is below the idle timeouts of common proxies (60 s) and NAT boxes.
    pub keep_alive: Option<Duration>,
    /// Connections to reserve room for at startup. Tables then do not move while they grow, which
    /// would leave unused memory. Each place reserves about 150 bytes of address space, which
    /// become memory only when used. `None`: as many as the process may have descriptors when the
    /// reactor is created, at most 65,536 (10 MB of address space). This is not a limit.
    pub expected_connections: Option<usize>,
    /// Host names to serve; all by default. Requests for others get 421, see [`Hosts`].
    pub hosts: Hosts,
    /// Proxies that are trusted to report the client's address; see
    /// [`Request::client_ip`](crate::Request::client_ip). None by default.
    /// [`Limits::connections_per_ip`] counts the streams of their clients instead of their
    /// connections.
    pub trusted_proxies: TrustedPeers,
    /// The header field in which your proxies report the address. `X-Forwarded-For` by default.
    pub forwarded_field: ForwardedField,
    /// Content codings to offer, and their costs.
    pub compression: Compression,
    /// How soon the system detects a vanished TCP client.
    pub tcp: TcpOptions,
    /// How long a [drain](crate::Handle::drain) continues to accept connections, as part of its
    /// window. 0 by default: the drain accepts the connections already waiting, then closes the
    /// listeners.
    ///
    /// Set it when traffic still arrives for a while after the signal. Kubernetes removes a pod
    /// from its services at the same time as it sends SIGTERM, and proxies notice some seconds
    /// later; 5 s with a window of 15 s is enough there. Streams opened in this time leave within
    /// the window like all others.
    pub drain_accept_for: Duration,
    /// How long a closure (handler, updater, hook, timer, [`Handle::run`](crate::Handle::run)) may
    /// run before it is counted ([`Stats::slow_calls`](crate::Stats::slow_calls)) and logged as a
    /// warning with its route and client. 100 ms, like Python's asyncio. With `None`, calls are not
    /// timed and [`Stats::call_nanos`](crate::Stats::call_nanos) stays zero. Timing reads the clock
    /// twice per call, about 60 ns.
    pub slow_call: Option<Duration>,
    /// The event name used for bookmarks. A bookmark is an id without data, sent between the events
    /// of streams that have topics with a [history](crate::Topic::history). `None`, the default,
    /// sends the id alone. By WHATWG HTML 9.2.6 a client stores that id and dispatches nothing.
    /// Firefox and npm's `eventsource` do not store it, and silently lose what is published between
    /// a disconnect and their first event. They store the id of a named event, which reaches no
    /// listener unless one listens for that name. Clients that pass on all events pass this one on
    /// too. See `docs/replay.md`.
    ///
    /// ```
    /// use starwheel::{Config, EventName};
    /// let mut config = Config::default();
    /// config.bookmark_event = Some(EventName::from_static("bookmark"));
    /// ```
    pub bookmark_event: Option<EventName<'static>>,
}

/// Options for the system's TCP, set on listeners (their connections inherit them) and on adopted
/// sockets. They do not apply to Unix sockets.
///
/// ```
/// use starwheel::Config;
/// use std::time::Duration;
/// let mut config = Config::default();
/// config.tcp.user_timeout = Some(Duration::from_secs(60));
/// assert_eq!(config.tcp.keep_alive_idle, Some(Duration::from_secs(20)));
/// ```
///
/// A client that vanishes silently (a cut cable, a phone without network) is noticed only
/// [`user_timeout`](Self::user_timeout) after something was sent to it. On a quiet stream that is
/// the next comment ([`Config::keep_alive`]), so it takes 35 s at most by default. TCP probes are
/// enabled only for streams without comments, or with comments more than 40 s apart. Requests need
/// neither, because they have their own timeouts.
///
/// Probes are not used for all streams because those of clients that connected together, after a
/// restart for example, are sent together. Packets that exceed a queue are lost (on the loopback
/// device 1,000 packets for each core, `net.core.netdev_max_backlog`), and `user_timeout` then
/// disconnects thousands of live clients. Comments are spread over time, and TCP retransmits them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpOptions {
    /// How long sent bytes may stay unacknowledged before the connection is dropped
    /// (`TCP_USER_TIMEOUT`, RFC 5482). `None` leaves it to the system, whose retransmissions take
    /// about 15 minutes. Whole milliseconds; Linux only. 20 s.
    ///
    /// Linux also drops a connection whose client acknowledges but whose receive window stays full
    /// that long, because the client reads nothing (a stopped process, a frozen tab) or too little
    /// to open the window. Measured at 20 s: a client that read 4 KB per 100 ms stayed connected,
    /// one that read 1 KB was dropped. Most stuck clients therefore end here, as
    /// [`CloseReason::Io`](crate::CloseReason::Io), and not after
    /// [`Limits::stall_timeout`](crate::Limits::stall_timeout), which works on every system.
    pub user_timeout: Option<Duration>,
    /// Quiet time before the first probe of a stream without comments (`SO_KEEPALIVE`,
    /// `TCP_KEEPIDLE`), plus up to half as much, so that probes of many streams are spread. `None`
    /// turns probes off: such a client is then never noticed if nothing is sent to it. Whole
    /// seconds. 20 s. Costs five system calls when such a stream starts.
    pub keep_alive_idle: Option<Duration>,
    /// Time between probes (`TCP_KEEPINTVL`). Whole seconds. 5 s.
    pub keep_alive_interval: Duration,
    /// Unanswered probes before the connection is dropped (`TCP_KEEPCNT`). Linux would drop it
    /// after the first one if `user_timeout` has passed by then, so on such streams `user_timeout`
    /// is at least as long as all probes take. 3.
    pub keep_alive_probes: u32,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            user_timeout: Some(Duration::from_secs(20)),
            keep_alive_idle: Some(Duration::from_secs(20)),
            keep_alive_interval: Duration::from_secs(5),
            keep_alive_probes: 3,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            keep_alive: Some(Duration::from_secs(15)),
            expected_connections: None,
            hosts: Hosts::any(),
            trusted_proxies: TrustedPeers::none(),
            forwarded_field: ForwardedField::default(),
            compression: Compression::default(),
            tcp: TcpOptions::default(),
            drain_accept_for: Duration::ZERO,
            slow_call: Some(Duration::from_millis(100)),
            bookmark_event: None,
        }
    }
}
