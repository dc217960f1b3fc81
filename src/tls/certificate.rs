//! Certificates with their keys, from PEM, and the choice among them by name (RFC 6066 section 3).

use std::{collections::HashMap, fmt, fs, path::Path, sync::Arc};

use rustls::{
    Error,
    crypto::ring::default_provider,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use zeroize::Zeroizing;

use super::error::{TlsError, TlsProblem};

/// A server's certificate with its chain and private key.
///
/// The DNS names in the certificate decide which clients get it. Addresses need no name: clients
/// that connect to an address do not say which.
///
/// ```no_run
/// use starwheel::Certificate;
///
/// let certificate = Certificate::from_pem_files("fullchain.pem", "privkey.pem")?;
/// println!("for {:?}", certificate.names().collect::<Vec<_>>());
/// # Ok::<(), starwheel::TlsError>(())
/// ```
#[derive(Clone)]
pub struct Certificate {
    names: Vec<String>,
    key: Arc<CertifiedKey>,
}

impl Certificate {
    /// Reads PEM text: the certificate, followed by those that lead to its authority, and its key.
    ///
    /// Other sections are skipped, so both may be the same text. An ECDSA key is recommended:
    /// signing with RSA takes longer, and the reactor's thread does it.
    ///
    /// # Errors
    /// If a part is missing or malformed, or the key does not belong to the first certificate. Dates
    /// are not checked.
    ///
    /// ```
    /// # use starwheel::{Certificate, TlsProblem};
    /// let error = Certificate::from_pem("", "").unwrap_err();
    /// assert_eq!(error.problem(), TlsProblem::NoCertificate);
    /// ```
    pub fn from_pem(
        chain: impl AsRef<[u8]>,
        private_key: impl AsRef<[u8]>,
    ) -> Result<Self, TlsError> {
        Self::new(certificates(chain.as_ref())?, private_key_of(private_key.as_ref())?)
    }

    /// The same from two files, or twice the same.
    ///
    /// # Errors
    /// As [`from_pem`](Self::from_pem), and if a file cannot be read. The error names the file.
    ///
    /// ```
    /// # use starwheel::{Certificate, TlsProblem};
    /// let error = Certificate::from_pem_files("/missing.pem", "/missing.pem").unwrap_err();
    /// assert_eq!(error.problem(), TlsProblem::Unreadable);
    /// assert!(error.to_string().starts_with("/missing.pem: cannot be read"));
    /// ```
    pub fn from_pem_files(
        chain: impl AsRef<Path>,
        private_key: impl AsRef<Path>,
    ) -> Result<Self, TlsError> {
        let (chain, key) = (chain.as_ref(), private_key.as_ref());
        let certificates = certificates(&read(chain)?).map_err(|error| error.in_file(chain))?;
        let private_key = private_key_of(&read(key)?).map_err(|error| error.in_file(key))?;
        Self::new(certificates, private_key).map_err(|error| match error.problem() {
            TlsProblem::BadCertificate => error.in_file(chain),
            _ => error.in_file(key),
        })
    }

    /// The DNS names in the certificate, in lower case. `*.example.com` stands for one label.
    ///
    /// ```no_run
    /// # let certificate = starwheel::Certificate::from_pem("", "")?;
    /// assert_eq!(certificate.names().collect::<Vec<_>>(), ["example.com", "*.example.com"]);
    /// # Ok::<(), starwheel::TlsError>(())
    /// ```
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        private_key: PrivateKeyDer<'static>,
    ) -> Result<Self, TlsError> {
        let end_entity = chain.first().ok_or_else(|| TlsError::new(TlsProblem::NoCertificate))?;
        let parsed = webpki::EndEntityCert::try_from(end_entity);
        let parsed =
            parsed.map_err(|error| TlsError::because(TlsProblem::BadCertificate, error))?;
        let names = parsed.valid_dns_names().map(str::to_ascii_lowercase).collect();
        let key = default_provider().key_provider.load_private_key(private_key);
        let key = key.map_err(|error| TlsError::because(TlsProblem::BadKey, error))?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) => Ok(Self { names, key: Arc::new(key) }),
            Err(Error::InconsistentKeys(_)) => Err(TlsError::new(TlsProblem::KeyMismatch)),
            Err(error) => Err(TlsError::because(TlsProblem::BadCertificate, error)),
        }
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("names", &self.names).finish_non_exhaustive()
    }
}

/// The certificates of a listener. The first one is for clients that give no name, or an unknown
/// one: the name in their request decides what they get, and their browser shows the mismatch.
#[derive(Debug)]
pub(super) struct Choice {
    default: Vec<Arc<CertifiedKey>>,
    by_name: HashMap<String, Vec<Arc<CertifiedKey>>>,
}

impl Choice {
    pub(super) fn of(certificates: &[Certificate]) -> Self {
        let mut by_name: HashMap<_, Vec<_>> = HashMap::new();
        for certificate in certificates {
            for name in &certificate.names {
                by_name.entry(name.clone()).or_default().push(Arc::clone(&certificate.key));
            }
        }
        let default = certificates.iter().map(|certificate| Arc::clone(&certificate.key)).collect();
        Self { default, by_name }
    }

    fn named(&self, name: &str) -> Option<&Vec<Arc<CertifiedKey>>> {
        let name = name.to_ascii_lowercase();
        let wildcard = || {
            let (_, parent) = name.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        };
        self.by_name.get(&name).or_else(wildcard)
    }
}

impl ResolvesServerCert for Choice {
    /// Among several for one name, the first whose key the client can check: ECDSA beside RSA.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.named(name));
        let candidates = named.unwrap_or(&self.default);
        let is_usable =
            |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        candidates.iter().find(is_usable).or_else(|| candidates.first()).cloned()
    }
}

pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(none) if none.is_empty() => Err(TlsError::new(TlsProblem::NoCertificate)),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(malformed(&error)),
    }
}

fn private_key_of(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::new(TlsProblem::NoKey),
        error => malformed(&error),
    })
}

/// The errors of the parser quote the text, which may be that of a key.
fn malformed(error: &pem::Error) -> TlsError {
    let what = match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no line with its end",
        pem::Error::IllegalSectionStart { .. } => {
            "a line that begins a section is incomplete or has more text after it"
        }
        pem::Error::Base64Decode(_) => "a section is not base64",
        _ => "unreadable text",
    };
    TlsError::because(TlsProblem::MalformedPem, what)
}

/// A file that may contain a key.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    fs::read(path).map(Zeroizing::new).map_err(|error| TlsError::unreadable(path, error))
}
