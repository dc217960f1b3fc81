//! What an updater answers, and how a stream may end.

use crate::error::BoxError;

use std::time::Duration;

/// What happens after an updater or a repeating timer ran.
///
/// Most closures answer nothing, which means [`Next::Again`]; see [`IntoNext`].
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
    /// Run again after this time instead, and from then on with the interval. At least 1 ms.
    After(Duration),
    /// Finish the stream with its last chunk: it is done, Datastar does not reconnect.
    Finish,
    /// Cut the stream without a last chunk: clients reconnect.
    Drop,
    /// Cut the stream; the error becomes its close reason.
    Fail(BoxError),
}

/// What an updater may return: [`Next`], `()` for "again", or a `Result` of these.
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
    /// Turns the answer into a [`Next`].
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

/// The two ways in which a server ends a stream, which decide whether the client comes back.
///
/// | | Datastar (`retry: 'auto'`, its default) | `EventSource` |
/// |---|---|---|
/// | [`Finish`](Ending::Finish) | the action has `finished`; never reconnects | reconnects |
/// | [`Drop`](Ending::Drop) | reconnects, sends `Last-Event-ID` | reconnects, sends `Last-Event-ID` |
///
/// What Datastar 1.0 does in detail:
///
/// - After a *finish* the action is over, as after any other answer; `data-indicator` goes off. Only
///   an action with `retry: 'always'` asks again, one base interval later.
/// - After a *drop* it asks again after one second, or after what the last
///   [`retry`](crate::Event::retry) said, with the id of the last event that had one
///   ([`Request::last_event_id`](crate::Request::last_event_id)), and as often as it takes while
///   the server answers. The pause does not grow and has no jitter: a server that drops all its
///   streams at once sees all clients at once again. When the server cannot be reached, the pause
///   doubles up to 30 s, and after ten failures the client gives up.
/// - What was sent a few milliseconds before a drop may be lost: when a connection is cut, browsers
///   throw away what they have not handed to the page (Chromium 156: up to half of all events that
///   left with the cut, none that left 5 ms earlier). The id that comes back is the last one that the
///   page *saw*, so going on from there loses nothing.
/// - The client writes an error to the page's console for each drop.
///
/// An `EventSource` reconnects after either (Chromium after 3 s, Firefox after 5 s) until the page
/// closes it or an answer is 204 ([`Response::no_content`](crate::Response::no_content)). To Datastar a
/// 204 is final too.
///
/// Draining, shutdown and [`Sse::max_lifetime`](crate::Sse::max_lifetime) drop, so that clients find
/// the next server; a [drain](crate::Handle::drain) tells each client ahead when to come back. A crash looks like a drop as well, because HTTP/1.1 streams are chunked. An
/// HTTP/1.0 client gets no chunks and cannot tell the two endings apart: Datastar behind such a
/// proxy takes every end for a finish.
///
/// ```
/// use starwheel::{Ending, Sse};
/// let hint = Sse::new().send("see you").ending(Ending::Drop);
/// # let _ = hint;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// The last chunk is sent: this stream is done.
    Finish,
    /// The stream is cut behind a whole event, without a last chunk: come back.
    Drop,
}
