//! Guarantees of the complete layer: framing, case by case and cut everywhere.

use proptest::prelude::*;

use self::cases::Expect::{Body as Taken, Status};
use super::*;
use crate::Limits;

mod cases;
mod lists;

/// The outcome of one connection's bytes.
#[derive(Debug, Default, Clone, PartialEq)]
struct Outcome {
    requests: Vec<Seen>,
    refusal: Option<Refusal>,
    /// What remains unfinished: the stage of the reader at the end.
    is_unfinished: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Seen {
    method: Method,
    version: Version,
    target: String,
    path: String,
    route_path: String,
    host: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Seen {
    fn of(request: &Request) -> Self {
        let owned = |(name, value): (&str, &[u8])| (name.to_owned(), value.to_vec());
        Self {
            method: request.method(),
            version: request.version(),
            target: request.target().to_owned(),
            path: request.path().to_owned(),
            route_path: request.route_path().to_owned(),
            host: request.host().to_owned(),
            headers: request.headers().map(owned).collect(),
            body: request.body().to_vec(),
        }
    }
}

/// Feeds pieces like a connection: all of a piece is used before the next one.
fn read_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limits: &Limits) -> Outcome {
    let (mut reader, mut request) = (Reader::new(), Request::new());
    let mut outcome = Outcome::default();
    for mut piece in pieces {
        loop {
            match reader.advance(&mut piece, limits, &mut request) {
                Ok(Progress::Complete) => outcome.requests.push(Seen::of(&request)),
                Ok(_) => break,
                Err(refusal) => {
                    outcome.refusal = Some(refusal);
                    return outcome;
                }
            }
        }
        assert!(piece.is_empty(), "all input is taken");
    }
    outcome.is_unfinished = !reader.stage().is_between_requests();
    outcome
}

/// Feeds everything through `keep`, like bytes after a request that is being answered.
fn read_kept(bytes: &[u8], limits: &Limits) -> Outcome {
    let (mut reader, mut request) = (Reader::new(), Request::new());
    let mut outcome = Outcome::default();
    reader.keep(bytes);
    while reader.has_kept() {
        match reader.advance(&mut &[][..], limits, &mut request) {
            Ok(Progress::Complete) => outcome.requests.push(Seen::of(&request)),
            Ok(_) => {}
            Err(refusal) => {
                outcome.refusal = Some(refusal);
                return outcome;
            }
        }
    }
    outcome.is_unfinished = !reader.stage().is_between_requests();
    outcome
}

fn read_whole(bytes: &[u8]) -> Outcome {
    read_pieces([bytes], &Limits::default())
}

/// The outcome must not depend on where the bytes are cut.
fn assert_cuts_do_not_matter(bytes: &[u8], limits: &Limits) {
    let whole = read_pieces([bytes], limits);
    assert_eq!(read_kept(bytes, limits), whole, "kept");
    assert_eq!(read_pieces(bytes.chunks(1), limits), whole, "byte by byte");
    for cut in 0..bytes.len() {
        let (first, second) = bytes.split_at(cut);
        assert_eq!(read_pieces([first, second], limits), whole, "cut at {cut}");
    }
}

#[test]
fn every_doubt_is_refused_and_nothing_else() {
    let mut surprises = String::new();
    for (bytes, expect, case) in cases::all() {
        let Outcome { requests, refusal, is_unfinished } = read_whole(&bytes);
        let bodies: Vec<_> = requests.iter().map(|seen| &seen.body[..]).collect();
        let as_expected = match expect {
            Taken(body) => refusal.is_none() && !is_unfinished && bodies == [*body],
            Status(status) => refusal.is_some_and(|it| it.status() == *status) && bodies.is_empty(),
        };
        if !as_expected {
            surprises += &format!("{case}\n  {expect:?}, not {refusal:?}, {requests:?}\n");
        }
    }
    assert!(surprises.is_empty(), "{surprises}");
}

#[test]
fn cuts_do_not_matter() {
    let next = b"\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    for (bytes, expect, _) in cases::all() {
        let bytes = match expect {
            Taken(_) => [&bytes[..], next, &bytes, &next[..9]].concat(),
            Status(_) => [&next[..], &bytes].concat(),
        };
        assert_cuts_do_not_matter(&bytes, &Limits::default());
    }
}

#[test]
fn limits_have_their_own_answers() {
    let limits = Limits {
        head_bytes: 64,
        header_fields: 2,
        body_bytes: 4,
        chunk_overhead_bytes: 10,
        ..Limits::default()
    };
    let long = "x".repeat(64);
    let chunked = |rest: &str| {
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{rest}")
    };
    let cases = [
        (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), Some(414)),
        (format!("GET /{long}"), Some(414)),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nA: {long}\r\n\r\n"), Some(431)),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nA: {long}"), Some(431)),
        ("GET / HTTP/1.1\r\nHost: a\r\nB:\r\nC:\r\n\r\n".to_owned(), Some(431)),
        ("GET / HTTP/1.1\r\nHost: a\r\nB:\r\n\r\n".to_owned(), None),
        ("\r\n".repeat(33), Some(400)),
        ("\r\n".repeat(32) + "GET / HTTP/1.1\r\n", Some(400)),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n".to_owned(), Some(413)),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd".to_owned(), None),
        (chunked("2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n"), None),
        (chunked("2\r\nab\r\n3\r\n"), Some(413)),
        (chunked("1;a=bcd\r\na\r\n0\r\n\r\n"), None),
        (chunked("1;a=bcde\r\na\r\n0\r\n\r\n"), Some(400)),
        (chunked("1;a=b\r\na\r\n0\r\nA:\r\n\r\n"), Some(400)),
        (chunked("0\r\nAB:c\r\nA:\r\n\r\n"), None),
        (chunked("0\r\nAB:c\r\nAB:\r\n"), Some(400)),
        (chunked("1\r\na\r\n1\r\nb\r\n0\r\n\r\n"), None),
        (chunked("1\r\na\r\n0001\r\nb\r\n"), Some(400)),
        (chunked("1\r\na\r\n1\r\nb\r\n1\r\n"), Some(400)),
    ];
    for (text, status) in cases {
        let outcome = read_pieces([text.as_bytes()], &limits);
        assert_eq!(outcome.refusal.map(|refusal| refusal.status().as_u16()), status, "{text:?}");
        assert_eq!(outcome.requests.len(), usize::from(status.is_none()), "{text:?}");
        assert_cuts_do_not_matter(text.as_bytes(), &limits);
    }
}

#[test]
fn more_fields_than_the_stack_holds_are_read_as_well() {
    let limits = Limits { header_fields: 500, ..Limits::default() };
    let fields: String = (1..500).map(|n| format!("X-{n}: {n}\r\n")).collect();
    let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let outcome = read_pieces([text.as_bytes()], &limits);
    assert_eq!(outcome.requests[0].headers.len(), 500);
    assert_eq!(outcome.requests[0].headers[499], ("X-499".to_owned(), b"499".to_vec()));
}

#[test]
fn many_pipelined_requests_come_out_in_order() {
    let mut bytes = Vec::new();
    for number in 0..2000 {
        let body = "x".repeat(number % 7);
        let request = match number % 3 {
            0 => format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n"),
            1 => {
                let length_bytes = body.len();
                format!(
                    "PUT /{number} HTTP/1.1\r\nHost: a\r\nContent-Length: {length_bytes}\r\n\r\n{body}"
                )
            }
            _ => format!(
                "PUT /{number} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                 1\r\n{}\r\n0\r\n\r\n",
                number % 10
            ),
        };
        bytes.extend_from_slice(request.as_bytes());
    }
    let whole = read_whole(&bytes);
    assert_eq!((whole.refusal, whole.is_unfinished), (None, false));
    let targets: Vec<_> = whole.requests.iter().map(|seen| seen.target.clone()).collect();
    assert_eq!(targets, (0..2000).map(|number| format!("/{number}")).collect::<Vec<_>>());
    assert_eq!(read_kept(&bytes, &Limits::default()), whole);
    for piece_bytes in [1, 7, 1000, 65_536] {
        assert_eq!(read_pieces(bytes.chunks(piece_bytes), &Limits::default()), whole);
    }
}

#[test]
fn the_authority_of_the_target_wins_over_host() {
    let request = Request::parse(b"GET https://b:81?c=d HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!((request.host(), request.path(), request.query()), ("b:81", "/", Some("c=d")));
    assert_eq!(request.header("host"), Some("a"));
    assert_eq!(request.target(), "https://b:81?c=d");
}

#[test]
fn the_client_decides_whether_the_connection_is_kept() {
    let keeps = |head: &str| {
        let bytes = format!("GET / {head}\r\nHost: a\r\n\r\n");
        Request::parse(bytes.as_bytes()).expect("a request").keep_alive()
    };
    for head in ["HTTP/1.1", "HTTP/1.1\r\nConnection: x", "HTTP/1.0\r\nConnection: Keep-Alive"] {
        assert!(keeps(head), "{head}");
    }
    for head in [
        "HTTP/1.1\r\nConnection: close",
        "HTTP/1.1\r\nConnection: keep-alive, , Close",
        "HTTP/1.1\r\nConnection: keep-alive\r\nConnection: close",
        "HTTP/1.0",
        "HTTP/1.0\r\nConnection: keep-alive, close",
    ] {
        assert!(!keeps(head), "{head}");
    }
}

#[test]
fn parameters_may_contain_a_slash() {
    let mut request = Request::get("/files/a%2fb%25/c");
    assert_eq!(request.path(), "/files/a/b%/c");
    let route_path = request.take_route_path();
    assert_eq!(route_path, "/files/a%2Fb%25/c");
    request.set_params([("file", &route_path[7..15]), ("rest", &route_path[16..])].into_iter());
    request.put_route_path(route_path);
    assert_eq!(request.param("file"), Some("a/b%"));
    assert_eq!(request.params().collect::<Vec<_>>(), [("file", "a/b%"), ("rest", "c")]);
    assert_eq!(request.param("none"), None);
    assert_eq!(request.path(), "/files/a/b%/c");
}

#[test]
fn a_cleared_request_keeps_nothing_of_the_previous_one() {
    let mut request =
        Request::parse(b"PUT http://b/%2F?q HTTP/1.0\r\nA: b\r\nContent-Length: 1\r\n\r\nx")
            .unwrap();
    request.set_params([("a", "b")].into_iter());
    let peer = Peer::Ip(([192, 0, 2, 1], 80).into());
    request.set_sender(peer, &TrustedPeers::none(), ForwardedField::XForwardedFor);
    assert!(request.client_ip().is_some());
    request.clear();
    assert_eq!(Seen::of(&request), Seen::of(&Request::new()));
    assert_eq!((request.query(), request.params().count()), (None, 0));
    assert_eq!((request.peer(), request.client_ip()), (Peer::Unix, None));
}

#[test]
fn parts_and_extras_are_not_one_request() {
    let reason = |bytes: &[u8]| {
        Request::parse(bytes).map(|_| ()).map_err(|refusal| refusal.status().as_u16())
    };
    assert_eq!(reason(b""), Err(400));
    assert_eq!(reason(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nG"), Err(400));
    assert_eq!(reason(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na"), Err(400));
    let expects = b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    assert_eq!(reason(expects), Err(400));
}

#[test]
fn header_values_need_not_be_text() {
    let request = Request::parse(
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \xff\r\nLast-Event-ID: \xe2\x80\xa6\r\n\r\n",
    )
    .unwrap();
    assert_eq!(request.header("x"), None);
    assert_eq!(request.header_bytes("x"), Some(&b"\xff"[..]));
    assert_eq!(request.last_event_id(), Some("…"));
}

#[test]
fn logs_do_not_show_credentials() {
    let request = Request::parse(
        b"PUT / HTTP/1.1\r\nHost: a\r\nCookie: s=hush\r\nContent-Length: 4\r\n\r\nhush",
    )
    .unwrap();
    let shown = format!("{request:?}");
    assert!(!shown.contains("hush") && !shown.contains("104"), "{shown}");
}

#[test]
fn a_header_that_cannot_be_sent_is_remembered() {
    let mut lines = HeaderLines::new();
    lines.push("X-Fine", "1");
    assert_eq!(lines.fault(), None);
    lines.push("X-Bad", "\n");
    assert_eq!(lines.fault(), Some(HeaderFault::Value));
}

#[test]
fn chunks_we_write_are_chunks_we_read() {
    let mut bytes = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let mut expected = Vec::new();
    for length_bytes in [1, 15, 16, 255, 256, 5000] {
        let data = vec![b'x'; length_bytes];
        let mut header = [0; 18];
        let end = chunk_header(length_bytes, &mut header);
        bytes.extend_from_slice(&header[..end]);
        bytes.extend_from_slice(&data);
        bytes.extend_from_slice(CHUNK_END);
        expected.extend_from_slice(&data);
    }
    bytes.extend_from_slice(LAST_CHUNK);
    assert_eq!(Request::parse(&bytes).unwrap().body(), expected);
}

#[test]
fn the_head_of_a_stream_is_read_back() {
    let mut out = Vec::new();
    let (framing, connection) = (StreamFraming::Chunked, Connection::KeepAlive);
    encode_stream_head(&mut out, &Date::new(), framing, connection, []);
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let end = httparse::Response::new(&mut fields).parse(&out);
    assert_eq!(end, Ok(httparse::Status::Complete(out.len())));
}

/// Bytes that are nearly requests: pieces of the grammar in any order.
fn nearly_requests() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => proptest::sample::select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

const PIECES: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /%2F HTTP/1.1\r\nHost: a\r\n",
    "PUT / HTTP/1.0\r\n",
    "Transfer-Encoding: chunked\r\n\r\n",
    "Content-Length: 5\r\n\r\n",
    "Expect: 100-continue\r\n",
    "Connection: close\r\n",
    "A: b\r\n",
    "\r\n",
    "\r",
    "\n",
    "5\r\n",
    "hello",
    "0\r\n\r\n",
    ";x",
    " ",
];

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        read_whole(&bytes);
    }

    #[test]
    fn random_cuts_do_not_matter(
        bytes in nearly_requests(),
        cuts in proptest::collection::vec(0..200usize, 0..8),
        head_bytes in 1..120usize,
    ) {
        let limits = Limits { head_bytes, body_bytes: 12, chunk_overhead_bytes: 8, ..Limits::default() };
        let whole = read_pieces([&bytes[..]], &limits);
        prop_assert_eq!(&read_kept(&bytes, &limits), &whole);
        prop_assert_eq!(&read_pieces(bytes.chunks(1), &limits), &whole);
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|ends| &bytes[ends[0]..ends[1]]);
        prop_assert_eq!(&read_pieces(pieces, &limits), &whole);
    }

    #[test]
    fn a_body_survives_any_chunking(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6),
    ) {
        let mut bytes = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for chunk in &chunks {
            bytes.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(CHUNK_END);
        }
        bytes.extend_from_slice(LAST_CHUNK);
        let request = Request::parse(&bytes).expect("a request");
        prop_assert_eq!(request.body(), chunks.concat());
        prop_assert_eq!(read_pieces(bytes.chunks(3), &Limits::default()).requests.len(), 1);
    }

    #[test]
    fn random_headers_never_split_a_response(name in ".{0,12}", value in any::<String>()) {
        let response = Response::text("body").with_header(&name, &value).with_header("X-Last", "1");
        let mut out = Vec::new();
        response.encode_head(&mut out, &Date::new(), Connection::Close, Version::Http11);
        let mut fields = [httparse::EMPTY_HEADER; 16];
        let mut parsed = httparse::Response::new(&mut fields);
        prop_assert_eq!(parsed.parse(&out), Ok(httparse::Status::Complete(out.len())));
        prop_assert!(parsed.headers.len() <= 6);
        prop_assert_eq!(parsed.code, Some(response.status().as_u16()));
    }

    #[test]
    fn random_targets_never_panic(target in ".{0,40}") {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        if let Ok(request) = Request::parse(bytes.as_bytes()) {
            request.query_pairs().count();
            prop_assert!(!request.path().is_empty());
        }
    }
}
