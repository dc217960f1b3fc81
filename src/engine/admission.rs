//! Who is let in: the limits of connections, and who is turned away for them.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::{IpAddr, Ipv4Addr},
};

use super::{core::Core, keys::ConnIndex, opening::Opening};
use crate::{
    conn::{Admission, Conn, Goodbye},
    http::{Peer, Request},
    proxy_protocol::Source,
};

/// Who is here, as far as limits need to know it.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    /// Connections of each network, and streams that it has through trusted proxies; empty without a
    /// limit.
    of_network: HashMap<Network, usize>,
    /// Those streams, by connection.
    proxied: HashMap<ConnIndex, Network>,
    /// Connections that are being turned away.
    turned_away: usize,
}

/// What one client can be expected to have a single one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Network {
    V4(Ipv4Addr),
    /// The first half of an address: the second half is the client's own choice (RFC 4291, 2.5.1).
    V6([u8; 8]),
}

impl Network {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4),
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, h, ..] = v6.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

impl Core {
    /// Decides about a new connection; `None` if it cannot even be told that there is no room.
    pub(super) fn admit(&mut self, peer: Peer, opening: Opening) -> Option<Admission> {
        let served = self.stats.connections as usize - self.crowd.turned_away;
        let is_full = self.config.limits.connections.is_some_and(|max| served >= max);
        match (opening, is_full) {
            // Which address it counts for is not known before the header is there.
            (Opening::ProxyHeader, false) => Some(Admission::Unannounced),
            (Opening::ProxyHeader, true) => self.turn_away_for(Admission::NoRoom),
            (_, true) => match self.is_address_full(peer) {
                true => self.turn_away_for(Admission::NoRoomForAddress),
                false => self.turn_away_for(Admission::NoRoom),
            },
            (_, false) => self.admit_address(peer),
        }
    }

    /// A PROXY protocol header has said whose connection this is, and requests follow.
    pub(super) fn announce(&mut self, index: ConnIndex, source: Source) {
        if let Source::Address(address) = source {
            let peer = Peer::Ip(address);
            let admission = match self.conns[index].admission() {
                Admission::Unannounced => self.admit_address(peer),
                decided => Some(decided),
            };
            let Some(admission) = admission else {
                self.conns[index].begin_draining(self.now, Goodbye::Reset);
                return self.conns.close(index);
            };
            self.conns[index].announced(peer, admission);
        }
        self.conns[index].begin_requests(self.now);
        self.rearm(index);
    }

    /// A connection has gone.
    pub(super) fn forget(&mut self, conn: &Conn) {
        match conn.admission() {
            Admission::Admitted => {
                if let Some(network) = self.network_of(conn.peer()) {
                    self.crowd.leave(network);
                }
            }
            Admission::Unannounced => {}
            Admission::NoRoom | Admission::NoRoomForAddress => self.crowd.turned_away -= 1,
        }
    }

    /// Counts a connection for its address, if that may have one more.
    fn admit_address(&mut self, peer: Peer) -> Option<Admission> {
        if self.is_address_full(peer) {
            return self.turn_away_for(Admission::NoRoomForAddress);
        }
        if let Some(network) = self.network_of(peer) {
            self.crowd.enter(network);
        }
        Some(Admission::Admitted)
    }

    /// `None` if there are too many of those who are turned away.
    fn turn_away_for(&mut self, admission: Admission) -> Option<Admission> {
        if self.crowd.turned_away == TURNED_AWAY_MAX {
            self.stats.resets += 1;
            return None;
        }
        self.crowd.turned_away += 1;
        Some(admission)
    }

    fn is_address_full(&self, peer: Peer) -> bool {
        self.network_of(peer).is_some_and(|network| !self.has_room_for(network))
    }

    /// What a connection counts for, if there is a limit. Those of a trusted proxy count for nobody:
    /// everybody's requests come through them.
    fn network_of(&self, peer: Peer) -> Option<Network> {
        self.config.limits.connections_per_ip?;
        peer.ip().filter(|_| !self.config.trusted_proxies.include(peer)).map(Network::of)
    }

    /// What a stream that is asked for through a trusted proxy counts for, if there is a limit. It is
    /// streams that count, not the proxy's connections, because only a stream keeps one to itself.
    pub(super) fn proxied_network(&self, request: &Request) -> Option<Network> {
        self.config.limits.connections_per_ip?;
        let trusted = &self.config.trusted_proxies;
        let client = request.client_ip().filter(|_| trusted.include(request.peer()))?;
        (!trusted.include_ip(client)).then(|| Network::of(client))
    }

    pub(super) fn has_room_for(&self, network: Network) -> bool {
        let max = self.config.limits.connections_per_ip.unwrap_or(usize::MAX);
        self.crowd.count(network) < max
    }
}

impl Crowd {
    fn count(&self, network: Network) -> usize {
        self.of_network.get(&network).copied().unwrap_or_default()
    }

    fn enter(&mut self, network: Network) {
        *self.of_network.entry(network).or_default() += 1;
    }

    /// A stream of a client behind a trusted proxy is born on this connection.
    pub(super) fn enter_proxied(&mut self, index: ConnIndex, network: Network) {
        self.enter(network);
        self.proxied.insert(index, network);
    }

    /// The end of the stream on this connection is decided: there is room for another.
    pub(super) fn leave_proxied(&mut self, index: ConnIndex) {
        // Without a limit, or without proxies, the end of a stream costs no hash.
        if !self.proxied.is_empty()
            && let Some(network) = self.proxied.remove(&index)
        {
            self.leave(network);
        }
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

    fn network(address: &str) -> Network {
        Network::of(address.parse().unwrap())
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
        let mut crowd = Crowd::default();
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
