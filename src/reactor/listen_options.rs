//! Options of a single listener.

use crate::http::TrustedPeers;
#[cfg(feature = "tls")]
use crate::tls::TlsConfig;

/// Options of one listener, for [`Reactor::listen_with`](crate::Reactor::listen_with) and
/// [`Reactor::listen_on_with`](crate::Reactor::listen_on_with). By default the address is not
/// shared, and connections start with a request.
///
/// ```no_run
/// # use starwheel::{Reactor, Response, Request, Context};
/// use starwheel::{ListenOptions, ReusePort, TrustedPeers};
/// # let mut reactor = Reactor::new(|_: &Request, _: &mut Context<'_>| Response::text("hi"))?;
/// let balancers = TrustedPeers::networks(["10.0.0.0/8"]).expect("a network");
/// let options = ListenOptions::new().reuse_port(ReusePort::Shared).proxy_protocol(balancers);
/// reactor.listen_with("0.0.0.0:8080", options)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct ListenOptions {
    pub(super) reuse_port: ReusePort,
    pub(super) proxy_protocol: Option<TrustedPeers>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<TlsConfig>,
    #[cfg(feature = "tls")]
    pub(super) https_port: Option<u16>,
}

impl ListenOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether several reactors may listen on the address; [`ReusePort::Exclusive`] by default. No
    /// effect on a socket that was bound elsewhere.
    pub fn reuse_port(mut self, reuse_port: ReusePort) -> Self {
        self.reuse_port = reuse_port;
        self
    }

    /// Whether the address may be shared.
    pub(crate) fn sharing(&self) -> ReusePort {
        self.reuse_port
    }

    /// Requires a PROXY protocol header, version 1 or 2, from one of these load balancers at the
    /// start of each connection; the header names the client (HAProxy's `proxy-protocol.txt`). Off
    /// by default.
    ///
    /// For load balancers that forward TCP and cannot add a header field: HAProxy in `mode tcp`,
    /// nginx `stream`, AWS NLB. [`Request::peer`](crate::Request::peer) is then the client's
    /// address. Logs show it, and [`Limits::connections_per_ip`](crate::Limits::connections_per_ip)
    /// counts by it.
    ///
    /// - The header must arrive within [`Limits::head_timeout`](crate::Limits::head_timeout) from
    ///   the start of the connection.
    /// - With `LOCAL` (health checks), `UNKNOWN` and families other than TCP over IP, the
    ///   connection is the balancer's own. It keeps its address and is not counted.
    /// - Connections from any other address are refused with 400. So are a missing header, a
    ///   malformed one, and one longer than 4,096 bytes. [`Stats::refused`](crate::Stats::refused)
    ///   counts them.
    /// - Extensions of version 2 (TLVs) are skipped.
    ///
    /// With [`tls`](Self::tls), the header comes in the clear, before the handshake. Refusals of the
    /// header are in the clear too.
    ///
    /// A trusted balancer can claim any client address, so list only your own balancers. A listener
    /// without this option refuses such a header as a bad request. Adopted connections have no
    /// header.
    pub fn proxy_protocol(mut self, balancers: TrustedPeers) -> Self {
        self.proxy_protocol = Some(balancers);
        self
    }

    /// Requests come over TLS 1.3, as with [`Reactor::listen_tls`](crate::Reactor::listen_tls):
    /// feature `tls`. Off by default.
    ///
    /// ```no_run
    /// # use starwheel::{Reactor, Response, Request, Context, TlsConfig};
    /// use starwheel::{ListenOptions, TrustedPeers};
    /// # let mut reactor = Reactor::new(|_: &Request, _: &mut Context<'_>| Response::text("hi"))?;
    /// # fn config() -> TlsConfig { unimplemented!() }
    /// // HAProxy in `mode tcp`: `server app 10.0.0.2:8443 send-proxy-v2`.
    /// let balancers = TrustedPeers::networks(["10.0.0.1"]).expect("an address");
    /// let options = ListenOptions::new().tls(config()).proxy_protocol(balancers);
    /// reactor.listen_with("10.0.0.2:8443", options)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: TlsConfig) -> Self {
        self.tls = Some(config);
        self
    }

    /// Redirects all requests to HTTPS on this port, as
    /// [`Reactor::redirect_to_https`](crate::Reactor::redirect_to_https) does with the port of the
    /// listener: for a port that clients see as another one, or a socket from systemd. Feature `tls`.
    ///
    /// ```no_run
    /// # use starwheel::{Reactor, Response, Request, Context};
    /// use starwheel::ListenOptions;
    /// # let mut reactor = Reactor::new(|_: &Request, _: &mut Context<'_>| Response::text("hi"))?;
    /// // A firewall maps port 80 to 8080, and 443 to 8443.
    /// reactor.listen_with("0.0.0.0:8080", ListenOptions::new().redirect_to_https(443))?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[cfg(feature = "tls")]
    pub fn redirect_to_https(mut self, port: u16) -> Self {
        self.https_port = Some(port);
        self
    }
}

/// Whether several reactors may listen on one address.
///
/// ```no_run
/// # use starwheel::{Reactor, Response, Request, Context, ReusePort};
/// # let mut reactor = Reactor::new(|_: &Request, _: &mut Context<'_>| Response::text("hi"))?;
/// reactor.listen_with("127.0.0.1:8080", ReusePort::Shared)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ReusePort {
    /// Only this listener may use the address; the default.
    #[default]
    Exclusive,
    /// `SO_REUSEPORT`: the kernel distributes connections over all listeners of the address that
    /// set this. Use it to run one reactor per core in a process.
    Shared,
}

impl From<ReusePort> for ListenOptions {
    fn from(reuse_port: ReusePort) -> Self {
        Self::new().reuse_port(reuse_port)
    }
}
