//! [`TrySendError`]: why a [`Handle`](super::Handle) returned a command.

use std::{error::Error, fmt, time::Duration};

use crate::{http::Response, span::Refused};

/// Why a [`Handle`](crate::Handle) did not take a command, or a topic an event; with the value that
/// was passed.
///
/// The names are those of bounded channels (`TrySendError` of std and of tokio).
/// [`Full`](Self::Full) is temporary: try again later or drop the value. [`Closed`](Self::Closed)
/// is permanent: stop producing.
///
/// ```
/// use starwheel::{Handle, Topic, TrySendError};
/// use std::{thread, time::Duration};
///
/// /// Publishes from a thread that may wait. False once the reactor has stopped.
/// fn publish_patiently(handle: &Handle, topic: &Topic, mut event: String) -> bool {
///     loop {
///         match handle.publish(topic, event) {
///             Ok(()) => return true,
///             Err(TrySendError::Closed(_)) => return false,
///             Err(TrySendError::Full(back)) => event = back,
///         }
///         thread::sleep(Duration::from_millis(1));
///     }
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "two cases that call for different actions; a third would need every caller"
)]
pub enum TrySendError<T> {
    /// The queue is full: the reactor is overloaded, or has not turned for a while. The same call
    /// may succeed later.
    Full(T),
    /// The reactor has stopped or was dropped. No call of this handle or its clones can succeed.
    Closed(T),
}

impl<T> TrySendError<T> {
    /// The value that was passed.
    ///
    /// ```
    /// use starwheel::TrySendError;
    /// assert_eq!(TrySendError::Full("event").into_inner(), "event");
    /// assert_eq!(TrySendError::Closed("event").into_inner(), "event");
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(value) | Self::Closed(value) => value,
        }
    }

    /// True if the same call may succeed later.
    ///
    /// ```
    /// assert!(starwheel::TrySendError::Full("event").is_full());
    /// ```
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    /// True if no call can succeed anymore.
    ///
    /// ```
    /// assert!(starwheel::TrySendError::Closed("event").is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }

    /// The same error with another value.
    pub(in crate::engine) fn with<U>(&self, value: U) -> TrySendError<U> {
        match self {
            Self::Full(_) => TrySendError::Full(value),
            Self::Closed(_) => TrySendError::Closed(value),
        }
    }
}

/// Shows the kind of error; the value need not be `Debug`.
impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the queue is full; try again later",
            Self::Closed(_) => "the reactor has stopped",
        })
    }
}

impl<T> Error for TrySendError<T> {}

impl From<Refused> for TrySendError<()> {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full | Refused::TooLarge => Self::Full(()),
            // What has been finished takes nothing anymore.
            Refused::Closed | Refused::Finished => Self::Closed(()),
        }
    }
}

/// Becomes a 503 that clients retry after a second or two, so that `?` in a handler sheds load.
///
/// ```
/// use starwheel::{Response, TrySendError};
/// assert_eq!(Response::from(TrySendError::Full("event")).status(), 503);
/// ```
impl<T> From<TrySendError<T>> for Response {
    fn from(_: TrySendError<T>) -> Self {
        Self::busy(Duration::from_secs(1))
    }
}
