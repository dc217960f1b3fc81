//! [`Hsts`]: browsers use nothing but HTTPS for this host (RFC 6797).

use std::time::Duration;

use crate::{
    engine::{Answer, Context, Handler},
    http::Request,
};

/// Makes browsers use nothing but HTTPS for this host, for some time: the field
/// `Strict-Transport-Security` (RFC 6797). For a server with
/// [`Reactor::listen_tls`](crate::Reactor::listen_tls).
///
/// ```no_run
/// use starwheel::{Hsts, Reactor, Response, Router};
/// use std::time::Duration;
/// let router = Router::new().get("/", |_req, _cx| Response::text("hello"));
/// let year = Duration::from_secs(365 * 24 * 3600);
/// let mut reactor = Reactor::new(Hsts::new(year).include_subdomains().around(router))?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Responses and streams get the field if the request came over TLS
/// ([`Request::is_secure`]); in the clear it must not be sent (section 7.2), and browsers ignore it.
/// Where a proxy terminates TLS, configure the proxy. A handler that sets the field itself is not
/// changed. Responses that no handler makes (a refusal, the 500 for a panic) do not have it.
///
/// A browser that has seen it cannot open `http://` addresses of this host until the time has
/// passed, on any port, and its user cannot accept a certificate that is not valid. Begin with some
/// minutes. Never use it on `localhost`: other servers there have no HTTPS. Browsers ignore it for IP
/// addresses (section 8.1.1). [`Duration::ZERO`] takes it back.
#[derive(Debug, Clone)]
pub struct Hsts {
    value: String,
}

impl Hsts {
    /// For this time from each response on, in whole seconds.
    ///
    /// ```
    /// let hsts = starwheel::Hsts::new(std::time::Duration::from_secs(300));
    /// # let _ = hsts;
    /// ```
    #[must_use]
    pub fn new(max_age: Duration) -> Self {
        Self { value: format!("max-age={}", max_age.as_secs()) }
    }

    /// Also for all hosts below this one. All of them need HTTPS then, also those of other servers.
    ///
    /// ```
    /// let hsts = starwheel::Hsts::new(std::time::Duration::from_secs(300)).include_subdomains();
    /// # let _ = hsts;
    /// ```
    #[must_use]
    pub fn include_subdomains(mut self) -> Self {
        self.value.push_str("; includeSubDomains");
        self
    }

    /// Wraps `handler`: its responses over TLS get the field.
    pub fn around(self, handler: impl Handler + 'static) -> impl Handler + 'static {
        Strict { hsts: self, handler }
    }
}

struct Strict<H> {
    hsts: Hsts,
    handler: H,
}

impl<H: Handler> Handler for Strict<H> {
    fn handle(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Answer {
        let is_secure = request.is_secure();
        let answer = self.handler.handle(request, cx);
        if !is_secure || answer.header(FIELD).is_some() {
            return answer;
        }
        answer.with_header(FIELD, &self.hsts.value)
    }
}

const FIELD: &str = "Strict-Transport-Security";
