//! What pages of other sites can do: with a foreign name, across origins, with commands.

#[path = "support/story.rs"]
mod story;

use starwheel::{
    Config, Cors, Handler, Hosts, Method, OriginCheck, Response, Router, Sse, StatusCode,
    datastar::{PatchElements, Signals},
    testing::{ClientResponse, Simulation},
};
use std::time::{Duration, SystemTime};
use story::assert_closed;

// Hosts.

fn answering_for(hosts: &[&str]) -> Simulation {
    let mut config = Config::default();
    config.hosts = Hosts::only(hosts).expect("hosts");
    let router = Router::new()
        .get("/", |req, _| Response::text(req.host().to_owned()))
        .get("/stream", |_, _| Sse::new().send("hello"));
    Simulation::with_config(config, 0, router)
}

fn answer_to(simulation: &mut Simulation, request: &str) -> ClientResponse {
    let client = simulation.connect();
    simulation.send(client, request.as_bytes());
    simulation.turn();
    simulation.response(client)
}

#[test]
fn a_server_with_a_list_answers_for_its_hosts_alone() {
    let mut simulation = answering_for(&["a.example", "*.b.example"]);
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", 200),
        ("GET / HTTP/1.1\r\nHost: A.example:8080\r\n\r\n", 200),
        ("GET / HTTP/1.1\r\nHost: x.b.example\r\n\r\n", 200),
        ("GET / HTTP/1.1\r\nHost: b.example\r\n\r\n", 421),
        ("GET / HTTP/1.1\r\nHost: attacker.net\r\n\r\n", 421),
        ("GET /stream HTTP/1.1\r\nHost: attacker.net:8080\r\n\r\n", 421),
        ("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 421),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 421),
        // HTTP/1.0 need not name a host.
        ("GET / HTTP/1.0\r\n\r\n", 421),
        ("GET / HTTP/1.0\r\nHost: a.example\r\n\r\n", 200),
        // RFC 9112 section 3.2.2: the target's authority takes precedence over Host.
        ("GET http://a.example/ HTTP/1.1\r\nHost: attacker.net\r\n\r\n", 200),
        ("GET http://attacker.net/ HTTP/1.1\r\nHost: a.example\r\n\r\n", 421),
        ("OPTIONS * HTTP/1.1\r\nHost: attacker.net\r\n\r\n", 421),
    ] {
        assert_eq!(answer_to(&mut simulation, request).status, status, "{request:?}");
    }
    assert_eq!(
        (
            simulation.stats().requests,
            simulation.stats().refused.with(StatusCode::MISDIRECTED_REQUEST)
        ),
        (5, 8)
    );
}

#[test]
fn without_a_list_all_hosts_are_answered_for() {
    let mut simulation = Simulation::new(Router::new().get("/", |_, _| Response::text("hi")));
    for host in ["attacker.net", "", "[::1]:80"] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(answer_to(&mut simulation, &request).status, 200, "{host}");
    }
}

#[test]
fn a_misdirected_request_gets_the_reason_and_ends_the_connection() {
    let mut simulation = answering_for(&["a.example"]);
    for method in ["GET", "HEAD"] {
        let client = simulation.connect();
        let request = format!("{method} / HTTP/1.1\r\nHost: attacker.net\r\n\r\n");
        simulation.send(client, request.as_bytes());
        simulation.send(client, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        simulation.turn();
        let text = String::from_utf8(simulation.received(client)).expect("text");
        assert!(text.starts_with("HTTP/1.1 421 Misdirected Request\r\n"), "{text}");
        assert_eq!(text.contains("check the name"), method == "GET", "{text}");
        assert_eq!(text.matches("HTTP/1.1").count(), 1, "{text}");
        if method == "GET" {
            assert_closed(&simulation, client);
        }
    }
}

// Commands.

/// A site with a command, a page and a stream, inside a layer.
fn site() -> Router {
    let elements = || Response::elements(PatchElements::new("<p id=a>b</p>"));
    let command = move |req: &starwheel::Request, _: &mut starwheel::Context<'_>| {
        Signals::read(req)?;
        Ok::<_, Response>(elements())
    };
    Router::new()
        .get("/", |_, _| Response::html("<p>page</p>"))
        .get("/stream", |_, _| Sse::new().send("hello"))
        .get("/broken", |_, _| -> Result<Sse, Response> {
            Err(Response::error(StatusCode::UNAUTHORIZED, "log in first"))
        })
        .get("/own", |_, _| {
            Response::text("x").with_header("Access-Control-Allow-Origin", "https://own")
        })
        .post("/say", command)
        .put("/say", command)
        .patch("/say", command)
        .delete("/say", command)
        .on(Method::Query, "/say", command)
}

fn ask(
    handler: impl Handler + 'static,
    method: Method,
    target: &str,
    fields: &[(&str, &str)],
) -> ClientResponse {
    let mut simulation = Simulation::new(handler);
    let client = simulation.connect();
    simulation.request(client, method, target, fields, b"");
    simulation.turn();
    simulation.response(client)
}

const COMMANDS: [Method; 5] =
    [Method::Post, Method::Put, Method::Patch, Method::Delete, Method::Query];

#[test]
fn commands_of_foreign_pages_are_refused_and_nothing_else() {
    let checked = || OriginCheck::new().around(site());
    for method in COMMANDS {
        let status = |fields: &[_]| ask(checked(), method, "/say", fields).status;
        for fields in [
            // No browser; a browser's address bar; our own page, on https and on http.
            &[][..],
            &[("Sec-Fetch-Site", "none")],
            &[("Sec-Fetch-Site", "same-origin"), ("Origin", "https://test")],
            &[("Origin", "http://test")],
        ] {
            assert_eq!(status(fields), 200, "{method} {fields:?}");
        }
        for fields in [
            &[("Sec-Fetch-Site", "cross-site"), ("Origin", "https://attacker.net")][..],
            &[("Sec-Fetch-Site", "same-site"), ("Origin", "https://user.test")],
            &[("Sec-Fetch-Site", "cross-site")],
            &[("Origin", "http://attacker.net")],
            &[("Origin", "null")],
        ] {
            assert_eq!(status(fields), 403, "{method} {fields:?}");
        }
    }
    let foreign = [("Sec-Fetch-Site", "cross-site"), ("Origin", "https://attacker.net")];
    for (method, target, status) in [
        (Method::Get, "/", 200),
        (Method::Head, "/", 200),
        (Method::Get, "/stream", 200),
        (Method::Options, "/say", 204),
    ] {
        assert_eq!(ask(checked(), method, target, &foreign).status, status, "{method} {target}");
    }
    let mut simulation = Simulation::new(checked());
    let client = simulation.connect();
    simulation.request(client, Method::Post, "/say", &foreign, b"");
    simulation.turn();
    let reason = "requests from pages of another origin are not allowed here";
    assert_eq!(simulation.response(client).text(), reason);
    assert_eq!(
        (simulation.stats().refused.with(StatusCode::FORBIDDEN), simulation.stats().requests),
        (1, 1)
    );
}

#[test]
fn trusted_origins_may_give_commands() {
    let checked = || {
        let trusted = ["https://app.example", "http://localhost:5173"];
        OriginCheck::new().trust(trusted).expect("origins").around(site())
    };
    for (origin, status) in [
        ("https://app.example", 200),
        ("http://localhost:5173", 200),
        ("http://app.example", 403),
        ("https://app.example:8443", 403),
        ("https://app.example.attacker.net", 403),
        ("null", 403),
    ] {
        for site in ["cross-site", "same-site"] {
            let fields = [("Sec-Fetch-Site", site), ("Origin", origin)];
            assert_eq!(ask(checked(), Method::Post, "/say", &fields).status, status, "{origin}");
        }
        let fields = [("Origin", origin)];
        assert_eq!(ask(checked(), Method::Post, "/say", &fields).status, status, "{origin}");
    }
    assert!(OriginCheck::new().trust(["null"]).is_err());
}

#[test]
fn null_origins_are_trusted_only_when_asked_for_and_where_browsers_say_no_more() {
    let checked = || {
        let check = OriginCheck::new().trust(["https://app.example"]).expect("an origin");
        check.trust_null_origin().around(site())
    };
    let status = |fields: &[_]| ask(checked(), Method::Post, "/say", fields).status;
    assert_eq!(status(&[("Origin", "null")]), 200);
    assert_eq!(status(&[("Origin", "https://app.example")]), 200);
    for origin in ["Null", "null ", "null.example", "https://null", "", "http://attacker.net"] {
        let expected = if origin == "null " { 200 } else { 403 }; // White space is no part of it.
        assert_eq!(status(&[("Origin", origin)]), expected, "{origin:?}");
    }
    for site in ["cross-site", "same-site"] {
        assert_eq!(status(&[("Sec-Fetch-Site", site), ("Origin", "null")]), 403, "{site}");
    }
    assert_eq!(status(&[("Sec-Fetch-Site", "same-origin"), ("Origin", "null")]), 200);
}

#[test]
fn endpoints_that_read_signals_refuse_what_forms_can_send() {
    for content_type in
        ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "x"]
    {
        let mut simulation = Simulation::new(site());
        let client = simulation.connect();
        let fields = [("Content-Type", content_type)];
        simulation.request(client, Method::Post, "/say", &fields, b"{\"a\":1}");
        simulation.turn();
        assert_eq!(simulation.response(client).status, 415, "{content_type}");
    }
}

// CORS.

const PAGE: &str = "https://app.example";

fn cors_fields(answer: &ClientResponse) -> Vec<&str> {
    let mut names: Vec<_> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.retain(|name| name.starts_with("Access-Control-"));
    names
}

fn varies_by_origin(answer: &ClientResponse) -> bool {
    answer.headers.contains(&("Vary".into(), "Origin".into()))
}

fn preflight(
    handler: impl Handler + 'static,
    origin: &str,
    method: &str,
    fields: &str,
) -> ClientResponse {
    let fields = [
        ("Origin", origin),
        ("Access-Control-Request-Method", method),
        ("Access-Control-Request-Headers", fields),
    ];
    ask(handler, Method::Options, "/say", &fields)
}

#[test]
fn without_cors_no_answer_speaks_of_it() {
    for (method, target) in [
        (Method::Get, "/"),
        (Method::Get, "/stream"),
        (Method::Get, "/broken"),
        (Method::Post, "/say"),
        (Method::Options, "/say"),
        (Method::Get, "/nothing"),
    ] {
        let answer = ask(site(), method, target, &[("Origin", PAGE)]);
        assert_eq!(cors_fields(&answer), [""; 0], "{method} {target}");
    }
    assert_eq!(cors_fields(&preflight(site(), PAGE, "PUT", "")), [""; 0]);
}

#[test]
fn responses_streams_and_errors_say_which_page_may_read_them() {
    for target in ["/", "/stream", "/broken", "/nothing"] {
        let listed = || Cors::only([PAGE]).expect("an origin").around(site());
        let answer = ask(listed(), Method::Get, target, &[("Origin", PAGE)]);
        assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE), "{target}");
        assert_eq!(answer.header("access-control-allow-credentials"), None, "{target}");
        assert!(varies_by_origin(&answer), "{target}");

        for fields in [&[][..], &[("Origin", "https://attacker.net")], &[("Origin", "null")]] {
            let answer = ask(listed(), Method::Get, target, fields);
            assert_eq!(cors_fields(&answer), [""; 0], "{target} {fields:?}");
            assert!(varies_by_origin(&answer), "{target}");
        }
    }
}

#[test]
fn a_foreign_page_over_the_stream_limit_can_read_the_refusal() {
    let mut config = Config::default();
    config.limits.streams_per_tag = Some(1);
    let router = Router::new().get("/stream", |_, _| Sse::new().tag("ann"));
    let layered = Cors::with_credentials([PAGE]).expect("an origin").around(router);
    let mut simulation = Simulation::with_config(config, 0, layered);
    let fields = [("Origin", PAGE), ("Accept", "text/event-stream")];
    for opened in [1, 1] {
        let client = simulation.connect();
        simulation.request(client, Method::Get, "/stream", &fields, b"");
        simulation.turn();
        let answer = simulation.response(client);
        assert_eq!((answer.status, simulation.stats().opened), (200, opened));
        assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    }
    assert_eq!(simulation.stats().refused.with(StatusCode::TOO_MANY_REQUESTS), 1);
}

#[test]
fn a_foreign_page_whose_stream_is_not_opened_may_read_why() {
    let expired = || Sse::new().expires_at(SystemTime::UNIX_EPOCH);
    let broken = || Sse::new().header("X-Split", "a\r\nb");
    let streams: [(fn() -> Sse, u16); 2] = [(expired, 403), (broken, 500)];
    for (stream, status) in streams {
        for method in [Method::Get, Method::Head] {
            let router = Router::new().get("/", move |_, _| stream());
            let layered = Cors::with_credentials([PAGE]).expect("an origin").around(router);
            let answer = ask(layered, method, "/", &[("Origin", PAGE)]);
            assert_eq!(answer.status, status);
            assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE));
            assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
            assert!(varies_by_origin(&answer), "{status}");
        }
    }
}

#[test]
fn any_origin_never_comes_with_credentials() {
    for fields in [&[][..], &[("Origin", PAGE), ("Cookie", "id=7")], &[("Origin", "null")]] {
        let answer = ask(Cors::any().around(site()), Method::Get, "/stream", fields);
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        assert!(!varies_by_origin(&answer), "the same for everybody");
    }
}

#[test]
fn credentials_are_for_listed_origins() {
    let layered = || Cors::with_credentials([PAGE]).expect("an origin").around(site());
    for target in ["/", "/stream"] {
        let answer = ask(layered(), Method::Get, target, &[("Origin", PAGE)]);
        assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        let foreign = ask(layered(), Method::Get, target, &[("Origin", "https://attacker.net")]);
        assert_eq!(cors_fields(&foreign), [""; 0]);
    }
}

#[test]
fn a_handler_that_sets_cors_fields_itself_is_not_changed() {
    let layered = Cors::with_credentials([PAGE]).expect("an origin").around(site());
    let answer = ask(layered, Method::Get, "/own", &[("Origin", PAGE)]);
    assert_eq!(cors_fields(&answer), ["Access-Control-Allow-Origin"]);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://own"));
}

#[test]
fn datastar_works_across_origins_as_it_is() {
    let layered = || {
        let checked = OriginCheck::new().trust([PAGE]).expect("an origin").around(site());
        Cors::with_credentials([PAGE]).expect("an origin").around(checked)
    };
    for method in COMMANDS {
        // The request fields in the preflight of the client's fetch, including a retried stream.
        let asked = "content-type,datastar-request,last-event-id";
        let answer = preflight(layered(), PAGE, method.as_str(), asked);
        assert_eq!((answer.status, answer.text()), (204, ""));
        let list = |name| {
            let value = answer.header(name).expect(name).to_lowercase();
            value.split(", ").map(str::to_owned).collect::<Vec<_>>()
        };
        for field in asked.split(',') {
            assert!(list("access-control-allow-headers").contains(&field.to_owned()), "{field}");
        }
        let methods = list("access-control-allow-methods");
        assert!(methods.contains(&method.as_str().to_lowercase()), "{method}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(answer.header("access-control-max-age"), Some("600"));

        let mut simulation = Simulation::new(layered());
        let client = simulation.connect();
        let fields = [
            ("Origin", PAGE),
            ("Sec-Fetch-Site", "cross-site"),
            ("Datastar-Request", "true"),
            ("Content-Type", "application/json"),
        ];
        simulation.request(client, method, "/say", &fields, b"{\"text\":\"hello\"}");
        simulation.turn();
        let answer = simulation.response(client);
        assert_eq!(answer.status, 200, "{method}");
        let exposed = answer.header("access-control-expose-headers").expect("a list");
        for field in ["Datastar-Selector", "Datastar-Mode", "Datastar-Only-If-Missing"] {
            assert!(exposed.contains(field), "{field}");
        }
    }
}

#[test]
fn a_preflight_of_a_foreign_page_is_refused() {
    let layered = || Cors::only([PAGE]).expect("an origin").around(site());
    for origin in ["https://attacker.net", "null", "https://app.example:444"] {
        let answer = preflight(layered(), origin, "PUT", "");
        assert_eq!((answer.status, cors_fields(&answer)), (403, vec![]), "{origin}");
        assert!(varies_by_origin(&answer));
    }
    // Not a preflight, but another OPTIONS request, which the handler answers.
    let answer = ask(layered(), Method::Options, "/say", &[("Origin", PAGE)]);
    assert_eq!(answer.header("allow"), Some("POST, PUT, PATCH, DELETE, QUERY, OPTIONS"));
}

#[test]
fn a_preflight_lists_the_configured_permissions() {
    let layered = Cors::any()
        .methods([Method::Get, Method::Put])
        .header("X-Api-Key")
        .expose("X-Total")
        .max_age(Duration::from_secs(7200))
        .around(site());
    let mut simulation = Simulation::new(layered);
    let client = simulation.connect();
    let fields = [("Origin", "null"), ("Access-Control-Request-Method", "PUT")];
    simulation.request(client, Method::Options, "/anything", &fields, b"");
    simulation.request(client, Method::Get, "/", &[], b"");
    simulation.turn();
    let answers = simulation.responses(client);
    let header = |name| answers[0].header(name);
    assert_eq!(header("access-control-allow-methods"), Some("GET, PUT"));
    assert_eq!(
        header("access-control-allow-headers"),
        Some("Content-Type, Datastar-Request, Last-Event-ID, X-Api-Key")
    );
    assert_eq!(header("access-control-max-age"), Some("7200"));
    assert!(answers[1].header("access-control-expose-headers").unwrap().ends_with(", X-Total"));
}

#[test]
fn origins_that_no_browser_sends_cannot_be_allowed() {
    for origin in ["*", "null", "app.example", "https://app.example/", "https://*.example"] {
        assert!(Cors::only([origin]).is_err(), "{origin}");
        assert!(Cors::with_credentials([PAGE, origin]).is_err(), "{origin}");
    }
}
