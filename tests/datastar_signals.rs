//! Signals of requests: what is read, what is refused, and the error texts.

use std::{collections::HashMap, error::Error as _};

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};
use starwheel::datastar::{Signals, SignalsError};

#[path = "support/hostile.rs"]
mod hostile;

fn signals(value: Value) -> Signals {
    Signals::parse(value.to_string().as_bytes()).unwrap()
}

fn refused(json: impl AsRef<[u8]>) -> SignalsError {
    Signals::parse(json.as_ref()).unwrap_err()
}

fn nested(depth: usize) -> String {
    format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1))
}

#[test]
fn signals_are_found_by_dotted_name_and_type() {
    let signals = signals(json!({
        "user": {"name": "Ann", "tags": ["x", {"y": true}]},
        "half": 0.5,
        "large": u64::MAX,
        "open": false,
        "gone": null,
        "": {"": 1},
    }));
    assert_eq!(signals.str("user.name"), Some("Ann"));
    assert_eq!(signals.str("user.tags.0"), Some("x"));
    assert_eq!(signals.bool("user.tags.1.y"), Some(true));
    assert_eq!(signals.bool("open"), Some(false));
    assert_eq!((signals.f64("half"), signals.i64("half")), (Some(0.5), None));
    assert_eq!(signals.i64("large"), None);
    assert_eq!(signals.i64("."), Some(1));
    assert_eq!(signals.get("gone"), Some(&Value::Null));
    for missing in
        ["user.nobody", "user.name.first", "user.tags.2", "user.tags.-1", "user.", "x", "open.x"]
    {
        assert_eq!(signals.get(missing), None, "{missing}");
    }
    assert_eq!(signals.str("half"), None);
    assert!(!signals.is_empty());
}

#[test]
fn blank_text_means_no_signals() {
    for blank in ["", "  ", "\r\n", "{}"] {
        assert!(Signals::parse(blank.as_bytes()).unwrap().is_empty());
    }
    assert_eq!(Signals::parse(b"").unwrap(), Signals::default());
}

#[test]
fn signals_that_are_not_a_json_object_are_refused_with_the_reason() {
    assert!(matches!(refused([b'{', b'"', 0xff, b'"', b':', b'1', b'}']), SignalsError::NotUtf8));
    assert!(matches!(refused(b"\xed\xa0\x80"), SignalsError::NotUtf8));
    for other in ["[]", "null", "1", "\"{}\""] {
        assert!(matches!(refused(other), SignalsError::NotAnObject), "{other}");
    }
    for broken in ["{", "{} x", "{a:1}", "{\"a\":1,}", "undefined", "\u{feff}{}", "{\"a\":\\ud800}"]
    {
        let error = refused(broken);
        assert!(matches!(error, SignalsError::Json(_)), "{broken}");
        assert_eq!(error.status(), 400);
    }
    assert_eq!(
        refused("{\"a\": x}").to_string(),
        "signals are not JSON: expected value at line 1 column 7"
    );
    assert!(refused("{").source().is_some());
}

#[test]
fn lone_surrogates_are_read_as_replacement_characters_in_values_and_names() {
    let signals = Signals::parse(
        br#"{"cut": "x\ud83d", "two": "\uDE00\ud83d", "whole": "\ud83d\ude00", "not": "\\ud83d",
             "list": [{"\udfff": "\ud800\u0041"}]}"#,
    )
    .unwrap();
    for (name, text) in [
        ("cut", "x\u{fffd}"),
        ("two", "\u{fffd}\u{fffd}"),
        ("whole", "\u{1f600}"),
        ("not", "\\ud83d"),
        ("list.0.\u{fffd}", "\u{fffd}A"),
    ] {
        assert_eq!(signals.str(name), Some(text), "{name}");
    }
    // Other errors are reported with their position.
    assert_eq!(
        refused(r#"{"a": "\ud800", "b": x}"#).to_string(),
        "signals are not JSON: expected value at line 1 column 22"
    );
    assert!(matches!(refused(r#""\ud800""#), SignalsError::NotAnObject));
}

#[test]
fn nesting_is_bounded() {
    assert!(Signals::parse(nested(127).as_bytes()).is_ok());
    assert!(matches!(refused(nested(128)), SignalsError::Json(_)));
    assert!(matches!(refused("{\"a\":".repeat(100_000)), SignalsError::Json(_)));
}

#[test]
fn of_two_members_with_one_name_the_last_counts() {
    let signals = Signals::parse(br#"{"a": 1, "a": {"b": 2}, "a": 3}"#).unwrap();
    assert_eq!(signals.i64("a"), Some(3));
}

#[test]
fn signals_become_a_type_of_the_users() {
    #[derive(Debug, Deserialize, PartialEq)]
    struct Form {
        name: String,
        #[serde(default)]
        age: Option<u8>,
    }
    let form = signals(json!({"name": "Ann", "other": [1]})).deserialize::<Form>().unwrap();
    assert_eq!(form, Form { name: "Ann".to_owned(), age: None });
    let numbers: HashMap<String, f64> = signals(json!({"a": 1, "b": 0.5})).deserialize().unwrap();
    assert_eq!(numbers["b"], 0.5);

    let error = signals(json!({"name": "Ann", "age": 300})).deserialize::<Form>().unwrap_err();
    assert!(matches!(error, SignalsError::Mismatch(_)));
    assert_eq!(error.status(), 400);
    assert!(error.to_string().contains("expected u8"), "{error}");
}

#[test]
fn reasons_are_safe_to_log() {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {}
    let name = format!("a\r\n\u{1b}[31m\u{85}\u{2028}{}", "x".repeat(10_000));
    let error = signals(json!({ name: 1 })).deserialize::<Strict>().unwrap_err();
    let reason = error.to_string();
    assert!(reason.contains("\\u{d}\\u{a}\\u{1b}[31m\\u{85}\\u{2028}xxx"), "{reason}");
    assert!(reason.len() < 300, "{} bytes", reason.len());
}

#[test]
fn no_character_that_turns_or_hides_text_is_shown() {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {}
    let dangers = ('\0'..='\u{1f}')
        .chain('\u{7f}'..='\u{9f}')
        .chain(['\u{ad}', '\u{61c}', '\u{180e}', '\u{feff}', '\u{e0001}'])
        .chain('\u{200b}'..='\u{200f}')
        .chain('\u{2028}'..='\u{202e}')
        .chain('\u{2060}'..='\u{206f}')
        .chain('\u{fff9}'..='\u{fffb}')
        .chain('\u{e0020}'..='\u{e007f}');
    for danger in dangers {
        let name = format!("a{danger}z");
        for error in [
            signals(json!({ &name: 1 })).deserialize::<Strict>().unwrap_err(),
            signals(json!({ "a": &name })).deserialize::<HashMap<String, u8>>().unwrap_err(),
        ] {
            let reason = error.to_string();
            assert!(!reason.contains(danger) && reason.contains('\\'), "{danger:?}: {reason}");
        }
    }
    // Text in other scripts is shown unescaped.
    let error = signals(json!({ "Größe \"日本\" 😀": 1 })).deserialize::<Strict>().unwrap_err();
    assert!(error.to_string().contains("`Größe \"日本\" 😀`"), "{error}");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Err(error) = Signals::parse(&bytes) {
            prop_assert!(!error.to_string().contains(char::is_control));
        }
    }

    #[test]
    fn hostile_text_is_read_or_refused(text in hostile::text()) {
        let is_object = serde_json::from_str::<Value>(&text).is_ok_and(|value| value.is_object());
        let parsed = Signals::parse(text.as_bytes());
        prop_assert_eq!(parsed.is_ok(), is_object || text.trim_ascii().is_empty());
    }

    #[test]
    fn hostile_values_are_read_as_they_are(value in hostile::text()) {
        let signals = signals(json!({"a": {"b": &value}}));
        prop_assert_eq!(signals.str("a.b"), Some(value.as_str()));
    }
}
