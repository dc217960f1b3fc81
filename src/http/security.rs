//! What is known of the TLS connection of a request.

use std::{fmt, sync::Arc};

/// Whether TLS protects the connection.
#[derive(Debug, Clone, Default)]
pub(crate) enum Security {
    #[default]
    None,
    /// With what is kept of the client, if anything.
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "there is no TLS"))]
    Tls(Option<Arc<TlsClient>>),
}

/// What a client has shown in its handshake.
#[derive(PartialEq, Eq)]
pub(crate) struct TlsClient {
    server_name: Option<Box<str>>,
    certificates: Vec<Box<[u8]>>,
}

#[cfg(feature = "tls")]
impl Security {
    pub(super) fn client(&self) -> Option<&TlsClient> {
        match self {
            Self::Tls(client) => client.as_deref(),
            Self::None => None,
        }
    }
}

#[cfg(feature = "tls")]
impl TlsClient {
    /// `None` if nothing is to be kept.
    pub(crate) fn new(
        server_name: Option<Box<str>>,
        certificates: Vec<Box<[u8]>>,
    ) -> Option<Arc<Self>> {
        let is_anything = server_name.is_some() || !certificates.is_empty();
        is_anything.then(|| Arc::new(Self { server_name, certificates }))
    }

    pub(super) fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    pub(super) fn certificates(&self) -> &[Box<[u8]>] {
        &self.certificates
    }

    /// The bytes of its certificates and of the name.
    pub(crate) fn bytes(&self) -> usize {
        let certificates: usize = self.certificates.iter().map(|der| der.len()).sum();
        certificates + self.server_name.as_deref().map_or(0, str::len)
    }
}

/// Certificates are not secret, but they name people.
impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient")
            .field("server_name", &self.server_name)
            .field("certificates", &self.certificates.len())
            .finish()
    }
}
