//! Who is let in: the limits of connections, and who is turned away for them.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::{IpAddr, Ipv4Addr},
};

use super::core::Core;
use crate::{
    conn::{Admission, Conn},
    http::Peer,
};

/// Who is here, as far as limits need to know it.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    /// Connections of each network; empty without a limit.
    of_network: HashMap<Network, usize>,
    /// Connections that are being turned away.
    turned_away: usize,
}

/// What one client can be expected to have a single one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Network {
    V4(Ipv4Addr),
    /// The first half of an address: the second half is the client's own choice (RFC 4291, 2.5.1).
    V6([u8; 8]),
}

impl Network {
    fn of(peer: Peer) -> Option<Self> {
        let Peer::Ip(address) = peer else { return None };
        Some(match address.ip().to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4),
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, h, ..] = v6.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        })
    }
}

impl Core {
    /// Decides about a newcomer; `None` if it cannot even be told that there is no room.
    pub(super) fn admit(&mut self, peer: Peer) -> Option<Admission> {
        let limits = &self.config.limits;
        let admitted = self.stats.connections as usize - self.crowd.turned_away;
        let network = limits.connections_per_ip.and_then(|max| Some((Network::of(peer)?, max)));
        let admission = match network {
            Some((network, max)) if self.crowd.count(network) >= max => Admission::NoRoomForAddress,
            _ if limits.connections.is_some_and(|max| admitted >= max) => Admission::NoRoom,
            _ => Admission::Admitted,
        };
        match (admission, network) {
            (Admission::Admitted, Some((network, _))) => self.crowd.enter(network),
            (Admission::Admitted, None) => {}
            _ if self.crowd.turned_away == TURNED_AWAY_MAX => {
                self.stats.resets += 1;
                return None;
            }
            _ => self.crowd.turned_away += 1,
        }
        Some(admission)
    }

    /// A connection has gone.
    pub(super) fn forget(&mut self, conn: &Conn) {
        if !conn.is_admitted() {
            self.crowd.turned_away -= 1;
        } else if self.config.limits.connections_per_ip.is_some()
            && let Some(network) = Network::of(conn.peer())
        {
            self.crowd.leave(network);
        }
    }
}

impl Crowd {
    fn count(&self, network: Network) -> usize {
        self.of_network.get(&network).copied().unwrap_or_default()
    }

    fn enter(&mut self, network: Network) {
        *self.of_network.entry(network).or_default() += 1;
    }

    fn leave(&mut self, network: Network) {
        let Entry::Occupied(mut count) = self.of_network.entry(network) else { return };
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

/// Connections beyond the limits that are told so at one time. Enough for a rush of newcomers, and
/// few enough to be kept as spare descriptors.
const TURNED_AWAY_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str) -> Option<Network> {
        Network::of(Peer::Ip(address.parse().unwrap()))
    }

    #[test]
    fn one_network_is_one_v4_address_or_64_bits_of_v6() {
        assert_eq!(network("192.0.2.1:1"), network("192.0.2.1:2"));
        assert_eq!(network("192.0.2.1:1"), network("[::ffff:192.0.2.1]:1"));
        assert_ne!(network("192.0.2.1:1"), network("192.0.2.2:1"));
        assert_eq!(network("[2001:db8:0:7::1]:1"), network("[2001:db8:0:7:ffff::2]:1"));
        assert_ne!(network("[2001:db8:0:7::1]:1"), network("[2001:db8:0:8::1]:1"));
        assert_eq!(Network::of(Peer::Unix), None);
    }

    #[test]
    fn a_network_is_forgotten_with_its_last_connection() {
        let mut crowd = Crowd::default();
        let one = network("192.0.2.1:1").unwrap();
        crowd.enter(one);
        crowd.enter(one);
        crowd.leave(one);
        assert_eq!(crowd.count(one), 1);
        crowd.leave(one);
        assert!(crowd.of_network.is_empty());
    }
}
