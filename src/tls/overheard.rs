//! [`Overheard`]: what rustls does not tell after a handshake.
//!
//! The traffic secrets come from its [`KeyLog`], which gets them once, under their names in the
//! specification; the extracted keys would do for records, but not for key updates. The server's name
//! comes from the choice of the certificate.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::{
    KeyLog, ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::keys::Secret;

/// Takes what rustls says during the handshake of one connection, and passes all of it on to those
/// that the configuration names.
#[derive(Debug)]
pub(super) struct Overheard {
    log: Arc<dyn KeyLog>,
    resolver: Arc<dyn ResolvesServerCert>,
    /// rustls wants a lock; the handshake has the only other reference.
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) client: Option<Secret>,
    pub(super) server: Option<Secret>,
    pub(super) server_name: Option<Box<str>>,
}

impl Overheard {
    pub(super) fn of(config: &ServerConfig) -> Self {
        let (log, resolver) = (Arc::clone(&config.key_log), Arc::clone(&config.cert_resolver));
        Self { log, resolver, found: Mutex::default() }
    }

    pub(super) fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take(&self) -> Found {
        let mut found = self.found();
        Found {
            client: found.client.as_mut().map(Secret::take),
            server: found.server.as_mut().map(Secret::take),
            server_name: found.server_name.take(),
        }
    }
}

impl KeyLog for Overheard {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        match label {
            CLIENT_SECRET => self.found().client = Secret::new(secret),
            SERVER_SECRET => self.found().server = Secret::new(secret),
            _ => {}
        }
        if self.log.will_log(label) {
            self.log.log(label, client_random, secret);
        }
    }

    fn will_log(&self, label: &str) -> bool {
        matches!(label, CLIENT_SECRET | SERVER_SECRET) || self.log.will_log(label)
    }
}

impl ResolvesServerCert for Overheard {
    /// It is asked once in every handshake, also if a session is resumed.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.found().server_name = hello.server_name().map(|name| name.to_ascii_lowercase().into());
        self.resolver.resolve(hello)
    }

    fn only_raw_public_keys(&self) -> bool {
        self.resolver.only_raw_public_keys()
    }
}

const CLIENT_SECRET: &str = "CLIENT_TRAFFIC_SECRET_0";
const SERVER_SECRET: &str = "SERVER_TRAFFIC_SECRET_0";
