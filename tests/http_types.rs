//! Conversions to and from the types of the crate `http`.

use http_types::{self as http, HeaderValue};
use starwheel::{
    Body, FromHttpError, Method, Request, Response, Router, StatusCode, Version,
    testing::Simulation,
};

const METHODS: [Method; 8] = [
    Method::Get,
    Method::Head,
    Method::Post,
    Method::Put,
    Method::Patch,
    Method::Delete,
    Method::Options,
    Method::Query,
];

#[test]
fn every_status_and_method_of_ours_comes_back() {
    for code in 100..1000 {
        let theirs = http::StatusCode::from_u16(code).unwrap();
        match StatusCode::try_from(theirs) {
            Ok(ours) => assert_eq!(http::StatusCode::from(ours), theirs),
            Err(_) => assert!(!(200..600).contains(&code), "{code}"),
        }
    }
    for ours in METHODS {
        let theirs = http::Method::from(ours);
        assert_eq!(theirs.as_str(), ours.as_str());
        assert_eq!(Method::try_from(&theirs), Ok(ours));
    }
    for other in [http::Method::TRACE, http::Method::CONNECT, "get".parse().unwrap()] {
        let error = FromHttpError::Method(other.to_string());
        assert_eq!(Method::try_from(&other), Err(error));
    }
    assert_eq!(http::Version::from(Version::Http10), http::Version::HTTP_10);
}

#[test]
fn the_head_of_a_request_is_whole() {
    let request = Request::parse(
        b"QUERY /a%20b/{x}?q=%FF HTTP/1.0\r\nHost: a\r\nCookie: a=1\r\nX: caf\xe9\r\ncookie: b=2\r\n\
          Content-Length: 2\r\n\r\nhi",
    )
    .unwrap();
    let parts = http::request::Parts::try_from(&request).unwrap();
    assert_eq!((parts.method.as_str(), parts.version), ("QUERY", http::Version::HTTP_10));
    assert_eq!(parts.uri.to_string(), "/a%20b/{x}?q=%FF");
    let cookies: Vec<_> = parts.headers.get_all("cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    assert_eq!(parts.headers["x"].as_bytes(), b"caf\xe9");
    assert_eq!(parts.headers.len(), 5);
    let all = Request::parse(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(http::request::Parts::try_from(&all).unwrap().uri, "*");
    let absolute = Request::get("http://localhost/x?y");
    assert_eq!(http::request::Parts::try_from(&absolute).unwrap().uri.path(), "/x");
}

/// Whatever the crate says of it, nothing panics.
#[test]
fn any_target_is_converted_or_refused() {
    for byte in 0x21..0x7f {
        let target = format!("GET /{0}?{0} HTTP/1.1\r\nHost: a\r\n\r\n", char::from(byte));
        if let Ok(request) = Request::parse(target.as_bytes())
            && let Ok(parts) = http::request::Parts::try_from(&request)
        {
            assert_eq!(parts.uri.to_string(), request.target());
        }
    }
}

#[test]
fn a_response_goes_there_and_comes_back() {
    let ours = Response::bytes("image/png", vec![1, 2, 3])
        .with_status(StatusCode::CREATED)
        .with_header("Set-Cookie", "a=1")
        .with_header("X-Umlaut", "Gödel: 1")
        .with_header("Set-Cookie", "b=2")
        .with_header("X-Empty", "");
    let theirs = http::Response::<Body>::try_from(ours).unwrap();
    assert_eq!((theirs.status().as_u16(), theirs.body().as_slice()), (201, &[1, 2, 3][..]));
    let cookies: Vec<_> = theirs.headers().get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    assert_eq!(theirs.headers()["x-umlaut"].as_bytes(), "Gödel: 1".as_bytes());
    assert_eq!(theirs.headers().len(), 5);
    let back = Response::try_from(theirs).unwrap();
    assert_eq!((back.status().as_u16(), back.body()), (201, &[1, 2, 3][..]));
    assert_eq!(back.header("content-type"), Some("image/png"));
    assert_eq!(back.header("x-umlaut"), Some("Gödel: 1"));
    assert_eq!(back.header("x-empty"), Some(""));
}

#[test]
fn framing_is_not_taken_over() {
    let router = Router::new().get("/", |_, _| {
        let foreign = http::Response::builder()
            .header("Content-Length", "7")
            .header("Transfer-Encoding", "chunked")
            .header("Connection", "close")
            .header("Date", "then")
            .header("Content-Type", "text/csv")
            .body("a,b")
            .unwrap();
        Response::try_from(foreign).unwrap()
    });
    let mut simulation = Simulation::new(router);
    let client = simulation.get("/");
    let answer = simulation.response(client);
    assert_eq!((answer.status, answer.text()), (200, "a,b"));
    assert_eq!(answer.header("content-length"), Some("3"));
    assert_eq!(answer.header("content-type"), Some("text/csv"));
    assert_eq!((answer.header("transfer-encoding"), answer.header("connection")), (None, None));
}

#[test]
fn what_cannot_be_sent_is_refused() {
    let latin = HeaderValue::from_bytes(b"caf\xe9").unwrap();
    let foreign = http::Response::builder().header("X-Name", latin).body("").unwrap();
    let error = Response::try_from(foreign).unwrap_err();
    assert_eq!(error, FromHttpError::HeaderValue("x-name".into()));
    for status in [100, 199, 600, 999] {
        let foreign = http::Response::builder().status(status).body("").unwrap();
        assert!(matches!(Response::try_from(foreign), Err(FromHttpError::Status(_))), "{status}");
    }
}

#[test]
fn a_request_that_another_server_has_read_keeps_its_parts() {
    let theirs = http::Request::builder()
        .method("QUERY")
        .uri("/a%20b/%2F?q=%FF&r=+")
        .header("Host", "a:8080")
        .header("Cookie", "a=1")
        .header("Last-Event-ID", HeaderValue::from_bytes(b"caf\xe9").unwrap())
        .header("Cookie", "b=2")
        .body("hi")
        .unwrap();
    let ours = Request::try_from(theirs).unwrap();
    assert_eq!((ours.method(), ours.version()), (Method::Query, Version::Http11));
    assert_eq!((ours.path(), ours.target()), ("/a b//", "/a%20b/%2F?q=%FF&r=+"));
    assert_eq!(ours.query_value("r").as_deref(), Some(" "));
    assert_eq!((ours.host(), ours.body()), ("a:8080", &b"hi"[..]));
    assert_eq!((ours.cookie("a"), ours.cookie("b")), (Some("1"), Some("2")));
    assert_eq!(ours.last_event_id(), Some("\u{fffd}"));
    assert_eq!(ours.headers().count(), 4);
}

/// HTTP/2 has no Host field; in HTTP/1.1 an absolute target takes precedence over it (RFC 9112
/// section 3.2.2).
#[test]
fn the_host_of_a_request_that_another_server_has_read() {
    let read = |version, uri: &str, host: Option<&str>| {
        let mut theirs = http::Request::builder().version(version).uri(uri);
        if let Some(host) = host {
            theirs = theirs.header("host", host);
        }
        Request::try_from(theirs.body(Vec::new()).unwrap())
    };
    let h2 = read(http::Version::HTTP_2, "https://shop.example/cart?id", None).unwrap();
    assert_eq!((h2.host(), h2.header("Host")), ("shop.example", Some("shop.example")));
    assert_eq!((h2.target(), h2.query()), ("/cart?id", Some("id")));
    let absolute = read(http::Version::HTTP_11, "http://b/", Some("a")).unwrap();
    assert_eq!((absolute.host(), absolute.header("host")), ("b", Some("a")));
    assert_eq!(read(http::Version::HTTP_10, "/", None).unwrap().host(), "");
    for (uri, host) in [("/", "a b"), ("/%zz", "a"), ("/%00", "a"), ("*", "a"), ("a:1", "a")] {
        let refused = read(http::Version::HTTP_11, uri, Some(host)).map(|it| it.path().to_owned());
        assert!(matches!(refused, Err(FromHttpError::Request(_))), "{uri} {host}: {refused:?}");
    }
    let trace = http::Request::builder().method("TRACE").body("").unwrap();
    assert!(matches!(Request::try_from(trace), Err(FromHttpError::Method(_))));
}

/// hyper accepts them. Two programs that read one request must not disagree about its host.
#[test]
fn what_is_refused_from_a_client_is_refused_from_another_server_too() {
    let hosts: [&[&str]; 7] =
        [&["a"], &["a", "b"], &["a", "a"], &["a b"], &["a@b"], &[""], &[":80"]];
    let uris = [
        "/",
        "/a?b=c",
        "/?",
        "*",
        "http://b",
        "http://b?q",
        "http://b:80/c?d#e",
        "http://[::1]:80/",
        "http://me@b/",
        "http://:80/",
        "https://b/%2",
        "http://b/%FF",
        "/{x}\"|?{",
        "//b/c",
    ];
    for (uri, hosts) in uris.iter().flat_map(|uri| hosts.iter().map(move |hosts| (uri, hosts))) {
        for method in ["GET", "OPTIONS"] {
            let mut theirs = http::Request::builder().method(method).uri(*uri);
            let mut text = format!("{method} {} HTTP/1.1\r\n", uri.split('#').next().unwrap());
            for host in *hosts {
                theirs = theirs.header("host", *host);
                text.push_str(&format!("Host: {host}\r\n"));
            }
            let Ok(theirs) = theirs.body(Vec::new()) else { continue };
            let parts = |it: Request| {
                (it.host().to_owned(), it.path().to_owned(), it.query().map(str::to_owned))
            };
            // Which of two reasons is given may differ.
            let theirs = Request::try_from(theirs).map(parts).ok();
            let ours = Request::parse(format!("{text}\r\n").as_bytes()).map(parts).ok();
            assert_eq!(theirs, ours, "{text}");
        }
    }
    // Requests of tests often have none.
    let without = http::Request::builder().uri("/").body(Vec::new()).unwrap();
    assert_eq!(Request::try_from(without).unwrap().host(), "");
}
