//! Admission: the connection limits, and which connections are rejected for them.

use super::Core;
use crate::{
    conn::{Admission, Goodbye},
    engine::{keys::ConnIndex, opening::Opening, places::ClientNetwork},
    http::{Peer, Request},
    proxy_protocol::Source,
};

impl Core {
    /// Decides about a new connection; `None` if there is not even room to reject it with a
    /// response.
    pub(in crate::engine) fn admit(&mut self, peer: Peer, opening: Opening) -> Option<Admission> {
        // The address it counts toward is not known before a PROXY protocol header has arrived.
        let (admission, network) = match opening {
            Opening::ProxyHeader => (Admission::Unannounced, None),
            _ => (Admission::Admitted, self.network_of(peer)),
        };
        let admission = match self.occupancy.admit(network, &self.config.limits) {
            Ok(()) => Some(admission),
            Err(rejected) => self.occupancy.turn_away(rejected),
        };
        if admission.is_none() {
            self.stats.resets += 1;
        }
        admission
    }

    /// A PROXY protocol header has named the client of this connection; requests follow.
    pub(in crate::engine) fn announce(&mut self, index: ConnIndex, source: Source) {
        if let Source::Address(address) = source {
            let peer = Peer::Ip(address);
            let admission = match self.conns[index].admission() {
                Admission::Unannounced if self.enter_network(peer) => Some(Admission::Admitted),
                Admission::Unannounced => self.occupancy.turn_away_announced(),
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

    /// False if the peer's network is at its limit.
    fn enter_network(&mut self, peer: Peer) -> bool {
        let network = self.network_of(peer);
        network.is_none_or(|network| self.occupancy.enter(network, &self.config.limits))
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
}
