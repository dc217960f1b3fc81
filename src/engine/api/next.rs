//! What an updater returns, and the two ways to end a stream.

use crate::error::BoxError;

use std::time::Duration;

/// What to do after an updater or a repeating timer has run.
///
/// Most closures return nothing, which means [`Next::Again`]; see [`IntoNext`].
///
/// ```
/// use starwheel::{Next, Sse};
/// use std::time::Duration;
///
/// let mut left = 3;
/// let countdown = Sse::every(Duration::from_secs(1), move |stream| {
///     stream.send(format_args!("{left}"));
///     left -= 1;
///     if left < 0 { Next::Finish } else { Next::Again }
/// });
/// # let _ = countdown;
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Next {
    /// Run again after the interval.
    Again,
    /// Run again after this time instead, then at the usual interval. At least 1 ms.
    After(Duration),
    /// Finish the stream with its last chunk: Datastar does not reconnect.
    Finish,
    /// Cut the stream without a last chunk: clients reconnect.
    Drop,
    /// Cut the stream; the error becomes its close reason.
    Fail(BoxError),
}

/// Return types of an updater: [`Next`], `()` for "again", or a `Result` of these.
///
/// ```
/// use starwheel::Sse;
/// use std::time::Duration;
///
/// let load = Sse::every(Duration::from_secs(5), |stream| {
///     let load = std::fs::read_to_string("/proc/loadavg")?;
///     stream.send(load.trim());
///     Ok(())
/// });
/// # let _ = load;
/// ```
pub trait IntoNext {
    /// Converts the value into a [`Next`].
    fn into_next(self) -> Next;
}

impl IntoNext for Next {
    fn into_next(self) -> Next {
        self
    }
}

impl IntoNext for () {
    fn into_next(self) -> Next {
        Next::Again
    }
}

// One concrete error type, so that `?` in a closure needs no annotation.
impl<N: IntoNext> IntoNext for Result<N, BoxError> {
    fn into_next(self) -> Next {
        match self {
            Ok(next) => next.into_next(),
            Err(error) => Next::Fail(error),
        }
    }
}

/// How the server ends a stream. This decides whether the client reconnects.
///
/// ```
/// use starwheel::{Ending, Sse};
/// let hint = Sse::new().send("see you").ending(Ending::Drop);
/// # let _ = hint;
/// ```
///
/// | | Datastar (`retry: 'auto'`, its default) | `EventSource` |
/// |---|---|---|
/// | [`Finish`](Ending::Finish) | the action has `finished`; never reconnects | reconnects |
/// | [`Drop`](Ending::Drop) | reconnects, sends `Last-Event-ID` | reconnects, sends `Last-Event-ID` |
///
/// What Datastar 1.0 does in detail:
///
/// - After a *finish* the action is over, as after any other response; `data-indicator` turns off.
///   Only an action with `retry: 'always'` requests again, one base interval later.
/// - After a *drop* it requests again after one second, or after the last
///   [`retry`](crate::Event::retry) value. It sends the id of the last event that had one
///   ([`Request::last_event_id`](crate::Request::last_event_id)). There is no limit on retries
///   while the server responds. The delay does not grow and has no jitter: if a server drops all
///   its streams together, all clients reconnect together. If the server cannot be reached, the
///   delay doubles up to 30 s, and the client stops after ten failures.
/// - Events sent a few milliseconds before a drop may be lost: when a connection is cut, browsers
///   discard what they have not passed to the page (Chromium 156: up to half of all events that
///   left with the cut, none that left 5 ms earlier). The client sends the id of the last event
///   that the page *saw*, so resuming from it loses nothing.
/// - The client logs an error to the page's console for each drop.
///
/// An `EventSource` reconnects after either (Chromium after 3 s, Firefox after 5 s) until the page
/// closes it or a response is 204 ([`Response::no_content`](crate::Response::no_content)). A 204
/// also stops Datastar.
///
/// Draining, shutdown and [`Sse::max_lifetime`](crate::Sse::max_lifetime) drop streams, so that
/// clients find the next server. A [drain](crate::Handle::drain) sends each client its reconnect
/// time first. A crash looks like a drop as well, because HTTP/1.1 streams are chunked. An HTTP/1.0
/// client gets no chunks and cannot tell the two apart: behind such a proxy, Datastar treats every
/// end as a finish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// The last chunk is sent: the stream is complete.
    Finish,
    /// The stream is cut after a complete event, without a last chunk: clients reconnect.
    Drop,
}
