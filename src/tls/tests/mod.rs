//! Whole conversations with a rustls client in memory, and records that no client should send.

mod configuration;
mod figures;
mod handshakes;
mod hellos;
mod listeners;
mod negative;
mod resumption;
mod second_flight;
mod sending;
mod sessions;

use std::{
    io::{self, ErrorKind, IoSlice, Read, Write},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    crypto::{
        CryptoProvider,
        ring::{default_provider, kx_group},
    },
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};

use super::{
    alert::Fault,
    handshake::{Established, Handshake, HandshakeError, Stage},
    keys::{Secret, Suite},
    record::{ContentType, RECORD_BYTES_MAX},
    session::{Agreed, ReceiveError, Received, Session},
    *,
};

/// An authority that issues certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: CertificateDer<'static>,
}

struct Issued {
    chain_pem: String,
    key_pem: String,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        // Otherwise all have the same name, and would be taken for each other.
        let name = format!("{:?}", &rcgen::PublicKeyData::der_bytes(&key)[..8]);
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key).unwrap();
        let (pem, der) = (certificate.pem(), certificate.der().clone());
        Self { issuer: Issuer::new(params, key), pem, der }
    }

    fn issue(&self, names: &[&str]) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued {
            chain_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        }
    }

    fn certificate(&self, names: &[&str]) -> Certificate {
        let issued = self.issue(names);
        Certificate::from_pem(issued.chain_pem, issued.key_pem).unwrap()
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        roots
    }

    fn client_config(&self) -> ClientConfig {
        self.client_config_with(default_provider())
    }

    fn client_config_with(&self, provider: CryptoProvider) -> ClientConfig {
        ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots())
            .with_no_client_auth()
    }
}

/// What the reactor will be: it moves bytes between a socket and a handshake or session.
#[derive(Debug)]
struct Server {
    handshake: Option<Handshake>,
    established: Option<Established>,
    error: Option<HandshakeError>,
    fault: Option<Fault>,
    received: Vec<u8>,
    is_closed: bool,
}

impl Server {
    fn new(config: &TlsConfig) -> Self {
        let handshake = Some(Handshake::new(config).unwrap());
        Self {
            handshake,
            established: None,
            error: None,
            fault: None,
            received: Vec::new(),
            is_closed: false,
        }
    }

    fn session(&mut self) -> &mut Session {
        let state = (&self.error, &self.fault);
        assert!(self.established.is_some(), "no session: {state:?}");
        &mut self.established.as_mut().unwrap().session
    }

    fn receive(&mut self, mut bytes: &[u8]) {
        if let Some(handshake) = &mut self.handshake {
            match handshake.receive(&mut bytes) {
                Ok(Stage::Complete) => {
                    let handshake = self.handshake.take().unwrap();
                    self.established = Some(handshake.finish(bytes).unwrap());
                    bytes = &[];
                }
                Ok(_) => return,
                Err(error) => return self.error = Some(error),
            }
        }
        let mut buffer = vec![0; RECORD_BYTES_MAX];
        loop {
            let read = |room: &mut [u8]| match bytes.read(room)? {
                0 => Err(ErrorKind::WouldBlock.into()),
                count => Ok(count),
            };
            match self.session().receive(&mut buffer, read) {
                Ok(Received::Data(count)) => self.received.extend_from_slice(&buffer[..count]),
                Ok(Received::Nothing) => break,
                Ok(Received::Closed) => return self.is_closed = true,
                Err(ReceiveError::Fault(fault)) => return self.fault = Some(fault),
                Err(ReceiveError::Io(error)) => panic!("{error}"),
            }
        }
        assert!(!self.session().has_unread_record(), "nobody would come back for it");
    }

    /// All that is queued.
    fn output(&mut self) -> Vec<u8> {
        let mut output = Vec::new();
        if let Some(handshake) = &mut self.handshake {
            output.extend_from_slice(handshake.unsent());
            handshake.sent(output.len());
        } else {
            self.session().flush(|bytes| output.write(bytes)).unwrap();
        }
        output
    }

    fn send(&mut self, data: &[u8]) -> Vec<u8> {
        let mut output = Vec::new();
        let write = |bytes: &[u8]| output.write(bytes);
        let sent = self.session().send(&[IoSlice::new(data)], &mut Vec::new(), write).unwrap();
        assert_eq!(sent, data.len());
        output
    }
}

/// A client of another make, with what it has received.
struct Client {
    connection: ClientConnection,
    received: Vec<u8>,
    error: Option<rustls::Error>,
}

impl Client {
    fn new(config: ClientConfig, name: &str) -> Self {
        Self::shared(&Arc::new(config), name)
    }

    fn shared(config: &Arc<ClientConfig>, name: &str) -> Self {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
        Self { connection, received: Vec::new(), error: None }
    }

    fn output(&mut self) -> Vec<u8> {
        let mut output = Vec::new();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut output).unwrap();
        }
        output
    }

    fn receive(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.error.is_none() {
            self.connection.read_tls(&mut bytes).unwrap();
            if let Err(error) = self.connection.process_new_packets() {
                self.error = Some(error);
            }
            match self.connection.reader().read_to_end(&mut self.received) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => drop(result),
            }
        }
    }

    fn send(&mut self, data: &[u8]) -> Vec<u8> {
        self.connection.writer().write_all(data).unwrap();
        self.output()
    }
}

/// Moves bytes both ways in pieces of at most this size, until nothing more happens.
fn converse(client: &mut Client, server: &mut Server, piece_bytes: usize) {
    loop {
        let to_server = client.output();
        to_server.chunks(piece_bytes).for_each(|piece| {
            if server.error.is_none() && server.fault.is_none() {
                server.receive(piece);
            }
        });
        let to_client = server.output();
        to_client.chunks(piece_bytes).for_each(|piece| client.receive(piece));
        if to_server.is_empty() && to_client.is_empty() {
            return;
        }
    }
}

/// A server for `localhost` and a client that trusts it.
fn localhost() -> (TlsConfig, ClientConfig) {
    let authority = Authority::new();
    let config = TlsConfig::builder(authority.certificate(&["localhost"])).build().unwrap();
    (config, authority.client_config())
}

/// The server has a group for key exchange that is not the client's first: it asks for another key
/// share (RFC 8446 section 4.1.4).
fn localhost_with_another_group() -> (TlsConfig, ClientConfig) {
    let authority = Authority::new();
    let issued = authority.issue(&["localhost"]);
    let provider = CryptoProvider { kx_groups: vec![kx_group::SECP384R1], ..default_provider() };
    let server_config = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(issued.chain, issued.key)
        .unwrap();
    (TlsConfig::from_rustls_0_23(server_config), authority.client_config())
}

/// Both ends on `localhost`, after a handshake.
fn connected() -> (Client, Server) {
    let (config, client_config) = localhost();
    let (mut client, mut server) = (Client::new(client_config, "localhost"), Server::new(&config));
    converse(&mut client, &mut server, usize::MAX);
    assert!(server.established.is_some(), "{:?} {:?}", server.error, client.error);
    (client, server)
}

/// Both ends of a connection with known secrets, the client first.
fn pair(suite: Suite) -> (Session, Session) {
    let secret = |byte| Secret::new(&vec![byte; suite.secret_bytes()]).unwrap();
    let end = |sending, receiving| {
        Session::new(Agreed {
            suite,
            sending: secret(sending),
            receiving: secret(receiving),
            sent_records: 0,
            unsent: Vec::new(),
            unread: Vec::new(),
        })
    };
    (end(CLIENT, SERVER), end(SERVER, CLIENT))
}

/// All data in these bytes, and how they end.
fn received(session: &mut Session, mut bytes: &[u8]) -> (Vec<u8>, Result<Received, Fault>) {
    let mut data = Vec::new();
    let mut buffer = vec![0; RECORD_BYTES_MAX];
    loop {
        let read = |room: &mut [u8]| match bytes.read(room)? {
            0 => Err(ErrorKind::WouldBlock.into()),
            count => Ok(count),
        };
        match session.receive(&mut buffer, read) {
            Ok(Received::Data(count)) => data.extend_from_slice(&buffer[..count]),
            Ok(end) => return (data, Ok(end)),
            Err(ReceiveError::Fault(fault)) => return (data, Err(fault)),
            Err(ReceiveError::Io(error)) => panic!("{error}"),
        }
    }
}

/// Sends all of it to a socket without limits.
fn sent(session: &mut Session, data: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    let write = |bytes: &[u8]| output.write(bytes);
    assert_eq!(session.send(&[IoSlice::new(data)], &mut Vec::new(), write).unwrap(), data.len());
    output
}

fn flushed(session: &mut Session) -> Vec<u8> {
    let mut output = Vec::new();
    session.flush(|bytes: &[u8]| -> io::Result<usize> { output.write(bytes) }).unwrap();
    output
}

const CLIENT: u8 = 0xc1;
const SERVER: u8 = 0x5e;
const SUITES: [Suite; 3] =
    [Suite::Aes128GcmSha256, Suite::Aes256GcmSha384, Suite::Chacha20Poly1305Sha256];
