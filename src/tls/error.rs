//! What can be wrong with certificates and keys.

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
};

use crate::error::BoxError;

/// Why a [`TlsConfig`](super::TlsConfig) cannot be made or used: which file, and what is wrong with
/// it.
///
/// ```
/// use starwheel::{Certificate, TlsProblem};
///
/// let error = Certificate::from_pem("no certificate", "no key").unwrap_err();
/// assert_eq!(error.problem(), TlsProblem::NoCertificate);
/// ```
#[derive(Debug)]
pub struct TlsError {
    path: Option<PathBuf>,
    problem: TlsProblem,
    source: Option<BoxError>,
}

/// What is wrong in a [`TlsError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsProblem {
    /// The file cannot be read.
    Unreadable,
    /// A section of the PEM text is malformed.
    MalformedPem,
    /// The PEM text has no section `CERTIFICATE`.
    NoCertificate,
    /// The PEM text has no private key in the clear: PKCS#8, SEC1 or PKCS#1.
    NoKey,
    /// The certificate is not an X.509 v3 certificate.
    BadCertificate,
    /// The private key is of no supported kind: ECDSA P-256 or P-384, Ed25519, RSA of 2,048 bits or
    /// more.
    BadKey,
    /// The key belongs to another certificate. The server's certificate comes first in its file.
    KeyMismatch,
    /// The certificates that client certificates are checked with cannot be used.
    BadClientRoots,
    /// The system gave no random bits for the key of tickets.
    NoRandomness,
    /// No open listener has TLS, or none at this address; see
    /// [`Handle::reload_tls`](crate::Handle::reload_tls).
    NoListener,
    /// The listeners have different configurations; use
    /// [`Handle::reload_tls_on`](crate::Handle::reload_tls_on).
    SeveralConfigurations,
}

impl TlsError {
    pub(super) fn new(problem: TlsProblem) -> Self {
        Self { path: None, problem, source: None }
    }

    pub(super) fn because(problem: TlsProblem, source: impl Into<BoxError>) -> Self {
        Self { path: None, problem, source: Some(source.into()) }
    }

    pub(super) fn unreadable(path: &Path, error: io::Error) -> Self {
        Self::because(TlsProblem::Unreadable, error).in_file(path)
    }

    pub(super) fn in_file(mut self, path: &Path) -> Self {
        self.path.get_or_insert_with(|| path.to_owned());
        self
    }

    /// What is wrong.
    pub fn problem(&self) -> TlsProblem {
        self.problem
    }

    /// The file in which it is, if it came from one.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{}: ", path.display())?;
        }
        f.write_str(match self.problem {
            TlsProblem::Unreadable => "cannot be read",
            TlsProblem::MalformedPem => "malformed PEM",
            TlsProblem::NoCertificate => "no certificate found; expected `BEGIN CERTIFICATE`",
            TlsProblem::NoKey => {
                "no private key found; expected `BEGIN PRIVATE KEY`, decrypt an encrypted key first"
            }
            TlsProblem::BadCertificate => "not an X.509 v3 certificate",
            TlsProblem::BadKey => "unsupported private key; use ECDSA, Ed25519 or RSA",
            TlsProblem::KeyMismatch => {
                "the private key belongs to another certificate; put the server's certificate first"
            }
            TlsProblem::BadClientRoots => "unusable certificates for the check of clients",
            TlsProblem::NoRandomness => "no random bits from the system",
            TlsProblem::NoListener => "no open listener with TLS at this address",
            TlsProblem::SeveralConfigurations => {
                "listeners have different configurations; name the address with `reload_tls_on`"
            }
        })?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl Error for TlsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
