//! The cases of the official SDK tests, through the testbed's own routes.
//!
//! The folder comes from the environment (`DATASTAR_GOLDEN`) or is beside the project; if there is
//! none, the tests print SKIP. The official runner compares parsed events and ignores scripts and
//! order; here the bytes are compared. Two things are normalized first, because the files are not
//! consistent: lines are in the order of the ADR, and attributes, which come as an unordered JSON
//! object, are sorted by name.

use std::{
    env, fs,
    io::{self, Write},
    path::PathBuf,
};

use starwheel::{
    Router,
    testing::{BodyEnd, ClientResponse, Simulation},
};

#[path = "../examples/testbed/query.rs"]
mod query;
#[path = "../examples/testbed/datastar/mod.rs"]
mod testbed;

#[test]
fn the_official_cases_pass_with_signals_in_the_query() {
    let Some(cases) = official_cases(&["get", "post"]) else { return };
    for case in cases {
        for method in ["GET", "DELETE"] {
            case.assert_answered(&test_request(method, Place::Query, &case.input));
        }
    }
}

#[test]
fn the_official_cases_pass_with_signals_in_the_body() {
    let Some(cases) = official_cases(&["get", "post"]) else { return };
    for case in cases {
        for method in ["POST", "PUT", "PATCH", "QUERY"] {
            case.assert_answered(&test_request(method, Place::Body, &case.input));
        }
    }
}

/// Cases that the official suite lacks: options it would not send, and refused input.
#[test]
fn options_that_the_official_cases_leave_out() {
    for (input, expected) in [
        (
            r#"{"type":"patchElements","elements":"<g></g>","selector":"svg","mode":"inner",
                "useViewTransition":true,"viewTransitionSelector":"ul","namespace":"svg"}"#,
            "data: selector svg\ndata: mode inner\ndata: useViewTransition true\n\
             data: viewTransitionSelector ul\ndata: namespace svg\ndata: elements <g></g>\n",
        ),
        (
            r#"{"type":"patchElements","elements":"<p></p>","mode":"replace","retryDuration":1000}"#,
            "data: mode replace\ndata: elements <p></p>\n",
        ),
    ] {
        let input = format!(r#"{{"events":[{input}]}}"#);
        let answer = answer_to(&test_request("POST", Place::Body, &input));
        let expected = format!("event: datastar-patch-elements\n{expected}\n");
        assert_eq!(String::from_utf8(answer.body).unwrap(), expected);
    }
}

#[test]
fn events_that_cannot_be_are_refused_with_the_reason() {
    for (input, reason) in [
        (r#"{"events":[{"type":"patchElements","mode":"remove"}]}"#, "remove needs a selector"),
        (r#"{"events":[{"type":"patchElements","mode":"sideways"}]}"#, "unknown variant"),
        (r#"{"events":[{"type":"patchElements","eventId":"a\nid: b"}]}"#, "single line"),
        (r#"{"events":[{"type":"patchSignals","signals-raw":""}]}"#, "send {} for none"),
        (r#"{"events":[{"type":"patchSignals","signals":[1]}]}"#, "must be a JSON object"),
        (
            r#"{"events":[{"type":"executeScript","script":"","attributes":{"a b":""}}]}"#,
            "contain ' '",
        ),
        (r#"{"events":"#, "EOF"),
        ("[]", "not a JSON object"),
        ("", "missing field `events`"),
    ] {
        for (method, place) in [("GET", Place::Query), ("POST", Place::Body)] {
            let answer = answer_to(&test_request(method, place, input));
            let body = String::from_utf8(answer.body).unwrap();
            assert_eq!(answer.status, 400, "{method} {input}");
            assert!(body.contains(reason), "{method} {input}: {body}");
        }
    }
    let form = "POST /test HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\
                Content-Type: application/x-www-form-urlencoded\r\n\r\na=b";
    let answer = answer_to(form);
    assert_eq!((answer.status, answer.header("accept")), (415, Some("application/json")));
    assert!(answer.body.ends_with(b"an action with contentType 'form' sends none"));
}

/// One folder of the official cases.
struct Case {
    name: String,
    input: String,
    expected: String,
}

impl Case {
    fn assert_answered(&self, request: &str) {
        let (name, method) = (&self.name, request.split(' ').next().unwrap_or_default());
        let answer = answer_to(request);
        assert_eq!(answer.status, 200, "{method} {name}");
        assert_eq!(answer.header("content-type"), Some("text/event-stream"), "{method} {name}");
        let cache = answer.header("cache-control").unwrap_or_default();
        assert!(cache.starts_with("no-cache"), "{method} {name}: {cache}");
        assert_eq!(answer.end, BodyEnd::Complete, "{method} {name} finishes");
        let sent = String::from_utf8(answer.body).unwrap();
        // Only blocks of fields, each with one blank line: no comment, no second blank line.
        assert_eq!(sent, in_one_form(&sent), "{method} {name}: order and blank lines");
        assert_eq!(sent, in_one_form(&self.expected), "{method} {name}");
    }
}

/// Events with their lines in the order of the ADR and the attributes of scripts sorted.
fn in_one_form(events: &str) -> String {
    let mut text = String::new();
    for event in events.split("\n\n").map(|event| event.trim_start_matches('\n')) {
        if event.is_empty() {
            continue;
        }
        let mut lines: Vec<String> = event.lines().map(with_sorted_attributes).collect();
        // Stable, so that the lines of one key stay in their order.
        lines.sort_by_key(|line| {
            let rank = ADR_ORDER.iter().position(|start| line.starts_with(start));
            rank.unwrap_or_else(|| panic!("no line of an event: {line:?}"))
        });
        text += &lines.join("\n");
        text += "\n\n";
    }
    text
}

/// `<script b="2" a="1">` as `<script a="1" b="2">`. The effect stays last, where the ADR has it.
fn with_sorted_attributes(line: &str) -> String {
    let Some((before, rest)) = line.split_once("<script ") else { return line.to_owned() };
    let (tag, after) = rest.split_once('>').expect("the end of a tag");
    let mut attributes: Vec<&str> = tag.split_inclusive('"').collect();
    let mut pairs: Vec<String> = attributes.chunks_mut(2).map(|pair| pair.concat()).collect();
    pairs.iter_mut().for_each(|pair| *pair = pair.trim().to_owned());
    pairs.sort_by_key(|pair| (pair.starts_with("data-effect="), pair.clone()));
    format!("{before}<script {}>{after}", pairs.join(" "))
}

const ADR_ORDER: [&str; 11] = [
    "event: ",
    "id: ",
    "retry: ",
    "data: selector ",
    "data: mode ",
    "data: useViewTransition ",
    "data: viewTransitionSelector ",
    "data: namespace ",
    "data: elements ",
    "data: onlyIfMissing ",
    "data: signals ",
];

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Query,
    Body,
}

fn test_request(method: &str, place: Place, signals: &str) -> String {
    if place == Place::Query {
        let query: String = form_urlencoded::byte_serialize(signals.as_bytes()).collect();
        return format!("{method} /test?datastar={query} HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    format!(
        "{method} /test HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{signals}",
        signals.len()
    )
}

fn answer_to(request: &str) -> ClientResponse {
    let mut simulation = Simulation::new(testbed::add_routes(Router::new()));
    let client = simulation.connect();
    simulation.send(client, request.as_bytes());
    simulation.turn();
    simulation.response(client)
}

fn official_cases(folders: &[&str]) -> Option<Vec<Case>> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/datastar-golden");
    let root = env::var_os("DATASTAR_GOLDEN").map_or_else(beside, PathBuf::from);
    if !root.is_dir() {
        // Bypasses the capturing of output, so that a run shows what was skipped.
        let _ = writeln!(io::stderr(), "SKIP: DATASTAR_GOLDEN names no folder of official cases");
        return None;
    }
    let mut cases = Vec::new();
    for folder in folders {
        for entry in fs::read_dir(root.join(folder)).expect("a folder of cases") {
            let path = entry.expect("a case").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let read = |file| fs::read_to_string(path.join(file)).expect("a file of the case");
            let (input, expected) = (read("input.json"), read("output.txt"));
            cases.push(Case { name: format!("{folder}/{name}"), input, expected });
        }
    }
    assert!(!cases.is_empty(), "{} holds no cases", root.display());
    Some(cases)
}
