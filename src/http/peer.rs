//! The address of the other end of a connection.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

/// The other end of a connection. Behind a proxy that is the proxy.
///
/// A listener for both families reports an IPv4 client as `::ffff:192.0.2.7`; here it is always
/// `192.0.2.7` (RFC 4291 section 2.5.5.2).
///
/// ```
/// use starwheel::Peer;
/// let peer = Peer::Ip("192.0.2.7:4711".parse().unwrap());
/// assert_eq!(peer.to_string(), "192.0.2.7:4711");
/// assert_eq!(Peer::Unix.to_string(), "unix");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Peer {
    /// A TCP client.
    Ip(SocketAddr),
    /// A process on this machine, through a Unix socket. Requests built by hand have it too.
    Unix,
}

impl Peer {
    /// The address without its port, IPv4-mapped ones as IPv4; `None` for a Unix socket.
    ///
    /// ```
    /// use starwheel::Peer;
    /// let peer = Peer::Ip("[::ffff:192.0.2.7]:4711".parse().unwrap());
    /// assert_eq!(peer.ip(), Some([192, 0, 2, 7].into()));
    /// assert_eq!(Peer::Unix.ip(), None);
    /// ```
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip().to_canonical()),
            Self::Unix => None,
        }
    }

    /// The same peer, an IPv4-mapped address as IPv4.
    pub(crate) fn canonical(self) -> Self {
        match self {
            Self::Ip(SocketAddr::V6(address)) => {
                Self::Ip(SocketAddr::new(address.ip().to_canonical(), address.port()))
            }
            Self::Ip(SocketAddr::V4(_)) | Self::Unix => self,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}
