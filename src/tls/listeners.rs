//! The configurations that listeners use, and their replacement while they listen.
//!
//! Threads share them: a listener takes its configuration for each group of connections that it
//! accepts, and a handle replaces it.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use super::{
    config::TlsConfig,
    error::{TlsError, TlsProblem},
};

/// All listeners with TLS of a reactor, or of its workers together.
#[derive(Default)]
pub(crate) struct TlsListeners(Mutex<Vec<Weak<TlsListener>>>);

/// What one listener uses for the next client.
pub(crate) struct TlsListener {
    /// `None` for a Unix socket.
    address: Option<SocketAddr>,
    config: Mutex<TlsConfig>,
}

impl TlsListeners {
    /// A listener that can be found here as long as it exists.
    pub(crate) fn add(&self, address: Option<SocketAddr>, config: TlsConfig) -> Arc<TlsListener> {
        let listener = Arc::new(TlsListener { address, config: Mutex::new(config) });
        let mut all = lock(&self.0);
        all.retain(|listener| listener.strong_count() > 0);
        all.push(Arc::downgrade(&listener));
        listener
    }

    /// Replaces the configuration that all listeners have in common.
    pub(crate) fn reload(&self, config: TlsConfig) -> Result<(), TlsError> {
        replace(&self.open(), config)
    }

    /// The same for those of one address.
    pub(crate) fn reload_on(&self, address: SocketAddr, config: TlsConfig) -> Result<(), TlsError> {
        let mut listeners = self.open();
        listeners.retain(|listener| listener.address == Some(address));
        replace(&listeners, config)
    }

    /// The port of the first TCP listener.
    pub(crate) fn port(&self) -> io::Result<u16> {
        let listeners = self.open();
        let address = listeners.iter().find_map(|listener| listener.address);
        address.map(|address| address.port()).ok_or_else(|| {
            let what = "no listener with TLS; call `listen_tls` before `redirect_to_https`";
            io::Error::new(io::ErrorKind::InvalidInput, what)
        })
    }

    fn open(&self) -> Vec<Arc<TlsListener>> {
        lock(&self.0).iter().filter_map(Weak::upgrade).collect()
    }
}

impl TlsListener {
    pub(crate) fn config(&self) -> TlsConfig {
        lock(&self.config).clone()
    }
}

/// All of them at the same time, or none. Every thread takes the locks in the same order.
fn replace(listeners: &[Arc<TlsListener>], config: TlsConfig) -> Result<(), TlsError> {
    let mut current: Vec<_> = listeners.iter().map(|listener| lock(&listener.config)).collect();
    let Some(first) = current.first() else {
        return Err(TlsError::new(TlsProblem::NoListener));
    };
    if !current.iter().all(|other| other.is_same_as(first)) {
        return Err(TlsError::new(TlsProblem::SeveralConfigurations));
    }
    let config = config.in_place_of(first);
    current.iter_mut().for_each(|current| **current = config.clone());
    Ok(())
}

/// A panic elsewhere leaves no configuration half replaced.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for TlsListeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsListeners").finish_non_exhaustive()
    }
}

impl fmt::Debug for TlsListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsListener").field("address", &self.address).finish_non_exhaustive()
    }
}
