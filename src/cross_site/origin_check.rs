//! [`OriginCheck`]: rejects state-changing requests from pages from other origins.

use super::origins::{OriginError, Origins};
use crate::{
    engine::{Answer, Context, Handler},
    error::LoggedBytes,
    http::{Method, Request, Response, StatusCode},
};

/// Rejects state-changing requests from pages from other origins (cross-site request forgery), with
/// 403 and the reason.
///
/// These are requests of every method except GET, HEAD and OPTIONS; those three must not change
/// anything (RFC 9110 section 9.2.1). [`Request::is_cross_origin`] decides what is cross-origin,
/// without tokens and without state, like Go's `CrossOriginProtection`. Clients that are not
/// browsers pass.
///
/// It does not stop pages from other origins from opening streams. They cannot read them without
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

/// How to treat a state-changing request with `Origin: null` and without `Sec-Fetch-Site`.
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

    /// Also accepts state-changing requests from these origins. Origins that [`Cors`](crate::Cors)
    /// allows to send them must be listed here as well.
    ///
    /// This is also needed for the origin of your own pages if a proxy replaces `Host` (as nginx
    /// does by default), for browsers that send no `Sec-Fetch-Site`, which is all of them on plain
    /// http.
    ///
    /// # Errors
    /// [`OriginError`] for the first entry that no browser would send.
    pub fn trust<O: AsRef<str>>(
        mut self,
        origins: impl IntoIterator<Item = O>,
    ) -> Result<Self, OriginError> {
        self.trusted.add(origins)?;
        Ok(self)
    }

    /// Also accepts `Origin: null` from requests without `Sec-Fetch-Site`.
    ///
    /// Browsers send it instead of your own origin for forms on pages with `Referrer-Policy:
    /// no-referrer` (Fetch section 3.2). On https and localhost they also send `Sec-Fetch-Site`,
    /// which decides, and this setting changes nothing. On plain http they send nothing else, and
    /// such forms are refused. **Prefer `Referrer-Policy: same-origin` on your pages**: it reveals
    /// no more to other sites, and needs no trust.
    ///
    /// The risk: on plain http, every page of any origin can also send `null`, from a sandboxed
    /// frame. So this turns the check off there. Use it only if requests carry what such a page
    /// does not have: a cookie with `SameSite=Lax` or `Strict`, or a token in the form.
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

    /// Checks one request, for single routes. In a handler, `?` returns the 403.
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

    /// Wraps `handler`: requests that pass the check reach it.
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
