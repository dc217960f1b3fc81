//! [`Places`]: how many connections there are, in total and per network.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::{IpAddr, Ipv4Addr},
};

use crate::{conn::Admission, limits::Limits};

/// The places of connections that were admitted and are not about to be closed.
#[derive(Debug, Default)]
pub(super) struct Places {
    admitted: usize,
    /// Connections per network, plus streams through trusted proxies; empty without a limit.
    of_network: HashMap<ClientNetwork, usize>,
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

impl Places {
    /// Takes a place for a connection, and for its network if that is known and limited.
    pub(super) fn admit(
        &mut self,
        network: Option<ClientNetwork>,
        limits: &Limits,
    ) -> Result<(), Admission> {
        if network.is_some_and(|network| !self.has_room_for(network, limits)) {
            return Err(Admission::NoRoomForAddress);
        }
        if limits.connections.is_some_and(|max| self.admitted >= max) {
            return Err(Admission::NoRoom);
        }
        self.admitted += 1;
        if let Some(network) = network {
            self.add(network, 1);
        }
        Ok(())
    }

    /// Frees the place of a connection, and that of its network.
    pub(super) fn leave(&mut self, network: Option<ClientNetwork>) {
        self.admitted -= 1;
        if let Some(network) = network {
            self.free(network, 1);
        }
    }

    /// Takes a place of a network.
    pub(super) fn enter(
        &mut self,
        network: ClientNetwork,
        limits: &Limits,
    ) -> Result<(), Admission> {
        if !self.has_room_for(network, limits) {
            return Err(Admission::NoRoomForAddress);
        }
        self.add(network, 1);
        Ok(())
    }

    fn has_room_for(&self, network: ClientNetwork, limits: &Limits) -> bool {
        self.count(network) < limits.connections_per_ip.unwrap_or(usize::MAX)
    }

    #[cfg(test)]
    pub(super) fn admitted(&self) -> usize {
        self.admitted
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.admitted == 0 && self.of_network.is_empty()
    }

    pub(super) fn count(&self, network: ClientNetwork) -> usize {
        self.of_network.get(&network).copied().unwrap_or_default()
    }

    fn add(&mut self, network: ClientNetwork, places: usize) {
        *self.of_network.entry(network).or_default() += places;
    }

    /// Frees places of a network.
    pub(super) fn free(&mut self, network: ClientNetwork, places: usize) {
        let Entry::Occupied(mut count) = self.of_network.entry(network) else { return };
        *count.get_mut() -= places;
        if *count.get() == 0 {
            count.remove();
        }
    }

    /// Frees all places of a worker that has ended.
    pub(super) fn free_all(&mut self, of_worker: &Self) {
        self.admitted -= of_worker.admitted;
        for (&network, &places) in &of_worker.of_network {
            self.free(network, places);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_is_one_v4_address_or_64_bits_of_v6() {
        assert_eq!(network("192.0.2.1"), network("192.0.2.1"));
        assert_eq!(network("192.0.2.1"), network("::ffff:192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_eq!(network("2001:db8:0:7::1"), network("2001:db8:0:7:ffff::2"));
        assert_ne!(network("2001:db8:0:7::1"), network("2001:db8:0:8::1"));
    }

    fn network(address: &str) -> ClientNetwork {
        ClientNetwork::of(address.parse().unwrap())
    }
}
