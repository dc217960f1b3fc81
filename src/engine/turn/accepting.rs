//! New connections.

use std::io::Error as IoError;

use crate::{
    engine::{
        Engine, Entrance, Opening, Transport, calls::Closures, keys::ConnIndex, links::Links,
    },
    http::Peer,
};

impl<T: Transport> Engine<T> {
    /// Takes over an accepted connection. The returned index stays valid until it is released.
    /// `None` if the connection was reset because far too many are open.
    pub(crate) fn accept(
        &mut self,
        transport: T,
        peer: Peer,
        opening: Opening,
    ) -> Option<ConnIndex> {
        self.core.stats.accepted += 1;
        let peer = peer.canonical();
        let Some(admission) = self.core.admit(peer, opening) else {
            Links::refuse(transport);
            return None;
        };
        let index = self.core.add_conn(peer, opening.phase(self.core.now), admission);
        if self.closures.len() <= index.slot() {
            self.closures.resize_with(index.slot() + 1, Closures::default);
        }
        self.links.open(index, transport);
        Some(index)
    }

    /// The same for a connection that came through this entrance. Until a TLS handshake is complete,
    /// the connection has received nothing.
    pub(crate) fn accept_through(
        &mut self,
        entrance: &Entrance,
        transport: T,
        peer: Peer,
        opening: Opening,
    ) -> Option<ConnIndex> {
        let index = self.accept(transport, peer, opening)?;
        #[cfg(feature = "tls")]
        if let Some(config) = entrance.tls() {
            if let Err(error) = self.links.begin_tls(index, config, opening) {
                self.lose(index, &error);
                return None;
            }
            if opening == Opening::Request {
                self.core.conns[index].begin_handshake();
                self.core.rearm(index);
            }
        }
        #[cfg(feature = "tls")]
        if let Some(port) = entrance.https_port() {
            self.https_ports.insert(index, port);
        }
        let _ = entrance;
        Some(index)
    }

    /// The system had no descriptor or memory for a new connection.
    pub(crate) fn count_accept_failure(&mut self) {
        self.core.stats.accept_failures += 1;
    }

    /// Closes a connection that cannot be served.
    pub(crate) fn abandon(&mut self, index: ConnIndex, error: &IoError) {
        self.lose(index, error);
    }
}
