//! How late ticks are while very many clients connect, by hand:
//! `cargo test -p starwheel-tests --release --test tls lateness -- --ignored --nocapture`.
//!
//! A timer of 10 ms runs in the reactor. A thousand connections send their first bytes and wait: a
//! request in the clear, or a hello. When one is answered, another one takes its place. Plain rounds
//! and those with TLS take turns.

use std::{
    cell::RefCell,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    process::Command,
    rc::Rc,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use starwheel::{Certificate, Reactor, TlsConfig};

use super::{GET, routes};
use crate::https::Localhost;

const IN_FLIGHT: usize = 1_000;
const EVERY: Duration = Duration::from_millis(10);
const ROUND: Duration = Duration::from_secs(3);
const ROUNDS: usize = 3;

#[test]
#[ignore = "prints times; see the top of the file"]
fn lateness_of_ticks_beside_handshakes() {
    let localhost = Localhost::new();
    let mut hello = Vec::new();
    localhost.session().write_tls(&mut hello).unwrap();
    let mut servers = vec![("plain", None), ("ECDSA", Some(localhost.server.clone()))];
    for (what, bits) in [("RSA 2048", "2048"), ("RSA 4096", "4096")] {
        servers.extend(rsa(bits).map(|config| (what, Some(config))));
    }
    let mut late: Vec<Vec<u64>> = vec![Vec::new(); servers.len()];
    let mut answers = vec![0; servers.len()];
    for _ in 0..ROUNDS {
        for (nth, (_, config)) in servers.iter().enumerate() {
            let first = if config.is_some() { &hello[..] } else { GET };
            let (mut late_us, answered) = round(config.clone(), first);
            late[nth].append(&mut late_us);
            answers[nth] += answered;
        }
    }
    for (nth, (what, _)) in servers.iter().enumerate() {
        late[nth].sort_unstable();
        let at = |part: f64| late[nth][((late[nth].len() - 1) as f64 * part) as usize];
        println!(
            "{what}: {} ticks, late by {} us (p50), {} (p99), {} (p99.9), {} (all); {} answers a second",
            late[nth].len(),
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0),
            answers[nth] as f64 / (ROUND.as_secs_f64() * ROUNDS as f64)
        );
    }
}

fn rsa(bits: &str) -> Option<TlsConfig> {
    let folder = std::env::temp_dir().join(format!("starwheel-rsa-{}-{bits}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (key, chain) = (folder.join("key.pem"), folder.join("chain.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-subj", "/CN=localhost", "-newkey"])
        .arg(format!("rsa:{bits}"))
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&chain)
        .output();
    let config = made.ok().filter(|it| it.status.success()).map(|_| {
        let certificate = Certificate::from_pem_files(&chain, &key).unwrap();
        TlsConfig::builder(certificate).build().unwrap()
    });
    std::fs::remove_dir_all(&folder).unwrap();
    config
}

/// Microseconds that each tick was late, and the number of answers.
fn round(config: Option<TlsConfig>, first: &[u8]) -> (Vec<u64>, usize) {
    let (report, reported) = mpsc::channel();
    let reactor = thread::spawn(move || {
        let mut reactor = Reactor::new(routes()).unwrap();
        let address = match config {
            Some(config) => reactor.listen_tls("127.0.0.1:0", config),
            None => reactor.listen("127.0.0.1:0"),
        };
        report.send((address.unwrap(), reactor.handle())).unwrap();
        let late_us = Rc::new(RefCell::new(Vec::new()));
        let noted = Rc::clone(&late_us);
        let mut due = Instant::now() + EVERY;
        reactor.context().every(EVERY, move |_cx| {
            let now = Instant::now();
            noted.borrow_mut().push(now.saturating_duration_since(due).as_micros() as u64);
            while due <= now {
                due += EVERY;
            }
        });
        reactor.run().unwrap();
        late_us.take()
    });
    let (address, handle) = reported.recv().unwrap();
    let answered = storm(address, first);
    handle.shutdown();
    (reactor.join().unwrap(), answered)
}

fn storm(address: SocketAddr, first: &[u8]) -> usize {
    let connect = || {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.write_all(first).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    };
    let began = Instant::now();
    let mut sockets: Vec<_> = (0..IN_FLIGHT).map(|_| connect()).collect();
    let mut answered = 0;
    let mut buffer = [0; 4096];
    while began.elapsed() < ROUND {
        for socket in &mut sockets {
            match socket.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                _ => {
                    answered += 1;
                    *socket = connect();
                }
            }
        }
        // Without it, the clients would take the time of the server on a small machine.
        thread::sleep(Duration::from_millis(1));
    }
    answered
}
