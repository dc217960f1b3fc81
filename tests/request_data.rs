//! JSON, queries and forms as types of the application: what fits, what is refused and how the
//! client is told; and values as JSON, the other way.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use starwheel::{
    DecodeError, Event, EventBuffer, Method, Request, Response, Router, Sse,
    testing::{ClientResponse, Simulation},
};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

fn post(content_type: Option<&str>, body: &[u8]) -> Request {
    let content_type = content_type.map(|it| format!("Content-Type: {it}\r\n")).unwrap_or_default();
    let length = body.len();
    let head =
        format!("POST / HTTP/1.1\r\nHost: a\r\n{content_type}Content-Length: {length}\r\n\r\n");
    Request::parse(&[head.as_bytes(), body].concat()).unwrap()
}

fn query<T: DeserializeOwned>(query: &str) -> Result<T, DecodeError> {
    Request::get(&format!("/?{query}")).query_params()
}

#[track_caller]
fn refused<T: DeserializeOwned>(text: &str) -> String {
    match query::<T>(text) {
        Ok(_) => panic!("{text} was accepted"),
        Err(error) => error.to_string(),
    }
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Todo {
    title: String,
    priority: u8,
}

/// What a client gets whose JSON a handler wants to be a [`Todo`].
fn send_todo(content_type: &str, body: &[u8]) -> ClientResponse {
    let router = Router::new().post("/", |req, _cx| {
        let todo: Todo = req.json()?;
        Ok(Response::text(format!("{}:{}", todo.title, todo.priority)))
    });
    let mut simulation = Simulation::new(router);
    let client = simulation.connect();
    simulation.request(client, Method::Post, "/", &[("Content-Type", content_type)], body);
    simulation.turn();
    simulation.responses(client).remove(0)
}

#[test]
fn json_is_read_only_where_it_is_declared() {
    let body = br#"{"title": "a", "priority": 1}"#;
    for json in [JSON, "Application/JSON; charset=utf-8", "application/merge-patch+json"] {
        assert_eq!(send_todo(json, body).text(), "a:1", "{json}");
    }
    for other in [FORM, "text/plain", "text/json", "application/jsonx", "json", "", "+json"] {
        let answer = send_todo(other, body);
        assert_eq!((answer.status, answer.header("accept")), (415, Some(JSON)), "{other}");
    }
    assert!(matches!(post(None, body).json::<Todo>(), Err(DecodeError::ContentType { .. })));
    assert!(matches!(post(None, b"").json::<Todo>(), Err(DecodeError::ContentType { .. })));
}

#[test]
fn what_is_not_json_is_400_and_what_does_not_fit_is_422() {
    for broken in
        [&b""[..], b" ", b"{", b"{\"title\":\"\xff\"}", b"{} x", b"\xef\xbb\xbf{}", b"{a:1}"]
    {
        let error = post(Some(JSON), broken).json::<serde_json::Value>().unwrap_err();
        assert!(matches!(error, DecodeError::Json(_)), "{error}");
        assert_eq!(error.status(), 400);
    }
    for other in ["[]", "7", "{}", r#"{"title":"a","priority":256}"#, r#"{"title":1}"#] {
        assert_eq!(send_todo(JSON, other.as_bytes()).status, 422, "{other}");
    }
    let deep = "[".repeat(100_000);
    let error = post(Some(JSON), deep.as_bytes()).json::<serde_json::Value>().unwrap_err();
    assert_eq!(error.status(), 400, "no stack is exhausted");
}

#[test]
fn what_a_reason_quotes_of_the_client_is_escaped_and_cut() {
    let answer = send_todo(JSON, "{\"\\u001b[2J\u{202e}\\n\": 1}".as_bytes());
    assert_eq!(answer.status, 422);
    assert!(
        answer
            .text()
            .starts_with("the JSON does not fit: unknown field `\\u{1b}[2J\\u{202e}\\u{a}`")
    );
    let long = format!("{{\"{}\": 1}}", "x".repeat(10_000));
    assert!(send_todo(JSON, long.as_bytes()).text().len() < 300);

    #[derive(Debug, Deserialize)]
    struct Page {
        #[serde(rename = "page")]
        _page: u32,
    }
    let reason = refused::<Page>("page=%1B%5B2J%E2%80%AE");
    assert!(reason.contains("not \"\\u{1b}[2J\\u{202e}\""), "{reason}");
    assert!(refused::<Page>(&format!("page={}", "x".repeat(10_000))).len() < 300);
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
struct Everything {
    text: String,
    letter: char,
    small: i8,
    large: u128,
    half: f64,
    single: f32,
    open: bool,
    page: Option<u32>,
    name: Option<String>,
    tags: Vec<String>,
    numbers: Vec<i64>,
    maybe: Option<Vec<u8>>,
    pair: (u8, u8),
    order: Order,
    wrapped: Wrapped,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Order {
    #[default]
    Up,
    Down,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
struct Wrapped(i32);

#[test]
fn a_query_becomes_every_kind_of_field() {
    let everything: Everything = query(
        "tags=a&text=x+y%26%C3%BC&letter=%C3%BC&small=-128&half=0.5&single=1e3&open=on&page=7&name=Ann&\
         numbers=1&tags=&numbers=-2&tags=a&maybe=1&maybe=2&pair=3&pair=4&order=down&wrapped=9&\
         large=340282366920938463463374607431768211455&unknown=1&unknown=2&%74ags=z",
    )
    .unwrap();
    let expected = Everything {
        text: "x y&ü".into(),
        letter: 'ü',
        small: -128,
        large: u128::MAX,
        half: 0.5,
        single: 1000.0,
        open: true,
        page: Some(7),
        name: Some("Ann".into()),
        tags: ["a", "", "a", "z"].map(String::from).into(),
        numbers: vec![1, -2],
        maybe: Some(vec![1, 2]),
        pair: (3, 4),
        order: Order::Down,
        wrapped: Wrapped(9),
    };
    assert_eq!(everything, expected);
    assert_eq!(query::<Everything>("").unwrap(), Everything::default());
    assert_eq!(Request::get("/").query_params::<Everything>().unwrap(), Everything::default());
    assert_eq!(query::<Everything>("open=false&tags=one").unwrap().tags, ["one"]);
}

#[test]
fn a_blank_field_is_none_and_blank_text() {
    let everything: Everything = query("page=&name=&text=&maybe=&open=true").unwrap();
    assert_eq!((everything.page, everything.name, everything.maybe), (None, None, None));
    assert_eq!(everything.text, "");
}

#[test]
fn what_does_not_fit_is_named() {
    for (text, reason) in [
        ("small=128", "`small` must be a whole number of 8 bits, not \"128\""),
        ("small=", "`small` must be a whole number of 8 bits, not \"\""),
        ("page=-1", "`page` must be a whole number, not \"-1\""),
        ("half=NaN", "`half` must be a number, not \"NaN\""),
        ("half=1e999", "`half` must be a number, not \"1e999\""),
        ("single=inf", "`single` must be a number, not \"inf\""),
        ("open=yes", "`open` must be true or false, not \"yes\""),
        ("text=a&x=1&text=b", "`text` is given more than once"),
        ("page=1&page=1", "`page` is given more than once"),
        ("numbers=1&numbers=x", "`numbers` must be a whole number, not \"x\""),
        ("order=left", "`order`: unknown variant `left`, expected `up` or `down`"),
        ("letter=ab", "`letter`: invalid value: string \"ab\", expected a character"),
        ("pair=1", "invalid length 1, expected a tuple of size 2"),
    ] {
        assert_eq!(refused::<Everything>(text), format!("the query does not fit: {reason}"));
    }
    assert_eq!(refused::<Todo>("title=a"), "the query does not fit: missing field `priority`");
    assert!(refused::<Todo>("title=a&priority=1&x=1").contains("unknown field `x`"));
    assert!(!refused::<HashMap<String, Todo>>("a=1").is_empty(), "a struct is no value");
    assert!(!refused::<u32>("a=1").is_empty());
    assert_eq!(query::<Todo>("title=a").unwrap_err().status(), 400);
}

#[test]
fn a_float_of_32_bits_stays_finite() {
    assert!(refused::<Everything>("single=1e300").contains("`single` must be a number"));
}

#[test]
fn maps_take_every_name() {
    let map: BTreeMap<String, Vec<String>> = query("b=1&a=2&b=3").unwrap();
    assert_eq!(map["b"], ["1", "3"]);
    assert_eq!(map.len(), 2);
    let numbers: BTreeMap<String, i32> = query("x=1&y=-2").unwrap();
    assert_eq!(numbers["y"], -2);
}

#[test]
fn a_form_is_read_only_where_it_is_declared() {
    let body = b"title=a+b&priority=7";
    let todo = Todo { title: "a b".into(), priority: 7 };
    for form in [FORM, "Application/X-WWW-Form-Urlencoded; charset=utf-8"] {
        let request = post(Some(form), body);
        assert_eq!(request.form::<Todo>().unwrap(), todo);
        assert_eq!(request.form_pairs().count(), 2);
    }
    for other in [Some(JSON), Some("multipart/form-data; boundary=x"), Some("text/plain"), None] {
        let request = post(other, body);
        let response = Response::from(request.form::<Todo>().unwrap_err());
        assert_eq!((response.status().as_u16(), response.header("accept")), (415, Some(FORM)));
        assert_eq!(request.form_pairs().count(), 0, "{other:?}");
    }
    let error = post(Some(FORM), b"title=a&priority=x").form::<Todo>().unwrap_err();
    assert_eq!(error.status(), 422);
}

/// Comparing all names with all took minutes here.
#[test]
fn a_form_of_very_many_names_is_read_in_one_sort() {
    let body: String = (0..150_000).map(|n| format!("{n}&")).collect();
    let map: HashMap<String, String> = post(Some(FORM), body.as_bytes()).form().unwrap();
    assert_eq!(map.len(), 150_000);
}

#[test]
fn a_value_that_cannot_be_json_is_500_and_its_reason_stays_here() {
    let router = Router::new()
        .get("/good", |_, _| Ok(Response::json(&json!({"text": "</script>\n"}))?))
        .get("/bad", |_, _| Ok(Response::json(&BTreeMap::from([([1], 2)]))?))
        .get("/bad-event", |_, _| Ok(Sse::new().send(Event::json(&BTreeMap::from([([1], 2)]))?)));
    let mut simulation = Simulation::new(router);
    let mut ask = |target| {
        let client = simulation.get(target);
        simulation.response(client)
    };
    let good = ask("/good");
    assert_eq!((good.status, good.header("content-type")), (200, Some(JSON)));
    assert_eq!(good.text(), r#"{"text":"</script>\n"}"#);
    for target in ["/bad", "/bad-event"] {
        let bad = ask(target);
        assert_eq!((bad.status, bad.text().contains("key")), (500, false), "{target}");
    }
}

#[test]
fn an_event_of_json_is_one_line_of_data_that_parses_back() {
    let value = json!({"text": "a\r\nid: 7\n\n\u{2028}\u{0}", "list": [1, null, {"": -0.5}]});
    let mut out = EventBuffer::new();
    out.push(&Event::json(&value).unwrap().name("state").unwrap());
    let text = std::str::from_utf8(out.as_bytes()).unwrap();
    let data = text.strip_prefix("event: state\ndata: ").unwrap().strip_suffix("\n\n").unwrap();
    assert!(!data.contains(['\n', '\r']));
    assert_eq!(serde_json::from_str::<serde_json::Value>(data).unwrap(), value);
}

proptest! {
    #[test]
    fn typed_values_are_those_of_the_pairs(pairs in prop::collection::vec(("[a-c%+ ]{0,2}", "\\PC{0,4}"), 0..8)) {
        let mut text = String::new();
        for (name, value) in &pairs {
            let encoded = |text: &str| text.bytes().map(|it| format!("%{it:02X}")).collect::<String>();
            text += &format!("{}={}&", encoded(name), encoded(value));
        }
        let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in pairs {
            expected.entry(name).or_default().push(value);
        }
        let typed: BTreeMap<String, Vec<String>> = query(&text).unwrap();
        prop_assert_eq!(&typed, &expected);
        let typed: BTreeMap<String, Vec<String>> = post(Some(FORM), text.as_bytes()).form().unwrap();
        prop_assert_eq!(typed, expected);
    }
}
