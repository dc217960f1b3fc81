//! A complete request, and its sender.
//!
//! It knows no framing: a [`Request`] is complete, or it does not exist.

use std::{borrow::Cow, fmt, net::IpAddr};

use super::{
    Extensions, Method, Peer, Refusal, Version,
    fields::{list_members, trim},
    head::Head,
    layers::Layers,
    reader::{Progress, Reader},
    security::Security,
    target::{Params, Path, form_decoded},
};
use crate::Limits;

/// A complete request: request line, header fields and body, in its own memory.
///
/// Everything in it was validated when it was read (see [`Refusal`]), and is limited by [`Limits`]:
/// `head_bytes`, `header_fields` and `body_bytes`. Accessors borrow; none copies unless documented.
/// Field lookups walk over all fields.
///
/// ```
/// use starwheel::{Method, Request};
/// let request = Request::parse(
///     b"POST /say?room=a+b HTTP/1.1\r\n\
///       Host: chat.example\r\n\
///       Content-Type: application/json; charset=utf-8\r\n\
///       Content-Length: 11\r\n\
///       \r\n\
///       {\"text\":42}",
/// )?;
/// assert_eq!(request.method(), Method::Post);
/// assert_eq!(request.path(), "/say");
/// assert_eq!(request.query_value("room").as_deref(), Some("a b"));
/// assert_eq!(request.content_type(), Some("application/json"));
/// assert_eq!(request.body(), br#"{"text":42}"#);
/// # Ok::<(), starwheel::Refusal>(())
/// ```
#[derive(Clone)]
pub struct Request {
    head: Head,
    path: Path,
    body: Vec<u8>,
    params: Params,
    /// Empty if none has matched.
    route: String,
    pub(super) peer: Peer,
    /// What trusted proxies say of the client's address.
    pub(super) forwarded_ip: Option<IpAddr>,
    pub(super) security: Security,
    extensions: Extensions,
    layers: Layers,
}

impl Request {
    /// An empty request for a [`Reader`] to fill. Holds no heap memory.
    pub(crate) const fn new() -> Self {
        Self {
            head: Head::new(),
            path: Path::new(),
            body: Vec::new(),
            params: Params::new(),
            route: String::new(),
            peer: Peer::Unix,
            forwarded_ip: None,
            security: Security::None,
            extensions: Extensions::new(),
            layers: Layers::new(),
        }
    }

    /// A `GET` of `target` from `localhost`, to call a handler with in a test.
    ///
    /// # Panics
    /// If `target` would be refused from a client; use [`parse`](Self::parse) for text that is not
    /// your own.
    ///
    /// ```
    /// let request = starwheel::Request::get("/path?x=1");
    /// assert_eq!((request.path(), request.query()), ("/path", Some("x=1")));
    /// ```
    #[must_use]
    #[track_caller]
    pub fn get(target: &str) -> Self {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        match Self::parse(bytes.as_bytes()) {
            Ok(request) => request,
            Err(refusal) => panic!("{target:?} is not a request target: {refusal}"),
        }
    }

    /// Parses one complete request, by the same rules and the default [`Limits`] as from a client.
    ///
    /// # Errors
    /// The [`Refusal`] that a client would get, or one that says that `bytes` is incomplete or more
    /// than one request.
    ///
    /// ```
    /// use starwheel::Request;
    /// let request = Request::parse(b"DELETE /todo/7 HTTP/1.1\r\nHost: a\r\n\r\n")?;
    /// assert_eq!(request.path(), "/todo/7");
    /// assert_eq!(Request::parse(b"GET / HT").unwrap_err().status(), 400);
    /// # Ok::<(), starwheel::Refusal>(())
    /// ```
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut request = Self::new();
        let (mut reader, mut input, limits) = (Reader::new(), bytes, Limits::default());
        let mut progress = reader.advance(&mut input, &limits, &mut request)?;
        if progress == Progress::ExpectContinue {
            progress = reader.advance(&mut input, &limits, &mut request)?;
        }
        match progress {
            Progress::Complete if input.is_empty() => Ok(request),
            Progress::Complete => Err(Refusal::MORE),
            _ => Err(Refusal::CUT),
        }
    }

    /// The request method.
    ///
    /// ```
    /// assert_eq!(starwheel::Request::get("/").method(), starwheel::Method::Get);
    /// ```
    #[must_use]
    pub fn method(&self) -> Method {
        self.head.method
    }

    /// The client's HTTP version.
    ///
    /// ```
    /// assert_eq!(starwheel::Request::get("/").version(), starwheel::Version::Http11);
    /// ```
    #[must_use]
    pub fn version(&self) -> Version {
        self.head.version
    }

    /// The request target as it was sent: visible ASCII, percent-encoded, with query.
    ///
    /// ```
    /// assert_eq!(starwheel::Request::get("/%61?b=%63").target(), "/%61?b=%63");
    /// ```
    #[must_use]
    pub fn target(&self) -> &str {
        self.head.target()
    }

    /// The path, percent-decoded; `*` for `OPTIONS *`.
    ///
    /// Dot segments (`..`) are not removed: check the path before you use it as a file name.
    ///
    /// ```
    /// assert_eq!(starwheel::Request::get("/caf%C3%A9?q").path(), "/café");
    /// ```
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.decoded()
    }

    /// The query as it was sent, without `?`; `None` when there is no `?`.
    ///
    /// ```
    /// use starwheel::Request;
    /// assert_eq!(Request::get("/?a=%20").query(), Some("a=%20"));
    /// assert_eq!(Request::get("/?").query(), Some(""));
    /// assert_eq!(Request::get("/").query(), None);
    /// ```
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.head.query()
    }

    /// The query as names and values, decoded as HTML forms are (`+` is a space; bytes that are not
    /// UTF-8 become U+FFFD). Copies only what has escapes.
    ///
    /// ```
    /// let request = starwheel::Request::get("/?a=1&b=x+y&a=2");
    /// let pairs: Vec<_> = request.query_pairs().collect();
    /// assert_eq!(pairs[1], ("b".into(), "x y".into()));
    /// assert_eq!(pairs.len(), 3);
    /// ```
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        form_urlencoded::parse(self.query().unwrap_or_default().as_bytes())
    }

    /// The first value of `name` in the query, decoded.
    ///
    /// ```
    /// let request = starwheel::Request::get("/?a=1&a=2&b");
    /// assert_eq!(request.query_value("a").as_deref(), Some("1"));
    /// assert_eq!(request.query_value("b").as_deref(), Some(""));
    /// assert_eq!(request.query_value("c"), None);
    /// ```
    #[must_use]
    pub fn query_value(&self, name: &str) -> Option<Cow<'_, str>> {
        self.query_pairs().find(|(sent, _)| sent == name).map(|(_, value)| value)
    }

    /// The first value of `name` in the query, its bytes decoded but not made into text. Copies.
    pub(crate) fn query_value_bytes(&self, name: &str) -> Option<Vec<u8>> {
        let pairs = self.query()?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let mut named = pairs.filter(|(sent, _)| form_decoded(sent) == name.as_bytes());
        named.next().map(|(_, value)| form_decoded(value))
    }

    /// The first value of a header field; names match in any case (RFC 9110 section 5.1). `None`
    /// when it is absent or not UTF-8.
    ///
    /// A list field may come in several lines (RFC 9110 section 5.3), because proxies add their own
    /// lines: use [`header_list`](Self::header_list) for `Accept`, `Cache-Control`,
    /// `If-None-Match`, `X-Forwarded-For` and the like.
    ///
    /// ```
    /// assert_eq!(starwheel::Request::get("/").header("host"), Some("localhost"));
    /// ```
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.header_bytes(name)?).ok()
    }

    /// Like [`header`](Self::header), with any bytes.
    ///
    /// ```
    /// assert_eq!(starwheel::Request::get("/").header_bytes("HOST"), Some(&b"localhost"[..]));
    /// ```
    #[must_use]
    pub fn header_bytes(&self, name: &str) -> Option<&[u8]> {
        self.head.values(name).next()
    }

    /// The values of all lines of a header field, in the order in which they were sent, each without
    /// outer white space.
    ///
    /// ```
    /// use starwheel::Request;
    /// let request = Request::parse(b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nX: 2, 3\r\n\r\n")?;
    /// assert_eq!(request.header_values("x").collect::<Vec<_>>(), [&b"1"[..], b"2, 3"]);
    /// # Ok::<(), starwheel::Refusal>(())
    /// ```
    pub fn header_values(&self, name: &str) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.head.values(name)
    }

    /// The members of a header field that is a comma-separated list, over all of its lines (RFC 9110
    /// sections 5.3 and 5.6.1).
    ///
    /// Members come without outer white space; empty ones are left out. A comma in a quoted string
    /// separates nothing, and a quoted string ends with its line at the latest.
    ///
    /// ```
    /// use starwheel::Request;
    /// let request = Request::parse(
    ///     b"GET / HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"a,b\", \"c\"\r\nIf-None-Match: *\r\n\r\n",
    /// )?;
    /// let members: Vec<_> = request.header_list("if-none-match").collect();
    /// assert_eq!(members, [&b"\"a,b\""[..], b"\"c\"", b"*"]);
    /// # Ok::<(), starwheel::Refusal>(())
    /// ```
    pub fn header_list(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.head.values(name).flat_map(list_members)
    }

    /// All header fields in the order in which they were sent, values without outer white space.
    ///
    /// ```
    /// let request = starwheel::Request::get("/");
    /// assert_eq!(request.headers().collect::<Vec<_>>(), [("Host", &b"localhost"[..])]);
    /// ```
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.head.fields()
    }

    /// The authority the client asked for, with its port if it gave one: that of an absolute
    /// target, else that of the Host field (RFC 9112 section 3.2.2), else empty.
    ///
    /// ```
    /// assert_eq!(starwheel::Request::get("/").host(), "localhost");
    /// ```
    #[must_use]
    pub fn host(&self) -> &str {
        self.head.host()
    }

    /// The body, de-chunked; empty when there is none. At most `Limits::body_bytes`.
    ///
    /// ```
    /// assert_eq!(starwheel::Request::get("/").body(), b"");
    /// ```
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The media type of the body, without parameters; `None` when it is absent or not UTF-8. Compare
    /// it with `eq_ignore_ascii_case`.
    ///
    /// ```
    /// let bytes = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Type: Text/HTML ;charset=utf-8\r\n\r\n";
    /// assert_eq!(starwheel::Request::parse(bytes)?.content_type(), Some("Text/HTML"));
    /// # Ok::<(), starwheel::Refusal>(())
    /// ```
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        std::str::from_utf8(media_type(self.header_bytes("content-type")?)).ok()
    }

    /// The id of the last event that a reconnecting client has seen (WHATWG HTML section 9.2.4).
    ///
    /// An id that is not UTF-8 reads as U+FFFD, which no [`EventId`](crate::EventId) can be: the
    /// client has seen something, but nothing that this server knows. Clients built on `fetch` send
    /// such an id if another server, or an earlier version, gave them one with an umlaut.
    ///
    /// ```
    /// use starwheel::Request;
    /// assert_eq!(Request::get("/").last_event_id(), None);
    /// let request = Request::parse(b"GET / HTTP/1.1\r\nHost: a\r\nLast-Event-ID: caf\xe9\r\n\r\n")?;
    /// assert_eq!(request.last_event_id(), Some("\u{fffd}"));
    /// # Ok::<(), starwheel::Refusal>(())
    /// ```
    #[must_use]
    pub fn last_event_id(&self) -> Option<&str> {
        let id = self.header_bytes("last-event-id")?;
        Some(std::str::from_utf8(id).unwrap_or("\u{fffd}"))
    }

    /// The other end of the connection: a proxy, if there is one. See
    /// [`client_ip`](Self::client_ip) for the client.
    ///
    /// ```
    /// assert_eq!(starwheel::Request::get("/").peer(), starwheel::Peer::Unix);
    /// ```
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// The value of a parameter in the route's pattern, percent-decoded: `name` of `/hello/{name}`.
    /// `None` when the pattern has no such parameter.
    ///
    /// ```
    /// assert_eq!(starwheel::Request::get("/hello/moon").param("name"), None); // not routed yet
    /// ```
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params().find(|(given, _)| *given == name).map(|(_, value)| value)
    }

    /// All parameters of the route's pattern.
    ///
    /// ```
    /// assert_eq!(starwheel::Request::get("/").params().count(), 0);
    /// ```
    pub fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        self.params.iter()
    }

    /// The value of this type that a layer around this handler left, if any.
    ///
    /// ```
    /// let mut request = starwheel::Request::get("/");
    /// request.extensions_mut().insert(7_u32);
    /// assert_eq!(request.extension::<u32>(), Some(&7));
    /// assert_eq!(request.extension::<i32>(), None);
    /// ```
    #[must_use]
    pub fn extension<T: 'static>(&self) -> Option<&T> {
        self.extensions.get()
    }

    /// The values that layers left; see [`Extensions`].
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// The values that layers left, to add some.
    #[must_use]
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extensions
    }

    /// Whether the client wants to keep the connection (RFC 9112 section 9.3).
    pub(crate) fn keep_alive(&self) -> bool {
        if self.head.has_connection_option("close") {
            return false;
        }
        match self.version() {
            Version::Http11 => true,
            Version::Http10 => self.head.has_connection_option("keep-alive"),
        }
    }

    /// The pattern of the [`Router`](crate::Router)'s route that the request has matched, such as
    /// `/users/{id}`. Use it as a label in metrics and logs, because it has few values, unlike the
    /// path. `None` if no pattern matched, as in a fallback. A layer around a router sees it after
    /// the call. In an axum application it is the path that axum has matched.
    ///
    /// ```
    /// use starwheel::{Response, Router, testing::Simulation};
    /// let router = Router::new()
    ///     .get("/users/{id}", |req, _cx| Response::text(req.route().unwrap_or("none").to_owned()));
    /// let mut simulation = Simulation::new(router);
    /// let client = simulation.get("/users/7");
    /// assert_eq!(simulation.response(client).text(), "/users/{id}");
    /// ```
    #[must_use]
    pub fn route(&self) -> Option<&str> {
        (!self.route.is_empty()).then_some(&self.route)
    }

    /// The path as routes are matched with: every escape decoded but `%2F` and `%25`, which stay
    /// (in upper case), so that a segment may contain a slash.
    #[cfg(test)]
    pub(crate) fn route_path(&self) -> &str {
        self.path.route()
    }

    /// Lends the route path out, so that what was matched in it can be given to
    /// [`set_params`](Self::set_params). Give it back with `put_route_path`.
    pub(crate) fn take_route_path(&mut self) -> String {
        self.path.take_route()
    }

    pub(crate) fn put_route_path(&mut self, path: String) {
        self.path.put_route(path);
    }

    /// Replaces the path parameters by pieces of the route path; decodes their last escapes.
    pub(crate) fn set_params<'a>(&mut self, params: impl Iterator<Item = (&'a str, &'a str)>) {
        self.params.clear(CAPACITY_BYTES_MAX);
        for (name, value) in params {
            self.params.push(name, value);
        }
    }

    /// The pattern that a router has matched.
    pub(crate) fn set_route(&mut self, pattern: &str) {
        self.route.clear();
        self.route.push_str(pattern);
    }

    pub(crate) fn layers(&self) -> &Layers {
        &self.layers
    }

    pub(crate) fn layers_mut(&mut self) -> &mut Layers {
        &mut self.layers
    }

    /// Empties it and keeps its memory, up to 64 KiB for each part.
    pub(crate) fn clear(&mut self) {
        self.head.clear(CAPACITY_BYTES_MAX);
        self.path.clear(CAPACITY_BYTES_MAX);
        self.body.clear();
        self.body.shrink_to(CAPACITY_BYTES_MAX);
        self.params.clear(CAPACITY_BYTES_MAX);
        self.route.clear();
        (self.peer, self.forwarded_ip) = (Peer::Unix, None);
        self.security = Security::None;
        self.extensions = Extensions::new();
        self.layers.clear();
    }

    /// Frees the memory of a large request once it is answered.
    pub(crate) fn release_large_buffers(&mut self) {
        if self.body.capacity().max(self.head.capacity_bytes()) > CAPACITY_BYTES_MAX {
            self.clear();
        }
    }

    /// What a [`Reader`] fills, or a conversion.
    pub(super) fn parts(&mut self) -> (&mut Head, &mut Path, &mut Vec<u8>) {
        (&mut self.head, &mut self.path, &mut self.body)
    }
}

/// Omits header values and the body: they may contain credentials.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method())
            .field("path", &self.path())
            .field("version", &self.version())
            .field("host", &self.host())
            .field("body_bytes", &self.body.len())
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// A member of `Accept`, or the value of `Content-Type`, without its parameters.
pub(crate) fn media_type(value: &[u8]) -> &[u8] {
    trim(&value[..memchr::memchr(b';', value).unwrap_or(value.len())])
}

/// What one part of a reused request may keep, so that one large upload does not stay for ever.
const CAPACITY_BYTES_MAX: usize = 64 * 1024;
