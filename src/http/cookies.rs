//! The cookies of a request.
//!
//! It knows no attributes and no policy: browsers send only names and values (RFC 6265 section
//! 4.2).

use super::{Request, fields::trim};

impl Request {
    /// The value of a cookie as it was sent (RFC 6265 section 4.2); the first one with that name.
    /// `None` when it is absent, or when its value is not UTF-8; see [`cookies`](Self::cookies).
    ///
    /// Names are compared exactly, after trimming space and tab (RFC 6265bis section 5.6), like in
    /// browsers: the prefixes `__Host-` and `__Secure-` can be relied on.
    ///
    /// ```
    /// let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: theme=dark; id=7\r\n\r\n";
    /// let request = starwheel::Request::parse(bytes)?;
    /// assert_eq!(request.cookie("id"), Some("7"));
    /// # Ok::<(), starwheel::Refusal>(())
    /// ```
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let (_, value) = self.cookies().find(|(sent, _)| *sent == name.as_bytes())?;
        std::str::from_utf8(value).ok()
    }

    /// Names and values of all cookies as they were sent, over all lines of the field. A piece
    /// without `=` is skipped.
    ///
    /// ```
    /// let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1; b=\xff\r\nCookie: a=2\r\n\r\n";
    /// let request = starwheel::Request::parse(bytes)?;
    /// let cookies: Vec<_> = request.cookies().collect();
    /// assert_eq!(cookies, [(&b"a"[..], &b"1"[..]), (b"b", b"\xff"), (b"a", b"2")]);
    /// # Ok::<(), starwheel::Refusal>(())
    /// ```
    pub fn cookies(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let pieces =
            self.header_values("cookie").flat_map(|field| field.split(|&byte| byte == b';'));
        pieces.filter_map(|piece| {
            let name_end = memchr::memchr(b'=', piece)?;
            Some((trim(&piece[..name_end]), trim(&piece[name_end + 1..])))
        })
    }
}
