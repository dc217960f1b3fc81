//! The address of a peer, packed.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::http::Peer;

/// A [`Peer`] in 20 bytes instead of 36, without flow label and scope of IPv6.
#[derive(Debug, Clone, Copy)]
pub(super) struct PackedPeer {
    address: [u8; 16],
    port: u16,
    family: Family,
}

#[derive(Debug, Clone, Copy)]
enum Family {
    V4,
    V6,
    Unix,
}

impl From<Peer> for PackedPeer {
    fn from(peer: Peer) -> Self {
        match peer {
            Peer::Ip(SocketAddr::V4(v4)) => Self {
                address: v4.ip().to_ipv6_mapped().octets(),
                port: v4.port(),
                family: Family::V4,
            },
            Peer::Ip(SocketAddr::V6(v6)) => {
                Self { address: v6.ip().octets(), port: v6.port(), family: Family::V6 }
            }
            Peer::Unix => Self { address: [0; 16], port: 0, family: Family::Unix },
        }
    }
}

impl From<PackedPeer> for Peer {
    fn from(packed: PackedPeer) -> Self {
        let [.., a, b, c, d] = packed.address;
        match packed.family {
            Family::V4 => Self::Ip(SocketAddr::new(IpAddr::from([a, b, c, d]), packed.port)),
            Family::V6 => {
                Self::Ip(SocketAddr::new(Ipv6Addr::from(packed.address).into(), packed.port))
            }
            Family::Unix => Self::Unix,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_survive_packing() {
        for text in ["127.0.0.1:80", "[::1]:8080", "[2001:db8::7]:1", "255.1.2.3:65535"] {
            let peer = Peer::Ip(text.parse().unwrap());
            assert_eq!(Peer::from(PackedPeer::from(peer)).to_string(), text);
        }
        assert!(matches!(Peer::from(PackedPeer::from(Peer::Unix)), Peer::Unix));
    }
}
