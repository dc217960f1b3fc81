//! Counts connections for the limits: in total and per network.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::{IpAddr, Ipv4Addr},
};

use super::keys::ConnIndex;
use crate::conn::Admission;

/// The current connections and streams, as far as limits need them.
#[derive(Debug, Default)]
pub(super) struct Occupancy {
    /// Connections that were admitted and are not about to be closed.
    admitted: usize,
    /// Connections per network, plus streams through trusted proxies; empty without a limit.
    of_network: HashMap<ClientNetwork, usize>,
    /// Those streams, by connection.
    proxied: HashMap<ConnIndex, ClientNetwork>,
    /// Connections being rejected with a response.
    turned_away: usize,
}

/// The part of an address that identifies one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum ClientNetwork {
    V4(Ipv4Addr),
    /// The first half of an address: a client chooses the second half itself (RFC 4291, 2.5.1).
    V6([u8; 8]),
}

impl ClientNetwork {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4),
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, h, ..] = v6.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

impl Occupancy {
    /// Connections that were admitted and are not about to be closed.
    pub(super) fn admitted(&self) -> usize {
        self.admitted
    }

    /// Adds a new connection. `None` if there are already too many being rejected.
    pub(super) fn add(&mut self, admission: Admission) -> Option<Admission> {
        match admission {
            Admission::Admitted | Admission::Unannounced => self.admitted += 1,
            Admission::NoRoom | Admission::NoRoomForAddress => return self.turn_away(admission),
            Admission::Leaving => {}
        }
        Some(admission)
    }

    /// The address named by a PROXY protocol header is at its limit; see [`add`](Self::add).
    pub(super) fn turn_away_announced(&mut self) -> Option<Admission> {
        let turned_away = self.turn_away(Admission::NoRoomForAddress);
        if turned_away.is_some() {
            self.admitted -= 1;
        }
        turned_away
    }

    /// A connection is about to be closed. `network` is the one it counted toward.
    pub(super) fn remove(&mut self, admission: Admission, network: Option<ClientNetwork>) {
        match admission {
            Admission::Leaving => {}
            Admission::NoRoom | Admission::NoRoomForAddress => self.turned_away -= 1,
            Admission::Unannounced => self.admitted -= 1,
            Admission::Admitted => {
                self.admitted -= 1;
                if let Some(network) = network {
                    self.leave(network);
                }
            }
        }
    }

    fn turn_away(&mut self, admission: Admission) -> Option<Admission> {
        let has_room = self.turned_away < TURNED_AWAY_MAX;
        self.turned_away += usize::from(has_room);
        has_room.then_some(admission)
    }

    pub(super) fn count(&self, network: ClientNetwork) -> usize {
        self.of_network.get(&network).copied().unwrap_or_default()
    }

    pub(super) fn enter(&mut self, network: ClientNetwork) {
        *self.of_network.entry(network).or_default() += 1;
    }

    /// A stream of a client of a trusted proxy starts on this connection.
    pub(super) fn enter_proxied(&mut self, index: ConnIndex, network: ClientNetwork) {
        self.enter(network);
        self.proxied.insert(index, network);
    }

    /// The end of the stream on this connection is decided: there is room for another.
    pub(super) fn leave_proxied(&mut self, index: ConnIndex) {
        // Without a limit or without proxies, the end of a stream costs no hash lookup.
        if !self.proxied.is_empty()
            && let Some(network) = self.proxied.remove(&index)
        {
            self.leave(network);
        }
    }

    fn leave(&mut self, network: ClientNetwork) {
        let Entry::Occupied(mut count) = self.of_network.entry(network) else { return };
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

/// Connections over the limits that are rejected with a response at the same time. Enough for a
/// burst, and few enough to keep as spare descriptors.
const TURNED_AWAY_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str) -> ClientNetwork {
        ClientNetwork::of(address.parse().unwrap())
    }

    #[test]
    fn one_network_is_one_v4_address_or_64_bits_of_v6() {
        assert_eq!(network("192.0.2.1"), network("192.0.2.1"));
        assert_eq!(network("192.0.2.1"), network("::ffff:192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_eq!(network("2001:db8:0:7::1"), network("2001:db8:0:7:ffff::2"));
        assert_ne!(network("2001:db8:0:7::1"), network("2001:db8:0:8::1"));
    }

    #[test]
    fn a_network_is_forgotten_with_its_last_connection() {
        let mut crowd = Occupancy::default();
        let one = network("192.0.2.1");
        crowd.enter(one);
        crowd.enter(one);
        crowd.leave(one);
        assert_eq!(crowd.count(one), 1);
        crowd.leave(one);
        assert!(crowd.of_network.is_empty());
        let index = ConnIndex::new(7);
        crowd.enter_proxied(index, one);
        assert_eq!(crowd.count(one), 1);
        crowd.leave_proxied(index);
        crowd.leave_proxied(index);
        assert!(crowd.of_network.is_empty() && crowd.proxied.is_empty());
    }
}
