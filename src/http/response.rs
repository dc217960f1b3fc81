//! Responses: a status, header lines and a complete body.
//!
//! It knows no connection, and of requests only their entity tags; whether another request may
//! follow comes as an argument.

mod coding;

pub(crate) use coding::Codable;

use std::{borrow::Cow, error::Error, io, num::NonZeroU32, sync::Arc, time::Duration};

use serde_core::Serialize;

use super::{
    Body, Connection, Date, HeaderLines, Refusal, StatusCode, Version,
    encode::{CLOSE, KEEP_ALIVE, encode_date, encode_status_line},
    fields::{HeaderFault, is_value_byte},
    forms::Forms,
};
use crate::error::JsonError;

/// A response that is not a stream.
///
/// ```
/// use starwheel::Response;
/// let response = Response::html("<h1>Hello</h1>").with_header("Cache-Control", "no-store");
/// assert_eq!(response.status(), 200);
/// assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
/// assert_eq!(response.body(), b"<h1>Hello</h1>");
///
/// let split = Response::no_content().with_header("X-Name", "a\r\nSet-Cookie: b=c");
/// assert_eq!(split.status(), 500);
/// assert_eq!(split.header("X-Name"), None);
/// ```
///
/// The library sets `Content-Length`, `Date` and `Connection`. An invalid response (a header value
/// with a line end in it) becomes a 500 immediately and stays one. The reason is logged, and
/// appears during development, not in an attack.
///
/// Text is compressed if it is long enough and the client accepts it ([`Compression`]); `Vary` is
/// set. A strong `ETag` then becomes a weak one (`W/`), because a strong one names one sequence of
/// bytes (RFC 9110 section 8.8.3.3). Compare with [`Request::if_none_match`], which accepts both.
/// `If-Match` does not (RFC 9110 section 13.1.1): if clients send it, keep the response from being
/// compressed.
///
/// Responses with `Cache-Control: no-transform`, with status 206, or with one of the fields
/// `Content-Range`, `Content-Encoding`, `Content-Digest`, `Repr-Digest`, `Digest` and `Content-MD5`
/// are never compressed.
///
/// [`Compression`]: crate::Compression
/// [`Request::if_none_match`]: crate::Request::if_none_match
#[derive(Debug, Clone)]
pub struct Response {
    status: StatusCode,
    content_type: Option<Cow<'static, str>>,
    lines: HeaderLines,
    body: Body,
    /// Of [`Response::with_retry_after`].
    wait_ms: Option<NonZeroU32>,
    /// What few responses have.
    rare: Option<Box<Rare>>,
}

#[derive(Debug, Clone)]
enum Rare {
    /// What went wrong on the server; only logged.
    Failure(String),
    /// The body in several content codings.
    Forms(Arc<Forms>),
}

impl Response {
    /// 200 with an HTML body, UTF-8. Datastar morphs it into the page.
    ///
    /// ```
    /// assert_eq!(starwheel::Response::html("<p id=a>b</p>").status(), 200);
    /// ```
    #[must_use]
    pub fn html(body: impl Into<Body>) -> Self {
        Self::whole("text/html; charset=utf-8", body.into())
    }

    /// 200 with plain text, UTF-8.
    ///
    /// ```
    /// assert_eq!(starwheel::Response::text("pong").body(), b"pong");
    /// ```
    #[must_use]
    pub fn text(body: impl Into<Body>) -> Self {
        Self::whole(TEXT, body.into())
    }

    /// 200 with what this value becomes as JSON: a struct, a map, `json!({..})`.
    ///
    /// JSON has no NaN and no infinity: `serde_json` writes `null` for them.
    ///
    /// ```
    /// use starwheel::{Response, Router};
    /// use std::collections::BTreeMap;
    /// let router = Router::new()
    ///     .get("/load", |_req, _cx| Ok(Response::json(&BTreeMap::from([("one", 0.4)]))?));
    /// # let _ = router;
    /// let response = Response::json("text")?.with_header("Cache-Control", "no-store");
    /// assert_eq!(response.header("Content-Type"), Some("application/json"));
    /// assert_eq!(response.body(), br#""text""#);
    /// # Ok::<(), starwheel::JsonError>(())
    /// ```
    ///
    /// # Errors
    /// [`JsonError`] if it cannot be written as JSON.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, JsonError> {
        JsonError::write(value).map(Self::json_text)
    }

    /// 200 with a body that is JSON text already; it is not looked at.
    ///
    /// ```
    /// let response = starwheel::Response::json_text(r#"{"a":1}"#);
    /// assert_eq!(response.header("Content-Type"), Some("application/json"));
    /// ```
    #[must_use]
    pub fn json_text(json: impl Into<Body>) -> Self {
        Self::whole("application/json", json.into())
    }

    /// 200 with a body of any type.
    ///
    /// ```
    /// let response = starwheel::Response::bytes("image/svg+xml", "<svg/>");
    /// assert_eq!(response.header("Content-Type"), Some("image/svg+xml"));
    /// ```
    #[must_use]
    pub fn bytes(content_type: impl Into<Cow<'static, str>>, body: impl Into<Body>) -> Self {
        Self { body: body.into(), ..Self::EMPTY }.with_content_type(content_type)
    }

    /// 204: success, without a body. It also tells an `EventSource` to stop reconnecting.
    ///
    /// ```
    /// assert_eq!(starwheel::Response::no_content().status(), 204);
    /// ```
    #[must_use]
    pub fn no_content() -> Self {
        Self::new(StatusCode::NO_CONTENT)
    }

    /// 303: look there with a GET. `location` is a URI reference, percent-encoded.
    ///
    /// ```
    /// let response = starwheel::Response::redirect("/login");
    /// assert_eq!(response.status(), 303);
    /// assert_eq!(response.header("Location"), Some("/login"));
    /// ```
    #[must_use]
    pub fn redirect(location: impl AsRef<str>) -> Self {
        Self::new(StatusCode::SEE_OTHER).with_header("Location", location)
    }

    /// A status without body.
    ///
    /// ```
    /// use starwheel::{Response, StatusCode};
    /// assert_eq!(Response::new(StatusCode::ACCEPTED).body(), b"");
    /// ```
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        Self::EMPTY.with_status(status)
    }

    /// An error with its reason as plain text. Write the reason for the client: do not quote
    /// unchecked input or reveal secrets.
    ///
    /// ```
    /// let response = starwheel::Response::error(starwheel::StatusCode::CONFLICT, "somebody else was faster; load again");
    /// assert_eq!(response.header("X-Content-Type-Options"), Some("nosniff"));
    /// ```
    #[must_use]
    pub fn error(status: StatusCode, reason: impl Into<String>) -> Self {
        Self::text_error(status, Body::from(reason.into()))
    }

    /// 404.
    ///
    /// ```
    /// assert_eq!(starwheel::Response::not_found().status(), 404);
    /// ```
    #[must_use]
    pub fn not_found() -> Self {
        Self::text_error(StatusCode::NOT_FOUND, Body::from("nothing found at this path"))
    }

    /// 503, retry later: load shedding in one line. See
    /// [`with_retry_after`](Self::with_retry_after).
    ///
    /// ```
    /// use starwheel::{Response, Answer, Router, Sse};
    /// use std::time::Duration;
    /// let router = Router::new().get("/ticks", |_req, cx| -> Result<Sse, Response> {
    ///     if cx.stats().streams > 10_000 {
    ///         return Err(Response::busy(Duration::from_secs(10)));
    ///     }
    ///     Ok(Sse::every(Duration::from_secs(1), |stream| stream.send("tick")))
    /// });
    /// # let _ = router;
    /// ```
    #[must_use]
    pub fn busy(retry_after: Duration) -> Self {
        let response = Self::text_error(
            StatusCode::SERVICE_UNAVAILABLE,
            Body::from("the server is busy; try again later"),
        );
        response.with_retry_after(retry_after)
    }

    /// Marks this error as temporary: clients retry, but not all together. Each gets a random delay
    /// between `delay` and twice as much, in the form that it understands, and its connection is
    /// closed:
    ///
    /// | request | response |
    /// |---|---|
    /// | `GET` with `Accept: text/event-stream` (`EventSource`) | 200, `retry:`, the end. An `EventSource` stops permanently on any other status |
    /// | the same with `Datastar-Request: true` | 200, `retry:`, and a cut a second later. Datastar reconnects after that, but not after an end, and after an error only if configured |
    /// | all others, including commands | this response, with `Retry-After` |
    ///
    /// The unit is the millisecond; from 1 ms to 49 days.
    ///
    /// In the first two, the body is sent as a comment; header fields are the same. Counted in
    /// [`Stats::refused`](crate::Stats::refused). No effect if the status is below 400.
    ///
    /// ```
    /// use starwheel::{Response, StatusCode};
    /// use std::time::Duration;
    /// let response = Response::error(StatusCode::TOO_MANY_REQUESTS, "one search a second").with_retry_after(Duration::from_secs(1));
    /// assert_eq!(response.status(), 429);
    /// ```
    #[must_use]
    pub fn with_retry_after(mut self, delay: Duration) -> Self {
        if self.is_broken() {
            return self;
        }
        let delay_ms = u32::try_from(delay.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX);
        self.wait_ms = Some(NonZeroU32::new(delay_ms).unwrap_or(NonZeroU32::MIN));
        self
    }

    /// The same response with another status.
    ///
    /// Bodies that cannot be sent with a status (204, 205, 304) are dropped.
    ///
    /// ```
    /// assert_eq!(starwheel::Response::html("made").with_status(starwheel::StatusCode::CREATED).status(), 201);
    /// ```
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        if self.is_broken() {
            return self;
        }
        self.status = status;
        self
    }

    /// Adds a header field; a name may be added more than once (`Set-Cookie`). Costs an allocation
    /// for the first few.
    ///
    /// The response becomes a 500 when `name` is not a token, when `value` contains a control
    /// character (RFC 9110 section 5.5), or when only the library sets the field: `Connection`,
    /// `Content-Length`, `Date`, `Keep-Alive`, `TE`, `Trailer`, `Transfer-Encoding`, `Upgrade`.
    ///
    /// ```
    /// let response = starwheel::Response::text("x").with_header("Set-Cookie", "id=7; HttpOnly");
    /// assert_eq!(response.header("set-cookie"), Some("id=7; HttpOnly"));
    /// ```
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        if name.eq_ignore_ascii_case(CONTENT_TYPE) {
            return self.with_content_type(value.as_ref().to_owned());
        }
        if self.is_broken() {
            return self;
        }
        self.lines.push(name, value.as_ref());
        self.unless_broken()
    }

    /// Replaces the media type.
    ///
    /// ```
    /// let response = starwheel::Response::text("a,b").with_content_type("text/csv; charset=utf-8");
    /// assert_eq!(response.header("Content-Type"), Some("text/csv; charset=utf-8"));
    /// ```
    #[must_use]
    pub fn with_content_type(mut self, content_type: impl Into<Cow<'static, str>>) -> Self {
        if self.is_broken() {
            return self;
        }
        let content_type = content_type.into();
        if !content_type.bytes().all(is_value_byte) {
            self.lines.refuse(CONTENT_TYPE, HeaderFault::Value);
            return self.unless_broken();
        }
        self.content_type = Some(content_type);
        self
    }

    /// The status that will be sent.
    ///
    /// ```
    /// assert_eq!(starwheel::Response::text("x").status(), 200);
    /// ```
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The first value of a header field that was set with the response. Names are
    /// case-insensitive.
    ///
    /// ```
    /// assert_eq!(starwheel::Response::text("x").header("ETag"), None);
    /// ```
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        if name.eq_ignore_ascii_case(CONTENT_TYPE) {
            return self.content_type.as_deref();
        }
        self.lines.value(name)
    }

    /// The body that will be sent.
    ///
    /// ```
    /// assert_eq!(starwheel::Response::text("x").body(), b"x");
    /// assert_eq!(starwheel::Response::text("x").with_status(starwheel::StatusCode::NO_CONTENT).body(), b"");
    /// ```
    #[must_use]
    pub fn body(&self) -> &[u8] {
        if self.may_have_body() { self.body.as_slice() } else { b"" }
    }

    /// Appends the head, final empty line included; `version` is that of the request. The body is [`into_body`](Self::into_body),
    /// unless the request was `HEAD`: then nothing follows.
    pub(crate) fn encode_head(
        &self,
        out: &mut Vec<u8>,
        date: &Date,
        connection: Connection,
        version: Version,
    ) {
        encode_status_line(out, self.status);
        // 204 must not have a length, 304 need not (RFC 9110 section 8.6); 205 has one of 0.
        if !matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            let length_bytes = self.body().len();
            out.extend_from_slice(b"Content-Length: ");
            out.extend_from_slice(itoa::Buffer::new().format(length_bytes).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        if let Some(content_type) = &self.content_type
            && self.may_have_body()
        {
            out.extend_from_slice(b"Content-Type: ");
            out.extend_from_slice(content_type.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        encode_date(out, date);
        match (connection, version) {
            (Connection::Close, _) => out.extend_from_slice(CLOSE),
            (Connection::KeepAlive, Version::Http10) => out.extend_from_slice(KEEP_ALIVE),
            (Connection::KeepAlive, Version::Http11) => {}
        }
        out.extend_from_slice(self.lines.as_bytes());
        out.extend_from_slice(b"\r\n");
    }

    /// The delay of [`with_retry_after`](Self::with_retry_after), if this is an error.
    pub(crate) fn wait_ms(&self) -> Option<u32> {
        self.wait_ms.filter(|_| self.status.is_error()).map(NonZeroU32::get)
    }

    /// Adds header lines of a stream that is not opened: a permission to read, a cookie.
    pub(crate) fn with_lines(mut self, lines: &HeaderLines) -> Self {
        self.lines.append(lines);
        self
    }

    /// Adds header lines that layers have set before there was a response.
    pub(crate) fn with_missing_lines(mut self, lines: &HeaderLines) -> Self {
        self.lines.append_missing(lines);
        self.unless_broken()
    }

    pub(crate) fn header_lines(&self) -> &[u8] {
        self.lines.as_bytes()
    }

    pub(crate) fn into_body(self) -> Body {
        if self.may_have_body() { self.body } else { Body::EMPTY }
    }

    /// 500 for a server error, which is logged and not sent to the client. It is logged when the
    /// request is answered, because only then is the failed handler known.
    pub(crate) fn failed(error: &dyn Error) -> Self {
        let response = Self::text_error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the server failed to answer; its log has the reason".into(),
        );
        Self { rare: Some(Box::new(Rare::Failure(error.to_string()))), ..response }
    }

    /// What to log when this is answered.
    pub(crate) fn failure(&self) -> Option<&str> {
        let Some(Rare::Failure(text)) = self.rare.as_deref() else { return None };
        Some(text)
    }

    const EMPTY: Self = Self {
        status: StatusCode::OK,
        content_type: None,
        lines: HeaderLines::new(),
        body: Body::EMPTY,
        wait_ms: None,
        rare: None,
    };

    /// 200 with a body whose type is not known.
    #[cfg(feature = "http")]
    pub(super) fn with_body(body: Body) -> Self {
        Self { body, ..Self::EMPTY }
    }

    fn whole(content_type: &'static str, body: Body) -> Self {
        Self { content_type: Some(Cow::Borrowed(content_type)), body, ..Self::EMPTY }
    }

    fn text_error(status: StatusCode, reason: Body) -> Self {
        let response = Self::whole(TEXT, reason).with_status(status);
        response.with_header("X-Content-Type-Options", "nosniff")
    }

    fn may_have_body(&self) -> bool {
        !matches!(
            self.status,
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
        )
    }

    fn is_broken(&self) -> bool {
        self.lines.fault().is_some()
    }

    fn unless_broken(self) -> Self {
        match self.lines.fault() {
            Some(fault) => Self::broken(fault),
            None => self,
        }
    }

    /// The replacement for a response that must not be sent. Later changes have no effect.
    fn broken(fault: HeaderFault) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            content_type: Some(Cow::Borrowed(TEXT)),
            lines: HeaderLines::with_fault(fault),
            body: Body::from("the server could not build the response; its log has the reason"),
            wait_ms: None,
            rare: Some(Box::new(Rare::Failure("the response is invalid and was not sent".into()))),
        }
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        let response = Self::text_error(refusal.status(), Body::from(refusal.reason()));
        if refusal == Refusal::CONTENT_CODING {
            // Lists the acceptable codings (RFC 9110 section 15.5.16).
            return response.with_header("Accept-Encoding", "identity");
        }
        response
    }
}

/// Status 500. The error is not sent, because it may name files and addresses. It is logged when
/// the request is answered, with the handler's route.
impl From<io::Error> for Response {
    fn from(error: io::Error) -> Self {
        Self::failed(&error)
    }
}

/// 500, the reason is logged: the value is the server's own.
impl From<JsonError> for Response {
    fn from(error: JsonError) -> Self {
        Self::failed(&error)
    }
}

const CONTENT_TYPE: &str = "Content-Type";
const TEXT: &str = "text/plain; charset=utf-8";

#[cfg(test)]
mod tests;
