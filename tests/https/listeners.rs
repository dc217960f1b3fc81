//! Listeners with options, workers, and sockets that others have accepted, all with TLS.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
};

use rustls::HandshakeKind;
use starwheel::{
    ListenOptions, Peer as Address, Reactor, Response, ReusePort, Router, TlsConfig, TlsProblem,
    TrustedPeers, Workers,
    testing::{ServerEnd, Simulation},
};

use crate::{
    Peer,
    localhost::{Authority, HttpsClient, Issued, Localhost},
    server::Server,
};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const HEADER: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.9 4712 443\r\n";

fn peers() -> Router {
    Router::new().get("/", |req, _cx| Response::text(req.peer().to_string()))
}

fn balancers() -> TrustedPeers {
    TrustedPeers::networks(["10.0.0.0/8"]).unwrap()
}

fn balancer() -> Address {
    Address::Ip("10.0.0.1:4711".parse().unwrap())
}

/// Header and handshake may come in any pieces, also in one.
#[test]
fn a_proxy_protocol_header_comes_before_the_handshake_wherever_it_is_cut() {
    let localhost = Localhost::new();
    for cut in (0..HEADER.len() + 10).chain([150, usize::MAX]) {
        let mut simulation = Simulation::new(peers());
        let wire =
            simulation.connect_tls_with_proxy_protocol(&localhost.server, balancer(), &balancers());
        let mut session = localhost.session();
        let mut hello = Vec::new();
        session.write_tls(&mut hello).unwrap();
        let flight = [HEADER, &hello].concat();
        let cut = cut.min(flight.len());
        simulation.send(wire, &flight[..cut]);
        simulation.turn();
        simulation.send(wire, &flight[cut..]);
        let mut client = HttpsClient::new(wire, session);
        client.send(&mut simulation, GET);
        assert!(client.text().ends_with("192.0.2.7:4712"), "cut at {cut}: {}", client.text());
    }
}

#[test]
fn without_a_header_or_from_others_a_client_is_refused_in_the_clear() {
    let localhost = Localhost::new();
    let stranger = Address::Ip("192.0.2.1:4711".parse().unwrap());
    for (peer, header) in [(balancer(), &b""[..]), (stranger, HEADER)] {
        let mut simulation = Simulation::new(peers());
        let wire =
            simulation.connect_tls_with_proxy_protocol(&localhost.server, peer, &balancers());
        let mut hello = Vec::new();
        localhost.session().write_tls(&mut hello).unwrap();
        simulation.send(wire, &[header, &hello].concat());
        simulation.turn();
        let received = simulation.take_received(wire);
        assert!(received.starts_with(b"HTTP/1.1 400 "), "{peer}");
        assert_eq!(simulation.stats().refused.total(), 1);
        simulation.half_close(wire);
        simulation.turn();
        assert!(simulation.server_end(wire).is_some_and(|end| end == ServerEnd::Fin));
    }
}

/// Behind a balancer, the limits of an address hold for the client that the header names.
#[test]
fn a_client_over_its_limit_is_refused_over_tls() {
    let localhost = Localhost::new();
    let mut config = starwheel::Config::default();
    config.limits.connections_per_ip = Some(1);
    let mut simulation = Simulation::with_config(config, 0, peers());
    let mut texts = Vec::new();
    let clients: Vec<_> = (0..2)
        .map(|_| {
            let server = &localhost.server;
            let wire = simulation.connect_tls_with_proxy_protocol(server, balancer(), &balancers());
            simulation.send(wire, HEADER);
            let mut client = HttpsClient::new(wire, localhost.session());
            client.send(&mut simulation, GET);
            texts.push(client.text());
            client
        })
        .collect();
    assert!(texts[0].starts_with("HTTP/1.1 200 "), "{texts:?}");
    assert!(texts[1].starts_with("HTTP/1.1 429 "), "{texts:?}");
    drop(clients);
}

#[test]
fn a_unix_socket_may_speak_tls_after_a_header() {
    let localhost = Localhost::new();
    let path = std::env::temp_dir().join(format!("starwheel-{}-tls.sock", std::process::id()));
    let _none = std::fs::remove_file(&path);
    let (server, bound) = (localhost.server.clone(), path.clone());
    let _server = Server::start(move || {
        let mut reactor = Reactor::new(peers()).unwrap();
        let options = ListenOptions::new().tls(server).proxy_protocol(TrustedPeers::unix_sockets());
        reactor.listen_on_with(UnixListener::bind(&bound).unwrap(), options).unwrap();
        (reactor, ([127, 0, 0, 1], 1).into())
    });
    let mut socket = UnixStream::connect(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    socket.write_all(HEADER).unwrap();
    let mut session = localhost.session();
    let mut stream = rustls::Stream::new(&mut session, &mut socket);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("192.0.2.7:4712"), "{text}");
}

/// Another server has looked at the first bytes.
#[test]
fn a_socket_is_adopted_with_the_bytes_of_its_handshake() {
    let localhost = Localhost::new();
    let server = Server::serving(peers);
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    for read_bytes in [0, 1, 5, 100, usize::MAX] {
        let mut socket = TcpStream::connect(elsewhere.local_addr().unwrap()).unwrap();
        let (mut accepted, _) = elsewhere.accept().unwrap();
        let mut session = localhost.session();
        let mut hello = Vec::new();
        session.write_tls(&mut hello).unwrap();
        socket.write_all(&hello).unwrap();
        let mut early = vec![0; hello.len().min(read_bytes)];
        accepted.read_exact(&mut early).unwrap();
        server.handle.adopt_tls(accepted, early, localhost.server.clone()).unwrap();
        let mut stream = rustls::Stream::new(&mut session, &mut socket);
        stream.write_all(GET).unwrap();
        let mut bytes = [0; 1000];
        let count = stream.read(&mut bytes).unwrap();
        assert!(bytes[..count].starts_with(b"HTTP/1.1 200 OK"), "after {read_bytes}");
        socket.shutdown(Shutdown::Both).unwrap();
    }
}

#[test]
fn a_reload_reaches_all_workers_from_any_of_their_handles() {
    let authority = Authority::new();
    let config = |issued: &Issued| TlsConfig::builder(issued.certificate()).build().unwrap();
    for reuse_port in [ReusePort::Exclusive, ReusePort::Shared] {
        let [old, of_one, of_all] = [(); 3].map(|()| authority.issue("localhost"));
        let workers = Workers::new(2, |_worker| peers()).unwrap();
        let options = ListenOptions::new().reuse_port(reuse_port).tls(config(&old));
        let address = workers.listen_with("127.0.0.1:0", options).unwrap();
        let handle = workers.handle();
        let running = std::thread::spawn(move || workers.run().unwrap());
        let shown = || {
            // On either worker, as the kernel decides.
            let seen = (0..20).map(|_| {
                let mut peer = Peer::connect(address, &authority.client(None));
                peer.get("/");
                peer.read_until("127.0.0.1:");
                peer.certificate().to_vec()
            });
            let mut seen: Vec<_> = seen.collect();
            seen.dedup();
            seen
        };
        assert_eq!(shown(), [old.der().as_ref()]);
        handle.workers()[1].reload_tls(config(&of_one)).unwrap();
        assert_eq!(shown(), [of_one.der().as_ref()]);
        handle.reload_tls(config(&of_all)).unwrap();
        assert_eq!(shown(), [of_all.der().as_ref()]);
        handle.shutdown();
        running.join().unwrap();
        let closed = handle.reload_tls(config(&old));
        assert_eq!(closed.unwrap_err().problem(), TlsProblem::NoListener);
    }
}

#[test]
fn a_session_of_one_worker_is_resumed_by_another() {
    let localhost = Localhost::new();
    let workers = Workers::new(2, |_worker| peers()).unwrap();
    let address = workers.listen_tls("127.0.0.1:0", localhost.server.clone()).unwrap();
    let handle = workers.handle();
    let running = std::thread::spawn(move || workers.run().unwrap());
    let kinds: Vec<_> = (0..20)
        .map(|_| {
            let mut peer = Peer::connect(address, &localhost.client);
            peer.get("/");
            peer.read_until("127.0.0.1:");
            peer.kind()
        })
        .collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == HandshakeKind::Full).count(), 1);
    handle.shutdown();
    running.join().unwrap();
}
