//! A TLS client of another make (rustls) for a simulation: handshake, records, the end.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    io::{ErrorKind, Read, Write},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PublicKeyData};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use starwheel::{
    Certificate, TlsConfig,
    testing::{Client, Simulation},
};

/// A server for `localhost`, and clients that trust its authority.
pub(crate) struct Localhost {
    pub(crate) server: TlsConfig,
    pub(crate) client: Arc<ClientConfig>,
    pub(crate) authority: Authority,
}

/// What issues certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
    der: CertificateDer<'static>,
}

/// A certificate with its key, both as PEM.
pub(crate) struct Issued {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        // OpenSSL takes equal names of issuer and subject for a self-signed certificate, and two
        // authorities of the same name would be taken for each other.
        let name = format!("test authority {:?}", &PublicKeyData::der_bytes(&key)[40..44]);
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key).unwrap();
        let (pem, der) = (certificate.pem(), certificate.der().clone());
        Self { issuer: Issuer::new(params, key), pem, der }
    }

    pub(crate) fn issue(&self, name: &str) -> Issued {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued { chain: certificate.pem(), key: key.serialize_pem() }
    }

    /// A client that trusts it, has no ticket, and shows this certificate, if any.
    pub(crate) fn client(&self, own: Option<&Issued>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![own.der()], key).unwrap()
            }
        })
    }
}

impl Issued {
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.chain.as_bytes()).unwrap()
    }

    pub(crate) fn certificate(&self) -> Certificate {
        Certificate::from_pem(&self.chain, &self.key).unwrap()
    }
}

impl Localhost {
    pub(crate) fn new() -> Self {
        let authority = Authority::new();
        let certificate = authority.issue("localhost").certificate();
        let server = TlsConfig::builder(certificate).build().unwrap();
        Self { server, client: authority.client(None), authority }
    }

    /// A client's end, which has said nothing yet.
    pub(crate) fn session(&self) -> ClientConnection {
        session(&self.client)
    }

    pub(crate) fn connect(&self, simulation: &mut Simulation) -> HttpsClient {
        HttpsClient::new(simulation.connect_tls(&self.server), self.session())
    }
}

/// A client's end, which has said nothing yet.
pub(crate) fn session(config: &Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from("localhost").unwrap();
    let mut session = ClientConnection::new(Arc::clone(config), name).unwrap();
    session.set_buffer_limit(None);
    session
}

/// A simulated client with TLS.
pub(crate) struct HttpsClient {
    pub(crate) client: Client,
    pub(crate) session: ClientConnection,
    received: Vec<u8>,
    /// The client's bytes are sent in pieces of this size, with a turn after each.
    pub(crate) piece_bytes: usize,
    end: Option<End>,
}

/// How a client saw the end.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum End {
    CloseNotify,
    Error(rustls::Error),
}

impl HttpsClient {
    pub(crate) fn new(client: Client, session: ClientConnection) -> Self {
        Self { client, session, received: Vec::new(), piece_bytes: usize::MAX, end: None }
    }

    /// Sends data, and everything that is needed for it, and reads what comes.
    pub(crate) fn send(&mut self, simulation: &mut Simulation, data: &[u8]) {
        self.session.writer().write_all(data).unwrap();
        // With faults, a turn may move nothing although there is something to move.
        let mut quiet_turns = 0;
        while quiet_turns < 20 {
            quiet_turns = if self.converse(simulation) { 0 } else { quiet_turns + 1 };
        }
    }

    /// Moves bytes both ways once. False if nothing moved.
    pub(crate) fn converse(&mut self, simulation: &mut Simulation) -> bool {
        let mut to_server = Vec::new();
        while self.session.wants_write() {
            self.session.write_tls(&mut to_server).unwrap();
        }
        for piece in to_server.chunks(self.piece_bytes) {
            simulation.send(self.client, piece);
            simulation.turn();
        }
        simulation.turn();
        let from_server = simulation.take_received(self.client);
        self.receive(&from_server);
        !to_server.is_empty() || !from_server.is_empty()
    }

    fn receive(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.end.is_none() {
            self.session.read_tls(&mut bytes).unwrap();
            match self.session.process_new_packets() {
                Ok(state) if state.peer_has_closed() => self.end = Some(End::CloseNotify),
                Ok(_) => {}
                Err(error) => self.end = Some(End::Error(error)),
            }
            match self.session.reader().read_to_end(&mut self.received) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => drop(result),
            }
        }
    }

    /// Seals data as it would be sent, without sending it.
    pub(crate) fn seal(&mut self, data: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::new();
        let _part = self.session.writer().write_all(data);
        while self.session.wants_write() {
            self.session.write_tls(&mut sealed).unwrap();
        }
        sealed
    }

    /// The data so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.received).into_owned()
    }

    pub(crate) fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }
}
