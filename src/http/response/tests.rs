//! Responses as a client receives them.

use super::*;

/// A parsed response: status, fields with lower case names, body.
fn received(response: Response, connection: Connection, version: Version) -> Received {
    let mut out = Vec::new();
    response.encode_head(&mut out, &Date::new(), connection, version);
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut parsed = httparse::Response::new(&mut fields);
    let end = parsed.parse(&out).expect("a well-formed head");
    assert_eq!(end, httparse::Status::Complete(out.len()), "nothing but a head");
    let field = |field: &httparse::Header<'_>| {
        (field.name.to_lowercase(), String::from_utf8_lossy(field.value).into_owned())
    };
    let (status, phrase) = (parsed.code.unwrap_or_default(), parsed.reason.unwrap_or_default());
    Received {
        status,
        phrase: phrase.to_owned(),
        fields: parsed.headers.iter().map(field).collect(),
        body: response.into_body().as_slice().to_vec(),
    }
}

struct Received {
    status: u16,
    phrase: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Received {
    fn values(&self, name: &str) -> Vec<&str> {
        let found = self.fields.iter().filter(|(sent, _)| sent == name);
        found.map(|(_, value)| value.as_str()).collect()
    }
}

fn received_11(response: Response) -> Received {
    received(response, Connection::KeepAlive, Version::Http11)
}

#[test]
fn a_response_is_small() {
    assert!(size_of::<Response>() <= 96, "{}", size_of::<Response>());
}

#[test]
fn a_response_is_read_back_as_it_was_meant() {
    let response = Response::html("<p>ä</p>")
        .with_header("Set-Cookie", "a=1")
        .with_header("Set-Cookie", "b=2");
    let seen = received_11(response);
    assert_eq!((seen.status, seen.phrase.as_str()), (200, "OK"));
    assert_eq!(seen.values("content-length"), ["9"]);
    assert_eq!(seen.values("content-type"), ["text/html; charset=utf-8"]);
    assert_eq!(seen.values("date"), ["Thu, 01 Jan 1970 00:00:00 GMT"]);
    assert_eq!(seen.values("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(seen.values("connection"), [""; 0]);
    assert_eq!(seen.body, "<p>ä</p>".as_bytes());
}

#[test]
fn every_status_has_a_well_formed_line() {
    for code in 200..600 {
        let status = StatusCode::try_from(code).unwrap();
        assert_eq!(received_11(Response::new(status)).status, code);
    }
}

#[test]
fn the_connection_is_named_where_the_client_would_guess_wrong() {
    let connection = |connection, version| {
        let seen = received(Response::text("x"), connection, version);
        seen.values("connection").join("; ")
    };
    assert_eq!(connection(Connection::KeepAlive, Version::Http11), "");
    assert_eq!(connection(Connection::KeepAlive, Version::Http10), "keep-alive");
    assert_eq!(connection(Connection::Close, Version::Http11), "close");
    assert_eq!(connection(Connection::Close, Version::Http10), "close");
}

#[test]
fn statuses_without_body_send_none() {
    for (status, lengths) in [
        (StatusCode::NO_CONTENT, &[][..]),
        (StatusCode::NOT_MODIFIED, &[]),
        (StatusCode::RESET_CONTENT, &["0"]),
    ] {
        let seen = received_11(Response::html("dropped").with_status(status));
        assert_eq!(seen.values("content-length"), lengths, "{status}");
        assert_eq!(seen.values("content-type"), [""; 0], "{status}");
        assert_eq!(seen.body, b"", "{status}");
    }
}

#[test]
fn a_response_that_must_not_be_sent_becomes_a_500_and_stays_one() {
    let broken = [
        Response::text("x").with_header("X", "a\r\n\r\n<script>"),
        Response::text("x").with_header("X\r\nY", "a"),
        Response::text("x").with_header("Content-Length", "5"),
        Response::text("x").with_header("content-type", "a\nb"),
        Response::bytes("a\r\nb", "x"),
        Response::redirect("/\r\nSet-Cookie: a"),
    ];
    for response in broken {
        let response = response
            .with_status(StatusCode::OK)
            .with_header("X-Late", "1")
            .with_content_type("text/html");
        let seen = received_11(response);
        assert_eq!((seen.status, seen.values("x-late").len()), (500, 0));
        assert_eq!(seen.values("content-type"), [TEXT]);
        assert_eq!(seen.values("content-length"), [seen.body.len().to_string()]);
        assert!(seen.body.starts_with(b"the server could not build"));
    }
}

#[test]
fn errors_say_why_as_plain_text() {
    let seen = received_11(Response::error(StatusCode::CONFLICT, "too late"));
    assert_eq!((seen.status, seen.phrase.as_str()), (409, "Conflict"));
    assert_eq!(seen.values("content-type"), [TEXT]);
    assert_eq!(seen.values("x-content-type-options"), ["nosniff"]);
    assert_eq!(seen.body, b"too late");
    let seen = received_11(Response::from(Refusal::CONTENT_CODING));
    assert_eq!((seen.status, seen.values("accept-encoding")), (415, vec!["identity"]));
    let seen = received_11(Response::from(io::Error::other("/etc/secret is missing")));
    assert_eq!(seen.status, 500);
    assert!(!seen.body.windows(6).any(|part| part == b"secret"));
}
