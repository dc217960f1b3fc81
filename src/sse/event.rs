//! The plain event with every field the format has.

use std::{borrow::Cow, time::Duration};

use serde_core::Serialize;

use super::{Encode, EventBuffer, EventError, EventId, EventName, Retry};
use crate::error::JsonError;

/// An event with any of the fields of the format.
///
/// ```
/// # fn main() -> Result<(), starwheel::EventError> {
/// use std::time::Duration;
/// use starwheel::{Event, EventBuffer};
///
/// let event = Event::new("21.5").name("celsius")?.id(7)?.retry(Duration::from_secs(5));
/// let mut out = EventBuffer::new();
/// out.push(&event);
/// assert_eq!(out.as_bytes(), b"event: celsius\nid: 7\nretry: 5000\ndata: 21.5\n\n");
/// # Ok(())
/// # }
/// ```
///
/// Lines leave in the order comment, event, id, retry, data, which is also the order of the
/// Datastar ADR. An event whose name starts with `datastar` reaches Datastar pages as a
/// `datastar-fetch` DOM event; other names are for `EventSource`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    comment: Option<Cow<'a, str>>,
    name: Option<EventName<'a>>,
    id: Option<EventId<'a>>,
    retry: Option<Retry>,
    data: Option<Cow<'a, str>>,
}

impl<'a> Event<'a> {
    /// An unnamed event with this data. Any text is valid: it arrives unchanged, except that CRLF
    /// and CR become LF. Empty data is dispatched too.
    pub fn new(data: impl Into<Cow<'a, str>>) -> Self {
        Self { data: Some(data.into()), ..Self::EMPTY }
    }

    /// An unnamed event whose data is what this value becomes as JSON, on one line: a struct, a map,
    /// `json!({..})`.
    ///
    /// The text is allocated for each event. What is sent very often, write into the buffer with an
    /// [`Encode`] of your own.
    ///
    /// ```
    /// use starwheel::{Event, Sse};
    /// use std::{collections::BTreeMap, time::Duration};
    /// let stream = Sse::every(Duration::from_secs(1), |stream| {
    ///     let load = BTreeMap::from([("one", 0.4), ("five", 0.7)]);
    ///     stream.send(Event::json(&load)?.name("load")?);
    ///     Ok(())
    /// });
    /// # let _ = stream;
    /// assert_eq!(Event::json("a\nb")?, Event::new(r#""a\nb""#));
    /// # Ok::<(), starwheel::JsonError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`JsonError`] if it cannot be written as JSON.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, JsonError> {
        JsonError::write(value).map(Self::new)
    }

    /// No event but an instruction: reconnect after this time from now on (see
    /// [`retry`](Self::retry)). Clients dispatch nothing.
    #[must_use]
    pub fn retry_only(delay: Duration) -> Self {
        Self::EMPTY.retry(delay)
    }

    /// Only an id, without an event (a bookmark): clients send it as `Last-Event-ID` from now on
    /// (see [`id`](Self::id)). They dispatch nothing.
    ///
    /// # Errors
    ///
    /// An [`EventError`] if clients would not send it back: see [`EventId`].
    pub fn id_only<I>(id: I) -> Result<Self, EventError>
    where
        I: TryInto<EventId<'a>>,
        EventError: From<I::Error>,
    {
        Self::EMPTY.id(id)
    }

    /// Only a comment, which every client skips: `: text` without a blank line, because some
    /// clients treat that as an event.
    pub fn comment_only(text: impl Into<Cow<'a, str>>) -> Self {
        Self::EMPTY.comment(text)
    }

    /// Names the event. It has no effect on an event without data.
    ///
    /// # Errors
    ///
    /// [`EventError::NameHasNewline`].
    pub fn name<N>(mut self, name: N) -> Result<Self, EventError>
    where
        N: TryInto<EventName<'a>>,
        EventError: From<N::Error>,
    {
        self.name = Some(name.try_into()?);
        Ok(self)
    }

    /// Gives the event an id: text or a number. The empty id makes clients forget theirs.
    ///
    /// # Errors
    ///
    /// An [`EventError`] if clients would not send it back: see [`EventId`]. A number is always
    /// valid.
    pub fn id<I>(mut self, id: I) -> Result<Self, EventError>
    where
        I: TryInto<EventId<'a>>,
        EventError: From<I::Error>,
    {
        self.id = Some(id.try_into()?);
        Ok(self)
    }

    /// Sets how long clients wait before they reconnect, from now on. Whole milliseconds. Zero
    /// becomes 1 ms, because the Datastar client would reconnect without any pause. The maximum is
    /// 2^31 - 1 ms, about 25 days.
    #[must_use]
    pub fn retry(mut self, delay: Duration) -> Self {
        self.retry = Some(Retry::new(delay));
        self
    }

    /// Puts a comment before the event, as many lines as `text` has. Clients skip it.
    #[must_use]
    pub fn comment(mut self, text: impl Into<Cow<'a, str>>) -> Self {
        self.comment = Some(text.into());
        self
    }

    /// The same event without borrows; copies the text that is not owned already.
    #[must_use]
    pub fn into_owned(self) -> Event<'static> {
        let owned = |text: Cow<'a, str>| Cow::Owned(text.into_owned());
        Event {
            comment: self.comment.map(owned),
            name: self.name.map(EventName::into_owned),
            id: self.id.map(EventId::into_owned),
            retry: self.retry,
            data: self.data.map(owned),
        }
    }

    const EMPTY: Self = Self { comment: None, name: None, id: None, retry: None, data: None };
}

impl Encode for Event<'_> {
    fn encode(&self, out: &mut EventBuffer) {
        if let Some(comment) = &self.comment {
            out.comment(comment);
        }
        if let (Some(name), Some(_)) = (&self.name, &self.data) {
            out.event(name);
        }
        if let Some(id) = &self.id {
            out.id(id);
        }
        if let Some(retry) = self.retry {
            out.retry_field(retry);
        }
        if let Some(data) = &self.data {
            out.data(data);
        }
    }
}
