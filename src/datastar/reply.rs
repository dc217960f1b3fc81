//! Answers to Datastar actions that are not streams, and errors that `?` turns into answers.
//!
//! The client takes a reply of status 200 by its type: HTML is patched into the page, JSON into the
//! signals, JavaScript is run; `datastar-*` header fields carry what would be options of an event.
//! Source: the client's `fetch` of version 1.0; the ADR knows streams only.

use std::fmt;

use super::{
    AttributeNameError, ExecuteScript, PatchElements, PatchSignals, PatchSignalsError,
    SignalsError, elements::Target,
};
use crate::http::Reply;

/// Answers to an action of the Datastar client that need no stream. A command that has nothing to
/// say is answered with [`Reply::no_content`].
///
/// The client acts on status 200 alone: with [`with_status`](Reply::with_status) and anything else
/// it ignores the body. An id and a retry of the builder belong to streams and are left out.
impl Reply {
    /// 200 with elements to patch into the page: what [`PatchElements`] says, as one reply.
    ///
    /// Non-ASCII characters of the selector leave as CSS escapes, because browsers read header
    /// fields as Latin-1. There is no header field for
    /// [`view_transition_selector`](PatchElements::view_transition_selector); the whole document is
    /// animated instead.
    ///
    /// ```
    /// use starwheel::{PatchElements, PatchMode, Reply};
    /// let patch = PatchElements::new("<li>hello</li>").selector("#log").mode(PatchMode::Append);
    /// let reply = Reply::elements(patch);
    /// assert_eq!(reply.header_value("Content-Type"), Some("text/html; charset=utf-8"));
    /// assert_eq!(reply.header_value("datastar-selector"), Some("#log"));
    /// assert_eq!(reply.header_value("datastar-mode"), Some("append"));
    /// assert_eq!(reply.body(), b"<li>hello</li>");
    /// ```
    #[must_use]
    pub fn elements<H: fmt::Display, T: Target>(patch: PatchElements<'_, H, T>) -> Self {
        patch.into_reply()
    }

    /// 200 with signals to merge into those of the page: what [`PatchSignals`] says, as one reply.
    ///
    /// ```
    /// use starwheel::{PatchSignals, Reply};
    /// let reply = Reply::signals(PatchSignals::json(r#"{"saved":true}"#)?.only_if_missing());
    /// assert_eq!(reply.header_value("Content-Type"), Some("application/json"));
    /// assert_eq!(reply.header_value("datastar-only-if-missing"), Some("true"));
    /// assert_eq!(reply.body(), br#"{"saved":true}"#);
    /// # Ok::<(), starwheel::PatchSignalsError>(())
    /// ```
    #[must_use]
    pub fn signals(patch: PatchSignals<'_>) -> Self {
        patch.into_reply()
    }

    /// 200 with JavaScript to run: what [`ExecuteScript`] says, as one reply.
    ///
    /// The client puts the script into the `<head>` instead of the body, and as text, so that
    /// nothing in it is written otherwise. After such a reply the client never fires `finished`:
    /// [`data-indicator`](https://data-star.dev/reference/attributes#data-indicator) stays on. A
    /// stream that sends the script and finishes does not have this fault.
    ///
    /// ```
    /// use starwheel::{ExecuteScript, Reply};
    /// let reply = Reply::script(ExecuteScript::new("console.log('</script>')"));
    /// assert_eq!(reply.header_value("Content-Type"), Some("text/javascript; charset=utf-8"));
    /// assert_eq!(
    ///     reply.header_value("datastar-script-attributes"),
    ///     Some(r#"{"data-effect":"el.remove()"}"#),
    /// );
    /// assert_eq!(reply.body(), b"console.log('</script>')");
    /// ```
    #[must_use]
    pub fn script(script: ExecuteScript<'_>) -> Self {
        script.into_reply()
    }
}

/// 400 or 415 with the reason: what the client sent is the client's mistake.
///
/// ```
/// use starwheel::{Reply, Request, Router, Signals, testing::Simulation};
/// let router = Router::new().get("/count", |req, _cx| {
///     let signals = Signals::read(req)?;
///     Ok(Reply::text(format!("{:?}", signals.i64("count"))))
/// });
/// let mut simulation = Simulation::new(router);
/// let client = simulation.get("/count?datastar={\"count\":");
/// assert_eq!(simulation.answer(client).status, 400);
/// ```
impl From<SignalsError> for Reply {
    fn from(error: SignalsError) -> Self {
        let reply = Self::error(error.status(), error.to_string());
        match error {
            // Says which type would do (RFC 9110 section 15.5.16).
            SignalsError::ContentType => reply.header("Accept", "application/json"),
            _ => reply,
        }
    }
}

/// 500, the reason is logged: a patch is built by the server. Where it is built from what the client
/// sent, answer with [`Reply::error`] and status 400.
impl From<PatchSignalsError> for Reply {
    fn from(error: PatchSignalsError) -> Self {
        Self::failed(&error)
    }
}

/// 500, the reason is logged: a script is built by the server.
impl From<AttributeNameError> for Reply {
    fn from(error: AttributeNameError) -> Self {
        Self::failed(&error)
    }
}
