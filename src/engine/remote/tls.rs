//! What a [`Handle`] can do with the listeners for HTTPS.

use std::net::SocketAddr;

use super::handle::Handle;
use crate::tls::{TlsConfig, TlsError};

/// HTTPS: feature `tls`.
impl Handle {
    /// Replaces the [`TlsConfig`] of all listeners with TLS, when a certificate was renewed, say. On
    /// [`Workers`](crate::Workers), those of all workers; the handle of one worker does the same.
    ///
    /// It takes effect before it returns, also on a reactor that is busy: handshakes that begin later
    /// use `config`. Those in progress and open connections keep theirs. Clients can still resume
    /// their sessions, because tickets keep their key, unless client certificates are checked in
    /// another way than before, or by code of the application
    /// ([`from_rustls_0_23`](TlsConfig::from_rustls_0_23)). Then every client is checked again. The
    /// key changes in any case every six hours.
    ///
    /// `docs/guide.md` has the loop that watches files.
    ///
    /// ```no_run
    /// use starwheel::{Certificate, Handle, TlsConfig, TlsError};
    /// fn renew(handle: &Handle) -> Result<(), TlsError> {
    ///     let certificate = Certificate::from_pem_files("fullchain.pem", "privkey.pem")?;
    ///     handle.reload_tls(TlsConfig::builder(certificate).build()?)
    /// }
    /// ```
    ///
    /// # Errors
    /// Nothing has changed then. [`TlsProblem::NoListener`] if no listener with TLS is open, as after
    /// a drain. [`TlsProblem::SeveralConfigurations`] if listeners were given configurations that are
    /// not clones of one: the one for an internal port may require client certificates, which another
    /// one does not. Use [`reload_tls_on`](Self::reload_tls_on) for these.
    ///
    /// [`TlsProblem::NoListener`]: crate::TlsProblem::NoListener
    /// [`TlsProblem::SeveralConfigurations`]: crate::TlsProblem::SeveralConfigurations
    pub fn reload_tls(&self, config: TlsConfig) -> Result<(), TlsError> {
        self.tls_listeners().reload(config)
    }

    /// The same for the listeners at one address: the one that
    /// [`Reactor::listen_tls`](crate::Reactor::listen_tls) has returned.
    ///
    /// ```no_run
    /// # use starwheel::{Handle, TlsConfig, TlsError};
    /// # use std::net::SocketAddr;
    /// fn renew(handle: &Handle, internal: SocketAddr, config: TlsConfig) -> Result<(), TlsError> {
    ///     handle.reload_tls_on(internal, config)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`reload_tls`](Self::reload_tls).
    pub fn reload_tls_on(&self, address: SocketAddr, config: TlsConfig) -> Result<(), TlsError> {
        self.tls_listeners().reload_on(address, config)
    }
}
