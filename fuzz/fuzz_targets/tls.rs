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
    let mut session = ClientConnection::new(Arc::clone(client_config), name).unwrap();
    let mut plan = plan.iter().copied();
    for _ in 0..8 {
        exchange(&mut simulation, client, &mut session, &mut plan, piece_bytes);
        let Some(action) = plan.next() else { break };
        match action % 4 {
            0 => _ = session.refresh_traffic_keys(),
            1 => session.send_close_notify(),
            _ => {
                let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}", BODY.len());
                let _ = session.writer().write_all(format!("{head}\r\n\r\n{BODY}").as_bytes());
            }
        }
    }
    exchange(&mut simulation, client, &mut session, &mut plan, piece_bytes);
    assert!(seen.lock().unwrap().iter().all(|body| body == BODY), "not what the client sent");
}

/// One flight of the client, with the damage that the plan wants, and what comes back.
fn exchange(
    simulation: &mut Simulation,
    client: Client,
    session: &mut ClientConnection,
    plan: &mut impl Iterator<Item = u8>,
    piece_bytes: usize,
) {
    let mut flight = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut flight).unwrap();
    }
    let mut next = || plan.next().unwrap_or(0);
    let at = usize::from(next()) * 256 + usize::from(next());
    let (at, value) = (at % (flight.len() + 1), next());
    match next() % 8 {
        1 if at < flight.len() => flight[at] ^= value,
        2 => flight.truncate(at),
        3 => flight.insert(at, value),
        4 if at < flight.len() => drop(flight.remove(at)),
        5 => flight.extend_from_within(at..),
        _ => {}
    }
    for piece in flight.chunks(piece_bytes) {
        simulation.send(client, piece);
        simulation.turn();
    }
    let answer = simulation.take_received(client);
    let mut answer = &answer[..];
    while !answer.is_empty() && session.read_tls(&mut answer).is_ok() {
        // The server is never wrong, however damaged its input was.
        if session.process_new_packets().is_err() {
            return;
        }
        match session.reader().read_to_end(&mut Vec::new()) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            result => drop(result),
        }
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
