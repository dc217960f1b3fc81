//! TLS for `rediss://`, by rustls with ring. Feature `redis-tls`.

use std::{
    fmt,
    io::{self, Read, Write},
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use super::Down;

/// What all encrypted connections share.
pub(super) struct TlsClient {
    config: Arc<ClientConfig>,
    /// The name in the certificate, if it is not the host's.
    name: Option<ServerName<'static>>,
}

/// The TLS of one connection.
pub(super) struct Session(ClientConnection);

impl TlsClient {
    /// `roots` are certificates in PEM; without them, those of Mozilla are trusted.
    ///
    /// # Errors
    /// What is wrong with the arguments.
    pub(super) fn new(roots: Option<&[u8]>, name: Option<&str>) -> Result<Self, String> {
        let mut store = RootCertStore::empty();
        match roots {
            None => store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem) {
                    let certificate =
                        certificate.map_err(|error| format!("root certificates: {error}"))?;
                    store
                        .add(certificate)
                        .map_err(|error| format!("root certificates: {error}"))?;
                }
                if store.is_empty() {
                    return Err("root certificates: there is none in the PEM text".into());
                }
            }
        }
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(store)
            .with_no_client_auth();
        let name = name.map(server_name).transpose()?;
        Ok(Self { config: Arc::new(config), name })
    }

    pub(super) fn session(&self, host: &str) -> Result<Session, Down> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => server_name(host).map_err(Down::Tls)?,
        };
        ClientConnection::new(Arc::clone(&self.config), name)
            .map(Session)
            .map_err(|error| Down::Tls(error.to_string()))
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(name.to_owned())
        .map_err(|_| format!("\"{}\" can be no name in a certificate", name.escape_debug()))
}

impl Session {
    /// Decrypted bytes; 0 at the end. Errors of TLS are `InvalidData`.
    pub(super) fn read(
        &mut self,
        stream: &mut (impl Read + Write),
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        loop {
            match self.0.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Redis closes without a notice.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                done => return done,
            }
            // At the end, the next turn of the loop reports it.
            self.0.read_tls(stream)?;
            if let Err(error) = self.0.process_new_packets() {
                // The peer may want to know why.
                let _unsent = self.flush(stream);
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
            match self.flush(stream) {
                // It is sent when the socket is writable again.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => done?,
            }
        }
    }

    /// How many bytes were taken: none before the handshake is complete, or if there are none.
    pub(super) fn write(&mut self, stream: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
        self.flush(stream)?;
        if self.0.is_handshaking() || bytes.is_empty() {
            return Ok(0);
        }
        let count = self.0.writer().write(bytes)?;
        match self.flush(stream) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(count),
        }
    }

    fn flush(&mut self, stream: &mut impl Write) -> io::Result<()> {
        while self.0.wants_write() {
            self.0.write_tls(stream)?;
        }
        Ok(())
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}
