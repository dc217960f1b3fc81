//! [`OriginCheck`]: no commands from pages of other origins.

use super::origins::{OriginError, Origins};
use crate::{
    engine::{Answer, Context, Handler},
    error::LoggedBytes,
    http::{Method, Request, Response, StatusCode},
};

/// Refuses commands that a page of another origin makes its visitor's browser send (cross-site
/// request forgery), with 403 and the reason.
///
/// Commands are requests of every method but GET, HEAD and OPTIONS; those three must not change
/// anything (RFC 9110 section 9.2.1). What is cross-origin is told by
/// [`Request::is_cross_origin`], without tokens and without state, as Go's `CrossOriginProtection`
/// does it. Clients that are no browsers pass.
///
/// It does not stop pages of other origins from opening streams: they cannot read them without
/// [`Cors`](crate::Cors), but each is a connection.
///
/// ```
/// use starwheel::{Method, OriginCheck, Response, Router, testing::Simulation};
/// let router = Router::new().post("/pay", |_req, _cx| Response::no_content());
/// let mut simulation = Simulation::new(OriginCheck::new().around(router));
/// let client = simulation.connect();
/// let foreign = [("Origin", "https://attacker.example")];
/// simulation.request(client, Method::Post, "/pay", &foreign, b"");
/// simulation.turn();
/// assert_eq!(simulation.response(client).status, 403);
/// ```
#[derive(Debug, Clone, Default)]
pub struct OriginCheck {
    trusted: Origins,
    null: NullOrigin,
}

/// What a command of the origin `null` is that comes without `Sec-Fetch-Site`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum NullOrigin {
    #[default]
    Refused,
    Trusted,
}

impl OriginCheck {
    /// Trusts no other origin.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes commands of these origins too. Those that [`Cors`](crate::Cors) allows to send
    /// commands have to be given here as well.
    ///
    /// Also needed for the origin of your own pages where a proxy hides it: one that replaces `Host`
    /// (nginx does unless told otherwise), for browsers that send no `Sec-Fetch-Site`, as all do on
    /// plain http.
    ///
    /// # Errors
    /// [`OriginError`] for the first one that no browser would send.
    pub fn trust<O: AsRef<str>>(
        mut self,
        origins: impl IntoIterator<Item = O>,
    ) -> Result<Self, OriginError> {
        self.trusted.add(origins)?;
        Ok(self)
    }

    /// Takes commands with `Origin: null` too, if they say no more than that.
    ///
    /// Browsers send it in place of your own origin for forms of pages with `Referrer-Policy:
    /// no-referrer` (Fetch section 3.2). Where they send `Sec-Fetch-Site` as well, on https and
    /// localhost, that field decides, and this setting changes nothing. On plain http it is all they
    /// say, and such forms are refused. **Prefer `Referrer-Policy: same-origin` on your pages**: it
    /// tells other sites no more, and needs no trust.
    ///
    /// The risk: on plain http, every page of any origin can send `null` as well, from a sandboxed
    /// frame. So this gives the check up there. Use it only if commands carry what such a page does
    /// not have: a cookie with `SameSite=Lax` or `Strict`, or a token in the form.
    ///
    /// ```
    /// use starwheel::{Method, OriginCheck, Response, Router, testing::Simulation};
    /// let router = Router::new().post("/pay", |_req, _cx| Response::no_content());
    /// let mut simulation = Simulation::new(OriginCheck::new().trust_null_origin().around(router));
    /// let client = simulation.connect();
    /// simulation.request(client, Method::Post, "/pay", &[("Origin", "null")], b"");
    /// simulation.turn();
    /// assert_eq!(simulation.response(client).status, 204);
    /// ```
    #[must_use]
    pub fn trust_null_origin(mut self) -> Self {
        self.null = NullOrigin::Trusted;
        self
    }

    /// Checks one request; for single routes. In a handler, `?` answers with the refusal.
    ///
    /// ```
    /// use starwheel::{OriginCheck, Response, Router};
    /// let origins = OriginCheck::new();
    /// let router = Router::new()
    ///     .post("/pay", move |req, _cx| {
    ///         origins.check(req)?;
    ///         Ok(Response::no_content())
    ///     })
    ///     .post("/hook", |_req, _cx| Response::no_content());
    /// # let _ = router;
    /// ```
    ///
    /// # Errors
    /// The 403 to answer with.
    pub fn check(&self, request: &Request) -> Result<(), Response> {
        let is_safe = matches!(request.method(), Method::Get | Method::Head | Method::Options);
        if is_safe || !request.is_cross_origin() {
            return Ok(());
        }
        let origin = request.header_bytes("origin").unwrap_or_default();
        let mut origins = request.header_values("origin");
        let is_trusted = |origin: &[u8]| {
            self.trusted.find(origin).is_some() || self.trusts_null(request, origin)
        };
        if !origin.is_empty() && origins.all(is_trusted) {
            return Ok(());
        }
        log::debug!(
            "{}: refused a {} from a page of {}",
            request.peer(),
            request.method(),
            LoggedBytes(origin)
        );
        Err(Response::error(
            StatusCode::FORBIDDEN,
            "requests from pages of another origin are not allowed here",
        ))
    }

    fn trusts_null(&self, request: &Request, origin: &[u8]) -> bool {
        self.null == NullOrigin::Trusted
            && origin == b"null"
            && request.header_bytes("sec-fetch-site").is_none()
    }

    /// A handler that checks every request, and gives to `handler` what passes.
    pub fn around(self, handler: impl Handler + 'static) -> impl Handler + 'static {
        Checked { check: self, handler }
    }
}

struct Checked<H> {
    check: OriginCheck,
    handler: H,
}

impl<H: Handler> Handler for Checked<H> {
    fn handle(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Answer {
        match self.check.check(request) {
            Ok(()) => self.handler.handle(request, cx),
            Err(refusal) => {
                cx.count_refusal(refusal.status());
                refusal.into()
            }
        }
    }
}
