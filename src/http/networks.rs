//! IP networks, and peers that are trusted because of their address.
//!
//! It knows no header field and no protocol.

use std::{error::Error, fmt, net::IpAddr, str::FromStr};

use super::Peer;

/// An IP network in CIDR notation (RFC 4632, RFC 4291 section 2.3): an address and the number of
/// its significant bits.
///
/// An address alone is the network of that address. Bits after the prefix must be zero, to detect
/// typing errors: `10.0.0.1/8` is refused, `10.0.0.0/8` is not. An IPv4-mapped network
/// (`::ffff:10.0.0.0/104`) is the IPv4 one. An IPv4 network contains no IPv6 address and vice
/// versa, not even `::/0`.
///
/// ```
/// use starwheel::IpNetwork;
/// let network: IpNetwork = "10.0.0.0/8".parse()?;
/// assert!(network.contains("10.200.3.4".parse().unwrap()));
/// assert!(network.contains("::ffff:10.200.3.4".parse().unwrap()));
/// assert!(!network.contains("11.0.0.1".parse().unwrap()));
/// assert_eq!(network.to_string(), "10.0.0.0/8");
/// # Ok::<(), starwheel::IpNetworkError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IpNetwork {
    /// Never IPv4-mapped.
    address: IpAddr,
    prefix_bits: u8,
}

/// Not a network: `network` must be an address, or `address/bits` without bits set after the prefix.
///
/// ```
/// let error = "10.0.0.1/8".parse::<starwheel::IpNetwork>().unwrap_err();
/// assert_eq!(error.network, "10.0.0.1/8");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IpNetworkError {
    /// The given text.
    pub network: String,
}

impl IpNetwork {
    /// Whether the network contains an address. An IPv4-mapped address is the IPv4 one.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (bits, address_bits) = (bits_of(self.address), bits_of(address.to_canonical()));
        bits.length == address_bits.length
            && bits.first(self.prefix_bits) == address_bits.first(self.prefix_bits)
    }

    fn parse(text: &str) -> Option<Self> {
        let Some((address, prefix)) = text.split_once('/') else {
            return text.parse::<IpAddr>().ok().map(Self::from);
        };
        let address: IpAddr = address.parse().ok()?;
        let is_canonical = prefix.bytes().all(|byte| byte.is_ascii_digit())
            && (prefix.len() == 1 || !prefix.starts_with('0'));
        let prefix_bits = prefix.parse::<u8>().ok().filter(|_| is_canonical)?;
        let bits = bits_of(address);
        if prefix_bits > bits.length || bits.first(prefix_bits) != bits.value {
            return None;
        }
        Some(match (address, address.to_canonical()) {
            (IpAddr::V6(_), v4 @ IpAddr::V4(_)) if prefix_bits >= MAPPED_BITS => {
                Self { address: v4, prefix_bits: prefix_bits - MAPPED_BITS }
            }
            _ => Self { address, prefix_bits },
        })
    }
}

/// The network of one address.
impl From<IpAddr> for IpNetwork {
    fn from(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self { address, prefix_bits: bits_of(address).length }
    }
}

impl FromStr for IpNetwork {
    type Err = IpNetworkError;

    fn from_str(text: &str) -> Result<Self, IpNetworkError> {
        Self::parse(text).ok_or_else(|| IpNetworkError { network: text.into() })
    }
}

impl fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

impl fmt::Display for IpNetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a network; write an address, or address/bits with zeros after the prefix",
            self.network
        )
    }
}

impl Error for IpNetworkError {}

/// The bits of an address, left-aligned in `value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bits {
    value: u128,
    length: u8,
}

impl Bits {
    fn first(self, count: u8) -> u128 {
        self.value & u128::MAX.checked_shl(128 - u32::from(count)).unwrap_or(0)
    }
}

fn bits_of(address: IpAddr) -> Bits {
    match address {
        IpAddr::V4(v4) => Bits { value: u128::from(v4.to_bits()) << 96, length: 32 },
        IpAddr::V6(v6) => Bits { value: v6.to_bits(), length: 128 },
    }
}

/// Peers that are trusted to report the addresses of clients: your own proxies and load balancers.
///
/// For [`Config::trusted_proxies`](crate::Config::trusted_proxies) and
/// [`ListenOptions::proxy_protocol`](crate::ListenOptions::proxy_protocol). A trusted peer can
/// claim any client address, so list only your proxies: not a network that your users are in, and
/// loopback only if you trust every program on the machine.
///
/// Costs a walk over the list per request or connection; nothing while it is empty.
///
/// ```
/// use starwheel::{Peer, TrustedPeers};
/// let proxies = TrustedPeers::networks(["10.0.0.0/8", "2001:db8::7"])?.and_unix_sockets();
/// assert!(proxies.contains(Peer::Ip("10.1.2.3:4711".parse().unwrap())));
/// assert!(proxies.contains(Peer::Unix));
/// assert!(!proxies.contains(Peer::Ip("192.0.2.7:4711".parse().unwrap())));
/// # Ok::<(), starwheel::IpNetworkError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedPeers {
    networks: Vec<IpNetwork>,
    includes_unix: bool,
}

impl TrustedPeers {
    /// No peer; the default.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Peers in any of these [networks](IpNetwork). Values of that type can be
    /// [collected](Iterator::collect) instead.
    ///
    /// # Errors
    /// [`IpNetworkError`] for the first entry that is not a network.
    pub fn networks<N: AsRef<str>>(
        networks: impl IntoIterator<Item = N>,
    ) -> Result<Self, IpNetworkError> {
        networks.into_iter().map(|network| network.as_ref().parse::<IpNetwork>()).collect()
    }

    /// All peers that connect through a Unix socket. The permissions of its path decide which
    /// programs can.
    ///
    /// ```
    /// use starwheel::{Peer, TrustedPeers};
    /// assert!(TrustedPeers::unix_sockets().contains(Peer::Unix));
    /// ```
    #[must_use]
    pub fn unix_sockets() -> Self {
        Self::none().and_unix_sockets()
    }

    /// These, and all peers that connect through a Unix socket.
    #[must_use]
    pub fn and_unix_sockets(mut self) -> Self {
        self.includes_unix = true;
        self
    }

    /// Whether a peer is trusted.
    #[must_use]
    pub fn contains(&self, peer: Peer) -> bool {
        match peer {
            Peer::Unix => self.includes_unix,
            // The usual case; checked for each request.
            Peer::Ip(_) if self.networks.is_empty() => false,
            Peer::Ip(address) => self.contains_ip(address.ip().to_canonical()),
        }
    }

    /// Whether an address is in one of the networks.
    ///
    /// ```
    /// let proxies = starwheel::TrustedPeers::networks(["192.0.2.0/24"])?;
    /// assert!(proxies.contains_ip([192, 0, 2, 7].into()));
    /// # Ok::<(), starwheel::IpNetworkError>(())
    /// ```
    #[must_use]
    pub fn contains_ip(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }
}

impl FromIterator<IpNetwork> for TrustedPeers {
    fn from_iter<I: IntoIterator<Item = IpNetwork>>(networks: I) -> Self {
        Self { networks: networks.into_iter().collect(), includes_unix: false }
    }
}

/// The bits before the IPv4 address in an IPv4-mapped one.
const MAPPED_BITS: u8 = 96;

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(network: &str, address: &str) -> bool {
        network.parse::<IpNetwork>().expect(network).contains(address.parse().expect(address))
    }

    #[test]
    fn a_network_contains_the_addresses_that_begin_as_it_does() {
        for (network, inside, outside) in [
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.128/25", "192.0.2.128", "192.0.2.127"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.7/32", "::ffff:192.0.2.7", "192.0.2.8"),
            ("::ffff:10.0.0.0/104", "10.255.0.1", "11.0.0.0"),
            ("::ffff:192.0.2.7", "192.0.2.7", "::192.0.2.7"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "2001:db8::1", "127.0.0.1"),
            ("::/0", "::1", "::ffff:127.0.0.1"),
            ("::ffff:0:0/96", "203.0.113.9", "::1"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
            ("fe80::/10", "febf::1", "fec0::1"),
            ("::1/128", "::1", "::2"),
        ] {
            assert!(contains(network, inside), "{inside} is in {network}");
            assert!(!contains(network, outside), "{outside} is not in {network}");
        }
    }

    #[test]
    fn a_typing_error_is_no_network() {
        for text in [
            "",
            "/",
            "10.0.0.0/",
            "/8",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/256",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0.0/ 8",
            " 10.0.0.0/8",
            "10.0.0.0/8 ",
            "10.0.0.1/8",
            "10.0.0.0/8/8",
            "10.0.0/8",
            "010.0.0.0/8",
            "10.0.0.0:80",
            "[::1]/128",
            "[::1]",
            "::1%lo",
            "2001:db8::1/64",
            "::ffff:10.0.0.1/104",
            "::ffff:10.0.0.0/90",
            "localhost",
            "10.0.0.0-10.0.0.9",
            "10.*",
            "1.2.3.4/255.0.0.0",
        ] {
            assert!(text.parse::<IpNetwork>().is_err(), "{text}");
        }
    }

    #[test]
    fn networks_are_shown_as_they_are_written() {
        for (text, shown) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("2001:DB8::/32", "2001:db8::/32"),
        ] {
            assert_eq!(text.parse::<IpNetwork>().unwrap().to_string(), shown);
        }
    }
}
