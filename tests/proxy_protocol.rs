//! The PROXY protocol: connections whose client a load balancer names (HAProxy's
//! `proxy-protocol.txt`).

#[path = "support/story.rs"]
mod story;

use starwheel::{
    Config, Method, Peer, Response, Router, Sse, StatusCode, TrustedPeers,
    testing::{Client, ServerEnd, Simulation},
};

use story::{assert_closed, ms, secs};

const BALANCER: &str = "10.0.0.1:4711";
const STRANGER: &str = "203.0.113.9:4711";
const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 4712 80\r\n";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn server(set: impl FnOnce(&mut Config)) -> Simulation {
    let router = Router::new()
        .get("/", |req, _cx| {
            let client = req.client_ip().map_or_else(|| "none".into(), |ip| ip.to_string());
            Response::text(format!("{client} through {}", req.peer()))
        })
        .get("/stream", |_req, _cx| {
            Sse::new().on_connect(|stream| stream.send(stream.peer().to_string()))
        });
    let mut config = Config::default();
    set(&mut config);
    Simulation::with_config(config, 0, router)
}

fn at_most(connections: usize) -> Simulation {
    server(|config| config.limits.connections_per_ip = Some(connections))
}

/// A connection to a listener on which 10.0.0.0/8 names clients.
fn connect(simulation: &mut Simulation, address: &str) -> Client {
    let balancers = TrustedPeers::networks(["10.0.0.0/8"]).unwrap();
    simulation.connect_with_proxy_protocol(Peer::Ip(address.parse().unwrap()), &balancers)
}

/// The balancer names a client of this address, which sends a request; its first status.
fn announce(simulation: &mut Simulation, address: &str) -> (Client, u16) {
    let client = connect(simulation, BALANCER);
    let family = if address.contains(':') { "TCP6" } else { "TCP4" };
    let own = if address.contains(':') { "::1" } else { "10.0.0.9" };
    let header = format!("PROXY {family} {address} {own} 4712 80\r\n");
    simulation.send(client, &[header.as_bytes(), GET].concat());
    simulation.turn();
    (client, simulation.response(client).status)
}

/// Version 2, TCP over IPv4, with an extension.
fn v2(source: [u8; 4], extension: &[u8]) -> Vec<u8> {
    let [high, low] = (12 + extension.len() as u16).to_be_bytes();
    let ports = [0x12, 0x68, 0, 80];
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11", &[high, low][..], &source, &[10, 0, 0, 9], &ports, extension]
        .concat()
}

fn texts(simulation: &Simulation, client: Client) -> Vec<String> {
    simulation.responses(client).iter().map(|answer| answer.text().to_owned()).collect()
}

// Named clients.

#[test]
fn the_announced_address_is_the_peer_wherever_the_bytes_are_cut() {
    let mut v6 = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24".to_vec();
    v6.extend_from_slice(&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
    v6.extend_from_slice(&[0; 16]);
    v6.extend_from_slice(&[0x12, 0x68, 0, 80]);
    for (header, expected) in [
        (V1.to_vec(), "192.0.2.7 through 192.0.2.7:4712"),
        (
            b"PROXY TCP6 2001:db8::7 ::1 4712 80\r\n".to_vec(),
            "2001:db8::7 through [2001:db8::7]:4712",
        ),
        (v2([192, 0, 2, 7], b""), "192.0.2.7 through 192.0.2.7:4712"),
        (v2([192, 0, 2, 7], b"\x01\x00\x08http/1.1GET"), "192.0.2.7 through 192.0.2.7:4712"),
        (v6, "2001:db8::7 through [2001:db8::7]:4712"),
    ] {
        let bytes = [&header[..], GET, GET].concat();
        for cut in 0..bytes.len() {
            let mut simulation = server(|_| {});
            let client = connect(&mut simulation, BALANCER);
            for piece in [&bytes[..cut], &bytes[cut..]] {
                simulation.send(client, piece);
                simulation.turn();
            }
            assert_eq!(texts(&simulation, client), [expected; 2], "cut at {cut}");
        }
        let mut simulation = server(|_| {});
        let client = connect(&mut simulation, BALANCER);
        for byte in bytes {
            simulation.send(client, &[byte]);
            simulation.turn();
        }
        assert_eq!(texts(&simulation, client), [expected; 2]);
        assert_eq!(simulation.stats().refused.total(), 0);
    }
}

#[test]
fn a_stream_knows_the_announced_peer() {
    let mut simulation = server(|_| {});
    let client = connect(&mut simulation, BALANCER);
    simulation.send(client, &[V1, b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
    simulation.turn();
    assert_eq!(simulation.events(client)[0].data, "192.0.2.7:4712");
}

/// A health check, and a balancer that does not know the client or uses another protocol than TCP.
#[test]
fn a_balancer_that_announces_no_client_keeps_its_address() {
    let unix = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8"[..], &[0; 216]].concat();
    let datagrams = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c"[..], &[1; 12]].concat();
    let own = b"\r\n\r\n\0\r\nQUIT\n\x20\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\0\x01\0\x02";
    for header in [LOCAL, own, b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN a b\r\n", &unix, &datagrams] {
        let mut simulation = server(|_| {});
        let client = connect(&mut simulation, BALANCER);
        simulation.send(client, &[header, GET].concat());
        simulation.turn();
        let expected = "10.0.0.1 through 10.0.0.1:4711";
        assert_eq!(texts(&simulation, client), [expected], "{:?}", header.escape_ascii());
    }
}

#[test]
fn mapped_addresses_are_ipv4_on_both_sides() {
    let mut simulation = server(|_| {});
    let client = connect(&mut simulation, "[::ffff:10.0.0.1]:4711");
    let header = b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:10.0.0.9 4712 80\r\n";
    simulation.send(client, &[header, GET].concat());
    simulation.turn();
    assert_eq!(texts(&simulation, client), ["192.0.2.7 through 192.0.2.7:4712"]);
}

#[test]
fn a_unix_socket_can_be_trusted_to_announce() {
    let mut simulation = server(|_| {});
    let balancers = TrustedPeers::unix_sockets();
    let client = simulation.connect_with_proxy_protocol(Peer::Unix, &balancers);
    simulation.send(client, &[V1, GET].concat());
    simulation.turn();
    assert_eq!(texts(&simulation, client), ["192.0.2.7 through 192.0.2.7:4712"]);
}

/// The balancer names a proxy of ours, which names its client in a field.
#[test]
fn an_announced_proxy_is_trusted_like_a_connected_one() {
    let mut simulation = server(|config| {
        config.trusted_proxies = TrustedPeers::networks(["192.0.2.0/24"]).unwrap();
        config.limits.connections_per_ip = Some(1);
    });
    for _ in 0..3 {
        let client = connect(&mut simulation, BALANCER);
        simulation.send(client, V1);
        let fields = [("X-Forwarded-For", "198.51.100.5")];
        simulation.request(client, Method::Get, "/", &fields, b"");
        simulation.turn();
        assert_eq!(texts(&simulation, client), ["198.51.100.5 through 192.0.2.7:4712"]);
    }
    // The balancer itself is not one of them.
    let client = connect(&mut simulation, BALANCER);
    simulation.send(client, LOCAL);
    simulation.request(client, Method::Get, "/", &[("X-Forwarded-For", "198.51.100.5")], b"");
    simulation.turn();
    assert_eq!(texts(&simulation, client), ["10.0.0.1 through 10.0.0.1:4711"]);
}

// Refusals.

#[test]
fn a_peer_that_is_not_a_balancer_gets_a_bad_request() {
    for bytes in [&[V1, GET].concat()[..], GET, LOCAL, &v2([192, 0, 2, 7], b""), b"\0"] {
        let mut simulation = server(|_| {});
        let client = connect(&mut simulation, STRANGER);
        simulation.turn();
        assert_eq!(simulation.received(client), b"", "silence is not answered");
        simulation.send(client, bytes);
        simulation.send(client, GET);
        simulation.turn();
        assert_eq!(simulation.responses(client).len(), 1);
        assert_eq!(simulation.response(client).status, 400);
        assert!(simulation.response(client).text().contains("not a trusted proxy"));
        assert_closed(&simulation, client);
        let stats = simulation.stats();
        assert_eq!(
            (stats.requests, stats.refused.with(StatusCode::BAD_REQUEST), stats.refused.total()),
            (0, 1, 1)
        );
    }
    let mut simulation = server(|_| {});
    let client = simulation.connect_with_proxy_protocol(Peer::Unix, &TrustedPeers::none());
    simulation.send(client, V1);
    simulation.turn();
    assert_eq!(simulation.response(client).status, 400);
}

#[test]
fn a_listener_without_the_option_takes_a_header_for_a_bad_request() {
    for header in [V1, b"PROXY UNKNOWN\r\n", LOCAL, &v2([192, 0, 2, 7], b"")] {
        for address in [BALANCER, STRANGER] {
            let mut simulation = server(|config| {
                config.trusted_proxies = TrustedPeers::networks(["10.0.0.0/8"]).unwrap();
            });
            let client = simulation.connect_from(Peer::Ip(address.parse().unwrap()));
            simulation.send(client, &[header, GET].concat());
            simulation.turn();
            assert_eq!(simulation.responses(client).len(), 1);
            assert_eq!(simulation.response(client).status, 400);
            assert_closed(&simulation, client);
            assert_eq!(simulation.stats().requests, 0);
        }
    }
}

#[test]
fn a_missing_or_malformed_proxy_header_is_a_bad_request() {
    for (bytes, reason) in [
        (GET, "start the connection with"),
        (b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "start the connection with"),
        (b"\x16\x03\x01\x02\x00", "start the connection with"),
        (b"PROXY TCP4 192.0.2.7 10.0.0.9 4712 80\n", "malformed"),
        (b"PROXY TCP4 192.0.2.7 10.0.0.9 4712 99999\r\n", "malformed"),
        (b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c", "malformed"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0b", "malformed"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", "malformed"),
    ] {
        let mut simulation = server(|_| {});
        let client = connect(&mut simulation, BALANCER);
        for byte in bytes {
            simulation.send(client, &[*byte]);
            simulation.turn();
        }
        let answer = simulation.response(client);
        assert_eq!(answer.status, 400, "{:?}", bytes.escape_ascii());
        assert!(answer.text().contains(reason), "{}", answer.text());
        assert_closed(&simulation, client);
        assert_eq!(simulation.stats().refused.with(StatusCode::BAD_REQUEST), 1);
    }
}

#[test]
fn one_header_announces_and_a_second_one_is_a_bad_request() {
    let mut simulation = server(|_| {});
    let client = connect(&mut simulation, BALANCER);
    simulation.send(client, &[V1, GET, V1, GET].concat());
    simulation.turn();
    let statuses: Vec<_> = simulation.responses(client).iter().map(|it| it.status).collect();
    assert_eq!(statuses, [200, 400]);
    let client = connect(&mut simulation, BALANCER);
    simulation.send(client, &[V1, V1, GET].concat());
    simulation.turn();
    assert_eq!(simulation.response(client).status, 400);
}

// Timeouts, and ends.

#[test]
fn the_header_must_be_there_within_the_time_of_a_head_however_it_trickles() {
    let mut simulation = server(|_| {});
    let (silent, slow) = (connect(&mut simulation, BALANCER), connect(&mut simulation, BALANCER));
    let stranger = connect(&mut simulation, STRANGER);
    for byte in &V1[..9] {
        simulation.send(slow, &[*byte]);
        simulation.advance(secs(1));
    }
    simulation.advance(ms(999));
    assert_eq!([silent, slow, stranger].map(|client| simulation.is_open(client)), [true; 3]);
    simulation.advance(ms(1));
    assert_eq!([silent, slow, stranger].map(|client| simulation.is_open(client)), [false; 3]);
    assert_eq!((simulation.stats().timed_out, simulation.stats().connections), (3, 0));
}

#[test]
fn after_the_header_a_request_has_its_own_time() {
    let mut simulation = server(|_| {});
    let client = connect(&mut simulation, BALANCER);
    simulation.advance(secs(9));
    simulation.send(client, V1);
    simulation.advance(secs(9));
    simulation.send(client, GET);
    simulation.turn();
    assert_eq!(simulation.response(client).status, 200);
}

#[test]
fn a_short_health_check_is_not_a_failure() {
    for bytes in [&b""[..], LOCAL, b"PROXY UNKNOWN\r\n", &V1[..7], V1] {
        let mut simulation = at_most(1);
        let client = connect(&mut simulation, BALANCER);
        simulation.send(client, bytes);
        simulation.half_close(client);
        simulation.turn();
        assert!(!simulation.is_open(client));
        assert_eq!(simulation.received(client), b"");
        assert_eq!((simulation.stats().refused.total(), simulation.stats().connections), (0, 0));
    }
}

#[test]
fn a_reset_in_the_middle_of_a_header_leaves_nothing() {
    let mut simulation = at_most(1);
    for _ in 0..3 {
        let client = connect(&mut simulation, BALANCER);
        simulation.send(client, &V1[..20]);
        simulation.turn();
        simulation.reset(client);
        simulation.turn();
    }
    assert_eq!(simulation.stats().connections, 0);
    assert_eq!(announce(&mut simulation, "192.0.2.7").1, 200);
}

#[test]
fn a_drain_closes_connections_silent_for_a_second_and_serves_started_requests() {
    let mut simulation = server(|_| {});
    let (silent, begun) = (connect(&mut simulation, BALANCER), connect(&mut simulation, BALANCER));
    let stranger = connect(&mut simulation, STRANGER);
    simulation.send(begun, &V1[..9]);
    simulation.turn();
    simulation.drain(secs(5));
    simulation.advance(ms(999));
    assert!([silent, begun, stranger].iter().all(|&client| simulation.is_open(client)));
    simulation.advance(ms(1));
    assert_eq!(
        [silent, begun, stranger].map(|client| simulation.is_open(client)),
        [false, true, false]
    );
    simulation.send(begun, &[&V1[9..], GET].concat());
    simulation.turn();
    assert_eq!(simulation.response(begun).status, 200);
    assert_closed(&simulation, begun);
}

// Limits.

#[test]
fn caps_per_address_go_by_the_announced_address() {
    let mut simulation = at_most(2);
    let waiting: Vec<_> = (0..10).map(|_| connect(&mut simulation, BALANCER)).collect();
    let (first, status) = announce(&mut simulation, "192.0.2.7");
    assert_eq!(status, 200);
    assert_eq!(announce(&mut simulation, "::ffff:192.0.2.7").1, 200);
    let (third, status) = announce(&mut simulation, "192.0.2.7");
    assert_eq!(status, 429);
    assert!(simulation.response(third).text().contains("your address"));
    assert_closed(&simulation, third);
    assert_eq!(announce(&mut simulation, "192.0.2.8").1, 200);
    let networks =
        ["2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:1:ffff::3", "2001:db8:0:2::1"];
    assert_eq!(networks.map(|it| announce(&mut simulation, it).1), [200, 200, 429, 200]);
    simulation.reset(first);
    simulation.turn();
    assert_eq!(announce(&mut simulation, "192.0.2.7").1, 200, "only those who are served count");
    // One and the same address, with and without a balancer.
    let direct = simulation.connect_from(Peer::Ip("192.0.2.7:1".parse().unwrap()));
    simulation.send(direct, GET);
    simulation.turn();
    assert_eq!(simulation.response(direct).status, 429);
    for client in waiting {
        assert!(simulation.is_open(client));
    }
}

#[test]
fn the_balancers_own_connections_count_for_no_address() {
    let mut simulation = at_most(1);
    let clients: Vec<_> = (0..5).map(|_| connect(&mut simulation, BALANCER)).collect();
    for client in &clients {
        simulation.send(*client, &[LOCAL, GET].concat());
        simulation.turn();
        assert_eq!(simulation.response(*client).status, 200);
    }
    // Nor do their ends make room that is not theirs.
    let direct = [1, 2].map(|port| {
        let client = simulation.connect_from(Peer::Ip(([10, 0, 0, 1], port).into()));
        clients.iter().for_each(|client| simulation.reset(*client));
        simulation.send(client, GET);
        simulation.turn();
        simulation.response(client).status
    });
    assert_eq!(direct, [200, 429]);
}

#[test]
fn a_connection_over_the_total_limit_is_refused_after_its_header() {
    let mut simulation = server(|config| config.limits.connections = Some(1));
    let first = connect(&mut simulation, BALANCER);
    let (second, status) = announce(&mut simulation, "192.0.2.7");
    assert_eq!(status, 503);
    assert_closed(&simulation, second);
    // With the timeout of one head for everything, counted from the start.
    let slow = connect(&mut simulation, BALANCER);
    simulation.advance(secs(6));
    simulation.send(slow, V1);
    simulation.advance(ms(3_999));
    assert!(simulation.is_open(slow));
    simulation.advance(ms(1));
    assert!(!simulation.is_open(slow));
    assert!(!simulation.is_open(first), "which never sent a header");
}

#[test]
fn far_too_many_of_an_announced_address_are_reset() {
    let mut simulation = at_most(0);
    let clients: Vec<_> = (0..257).map(|_| connect(&mut simulation, BALANCER)).collect();
    for client in &clients {
        simulation.send(*client, V1);
    }
    simulation.turn();
    let (rejected, reset) = clients.split_at(256);
    assert_eq!(simulation.server_end(reset[0]), Some(ServerEnd::Reset));
    assert_eq!((simulation.stats().resets, simulation.stats().connections), (1, 256));
    for client in rejected {
        simulation.send(*client, GET);
    }
    simulation.turn();
    assert_eq!(simulation.stats().refused.with(StatusCode::TOO_MANY_REQUESTS), 256);
    simulation.advance(secs(60));
    assert_eq!(simulation.stats().connections, 0);
}
