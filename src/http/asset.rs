//! Assets: responses that are the same for all clients.

use std::borrow::Cow;

use super::{Body, Response};

/// Bytes that all clients get unchanged: a script, a style sheet, an icon, a page.
///
/// Build it once at startup and return a clone from the handler. A clone is a reference count; the
/// bytes exist once, also with [`Workers`](crate::Workers).
///
/// ```
/// use starwheel::{Asset, Method, Router, testing::Simulation};
///
/// let script = Asset::new("console.log('hello')", "text/javascript; charset=utf-8")
///     .cache_control("public, max-age=31536000, immutable");
/// let page = Asset::html("<!doctype html><script src=/app.v7.js></script>");
/// let router = Router::new()
///     .get("/app.v7.js", move |_req, _cx| script.clone())
///     .get("/", move |_req, _cx| page.clone());
///
/// let mut simulation = Simulation::new(router);
/// let first = simulation.get("/");
/// let tag = simulation.response(first).header("ETag").unwrap().to_owned();
/// let again = simulation.connect();
/// simulation.request(again, Method::Get, "/", &[("If-None-Match", &tag)], b"");
/// simulation.turn();
/// assert_eq!(simulation.response(again).status, 304);
/// ```
///
/// The response to a `GET` or `HEAD` request has:
///
/// | field | value |
/// |---|---|
/// | `ETag` | a strong entity tag of the bytes in the coding that is sent, and of the media type (RFC 9110 section 8.8.3) |
/// | `Content-Encoding`, `Vary` | if the media type is text; see [`Compression`](crate::Compression) for which codings, and from what length on |
/// | `Cache-Control` | `no-cache`, until you set it: caches keep the response and ask each time |
///
/// A client that has the current tag gets a 304, whether it sends the tag alone, in a list or made
/// weak by a proxy (`If-None-Match`, RFC 9110 section 13.1.2). Tags are equal in all processes that
/// run the same program.
///
/// The first client of a coding causes the compression, with settings for small output, in the
/// reactor: for 1 MB of HTML 24 ms with zstd, 35 ms with gzip and 46 ms with brotli (one core of an
/// AMD EPYC, `tests/tls/figures.rs`). The result is kept for all later ones, so an asset takes the memory of its
/// bytes and of each coding that was used. A coding that saves nothing is not used.
///
/// Ranges are not served: the response to a `Range` request is complete. `If-Match` and dates are
/// not compared. Files are not read: use `include_bytes!`, or [`std::fs::read`] at startup.
#[derive(Debug, Clone)]
pub struct Asset(Response);

impl Asset {
    /// An asset of these bytes.
    ///
    /// ```
    /// use starwheel::Asset;
    /// # macro_rules! include_bytes { ($path:literal) => { b"<svg/>" } }
    /// let icon = Asset::new(include_bytes!("icon.svg"), "image/svg+xml");
    /// assert_eq!(icon.as_slice(), b"<svg/>");
    /// ```
    #[must_use]
    pub fn new(bytes: impl Into<Body>, content_type: impl Into<Cow<'static, str>>) -> Self {
        Self(Response::bytes(content_type, bytes).in_shared_forms())
    }

    /// An HTML page, UTF-8.
    ///
    /// ```
    /// use starwheel::{Asset, Response};
    /// let response = Response::from(Asset::html("<h1>Hello</h1>"));
    /// assert_eq!(response.header("Content-Type"), Some("text/html; charset=utf-8"));
    /// ```
    #[must_use]
    pub fn html(page: impl Into<Body>) -> Self {
        Self::new(page, "text/html; charset=utf-8")
    }

    /// The script that pages import to keep a stream alive on phones, and on computers that sleep:
    /// an ES module of 2 KB that exports the class `LiveSource`.
    ///
    /// It is used like an `EventSource`. When the keep-alive event of the server is overdue, it
    /// reconnects and resumes after the last event that the page has seen: when the page becomes
    /// visible or is shown again, when the network comes back, and at the latest after two and a
    /// half intervals without a sign of life. The guide (`docs/guide.md`, "Phones") has more.
    ///
    /// ```
    /// use starwheel::{Asset, KeepAlive, Router, Sse, Topic};
    /// use std::time::Duration;
    ///
    /// // <script type="module">
    /// //   import { LiveSource } from "/live.js"
    /// //   new LiveSource("/news", { heartbeat: 15_000 }).onmessage = ({ data }) => show(data)
    /// // </script>
    /// let (script, news) = (Asset::live_source(), Topic::new("news").history(1_000, 1 << 20));
    /// let router = Router::new()
    ///     .get("/live.js", move |_req, _cx| script.clone())
    ///     .get("/news", move |_req, _cx| {
    ///         Sse::new().subscribe(&news).keep_alive(KeepAlive::Event(Duration::from_secs(15)))
    ///     });
    /// # let _ = router;
    /// ```
    #[must_use]
    pub fn live_source() -> Self {
        Self::new(include_str!("live_source.js"), "text/javascript; charset=utf-8")
    }

    /// Sets `Cache-Control` (RFC 9111 section 5.2). Without it, `no-cache`.
    ///
    /// If the URL changes with the bytes, `public, max-age=31536000, immutable` saves all further
    /// requests. `no-transform` also turns compression off.
    ///
    /// ```
    /// use starwheel::{Asset, Response};
    /// let style = Asset::new("p { margin: 0 }", "text/css").cache_control("max-age=3600");
    /// assert_eq!(Response::from(style).header("Cache-Control"), Some("max-age=3600"));
    /// ```
    #[must_use]
    pub fn cache_control(self, directives: impl AsRef<str>) -> Self {
        self.header(CACHE_CONTROL, directives)
    }

    /// Adds a header field, such as `Content-Security-Policy`, under the rules of
    /// [`Response::with_header`]: an invalid one makes each response a 500.
    ///
    /// With an `ETag` of your own, comparing it with the request is up to you too.
    ///
    /// ```
    /// use starwheel::{Asset, Response};
    /// let page = Asset::html("<h1>Hello</h1>").header("X-Frame-Options", "DENY");
    /// assert_eq!(Response::from(&page).header("x-frame-options"), Some("DENY"));
    /// ```
    #[must_use]
    pub fn header(self, name: &str, value: impl AsRef<str>) -> Self {
        Self(self.0.with_header(name, value))
    }

    /// The bytes, not compressed.
    ///
    /// ```
    /// assert_eq!(starwheel::Asset::html("<h1>Hello</h1>").as_slice(), b"<h1>Hello</h1>");
    /// ```
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.0.body()
    }
}

/// 200. What depends on the request (content coding, entity tag, 304) is decided when it is sent.
impl From<Asset> for Response {
    fn from(Asset(response): Asset) -> Self {
        match response.header(CACHE_CONTROL) {
            Some(_) => response,
            None => response.with_header(CACHE_CONTROL, "no-cache"),
        }
    }
}

impl From<&Asset> for Response {
    fn from(asset: &Asset) -> Self {
        asset.clone().into()
    }
}

const CACHE_CONTROL: &str = "Cache-Control";
