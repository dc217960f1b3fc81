//! The signals that a page sends with its requests.

use std::{error::Error, fmt};

use serde_core::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::surrogates::replace_lone_surrogates;
use crate::{
    error::Reason,
    http::{Method, Request, StatusCode, is_json},
};

/// The signals of a page, from one of its requests.
///
/// ```
/// # fn main() -> Result<(), starwheel::datastar::SignalsError> {
/// use starwheel::datastar::Signals;
/// let signals = Signals::parse(br#"{"user": {"name": "Ann"}, "count": 3, "tags": ["a", "b"]}"#)?;
/// assert_eq!(signals.str("user.name"), Some("Ann"));
/// assert_eq!(signals.i64("count"), Some(3));
/// assert_eq!(signals.str("tags.1"), Some("b"));
/// assert_eq!(signals.str("count"), None, "a number is not text");
/// # Ok(())
/// # }
/// ```
///
/// Names are dotted, as in Datastar; a part that meets an array is an index into it. Signals whose
/// name starts with `_` stay in the page. The client chooses all values: validate them like any
/// input.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Signals(Map<String, Value>);

impl Signals {
    /// Reads the signals that a request of the Datastar client carries.
    ///
    /// They are in the query parameter `datastar` of a GET, HEAD or DELETE, and in the JSON body
    /// for any other method (POST, PUT, PATCH, QUERY), even if there is such a parameter too. A
    /// missing or blank parameter or body means no signals. Costs one pass over the JSON.
    ///
    /// In an action's form mode (`contentType: 'form'`) the client sends a form *instead of* signals.
    /// With GET and DELETE that form is in the query
    /// ([`query_pairs`](Request::query_pairs)), and there are simply no signals; with other methods
    /// it is the body, which is refused here: a handler of forms reads [`form`](Request::form).
    /// Refusing all but JSON also keeps foreign pages out: browsers send forms and plain
    /// text across origins without asking, JSON only with a CORS permission.
    ///
    /// ```
    /// use starwheel::{datastar::Signals, Request};
    /// let request = Request::get("/rows?datastar=%7B%22page%22%3A+2%7D");
    /// assert_eq!(Signals::read(&request)?.i64("page"), Some(2));
    /// assert!(Signals::read(&Request::get("/rows"))?.is_empty());
    /// # Ok::<(), starwheel::datastar::SignalsError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse), and [`SignalsError::ContentType`] for a body that is not
    /// declared as JSON. In a handler, `?` answers with the status and the reason.
    pub fn read(request: &Request) -> Result<Self, SignalsError> {
        let in_query = matches!(request.method(), Method::Get | Method::Head | Method::Delete);
        if in_query {
            return Self::parse(&request.query_value_bytes("datastar").unwrap_or_default());
        }
        match request.content_type() {
            Some(media_type) if is_json(media_type) => Self::parse(request.body()),
            None if request.body().is_empty() => Ok(Self::default()),
            _ => Err(SignalsError::ContentType),
        }
    }

    /// Parses signals from JSON. Blank text means no signals. Of two members with one name the last
    /// counts, as in JavaScript. Objects and arrays may be nested 127 deep.
    ///
    /// A lone surrogate is read as U+FFFD, as everywhere on the web where text leaves a page
    /// (`USVString`). A page gets one by cutting a string inside an emoji, and `JSON.stringify`
    /// writes it as an escape. Only such JSON costs a second pass.
    ///
    /// ```
    /// use starwheel::datastar::Signals;
    /// let signals = Signals::parse(br#"{"name": "Ann \ud83d"}"#)?;
    /// assert_eq!(signals.str("name"), Some("Ann \u{fffd}"));
    /// # Ok::<(), starwheel::datastar::SignalsError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SignalsError::NotUtf8`], [`SignalsError::Json`] and [`SignalsError::NotAnObject`].
    pub fn parse(json: &[u8]) -> Result<Self, SignalsError> {
        let json = std::str::from_utf8(json).map_err(|_| SignalsError::NotUtf8)?;
        if json.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        match parse_value(json).map_err(SignalsError::Json)? {
            Value::Object(signals) => Ok(Self(signals)),
            _ => Err(SignalsError::NotAnObject),
        }
    }

    /// The signal with this dotted name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        let (first, rest) = match name.split_once('.') {
            Some((first, rest)) => (first, Some(rest)),
            None => (name, None),
        };
        let signal = self.0.get(first)?;
        rest.into_iter().flat_map(|rest| rest.split('.')).try_fold(signal, |signal, part| {
            match signal {
                Value::Object(inside) => inside.get(part),
                Value::Array(items) => items.get(part.parse::<usize>().ok()?),
                _ => None,
            }
        })
    }

    /// The signal with this dotted name, if it is text.
    #[must_use]
    pub fn str(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// The signal with this dotted name, if it is a number.
    #[must_use]
    pub fn f64(&self, name: &str) -> Option<f64> {
        self.get(name)?.as_f64()
    }

    /// The signal with this dotted name, if it is an integer written without a fraction, as
    /// JavaScript writes integers below 10^21, and fits 64 bits.
    #[must_use]
    pub fn i64(&self, name: &str) -> Option<i64> {
        self.get(name)?.as_i64()
    }

    /// The signal with this dotted name, if it is true or false.
    #[must_use]
    pub fn bool(&self, name: &str) -> Option<bool> {
        self.get(name)?.as_bool()
    }

    /// True if the request carried no signals.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All signals as a value of your own type.
    ///
    /// ```
    /// use starwheel::datastar::Signals;
    /// #[derive(serde::Deserialize)]
    /// struct Form { name: String, age: u8 }
    ///
    /// let form: Form = Signals::parse(br#"{"name": "Ann", "age": 44, "open": true}"#)?.deserialize()?;
    /// assert_eq!((form.name.as_str(), form.age), ("Ann", 44));
    /// # Ok::<(), starwheel::datastar::SignalsError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SignalsError::Mismatch`] if they do not match that type.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, SignalsError> {
        T::deserialize(&self.0).map_err(SignalsError::Mismatch)
    }
}

/// Why a request's signals cannot be read.
///
/// ```
/// use starwheel::datastar::{Signals, SignalsError};
/// let error = Signals::parse(b"[1, 2]").unwrap_err();
/// assert!(matches!(error, SignalsError::NotAnObject));
/// assert_eq!(error.status(), 400);
/// ```
///
/// All of these are client errors; [`status`](Self::status) is the status for the response.
#[derive(Debug)]
#[non_exhaustive]
pub enum SignalsError {
    /// The body is not declared as JSON. Datastar's form mode (`contentType: 'form'`) sends
    /// forms instead of signals; read those from the request's query or body.
    ContentType,
    /// The JSON is not UTF-8.
    NotUtf8,
    /// It is not JSON, or nested too deep.
    Json(serde_json::Error),
    /// It is JSON, but not an object.
    NotAnObject,
    /// The signals do not match the expected type.
    Mismatch(serde_json::Error),
}

impl SignalsError {
    /// The status for the response: 415 for another content type, otherwise 400.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// Safe to log and to send. In text from the client, control characters and those that change the
/// text direction or are invisible are escaped, and the reason is cut after 200 characters. Its
/// [`source`](Error::source) is the parser's error, neither escaped nor cut.
impl fmt::Display for SignalsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ContentType => f.write_str(
                "signals must be sent as application/json; an action with contentType 'form' sends none",
            ),
            Self::NotUtf8 => f.write_str("signals are not UTF-8"),
            Self::Json(error) => write!(f, "signals are not JSON: {}", Reason(error)),
            Self::NotAnObject => f.write_str("signals are not a JSON object"),
            Self::Mismatch(error) => write!(f, "signals do not fit: {}", Reason(error)),
        }
    }
}

impl Error for SignalsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Json(error) | Self::Mismatch(error) => Some(error),
            _ => None,
        }
    }
}

/// Reads JSON as JavaScript writes it. `serde_json` refuses lone surrogates, so they are looked for
/// only when it has refused something.
fn parse_value(json: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(json).or_else(|error| match replace_lone_surrogates(json) {
        Some(repaired) => serde_json::from_str(&repaired),
        None => Err(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM_QUERY: &str = "/?datastar=%7B%22from%22%3A%22query%22%7D";
    const FROM_BODY: &[u8] = br#"{"from": "body"}"#;

    /// A request with a content type and a body, if any.
    fn request(method: &str, target: &str, content_type: Option<&str>, body: &[u8]) -> Request {
        let content_type =
            content_type.map(|it| format!("Content-Type: {it}\r\n")).unwrap_or_default();
        let mut bytes = format!(
            "{method} {target} HTTP/1.1\r\nHost: a\r\n{content_type}Content-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        bytes.extend_from_slice(body);
        Request::parse(&bytes).unwrap()
    }

    #[track_caller]
    fn assert_from(request: &Request, place: &str) {
        assert_eq!(Signals::read(request).unwrap().str("from"), Some(place));
    }

    #[test]
    fn the_method_decides_where_signals_are() {
        let json = Some("application/json");
        for method in ["GET", "HEAD", "DELETE"] {
            assert_from(&request(method, FROM_QUERY, json, FROM_BODY), "query");
        }
        for method in ["POST", "PUT", "PATCH", "QUERY"] {
            assert_from(&request(method, FROM_QUERY, json, FROM_BODY), "body");
        }
    }

    #[test]
    fn no_signals_are_no_error() {
        let json = Some("application/json");
        for (method, target, content_type, body) in [
            ("GET", "/", None, &b""[..]),
            ("GET", "/?datastar=", None, b""),
            ("GET", "/?datastar", None, b""),
            ("GET", "/?name=a&age=7", None, b""),
            ("GET", "/", json, FROM_BODY),
            ("DELETE", "/", Some("text/plain"), b"ignored"),
            ("POST", FROM_QUERY, None, b""),
            ("POST", "/", json, b""),
            ("POST", "/", json, b" \r\n"),
        ] {
            let request = request(method, target, content_type, body);
            assert!(Signals::read(&request).unwrap().is_empty(), "{method} {target}");
        }
    }

    #[test]
    fn a_body_is_read_as_json_only_with_a_json_content_type() {
        for json in ["application/json;charset=utf-8", "Application/JSON ; x", "application/a+json"]
        {
            assert_from(&request("POST", "/", Some(json), FROM_BODY), "body");
        }
        for other in [
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=application/json",
            "text/plain",
            "text/json",
            "application/jsonx",
            "json",
            "",
        ] {
            let refused = Signals::read(&request("POST", FROM_QUERY, Some(other), FROM_BODY));
            assert!(matches!(refused, Err(SignalsError::ContentType)), "{other}");
        }
        let blob_without_type = request("POST", "/", None, FROM_BODY);
        assert!(Signals::read(&blob_without_type).is_err());
    }

    #[test]
    fn a_query_is_decoded_as_browsers_encode_it() {
        let measured = "/?datastar=%7B%22s1%22%3A0%2C%22q%22%3A%22a+b%2Bc%26%E2%82%AC%22%7D";
        assert_eq!(Signals::read(&Request::get(measured)).unwrap().str("q"), Some("a b+c&€"));
        let bare = "/?a=1&%64atastar={\"from\":\"query\"}&datastar=x";
        assert_from(&Request::get(bare), "query");
    }

    #[test]
    fn a_query_that_is_not_utf_8_is_refused_and_not_repaired() {
        for value in ["%FF", "%C3", "%ED%A0%80"] {
            let request = Request::get(&format!("/?datastar=%7B%22a%22%3A%22{value}%22%7D"));
            assert!(matches!(Signals::read(&request), Err(SignalsError::NotUtf8)), "{value}");
        }
    }
}
