//! How a connection starts: with a request, or with a PROXY protocol header that names the client;
//! in the clear or with TLS.

#[cfg(feature = "tls")]
use crate::tls::TlsConfig;
use crate::{
    conn::{Announcer, Phase},
    http::{Peer, TrustedPeers},
    proxy_protocol::HeaderReader,
};

/// What the first bytes of a connection must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    Request,
    /// A PROXY protocol header, then requests of the client that it names.
    ProxyHeader,
    /// The same, but the peer is not trusted to send one: everything it sends is refused.
    UntrustedProxyHeader,
}

/// What a listener does with all connections that it accepts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entrance {
    #[cfg(feature = "tls")]
    tls: Option<TlsConfig>,
    /// Requests are redirected to this port.
    #[cfg(feature = "tls")]
    https_port: Option<u16>,
}

impl Entrance {
    /// Requests come over TLS, after a PROXY protocol header if there is one.
    #[cfg(feature = "tls")]
    pub(crate) fn secured(config: TlsConfig) -> Self {
        Self { tls: Some(config), https_port: None }
    }

    /// The same with or without TLS, and requests are redirected.
    #[cfg(feature = "tls")]
    pub(crate) fn new(tls: Option<TlsConfig>, https_port: Option<u16>) -> Self {
        Self { tls, https_port }
    }

    #[cfg(feature = "tls")]
    pub(super) fn https_port(&self) -> Option<u16> {
        self.https_port
    }

    #[cfg(feature = "tls")]
    pub(super) fn tls(&self) -> Option<&TlsConfig> {
        self.tls.as_ref()
    }
}

impl Opening {
    /// For a connection from `peer`. `announcers` are the peers that send a PROXY protocol header
    /// on this listener, if any.
    pub(crate) fn of(peer: Peer, announcers: Option<&TrustedPeers>) -> Self {
        match announcers {
            None => Self::Request,
            Some(trusted) if trusted.contains(peer) => Self::ProxyHeader,
            Some(_) => Self::UntrustedProxyHeader,
        }
    }

    pub(super) fn phase(self, now: u64) -> Phase {
        let announcer = match self {
            Self::Request => return Phase::fresh(now),
            Self::ProxyHeader => Announcer::Trusted(HeaderReader::default()),
            Self::UntrustedProxyHeader => Announcer::Untrusted,
        };
        Phase::ProxyHeader { announcer, since: now }
    }
}
