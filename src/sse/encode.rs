//! [`Encode`]: what can be sent as an event.

use std::fmt::{self, Write as _};

use super::EventBuffer;

/// Anything that can be sent as an event.
///
/// Text is sent as an unnamed event, which a browser's `EventSource` passes to `onmessage`; the
/// Datastar client ignores those. For names, ids and other fields use [`Event`](crate::Event), and
/// for pages with Datastar use [`PatchElements`](crate::datastar::PatchElements) and its siblings.
///
/// Encoding cannot fail: a value without a valid encoding cannot be built. Implement this trait for
/// your own event types. [`EventBuffer::push`](crate::EventBuffer::push) writes the blank line that
/// ends the event, so you cannot forget it:
///
/// ```
/// use starwheel::{Encode, EventBuffer, EventName};
///
/// struct Price { cents: u64 }
///
/// impl Encode for Price {
///     fn encode(&self, out: &mut EventBuffer) {
///         const PRICE: EventName<'static> = EventName::from_static("price");
///         out.event(&PRICE);
///         out.data_fmt(format_args!("{}.{:02}", self.cents / 100, self.cents % 100));
///     }
/// }
///
/// let mut out = EventBuffer::new();
/// out.push(&Price { cents: 1995 });
/// assert_eq!(out.as_bytes(), b"event: price\ndata: 19.95\n\n");
/// ```
///
/// A type that represents several events calls [`push`](crate::EventBuffer::push) for each of them
/// inside `encode`. They are published, retained and dropped together. On a topic with a history
/// each has an id, so a client cut between them gets the rest when it reconnects.
pub trait Encode {
    /// Appends the fields of this event. Called once for each buffer the event goes into, at the
    /// time it is sent or published.
    ///
    /// Replacing `out` with another buffer is a mistake, and panics.
    fn encode(&self, out: &mut EventBuffer);
}

impl<E: Encode + ?Sized> Encode for &E {
    fn encode(&self, out: &mut EventBuffer) {
        (**self).encode(out);
    }
}

impl Encode for str {
    fn encode(&self, out: &mut EventBuffer) {
        out.data(self);
    }
}

impl Encode for String {
    fn encode(&self, out: &mut EventBuffer) {
        out.data(self);
    }
}

/// `format_args!(..)` is formatted directly into the buffer.
impl Encode for fmt::Arguments<'_> {
    fn encode(&self, out: &mut EventBuffer) {
        out.data_with(None, |data| {
            // Writing to memory does not fail; a `Display` that reports an error ends its data.
            let _ = data.write_fmt(*self);
        });
    }
}
