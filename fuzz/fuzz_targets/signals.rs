//! Signals out of bodies and queries: the same bytes mean the same in both, serde_json agrees,
//! names find what they name, and reasons are safe to log. Queries against `form_urlencoded`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use starwheel::{
    Request,
    datastar::{Signals, SignalsError},
};

fuzz_target!(|bytes: &[u8]| {
    let parsed = Signals::parse(bytes);
    let value: Option<Value> = std::str::from_utf8(bytes).ok().and_then(|text| {
        let blank = text.trim_ascii().is_empty();
        serde_json::from_str(if blank { "{}" } else { text }).ok()
    });
    match (&parsed, value) {
        (Ok(signals), Some(value @ Value::Object(_))) => {
            assert_eq!(signals.deserialize::<Value>().expect("any value fits"), value);
            find(signals, &value, "");
        }
        (Err(SignalsError::NotAnObject), Some(value)) => assert!(!value.is_object()),
        (Err(SignalsError::NotUtf8), None) => assert!(std::str::from_utf8(bytes).is_err()),
        (Err(SignalsError::Json(_)), None) => {}
        // Where serde_json refuses a lone surrogate, it is read as U+FFFD.
        (Ok(_) | Err(SignalsError::NotAnObject), None)
            if bytes.to_ascii_lowercase().windows(3).any(|start| start == b"\\ud") => {}
        (parsed, value) => panic!("{parsed:?}, but {value:?}"),
    }
    if let Err(error) = &parsed {
        assert_eq!(error.status(), 400);
        let reason = error.to_string();
        assert!(!reason.contains(char::is_control) && reason.len() < 4096);
    }
    let length = bytes.len();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    let post = Request::parse(&[head.as_bytes(), bytes].concat()).expect("a request");
    assert_eq!(shown(&Signals::read(&post)), shown(&parsed));
    let escaped: String = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
    if let Ok(get) =
        Request::parse(format!("GET /?datastar={escaped} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
    {
        assert_eq!(shown(&Signals::read(&get)), shown(&parsed));
    }
    read_query(bytes);
});

fn shown(signals: &Result<Signals, SignalsError>) -> String {
    match signals {
        Ok(signals) => format!("{signals:?}"),
        Err(error) => format!("{error}"),
    }
}

/// Every value whose name can be written with dots is found under that name.
fn find(signals: &Signals, value: &Value, name: &str) {
    let join = |part: &str| match name {
        "" => part.to_owned(),
        name => format!("{name}.{part}"),
    };
    match value {
        Value::Object(members) => {
            for (part, value) in members.iter().filter(|(part, _)| !part.contains('.')) {
                // An empty name cannot be distinguished from none at the front.
                if !(name.is_empty() && part.is_empty()) {
                    assert_eq!(signals.get(&join(part)), Some(value));
                    find(signals, value, &join(part));
                }
            }
        }
        Value::Array(items) => {
            for (part, value) in items.iter().enumerate() {
                assert_eq!(signals.get(&join(&part.to_string())), Some(value));
            }
        }
        Value::String(text) => assert_eq!(signals.str(name), Some(text.as_str())),
        Value::Bool(value) => assert_eq!(signals.bool(name), Some(*value)),
        Value::Number(number) => assert_eq!(signals.f64(name), number.as_f64()),
        Value::Null => {}
    }
}

/// The bytes as a query, as far as one may contain them.
fn read_query(bytes: &[u8]) {
    let is_allowed = |byte: &u8| byte.is_ascii_graphic() && *byte != b'#';
    let query: Vec<u8> = bytes.iter().copied().filter(is_allowed).collect();
    let target = [b"GET /?", &query[..], b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
    let request = Request::parse(&target).expect("a request");
    let expected: Vec<_> = form_urlencoded::parse(&query).collect();
    assert_eq!(request.query_pairs().collect::<Vec<_>>(), expected);
    for (name, _) in &expected {
        let first = expected.iter().find(|(other, _)| other == name).map(|(_, value)| value);
        assert_eq!(request.query_value(name).as_ref(), first);
    }
}
