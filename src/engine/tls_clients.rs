//! What is kept of clients for their requests: where a listener is asked to, and nowhere else.

use std::{collections::HashMap, sync::Arc};

use super::keys::ConnIndex;
use crate::http::TlsClient;

/// Beside the connections, because few have any.
#[derive(Debug, Default)]
pub(super) struct TlsClients {
    by_connection: HashMap<ConnIndex, Arc<TlsClient>>,
    bytes: usize,
}

impl TlsClients {
    pub(super) fn add(&mut self, index: ConnIndex, client: Arc<TlsClient>) {
        self.bytes += client.bytes();
        self.by_connection.insert(index, client);
    }

    pub(super) fn get(&self, index: ConnIndex) -> Option<&Arc<TlsClient>> {
        self.by_connection.get(&index)
    }

    /// The connection is closed.
    pub(super) fn remove(&mut self, index: ConnIndex) {
        if self.by_connection.is_empty() {
            return;
        }
        if let Some(client) = self.by_connection.remove(&index) {
            self.bytes -= client.bytes();
        }
        if self.by_connection.len() < self.by_connection.capacity() / 4 {
            self.by_connection.shrink_to_fit();
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
