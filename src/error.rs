//! Error and close reasons used by all layers. No I/O here.

use std::{error::Error, fmt, io, sync::Arc};

use serde_core::Serialize;

/// Any error of a user's closure.
///
/// `?` converts every `std::error::Error + Send + Sync` into it, and `&str` and `String` too.
///
/// ```
/// fn read_sensor() -> Result<f64, starwheel::BoxError> {
///     let celsius: f64 = "21.5".parse()?;
///     if celsius > 100.0 { Err("the sensor boils")? }
///     Ok(celsius)
/// }
/// assert_eq!(read_sensor().unwrap(), 21.5);
/// ```
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Untrusted text, made safe for a log: one line, no control characters (a terminal would obey
/// them), no characters that change the text direction, and limited in length.
#[derive(Debug)]
pub(crate) struct Logged<'a>(pub(crate) &'a str);

impl fmt::Display for Logged<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown_end = self.0.len().min(LOGGED_BYTES_MAX);
        while !self.0.is_char_boundary(shown_end) {
            shown_end -= 1;
        }
        write!(f, "{}", self.0[..shown_end].escape_debug())?;
        match self.0.len() - shown_end {
            0 => Ok(()),
            left_bytes => write!(f, "... ({left_bytes} more bytes)"),
        }
    }
}

/// The same for bytes that may not be UTF-8.
#[derive(Debug)]
pub(crate) struct LoggedBytes<'a>(pub(crate) &'a [u8]);

impl fmt::Display for LoggedBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, rest) = self.0.split_at(self.0.len().min(LOGGED_BYTES_MAX));
        write!(f, "{}", shown.escape_ascii())?;
        match rest.len() {
            0 => Ok(()),
            left_bytes => write!(f, "... ({left_bytes} more bytes)"),
        }
    }
}

const LOGGED_BYTES_MAX: usize = 1000;

/// A parser's reason, as a client may be given it. Some quote the input, names of unknown members for
/// example: control characters and those that turn or hide text are escaped, and it is cut.
pub(crate) struct Reason<'a, T>(pub(crate) &'a T);

impl<T: fmt::Display> fmt::Display for Reason<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.to_string().chars().take(REASON_CHARACTERS_MAX) {
            // Quotes and backslashes are escaped in a literal; a reason is none.
            let is_plain =
                matches!(character, '"' | '\'' | '\\') || character.escape_debug().len() == 1;
            if is_plain {
                fmt::Write::write_char(f, character)?;
            } else {
                write!(f, "{}", character.escape_unicode())?;
            }
        }
        Ok(())
    }
}

const REASON_CHARACTERS_MAX: usize = 200;

/// A value of the application that cannot be written as JSON: a map whose keys are not text, or what
/// its own `Serialize` refuses.
///
/// In a handler, `?` answers with 500 and logs the reason.
///
/// ```
/// use starwheel::{JsonError, Response};
/// use std::collections::BTreeMap;
/// let error: JsonError = Response::json(&BTreeMap::from([([1, 2], "a list as a key")])).unwrap_err();
/// assert_eq!(error.to_string(), "the value cannot be written as JSON: key must be a string");
/// ```
#[derive(Debug)]
pub struct JsonError(serde_json::Error);

impl JsonError {
    /// Writes a value as JSON text on one line.
    pub(crate) fn write<T: Serialize + ?Sized>(value: &T) -> Result<String, Self> {
        serde_json::to_string(value).map_err(Self)
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the value cannot be written as JSON: {}", self.0)
    }
}

impl Error for JsonError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// Why a stream ended.
///
/// Every stream ends for exactly one reason, which is passed to its `on_disconnect` hook and
/// counted. `Finished`, `TopicsFinished`, `Dropped`, `Replaced`, `Lifetime` and `Shutdown` are decided by the server; all others
/// happened to the stream.
///
/// ```
/// use starwheel::CloseReason;
/// assert_eq!(CloseReason::Disconnected.to_string(), "the client disconnected");
/// assert!(CloseReason::Disconnected.is_expected());
/// assert!(!CloseReason::Panicked.is_expected());
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum CloseReason {
    /// The server finished the stream with its last chunk. Datastar does not reconnect,
    /// `EventSource` does.
    Finished,
    /// All topics of the stream have been [finished](crate::Handle::finish), and it has been given
    /// their last events. It ends with its last chunk. Datastar does not reconnect; `EventSource`
    /// does once, and is answered with 204.
    TopicsFinished,
    /// The server cut the stream without a last chunk, so that clients reconnect.
    Dropped,
    /// A newer stream with the same tag took its place, see
    /// [`TagOverflow::ReplaceOldest`](crate::TagOverflow::ReplaceOldest). Its client does not
    /// reconnect.
    Replaced,
    /// The stream reached its `max_lifetime` and was dropped.
    Lifetime,
    /// The reactor is draining or shutting down.
    Shutdown,
    /// The client closed its side of the connection.
    Disconnected,
    /// Reading or writing failed; most often the client vanished without closing the connection.
    Io(io::ErrorKind),
    /// The client read too slowly: its queue exceeded
    /// [`Limits::outbox_bytes`](crate::Limits::outbox_bytes), it missed events that had left a
    /// topic's log, or its socket took nothing for
    /// [`Limits::stall_timeout`](crate::Limits::stall_timeout).
    Slow,
    /// The updater or hook returned this error.
    Failed(Arc<dyn Error + Send + Sync>),
    /// The updater or hook panicked. The stream is dropped; other streams are not affected.
    Panicked,
}

impl CloseReason {
    /// True for ends that are part of normal operation (a finished stream, a closed tab), false for
    /// those that deserve a warning (`Slow`, `Failed`, `Panicked`).
    #[must_use]
    pub fn is_expected(&self) -> bool {
        !matches!(self, Self::Slow | Self::Failed(_) | Self::Panicked)
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("finished"),
            Self::TopicsFinished => f.write_str("all of its topics have been finished"),
            Self::Dropped => f.write_str("dropped; the client may reconnect"),
            Self::Replaced => f.write_str("replaced by a newer stream with the same tag"),
            Self::Lifetime => f.write_str("reached its maximum lifetime"),
            Self::Shutdown => f.write_str("the server is shutting down"),
            Self::Disconnected => f.write_str("the client disconnected"),
            Self::Io(kind) => write!(f, "the connection failed: {kind}"),
            Self::Slow => f.write_str("the client reads too slowly"),
            Self::Failed(error) => write!(f, "the updater failed: {error}"),
            Self::Panicked => f.write_str("the updater panicked"),
        }
    }
}
