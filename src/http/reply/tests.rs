//! Replies as a client receives them.

use super::*;

/// What a client makes of a reply: status, fields with lower case names, body.
fn received(reply: Reply, connection: Connection, version: Version) -> Received {
    let mut out = Vec::new();
    reply.encode_head(&mut out, &Date::new(), connection, version);
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
        body: reply.into_body().as_slice().to_vec(),
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

fn received_11(reply: Reply) -> Received {
    received(reply, Connection::KeepAlive, Version::Http11)
}

#[test]
fn a_reply_is_small() {
    assert!(size_of::<Reply>() <= 96, "{}", size_of::<Reply>());
}

#[test]
fn a_reply_is_read_back_as_it_was_meant() {
    let reply = Reply::html("<p>ä</p>").header("Set-Cookie", "a=1").header("Set-Cookie", "b=2");
    let seen = received_11(reply);
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
    for status in 200..600 {
        assert_eq!(received_11(Reply::status(status)).status, status);
    }
}

#[test]
fn the_connection_is_named_where_the_client_would_guess_wrong() {
    let connection = |connection, version| {
        let seen = received(Reply::text("x"), connection, version);
        seen.values("connection").join("; ")
    };
    assert_eq!(connection(Connection::KeepAlive, Version::Http11), "");
    assert_eq!(connection(Connection::KeepAlive, Version::Http10), "keep-alive");
    assert_eq!(connection(Connection::Close, Version::Http11), "close");
    assert_eq!(connection(Connection::Close, Version::Http10), "close");
}

#[test]
fn statuses_without_body_send_none() {
    for (status, lengths) in [(204, &[][..]), (304, &[]), (205, &["0"])] {
        let seen = received_11(Reply::html("dropped").with_status(status));
        assert_eq!(seen.values("content-length"), lengths, "{status}");
        assert_eq!(seen.values("content-type"), [""; 0], "{status}");
        assert_eq!(seen.body, b"", "{status}");
    }
}

#[test]
fn a_reply_that_must_not_be_sent_becomes_a_500_and_stays_one() {
    let broken = [
        Reply::text("x").header("X", "a\r\n\r\n<script>"),
        Reply::text("x").header("X\r\nY", "a"),
        Reply::text("x").header("Content-Length", "5"),
        Reply::text("x").header("content-type", "a\nb"),
        Reply::bytes("a\r\nb", "x"),
        Reply::redirect("/\r\nSet-Cookie: a"),
        Reply::status(100),
        Reply::status(0),
        Reply::status(1000),
        Reply::text("x").with_status(600),
    ];
    for reply in broken {
        let reply = reply.with_status(200).header("X-Late", "1").content_type("text/html");
        let seen = received_11(reply);
        assert_eq!((seen.status, seen.values("x-late").len()), (500, 0));
        assert_eq!(seen.values("content-type"), [TEXT]);
        assert_eq!(seen.values("content-length"), [seen.body.len().to_string()]);
        assert!(seen.body.starts_with(b"the server could not build"));
    }
}

#[test]
fn errors_say_why_as_plain_text() {
    let seen = received_11(Reply::error(409, "too late"));
    assert_eq!((seen.status, seen.phrase.as_str()), (409, "Conflict"));
    assert_eq!(seen.values("content-type"), [TEXT]);
    assert_eq!(seen.values("x-content-type-options"), ["nosniff"]);
    assert_eq!(seen.body, b"too late");
    let seen = received_11(Reply::from(Refusal::CONTENT_CODING));
    assert_eq!((seen.status, seen.values("accept-encoding")), (415, vec!["identity"]));
    let seen = received_11(Reply::from(io::Error::other("/etc/secret is missing")));
    assert_eq!(seen.status, 500);
    assert!(!seen.body.windows(6).any(|part| part == b"secret"));
}
