//! Limits of size and time, and the responses to clients.

#[path = "limits/connections.rs"]
mod connections;
#[path = "limits/crowd.rs"]
mod crowd;
#[path = "limits/proxied.rs"]
mod proxied;
#[path = "support/random.rs"]
mod random;
#[path = "limits/replace_oldest.rs"]
mod replace_oldest;
#[path = "limits/replacing.rs"]
mod replacing;
#[path = "limits/retrying.rs"]
mod retrying;
#[path = "support/story.rs"]
mod story;

use starwheel::{
    Config, Method, Response, StatusCode,
    testing::{Client, ServerEnd, Simulation},
};
use story::{assert_closed, echo, faults, ms, secs, serving, serving_with, texts};

// Refusals.

#[test]
fn refusals_are_answered_and_then_the_connection_closes() {
    let long = "x".repeat(20_000);
    let post = |fields: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    for (request, status) in [
        ("GET /\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(), 400),
        (post("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), 400),
        (post("Content-Length: 1\r\nContent-Length: 2\r\n"), 400),
        (post("Transfer-Encoding: chunked\r\n") + "zz\r\n", 400),
        (post("Content-Length: 1048577\r\n"), 413),
        (format!("GET /{long} HTTP/1.1\r\n"), 414),
        (post("Content-Encoding: gzip\r\nContent-Length: 1\r\n") + "x", 415),
        (post("Expect: the worst\r\n"), 417),
        (post(&format!("X: {long}\r\n")), 431),
        (post(&"X: y\r\n".repeat(101)), 431),
        ("BREW / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 501),
        (post("Transfer-Encoding: gzip, chunked\r\n"), 501),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n".to_owned(), 505),
    ] {
        let mut simulation = echo();
        let client = simulation.connect();
        // Between two good ones, as in an attempt to smuggle.
        simulation.request(client, Method::Get, "/?first", &[], b"");
        simulation.send(client, request.as_bytes());
        simulation.turn();
        simulation.request(client, Method::Get, "/?smuggled", &[], b"");
        simulation.turn();
        let answers = simulation.responses(client);
        let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [200, status], "{:.60}", request);
        assert_closed(&simulation, client);
        assert_eq!((simulation.stats().requests, simulation.stats().refused.total()), (1, 1));
        let status = StatusCode::try_from(status).unwrap();
        assert_eq!(simulation.stats().refused.with(status), 1);
        simulation.half_close(client);
        simulation.turn();
        assert!(!simulation.is_open(client));
    }
}

#[test]
fn a_body_of_one_mebibyte_is_taken_and_one_more_byte_refused() {
    let mut simulation = echo();
    let client = simulation.connect();
    let body = vec![b'x'; 1024 * 1024];
    simulation.request(client, Method::Post, "/", &[], &body);
    simulation.turn();
    assert_eq!(simulation.response(client).body, body);
    simulation.forget_received(client);
    simulation.send(
        client,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n",
    );
    simulation.send(client, &body);
    simulation.send(client, b"\r\n1\r\nx");
    simulation.turn();
    assert_eq!(simulation.response(client).status, 413);
    assert_closed(&simulation, client);
}

// Timeouts.

/// Sends one piece of a request every second, and returns when the server refused it.
fn seconds_until_refused(pieces: &[&[u8]], trickle: &[u8]) -> (u64, u16) {
    let mut simulation = echo();
    let client = simulation.connect();
    for piece in pieces {
        simulation.send(client, piece);
        simulation.turn();
    }
    for second in 1..1000 {
        simulation.send(client, trickle);
        simulation.advance(secs(1));
        if !simulation.received(client).is_empty() {
            assert_closed(&simulation, client);
            assert_eq!(simulation.stats().timed_out, 1);
            return (second, simulation.response(client).status);
        }
    }
    panic!("the server never stops waiting");
}

#[test]
fn a_head_must_be_there_within_10_seconds_however_it_trickles() {
    assert_eq!(seconds_until_refused(&[b"GET / HT"], b""), (10, 408));
    assert_eq!(seconds_until_refused(&[b"GET / HTTP/1.1\r\nX: "], b"x"), (10, 408));
}

#[test]
fn a_body_must_be_there_within_30_seconds_however_it_trickles() {
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n";
    assert_eq!(seconds_until_refused(&[head], b""), (30, 408));
    assert_eq!(seconds_until_refused(&[head], b"x"), (30, 408));
    let (first, rest) = head.split_at(10);
    assert_eq!(seconds_until_refused(&[first, rest], b"x"), (30, 408));
    let chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(seconds_until_refused(&[chunked], b"1\r\nx\r\n"), (30, 408));
}

#[test]
fn the_limit_of_the_body_starts_after_the_head() {
    let mut simulation = echo();
    let client = simulation.connect();
    simulation.send(client, b"POST / HTTP/1.1\r\n");
    simulation.advance(secs(9));
    simulation.send(client, b"Host: a\r\nContent-Length: 2\r\n\r\nx");
    simulation.advance(ms(29_999));
    simulation.send(client, b"y");
    simulation.turn();
    assert_eq!(texts(&simulation, client), ["xy"]);
}

/// The connection is closed without a response, because the client sent no request.
#[track_caller]
fn assert_closed_silently(simulation: &Simulation, client: Client) {
    assert!(!simulation.is_open(client));
    assert_eq!(simulation.received(client), b"");
    assert_eq!(simulation.server_end(client), Some(ServerEnd::Fin));
}

#[test]
fn a_fresh_connection_has_to_begin_its_request_within_15_seconds() {
    let mut simulation = echo();
    let (silent, in_time) = (simulation.connect(), simulation.connect());
    simulation.advance(ms(14_999));
    assert!(simulation.is_open(silent));
    simulation.send(in_time, b"G");
    simulation.advance(ms(1));
    assert_closed_silently(&simulation, silent);
    assert_eq!(simulation.stats().timed_out, 1);
    // From here on it has the timeout of a head.
    simulation.advance(ms(9_998));
    simulation.send(in_time, b"ET / HTTP/1.1\r\nHost: a\r\n\r\n");
    simulation.turn();
    assert_eq!(texts(&simulation, in_time), ["-"]);
}

#[test]
fn a_connection_that_has_had_an_answer_is_closed_after_75_idle_seconds() {
    for target in ["/", "/once", "/nowhere"] {
        let mut simulation = echo();
        // Answered by a response, by a finished stream, by a router without a route.
        let client = simulation.get(target);
        simulation.forget_received(client);
        simulation.advance(ms(74_999));
        assert!(simulation.is_open(client), "{target}");
        simulation.advance(ms(1));
        assert_closed_silently(&simulation, client);
    }
}

#[test]
fn each_request_makes_the_idle_time_start_again() {
    let mut simulation = echo();
    let client = simulation.get("/");
    for _ in 0..99 {
        simulation.advance(secs(74));
        simulation.request(client, Method::Get, "/", &[], b"");
        simulation.turn();
    }
    assert_eq!(simulation.responses(client).len(), 100);
}

#[test]
fn empty_lines_do_not_buy_time() {
    // The nth byte or bytes of empty lines, cut in different places.
    let whole: fn(u64) -> &'static [u8] = |_| b"\r\n";
    let halves: fn(u64) -> &'static [u8] = |nth| if nth % 2 == 0 { b"\r" } else { b"\n" };
    let shifted: fn(u64) -> &'static [u8] = |nth| if nth == 0 { b"\r" } else { b"\n\r" };
    for piece in [whole, halves, shifted] {
        for (is_fresh, seconds) in [(true, 15), (false, 75)] {
            let mut simulation = echo();
            let client = match is_fresh {
                true => simulation.connect(),
                false => simulation.get("/"),
            };
            simulation.forget_received(client);
            for nth in 0..seconds {
                assert!(simulation.is_open(client), "{:?} after {nth} s", piece(nth));
                simulation.send(client, piece(nth));
                simulation.advance(secs(1));
            }
            assert_closed_silently(&simulation, client);
        }
    }
}

#[test]
fn a_request_may_follow_empty_lines_in_any_pieces() {
    let mut simulation = echo();
    let client = simulation.connect();
    for piece in [&b"\r"[..], b"\n\r", b"\nGE", b"T / HTTP/1.1\r\nHost: a\r\n\r\n\r", b"\n"] {
        simulation.send(client, piece);
        simulation.advance(secs(7));
    }
    assert_eq!(texts(&simulation, client), ["-"]);
    simulation.advance(secs(60));
    assert!(simulation.is_open(client));
    simulation.advance(secs(1));
    assert!(!simulation.is_open(client), "the empty line after the request bought no time");
}

#[test]
fn a_client_that_does_not_read_its_answer_is_left_after_60_seconds() {
    let mut simulation = serving(|_, _| Response::text("x".repeat(200_000)));
    let client = simulation.connect();
    simulation.stall(client);
    simulation.request(client, Method::Get, "/", &[], b"");
    simulation.advance(ms(59_999));
    assert!(simulation.is_open(client));
    simulation.advance(ms(1));
    assert!(!simulation.is_open(client));
    assert_eq!(simulation.server_end(client), Some(ServerEnd::Reset), "it was cut");
}

#[test]
fn a_pipelining_client_has_to_read_before_more_is_answered() {
    for (pipelined_bytes, most) in [(2_000, 40), (20_000, 400)] {
        let mut config = Config::default();
        config.limits.pipelined_bytes = pipelined_bytes;
        let mut simulation = serving_with(config, |_, _| Response::text("x"));
        let client = simulation.connect();
        simulation.set_faults(faults(|faults| faults.socket_buffer_bytes = 100));
        simulation.stall(client);
        for _ in 0..1_000 {
            simulation.request(client, Method::Get, "/", &[], b"");
        }
        simulation.turn();
        let answered = simulation.stats().requests;
        // Each answer has some hundred bytes.
        assert!((most / 4..most).contains(&answered), "{answered} with {pipelined_bytes} bytes");
        simulation.resume(client);
        simulation.turn();
        assert_eq!(simulation.responses(client).len(), 1_000);
    }
}

#[test]
fn limits_are_what_config_says() {
    let mut config = Config::default();
    config.limits.body_bytes = 10;
    config.limits.head_timeout = secs(1);
    config.limits.first_request_timeout = secs(2);
    config.limits.idle_timeout = secs(2);
    let mut simulation = serving_with(config, |_, _| Response::no_content());
    let (fresh, slow, large) = (simulation.connect(), simulation.connect(), simulation.connect());
    let idle = simulation.get("/");
    simulation.send(slow, b"GET");
    simulation.request(large, Method::Post, "/", &[], b"eleven byte");
    simulation.advance(secs(1));
    assert_eq!(simulation.response(large).status, 413);
    assert_eq!(simulation.response(slow).status, 408);
    assert!(simulation.is_open(fresh) && simulation.is_open(idle));
    simulation.advance(secs(1));
    assert!(!simulation.is_open(fresh) && !simulation.is_open(idle));
}
