//! Detects requests of the Datastar client.

use crate::http::Request;

impl Request {
    /// True if the Datastar client sent this request: one of its actions (`@get`, `@post` ...),
    /// also when it retries. It says so with `Datastar-Request: true`.
    ///
    /// With it one path can serve a page to browsers and patches to the page. Such a response
    /// should have `Vary: Datastar-Request`, so that no cache confuses them. Any client can send
    /// the header: it proves nothing. A page from another origin needs a CORS permission for it.
    ///
    /// ```
    /// use starwheel::Request;
    /// let bytes = b"GET /rows HTTP/1.1\r\nHost: a\r\nDatastar-Request: true\r\n\r\n";
    /// assert!(Request::parse(bytes)?.is_datastar());
    /// assert!(!Request::get("/rows").is_datastar());
    /// # Ok::<(), starwheel::Refusal>(())
    /// ```
    #[must_use]
    pub fn is_datastar(&self) -> bool {
        self.header_bytes("datastar-request") == Some(b"true")
    }
}
