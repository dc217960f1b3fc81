//! Slow clients.

use std::{
    io::ErrorKind,
    iter,
    time::{Duration, Instant},
};

use crate::{
    client::{Client, PATIENCE, field, get, is_reset},
    testbed::{ALLOCATOR_BYTES, Neighbour, Testbed},
};

/// A request that never ends: its start, and the part that is repeated.
struct Endless {
    name: &'static str,
    beginning: &'static str,
    piece: &'static str,
}

const HEADS: [Endless; 3] = [
    Endless { name: "a request line, byte by byte", beginning: "GET /", piece: "a" },
    Endless {
        name: "a field, byte by byte",
        beginning: "GET /hello HTTP/1.1\r\nHost: test\r\nX: ",
        piece: "a",
    },
    Endless {
        name: "field after field",
        beginning: "GET /hello HTTP/1.1\r\nHost: test\r\n",
        piece: "X: y\r\n",
    },
];

const BODIES: [Endless; 5] = [
    Endless {
        name: "a body, byte by byte",
        beginning: "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n",
        piece: "a",
    },
    Endless {
        name: "a chunk, byte by byte",
        beginning: "POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n8000\r\n",
        piece: "a",
    },
    Endless {
        name: "chunks of one byte",
        beginning: "POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n",
        piece: "1\r\na\r\n",
    },
    Endless {
        name: "an extension of a chunk",
        beginning: "POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n1;a=",
        piece: "b",
    },
    Endless {
        name: "trailer after trailer",
        beginning: "POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        piece: "X: y\r\n",
    },
];

#[test]
fn a_head_that_comes_too_slowly_is_refused() {
    let testbed = Testbed::start(&["--head-timeout-ms", "300"]);
    let mut neighbour = Neighbour::of(&testbed);
    HEADS.iter().for_each(|endless| endless.drips_until_refused(&testbed));
    neighbour.ticks_on();
}

#[test]
fn a_body_that_comes_too_slowly_is_refused() {
    let testbed = Testbed::start(&["--body-timeout-ms", "300"]);
    let mut neighbour = Neighbour::of(&testbed);
    BODIES.iter().for_each(|endless| endless.drips_until_refused(&testbed));
    neighbour.ticks_on();
}

#[test]
fn hundreds_of_slow_clients_delay_no_others_and_leak_nothing() {
    let an_hour = "3600000";
    let testbed = Testbed::start(&["--head-timeout-ms", an_hour, "--body-timeout-ms", an_hour]);
    let mut neighbour = Neighbour::of(&testbed);
    let before = testbed.footprint();
    let mut slow = Vec::new();
    for _ in 0..40 {
        for endless in HEADS.iter().chain(&BODIES) {
            let mut client = Client::connect(testbed.address);
            client.send(endless.beginning);
            slow.push((client, endless));
        }
    }
    for _ in 0..10 {
        slow.iter_mut().for_each(|(client, endless)| client.send(endless.piece));
        assert_eq!(Client::connect(testbed.address).get("/hello").status, 200);
        neighbour.ticks_on();
    }
    for (client, endless) in &slow {
        assert!(client.is_left_alone(), "{}", endless.name);
    }
    // The received part of a request is kept, and little more.
    testbed.has_grown_at_most(slow.len() as u64 * 4096 + ALLOCATOR_BYTES, before);
    drop(slow);
    testbed.is_back_at(before);
}

#[test]
fn hundreds_of_slow_clients_are_all_refused() {
    let testbed = Testbed::start(&["--head-timeout-ms", "500"]);
    let mut neighbour = Neighbour::of(&testbed);
    let mut slow: Vec<_> = (0..300).map(|_| Client::connect(testbed.address)).collect();
    slow.iter_mut().for_each(|client| client.send("GET /hello HTTP/1.1\r\n"));
    neighbour.ticks_on();
    assert_eq!(Client::connect(testbed.address).get("/hello").status, 200);
    slow.iter_mut().for_each(|client| assert_eq!(client.answer().status, 408));
    neighbour.ticks_on();
}

#[test]
fn a_connection_without_a_request_is_closed_and_streams_are_not() {
    let testbed =
        Testbed::start(&["--first-request-timeout-ms", "200", "--idle-timeout-ms", "200"]);
    let mut neighbour = Neighbour::of(&testbed);
    let mut quiet = Client::connect(testbed.address);
    quiet.open_stream("/idle");
    let mut never_asked = Client::connect(testbed.address);
    let mut asked_once = Client::connect(testbed.address);
    assert_eq!(asked_once.get("/hello").status, 200);
    assert_eq!(never_asked.rest(), "");
    assert_eq!(asked_once.rest(), "");
    neighbour.ticks_on();
    assert!(quiet.is_left_alone());
}

#[test]
fn a_client_that_does_not_read_its_responses_is_disconnected() {
    let testbed = Testbed::start(&["--stall-timeout-ms", "300"]);
    let mut neighbour = Neighbour::of(&testbed);
    let before = testbed.footprint();
    let requests = get("/hello").repeat(1_000);
    for _ in 0..5 {
        let mut client = Client::connect(testbed.address);
        let error =
            iter::repeat_with(|| client.try_send(requests.as_bytes())).find_map(Result::err);
        assert!(is_reset(&error.unwrap()), "it is disconnected while it waits to send more");
        neighbour.ticks_on();
    }
    assert_eq!(testbed.figure("timed_out_total"), 5);
    testbed.is_back_at(before);
}

#[test]
fn clients_that_never_read_are_left_and_a_neighbour_ticks_on() {
    let testbed = Testbed::start(&["--stall-timeout-ms", "1000"]);
    let mut neighbour = Neighbour::of(&testbed);
    let before = testbed.footprint();
    let stuck: Vec<_> =
        (0..5).map(|_| Client::streaming(testbed.address, "/tick?ms=10&bytes=1000000")).collect();
    testbed.is_back_at(before);
    assert_eq!(testbed.figure("streams_closed_total{reason=\"slow\"}"), 5);
    neighbour.ticks_on();
    drop(stuck);
}

#[test]
fn a_refused_client_that_does_not_close_is_disconnected() {
    let testbed = Testbed::start(&["--linger-timeout-ms", "300"]);
    let mut neighbour = Neighbour::of(&testbed);
    let before = testbed.footprint();
    let mut staying: Vec<_> = (0..20).map(|_| Client::connect(testbed.address)).collect();
    for client in &mut staying {
        client.send("what?\r\n\r\n");
        assert_eq!(client.answer().status, 400);
    }
    testbed.is_back_at(before);
    neighbour.ticks_on();
}

impl Endless {
    /// Sends a piece from time to time until there is a response: 408 after 300 ms.
    fn drips_until_refused(&self, testbed: &Testbed) {
        let name = self.name;
        let mut client = Client::connect(testbed.address);
        let start = Instant::now();
        client.send(self.beginning);
        client.socket().set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        while let Err(error) = client.socket().peek(&mut [0]) {
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "{name}");
            assert!(start.elapsed() < PATIENCE, "{name}: it is never refused");
            let _refused_meanwhile = client.try_send(self.piece.as_bytes());
        }
        // The server counts in whole milliseconds.
        let had = start.elapsed();
        assert!(had > Duration::from_millis(298), "{name}: it has more time than {had:?}");
        client.socket().set_read_timeout(Some(PATIENCE)).unwrap();
        let answer = client.answer();
        assert_eq!(answer.status, 408, "{name}");
        assert_eq!(field(&answer.head, "connection"), Some("close"), "{name}");
        assert_eq!(client.rest(), "", "{name}: the connection ends");
    }
}

impl Client {
    /// Nothing has arrived, and the connection is open.
    fn is_left_alone(&self) -> bool {
        self.socket().set_nonblocking(true).unwrap();
        let nothing = self.socket().peek(&mut [0]).map_err(|error| error.kind());
        self.socket().set_nonblocking(false).unwrap();
        nothing == Err(ErrorKind::WouldBlock)
    }
}
