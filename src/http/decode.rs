//! What requests carry as JSON or as names and values, as types of the application.

use std::{borrow::Cow, error::Error, fmt};

use serde_core::de::DeserializeOwned;

use super::{Request, Response, StatusCode, pairs::Pairs};
use crate::error::Reason;

/// JSON, queries and forms as types of your own. Everything in them was chosen by the client:
/// check it as any input.
impl Request {
    /// The JSON body as a value of your own type.
    ///
    /// The body has to be declared as JSON: `Content-Type: application/json`, or a type that ends in
    /// `+json`. That also keeps foreign pages out, because browsers send forms and plain text across
    /// origins without asking, JSON only with a CORS permission. In a handler, `?` answers with the
    /// status and the reason. Costs one pass over the body.
    ///
    /// ```
    /// use starwheel::{Method, Response, Router, testing::Simulation};
    /// #[derive(serde::Deserialize)]
    /// struct Todo { title: String }
    ///
    /// let router = Router::new().post("/todos", |req, _cx| {
    ///     let todo: Todo = req.json()?;
    ///     Ok(Response::text(format!("will {}", todo.title)))
    /// });
    /// let mut simulation = Simulation::new(router);
    /// let client = simulation.connect();
    /// let json = [("Content-Type", "application/json")];
    /// simulation.request(client, Method::Post, "/todos", &json, br#"{"title": "sleep"}"#);
    /// simulation.turn();
    /// assert_eq!(simulation.response(client).text(), "will sleep");
    /// ```
    ///
    /// # Errors
    /// [`DecodeError::ContentType`] (415); [`DecodeError::Json`] (400) if the body is empty or not
    /// JSON; [`DecodeError::Mismatch`] (422) if it does not fit the type. `serde_json` reports a number
    /// out of range, and a key that is not the number expected, as the former. A lone surrogate
    /// (`"\ud83d"`) is not JSON text; [`Signals`](crate::datastar::Signals) repairs it. Members that the
    /// type does not have are skipped: their strings are not checked for UTF-8 or surrogates, nor
    /// their depth, so do not store the body only because it was read.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        if !self.content_type().is_some_and(is_json) {
            return Err(DecodeError::ContentType { expected: JSON });
        }
        serde_json::from_slice(self.body()).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => DecodeError::Mismatch(error),
            _ => DecodeError::Json(error),
        })
    }

    /// The query as a value of your own type, a struct most often: its fields are found by name, in
    /// any order, and names that it does not have are skipped. No query is an empty one.
    ///
    /// | field | value |
    /// |---|---|
    /// | text, `char` | decoded as [`query_pairs`](Self::query_pairs) does it |
    /// | numbers | decimal; no infinity, no NaN |
    /// | `bool` | `true`, `false`, or `on`, which browsers send for a ticked checkbox |
    /// | `Option` | `None` if the name is absent or its value empty, as of a form field left blank |
    /// | `Vec` | all values of the name, in their order; absent needs `#[serde(default)]` |
    /// | `enum` without data | the variant's name |
    ///
    /// Any other field takes exactly one value: a name given twice is refused. Fields that are
    /// structs are refused. With `#[serde(flatten)]` every value is text, an
    /// empty one too, and no name may be given twice. Cost: a sort of the pairs.
    ///
    /// ```
    /// use starwheel::Request;
    /// #[derive(serde::Deserialize)]
    /// struct Search { q: String, page: Option<u32>, #[serde(default)] tag: Vec<String> }
    ///
    /// let request = Request::get("/search?tag=a&q=night+sky&tag=b");
    /// let search: Search = request.query_params()?;
    /// assert_eq!((search.q.as_str(), search.page), ("night sky", None));
    /// assert_eq!(search.tag, ["a", "b"]);
    /// # Ok::<(), starwheel::DecodeError>(())
    /// ```
    ///
    /// # Errors
    /// [`DecodeError::Query`] (400) if it does not fit the type.
    pub fn query_params<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        T::deserialize(Pairs::new(self.query_pairs()))
            .map_err(|error| DecodeError::Query(error.to_string()))
    }

    /// The body of a form as names and values, decoded as [`query_pairs`](Self::query_pairs) does it.
    ///
    /// Yields nothing if the body is not declared as `application/x-www-form-urlencoded`, the type of
    /// HTML forms with `method=post` and no `enctype`. Those with `method=get` are in the query.
    ///
    /// Pages from other origins can send forms: see [`OriginCheck`](crate::OriginCheck).
    ///
    /// ```
    /// # use starwheel::Request;
    /// let request = Request::parse(
    ///     b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n\
    ///       Content-Length: 13\r\n\r\nname=G%C3%BC+",
    /// )?;
    /// let pairs: Vec<_> = request.form_pairs().collect();
    /// assert_eq!(pairs, [("name".into(), "Gü ".into())]);
    /// # Ok::<(), starwheel::Refusal>(())
    /// ```
    pub fn form_pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        let body = if self.is_form() { self.body() } else { b"" };
        form_urlencoded::parse(body)
    }

    /// The body of a form as a value of your own type, by the rules of
    /// [`query_params`](Self::query_params).
    ///
    /// ```
    /// use starwheel::{Method, OriginCheck, Response, Router, testing::Simulation};
    /// #[derive(serde::Deserialize)]
    /// struct Login { name: String, #[serde(default)] remember: bool }
    ///
    /// let router = Router::new().post("/login", |req, _cx| {
    ///     let login: Login = req.form()?;
    ///     Ok(Response::text(format!("{} {}", login.name, login.remember)))
    /// });
    /// let mut simulation = Simulation::new(OriginCheck::new().around(router));
    /// let client = simulation.connect();
    /// let form = [("Content-Type", "application/x-www-form-urlencoded")];
    /// simulation.request(client, Method::Post, "/login", &form, b"name=Ann&remember=on");
    /// simulation.turn();
    /// assert_eq!(simulation.response(client).text(), "Ann true");
    /// ```
    ///
    /// # Errors
    /// [`DecodeError::ContentType`] (415) if it is not declared as
    /// `application/x-www-form-urlencoded`, [`DecodeError::Form`] (422) if it does not fit the type.
    pub fn form<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        if !self.is_form() {
            return Err(DecodeError::ContentType { expected: FORM });
        }
        T::deserialize(Pairs::new(self.form_pairs()))
            .map_err(|error| DecodeError::Form(error.to_string()))
    }

    fn is_form(&self) -> bool {
        self.content_type().is_some_and(|it| it.eq_ignore_ascii_case(FORM))
    }
}

/// Why JSON, a query or a form cannot be read as the type that a handler asked for. It is the
/// client's mistake; [`status`](Self::status) is the answer to give, and `?` in a handler gives it.
///
/// ```
/// use starwheel::{DecodeError, Request, Response};
/// #[derive(Debug, serde::Deserialize)]
/// struct Page { page: u32 }
///
/// let error = Request::get("/?page=two").query_params::<Page>().unwrap_err();
/// assert_eq!(error.to_string(), "the query does not fit: `page` must be a whole number, not \"two\"");
/// assert_eq!(Response::from(error).status(), 400);
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum DecodeError {
    /// The body is not declared as what was asked for, or not at all.
    ContentType {
        /// The media type to send.
        expected: &'static str,
    },
    /// The body is not JSON, not UTF-8, or nested too deep.
    Json(serde_json::Error),
    /// The JSON does not fit the type.
    Mismatch(serde_json::Error),
    /// The query does not fit the type, and why.
    Query(String),
    /// The form does not fit the type, and why.
    Form(String),
}

impl DecodeError {
    /// The HTTP status that answers the request: 415 for another content type, 422 for a body that
    /// does not fit (RFC 9110 section 15.5.21), otherwise 400.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::ContentType { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Json(_) | Self::Query(_) => StatusCode::BAD_REQUEST,
            Self::Mismatch(_) | Self::Form(_) => StatusCode::UNPROCESSABLE_CONTENT,
        }
    }
}

/// Safe to log and to send: in what the client sent, control characters and those that turn or hide
/// text are escaped, and the reason is cut after 200 characters. The fields of the variants, and its
/// [`source`](Error::source), are neither escaped nor cut.
impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ContentType { expected } => {
                write!(f, "the body must be {expected}; send it with that Content-Type")
            }
            Self::Json(error) => write!(f, "the body is not JSON: {}", Reason(error)),
            Self::Mismatch(error) => write!(f, "the JSON does not fit: {}", Reason(error)),
            Self::Query(reason) => write!(f, "the query does not fit: {}", Reason(reason)),
            Self::Form(reason) => write!(f, "the form does not fit: {}", Reason(reason)),
        }
    }
}

impl Error for DecodeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Json(error) | Self::Mismatch(error) => Some(error),
            _ => None,
        }
    }
}

/// The error's status, with its text as the reason.
impl From<DecodeError> for Response {
    fn from(error: DecodeError) -> Self {
        let response = Self::error(error.status(), error.to_string());
        match error {
            // Says which type would do (RFC 9110 section 15.5.16).
            DecodeError::ContentType { expected } => response.with_header("Accept", expected),
            _ => response,
        }
    }
}

/// True for `application/json` and `+json` types.
pub(crate) fn is_json(media_type: &str) -> bool {
    let Some((kind, subtype)) = media_type.split_once('/') else {
        return false;
    };
    let suffix = subtype.rsplit('+').next().unwrap_or_default();
    kind.eq_ignore_ascii_case("application") && suffix.eq_ignore_ascii_case("json")
}

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
