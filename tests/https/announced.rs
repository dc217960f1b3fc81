//! Handshakes of clients that a load balancer announces: what may come after its header, how long
//! it may take, and how much of it is kept.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use starwheel::{
    Config, Limits, ListenOptions, Peer as Address, Response, ReusePort, Router, TrustedPeers,
    Workers,
    testing::{Client, ServerEnd, Simulation},
};

use crate::localhost::{HttpsClient, Localhost};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const V1: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.9 4712 443\r\n";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
const BALANCER: &str = "10.0.0.1:4711";

fn server(set: impl FnOnce(&mut Limits)) -> Simulation {
    let mut config = Config::default();
    set(&mut config.limits);
    let router = Router::new().get("/", |req, _cx| {
        Response::text(format!("{} {}", req.peer(), if req.is_secure() { "TLS" } else { "-" }))
    });
    Simulation::with_config(config, 0, router)
}

fn connect(simulation: &mut Simulation, localhost: &Localhost) -> Client {
    let balancers = TrustedPeers::networks(["10.0.0.0/8"]).unwrap();
    let peer = Address::Ip(BALANCER.parse().unwrap());
    simulation.connect_tls_with_proxy_protocol(&localhost.server, peer, &balancers)
}

/// A client, and the hello that it sends after the header.
fn client(simulation: &mut Simulation, localhost: &Localhost) -> (HttpsClient, Vec<u8>) {
    let mut client = HttpsClient::new(connect(simulation, localhost), localhost.session());
    let hello = client.seal(b"");
    (client, hello)
}

/// Version 2, TCP over IPv4, with these type-length-values.
fn v2(extension: &[u8]) -> Vec<u8> {
    let [high, low] = (12 + extension.len() as u16).to_be_bytes();
    let fixed = [192, 0, 2, 7, 10, 0, 0, 9, 0x12, 0x68, 1, 0xbb];
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11", &[high, low][..], &fixed, extension].concat()
}

/// What HAProxy adds with `send-proxy-v2-ssl-cn` and `proxy-v2-options authority`: it has ended
/// another TLS connection. Nothing of it counts here.
fn tls_extension() -> Vec<u8> {
    let version = [&[0x21, 0, 7][..], b"TLSv1.3"].concat();
    let name = [&[0x22, 0, 5][..], b"admin"].concat();
    let ssl = [&[7, 0, 0, 0, 0][..], &version, &name].concat();
    let authority = [&[2, 0, 9][..], b"localhost"].concat();
    [&authority[..], &[0x20, 0, ssl.len() as u8], &ssl].concat()
}

#[test]
fn every_form_of_the_header_may_be_cut_anywhere() {
    let localhost = Localhost::new();
    for (header, expected) in [
        (V1.to_vec(), "192.0.2.7:4712 TLS"),
        (b"PROXY TCP6 2001:db8::7 ::1 4712 443\r\n".to_vec(), "[2001:db8::7]:4712 TLS"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "10.0.0.1:4711 TLS"),
        (v2(&[]), "192.0.2.7:4712 TLS"),
        (v2(&tls_extension()), "192.0.2.7:4712 TLS"),
        (v2(&[0xee; 1000]), "192.0.2.7:4712 TLS"),
        (LOCAL.to_vec(), "10.0.0.1:4711 TLS"),
    ] {
        let cuts = (0..header.len().min(90)).chain(header.len() - 2..header.len() + 7);
        for cut in cuts {
            let mut simulation = server(|_| {});
            let (mut client, hello) = client(&mut simulation, &localhost);
            let flight = [&header[..], &hello].concat();
            simulation.send(client.client, &flight[..cut]);
            simulation.turn();
            simulation.send(client.client, &flight[cut..]);
            client.send(&mut simulation, GET);
            assert!(client.text().ends_with(expected), "cut at {cut}: {}", client.text());
            let tls = simulation.stats().tls;
            assert_eq!((tls.handshakes, tls.partial_bytes), (1, 0));
        }
    }
}

/// Also together in one read, each with the first byte of the next.
#[test]
fn one_byte_at_a_time_is_enough() {
    let localhost = Localhost::new();
    let mut simulation = server(|_| {});
    let (mut client, hello) = client(&mut simulation, &localhost);
    for byte in [V1, &hello].concat() {
        simulation.send(client.client, &[byte]);
        simulation.turn();
    }
    client.piece_bytes = 1;
    client.send(&mut simulation, GET);
    assert!(client.text().ends_with("192.0.2.7:4712 TLS"), "{}", client.text());
}

#[test]
fn a_request_in_the_clear_after_the_header_gets_an_alert() {
    let localhost = Localhost::new();
    for pieces in [vec![[V1, GET].concat()], vec![V1.to_vec(), GET.to_vec()]] {
        let mut simulation = server(|_| {});
        let client = connect(&mut simulation, &localhost);
        for piece in pieces {
            simulation.send(client, &piece);
            simulation.turn();
        }
        assert_eq!(simulation.received(client), [21, 3, 3, 0, 2, 2, 10]);
        let stats = simulation.stats();
        assert_eq!((stats.tls.failed.not_tls, stats.requests, stats.connections), (1, 0, 0));
    }
}

#[test]
fn a_header_that_does_not_end_is_no_handshake() {
    let localhost = Localhost::new();
    for (sent, seconds) in [(&b""[..], 10), (b"PROXY TCP4 192.0.2.7 ", 10), (&LOCAL[..15], 10)] {
        let mut simulation = server(|_| {});
        let client = connect(&mut simulation, &localhost);
        simulation.send(client, sent);
        simulation.advance(Duration::from_secs(seconds) - Duration::from_millis(1));
        assert_eq!(simulation.stats().connections, 1);
        simulation.advance(Duration::from_millis(1));
        let (stats, tls) = (simulation.stats(), simulation.stats().tls);
        assert_eq!((stats.timed_out, tls.handshaking, tls.failed.total()), (1, 0, 0));
        simulation.half_close(client);
        simulation.turn();
        assert_eq!(simulation.stats().connections, 0, "{sent:?}");
    }
}

/// The header ends five seconds after accept, and the handshake has all of its time.
#[test]
fn the_time_of_a_handshake_begins_with_the_end_of_the_header() {
    let localhost = Localhost::new();
    for hello_bytes in [0, 1, 5, 100] {
        let mut simulation = server(|limits| limits.tls_handshake_timeout = Duration::from_secs(7));
        let (client, hello) = client(&mut simulation, &localhost);
        simulation.send(client.client, &V1[..20]);
        simulation.advance(Duration::from_secs(5));
        simulation.send(client.client, &[&V1[20..], &hello[..hello_bytes]].concat());
        simulation.advance(Duration::from_millis(6_999));
        let tls = simulation.stats().tls;
        assert_eq!((tls.handshaking, tls.partial_bytes), (1, hello_bytes as u64));
        simulation.advance(Duration::from_millis(1));
        let (stats, tls) = (simulation.stats(), simulation.stats().tls);
        assert_eq!((tls.handshaking, tls.failed.timed_out, tls.partial_bytes), (0, 1, 0));
        assert_eq!((stats.connections, stats.timed_out), (0, 1), "{hello_bytes}");
        assert_eq!(simulation.server_end(client.client), Some(ServerEnd::Fin));
    }
}

#[test]
fn a_client_that_leaves_after_the_header_is_counted_once() {
    let localhost = Localhost::new();
    for hello_bytes in [0, 5, 100] {
        for leave in [Simulation::half_close, Simulation::reset] {
            let mut simulation = server(|_| {});
            let (client, hello) = client(&mut simulation, &localhost);
            simulation.send(client.client, &[V1, &hello[..hello_bytes]].concat());
            leave(&mut simulation, client.client);
            simulation.turn();
            let tls = simulation.stats().tls;
            let failed = tls.failed.total();
            assert_eq!((tls.handshaking, failed, tls.partial_bytes), (0, tls.failed.closed, 0));
            assert!(failed <= 1 && simulation.stats().connections == 0);
        }
    }
}

/// Those that get no answer are reset before a handshake: it would cost more than they are due.
#[test]
fn a_client_far_over_its_limit_begins_no_handshake() {
    let localhost = Localhost::new();
    let mut simulation = server(|limits| limits.connections_per_ip = Some(1));
    let mut wires = Vec::new();
    for _ in 0..300 {
        let (client, hello) = client(&mut simulation, &localhost);
        simulation.send(client.client, &[V1, &hello[..50]].concat());
        simulation.turn();
        wires.push(client.client);
    }
    let (stats, tls) = (simulation.stats(), simulation.stats().tls);
    assert!(stats.resets > 0, "the test needs more clients");
    assert_eq!(tls.handshaking + stats.resets, 300);
    assert_eq!(tls.failed.total(), 0, "none of them began");
    assert_eq!(simulation.server_end(*wires.last().unwrap()), Some(ServerEnd::Reset));
}

/// Bytes that came with the header are of a handshake, too.
#[test]
fn what_comes_with_the_header_is_bounded_for_all_together() {
    let localhost = Localhost::new();
    let endless = [&[22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff][..], &[0; 16_380]].concat();
    let flight = [V1, &endless].concat();
    let mut simulation = server(|limits| {
        limits.tls_partial_bytes = 40_000;
        limits.tls_handshake_share = Duration::ZERO; // All but one wait for their first step.
    });
    let clients: Vec<_> = (0..20).map(|_| connect(&mut simulation, &localhost)).collect();
    clients.iter().for_each(|client| simulation.send(*client, &flight));
    let mut has_more = true;
    while has_more {
        has_more = simulation.turn_once();
        let partial_bytes = simulation.stats().tls.partial_bytes;
        assert!(partial_bytes <= 40_000, "{partial_bytes}");
    }
    let tls = simulation.stats().tls;
    assert_eq!((tls.failed.overload, tls.handshaking), (18, 2));
    assert_eq!(simulation.received(clients[10]), [21, 3, 3, 0, 2, 2, 80]);
}

#[test]
fn handshakes_after_headers_have_the_share_of_all_handshakes() {
    let localhost = Localhost::new();
    let mut simulation = server(|limits| limits.tls_handshake_share = Duration::from_micros(600));
    let mut clients: Vec<_> = (0..60).map(|_| client(&mut simulation, &localhost)).collect();
    for (client, hello) in &clients {
        simulation.send(client.client, &[V1, hello].concat());
    }
    let (mut answered, mut has_more) = (0, true);
    while has_more {
        has_more = simulation.turn_once();
        let is_answered = |it: &HttpsClient| !simulation.received(it.client).is_empty();
        let first = clients.iter().take_while(|(it, _)| is_answered(it)).count();
        let all = clients.iter().filter(|(it, _)| is_answered(it)).count();
        assert_eq!(all, first, "in order");
        assert!(first - answered <= 4, "{answered} and then {first}");
        answered = first;
    }
    for (client, _) in &mut clients {
        client.send(&mut simulation, GET);
        assert!(client.text().ends_with("192.0.2.7:4712 TLS"), "{}", client.text());
    }
}

#[test]
fn a_drain_waits_a_second_for_a_handshake_after_a_header() {
    let localhost = Localhost::new();
    let mut simulation = server(|_| {});
    let (mut prompt, hello) = client(&mut simulation, &localhost);
    simulation.send(prompt.client, &V1[..10]);
    let silent = connect(&mut simulation, &localhost);
    simulation.send(silent, V1);
    simulation.drain(Duration::from_secs(10));
    simulation.advance(Duration::from_millis(900));
    simulation.send(prompt.client, &[&V1[10..], &hello].concat());
    prompt.send(&mut simulation, GET);
    assert!(prompt.text().ends_with("192.0.2.7:4712 TLS"), "{}", prompt.text());
    simulation.advance(Duration::from_millis(100));
    assert!(simulation.server_end(silent).is_some());
}

/// A redirecting listener and one with TLS behind the same balancer, on all workers, wherever their
/// sockets come from.
#[test]
fn workers_behind_a_balancer_redirect_and_serve() {
    for reuse_port in [ReusePort::Exclusive, ReusePort::Shared] {
        let localhost = Localhost::new();
        let workers = Workers::new(2, |_worker| {
            Router::new().get("/", |req, _cx| Response::text(req.peer().to_string()))
        });
        let workers = workers.unwrap();
        let balancers = || TrustedPeers::networks(["127.0.0.0/8"]).unwrap();
        let options = ListenOptions::new().reuse_port(reuse_port).proxy_protocol(balancers());
        let secured = options.clone().tls(localhost.server.clone());
        let https = workers.listen_with("127.0.0.1:0", secured).unwrap();
        let redirecting = options.redirect_to_https(https.port());
        let http = workers.listen_with("127.0.0.1:0", redirecting).unwrap();
        let handle = workers.handle();
        let running = std::thread::spawn(move || workers.run().unwrap());
        for cut in [0, 1, 11, 20, V1.len() - 1, V1.len()] {
            let connect = |address| {
                let mut socket = TcpStream::connect(address).unwrap();
                socket.set_nodelay(true).unwrap();
                socket.write_all(&V1[..cut]).unwrap();
                socket.write_all(&V1[cut..]).unwrap();
                socket
            };
            let mut socket = connect(http);
            socket.write_all(GET).unwrap();
            let mut text = String::new();
            socket.read_to_string(&mut text).unwrap();
            let location = format!("\r\nLocation: https://localhost:{}/\r\n", https.port());
            assert!(text.starts_with("HTTP/1.1 308 ") && text.contains(&location), "{text}");
            let mut socket = connect(https);
            let mut session = localhost.session();
            let mut stream = rustls::Stream::new(&mut session, &mut socket);
            stream.write_all(GET).unwrap();
            let mut bytes = [0; 1000];
            let mut text = String::new();
            while !text.ends_with("192.0.2.7:4712") {
                let count = stream.read(&mut bytes).unwrap();
                assert!(count > 0, "{text}");
                text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
            }
        }
        let failed = handle.stats().tls.failed;
        assert_eq!((failed.not_tls, failed.refused), (0, 0));
        handle.shutdown();
        running.join().unwrap();
    }
}
