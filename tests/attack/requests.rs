//! Requests that must be refused, and text that must stay inside its event.

use crate::{
    client::{Client, field, status},
    testbed::{Neighbour, Testbed},
};

#[test]
fn malformed_requests_get_one_refusal_with_a_reason_and_the_connection_ends() {
    let testbed = Testbed::start(&[]);
    let mut neighbour = Neighbour::of(&testbed);
    for (expected, request) in malformed() {
        let shown = String::from_utf8_lossy(&request[..request.len().min(120)]).into_owned();
        let mut client = Client::connect(testbed.address);
        client.send(&request);
        // The start of this request is doubtful: it must not be answered.
        let _refused_already = client.try_send(b"GET /hello HTTP/1.1\r\nHost: test\r\n\r\n");
        client.half_close_if_open();
        let answer = client.rest();
        let (head, reason) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{shown:?}"));
        assert_eq!(status(head), expected, "{shown:?}: {reason}");
        assert_eq!(field(head, "connection"), Some("close"), "{shown:?}");
        let length = field(head, "content-length").map(|length| length.parse());
        assert_eq!(length, Some(Ok(reason.len())), "{shown:?}: one answer, and whole");
        assert!(reason.len() > 10, "{shown:?}: {reason:?} is no reason");
    }
    neighbour.ticks_on();
}

#[test]
fn a_body_at_the_limit_is_taken_and_one_byte_more_is_not() {
    let testbed = Testbed::start(&[]);
    let mut neighbour = Neighbour::of(&testbed);
    for (length, expected) in [(1 << 20, 405), ((1 << 20) + 1, 413)] {
        let mut client = Client::connect(testbed.address);
        client.send(format!(
            "POST /hello HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n"
        ));
        let _refused_already = client.try_send(&vec![b'x'; length]);
        assert_eq!(client.answer().status, expected, "Content-Length: {length}");

        let mut client = Client::connect(testbed.address);
        client.send("POST /hello HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
        let mut body = format!("{length:x}\r\n").into_bytes();
        body.resize(body.len() + length, b'x');
        body.extend_from_slice(b"\r\n0\r\n\r\n");
        let _refused_already = client.try_send(&body);
        assert_eq!(client.answer().status, expected, "a chunk of {length}");
    }
    neighbour.ticks_on();
}

#[test]
fn text_of_a_peer_stays_inside_its_field() {
    let testbed = Testbed::start(&[]);
    let mut client = Client::connect(testbed.address);
    for (field, text) in [
        ("event", "%0A"),
        ("event", "%0D"),
        ("event", "a%0D%0Adata:b"),
        ("id", "%0A"),
        ("id", "1%0Ddata:b"),
        ("id", "%0D%0A"),
        ("id", "1%002"),
    ] {
        let answer = client.get(&format!("/inject?data=x&{field}={text}"));
        assert_eq!(answer.status, 400, "{field}={text}");
        assert!(answer.body.len() > 10, "{field}={text}: {}", answer.body);
    }
    client.open_stream("/inject?event=greeting&id=7&data=a%0D%0Ab%0Ac%0Dd%0D%0A%0D%0Aevent:x");
    let event = client.event().unwrap();
    let (names, data): (Vec<_>, Vec<_>) =
        event.lines().partition(|line| !line.starts_with("data:"));
    assert_eq!(data.join("|"), "data: a|data: b|data: c|data: d|data: |data: event:x");
    assert_eq!(names.len(), 2, "{event}");
    assert!(names.contains(&"event: greeting") && names.contains(&"id: 7"), "{event}");
    assert_eq!(client.event(), None, "one event");
    assert_eq!(client.get("/hello").status, 200, "a finished stream leaves its connection open");
}

fn malformed() -> Vec<(u16, Vec<u8>)> {
    let get = |rest: &str| format!("GET /hello HTTP/1.1\r\n{rest}\r\n");
    let post = |rest: &str| format!("POST /hello HTTP/1.1\r\nHost: test\r\n{rest}");
    let chunked = |body: &str| post(&format!("Transfer-Encoding: chunked\r\n\r\n{body}"));
    let long = |length: usize| "x".repeat(length);
    let mut table: Vec<(u16, Vec<u8>)> = [
        // Request lines.
        (400, "GET /hello\r\n\r\n".into()),
        (400, "GET  /hello HTTP/1.1\r\nHost: test\r\n\r\n".into()),
        (400, "GET /hello HTTP/1.1 \r\nHost: test\r\n\r\n".into()),
        (400, "GET\t/hello HTTP/1.1\r\nHost: test\r\n\r\n".into()),
        (505, "GET /hello HTTP/2.0\r\nHost: test\r\n\r\n".into()),
        (501, "BREW /hello HTTP/1.1\r\nHost: test\r\n\r\n".into()),
        (400, "GET hello HTTP/1.1\r\nHost: test\r\n\r\n".into()),
        (400, "GET /a#b HTTP/1.1\r\nHost: test\r\n\r\n".into()),
        (400, "GET /%zz HTTP/1.1\r\nHost: test\r\n\r\n".into()),
        (400, "GET /%00 HTTP/1.1\r\nHost: test\r\n\r\n".into()),
        (400, "GET /%ff HTTP/1.1\r\nHost: test\r\n\r\n".into()),
        (400, "GET * HTTP/1.1\r\nHost: test\r\n\r\n".into()),
        (400, "\r\n".repeat(10_000)),
        (414, format!("GET /{} HTTP/1.1\r\nHost: test\r\n\r\n", long(20_000))),
        // Fields.
        (400, get("")),
        (400, get("Host: a\r\nHost: a\r\n")),
        (400, get("Host: a b\r\n")),
        (400, get("Host : a\r\n")),
        (400, get("Host: a\r\nX: b\r\n folded\r\n")),
        (400, get("Host: a\r\nX: b\0c\r\n")),
        (400, get("Host: a\r\nX: b\rc\r\n")),
        (400, get("Host: a\r\nX: b\nY: c\r\n")),
        (400, get("Host: a\r\n: no name\r\n")),
        (400, get("Host: a\r\nno colon\r\n")),
        (400, "GET /hello HTTP/1.1\nHost: a\n\n".into()),
        (431, get(&format!("Host: a\r\n{}", "X: y\r\n".repeat(101)))),
        (431, get(&format!("Host: a\r\nX: {}\r\n", long(20_000)))),
        (417, get("Host: a\r\nExpect: a miracle\r\n")),
        // Framing.
        (400, post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")),
        (400, post("Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd")),
        (400, post("Content-Length: 3, 3\r\n\r\nabc")),
        (400, post("Content-Length: +3\r\n\r\nabc")),
        (400, post("Content-Length: -3\r\n\r\nabc")),
        (400, post("Content-Length: 0x3\r\n\r\nabc")),
        (400, post("Content-Length: \r\n\r\nabc")),
        (413, post("Content-Length: 99999999999\r\n\r\nabc")),
        (501, post("Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")),
        (400, post("Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n")),
        (400, post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n")),
        (400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into()),
        (415, post("Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc")),
        // Chunks.
        (400, chunked("zz\r\n")),
        (400, chunked("-1\r\n")),
        (400, chunked("0x1\r\na\r\n0\r\n\r\n")),
        (400, chunked("3\nabc\r\n0\r\n\r\n")),
        (400, chunked("3\r\nabcX\r\n0\r\n\r\n")),
        (400, chunked("3\r\nabc\n0\r\n\r\n")),
        (400, chunked("11111111111111111\r\nabc\r\n")),
        (413, chunked("1111111111111111\r\nabc\r\n")),
        (400, chunked(&format!("3;x={}\r\nabc\r\n0\r\n\r\n", long(20_000)))),
        (400, chunked("0\r\nno colon\r\n\r\n")),
        (400, chunked(&format!("0\r\n{}\r\n", "X: y\r\n".repeat(5_000)))),
    ]
    .map(|(status, request): (u16, String)| (status, request.into_bytes()))
    .into();
    // First bytes of other protocols: TLS, HTTP/2, SOCKS 5, and noise.
    table.push((400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()));
    table.push((400, b"\x05\x01\x00".to_vec()));
    table.push((400, b"\xff\xfe\xfd\r\n\r\n".to_vec()));
    table.push((505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()));
    table
}
