//! Doubtful requests, as a connection handles them: one response to the good part, one refusal, and
//! nothing more. The table is that of the parser's own tests; here it goes through the engine.

#[path = "../src/http/tests/cases/mod.rs"]
mod cases;
#[path = "support/story.rs"]
mod story;

use std::{cell::RefCell, rc::Rc};

use cases::Expect;
use starwheel::{
    Context, Limits, Request, Response,
    testing::{BodyEnd, Client, Simulation},
};
use story::{assert_closed, get};

/// A server that accepts every request and keeps its body.
struct Server {
    simulation: Simulation,
    bodies: Rc<RefCell<Vec<Vec<u8>>>>,
}

/// The outcome of one connection.
#[derive(Debug, PartialEq)]
struct Outcome {
    statuses: Vec<u16>,
    /// Of the requests that reached the handler.
    bodies: Vec<Vec<u8>>,
    is_closed: bool,
}

impl Server {
    fn new() -> Self {
        let bodies = Rc::<RefCell<Vec<Vec<u8>>>>::default();
        let kept = Rc::clone(&bodies);
        let handler = move |request: &Request, _: &mut Context<'_>| {
            kept.borrow_mut().push(request.body().to_vec());
            Response::no_content()
        };
        Self { simulation: Simulation::new(handler), bodies }
    }

    fn send<'a>(&mut self, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
        self.bodies.take();
        let client = self.simulation.connect();
        for piece in pieces {
            self.simulation.send(client, piece);
            self.simulation.turn();
        }
        let outcome = self.outcome(client);
        self.simulation.reset(client);
        outcome
    }

    fn outcome(&self, client: Client) -> Outcome {
        let answers = self.simulation.responses(client);
        assert!(answers.iter().all(|answer| answer.end == BodyEnd::Complete));
        let is_closed = self.simulation.server_end(client).is_some();
        if is_closed {
            assert_closed(&self.simulation, client);
        }
        let statuses = answers.iter().map(|answer| answer.status).collect();
        Outcome { statuses, bodies: self.bodies.borrow().clone(), is_closed }
    }
}

/// A good request, the case, and another good one after it.
fn between_good_ones(case: &[u8]) -> Vec<u8> {
    [&get("/before")[..], case, &get("/after")].concat()
}

fn expected(case: &[u8], expect: &Expect) -> Outcome {
    let (status, body) = match expect {
        Expect::Status(status) => {
            return Outcome { statuses: vec![204, *status], bodies: vec![vec![]], is_closed: true };
        }
        Expect::Body(body) => (204, body.to_vec()),
    };
    let text = String::from_utf8_lossy(case);
    let is_closed = text.contains("Connection: close")
        || (text.contains("HTTP/1.0") && !text.contains("Connection: keep-alive"));
    match is_closed {
        true => Outcome { statuses: vec![204, status], bodies: vec![vec![], body], is_closed },
        false => Outcome {
            statuses: vec![204, status, 204],
            bodies: vec![vec![], body, vec![]],
            is_closed,
        },
    }
}

#[test]
fn after_a_refusal_nothing_is_answered_and_the_connection_ends() {
    let mut server = Server::new();
    let mut count = 0;
    for (bytes, expect, case) in cases::all() {
        let outcome = server.send([&between_good_ones(&bytes)[..]]);
        assert_eq!(outcome, expected(&bytes, expect), "{case}");
        count += 1;
    }
    assert!(count > 400, "{count} cases: some have gone missing");
}

#[test]
fn the_outcome_does_not_depend_on_where_the_bytes_are_cut() {
    for (bytes, expect, case) in cases::all() {
        let mut server = Server::new();
        let expected = expected(&bytes, expect);
        let all = between_good_ones(&bytes);
        assert_eq!(server.send(all.chunks(1)), expected, "{case}, byte by byte");
        let start = get("/before").len();
        for cut in start..start + bytes.len() {
            let (first, second) = all.split_at(cut);
            assert_eq!(server.send([first, second]), expected, "{case}, cut at {}", cut - start);
        }
    }
}

// Limits, to the byte.

fn status(bytes: &[u8]) -> u16 {
    let mut server = Server::new();
    let outcome = server.send([&[bytes, &get("/after")].concat()[..]]);
    let is_good = outcome.statuses == [204, 204] && !outcome.is_closed;
    let is_refused = outcome.statuses.len() == 1 && outcome.is_closed;
    assert!(is_good || is_refused, "{outcome:?}");
    outcome.statuses[0]
}

/// `text` with the `X` in it repeated until it has `length_bytes`.
fn stretched(text: &str, length_bytes: usize) -> Vec<u8> {
    let (front, rest) = text.split_once('X').expect("an X");
    let filler = "x".repeat(length_bytes - front.len() - rest.len());
    format!("{front}{filler}{rest}").into_bytes()
}

#[test]
fn a_head_may_have_exactly_its_limit() {
    let limit = Limits::default().head_bytes;
    for (head, beyond) in [
        ("GET / HTTP/1.1\r\nHost: a\r\nA: X\r\n\r\n", 431),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\r\n", 431),
        ("GET / HTTP/1.1\r\nHost: X\r\n\r\n", 431),
        ("GET /X HTTP/1.1\r\nHost: a\r\n\r\n", 431),
        ("GET /?X HTTP/1.0\r\n\r\n", 431),
    ] {
        assert_eq!(status(&stretched(head, limit)), 204, "{head}");
        assert_eq!(status(&stretched(head, limit + 1)), beyond, "{head}");
        assert!([414, 431].contains(&status(&stretched(head, limit + 100))), "{head}");
    }
    // One line feed that does not fit: of the request line or of a field.
    let line = stretched("GET /X HTTP/1.1\r\n", limit + 1);
    assert_eq!(status(&[&line[..], b"Host: a\r\n\r\n"].concat()), 414);
    let line = stretched("GET /X HTTP/1.1\r\n", limit);
    assert_eq!(status(&[&line[..], b"Host: a\r\n\r\n"].concat()), 431);
    assert_eq!(status(&stretched("X / HTTP/1.1\r\nHost: a\r\n\r\n", 1000)), 501);
    assert_eq!(status(&stretched("X / HTTP/1.1\r\nHost: a\r\n\r\n", limit * 2)), 414);
}

#[test]
fn a_request_may_have_exactly_its_number_of_fields() {
    let limit = Limits::default().header_fields;
    let with = |fields: usize| {
        let fields: String = (1..fields).map(|number| format!("A{number}: b\r\n")).collect();
        format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes()
    };
    assert_eq!(status(&with(limit)), 204);
    assert_eq!(status(&with(limit + 1)), 431);
    assert_eq!(status(&with(limit * 10)), 431);
}

#[test]
fn a_body_may_have_exactly_its_limit() {
    let limit = Limits::default().body_bytes;
    let head = |field: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n").into_bytes();
    let body = vec![b'x'; limit + 1];
    let whole =
        |bytes: usize| [&head(&format!("Content-Length: {bytes}"))[..], &body[..bytes]].concat();
    assert_eq!(status(&whole(limit)), 204);
    assert_eq!(status(&whole(limit + 1)), 413);
    let chunked = |first: usize, second: usize| {
        let mut bytes = head("Transfer-Encoding: chunked");
        for size in [first, second] {
            bytes.extend_from_slice(format!("{size:x}\r\n").as_bytes());
            bytes.extend_from_slice(&body[..size]);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes
    };
    assert_eq!(status(&chunked(limit - 1, 1)), 204);
    assert_eq!(status(&chunked(limit, 1)), 413);
    assert_eq!(status(&chunked(1, limit)), 413);
}

#[test]
fn extensions_and_trailers_may_have_exactly_their_limit() {
    let limit = Limits::default().chunk_overhead_bytes;
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    // `;a=x..` counts in one, `A: x..` with its line end in the other. The size line of one byte of
    // data counts except for one byte.
    let last = "0\r\n\r\n".len();
    for (chunks, uncounted) in [
        ("5;a=X\r\nbbbbb\r\n0\r\n\r\n", "5\r\nbbbbb\r\n".len() + last),
        ("1;a=X\r\nb\r\n0\r\n\r\n", 2 + last),
        ("0;a=\"X\"\r\n\r\n", last),
        ("0\r\nA: X\r\n\r\n", last),
        ("1;a\r\nb\r\n0\r\nA: X\r\n\r\n", 2 + last),
    ] {
        let with = |bytes| [&head[..], &stretched(chunks, uncounted + bytes)].concat();
        assert_eq!(status(&with(limit)), 204, "{chunks}");
        assert_eq!(status(&with(limit + 1)), 400, "{chunks}");
    }
    // Many small chunks count like a large one (CVE-2023-39326).
    let many = |chunks: usize| {
        let chunks = "5;a\r\nbbbbb\r\n".repeat(chunks);
        [&head[..], chunks.as_bytes(), b"0\r\n\r\n"].concat()
    };
    assert_eq!(status(&many(limit / 2)), 204);
    assert_eq!(status(&many(limit / 2 + 1)), 400);
}

#[test]
fn size_lines_may_not_outgrow_the_data_by_more_than_the_limit() {
    let limit = Limits::default().chunk_overhead_bytes;
    let body = |size_digits: usize, data_bytes: usize, chunks: usize| {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let data = "x".repeat(data_bytes);
        let chunk = format!("{data_bytes:0size_digits$x}\r\n{data}\r\n");
        format!("{head}{}0\r\n\r\n", chunk.repeat(chunks)).into_bytes()
    };
    for (size_digits, data_bytes) in [(1, 1), (1, 4), (16, 1), (16, 19)] {
        let beyond = size_digits + "\r\n\r\n".len() - data_bytes;
        let most = limit / beyond;
        assert_eq!(status(&body(size_digits, data_bytes, most)), 204, "{size_digits} {data_bytes}");
        assert_eq!(status(&body(size_digits, data_bytes, most + 1)), 400, "{size_digits}");
    }
    // For writes of any size, down to five bytes.
    for (size_digits, data_bytes) in [(1, 5), (2, 16), (2, 100), (16, 20)] {
        let chunks = Limits::default().body_bytes / data_bytes;
        assert_eq!(status(&body(size_digits, data_bytes, chunks)), 204, "{size_digits}");
    }
}
