//! [`Cors`]: what pages from other origins may read and send (WHATWG Fetch, section 3.3).

use std::time::Duration;

use super::origins::{OriginError, Origins};
use crate::{
    engine::{Answer, Context, Handler},
    http::{Method, Request, Response, StatusCode},
};

/// Lets pages from other origins read responses and streams, and send what forms cannot.
///
/// ```
/// use starwheel::{Cors, OriginCheck, Response, Router, Sse, testing::Simulation};
/// let pages = ["https://app.example", "http://localhost:5173"];
/// let router = Router::new()
///     .get("/news", |_req, _cx| Sse::new().send("hello"))
///     .post("/say", |_req, _cx| Response::no_content());
/// let handler = Cors::with_credentials(pages)?.around(OriginCheck::new().trust(pages)?.around(router));
///
/// let mut simulation = Simulation::new(handler);
/// let client = simulation.connect();
/// simulation.send(client, b"GET /news HTTP/1.1\r\nHost: api\r\nOrigin: https://app.example\r\n\r\n");
/// simulation.turn();
/// let answer = simulation.response(client);
/// assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"));
/// # Ok::<(), starwheel::OriginError>(())
/// ```
///
/// Without it no response has a CORS field. CORS is a permission for browsers, not a check: a
/// request from an origin that is not allowed still reaches the handler, but its page cannot read
/// the response. [`OriginCheck`](crate::OriginCheck) rejects state-changing requests.
///
/// Preflights (Fetch section 3.3.2: `OPTIONS` with `Access-Control-Request-Method`) are answered
/// here: 204 with what is allowed, or 403 with the reason. Responses and streams get
/// `Access-Control-Allow-Origin`; with a list, also `Vary: Origin`. If a handler sets
/// `Access-Control-Allow-Origin` itself, its response is not changed. Responses that no handler
/// makes have no CORS fields: refusals (400, 421, [`Limits::connections`](crate::Limits)), and the
/// 500 for a handler that panics or a response that is invalid. An `EventSource` of another origin
/// does not reconnect after them.
///
/// Datastar works across origins without further settings. By default all methods are allowed, the
/// request fields that its client and JSON need (`Content-Type`, `Datastar-Request`,
/// `Last-Event-ID`), and the response fields that its client reads.
#[derive(Debug, Clone)]
pub struct Cors {
    allowed: AllowedOrigins,
    methods: String,
    headers: String,
    exposed: String,
    max_age: Duration,
}

/// Any origin with credentials cannot be expressed: it would expose every visitor's data to every
/// page.
#[derive(Debug, Clone)]
enum AllowedOrigins {
    Any,
    Only(Origins),
    WithCredentials(Origins),
}

impl Cors {
    /// Every page may read, but without cookies (`Access-Control-Allow-Origin: *`). Do not use it
    /// where network access itself is the permission, for example on an intranet.
    #[must_use]
    pub fn any() -> Self {
        Self::new(AllowedOrigins::Any)
    }

    /// Pages of these origins may read, without cookies. Origins are compared exactly, including
    /// scheme and port (`https://app.example`, `http://localhost:5173`); there is no wildcard.
    ///
    /// # Errors
    /// [`OriginError`] for the first entry that no browser would send.
    pub fn only<O: AsRef<str>>(origins: impl IntoIterator<Item = O>) -> Result<Self, OriginError> {
        let mut list = Origins::default();
        list.add(origins)?;
        Ok(Self::new(AllowedOrigins::Only(list)))
    }

    /// Pages of these origins may read, also with cookies (`credentials: 'include'`, `EventSource`
    /// with `withCredentials`): they can do everything the visitor can.
    ///
    /// # Errors
    /// As [`only`](Self::only).
    pub fn with_credentials<O: AsRef<str>>(
        origins: impl IntoIterator<Item = O>,
    ) -> Result<Self, OriginError> {
        let mut list = Origins::default();
        list.add(origins)?;
        Ok(Self::new(AllowedOrigins::WithCredentials(list)))
    }

    /// Allows only these methods instead of all. GET, HEAD and POST are always allowed (Fetch
    /// section 2.2.1).
    #[must_use]
    pub fn methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        let names: Vec<_> = methods.into_iter().map(Method::as_str).collect();
        self.methods = names.join(", ");
        self
    }

    /// Allows a request field in addition to those of Datastar and JSON.
    #[must_use]
    pub fn header(mut self, name: &str) -> Self {
        self.headers.push_str(", ");
        self.headers.push_str(name);
        self
    }

    /// Lets pages read a response field in addition to those that Datastar reads.
    #[must_use]
    pub fn expose(mut self, name: &str) -> Self {
        self.exposed.push_str(", ");
        self.exposed.push_str(name);
        self
    }

    /// How long a browser may cache the result of a preflight, in whole seconds; 10 minutes by
    /// default. Browsers have their own limits (Chromium 2 hours).
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// Wraps `handler`: answers preflights, and adds CORS fields to its responses.
    pub fn around(self, handler: impl Handler + 'static) -> impl Handler + 'static {
        Permitted { cors: self, handler }
    }

    fn new(allowed: AllowedOrigins) -> Self {
        Self {
            allowed,
            methods: "GET, HEAD, POST, PUT, PATCH, DELETE, QUERY".into(),
            headers: "Content-Type, Datastar-Request, Last-Event-ID".into(),
            exposed: DATASTAR_RESPONSE_FIELDS.into(),
            max_age: Duration::from_secs(600),
        }
    }

    /// The value of `Access-Control-Allow-Origin` for this request, if any. It comes from the list,
    /// never from the request.
    fn permission(&self, request: &Request) -> Option<String> {
        let origin = request.header_bytes("origin");
        match &self.allowed {
            AllowedOrigins::Any => Some("*".to_owned()),
            AllowedOrigins::Only(list) | AllowedOrigins::WithCredentials(list) => {
                Some(list.find(origin?)?.to_owned())
            }
        }
    }

    fn answer_preflight(&self, permission: Option<&str>) -> Answer {
        let Some(origin) = permission else {
            let reason = "pages of this origin are not allowed to use this server";
            return self.sign(Response::error(StatusCode::FORBIDDEN, reason).into(), None);
        };
        let response = Response::no_content()
            .with_header("Access-Control-Allow-Methods", &self.methods)
            .with_header("Access-Control-Allow-Headers", &self.headers)
            .with_header("Access-Control-Max-Age", self.max_age.as_secs().to_string());
        self.sign(response.into(), Some(origin))
    }

    /// Adds the CORS fields to a response.
    fn sign(&self, mut response: Answer, permission: Option<&str>) -> Answer {
        if !matches!(self.allowed, AllowedOrigins::Any) {
            // Also if nothing is allowed: a cache must not give that response to other origins.
            response = response.with_header("Vary", "Origin");
        }
        match permission {
            Some(origin) if response.header(ALLOW_ORIGIN).is_none() => {
                response = response.with_header(ALLOW_ORIGIN, origin);
            }
            _ => return response,
        }
        if matches!(self.allowed, AllowedOrigins::WithCredentials(_)) {
            response = response.with_header("Access-Control-Allow-Credentials", "true");
        }
        response.with_header("Access-Control-Expose-Headers", &self.exposed)
    }
}

struct Permitted<H> {
    cors: Cors,
    handler: H,
}

impl<H: Handler> Handler for Permitted<H> {
    fn handle(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Answer {
        let permission = self.cors.permission(request);
        if is_preflight(request) {
            return self.cors.answer_preflight(permission.as_deref());
        }
        let response = self.handler.handle(request, cx);
        self.cors.sign(response, permission.as_deref())
    }
}

fn is_preflight(request: &Request) -> bool {
    request.method() == Method::Options
        && request.header_bytes("origin").is_some()
        && request.header_bytes("access-control-request-method").is_some()
}

const ALLOW_ORIGIN: &str = "Access-Control-Allow-Origin";
/// Fields that the Datastar client reads in responses that are not streams.
const DATASTAR_RESPONSE_FIELDS: &str = "Datastar-Selector, Datastar-Mode, Datastar-Namespace, \
     Datastar-Use-View-Transition, Datastar-Only-If-Missing, Datastar-Script-Attributes";
