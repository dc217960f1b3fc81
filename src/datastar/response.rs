//! Answers to Datastar actions that are not streams, and errors that `?` turns into answers.
//!
//! The client takes a response of status 200 by its type: HTML is patched into the page, JSON into the
//! signals, JavaScript is run; `datastar-*` header fields carry what would be options of an event.
//! Source: the client's `fetch` of version 1.0; the ADR knows streams only.

use std::fmt;

use super::{
    AttributeNameError, ExecuteScript, PatchElements, PatchSignals, PatchSignalsError,
    SignalsError, elements::Target,
};
use crate::http::Response;

/// Answers to an action of the Datastar client that need no stream. A command that has nothing to
/// say is answered with [`Response::no_content`].
///
/// The client acts on status 200 alone: with [`with_status`](Response::with_status) and anything else
/// it ignores the body. An id and a retry of the builder belong to streams and are left out.
impl Response {
    /// 200 with elements to patch into the page: what [`PatchElements`] says, as one response.
    ///
    /// Non-ASCII characters of the selector leave as CSS escapes, because browsers read header
    /// fields as Latin-1. There is no header field for
    /// [`view_transition_selector`](PatchElements::view_transition_selector); the whole document is
    /// animated instead.
    ///
    /// ```
    /// use starwheel::{datastar::{PatchElements, PatchMode}, Response};
    /// let patch = PatchElements::new("<li>hello</li>").selector("#log").mode(PatchMode::Append);
    /// let response = Response::elements(patch);
    /// assert_eq!(response.header("Content-Type"), Some("text/html; charset=utf-8"));
    /// assert_eq!(response.header("datastar-selector"), Some("#log"));
    /// assert_eq!(response.header("datastar-mode"), Some("append"));
    /// assert_eq!(response.body(), b"<li>hello</li>");
    /// ```
    #[must_use]
    pub fn elements<H: fmt::Display, T: Target>(patch: PatchElements<'_, H, T>) -> Self {
        patch.into_response()
    }

    /// 200 with signals to merge into those of the page: what [`PatchSignals`] says, as one response.
    ///
    /// ```
    /// use starwheel::{datastar::PatchSignals, Response};
    /// let response = Response::signals(PatchSignals::json(r#"{"saved":true}"#)?.only_if_missing());
    /// assert_eq!(response.header("Content-Type"), Some("application/json"));
    /// assert_eq!(response.header("datastar-only-if-missing"), Some("true"));
    /// assert_eq!(response.body(), br#"{"saved":true}"#);
    /// # Ok::<(), starwheel::datastar::PatchSignalsError>(())
    /// ```
    #[must_use]
    pub fn signals(patch: PatchSignals<'_>) -> Self {
        patch.into_response()
    }

    /// 200 with JavaScript to run: what [`ExecuteScript`] says, as one response.
    ///
    /// The client puts the script into the `<head>` instead of the body, and as text, so that
    /// nothing in it is written otherwise. After such a response the client never fires `finished`:
    /// [`data-indicator`](https://data-star.dev/reference/attributes#data-indicator) stays on. A
    /// stream that sends the script and finishes does not have this fault.
    ///
    /// ```
    /// use starwheel::{datastar::ExecuteScript, Response};
    /// let response = Response::script(ExecuteScript::new("console.log('</script>')"));
    /// assert_eq!(response.header("Content-Type"), Some("text/javascript; charset=utf-8"));
    /// assert_eq!(
    ///     response.header("datastar-script-attributes"),
    ///     Some(r#"{"data-effect":"el.remove()"}"#),
    /// );
    /// assert_eq!(response.body(), b"console.log('</script>')");
    /// ```
    #[must_use]
    pub fn script(script: ExecuteScript<'_>) -> Self {
        script.into_response()
    }
}

/// 400 or 415 with the reason: what the client sent is the client's mistake.
///
/// ```
/// use starwheel::{datastar::Signals, testing::Simulation, Request, Response, Router};
/// let router = Router::new().get("/count", |req, _cx| {
///     let signals = Signals::read(req)?;
///     Ok(Response::text(format!("{:?}", signals.i64("count"))))
/// });
/// let mut simulation = Simulation::new(router);
/// let client = simulation.get("/count?datastar={\"count\":");
/// assert_eq!(simulation.response(client).status, 400);
/// ```
impl From<SignalsError> for Response {
    fn from(error: SignalsError) -> Self {
        let response = Self::error(error.status(), error.to_string());
        match error {
            // Says which type would do (RFC 9110 section 15.5.16).
            SignalsError::ContentType => response.with_header("Accept", "application/json"),
            _ => response,
        }
    }
}

/// 500, the reason is logged: a patch is built by the server. Where it is built from what the client
/// sent, answer with [`Response::error`] and status 400.
impl From<PatchSignalsError> for Response {
    fn from(error: PatchSignalsError) -> Self {
        Self::failed(&error)
    }
}

/// 500, the reason is logged: a script is built by the server.
impl From<AttributeNameError> for Response {
    fn from(error: AttributeNameError) -> Self {
        Self::failed(&error)
    }
}
