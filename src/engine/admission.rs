//! Counts connections for the limits: in total and per network, in one reactor or in all workers.

use std::{collections::HashMap, sync::Arc};

use super::{
    keys::ConnIndex,
    places::{ClientNetwork, Places},
    registry::Registry,
};
use crate::{conn::Admission, limits::Limits};

/// The current connections and streams, as far as limits need them.
#[derive(Debug, Default)]
pub(super) struct Occupancy {
    /// Places taken in this reactor.
    own: Places,
    /// Where places are counted for all workers, if their connections are limited.
    registry: Option<Arc<Registry>>,
    /// Streams through trusted proxies, by connection.
    proxied: HashMap<ConnIndex, ClientNetwork>,
    /// Connections being rejected with a response.
    turned_away: usize,
}

impl Occupancy {
    /// From here on, before the first connection, the limits are those of all workers together.
    pub(super) fn join(&mut self, registry: &Arc<Registry>, limits: &Limits) {
        if limits.connections.is_some() || limits.connections_per_ip.is_some() {
            self.registry = Some(Arc::clone(registry));
        }
    }

    /// Admits a new connection, which counts toward a network if that is known and limited.
    pub(super) fn admit(
        &mut self,
        network: Option<ClientNetwork>,
        limits: &Limits,
    ) -> Result<(), Admission> {
        self.take(|places| places.admit(network, limits))
    }

    /// A connection is to be rejected. `None` if there are already too many of these.
    pub(super) fn turn_away(&mut self, rejected: Admission) -> Option<Admission> {
        let has_room = self.turned_away < TURNED_AWAY_MAX;
        self.turned_away += usize::from(has_room);
        has_room.then_some(rejected)
    }

    /// The address named by a PROXY protocol header is at its limit; see
    /// [`turn_away`](Self::turn_away).
    pub(super) fn turn_away_announced(&mut self) -> Option<Admission> {
        let turned_away = self.turn_away(Admission::NoRoomForAddress);
        if turned_away.is_some() {
            self.give_back(|places| places.leave(None));
        }
        turned_away
    }

    /// A connection is about to be closed. `network` is the one it counted toward.
    pub(super) fn remove(&mut self, admission: Admission, network: Option<ClientNetwork>) {
        let network = match admission {
            Admission::Leaving => return,
            Admission::NoRoom | Admission::NoRoomForAddress => return self.turned_away -= 1,
            Admission::Unannounced => None,
            Admission::Admitted => network,
        };
        self.give_back(|places| places.leave(network));
    }

    /// A connection or stream counts toward a network; false if that is at its limit.
    pub(super) fn enter(&mut self, network: ClientNetwork, limits: &Limits) -> bool {
        self.take(|places| places.enter(network, limits)).is_ok()
    }

    /// A stream of a client of a trusted proxy starts on this connection; false if the client's
    /// network is at its limit.
    pub(super) fn enter_proxied(
        &mut self,
        index: ConnIndex,
        network: ClientNetwork,
        limits: &Limits,
    ) -> bool {
        let has_entered = self.enter(network, limits);
        if has_entered {
            self.proxied.insert(index, network);
        }
        has_entered
    }

    /// The end of the stream on this connection is decided: there is room for another.
    pub(super) fn leave_proxied(&mut self, index: ConnIndex) {
        // Without a limit or without proxies, the end of a stream costs no hash lookup.
        if !self.proxied.is_empty()
            && let Some(network) = self.proxied.remove(&index)
        {
            self.give_back(|places| places.free(network, 1));
        }
    }

    /// Takes places: those of all workers decide, in one step.
    #[inline]
    fn take(
        &mut self,
        take: impl Fn(&mut Places) -> Result<(), Admission>,
    ) -> Result<(), Admission> {
        if let Some(registry) = &self.registry {
            take(&mut registry.places())?;
        }
        let taken = take(&mut self.own);
        debug_assert!(
            taken.is_ok() || self.registry.is_none(),
            "one worker has at most as many as all"
        );
        taken
    }

    #[inline]
    fn give_back(&mut self, free: impl Fn(&mut Places)) {
        free(&mut self.own);
        if let Some(registry) = &self.registry {
            free(&mut registry.places());
        }
    }
}

/// A worker that ends, also by a panic, leaves its places to the others.
impl Drop for Occupancy {
    fn drop(&mut self) {
        if let Some(registry) = &self.registry {
            registry.places().free_all(&self.own);
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
    fn a_network_is_forgotten_with_its_last_connection() {
        let (mut crowd, limits) = (Occupancy::default(), Limits::default());
        let (one, index) = (network("192.0.2.1"), ConnIndex::new(7));
        crowd.admit(Some(one), &limits).unwrap();
        assert!(crowd.enter_proxied(index, one, &limits));
        crowd.remove(Admission::Admitted, Some(one));
        assert_eq!(crowd.own.count(one), 1);
        crowd.leave_proxied(index);
        crowd.leave_proxied(index);
        assert!(crowd.own.is_empty() && crowd.proxied.is_empty());
    }

    #[test]
    fn a_worker_that_is_gone_has_no_places() {
        let (registry, one) = (Arc::<Registry>::default(), network("192.0.2.1"));
        let mut limits = Limits::default();
        (limits.connections, limits.connections_per_ip) = (Some(4), Some(2));
        let mut workers = [Occupancy::default(), Occupancy::default()];
        workers.iter_mut().for_each(|worker| worker.join(&registry, &limits));
        let [first, second] = &mut workers;
        for worker in [&mut *first, &mut *second] {
            worker.admit(Some(one), &limits).unwrap();
            worker.admit(None, &limits).unwrap();
        }
        assert_eq!(second.admit(Some(one), &limits), Err(Admission::NoRoomForAddress));
        assert_eq!(second.admit(None, &limits), Err(Admission::NoRoom));
        *first = Occupancy::default();
        second.admit(Some(one), &limits).unwrap();
        assert_eq!(registry.places().admitted(), 3);
        drop(workers);
        assert!(registry.places().is_empty());
    }
}
