//! [`Config`]: what holds for all connections of a reactor.

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
    /// What one connection may cost.
    pub limits: Limits,
    /// How long a stream may be quiet before a comment proves it alive; `None` is never. 15 s,
    /// which is below the idle limits of the usual proxies (60 s) and NAT boxes.
    pub keep_alive: Option<Duration>,
    /// Connections to make room for at the start, so that no table is moved while it grows, and what
    /// moving leaves behind costs no memory. That room is about 150 bytes of address space each, and
    /// becomes memory only when they come. `None`: for as many as the process may have descriptors
    /// when the reactor is made, at most 65,536 (10 MB of address space). More may come in any case.
    pub expected_connections: Option<usize>,
    /// For which hosts requests are answered; all by default. Others get 421, see [`Hosts`].
    pub hosts: Hosts,
    /// Proxies that are trusted to report the client's address; see
    /// [`Request::client_ip`](crate::Request::client_ip). None by default.
    /// [`Limits::connections_per_ip`] does not count their connections; it counts the streams of each
    /// of their clients instead.
    pub trusted_proxies: TrustedPeers,
    /// The field in which they report it: the one that your proxies write. `X-Forwarded-For` by
    /// default.
    pub forwarded_field: ForwardedField,
    /// Which content codings are offered, and what they may cost.
    pub compression: Compression,
    /// How soon the system gives up a TCP client that has vanished.
    pub tcp: TcpOptions,
    /// How long a [drain](crate::Handle::drain) goes on accepting connections, as part of its window;
    /// 0 by default. Then it accepts those that wait already, and closes the listeners.
    ///
    /// Set it where traffic is still sent for a while after the signal to end: Kubernetes takes a pod
    /// out of its services at the same time as it sends SIGTERM, and proxies learn of it some seconds
    /// later. 5 s with a window of 15 s will do there. Streams that are opened meanwhile leave within
    /// the window like all others.
    pub drain_accept_for: Duration,
    /// How long a handler, updater, hook, timer or [`Handle::run`](crate::Handle::run) closure may
    /// run before it is counted ([`Stats::slow_calls`](crate::Stats::slow_calls)) and named in a
    /// warning, with its route and client. 100 ms, as Python's asyncio has it. `None` is never; then
    /// calls are not timed at all, and [`Stats::call_nanos`](crate::Stats::call_nanos) stays zero.
    /// Timing costs two readings of the clock per call, some 60 ns.
    pub slow_call: Option<Duration>,
    /// The name of an event, without data, as which bookmarks are sent: ids between the events of
    /// streams that have topics with a [history](crate::Topic::history). `None`, the default, sends
    /// the id alone. By WHATWG HTML 9.2.6 that is noted and dispatches nothing, but Firefox and
    /// npm's `eventsource` do not note it, and so lose silently what is published after they were cut
    /// and before their first event. They note an event, which reaches no listener if none listens
    /// for its name; clients that hand over all events hand over this one too. See `docs/replay.md`.
    ///
    /// ```
    /// use starwheel::{Config, EventName};
    /// let mut config = Config::default();
    /// config.bookmark_event = Some(EventName::from_static("bookmark"));
    /// ```
    pub bookmark_event: Option<EventName<'static>>,
}

/// What is asked of the system's TCP for listeners, whose connections inherit it, and for adopted
/// sockets. Unix sockets have none of it.
///
/// A client that vanishes without a word (a cut cable, a phone without network) is noticed only by
/// its silence: [`user_timeout`](Self::user_timeout) after something was sent to it. On a quiet
/// stream that is the next comment ([`Config::keep_alive`]), so it takes 35 s at most by default.
/// Only streams that get no comments, or none for more than 40 s, have the system send probes.
/// Requests need neither, they have time limits of their own.
///
/// Why not probes for everybody: of a crowd that came together, after a restart say, they leave
/// together, and what exceeds a queue is lost (on the loopback device 1,000 packets for each core,
/// `net.core.netdev_max_backlog`); then `user_timeout` gives up thousands of clients that were there.
/// Comments leave one by one, and TCP repeats them.
///
/// ```
/// use starwheel::Config;
/// use std::time::Duration;
/// let mut config = Config::default();
/// config.tcp.user_timeout = Some(Duration::from_secs(60));
/// assert_eq!(config.tcp.keep_alive_idle, Some(Duration::from_secs(20)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpOptions {
    /// How long bytes may stay unacknowledged before the connection is given up
    /// (`TCP_USER_TIMEOUT`, RFC 5482); `None` leaves it to the system, whose retransmissions take a
    /// quarter of an hour. Whole milliseconds; on Linux, nothing elsewhere. 20 s.
    ///
    /// Linux ends by it also a connection whose client is there and acknowledges, but whose receive
    /// window has been full for so long, because it reads nothing (a stopped process, a frozen tab)
    /// or so little that the window does not open: measured at 20 s, a client that read 4 KB in
    /// 100 ms lived, one that read 1 KB was given up. So most stuck clients end here, as
    /// [`CloseReason::Io`](crate::CloseReason::Io), and not after
    /// [`Limits::stall_timeout`](crate::Limits::stall_timeout), which holds everywhere.
    pub user_timeout: Option<Duration>,
    /// Quiet time before the first probe of a stream without comments (`SO_KEEPALIVE`,
    /// `TCP_KEEPIDLE`), and up to half as long again, so that those of many streams leave apart.
    /// `None` for no probes: then such a client is never noticed if nothing is sent to it. Whole
    /// seconds. 20 s. Costs such a stream five system calls at its birth.
    pub keep_alive_idle: Option<Duration>,
    /// Between probes (`TCP_KEEPINTVL`). Whole seconds. 5 s.
    pub keep_alive_interval: Duration,
    /// Unanswered probes before the client is given up (`TCP_KEEPCNT`). As Linux would give up after
    /// the first one if `user_timeout` has passed by then, such a stream's is at least as long as
    /// all of its probes take. 3.
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
