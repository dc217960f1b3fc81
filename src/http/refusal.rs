//! All reasons to refuse a request, each with its status and the text that the client gets.

use std::{error::Error, fmt};

use super::StatusCode;

/// Why a request was refused: a status and a fixed sentence that says what to do.
///
/// The connection is closed after a refusal, because the start of the next request is unknown or
/// cannot be trusted (RFC 9112 section 11.2).
///
/// ```
/// use starwheel::{Response, Request};
/// let refusal = Request::parse(b"GET / HTTP/1.1\r\n\r\n").unwrap_err();
/// assert_eq!(refusal.status(), 400);
/// assert_eq!(refusal.reason(), "an HTTP/1.1 request needs a Host header field");
/// assert_eq!(Response::from(refusal).status(), 400);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    status: StatusCode,
    reason: &'static str,
}

impl Refusal {
    pub(crate) const fn new(status: u16, reason: &'static str) -> Self {
        Self { status: StatusCode::of(status), reason }
    }

    /// The status code the client gets, 400 to 599.
    ///
    /// ```
    /// let refusal = starwheel::Request::parse(b"BREW / HTTP/1.1\r\nHost: pot\r\n\r\n").unwrap_err();
    /// assert_eq!(refusal.status(), 501);
    /// ```
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The sentence that the client gets as body. It never quotes the request.
    ///
    /// ```
    /// let refusal = starwheel::Request::parse(b"BREW / HTTP/1.1\r\nHost: pot\r\n\r\n").unwrap_err();
    /// assert!(refusal.reason().starts_with("this method is not supported"));
    /// ```
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        self.reason
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.status.as_u16())
    }
}

impl Error for Refusal {}

/// The table, in the order in which a request is read: request line, fields, target and Host, what
/// precedes a request, framing, body.
impl Refusal {
    pub(crate) const TIMED_OUT: Self =
        Self::new(408, "the request took too long to arrive; send it again");
    pub(super) const NOT_HTTP: Self = Self::new(
        400,
        "the first byte cannot start a request; this port speaks plain HTTP/1.1, not TLS or HTTP/2",
    );
    pub(super) const REQUEST_LINE: Self = Self::new(
        400,
        "malformed request line; send METHOD, one space, target, one space, HTTP/1.1",
    );
    pub(super) const VERSION: Self = Self::new(505, "use HTTP/1.1 or HTTP/1.0");
    pub(super) const METHOD: Self = Self::new(
        501,
        "this method is not supported; use GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS or QUERY",
    );
    pub(super) const EMPTY_LINES: Self =
        Self::new(400, "too many empty lines before the request line");
    pub(super) const BARE_LF: Self =
        Self::new(400, "a line of the head ends with a bare LF; end it with CRLF");
    pub(super) const BARE_CR: Self = Self::new(400, "a CR in the head is not followed by LF");
    pub(super) const TARGET_LENGTH: Self =
        Self::new(414, "the request line is too long; shorten the URL or send the data in a body");

    pub(super) const HEAD_LENGTH: Self =
        Self::new(431, "the header fields are too long; send fewer or shorter ones");
    pub(super) const FIELD_COUNT: Self = Self::new(431, "too many header fields; send fewer");
    pub(super) const FIELD_NAME: Self = Self::new(
        400,
        "malformed header field; send name, colon, value without a space before the colon or folded lines",
    );
    pub(super) const FIELD_VALUE: Self =
        Self::new(400, "a header field value contains a control character");

    pub(super) const TARGET_CHARACTERS: Self = Self::new(
        400,
        "the request target contains a character that must be percent-encoded, or a fragment",
    );
    pub(super) const TARGET_FORM: Self = Self::new(
        400,
        "the request target is neither a path that starts with / nor an http or https URL",
    );
    pub(super) const PATH_ESCAPE: Self =
        Self::new(400, "a % in the path is not followed by two hexadecimal digits");
    pub(super) const PATH_NUL: Self = Self::new(400, "the path contains an encoded NUL");
    pub(super) const PATH_UTF8: Self = Self::new(400, "the path is not UTF-8 once decoded");
    pub(crate) const HOST_MISSING: Self =
        Self::new(400, "an HTTP/1.1 request needs a Host header field");
    pub(super) const HOST_REPEATED: Self =
        Self::new(400, "there is more than one Host header field; send exactly one");
    pub(super) const HOST_INVALID: Self =
        Self::new(400, "the host must be a name or an address with an optional port");

    pub(crate) const MISDIRECTED: Self =
        Self::new(421, "this server does not serve that host; check the name in the URL");

    pub(crate) const PROXY_MISSING: Self = Self::new(
        400,
        "this port is for proxies; start the connection with a PROXY protocol header",
    );
    pub(crate) const PROXY_MALFORMED: Self =
        Self::new(400, "the PROXY protocol header is malformed or longer than 4096 bytes");
    pub(crate) const PROXY_UNTRUSTED: Self =
        Self::new(400, "this port is for proxies, and your address is not a trusted proxy");

    pub(super) const LENGTH_AND_CODING: Self =
        Self::new(400, "Content-Length and Transfer-Encoding cannot be combined; send one of them");
    pub(super) const LENGTH_REPEATED: Self =
        Self::new(400, "there is more than one Content-Length; send exactly one");
    pub(super) const LENGTH_INVALID: Self =
        Self::new(400, "Content-Length is not a decimal number");
    pub(super) const CODING_INVALID: Self =
        Self::new(400, "Transfer-Encoding must be exactly chunked");
    pub(super) const CODING_UNKNOWN: Self =
        Self::new(501, "unsupported transfer coding; send the body chunked or with Content-Length");
    pub(super) const CODING_HTTP10: Self =
        Self::new(400, "Transfer-Encoding is not allowed in HTTP/1.0; send Content-Length");
    pub(super) const CONTENT_CODING: Self = Self::new(
        415,
        "compressed request bodies are not supported; send the body without Content-Encoding",
    );
    pub(super) const EXPECTATION: Self =
        Self::new(417, "unsupported expectation; send the request without Expect");

    pub(super) const BODY_LENGTH: Self = Self::new(413, "the body is too long; send less");
    pub(super) const CHUNK_SIZE: Self =
        Self::new(400, "a chunk does not start with a size of 1 to 16 hexadecimal digits");
    pub(super) const CHUNK_LINE: Self =
        Self::new(400, "a chunk size line is malformed; send the size and CRLF alone");
    pub(super) const CHUNK_DATA: Self =
        Self::new(400, "the data of a chunk is not followed by CRLF; check its size");
    pub(super) const CHUNK_OVERHEAD: Self = Self::new(
        400,
        "the chunk framing of the body is too large; send larger chunks or fewer extensions",
    );
    pub(super) const TRAILER: Self = Self::new(400, "a trailer field is malformed");

    pub(super) const CUT: Self = Self::new(400, "the request is incomplete");
    pub(super) const MORE: Self = Self::new(400, "there are bytes after the request");
    pub(super) const ALREADY_REFUSED: Self =
        Self::new(400, "an earlier request on this connection was refused");
}
