//! What a request knows of the TLS connection that it came over.

use super::{Request, security::Security};

impl Request {
    /// True if the request came over TLS that this server terminates
    /// ([`Reactor::listen_tls`](crate::Reactor::listen_tls)). False for connections of a proxy in the
    /// clear, even if its client uses HTTPS: what a proxy says of that is in fields of its own.
    ///
    /// ```
    /// assert!(!starwheel::Request::get("/").is_secure());
    /// ```
    #[must_use]
    pub fn is_secure(&self) -> bool {
        matches!(self.security, Security::Tls(_))
    }

    /// The name that the client asked for in its TLS handshake (RFC 6066 section 3), in lower case.
    /// `None` if it gave none, and unless the listener keeps it
    /// ([`TlsConfig::keep_server_names`](crate::TlsConfig::keep_server_names)).
    ///
    /// Requests on this connection may be for other hosts ([`host`](Self::host)), if the certificate
    /// is valid for them.
    ///
    /// ```
    /// assert_eq!(starwheel::Request::get("/").server_name(), None);
    /// ```
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.security.client()?.server_name()
    }

    /// The client's certificate, followed by those that lead to its authority, each in DER. They were
    /// checked in the handshake, or in the one that a resumed session began with. Nothing if it has
    /// shown none, and unless the listener keeps them
    /// ([`TlsConfig::keep_client_certificates`](crate::TlsConfig::keep_client_certificates)).
    ///
    /// Take names out of them with a parser of X.509, once: [`Extensions`](crate::Extensions) carry
    /// the result from a layer to handlers.
    ///
    /// ```
    /// use starwheel::{Request, Response, StatusCode};
    /// /// Only this client, whose certificate is known.
    /// fn status(request: &Request, known: &[u8]) -> Response {
    ///     match request.client_certificates().next() {
    ///         Some(certificate) if certificate == known => Response::text("all is well"),
    ///         _ => Response::error(StatusCode::FORBIDDEN, "use your client certificate"),
    ///     }
    /// }
    /// assert_eq!(status(&Request::get("/"), b"DER").status(), 403);
    /// ```
    #[cfg(feature = "tls")]
    pub fn client_certificates(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let certificates = self.security.client().map_or(&[][..], |client| client.certificates());
        certificates.iter().map(|der| &**der)
    }

    /// A newly read request has none: call this for each one.
    #[cfg(feature = "tls")]
    pub(crate) fn set_security(&mut self, security: Security) {
        self.security = security;
    }
}
