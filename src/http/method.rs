//! Methods and versions: the first and the last word of a request line.

use std::fmt;

/// The supported request methods; all others are refused with 501.
///
/// `TRACE` and `CONNECT` are not supported: the first reflects credentials (RFC 9110 section
/// 9.3.8), the second is for proxies. Method names are case-sensitive (RFC 9110 section 9.1).
///
/// ```
/// use starwheel::{Method, Request};
/// let request = Request::get("/");
/// assert_eq!(request.method(), Method::Get);
/// assert_eq!(request.method().to_string(), "GET");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// Transfer a representation.
    Get,
    /// Like `Get`, but only the head of the response.
    Head,
    /// Process the body.
    Post,
    /// Replace by the body.
    Put,
    /// Change by the body (RFC 5789).
    Patch,
    /// Remove.
    Delete,
    /// Describe the communication options; the only method that may use the target `*`.
    Options,
    /// A safe request whose question is in the body; Datastar sends it since 1.0.4.
    Query,
}

impl Method {
    /// The name as written in a request line.
    ///
    /// ```
    /// assert_eq!(starwheel::Method::Query.as_str(), "QUERY");
    /// ```
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Query => "QUERY",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            "QUERY" => Self::Query,
            _ => return None,
        })
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The HTTP version of a request; any other than these two is refused with 505.
///
/// ```
/// use starwheel::{Request, Version};
/// assert_eq!(Request::get("/").version(), Version::Http11);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Version {
    /// HTTP/1.0: no chunks, and the connection ends after the response unless the client asks to
    /// keep it.
    Http10,
    /// HTTP/1.1 (RFC 9112).
    Http11,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_methods_are_inverse() {
        for name in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"] {
            assert_eq!(Method::from_name(name).map(Method::as_str), Some(name));
        }
        for name in ["get", "TRACE", "CONNECT", "PROPFIND", "PRI", ""] {
            assert_eq!(Method::from_name(name), None);
        }
    }
}
