//! Whether a request comes from a page from another origin.
//!
//! It decides nothing; callers apply their policy.

use super::Request;

impl Request {
    /// Whether a browser sent this request for a page from another origin. Such a page may act with
    /// the cookies and the network of its visitor.
    ///
    /// `Sec-Fetch-Site` tells, where browsers send it (to https and localhost, all of them since
    /// 2023): anything but `same-origin` and `none` is cross-origin, including another subdomain.
    /// Without it, `Origin` is compared with [`host`](Self::host). Without both, the client is not
    /// a browser, or it is a plain GET of an old one, and the result is false. Pages can set
    /// neither field (Fetch Metadata section 2, Fetch sections 2.2.2 and 3.2). Other programs can,
    /// but their requests carry no user's cookies. The scheme is compared if the connection
    /// [is secure](Self::is_secure): a page of `http://a` may come from anyone on the network. It is
    /// not compared otherwise, because behind a proxy it is unknown here.
    ///
    /// ```
    /// use starwheel::Request;
    /// let foreign = Request::parse(b"POST /pay HTTP/1.1\r\nHost: a\r\nOrigin: https://b\r\n\r\n")?;
    /// assert!(foreign.is_cross_origin());
    /// assert!(!Request::get("/").is_cross_origin());
    /// # Ok::<(), starwheel::Refusal>(())
    /// ```
    #[must_use]
    pub fn is_cross_origin(&self) -> bool {
        // Browsers send one line of each; if there are several, none may be cross-origin.
        if self.header_bytes("sec-fetch-site").is_some() {
            return !self
                .header_values("sec-fetch-site")
                .all(|site| matches!(site, b"same-origin" | b"none"));
        }
        let is_own = |origin: &[u8]| {
            let is_in_the_clear = origin.starts_with(b"http://");
            !(is_in_the_clear && self.is_secure()) && is_origin_of(origin, self.host())
        };
        !self.header_values("origin").all(is_own)
    }
}

/// Origins omit the default port of their scheme (RFC 6454 section 6.2); some proxies write it into
/// Host. `null`, the origin of sandboxed pages, matches no host.
fn is_origin_of(origin: &[u8], host: &str) -> bool {
    let (Some(authority), port) = (match origin {
        [b'h', b't', b't', b'p', b':', b'/', b'/', authority @ ..] => (Some(authority), ":80"),
        [b'h', b't', b't', b'p', b's', b':', b'/', b'/', authority @ ..] => {
            (Some(authority), ":443")
        }
        _ => (None, ""),
    }) else {
        return false;
    };
    let host = host.strip_suffix(port).unwrap_or(host);
    !host.is_empty() && authority.eq_ignore_ascii_case(host.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_cross_origin(fields: &str) -> bool {
        let head = format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n");
        Request::parse(head.as_bytes()).expect(fields).is_cross_origin()
    }

    /// A page in the clear may come from anyone on the network.
    #[cfg(feature = "tls")]
    #[test]
    fn over_tls_the_scheme_counts() {
        for (fields, is_cross) in [
            ("Host: a\r\nOrigin: https://a", false),
            ("Host: a:443\r\nOrigin: https://a", false),
            ("Host: a\r\nOrigin: http://a", true),
            ("Host: a:80\r\nOrigin: http://a", true),
            ("Host: a\r\nOrigin: http://a\r\nSec-Fetch-Site: same-origin", false),
        ] {
            let head = format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n");
            let mut request = Request::parse(head.as_bytes()).expect(fields);
            request.set_security(crate::http::Security::Tls(None));
            assert_eq!(request.is_cross_origin(), is_cross, "{fields}");
        }
    }

    #[test]
    fn browsers_say_where_a_request_comes_from() {
        for fields in [
            "Host: a",
            "Host: a\r\nSec-Fetch-Site: same-origin",
            "Host: a\r\nSec-Fetch-Site: none",
            "Host: a\r\nSec-Fetch-Site: same-origin\r\nOrigin: https://b",
            "Host: a\r\nOrigin: http://a",
            "Host: a\r\nOrigin: https://a",
            "Host: A.example:8080\r\nOrigin: http://a.example:8080",
            "Host: a:80\r\nOrigin: http://a",
            "Host: a:443\r\nOrigin: https://a",
            "Host: [::1]:80\r\nOrigin: http://[::1]",
        ] {
            assert!(!is_cross_origin(fields), "{fields}");
        }
        for fields in [
            "Host: a\r\nSec-Fetch-Site: cross-site",
            "Host: a\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site",
            "Host: a\r\nOrigin: http://a\r\nOrigin: http://b",
            "Host: a\r\nSec-Fetch-Site: same-site\r\nOrigin: http://a",
            "Host: a\r\nSec-Fetch-Site: Same-Origin",
            "Host: a\r\nSec-Fetch-Site:",
            "Host: a\r\nOrigin: http://b",
            "Host: a\r\nOrigin: null",
            "Host: a\r\nOrigin:",
            "Host: a\r\nOrigin: a",
            "Host: a\r\nOrigin: ftp://a",
            "Host: a\r\nOrigin: http://a:8080",
            "Host: a:8080\r\nOrigin: http://a",
            "Host: a:443\r\nOrigin: http://a",
            "Host: a\r\nOrigin: http://a.b",
            "Host: a\r\nOrigin: http://b.a",
            "Host: a\r\nOrigin: http://a/",
            "Host: a\r\nOrigin: \u{ff}",
            "Host:\r\nOrigin: http://",
            "Host: :80\r\nOrigin: http://",
        ] {
            assert!(is_cross_origin(fields), "{fields}");
        }
    }
}
