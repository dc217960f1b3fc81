//! What a TLS listener needs: certificates, and what clients have to prove.

use std::{fmt, path::Path, sync::Arc};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::CertificateDer,
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::TLS13,
};

use super::{
    certificate::{Certificate, Choice, certificates, read},
    error::{TlsError, TlsProblem},
};

/// Certificates and rules of a listener for TLS 1.3. Cheap to clone.
///
/// * Clients have to support TLS 1.3. Others get the alert `protocol_version`.
/// * The protocol is `http/1.1` (ALPN). Clients that offer only others get
///   `no_application_protocol`.
/// * Clients may resume sessions, with tickets that are valid for 12 hours. Nothing is stored for
///   that. The key of the tickets belongs to this value and its clones, and to those that replace
///   it ([`Handle::reload_tls`](crate::Handle::reload_tls)).
/// * 0-RTT data is not accepted: it can be replayed.
///
/// ```no_run
/// use starwheel::{Certificate, TlsConfig};
///
/// let certificate = Certificate::from_pem_files("fullchain.pem", "privkey.pem")?;
/// let config = TlsConfig::builder(certificate).build()?;
/// # Ok::<(), starwheel::TlsError>(())
/// ```
#[derive(Clone)]
pub struct TlsConfig(Arc<Shared>);

#[derive(Clone)]
struct Shared {
    server: Arc<ServerConfig>,
    verification: Verification,
    kept: Kept,
}

/// What a connection keeps of its handshake.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) server_name: bool,
    pub(crate) client_certificates: bool,
}

/// Collects the parts of a [`TlsConfig`].
///
/// ```no_run
/// use starwheel::{Certificate, ClientCertificates, TlsConfig};
///
/// let config = TlsConfig::builder(Certificate::from_pem_files("a/chain.pem", "a/key.pem")?)
///     .certificate(Certificate::from_pem_files("b/chain.pem", "b/key.pem")?)
///     .client_certificates(ClientCertificates::required(std::fs::read("ca.pem").unwrap())?)
///     .build()?;
/// # Ok::<(), starwheel::TlsError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct TlsConfigBuilder {
    certificates: Vec<Certificate>,
    clients: Option<ClientCertificates>,
    tickets_of: Option<TlsConfig>,
}

/// That clients show a certificate, and who may have issued it.
///
/// ```no_run
/// use starwheel::ClientCertificates;
///
/// let clients = ClientCertificates::optional_from_file("ca.pem")?;
/// # Ok::<(), starwheel::TlsError>(())
/// ```
#[derive(Clone)]
pub struct ClientCertificates {
    verifier: Arc<dyn ClientCertVerifier>,
    verification: Verification,
}

/// How clients are checked, to be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verification {
    None,
    Certificates {
        demand: Demand,
        roots: Arc<[CertificateDer<'static>]>,
    },
    /// By code of the application.
    #[cfg(feature = "rustls-0_23")]
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Demand {
    Required,
    Optional,
}

impl TlsConfig {
    /// Begins with the certificate for clients that give no name, or one that no certificate has.
    pub fn builder(certificate: Certificate) -> TlsConfigBuilder {
        TlsConfigBuilder { certificates: vec![certificate], clients: None, tickets_of: None }
    }

    /// Takes over a configuration of rustls 0.23, for what the builder cannot do: keys in hardware,
    /// certificates chosen at run time, other checks of clients.
    ///
    /// It may use another cryptographic provider; records are always sealed by ring. These settings
    /// are replaced, because connections depend on them: ALPN is `http/1.1`, 0-RTT and early data of
    /// the server are off, and secrets can be extracted. A session store is kept, and its memory is
    /// yours. A key log is kept, and gets the secrets of connections. TLS 1.2 is refused even if the configuration allows it.
    ///
    /// ```no_run
    /// # fn config() -> rustls::ServerConfig { unimplemented!() }
    /// let config = starwheel::TlsConfig::from_rustls_0_23(config());
    /// ```
    #[cfg(feature = "rustls-0_23")]
    pub fn from_rustls_0_23(config: ServerConfig) -> Self {
        Self::new(config, Verification::Unknown)
    }

    /// Keeps client certificates as long as their connection is open, for
    /// [`Request::client_certificates`](crate::Request::client_certificates). By default they are
    /// checked and then dropped.
    ///
    /// That is 0.5 to 5 KB for each connection that has shown some, and about 100 bytes around them;
    /// [`TlsStats::client_bytes`](crate::TlsStats::client_bytes) counts them. A
    /// [reload](crate::Handle::reload_tls) needs it again.
    ///
    /// ```no_run
    /// use starwheel::{Certificate, ClientCertificates, TlsConfig};
    /// let config = TlsConfig::builder(Certificate::from_pem_files("chain.pem", "key.pem")?)
    ///     .client_certificates(ClientCertificates::required_from_file("ca.pem")?)
    ///     .build()?
    ///     .keep_client_certificates();
    /// # Ok::<(), starwheel::TlsError>(())
    /// ```
    #[must_use]
    pub fn keep_client_certificates(mut self) -> Self {
        Arc::make_mut(&mut self.0).kept.client_certificates = true;
        self
    }

    /// Keeps the name that each client asks for, for
    /// [`Request::server_name`](crate::Request::server_name). By default it is forgotten when it has
    /// decided about the certificate: [`Request::host`](crate::Request::host) says what a request is
    /// for.
    ///
    /// That is about 150 bytes and the name for each connection, counted in
    /// [`TlsStats::client_bytes`](crate::TlsStats::client_bytes). A
    /// [reload](crate::Handle::reload_tls) needs it again.
    ///
    /// ```no_run
    /// # use starwheel::{Certificate, TlsConfig};
    /// # let certificate = Certificate::from_pem_files("chain.pem", "key.pem")?;
    /// let config = TlsConfig::builder(certificate).build()?.keep_server_names();
    /// # Ok::<(), starwheel::TlsError>(())
    /// ```
    #[must_use]
    pub fn keep_server_names(mut self) -> Self {
        Arc::make_mut(&mut self.0).kept.server_name = true;
        self
    }

    fn new(server: ServerConfig, verification: Verification) -> Self {
        let server = Arc::new(with_what_we_need(server));
        Self(Arc::new(Shared { server, verification, kept: Kept::default() }))
    }

    pub(super) fn kept(&self) -> Kept {
        self.0.kept
    }

    pub(super) fn server(&self) -> &Arc<ServerConfig> {
        &self.0.server
    }

    /// True for clones of one value.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// This configuration for a listener that has used `earlier` so far: with its tickets, if
    /// clients are checked in the same way.
    pub(super) fn in_place_of(mut self, earlier: &Self) -> Self {
        if self.0.verification.is_known_to_equal(&earlier.0.verification) {
            let shared = Arc::make_mut(&mut self.0);
            let mut server = (*shared.server).clone();
            server.ticketer = Arc::clone(&earlier.server().ticketer);
            shared.server = Arc::new(server);
        }
        self
    }
}

impl TlsConfigBuilder {
    /// Adds a certificate, for the names in it. Of several with the same name, each client gets the
    /// first that it can check.
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.certificates.push(certificate);
        self
    }

    /// Asks clients for certificates. By default, they are not asked.
    ///
    /// A client that resumes a session is not checked again, also if its certificate has expired
    /// since. Each resumption gives it a new ticket.
    pub fn client_certificates(mut self, clients: ClientCertificates) -> Self {
        self.clients = Some(clients);
        self
    }

    /// Keeps the key of the tickets of `earlier`, so that its clients can resume their sessions with
    /// this one: for another listener. A [reload](crate::Handle::reload_tls) does that without it.
    ///
    /// If client certificates are checked in another way, or by code of the application, the key is
    /// not kept: a client that was accepted under the old rules must be checked under the new ones.
    pub fn tickets_of(mut self, earlier: &TlsConfig) -> Self {
        self.tickets_of = Some(earlier.clone());
        self
    }

    /// Makes the configuration, with a new key for tickets unless it keeps one.
    ///
    /// # Errors
    /// If the system has no random bits for the key of tickets.
    pub fn build(self) -> Result<TlsConfig, TlsError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .expect("all suites of the provider are for TLS 1.3");
        let (builder, verification) = match self.clients {
            None => (builder.with_no_client_auth(), Verification::None),
            Some(ClientCertificates { verifier, verification }) => {
                (builder.with_client_cert_verifier(verifier), verification)
            }
        };
        let mut server = builder.with_cert_resolver(Arc::new(Choice::of(&self.certificates)));
        let is_same = |earlier: &TlsConfig| verification.is_known_to_equal(&earlier.0.verification);
        let earlier = self.tickets_of.filter(is_same);
        server.ticketer = match earlier {
            Some(earlier) => Arc::clone(&earlier.server().ticketer),
            None => ring::Ticketer::new()
                .map_err(|error| TlsError::because(TlsProblem::NoRandomness, error))?,
        };
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 1;
        Ok(TlsConfig::new(server, verification))
    }
}

impl Verification {
    /// Code of an application may have changed, or depend on anything.
    fn is_known_to_equal(&self, other: &Self) -> bool {
        #[cfg(feature = "rustls-0_23")]
        if *self == Self::Unknown {
            return false;
        }
        self == other
    }
}

impl ClientCertificates {
    /// Every client needs a certificate of one of these authorities (PEM). Others get an alert.
    ///
    /// # Errors
    /// If `authorities` has no certificate, or one that cannot be used.
    ///
    /// ```
    /// # use starwheel::{ClientCertificates, TlsProblem};
    /// let error = ClientCertificates::required("").unwrap_err();
    /// assert_eq!(error.problem(), TlsProblem::NoCertificate);
    /// ```
    pub fn required(authorities: impl AsRef<[u8]>) -> Result<Self, TlsError> {
        Self::new(Demand::Required, authorities.as_ref())
    }

    /// The same from a file.
    ///
    /// # Errors
    /// As [`required`](Self::required), and if the file cannot be read.
    pub fn required_from_file(path: impl AsRef<Path>) -> Result<Self, TlsError> {
        Self::from_file(Demand::Required, path.as_ref())
    }

    /// A client may have no certificate. If it has one, it must be of one of these authorities.
    ///
    /// # Errors
    /// As [`required`](Self::required).
    pub fn optional(authorities: impl AsRef<[u8]>) -> Result<Self, TlsError> {
        Self::new(Demand::Optional, authorities.as_ref())
    }

    /// The same from a file.
    ///
    /// # Errors
    /// As [`required`](Self::required), and if the file cannot be read.
    pub fn optional_from_file(path: impl AsRef<Path>) -> Result<Self, TlsError> {
        Self::from_file(Demand::Optional, path.as_ref())
    }

    fn from_file(demand: Demand, path: &Path) -> Result<Self, TlsError> {
        Self::new(demand, &read(path)?).map_err(|error| error.in_file(path))
    }

    fn new(demand: Demand, authorities: &[u8]) -> Result<Self, TlsError> {
        let roots: Arc<[_]> = certificates(authorities)?.into();
        let mut store = RootCertStore::empty();
        for root in &*roots {
            let added = store.add(root.clone());
            added.map_err(|error| TlsError::because(TlsProblem::BadClientRoots, error))?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider());
        let verifier = match demand {
            Demand::Required => builder.build(),
            Demand::Optional => builder.allow_unauthenticated().build(),
        };
        let verifier =
            verifier.map_err(|error| TlsError::because(TlsProblem::BadClientRoots, error))?;
        Ok(Self { verifier, verification: Verification::Certificates { demand, roots } })
    }
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig").finish_non_exhaustive()
    }
}

impl fmt::Debug for ClientCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificates").finish_non_exhaustive()
    }
}

fn with_what_we_need(mut server: ServerConfig) -> ServerConfig {
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    server.enable_secret_extraction = true;
    server.max_early_data_size = 0;
    server.send_half_rtt_data = false;
    server
}

/// ring, with what TLS 1.3 needs. The order of the suites is the client's: it knows whether it has
/// instructions for AES.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    provider.cipher_suites.retain(|suite| suite.tls13().is_some());
    Arc::new(provider)
}
