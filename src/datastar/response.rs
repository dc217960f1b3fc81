//! Responses to Datastar actions that are not streams, and errors that `?` turns into responses.
//!
//! The client handles a response of status 200 by its type: HTML is patched into the page, JSON
//! into the signals, JavaScript is run. `datastar-*` header fields carry the options of an event.
//! Source: the client's `fetch` of version 1.0; the ADR covers only streams.

use std::fmt;

use super::{
    AttributeNameError, ExecuteScript, PatchElements, PatchSignals, PatchSignalsError,
    SignalsError, elements::Target,
};
use crate::http::Response;

/// Responses to an action of the Datastar client that need no stream. For an action without a
/// result, use [`Response::no_content`].
///
/// The client acts only on status 200: with any other [`with_status`](Response::with_status) it
/// ignores the body. The builder's id and retry only apply to streams and are omitted.
impl Response {
    /// 200 with elements to patch into the page: a [`PatchElements`] as one response.
    ///
    /// Non-ASCII characters of the selector are sent as CSS escapes, because browsers read header
    /// fields as Latin-1. There is no header field for
    /// [`view_transition_selector`](PatchElements::view_transition_selector); the complete document
    /// is animated instead.
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

    /// 200 with signals to merge into those of the page: a [`PatchSignals`] as one response.
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

    /// 200 with JavaScript to run: an [`ExecuteScript`] as one response.
    ///
    /// The client puts the script into the `<head>` instead of the body, and as text, so nothing in
    /// it is escaped. After such a response the client never fires `finished`:
    /// [`data-indicator`](https://data-star.dev/reference/attributes#data-indicator) stays on. A
    /// stream that sends the script and finishes avoids this.
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

/// 400 or 415 with the reason, because the client sent invalid signals.
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
            // Names the acceptable type (RFC 9110 section 15.5.16).
            SignalsError::ContentType => response.with_header("Accept", "application/json"),
            _ => response,
        }
    }
}

/// Becomes a 500 whose reason is logged, because patches are built by the server. For a patch built
/// from client input, return [`Response::error`] with status 400.
impl From<PatchSignalsError> for Response {
    fn from(error: PatchSignalsError) -> Self {
        Self::failed(&error)
    }
}

/// Becomes a 500 whose reason is logged, because scripts are built by the server.
impl From<AttributeNameError> for Response {
    fn from(error: AttributeNameError) -> Self {
        Self::failed(&error)
    }
}
