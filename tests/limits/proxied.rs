//! Addresses of clients behind trusted proxies, and limits that use them.

use starwheel::{
    Config, ForwardedField, Method, Peer, Response, Router, Sse, StatusCode, TrustedPeers,
    testing::{Client, ServerEnd, Simulation},
};

use crate::story::{assert_closed, data};

const PROXY: &str = "10.0.0.1:4711";

/// A server behind the proxies of 10.0.0.0/8 that limits the connections of each address.
fn server(set: impl FnOnce(&mut Config)) -> Simulation {
    let router = Router::new()
        .get("/", |req, _cx| {
            let client =
                req.client_ip().map_or_else(|| "none".into(), |address| address.to_string());
            Response::text(format!("{client} through {}", req.peer()))
        })
        .get("/stream", |_req, _cx| Sse::new().send("born"));
    let mut config = Config::default();
    config.trusted_proxies = TrustedPeers::networks(["10.0.0.0/8"]).unwrap();
    set(&mut config);
    Simulation::with_config(config, 0, router)
}

fn at_most(connections: usize) -> Simulation {
    server(|config| config.limits.connections_per_ip = Some(connections))
}

fn connect(simulation: &mut Simulation, address: &str) -> Client {
    simulation.connect_from(Peer::Ip(address.parse().unwrap()))
}

/// The client's address according to the server, for these lines of `X-Forwarded-For`.
fn who(simulation: &mut Simulation, peer: Peer, lines: &[&str]) -> String {
    let client = simulation.connect_from(peer);
    let fields: Vec<_> = lines.iter().map(|line| ("X-Forwarded-For", *line)).collect();
    simulation.request(client, Method::Get, "/", &fields, b"");
    simulation.turn();
    simulation.response(client).text().to_owned()
}

/// A proxy requests a stream for a client; the response comes in the next turn.
fn ask(simulation: &mut Simulation, proxy: Client, client: &str, accept: &str) {
    let fields = [("X-Forwarded-For", client), ("Accept", accept)];
    simulation.request(proxy, Method::Get, "/stream", &fields, b"");
}

/// A new connection of the proxy with a stream for a client, and the status it was answered with.
fn open(simulation: &mut Simulation, client: &str) -> (Client, u16) {
    let proxy = connect(simulation, PROXY);
    ask(simulation, proxy, client, "");
    simulation.turn();
    (proxy, simulation.responses(proxy).pop().expect("an answer").status)
}

// The client's address.

#[test]
fn behind_a_trusted_proxy_the_client_address_comes_from_its_header() {
    let mut simulation = server(|_| {});
    let proxy = Peer::Ip(PROXY.parse().unwrap());
    for (lines, client) in [
        (&["192.0.2.7"][..], "192.0.2.7"),
        // HAProxy adds a line to the one that the client has sent, nginx a member.
        (&["203.0.113.9", "192.0.2.7"], "192.0.2.7"),
        (&["203.0.113.9, 192.0.2.7"], "192.0.2.7"),
        (&["203.0.113.9", "192.0.2.7, 10.9.9.9"], "192.0.2.7"),
        (&[], "10.0.0.1"),
        (&["203.0.113.9, unknown"], "10.0.0.1"),
    ] {
        let expected = format!("{client} through 10.0.0.1:4711");
        assert_eq!(who(&mut simulation, proxy, lines), expected, "{lines:?}");
    }
}

#[test]
fn nobody_else_is_believed() {
    let mut simulation = server(|_| {});
    let stranger = Peer::Ip("192.0.2.1:80".parse().unwrap());
    let address = who(&mut simulation, stranger, &["203.0.113.9"]);
    assert_eq!(address, "192.0.2.1 through 192.0.2.1:80");
    assert_eq!(who(&mut simulation, Peer::Unix, &["203.0.113.9"]), "none through unix");
    let mut trusts_nobody = server(|config| config.trusted_proxies = TrustedPeers::none());
    let address = who(&mut trusts_nobody, Peer::Ip(PROXY.parse().unwrap()), &["203.0.113.9"]);
    assert_eq!(address, "10.0.0.1 through 10.0.0.1:4711");
}

#[test]
fn unix_sockets_can_be_trusted_and_the_field_can_be_another() {
    let mut simulation = server(|config| {
        config.trusted_proxies = TrustedPeers::unix_sockets();
        config.forwarded_field = ForwardedField::Forwarded;
    });
    let client = simulation.connect_from(Peer::Unix);
    let fields = [("X-Forwarded-For", "203.0.113.9"), ("Forwarded", "for=\"[2001:db8::7]:80\"")];
    simulation.request(client, Method::Get, "/", &fields, b"");
    simulation.request(client, Method::Get, "/", &[], b"");
    simulation.turn();
    let texts: Vec<_> =
        simulation.responses(client).iter().map(|it| it.text().to_owned()).collect();
    assert_eq!(texts, ["2001:db8::7 through unix", "none through unix"]);
}

/// A listener for both families reports IPv4 clients as `::ffff:192.0.2.7`.
#[test]
fn ipv4_mapped_peers_are_ipv4_everywhere() {
    let mut simulation = server(|_| {});
    let mapped = Peer::Ip("[::ffff:192.0.2.7]:80".parse().unwrap());
    assert_eq!(who(&mut simulation, mapped, &[]), "192.0.2.7 through 192.0.2.7:80");
    let proxy = Peer::Ip("[::ffff:10.0.0.1]:80".parse().unwrap());
    let address = who(&mut simulation, proxy, &["::ffff:192.0.2.7"]);
    assert_eq!(address, "192.0.2.7 through 10.0.0.1:80");
}

// Limits by that address.

#[test]
fn a_trusted_proxy_may_have_any_number_of_connections() {
    let mut simulation = at_most(1);
    let proxies: Vec<_> = (0..20).map(|_| connect(&mut simulation, PROXY)).collect();
    for proxy in proxies {
        simulation.request(proxy, Method::Get, "/", &[("X-Forwarded-For", "192.0.2.7")], b"");
        simulation.turn();
        assert_eq!(simulation.response(proxy).status, 200);
    }
    let direct = ["192.0.2.7:1", "192.0.2.7:2"].map(|it| connect(&mut simulation, it));
    for (client, status) in direct.into_iter().zip([200, 429]) {
        simulation.request(client, Method::Get, "/", &[], b"");
        simulation.turn();
        assert_eq!(simulation.response(client).status, status, "all others are counted as before");
    }
}

#[test]
fn streams_through_a_trusted_proxy_count_for_the_address_of_their_client() {
    let mut simulation = at_most(2);
    let statuses = ["192.0.2.7", "::ffff:192.0.2.7", "192.0.2.7:80", "192.0.2.8", "192.0.2.7"]
        .map(|client| open(&mut simulation, client).1);
    assert_eq!(statuses, [200, 200, 429, 200, 429]);
    let networks =
        ["2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:1:ffff::3", "2001:db8:0:2::1"];
    assert_eq!(networks.map(|client| open(&mut simulation, client).1), [200, 200, 429, 200]);
    assert_eq!(
        (
            simulation.stats().streams,
            simulation.stats().refused.with(StatusCode::TOO_MANY_REQUESTS)
        ),
        (6, 3)
    );
}

#[test]
fn a_stream_over_the_limit_of_its_address_is_refused_in_the_form_it_understands() {
    let mut simulation = at_most(0);
    let (plain, status) = open(&mut simulation, "192.0.2.7");
    assert_eq!(status, 429);
    assert!(simulation.response(plain).text().contains("your address"));
    assert_closed(&simulation, plain);
    let proxy = connect(&mut simulation, PROXY);
    ask(&mut simulation, proxy, "192.0.2.7", "text/event-stream");
    simulation.turn();
    assert_eq!(simulation.response(proxy).status, 200);
    assert_eq!(data(&simulation, proxy), Vec::<String>::new());
    assert_eq!(simulation.server_end(proxy), Some(ServerEnd::Fin));
    assert_eq!(
        (simulation.stats().opened, simulation.stats().refused.with(StatusCode::TOO_MANY_REQUESTS)),
        (0, 2)
    );
}

#[test]
fn direct_connections_and_streams_through_a_proxy_are_one_count() {
    let mut simulation = at_most(2);
    let direct = connect(&mut simulation, "192.0.2.7:1");
    assert_eq!(open(&mut simulation, "192.0.2.7").1, 200);
    assert_eq!(open(&mut simulation, "192.0.2.7").1, 429);
    simulation.reset(direct);
    simulation.turn();
    assert_eq!(open(&mut simulation, "192.0.2.7").1, 200);
}

/// A reload: the FIN of the old stream and the request for the new one arrive in one turn.
#[test]
fn a_stream_that_ends_makes_room_at_once() {
    let mut simulation = at_most(1);
    let (mut last, _) = open(&mut simulation, "192.0.2.7");
    for _ in 0..3 {
        let next = connect(&mut simulation, PROXY);
        ask(&mut simulation, next, "192.0.2.7", "");
        simulation.half_close(last);
        simulation.turn();
        assert_eq!(data(&simulation, next), ["born"]);
        last = next;
    }
    simulation.run(|cx| {
        let ids: Vec<_> = cx.streams().collect();
        ids.into_iter().for_each(|id| assert!(cx.close(id, starwheel::Ending::Finish)));
    });
    assert_eq!(open(&mut simulation, "192.0.2.7").1, 200);
    assert_eq!(open(&mut simulation, "192.0.2.7").1, 429);
}

/// One connection of a proxy serves many clients, one after the other.
#[test]
fn a_reused_proxy_connection_counts_for_no_client_between_streams() {
    let mut config = Config::default();
    config.trusted_proxies = TrustedPeers::networks(["10.0.0.0/8"]).unwrap();
    config.limits.connections_per_ip = Some(1);
    let router = Router::new()
        .get("/stream", |_req, _cx| Sse::new().send("x").ending(starwheel::Ending::Finish));
    let mut simulation = Simulation::with_config(config, 0, router);
    let proxies = [(); 3].map(|()| connect(&mut simulation, PROXY));
    for proxy in proxies.into_iter().chain(proxies) {
        ask(&mut simulation, proxy, "192.0.2.7", "");
        simulation.turn();
        assert_eq!(simulation.responses(proxy).pop().unwrap().status, 200);
    }
    assert_eq!(simulation.stats().connections, 3);
}

#[test]
fn entries_that_are_not_addresses_are_not_counted() {
    let mut simulation = at_most(1);
    for client in ["unknown", "10.0.0.9", "", "192.0.2.7, -", "10.0.0.9"] {
        assert_eq!(open(&mut simulation, client).1, 200, "{client}");
        assert_eq!(open(&mut simulation, client).1, 200, "{client}");
    }
}
