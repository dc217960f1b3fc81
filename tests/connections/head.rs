//! Responses to HEAD: their head and nothing after it (RFC 9110, section 9.3.2), also if the
//! request is refused before it was read completely.

use std::time::Duration;

use starwheel::{
    Answer, Config, Context, Hosts, Method, Peer, Request, Response, Router, Sse, StatusCode,
    TrustedPeers,
    testing::{Client, Simulation},
};

fn server(config: Config) -> Simulation {
    let router = Router::new()
        .get("/", |_req, _cx| Response::text("a body"))
        .post("/post", |_req, _cx| Response::text("a body"))
        .get("/panic", |_req, _cx| -> Response { panic!("on purpose") })
        .get("/error", |_req, _cx| Response::error(StatusCode::INTERNAL_SERVER_ERROR, "an error"))
        .get("/busy", |_req, _cx| Response::busy(Duration::from_secs(1)))
        .get("/broken", |_req, _cx| Sse::new().header("X-Split", "a\r\nb"))
        .get("/any", |_: &Request, _: &mut Context<'_>| Answer::from(Sse::new()));
    Simulation::with_config(config, 0, router)
}

/// A response with this status has arrived, with the length of a body but without the body.
#[track_caller]
fn assert_no_body(simulation: &Simulation, client: Client, status: u16, what: &str) {
    let received = String::from_utf8(simulation.received(client)).unwrap();
    let head = received.strip_suffix("\r\n\r\n");
    let head = head.unwrap_or_else(|| panic!("{what}: {received:?}"));
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {head}");
    assert!(!head.contains("\r\n\r\n"), "{what}: {head}");
}

/// The rest of a faulty HEAD request, and the status of the response.
const REFUSED: &[(&str, u16)] = &[
    ("/ HTTP/1.1\r\n\r\n", 400),
    ("/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    ("/ HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    ("/ HTTP/1.1\nHost: a\n\n", 400),
    ("/ HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    ("/ HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 400),
    ("/ HTTP/3.0\r\nHost: a\r\n\r\n", 505),
    (" / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("/%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("* HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("/ HTTP/1.1\r\nHost: elsewhere\r\n\r\n", 421),
    ("/ HTTP/1.1\r\nHost: a\r\nExpect: more\r\n\r\n", 417),
    ("/ HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\n", 415),
    ("/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400),
    ("/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ("/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400),
    ("/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", 400),
    ("/ HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n", 413),
    ("/missing HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    ("/post HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    ("/panic HTTP/1.1\r\nHost: a\r\n\r\n", 500),
    ("/error HTTP/1.1\r\nHost: a\r\n\r\n", 500),
    ("/busy HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n", 503),
    ("/broken HTTP/1.1\r\nHost: a\r\n\r\n", 500),
];

#[test]
fn a_refused_head_request_gets_no_body_wherever_it_is_cut() {
    let mut config = Config::default();
    config.hosts = Hosts::only(["a"]).unwrap();
    let mut simulation = server(config);
    for &(rest, status) in REFUSED {
        for before in ["", "\r\n\r\n"] {
            let request = format!("{before}HEAD {rest}");
            for cut in 0..request.len() {
                let client = simulation.connect();
                let (front, back) = request.as_bytes().split_at(cut);
                simulation.send(client, front);
                simulation.turn();
                simulation.send(client, back);
                simulation.turn();
                assert_no_body(&simulation, client, status, &format!("{request:?} at {cut}"));
            }
        }
    }
}

/// The second request is read from bytes that were kept after the first.
#[test]
fn a_refused_head_request_after_another_gets_no_body() {
    for (rest, status) in [("/ HTTP/1.1\r\n\r\n", 400), ("/ HTTP/3.0\r\n\r\n", 505)] {
        for second_in in [1, 2] {
            let mut simulation = server(Config::default());
            let client = simulation.connect();
            let first = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
            let all = format!("{first}HEAD {rest}");
            let pieces = all.as_bytes().split_at(first.len() + 3 * (second_in - 1));
            for piece in [pieces.0, pieces.1] {
                simulation.send(client, piece);
                simulation.turn();
            }
            let received = String::from_utf8(simulation.received(client)).unwrap();
            let heads: Vec<&str> = received.split("\r\n\r\n").collect();
            assert_eq!(heads.len(), 3, "{received}");
            assert!(heads[1].starts_with(&format!("HTTP/1.1 {status} ")), "{received}");
            assert_eq!(heads[2], "", "{rest}");
        }
    }
}

#[test]
fn a_head_request_that_takes_too_long_or_is_too_long_gets_no_body() {
    for unfinished in ["HEAD / HT", "HEAD / HTTP/1.1\r\nHo", "HEAD "] {
        let mut simulation = server(Config::default());
        let client = simulation.connect();
        simulation.send(client, unfinished.as_bytes());
        simulation.advance(Duration::from_secs(20));
        assert_no_body(&simulation, client, 408, unfinished);
    }
    let with_body = "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n123";
    let mut simulation = server(Config::default());
    let client = simulation.connect();
    simulation.send(client, with_body.as_bytes());
    simulation.advance(Duration::from_secs(40));
    assert_no_body(&simulation, client, 408, with_body);

    for (long, status) in
        [("/".repeat(20_000), 414), (format!("/ HTTP/1.1\r\nX: {}", "x".repeat(20_000)), 431)]
    {
        let mut simulation = server(Config::default());
        let client = simulation.connect();
        for piece in format!("HEAD {long}").as_bytes().chunks(3_000) {
            simulation.send(client, piece);
            simulation.turn();
        }
        assert_no_body(&simulation, client, status, "a long head");
    }
}

#[test]
fn a_head_request_that_there_is_no_room_for_gets_no_body() {
    let mut config = Config::default();
    config.limits.connections = Some(1);
    let mut simulation = server(config);
    let _first = simulation.get("/any");
    for rest in
        ["\r\n", "Content-Length: 5\r\n\r\n", "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"]
    {
        let client = simulation.connect();
        simulation.send(client, format!("HEAD / HTTP/1.1\r\nHost: a\r\n{rest}").as_bytes());
        simulation.turn();
        assert_no_body(&simulation, client, 503, rest);
        simulation.reset(client);
        simulation.turn();
    }
}

/// A health check that does not speak the PROXY protocol.
#[test]
fn a_head_request_without_its_proxy_header_gets_no_body() {
    let mut simulation = server(Config::default());
    let balancers = TrustedPeers::networks(["10.0.0.0/8"]).unwrap();
    for address in ["10.0.0.1:1", "192.0.2.1:1"] {
        let peer = Peer::Ip(address.parse().unwrap());
        let client = simulation.connect_with_proxy_protocol(peer, &balancers);
        simulation.send(client, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        simulation.turn();
        assert_no_body(&simulation, client, 400, address);
    }
}

/// If a head is too long, its method may be part of the excess.
#[test]
fn whether_a_refusal_has_a_body_does_not_depend_on_where_its_request_was_cut() {
    let mut config = Config::default();
    config.limits.head_bytes = 20;
    let mut simulation = server(config);
    let mut outcome = |request: &[u8], cut: usize| {
        let client = simulation.connect();
        for piece in [&request[..cut], &request[cut..]] {
            simulation.send(client, piece);
            simulation.turn();
        }
        String::from_utf8(simulation.received(client)).unwrap()
    };
    for before in ["\n", "\r", "\r\r\n", "\r\n\n", ""] {
        for empty_lines in 0..12 {
            let lines = "\r\n".repeat(empty_lines);
            let request = format!("{lines}{before}HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
            let whole = outcome(request.as_bytes(), 0);
            assert!(whole.starts_with("HTTP/1.1 4"), "{request:?}: {whole}");
            for cut in 1..request.len() {
                assert_eq!(outcome(request.as_bytes(), cut), whole, "{request:?} at {cut}");
            }
        }
    }
}

/// The controls: other methods get the reason, and so does an incomplete method.
#[test]
fn other_refused_requests_get_the_reason_as_body() {
    let mut simulation = server(Config::default());
    let refused = ["GET", "POST", "OPTIONS", "HEADS", "head", "HEA"];
    for method in refused {
        let client = simulation.connect();
        simulation.send(client, format!("{method} / HTTP/1.1\r\n\r\n").as_bytes());
        simulation.turn();
        let answer =
            starwheel::testing::ClientResponse::parse(&simulation.received(client), Method::Get);
        assert!(!answer.unwrap().body.is_empty(), "{method}");
    }
    let client = simulation.connect();
    simulation.send(client, b"HEAD");
    simulation.advance(Duration::from_secs(20));
    assert!(
        simulation.received(client).ends_with(b"send it again"),
        "not a method before its space"
    );
}
