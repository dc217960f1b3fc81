//! Responses that are compressed, those that must not be, and the fields for caches.

use starwheel::{
    Method, Request, Response, Router, StatusCode,
    testing::{ClientResponse, Simulation},
};

use super::{decoded, get, page};

#[test]
fn responses_are_compressed_from_a_kilobyte_on() {
    let router = Router::new()
        .get("/large", |_req: &Request, _cx| Response::html(page(1)))
        .get("/small", |_req: &Request, _cx| Response::html("<p>small</p>"))
        .get("/image", |_req: &Request, _cx| Response::bytes("image/png", vec![0; 5000]));
    let mut simulation = Simulation::new(router);
    for coding in ["zstd", "br", "gzip"] {
        let client = get(&mut simulation, "/large", coding);
        let answer = simulation.response(client);
        assert_eq!(answer.header("content-encoding"), Some(coding));
        assert_eq!(decoded(&answer), page(1).as_bytes(), "{coding}");
    }
    for target in ["/small", "/image"] {
        let client = get(&mut simulation, target, "zstd");
        assert_eq!(simulation.response(client).header("content-encoding"), None, "{target}");
    }
}

/// A partial response is a part of the uncompressed bytes.
#[test]
fn parts_of_a_page_are_not_compressed() {
    let part = |status: StatusCode| {
        let response = Response::html(page(1)).with_status(status);
        response.with_header("Content-Range", "bytes 0-9999/20000")
    };
    let router = Router::new()
        .get("/part", move |_req, _cx| part(StatusCode::PARTIAL_CONTENT))
        .get("/error", move |_req, _cx| part(StatusCode::RANGE_NOT_SATISFIABLE))
        .get("/parts", |_req, _cx| {
            let body = Response::bytes("multipart/byteranges; boundary=a", page(1));
            body.with_status(StatusCode::PARTIAL_CONTENT)
        })
        .get("/text", |_req, _cx| Response::text(page(1)).with_status(StatusCode::PARTIAL_CONTENT));
    let mut simulation = Simulation::new(router);
    for target in ["/part", "/error", "/parts", "/text"] {
        assert_is_plain(&ask(&mut simulation, target, &[("Accept-Encoding", "zstd")]), target);
    }
}

#[test]
fn no_transform_responses_are_not_compressed() {
    let cache_control = |values: &'static [&'static str]| {
        move |_req: &Request, _cx: &mut starwheel::Context<'_>| {
            let response = Response::html(page(1));
            values
                .iter()
                .fold(response, |response, value| response.with_header("Cache-Control", value))
        }
    };
    let router = Router::new()
        .get("/1", cache_control(&["no-transform"]))
        .get("/2", cache_control(&["max-age=60,No-Transform"]))
        .get("/3", cache_control(&["private", "max-age=60 ,\tno-transform ,"]))
        .get("/4", cache_control(&["no-transform=x"]))
        .get("/allowed", cache_control(&["no-transformers, x=\"no-transform\"", "no-cache"]));
    let mut simulation = Simulation::new(router);
    for target in ["/1", "/2", "/3", "/4"] {
        assert_is_plain(&ask(&mut simulation, target, &[("Accept-Encoding", "gzip")]), target);
    }
    let answer = ask(&mut simulation, "/allowed", &[("Accept-Encoding", "gzip")]);
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
}

/// A digest of the exact bytes would be wrong for other bytes.
#[test]
fn responses_with_a_digest_of_their_bytes_are_not_compressed() {
    let fields = ["Content-Digest", "Repr-Digest", "Digest", "Content-MD5", "Content-Encoding"];
    let router = fields.into_iter().fold(Router::new(), |router, field| {
        router.get(&format!("/{field}"), move |_req, _cx| {
            Response::html(page(1)).with_header(field, "x")
        })
    });
    let mut simulation = Simulation::new(router);
    for field in fields {
        let answer = ask(&mut simulation, &format!("/{field}"), &[("Accept-Encoding", "br")]);
        assert_eq!(answer.body, page(1).as_bytes(), "{field}");
        let coding = answer.header("content-encoding");
        assert_eq!(coding, (field == "Content-Encoding").then_some("x"), "{field}");
    }
}

/// RFC 9110, section 8.8.3.3: a strong tag names one sequence of bytes.
#[test]
fn compressed_responses_have_a_weak_entity_tag() {
    let tagged = |tag: &'static str| {
        move |_req: &Request, _cx: &mut starwheel::Context<'_>| {
            Response::html(page(1)).with_header("etag", tag)
        }
    };
    let router = Router::new()
        .get("/strong", tagged("\"v1\""))
        .get("/weak", tagged("W/\"v1\""))
        .get("/small", |_req, _cx| Response::html("small").with_header("ETag", "\"v1\""));
    let mut simulation = Simulation::new(router);
    for (target, coding, expected) in [
        ("/strong", "identity", "\"v1\""),
        ("/strong", "zstd", "W/\"v1\""),
        ("/strong", "br", "W/\"v1\""),
        ("/strong", "gzip", "W/\"v1\""),
        ("/weak", "gzip", "W/\"v1\""),
        ("/small", "gzip", "\"v1\""),
    ] {
        let answer = ask(&mut simulation, target, &[("Accept-Encoding", coding)]);
        assert_eq!(tags(&answer), [expected], "{target} {coding}");
    }
}

/// A cache updates its entry by a 304 whose tag it knows (RFC 9111, section 4.3.4).
#[test]
fn a_response_that_was_not_modified_names_the_tag_that_the_client_has() {
    let router = Router::new().get("/", |req, _cx| {
        let response = if req.if_none_match("\"v1\"") {
            Response::new(StatusCode::NOT_MODIFIED)
        } else {
            Response::html(page(1))
        };
        response.with_header("ETag", "\"v1\"")
    });
    let mut simulation = Simulation::new(router);
    for (coding, known, status, tag) in [
        ("gzip", "W/\"v1\"", 304, "W/\"v1\""),
        ("gzip", "\"v0\", W/\"v1\" , \"v2\"", 304, "W/\"v1\""),
        ("gzip", "\"v1\"", 304, "\"v1\""),
        ("gzip", "\"v1\", W/\"v1\"", 304, "W/\"v1\""),
        ("gzip", "*", 304, "\"v1\""),
        ("identity", "\"v1\"", 304, "\"v1\""),
        ("identity", "W/\"v1\"", 304, "\"v1\""),
        ("gzip", "W/\"v2\"", 200, "W/\"v1\""),
        ("identity", "\"v2\"", 200, "\"v1\""),
    ] {
        let fields = [("Accept-Encoding", coding), ("If-None-Match", known)];
        let answer = ask(&mut simulation, "/", &fields);
        assert_eq!((answer.status, tags(&answer)), (status, vec![tag]), "{coding}, {known}");
    }
}

/// RFC 9110, sections 15.3.7 and 15.4.5: the same fields as in the 200.
#[test]
fn partial_and_not_modified_responses_have_vary() {
    let router = Router::new()
        .get("/304", |_req, _cx| Response::new(StatusCode::NOT_MODIFIED))
        .get("/206", |_req, _cx| {
            let part = Response::html("part").with_status(StatusCode::PARTIAL_CONTENT);
            part.with_header("Content-Range", "bytes 0-3/9999")
        })
        .get("/parts", |_req, _cx| {
            Response::bytes("multipart/byteranges; boundary=a", "part")
                .with_status(StatusCode::PARTIAL_CONTENT)
        })
        .get("/image", |_req, _cx| {
            Response::bytes("image/png", "part").with_status(StatusCode::PARTIAL_CONTENT)
        })
        .get("/own", |_req, _cx| {
            Response::new(StatusCode::NOT_MODIFIED).with_header("Vary", "Origin, accept-encoding")
        })
        .get("/any", |_req, _cx| Response::html(page(1)).with_header("Vary", "*"))
        .get("/other", |_req, _cx| Response::html(page(1)).with_header("Vary", "Accept-Encodings"))
        .get("/fixed", |_req, _cx| {
            Response::new(StatusCode::NOT_MODIFIED).with_header("Cache-Control", "no-transform")
        })
        .get("/204", |_req, _cx| Response::no_content());
    let mut simulation = Simulation::new(router);
    for (target, expected) in [
        ("/304", &["Accept-Encoding"][..]),
        ("/206", &["Accept-Encoding"]),
        ("/parts", &["Accept-Encoding"]),
        ("/image", &[]),
        ("/own", &["Origin, accept-encoding"]),
        ("/any", &["*"]),
        ("/other", &["Accept-Encodings", "Accept-Encoding"]),
        ("/fixed", &[]),
        ("/204", &[]),
    ] {
        for coding in ["gzip", "identity"] {
            let answer = ask(&mut simulation, target, &[("Accept-Encoding", coding)]);
            assert_eq!(values(&answer, "vary"), expected, "{target} {coding}");
        }
    }
}

fn ask(simulation: &mut Simulation, target: &str, fields: &[(&str, &str)]) -> ClientResponse {
    let client = simulation.connect();
    simulation.request(client, Method::Get, target, fields, b"");
    simulation.turn();
    simulation.response(client)
}

fn assert_is_plain(answer: &ClientResponse, target: &str) {
    assert_eq!(answer.header("content-encoding"), None, "{target}");
    assert_eq!(answer.body, page(1).as_bytes(), "{target}");
}

fn tags(answer: &ClientResponse) -> Vec<&str> {
    values(answer, "etag")
}

fn values<'a>(answer: &'a ClientResponse, name: &str) -> Vec<&'a str> {
    let named = answer.headers.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
    named.map(|(_, value)| value.as_str()).collect()
}
