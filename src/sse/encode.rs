//! What can be sent.

use std::fmt::{self, Write as _};

use super::EventBuffer;

/// Something that is sent as an event.
///
/// Text is sent as an unnamed event, which a browser's `EventSource` hands to `onmessage`; the
/// Datastar client ignores those. For names, ids and the rest there is [`Event`](crate::Event),
/// and for pages that use Datastar [`PatchElements`](crate::datastar::PatchElements) and its siblings.
///
/// Encoding cannot fail: a value that has no encoding cannot be built. Implement it for event
/// types of your own; the blank line that ends the event is written by
/// [`EventBuffer::push`](crate::EventBuffer::push), so there is nothing to forget:
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
/// A type that stands for several events calls [`push`](crate::EventBuffer::push) for each of
/// them inside `encode`. They are published, retained and dropped together; on a topic with a history
/// each has an id, so a client that is cut between them gets the rest when it comes back.
pub trait Encode {
    /// Appends the fields of this event. Called once for each buffer the event goes into, at the
    /// time it is sent or published.
    ///
    /// To put another buffer in the place of `out` is a mistake, and panics.
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

/// `format_args!(..)` is formatted straight into the buffer.
impl Encode for fmt::Arguments<'_> {
    fn encode(&self, out: &mut EventBuffer) {
        out.data_with(None, |data| {
            // Writing to memory does not fail; a `Display` that reports an error ends its data.
            let _ = data.write_fmt(*self);
        });
    }
}
