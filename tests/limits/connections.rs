//! Limits of connections and streams, and the responses to those over them.

use starwheel::{
    Config, Ending, Method, Peer, Response, Router, Sse, StatusCode,
    testing::{Client, ServerEnd, Simulation},
};

use crate::story::{Diary, assert_closed, ms, secs};

/// A server with one route for each kind of response, which records the requests to its handlers.
fn server(set: impl FnOnce(&mut Config)) -> (Simulation, Diary) {
    let diary = Diary::default();
    let (responses, streams) = (diary.clone(), diary.clone());
    let router = Router::new()
        .get("/", move |_req, _cx| {
            responses.note("response");
            Response::text("hello")
        })
        .get("/stream", move |req, _cx| {
            streams.note("stream");
            let ends = streams.clone();
            let stream = Sse::new().on_disconnect(move |_, _, reason| ends.note(reason));
            match req.query() {
                Some(tag) => stream.tag(tag).on_connect(|stream| stream.send("born")),
                None => stream,
            }
        });
    let mut config = Config::default();
    set(&mut config);
    (Simulation::with_config(config, 0, router), diary)
}

fn at_most(connections: usize) -> (Simulation, Diary) {
    server(|config| config.limits.connections = Some(connections))
}

fn at_most_per_address(connections: usize) -> (Simulation, Diary) {
    server(|config| config.limits.connections_per_ip = Some(connections))
}

fn from(simulation: &mut Simulation, address: &str) -> Client {
    simulation.connect_from(Peer::Ip(address.parse().unwrap()))
}

fn ask(simulation: &mut Simulation, client: Client) -> u16 {
    simulation.request(client, Method::Get, "/", &[], b"");
    simulation.turn();
    simulation.responses(client).pop().expect("an answer").status
}

// In total.

#[test]
fn a_connection_over_the_limit_gets_a_retry_delay_and_is_closed() {
    let (mut simulation, diary) = at_most(2);
    let inside = [simulation.connect(), simulation.connect()];
    let newcomer = simulation.connect();
    assert_eq!(ask(&mut simulation, newcomer), 503);
    let answer = simulation.response(newcomer);
    assert!(answer.text().contains("try again later"), "{}", answer.text());
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((5..=10).contains(&seconds), "{seconds}");
    assert_closed(&simulation, newcomer);
    assert_eq!(diary.read(), Vec::<String>::new(), "no handler was asked");
    for client in inside {
        assert_eq!(ask(&mut simulation, client), 200);
    }
    let stats = simulation.stats();
    assert_eq!(
        (
            stats.requests,
            stats.refused.with(StatusCode::SERVICE_UNAVAILABLE),
            stats.refused.total()
        ),
        (2, 1, 1)
    );
    assert_eq!((stats.accepted, stats.connections), (3, 3), "one still hears the last word");
}

#[test]
fn there_is_room_again_when_a_connection_closes() {
    let (mut simulation, _) = at_most(1);
    let first = simulation.connect();
    let refused = simulation.connect();
    assert_eq!(ask(&mut simulation, refused), 503);
    simulation.half_close(refused);
    simulation.turn();
    let refused = simulation.connect();
    assert_eq!(ask(&mut simulation, refused), 503, "the one that was refused did not count");
    simulation.reset(first);
    simulation.turn();
    let next = simulation.connect();
    assert_eq!(ask(&mut simulation, next), 200);
}

#[test]
fn a_rejected_connection_is_refused_even_if_there_is_room_later() {
    let (mut simulation, diary) = at_most(1);
    let first = simulation.connect();
    let newcomer = simulation.connect();
    simulation.reset(first);
    simulation.turn();
    assert_eq!(ask(&mut simulation, newcomer), 503);
    assert_eq!(diary.len(), 0);
}

#[test]
fn one_too_many_may_send_its_request_in_pieces_and_a_body_is_not_waited_for() {
    for expectation in ["", "Expect: 100-continue\r\n"] {
        let (mut simulation, _) = at_most(0);
        let client = simulation.connect();
        let head =
            format!("POST / HTTP/1.1\r\nHost: a\r\n{expectation}Content-Length: 100000\r\n\r\n");
        for byte in head.as_bytes() {
            assert_eq!(simulation.received(client), b"");
            simulation.send(client, &[*byte]);
            simulation.turn();
        }
        assert_eq!(simulation.response(client).status, 503);
        assert_closed(&simulation, client);
        simulation.send(client, &[b'x'; 100_000]);
        simulation.half_close(client);
        simulation.turn();
        assert!(!simulation.is_open(client));
        assert_eq!(simulation.stats().refused.with(StatusCode::SERVICE_UNAVAILABLE), 1);
    }
}

#[test]
fn a_malformed_request_of_one_too_many_is_refused_as_any_other() {
    let (mut simulation, _) = at_most(0);
    let client = simulation.connect();
    simulation.send(client, b"GET / HTTP/1.1\r\n\r\n");
    simulation.turn();
    assert_eq!(simulation.response(client).status, 400);
    assert_closed(&simulation, client);
}

#[test]
fn one_too_many_has_the_time_of_one_head_and_no_more() {
    let (mut simulation, _) = at_most(0);
    let (silent, slow) = (simulation.connect(), simulation.connect());
    simulation.advance(secs(9));
    simulation.send(slow, b"GET /");
    simulation.advance(ms(999));
    assert!(simulation.is_open(silent));
    simulation.advance(ms(1));
    assert!(!simulation.is_open(silent));
    assert_eq!(simulation.response(slow).status, 408, "it was counted from the beginning");
}

#[test]
fn a_rejected_connection_that_stays_open_is_closed_after_3_seconds() {
    let (mut simulation, _) = at_most(1);
    let (inside, newcomer) = (simulation.connect(), simulation.connect());
    assert_eq!(ask(&mut simulation, newcomer), 503);
    simulation.send(inside, b"GET / HTTP/1.1\r\n\r\n");
    simulation.advance(ms(2_999));
    assert!(simulation.is_open(newcomer));
    simulation.advance(ms(1));
    assert!(!simulation.is_open(newcomer));
    assert!(simulation.is_open(inside), "an admitted connection has half a minute");
}

#[test]
fn far_too_many_are_reset_at_once() {
    let (mut simulation, diary) = at_most(1);
    let inside = simulation.connect();
    let rejected: Vec<_> = (0..256).map(|_| simulation.connect()).collect();
    let reset: Vec<_> = (0..10).map(|_| simulation.connect()).collect();
    for client in reset {
        assert_eq!(simulation.server_end(client), Some(ServerEnd::Reset));
        assert!(!simulation.is_open(client));
    }
    assert_eq!((simulation.stats().resets, simulation.stats().connections), (10, 257));
    simulation.turn();
    for client in &rejected {
        assert_eq!(ask(&mut simulation, *client), 503);
        simulation.half_close(*client);
    }
    simulation.turn();
    assert_eq!(simulation.stats().connections, 1);
    let next = simulation.connect();
    assert_eq!(ask(&mut simulation, next), 503, "there is room for a rejection again");
    assert_eq!(ask(&mut simulation, inside), 200);
    assert_eq!(diary.len(), 1);
}

#[test]
fn without_limits_all_connections_are_admitted() {
    let (mut simulation, _) = server(|_| {});
    let clients: Vec<_> = (0..5_000).map(|_| simulation.connect()).collect();
    assert_eq!(ask(&mut simulation, clients[4_999]), 200);
    assert_eq!(simulation.stats().refused.total(), 0);
}

// Per address.

#[test]
fn an_address_has_a_limit_and_others_are_not_affected() {
    let (mut simulation, diary) = at_most_per_address(2);
    let first = from(&mut simulation, "192.0.2.1:1");
    let second = from(&mut simulation, "[::ffff:192.0.2.1]:2");
    let third = from(&mut simulation, "192.0.2.1:3");
    let other = from(&mut simulation, "192.0.2.2:1");
    for client in [first, second, other] {
        assert_eq!(ask(&mut simulation, client), 200);
    }
    assert_eq!(ask(&mut simulation, third), 429);
    assert!(simulation.response(third).text().contains("your address"));
    assert_closed(&simulation, third);
    assert_eq!(diary.len(), 3);
    simulation.reset(first);
    simulation.turn();
    let fourth = from(&mut simulation, "192.0.2.1:4");
    assert_eq!(ask(&mut simulation, fourth), 200, "the one that was refused is not counted");
    assert_eq!(simulation.stats().refused.with(StatusCode::TOO_MANY_REQUESTS), 1);
}

#[test]
fn an_ipv6_client_is_its_network_of_64_bits() {
    let (mut simulation, _) = at_most_per_address(1);
    let addresses = ["[2001:db8:0:1::1]:1", "[2001:db8:0:1:ffff::2]:1", "[2001:db8:0:2::1]:1"];
    let statuses = addresses.map(|address| {
        let client = from(&mut simulation, address);
        ask(&mut simulation, client)
    });
    assert_eq!(statuses, [200, 429, 200]);
}

#[test]
fn unix_sockets_have_no_address_but_count_in_total() {
    let (mut simulation, _) = server(|config| {
        config.limits.connections = Some(3);
        config.limits.connections_per_ip = Some(1);
    });
    let statuses: Vec<_> = (0..4)
        .map(|_| {
            let client = simulation.connect_from(Peer::Unix);
            ask(&mut simulation, client)
        })
        .collect();
    assert_eq!(statuses, [200, 200, 200, 503]);
}

#[test]
fn an_address_over_its_limit_is_refused_for_that_even_when_the_server_is_full() {
    let (mut simulation, _) = server(|config| {
        config.limits.connections = Some(1);
        config.limits.connections_per_ip = Some(1);
    });
    from(&mut simulation, "192.0.2.1:1");
    let (greedy, other) =
        (from(&mut simulation, "192.0.2.1:2"), from(&mut simulation, "192.0.2.2:1"));
    assert_eq!((ask(&mut simulation, greedy), ask(&mut simulation, other)), (429, 503));
    // A client rejected because the server is full does not count as one with too many connections.
    let other = from(&mut simulation, "192.0.2.2:2");
    assert_eq!(ask(&mut simulation, other), 503);
}

// Per tag.

fn open(simulation: &mut Simulation, tag: &str, accept: &str) -> Client {
    let client = simulation.connect();
    let fields: &[_] = if accept.is_empty() { &[] } else { &[("Accept", accept)] };
    simulation.request(client, Method::Get, &format!("/stream?{tag}"), fields, b"");
    client
}

#[test]
fn a_stream_over_the_limit_of_its_tag_never_opens() {
    let (mut simulation, diary) = server(|config| config.limits.streams_per_tag = Some(2));
    // All in one turn.
    let anna =
        ["", "", "", "text/event-stream"].map(|accept| open(&mut simulation, "anna", accept));
    let ben = open(&mut simulation, "ben", "");
    let nobody = simulation.get("/stream");
    simulation.turn();
    for client in [anna[0], anna[1], ben] {
        assert_eq!(simulation.events(client)[0].data, "born");
    }
    assert_eq!(simulation.response(nobody).status, 200);
    let refused = simulation.response(anna[2]);
    assert_eq!(refused.status, 429);
    assert!(refused.text().contains("stream limit"), "{}", refused.text());
    assert_closed(&simulation, anna[2]);
    let event_source = simulation.response(anna[3]);
    assert_eq!(event_source.status, 200);
    assert_eq!(event_source.events().len(), 0);
    assert_eq!(simulation.server_end(anna[3]), Some(ServerEnd::Fin));
    let stats = simulation.stats();
    assert_eq!((stats.streams, stats.opened, stats.closed.total()), (4, 4, 0));
    assert_eq!(stats.refused.with(StatusCode::TOO_MANY_REQUESTS), 2);
    assert_eq!(diary.read(), ["stream"; 6], "handlers were asked, but no hook ran");

    simulation.reset(anna[0]);
    simulation.turn();
    let next = open(&mut simulation, "anna", "");
    simulation.turn();
    assert_eq!(simulation.events(next)[0].data, "born");
}

#[test]
fn a_stream_refused_for_its_tag_loses_nothing_of_a_client_that_half_closes() {
    let (mut simulation, _) = server(|config| config.limits.streams_per_tag = Some(0));
    let client = open(&mut simulation, "anna", "");
    simulation.half_close(client);
    simulation.turn();
    assert_eq!(simulation.response(client).status, 429);
    assert!(!simulation.is_open(client));
}

#[test]
fn a_one_shot_stream_makes_room_when_it_ends() {
    let mut config = Config::default();
    config.limits.streams_per_tag = Some(1);
    let router =
        Router::new().get("/", |_req, _cx| Sse::new().tag("a").send("x").ending(Ending::Finish));
    let mut simulation = Simulation::with_config(config, 0, router);
    for _ in 0..3 {
        let client = simulation.get("/");
        assert_eq!(simulation.events(client)[0].data, "x");
    }
}
