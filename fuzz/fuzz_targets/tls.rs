//! TLS: what a client sends in a handshake and after it, damaged in any way and cut anywhere.
//!
//! The first byte chooses. Even: the rest are the bytes of a client. Odd: a client of another make
//! (rustls) has a conversation, and the rest says what happens to each of its flights. Nothing may
//! panic, and no handler may see a byte that the client has not sent.

#![no_main]

use std::{
    io::{ErrorKind, Read, Write},
    sync::{Arc, Mutex, OnceLock},
};

use libfuzzer_sys::fuzz_target;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, crypto::ring::default_provider,
    pki_types::ServerName,
};
use starwheel::{
    Certificate, Context, Request, Response, TlsConfig,
    testing::{Client, Simulation},
};

const BODY: &str = "the body of a request that nobody may change";

fuzz_target!(|input: &[u8]| {
    let [choice, rest @ ..] = input else { return };
    match choice % 2 {
        0 => raw(rest, usize::from(choice / 2) + 1),
        _ => damaged(rest, usize::from(choice / 2) + 1),
    }
});

/// Bytes that were never TLS, or only in part: the same end for each way to cut them.
fn raw(bytes: &[u8], piece_bytes: usize) {
    let outcome = |piece_bytes: usize| {
        let (mut simulation, _) = serving();
        let client = simulation.connect_tls(&config().0);
        for piece in bytes.chunks(piece_bytes) {
            simulation.send(client, piece);
            simulation.turn();
        }
        let answer = simulation.received(client);
        (answer.first().copied(), simulation.stats().connections)
    };
    assert_eq!(outcome(usize::MAX), outcome(piece_bytes));
}

fn damaged(plan: &[u8], piece_bytes: usize) {
    let (server, client_config) = config();
    let (mut simulation, seen) = serving();
    let client = simulation.connect_tls(server);
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(Arc::clone(client_config), name).unwrap();
    let mut talk = Talk { simulation, client, session, piece_bytes, state: State::Intact };
    let mut plan = plan.iter().copied();
    let (mut posts, mut key_updates, mut is_closed) = (0, 0, false);
    talk.exchange(&mut plan);
    for _ in 0..8 {
        let Some(action) = plan.next() else { break };
        match action % 4 {
            0 => {
                let is_sent = talk.session.refresh_traffic_keys().is_ok() && !is_closed;
                key_updates += usize::from(is_sent);
            }
            1 => {
                talk.session.send_close_notify();
                is_closed = true;
            }
            _ => {
                let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}", BODY.len());
                let request = format!("{head}\r\n\r\n{BODY}");
                if !is_closed && talk.session.writer().write_all(request.as_bytes()).is_ok() {
                    posts += 1;
                }
            }
        }
        // Several actions may share a flight, and the first one may be in the flight of `Finished`.
        if action & 4 == 0 {
            talk.exchange(&mut plan);
        }
    }
    talk.exchange(&mut plan);
    talk.exchange(&mut std::iter::empty());
    let seen = seen.lock().unwrap();
    assert!(seen.iter().all(|body| body == BODY), "not what the client sent");
    if talk.state == State::Intact {
        let tls = talk.simulation.stats().tls;
        assert_eq!(seen.len(), posts, "what an intact client sends arrives");
        assert_eq!((tls.handshakes, tls.faults), (1, 0));
        // The server may have answered them with its own.
        assert!((key_updates..=2 * key_updates).contains(&(tls.key_updates as usize)));
    }
}

/// A conversation of a client that is not at fault itself.
struct Talk {
    simulation: Simulation,
    client: Client,
    session: ClientConnection,
    piece_bytes: usize,
    state: State,
}

#[derive(PartialEq)]
enum State {
    Intact,
    /// A flight arrived otherwise than the client has sent it.
    Damaged,
}

impl Talk {
    /// One flight of the client, with the damage that the plan wants, and what comes back.
    fn exchange(&mut self, plan: &mut impl Iterator<Item = u8>) {
        let mut flight = Vec::new();
        while self.session.wants_write() {
            self.session.write_tls(&mut flight).unwrap();
        }
        let intact = flight.clone();
        damage(&mut flight, plan);
        if flight != intact {
            self.state = State::Damaged;
        }
        for piece in flight.chunks(self.piece_bytes) {
            self.simulation.send(self.client, piece);
            self.simulation.turn();
        }
        let answer = self.simulation.take_received(self.client);
        let mut answer = &answer[..];
        while !answer.is_empty() && self.session.read_tls(&mut answer).is_ok() {
            match self.session.process_new_packets() {
                Ok(_) => {}
                // The server is never wrong, however damaged its input was.
                Err(rustls::Error::AlertReceived(_)) if self.state == State::Damaged => return,
                // Two parties that have seen different hellos have no keys in common.
                Err(_) if self.state == State::Damaged && self.session.is_handshaking() => return,
                Err(error) => panic!("{error}"),
            }
            match self.session.reader().read_to_end(&mut Vec::new()) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => drop(result),
            }
        }
    }
}

/// Four bytes of the plan say where and how. Three of four flights stay as they are, so that most
/// conversations get beyond their handshake.
fn damage(flight: &mut Vec<u8>, plan: &mut impl Iterator<Item = u8>) {
    let mut next = || plan.next().unwrap_or(0);
    let kind = next();
    if kind < 192 {
        return;
    }
    let at = (usize::from(next()) * 256 + usize::from(next())) % (flight.len() + 1);
    let value = next();
    match kind % 5 {
        0 if at < flight.len() => flight[at] ^= value,
        1 => flight.truncate(at),
        2 => flight.insert(at, value),
        3 if at < flight.len() => drop(flight.remove(at)),
        _ => flight.extend_from_within(at..),
    }
}

type Seen = Arc<Mutex<Vec<String>>>;

fn serving() -> (Simulation, Seen) {
    let seen = Seen::default();
    let noted = Arc::clone(&seen);
    let simulation = Simulation::new(move |req: &Request, _: &mut Context<'_>| {
        noted.lock().unwrap().push(String::from_utf8_lossy(req.body()).into_owned());
        Response::text("seen")
    });
    (simulation, seen)
}

fn config() -> &'static (TlsConfig, Arc<ClientConfig>) {
    static CONFIG: OnceLock<(TlsConfig, Arc<ClientConfig>)> = OnceLock::new();
    CONFIG.get_or_init(|| {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let pem = (own.cert.pem(), own.signing_key.serialize_pem());
        let certificate = Certificate::from_pem(pem.0, pem.1).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(own.cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        (TlsConfig::builder(certificate).build().unwrap(), Arc::new(client))
    })
}
