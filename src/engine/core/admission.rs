//! Admission: the connection limits, and which connections are rejected for them.

use super::Core;
use crate::{
    conn::{Admission, Goodbye},
    engine::{admission::ClientNetwork, keys::ConnIndex, opening::Opening},
    http::{Peer, Request},
    proxy_protocol::Source,
};

impl Core {
    /// Decides about a new connection; `None` if there is not even room to reject it with a
    /// response.
    pub(in crate::engine) fn admit(&mut self, peer: Peer, opening: Opening) -> Option<Admission> {
        let admitted = self.occupancy.admitted();
        let is_full = self.config.limits.connections.is_some_and(|max| admitted >= max);
        let admission = match opening {
            // The address it counts toward is not known before the header has arrived.
            Opening::ProxyHeader if !is_full => Admission::Unannounced,
            Opening::ProxyHeader => Admission::NoRoom,
            _ if self.is_address_full(peer) => Admission::NoRoomForAddress,
            _ if is_full => Admission::NoRoom,
            _ => Admission::Admitted,
        };
        let admission = self.occupancy.add(admission);
        match admission {
            Some(Admission::Admitted) => self.enter_network(peer),
            Some(_) => {}
            None => self.stats.resets += 1,
        }
        admission
    }

    /// A PROXY protocol header has named the client of this connection; requests follow.
    pub(in crate::engine) fn announce(&mut self, index: ConnIndex, source: Source) {
        if let Source::Address(address) = source {
            let peer = Peer::Ip(address);
            let admission = match self.conns[index].admission() {
                Admission::Unannounced if self.is_address_full(peer) => {
                    self.occupancy.turn_away_announced()
                }
                Admission::Unannounced => {
                    self.enter_network(peer);
                    Some(Admission::Admitted)
                }
                decided => Some(decided),
            };
            let Some(admission) = admission else {
                self.stats.resets += 1;
                self.conns[index].begin_draining(self.now, Goodbye::Reset);
                return self.close_conn(index);
            };
            self.conns[index].announced(peer, admission);
        }
        self.conns[index].begin_requests(self.now);
        self.rearm(index);
    }

    /// A connection is closed at the end of this turn. One accepted in the same turn, for example
    /// when a page is reloaded, can take its place.
    pub(in crate::engine) fn free_place(&mut self, index: ConnIndex) {
        let network = self.network_of(self.conns[index].peer());
        let admission = self.conns[index].leave_place();
        self.occupancy.remove(admission, network);
    }

    fn enter_network(&mut self, peer: Peer) {
        if let Some(network) = self.network_of(peer) {
            self.occupancy.enter(network);
        }
    }

    fn is_address_full(&self, peer: Peer) -> bool {
        self.network_of(peer).is_some_and(|network| !self.has_room_for(network))
    }

    /// The network that a connection counts toward, if there is a limit. Connections of a trusted
    /// proxy count toward no client, because they carry the requests of all.
    fn network_of(&self, peer: Peer) -> Option<ClientNetwork> {
        self.config.limits.connections_per_ip?;
        peer.ip().filter(|_| !self.config.trusted_proxies.contains(peer)).map(ClientNetwork::of)
    }

    /// The network that a stream through a trusted proxy counts toward, if there is a limit.
    /// Streams are counted, not the proxy's connections, because only a stream occupies one.
    pub(in crate::engine) fn proxied_network(&self, request: &Request) -> Option<ClientNetwork> {
        self.config.limits.connections_per_ip?;
        let trusted = &self.config.trusted_proxies;
        let client = request.client_ip().filter(|_| trusted.contains(request.peer()))?;
        (!trusted.contains_ip(client)).then(|| ClientNetwork::of(client))
    }

    pub(in crate::engine) fn has_room_for(&self, network: ClientNetwork) -> bool {
        let max = self.config.limits.connections_per_ip.unwrap_or(usize::MAX);
        self.occupancy.count(network) < max
    }
}
