//! Conversions to and from the types of the crate `http`, for code that speaks those.

use std::{borrow::Cow, error::Error, fmt};

use http_types as http;

use super::{
    Body, Method, Refusal, Request, Response, StatusCode, StatusCodeError, Version,
    fields::HeaderFault,
    head::{Head, Line},
};
#[cfg(feature = "hyper")]
use crate::http::BodyFollows;

/// Why a value of the crate `http` has no counterpart here.
///
/// ```
/// # use http_types as http;
/// use starwheel::{FromHttpError, Method};
/// let error = Method::try_from(&http::Method::TRACE).unwrap_err();
/// assert_eq!(error.to_string(), "the method TRACE is not served");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FromHttpError {
    /// No request with this method is served.
    Method(String),
    /// The status is not one of a response that is complete.
    Status(StatusCodeError),
    /// The value of this header field is not UTF-8.
    HeaderValue(String),
    /// The target or the host of the request would be refused from a client.
    Request(Refusal),
}

impl fmt::Display for FromHttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method(name) => write!(f, "the method {name} is not served"),
            Self::Status(error) => error.fmt(f),
            Self::HeaderValue(name) => {
                write!(f, "the value of the header field {name} is not UTF-8; encode it")
            }
            Self::Request(refusal) => refusal.fmt(f),
        }
    }
}

impl Error for FromHttpError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Status(error) => Some(error),
            Self::Request(refusal) => Some(refusal),
            Self::Method(_) | Self::HeaderValue(_) => None,
        }
    }
}

/// ```
/// # use http_types as http;
/// let status = http::StatusCode::from(starwheel::StatusCode::NOT_FOUND);
/// assert_eq!(status, http::StatusCode::NOT_FOUND);
/// ```
impl From<StatusCode> for http::StatusCode {
    fn from(status: StatusCode) -> Self {
        // 200 to 599 are among its 100 to 999.
        Self::from_u16(status.as_u16()).unwrap_or(Self::INTERNAL_SERVER_ERROR)
    }
}

/// Fails for interim ones and those above 599.
impl TryFrom<http::StatusCode> for StatusCode {
    type Error = StatusCodeError;

    fn try_from(status: http::StatusCode) -> Result<Self, StatusCodeError> {
        Self::try_from(status.as_u16())
    }
}

impl From<Method> for http::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Get => Self::GET,
            Method::Head => Self::HEAD,
            Method::Post => Self::POST,
            Method::Put => Self::PUT,
            Method::Patch => Self::PATCH,
            Method::Delete => Self::DELETE,
            Method::Options => Self::OPTIONS,
            Method::Query => query(),
        }
    }
}

/// Fails for methods that are not served.
impl TryFrom<&http::Method> for Method {
    type Error = FromHttpError;

    fn try_from(method: &http::Method) -> Result<Self, FromHttpError> {
        Self::from_name(method.as_str())
            .ok_or_else(|| FromHttpError::Method(method.as_str().to_owned()))
    }
}

impl From<Version> for http::Version {
    fn from(version: Version) -> Self {
        match version {
            Version::Http10 => Self::HTTP_10,
            Version::Http11 => Self::HTTP_11,
        }
    }
}

/// A request that another server has read, such as hyper, to [hand it
/// over](crate::Handle::adopt_request). Its parts are copied and not parsed a second time. The limits
/// are those of the other server. Extensions are left out.
///
/// An HTTP/2 request reads as HTTP/1.1, with its authority as Host field.
///
/// Fails for a method that is not served, and for a target or host that would be refused from a
/// client, such as a path that is not UTF-8, or two Host fields. A missing host is an empty one.
///
/// ```
/// # use http_types as http;
/// use starwheel::Request;
/// let request = http::Request::post("https://shop.example/cart?id=7").body("milk")?;
/// let request = Request::try_from(request)?;
/// assert_eq!((request.path(), request.query()), ("/cart", Some("id=7")));
/// assert_eq!((request.host(), request.body()), ("shop.example", &b"milk"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl<B: Into<Vec<u8>>> TryFrom<http::Request<B>> for Request {
    type Error = FromHttpError;

    fn try_from(request: http::Request<B>) -> Result<Self, FromHttpError> {
        let (parts, body) = request.into_parts();
        from_parts(&parts, body.into())
    }
}

/// As for a whole request; the body is empty.
impl TryFrom<&http::request::Parts> for Request {
    type Error = FromHttpError;

    fn try_from(parts: &http::request::Parts) -> Result<Self, FromHttpError> {
        from_parts(parts, Vec::new())
    }
}

fn from_parts(parts: &http::request::Parts, body: Vec<u8>) -> Result<Request, FromHttpError> {
    let target = parts.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    let target = match target.starts_with('?') {
        true => Cow::Owned(format!("/{target}")), // Of a URL without a path.
        false => Cow::Borrowed(target),
    };
    let line = Line {
        method: Method::try_from(&parts.method)?,
        version: version_of(parts.version),
        target: &target,
        authority: parts.uri.authority().map(http::uri::Authority::as_str),
    };
    let fields = parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let mut request = Request::new();
    let (head, path, room) = request.parts();
    *head = Head::assemble(line, fields, path).map_err(FromHttpError::Request)?;
    *room = body;
    Ok(request)
}

fn version_of(version: http::Version) -> Version {
    match version {
        http::Version::HTTP_09 | http::Version::HTTP_10 => Version::Http10,
        _ => Version::Http11,
    }
}

#[cfg(feature = "hyper")]
impl Request {
    /// Restores what the framing of the answer depends on, which layers of the other server may have
    /// changed since it came.
    pub(crate) fn restore_framing(&mut self, version: http::Version, body_follows: BodyFollows) {
        let method = match (body_follows, self.method()) {
            (BodyFollows::No, Method::Get) => Method::Head,
            (_, method) => method,
        };
        let (head, _path, _body) = self.parts();
        head.restore(method, version_of(version));
    }
}

/// The head of a request: method, target, version and all header fields in their order, copied. Its
/// extensions are empty.
///
/// Fails where the crate `http` is stricter than we are, most often for a target that it does not
/// take for a URI.
///
/// ```
/// # use http_types as http;
/// use starwheel::Request;
/// let request = Request::get("/news?page=2");
/// let parts = http::request::Parts::try_from(&request)?;
/// let request = http::Request::from_parts(parts, request.body());
/// assert_eq!(request.uri().query(), Some("page=2"));
/// assert_eq!(request.headers()["host"], "localhost");
/// # Ok::<(), http::Error>(())
/// ```
impl TryFrom<&Request> for http::request::Parts {
    type Error = http::Error;

    fn try_from(request: &Request) -> Result<Self, http::Error> {
        let mut builder = http::Request::builder()
            .method(http::Method::from(request.method()))
            .uri(request.target())
            .version(request.version().into());
        for (name, value) in request.headers() {
            builder = builder.header(name, value);
        }
        let (parts, ()) = builder.body(())?.into_parts();
        Ok(parts)
    }
}

/// The response as a handler has built it, its body moved. What is added when it is answered is not in
/// it: the fields of framing, `Date`, the delay of [`Response::with_retry_after`], a content coding.
///
/// Fails where the crate `http` is stricter than we are: names of more than 64 KiB.
///
/// ```
/// # use http_types as http;
/// use starwheel::{Body, Response};
/// let response = http::Response::<Body>::try_from(Response::html("<h1>Hello</h1>"))?;
/// assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
/// assert_eq!(response.body().as_slice(), b"<h1>Hello</h1>");
/// # Ok::<(), http::Error>(())
/// ```
impl TryFrom<Response> for http::Response<Body> {
    type Error = http::Error;

    fn try_from(response: Response) -> Result<Self, http::Error> {
        let mut builder =
            http::Response::builder().status(http::StatusCode::from(response.status()));
        if let Some(content_type) = response.header("Content-Type") {
            builder = builder.header(http::header::CONTENT_TYPE, content_type);
        }
        for line in response.header_lines().split(|&byte| byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if let Some(colon) = memchr::memchr(b':', line) {
                builder = builder.header(&line[..colon], line[colon + 1..].trim_ascii_start());
            }
        }
        builder.body(response.into_body())
    }
}

/// Fields of framing and of the connection, such as `Content-Length`, are left out: they are set when
/// the response is answered. Version and extensions are, too.
///
/// Fails for a status below 200 or above 599, and for the value of a header field that is not UTF-8.
///
/// ```
/// # use http_types as http;
/// use starwheel::Response;
/// let made_elsewhere = http::Response::builder().status(201).header("ETag", "\"7\"").body("made")?;
/// let response = Response::try_from(made_elsewhere)?;
/// assert_eq!((response.status().as_u16(), response.header("etag")), (201, Some("\"7\"")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl<B: Into<Body>> TryFrom<http::Response<B>> for Response {
    type Error = FromHttpError;

    fn try_from(response: http::Response<B>) -> Result<Self, FromHttpError> {
        let (parts, body) = response.into_parts();
        let status = StatusCode::try_from(parts.status).map_err(FromHttpError::Status)?;
        let mut response = Self::with_body(body.into()).with_status(status);
        for (name, value) in &parts.headers {
            let name = name.as_str();
            let value = std::str::from_utf8(value.as_bytes())
                .map_err(|_| FromHttpError::HeaderValue(name.to_owned()))?;
            let is_reserved = HeaderFault::of(name, b"") == Some(HeaderFault::Reserved);
            if !is_reserved || name == "content-type" {
                response = response.with_header(name, value);
            }
        }
        Ok(response)
    }
}

/// Older versions of the crate have no constant for it.
fn query() -> http::Method {
    http::Method::from_bytes(b"QUERY").unwrap_or_default()
}
