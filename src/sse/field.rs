//! The values of the `event`, `id` and `retry` fields, valid once built.

use std::{borrow::Cow, convert::Infallible, error::Error, fmt, time::Duration};

use memchr::{memchr, memchr2};

/// The name of an event: what `addEventListener` of an `EventSource` listens for.
///
/// Contains no CR and no LF, because they would end the line and start another field. An empty name
/// means the same as none: the client dispatches `message`. Source: WHATWG HTML 9.2.6.
///
/// ```
/// use starwheel::{EventError, EventName};
/// const PRICE: EventName<'static> = EventName::from_static("price");
/// assert_eq!(PRICE.as_str(), "price");
/// assert_eq!(EventName::try_from("a\nid: 7"), Err(EventError::NameHasNewline));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventName<'a>(Cow<'a, str>);

impl<'a> EventName<'a> {
    /// A name known when the program is compiled; most useful in a `const`.
    ///
    /// # Panics
    ///
    /// On CR or LF in `name`. In a `const` that is a compile error.
    #[must_use]
    pub const fn from_static(name: &'static str) -> EventName<'static> {
        let bytes = name.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            assert!(bytes[at] != b'\n' && bytes[at] != b'\r', "an event name is one line");
            at += 1;
        }
        EventName(Cow::Borrowed(name))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same name without the borrow; copies the text unless it is owned already.
    #[must_use]
    pub fn into_owned(self) -> EventName<'static> {
        EventName(Cow::Owned(self.0.into_owned()))
    }

    fn checked(name: Cow<'a, str>) -> Result<Self, EventError> {
        if memchr2(b'\n', b'\r', name.as_bytes()).is_some() {
            return Err(EventError::NameHasNewline);
        }
        Ok(Self(name))
    }
}

/// The id of an event, which a client sends back as `Last-Event-ID` when it reconnects.
///
/// ```
/// use starwheel::{EventError, EventId};
/// assert_eq!(EventId::from(7_u64).to_string(), "7");
/// assert_eq!(EventId::try_from("room 7, 42")?.to_string(), "room 7, 42");
/// assert_eq!(EventId::try_from("a\r"), Err(EventError::IdHasNewline));
/// assert_eq!(EventId::try_from("a\u{1b}"), Err(EventError::IdHasControl));
/// assert_eq!(EventId::try_from("a "), Err(EventError::IdHasOuterSpace));
/// assert_eq!(EventId::try_from("café"), Err(EventError::IdIsNotAscii));
/// # Ok::<(), EventError>(())
/// ```
///
/// Up to [`BYTES_MAX`](Self::BYTES_MAX) printable ASCII characters, including inner spaces: all
/// clients send such ids back unchanged. Ids that no client, or not every client, sends back
/// unchanged are refused:
///
/// | an id with | what happens to it |
/// |---|---|
/// | CR or LF | it ends its line (WHATWG HTML 9.2.6) |
/// | NUL | clients ignore it (WHATWG HTML 9.2.6) |
/// | another control character | browsers send it, servers answer 400 because no field may contain it (RFC 9110 5.5; tabs are refused with the rest), and `EventSource` stops; Node's `fetch` does not send it |
/// | white space at an end | HTTP removes it from the field (RFC 9110 5.5) |
/// | a character beyond U+00FF | `fetch` refuses to send it (Fetch 5.4, `ByteString`): the Datastar client, `eventsource` of npm and undici never reconnect |
/// | U+0080 to U+00FF | browsers' `EventSource` sends UTF-8, those clients one byte each |
/// | more than 1,024 bytes | it takes space from the URL and from cookies; servers and proxies limit a request's head, usually to 8 or 16 KiB |
///
/// To carry other text, percent-encode it or use Base64. The empty id is allowed and means "forget
/// the id": the client then reconnects without `Last-Event-ID`. Numbers need no allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventId<'a>(IdText<'a>);

impl<'a> EventId<'a> {
    /// Maximum length of an id, in bytes.
    pub const BYTES_MAX: usize = 1024;

    /// The same id without the borrow; copies the text unless it is owned already.
    #[must_use]
    pub fn into_owned(self) -> EventId<'static> {
        EventId(match self.0 {
            IdText::Text(text) => IdText::Text(Cow::Owned(text.into_owned())),
            IdText::Unsigned(number) => IdText::Unsigned(number),
            IdText::Signed(number) => IdText::Signed(number),
        })
    }

    fn checked(id: Cow<'a, str>) -> Result<Self, EventError> {
        if memchr2(b'\n', b'\r', id.as_bytes()).is_some() {
            return Err(EventError::IdHasNewline);
        }
        if memchr(0, id.as_bytes()).is_some() {
            return Err(EventError::IdHasNul);
        }
        if !id.is_ascii() {
            return Err(EventError::IdIsNotAscii);
        }
        if id.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(EventError::IdHasControl);
        }
        if id.starts_with(' ') || id.ends_with(' ') {
            return Err(EventError::IdHasOuterSpace);
        }
        if id.len() > Self::BYTES_MAX {
            return Err(EventError::IdIsTooLong);
        }
        Ok(Self(IdText::Text(id)))
    }

    pub(super) fn append_to(&self, bytes: &mut Vec<u8>) {
        let mut digits = itoa::Buffer::new();
        bytes.extend_from_slice(match &self.0 {
            IdText::Text(text) => text.as_bytes(),
            IdText::Unsigned(number) => digits.format(*number).as_bytes(),
            IdText::Signed(number) => digits.format(*number).as_bytes(),
        });
    }
}

impl fmt::Display for EventId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            IdText::Text(text) => f.write_str(text),
            IdText::Unsigned(number) => number.fmt(f),
            IdText::Signed(number) => number.fmt(f),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum IdText<'a> {
    Text(Cow<'a, str>),
    Unsigned(u64),
    Signed(i64),
}

/// Why a text is not a valid event name or id.
///
/// ```
/// use starwheel::{Event, EventError};
/// let error = Event::new("hello").id("a\nb").unwrap_err();
/// assert_eq!(error, EventError::IdHasNewline);
/// assert_eq!(error.to_string(), "an event id must be a single line; remove CR and LF");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventError {
    /// The name contains CR or LF.
    NameHasNewline,
    /// The id contains CR or LF.
    IdHasNewline,
    /// The id contains NUL, so clients would ignore it.
    IdHasNul,
    /// The id contains another control character, which no request may carry.
    IdHasControl,
    /// The id starts or ends with a space, which HTTP removes.
    IdHasOuterSpace,
    /// The id contains a non-ASCII character, which some clients never send back.
    IdIsNotAscii,
    /// The id is longer than [`EventId::BYTES_MAX`].
    IdIsTooLong,
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NameHasNewline => "an event name must be a single line; remove CR and LF",
            Self::IdHasNewline => "an event id must be a single line; remove CR and LF",
            Self::IdHasNul => "clients ignore an event id that contains NUL; remove it or encode the id",
            Self::IdHasControl => {
                "clients cannot send back an event id with control characters; remove them or encode the id"
            }
            Self::IdHasOuterSpace => {
                "clients do not send back spaces around an event id; remove them or encode the id"
            }
            Self::IdIsNotAscii => {
                "some clients never reconnect with an event id that is not ASCII: take a number, or \
                 percent-encode the id"
            }
            Self::IdIsTooLong => {
                "clients send the event id back in each request; use at most 1024 bytes"
            }
        })
    }
}

impl Error for EventError {}

/// Lets builders accept anything that converts into a name or an id, including infallible
/// conversions.
impl From<Infallible> for EventError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

macro_rules! from_text {
    ($field:ident: $($text:ty),+) => {$(
        impl<'a> TryFrom<$text> for $field<'a> {
            type Error = EventError;

            fn try_from(text: $text) -> Result<Self, EventError> {
                Self::checked(text.into())
            }
        }
    )+};
}

from_text!(EventName: &'a str, &'a String, String, Cow<'a, str>);
from_text!(EventId: &'a str, &'a String, String, Cow<'a, str>);

macro_rules! id_from_number {
    ($($number:ty => $kind:ident),+) => {$(
        impl From<$number> for EventId<'_> {
            fn from(number: $number) -> Self {
                Self(IdText::$kind(number.into()))
            }
        }
    )+};
}

id_from_number!(u32 => Unsigned, u64 => Unsigned, i32 => Signed, i64 => Signed);

impl From<usize> for EventId<'_> {
    fn from(number: usize) -> Self {
        Self(IdText::Unsigned(number as u64))
    }
}

/// A reconnection delay that makes no client reconnect in a hot loop.
///
/// Datastar 1.0 obeys `retry: 0` and reconnects without a pause, and a browser's timer fires
/// immediately when it is given more than 2^31 - 1 ms. Both ends are clamped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retry(u32);

impl Retry {
    pub(crate) fn new(delay: Duration) -> Self {
        let delay_ms = delay.as_millis().clamp(1, u128::from(RETRY_MS_MAX));
        Self(u32::try_from(delay_ms).unwrap_or(RETRY_MS_MAX))
    }

    pub(crate) fn millis(self) -> u32 {
        self.0
    }
}

const RETRY_MS_MAX: u32 = i32::MAX as u32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_is_at_least_a_millisecond_and_fits_a_browser_timer() {
        assert_eq!(Retry::new(Duration::ZERO).millis(), 1);
        assert_eq!(Retry::new(Duration::from_micros(999)).millis(), 1);
        assert_eq!(Retry::new(Duration::from_secs(3)).millis(), 3000);
        assert_eq!(Retry::new(Duration::MAX).millis(), 2_147_483_647);
    }

    #[test]
    fn an_id_is_the_same_as_text_and_as_number() {
        for (id, text) in [
            (EventId::from(u64::MAX), "18446744073709551615"),
            (EventId::from(i64::MIN), "-9223372036854775808"),
            (EventId::from(7_usize), "7"),
            (EventId::from(0), "0"),
        ] {
            let mut bytes = Vec::new();
            id.append_to(&mut bytes);
            assert_eq!(bytes, text.as_bytes());
            assert_eq!(id.to_string(), text);
        }
    }

    #[test]
    fn errors_say_what_to_do() {
        for error in [
            EventError::NameHasNewline,
            EventError::IdHasNewline,
            EventError::IdHasNul,
            EventError::IdHasControl,
            EventError::IdHasOuterSpace,
            EventError::IdIsNotAscii,
            EventError::IdIsTooLong,
        ] {
            assert!(
                ["remove", "encode", "use"].iter().any(|verb| error.to_string().contains(verb)),
                "{error}"
            );
        }
    }
}
