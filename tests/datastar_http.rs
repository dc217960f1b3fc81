//! Datastar over HTTP: signals in requests, responses that are not streams, errors that become
//! responses, and the testbed's routes for them.

use starwheel::{
    Context, EventName, Request, Response, Router,
    datastar::{ExecuteScript, Namespace, PatchElements, PatchMode, PatchSignals, Signals},
    testing::{BodyEnd, ClientResponse, Simulation},
};

#[path = "../examples/testbed/query.rs"]
mod query;
#[path = "../examples/testbed/datastar/mod.rs"]
mod testbed;

#[test]
fn elements_as_a_response_carry_their_options_in_header_fields() {
    let patch = PatchElements::new("<g>\r\n</g>")
        .selector("#größe > svg\n")
        .mode(PatchMode::Inner)
        .namespace(Namespace::Svg)
        .view_transition_selector("#main");
    let patch = patch.id("dropped").unwrap().retry(std::time::Duration::from_secs(9));
    let response = Response::elements(patch);
    assert_eq!(response.status(), 200);
    assert_fields(
        &response,
        &[
            ("content-type", Some("text/html; charset=utf-8")),
            ("datastar-selector", Some(r"#gr\f6 \df e > svg")),
            ("datastar-mode", Some("inner")),
            ("datastar-use-view-transition", Some("true")),
            ("datastar-namespace", Some("svg")),
        ],
    );
    assert_eq!(response.body(), b"<g>\r\n</g>");
}

#[test]
fn defaults_of_a_response_are_left_out() -> Result<(), Box<dyn std::error::Error>> {
    let elements = Response::elements(PatchElements::new("<p>"));
    assert_fields(
        &elements,
        &[
            ("datastar-selector", None),
            ("datastar-mode", None),
            ("datastar-use-view-transition", None),
            ("datastar-namespace", None),
        ],
    );
    let signals = Response::signals(PatchSignals::json("{}")?);
    assert_fields(&signals, &[("datastar-only-if-missing", None)]);
    let script = Response::script(ExecuteScript::new("0").keep());
    assert_fields(&script, &[("datastar-script-attributes", None)]);
    Ok(())
}

#[test]
fn removal_as_a_response_has_no_body() {
    let response = Response::elements(PatchElements::remove("#a"));
    assert_fields(
        &response,
        &[("datastar-selector", Some("#a")), ("datastar-mode", Some("remove"))],
    );
    assert_eq!(response.body(), b"");
}

#[test]
fn a_script_as_a_response_is_its_text_and_its_attributes_in_order() {
    let script = ExecuteScript::new("'</script>\n<!--'")
        .attribute("type", "module")
        .unwrap()
        .attribute("data-note", "\"ü\r\n🚀\\")
        .unwrap();
    let response = Response::script(script);
    assert_eq!(response.body(), b"'</script>\n<!--'");
    assert_fields(
        &response,
        &[
            ("content-type", Some("text/javascript; charset=utf-8")),
            (
                "datastar-script-attributes",
                Some(
                    r#"{"type":"module","data-note":"\"\u00fc\u000d\u000a\ud83d\ude80\\","data-effect":"el.remove()"}"#,
                ),
            ),
        ],
    );
}

#[test]
fn a_hostile_selector_does_not_split_the_response() {
    let response =
        Response::elements(PatchElements::new("x").selector("a\r\nSet-Cookie: b=c\r\n\r\n\0"));
    assert_fields(
        &response,
        &[("datastar-selector", Some(r"a  Set-Cookie: b=c    \0")), ("set-cookie", None)],
    );
}

#[test]
fn errors_of_the_client_are_400_or_415_and_those_of_the_server_500() {
    fn fails(request: &Request, _cx: &mut Context<'_>) -> Result<Response, Response> {
        let signals = Signals::read(request)?;
        match signals.str("fail") {
            Some("patch") => drop(PatchSignals::json("nonsense")?),
            Some("name") => drop(EventName::try_from("a\nb")?),
            Some("attribute") => drop(ExecuteScript::new("").attribute("", "")?),
            _ => {}
        }
        Ok(Response::no_content())
    }
    let status = |content_type: &str, body: &str| {
        let router = Router::new().post("/", fails);
        let request = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        answer(router, &request).status
    };
    assert_eq!(status("application/json", "{}"), 204);
    assert_eq!(status("application/json", "{"), 400);
    assert_eq!(status("application/json", "[]"), 400);
    assert_eq!(status("multipart/form-data; boundary=b", "--b--"), 415);
    for server in ["patch", "name", "attribute"] {
        assert_eq!(status("application/json", &format!("{{\"fail\":\"{server}\"}}")), 500);
    }
}

#[test]
fn a_request_knows_whether_datastar_sent_it_and_its_last_event_id() {
    let request = |fields: &str| {
        Request::parse(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes()).unwrap()
    };
    let retry = request("datastar-request: true\r\nlast-event-id: tick …\r\n");
    assert!(retry.is_datastar());
    assert_eq!(retry.last_event_id(), Some("tick …"));
    assert!(!request("Datastar-Request: false\r\n").is_datastar());
    assert!(!request("").is_datastar());
}

#[test]
fn the_testbed_sends_one_event_from_json() {
    let sent =
        event_from(r#"{"event":"datastar-mine","id":"seven","retry":300,"data":"a 1\nb 2"}"#);
    assert_eq!(sent, "event: datastar-mine\nid: seven\nretry: 300\ndata: a 1\ndata: b 2\n\n");
    assert_eq!(event_from(r#"{"data":"","id":7}"#), "id: 7\ndata: \n\n");
    for (json, reason) in [
        (r#"{"id":"1"}"#, "missing field `data`"),
        (r#"{"data":"","event":"a\nb"}"#, "event name must be a single line"),
        (r#"{"data":"","id":"a\u0000"}"#, "NUL"),
        (r#"{"data":"","retry":-1}"#, "u64"),
        (r#"{"data":"","other":1}"#, "unknown field"),
        ("{", "EOF"),
    ] {
        let answer = answer_of_testbed(&get("/event", "json", json));
        assert_eq!(answer.status, 400, "{json}");
        assert!(text(&answer).contains(reason), "{json}: {}", text(&answer));
    }
}

#[test]
fn the_testbed_ends_streams_in_both_ways() {
    let end =
        |target: &str| answer_of_testbed(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).end;
    assert_eq!(end("/inject?data=a"), BodyEnd::Complete);
    assert_eq!(end("/inject?data=a&ending=drop"), BodyEnd::Open);
}

#[test]
fn the_testbed_sends_a_script() {
    let answer = answer_of_testbed(&get("/script", "code", "alert('</script>')"));
    assert_eq!(
        text(&answer),
        "event: datastar-patch-elements\ndata: selector body\ndata: mode append\n\
         data: elements <script data-effect=\"el.remove()\">alert('<\\/script>')</script>\n\n"
    );
}

#[test]
fn the_testbed_echoes_json_and_nothing_else() {
    let echo = |content_type: &str, body: &[u8]| {
        let mut request = format!(
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        answer_to_bytes(testbed::add_routes(Router::new()), &request)
    };
    for (sent, returned) in [
        ("{\"a\" : [1, null]}", "{\"a\":[1,null]}"),
        (" 1.5e2 ", "150.0"),
        ("\"\\u00e4\"", "\"ä\""),
        ("null", "null"),
    ] {
        let answer = echo("application/json; charset=utf-8", sent.as_bytes());
        assert_eq!((answer.status, text(&answer)), (200, returned));
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    let too_deep = "[".repeat(100_000);
    for refused in [&b""[..], b"{", b"{} {}", b"{a:1}", b"\"\xff\"", too_deep.as_bytes()] {
        assert_eq!(echo("application/json", refused).status, 400);
    }
    for other in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx"] {
        assert_eq!(echo(other, b"{}").status, 415, "{other}");
    }
}

#[test]
fn the_testbed_shows_forms_from_query_and_body() {
    let list = "<dl id=\"form\"><dt>name</dt><dd>Ann &amp; &lt;b&gt;</dd></dl>";
    let query = answer_of_testbed("GET /form?name=Ann+%26+%3Cb%3E HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(text(&query), list);
    let body = answer_of_testbed(
        "POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: 22\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\nname=Ann+%26+%3Cb%3E%0",
    );
    assert_eq!(text(&body), list.replace("</dd>", "%0</dd>"));
}

#[track_caller]
fn assert_fields(response: &Response, fields: &[(&str, Option<&str>)]) {
    for (name, value) in fields {
        assert_eq!(response.header(name), *value, "{name}");
    }
}

fn event_from(json: &str) -> String {
    let answer = answer_of_testbed(&get("/event", "json", json));
    assert_eq!(answer.end, BodyEnd::Complete, "{json}: {}", text(&answer));
    text(&answer).to_owned()
}

fn get(path: &str, name: &str, value: &str) -> String {
    let value: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
    format!("GET {path}?{name}={value} HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn text(answer: &ClientResponse) -> &str {
    std::str::from_utf8(&answer.body).unwrap()
}

fn answer_of_testbed(request: &str) -> ClientResponse {
    answer(testbed::add_routes(Router::new()), request)
}

fn answer(router: Router, request: &str) -> ClientResponse {
    answer_to_bytes(router, request.as_bytes())
}

fn answer_to_bytes(router: Router, request: &[u8]) -> ClientResponse {
    let mut simulation = Simulation::new(router);
    let client = simulation.connect();
    simulation.send(client, request);
    simulation.turn();
    simulation.response(client)
}
