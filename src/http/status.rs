//! Status codes of responses.

use std::{error::Error, fmt};

/// The status of a [`Response`](crate::Response): 200 to 599 (RFC 9110 section 15). The library
/// sends interim ones itself (`100 Continue`).
///
/// It compares with numbers. Codes of the registry have constants.
///
/// ```
/// use starwheel::{Response, StatusCode};
/// let response = Response::error(StatusCode::CONFLICT, "the row has changed; load it again");
/// assert_eq!(response.status(), 409);
/// assert_eq!(response.status().to_string(), "409 Conflict");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatusCode(u16);

/// The number is not a valid response status: below 200 or above 599.
///
/// ```
/// let error = starwheel::StatusCode::try_from(1000).unwrap_err();
/// assert_eq!(error.to_string(), "1000 is not a valid response status; use 200 to 599");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatusCodeError {
    code: u16,
}

impl StatusCode {
    /// The number.
    ///
    /// ```
    /// assert_eq!(starwheel::StatusCode::NOT_FOUND.as_u16(), 404);
    /// ```
    #[must_use]
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    /// For a number in this source.
    pub(crate) const fn of(code: u16) -> Self {
        assert!(is_final(code));
        Self(code)
    }

    /// 400 or above.
    ///
    /// ```
    /// use starwheel::StatusCode;
    /// assert!(StatusCode::GONE.is_error() && !StatusCode::NOT_MODIFIED.is_error());
    /// ```
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.0 >= 400
    }
}

impl TryFrom<u16> for StatusCode {
    type Error = StatusCodeError;

    fn try_from(code: u16) -> Result<Self, StatusCodeError> {
        if is_final(code) { Ok(Self(code)) } else { Err(StatusCodeError { code }) }
    }
}

impl From<StatusCode> for u16 {
    fn from(status: StatusCode) -> Self {
        status.0
    }
}

impl PartialEq<u16> for StatusCode {
    fn eq(&self, code: &u16) -> bool {
        self.0 == *code
    }
}

impl PartialEq<StatusCode> for u16 {
    fn eq(&self, status: &StatusCode) -> bool {
        *self == status.0
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason_phrase() {
            "" => write!(f, "{}", self.0),
            phrase => write!(f, "{} {phrase}", self.0),
        }
    }
}

impl fmt::Display for StatusCodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not a valid response status; use 200 to 599", self.code)
    }
}

impl Error for StatusCodeError {}

const fn is_final(code: u16) -> bool {
    code >= 200 && code <= 599
}

macro_rules! registry {
    ($($code:literal $name:ident $phrase:literal;)*) => {
        /// The IANA registry.
        impl StatusCode {
            $(
                #[doc = concat!(stringify!($code), " ", $phrase, ".")]
                pub const $name: Self = Self($code);
            )*

            /// The reason phrase of the registry; empty for an unregistered code (RFC 9112 section
            /// 4).
            pub(super) fn reason_phrase(self) -> &'static str {
                match self.0 {
                    $($code => $phrase,)*
                    _ => "",
                }
            }
        }
    };
}

registry! {
    200 OK "OK";
    201 CREATED "Created";
    202 ACCEPTED "Accepted";
    203 NON_AUTHORITATIVE_INFORMATION "Non-Authoritative Information";
    204 NO_CONTENT "No Content";
    205 RESET_CONTENT "Reset Content";
    206 PARTIAL_CONTENT "Partial Content";
    300 MULTIPLE_CHOICES "Multiple Choices";
    301 MOVED_PERMANENTLY "Moved Permanently";
    302 FOUND "Found";
    303 SEE_OTHER "See Other";
    304 NOT_MODIFIED "Not Modified";
    307 TEMPORARY_REDIRECT "Temporary Redirect";
    308 PERMANENT_REDIRECT "Permanent Redirect";
    400 BAD_REQUEST "Bad Request";
    401 UNAUTHORIZED "Unauthorized";
    402 PAYMENT_REQUIRED "Payment Required";
    403 FORBIDDEN "Forbidden";
    404 NOT_FOUND "Not Found";
    405 METHOD_NOT_ALLOWED "Method Not Allowed";
    406 NOT_ACCEPTABLE "Not Acceptable";
    408 REQUEST_TIMEOUT "Request Timeout";
    409 CONFLICT "Conflict";
    410 GONE "Gone";
    411 LENGTH_REQUIRED "Length Required";
    412 PRECONDITION_FAILED "Precondition Failed";
    413 CONTENT_TOO_LARGE "Content Too Large";
    414 URI_TOO_LONG "URI Too Long";
    415 UNSUPPORTED_MEDIA_TYPE "Unsupported Media Type";
    416 RANGE_NOT_SATISFIABLE "Range Not Satisfiable";
    417 EXPECTATION_FAILED "Expectation Failed";
    421 MISDIRECTED_REQUEST "Misdirected Request";
    422 UNPROCESSABLE_CONTENT "Unprocessable Content";
    425 TOO_EARLY "Too Early";
    426 UPGRADE_REQUIRED "Upgrade Required";
    428 PRECONDITION_REQUIRED "Precondition Required";
    429 TOO_MANY_REQUESTS "Too Many Requests";
    431 REQUEST_HEADER_FIELDS_TOO_LARGE "Request Header Fields Too Large";
    451 UNAVAILABLE_FOR_LEGAL_REASONS "Unavailable For Legal Reasons";
    500 INTERNAL_SERVER_ERROR "Internal Server Error";
    501 NOT_IMPLEMENTED "Not Implemented";
    502 BAD_GATEWAY "Bad Gateway";
    503 SERVICE_UNAVAILABLE "Service Unavailable";
    504 GATEWAY_TIMEOUT "Gateway Timeout";
    505 HTTP_VERSION_NOT_SUPPORTED "HTTP Version Not Supported";
    507 INSUFFICIENT_STORAGE "Insufficient Storage";
    511 NETWORK_AUTHENTICATION_REQUIRED "Network Authentication Required";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_of_a_final_response() {
        assert!([200, 299, 599].iter().all(|&code| StatusCode::try_from(code).is_ok()));
        assert!([0, 100, 199, 600, 1000].iter().all(|&code| StatusCode::try_from(code).is_err()));
        assert_eq!(StatusCode::try_from(299).unwrap().to_string(), "299");
    }
}
