//! `datastar-patch-signals`: values into the page's signals.

use std::{borrow::Cow, error::Error, fmt};

use serde_core::{Serialize, de::IgnoredAny};
use serde_json::{Map, Value};

use super::{Envelope, PATCH_SIGNALS, envelope_setters};
use crate::{
    http::Response,
    sse::{Encode, EventBuffer},
};

/// Merges values into the signals of the page.
///
/// The patch is a JSON object and is merged by RFC 7396: objects are merged, other values replace
/// old ones, and `null` removes a signal. Signals that it does not name stay.
///
/// ```
/// # fn main() -> Result<(), starwheel::datastar::PatchSignalsError> {
/// use starwheel::{datastar::PatchSignals, EventBuffer};
/// let mut out = EventBuffer::new();
/// out.push(&PatchSignals::from_pairs([("user.name", "Ann".into()), ("count", 1.into())])?);
/// assert_eq!(
///     out.as_bytes(),
///     br#"event: datastar-patch-signals
/// data: signals {"count":1,"user":{"name":"Ann"}}
///
/// "#,
/// );
/// # Ok(())
/// # }
/// ```
///
/// Only strict JSON can be sent, because the client would evaluate anything else as JavaScript.
/// Numbers are 64-bit floats in the client, so integers above 2^53 lose digits.
#[derive(Debug, Clone)]
#[must_use = "a patch does nothing until it is sent or published"]
pub struct PatchSignals<'a> {
    json: Cow<'a, str>,
    scope: Scope,
    envelope: Envelope<'a>,
}

impl<'a> PatchSignals<'a> {
    /// Patches the signals in this value, serialized as JSON: a struct, a map, `json!({..})`.
    ///
    /// ```
    /// # fn main() -> Result<(), starwheel::datastar::PatchSignalsError> {
    /// use std::collections::BTreeMap;
    /// use starwheel::datastar::PatchSignals;
    /// let load = BTreeMap::from([("one", 0.4), ("five", 0.7)]);
    /// let patch = PatchSignals::new(&load)?;
    /// assert_eq!(patch.as_json(), r#"{"five":0.7,"one":0.4}"#);
    /// assert!(PatchSignals::new(&[1, 2]).is_err(), "not an object");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// JSON has no NaN and no infinity: `serde_json` writes `null` for them, which removes the
    /// signal.
    ///
    /// # Errors
    ///
    /// [`PatchSignalsError::Json`] if the value cannot be written as JSON (a map whose keys are
    /// not text), [`PatchSignalsError::NotAnObject`] if it is not a struct or a map.
    pub fn new<T: Serialize + ?Sized>(value: &T) -> Result<Self, PatchSignalsError> {
        let json = serde_json::to_string(value).map_err(PatchSignalsError::Json)?;
        if !json.starts_with('{') {
            return Err(PatchSignalsError::NotAnObject);
        }
        Ok(Self::checked(json.into()))
    }

    /// Patches the signals of a JSON text, which is validated and sent unchanged, line by line.
    ///
    /// ```
    /// use starwheel::datastar::PatchSignals;
    /// assert!(PatchSignals::json("{\n  \"count\": 1\n}").is_ok());
    /// assert!(PatchSignals::json("{count: 1}").is_err(), "JavaScript is not JSON");
    /// ```
    ///
    /// # Errors
    ///
    /// [`PatchSignalsError::Empty`], [`PatchSignalsError::Json`] if it is not JSON by RFC 8259,
    /// [`PatchSignalsError::NotAnObject`].
    pub fn json(text: impl Into<Cow<'a, str>>) -> Result<Self, PatchSignalsError> {
        let text = text.into();
        let start = text.trim_start_matches([' ', '\t', '\r', '\n']);
        if start.is_empty() {
            return Err(PatchSignalsError::Empty);
        }
        serde_json::from_str::<IgnoredAny>(&text).map_err(PatchSignalsError::Json)?;
        if !start.starts_with('{') {
            return Err(PatchSignalsError::NotAnObject);
        }
        Ok(Self::checked(text))
    }

    /// Patches signals by their dotted names, which nest: `user.name` is `name` inside `user`. A
    /// `null` removes the signal. Of two values for one name the later counts, but a value never
    /// replaces an object that contains other values.
    ///
    /// # Errors
    ///
    /// [`PatchSignalsError::Name`] if a name or a part of one is empty,
    /// [`PatchSignalsError::Conflict`] if a name goes into a value that is not an object (`a` is 1
    /// and `a.b` is 2), or its value would replace an object (`a.b` is 2, and then `a` is 1).
    pub fn from_pairs<K: AsRef<str>>(
        pairs: impl IntoIterator<Item = (K, Value)>,
    ) -> Result<Self, PatchSignalsError> {
        let mut signals = Map::new();
        for (name, value) in pairs {
            nest(&mut signals, name.as_ref(), value)?;
        }
        Ok(Self::checked(Value::Object(signals).to_string().into()))
    }

    /// Removes signals by their dotted names.
    ///
    /// ```
    /// # fn main() -> Result<(), starwheel::datastar::PatchSignalsError> {
    /// use starwheel::datastar::PatchSignals;
    /// let patch = PatchSignals::remove(["draft", "user.name"])?;
    /// assert_eq!(patch.as_json(), r#"{"draft":null,"user":{"name":null}}"#);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`from_pairs`](Self::from_pairs).
    pub fn remove<K: AsRef<str>>(
        names: impl IntoIterator<Item = K>,
    ) -> Result<Self, PatchSignalsError> {
        Self::from_pairs(names.into_iter().map(|name| (name, Value::Null)))
    }

    /// Sets only those signals that the page does not have yet.
    pub fn only_if_missing(mut self) -> Self {
        self.scope = Scope::OnlyIfMissing;
        self
    }

    /// The patch as JSON.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.json
    }

    envelope_setters!('a);

    /// The patch as a response that is not a stream.
    pub(super) fn into_response(self) -> Response {
        let response = Response::json_text(self.json.into_owned());
        match self.scope {
            Scope::All => response,
            Scope::OnlyIfMissing => response.with_header("datastar-only-if-missing", "true"),
        }
    }

    fn checked(json: Cow<'a, str>) -> Self {
        Self { json, scope: Scope::All, envelope: Envelope::default() }
    }
}

impl Encode for PatchSignals<'_> {
    fn encode(&self, out: &mut EventBuffer) {
        self.envelope.encode(&PATCH_SIGNALS, out);
        if self.scope == Scope::OnlyIfMissing {
            out.data_with_key("onlyIfMissing", "true");
        }
        out.data_with_key("signals", &self.json);
    }
}

/// Why something is not a valid signals patch.
///
/// ```
/// use starwheel::datastar::{PatchSignals, PatchSignalsError};
/// let error = PatchSignals::json("[1, 2]").unwrap_err();
/// assert!(matches!(error, PatchSignalsError::NotAnObject));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum PatchSignalsError {
    /// The text is empty; the smallest patch is `{}`.
    Empty,
    /// The text is not JSON, or the value cannot be written as JSON.
    Json(serde_json::Error),
    /// It is JSON, but not an object.
    NotAnObject,
    /// This dotted name is empty or has an empty part.
    Name(String),
    /// This dotted name and a part of it were both given values.
    Conflict(String),
}

impl fmt::Display for PatchSignalsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("signals must be a JSON object; send {} for none"),
            Self::Json(error) => write!(f, "signals are not JSON: {error}"),
            Self::NotAnObject => f.write_str("signals must be a JSON object"),
            Self::Name(name) => write!(f, "the signal name {name:?} has an empty part"),
            Self::Conflict(name) => {
                write!(f, "the signal {name:?} is set both as a value and as an object")
            }
        }
    }
}

impl Error for PatchSignalsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Json(error) => Some(error),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    All,
    OnlyIfMissing,
}

/// Inserts `value` at the dotted `name`.
fn nest(
    signals: &mut Map<String, Value>,
    name: &str,
    value: Value,
) -> Result<(), PatchSignalsError> {
    if name.split('.').any(str::is_empty) {
        return Err(PatchSignalsError::Name(name.to_owned()));
    }
    let conflict = || PatchSignalsError::Conflict(name.to_owned());
    let (parents, leaf) = match name.rsplit_once('.') {
        Some((parents, leaf)) => (Some(parents), leaf),
        None => (None, name),
    };
    let mut inside = signals;
    for parent in parents.iter().flat_map(|parents| parents.split('.')) {
        let value = inside.entry(parent).or_insert_with(|| Value::Object(Map::new()));
        inside = value.as_object_mut().ok_or_else(conflict)?;
    }
    match inside.get(leaf) {
        Some(Value::Object(_)) => Err(conflict()),
        _ => {
            inside.insert(leaf.to_owned(), value);
            Ok(())
        }
    }
}
