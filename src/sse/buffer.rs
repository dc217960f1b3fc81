//! The bytes of events. Only this code writes text between line ends.

use std::{fmt, io::Write, time::Duration};

use memchr::memchr2;

use super::{Encode, EventId, EventName, Retry};

/// Room of a new buffer for its first event, which otherwise would grow piece by piece.
const FIRST_BYTES: usize = 256;

/// A buffer for encoded events, to which only well-formed SSE can be written.
///
/// [`push`](Self::push) appends one complete event. The methods named after the fields of the
/// format are for implementations of [`Encode`]; each appends complete lines for any text.
///
/// ```
/// use starwheel::EventBuffer;
/// let mut out = EventBuffer::new();
/// out.push("two\r\nlines");
/// out.push(&format_args!("{} + {}", 1, 1));
/// assert_eq!(out.as_bytes(), b"data: two\ndata: lines\n\ndata: 1 + 1\n\n");
/// ```
///
/// It grows as needed and keeps its memory when cleared; nothing else is allocated.
#[derive(Default)]
pub struct EventBuffer {
    bytes: Vec<u8>,
    /// Fields were written that are not yet ended by a blank line.
    is_open: bool,
    /// An id was written since the buffer was empty.
    has_id: bool,
    /// Start of the event being encoded; detects a buffer that replaced this one.
    lent_at: Option<usize>,
}

impl EventBuffer {
    /// An empty buffer; allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), is_open: false, has_id: false, lent_at: None }
    }

    /// Appends one event with the blank line that makes clients dispatch it.
    ///
    /// The blank line is omitted if the event wrote no field (a lone comment needs none). Fields
    /// written before outside of `push` are ended first.
    ///
    /// # Panics
    /// If `event` replaces the buffer (`*out = ..`) instead of appending to it: earlier events
    /// would be lost.
    pub fn push<E: Encode + ?Sized>(&mut self, event: &E) {
        self.dispatch();
        if self.bytes.capacity() == 0 {
            self.reserve_first();
        }
        let (start, has_id) = (self.bytes.len(), self.has_id);
        let outer = self.lent_at.replace(start);
        event.encode(self);
        // An inner push that panicked, and was caught, has left its own value.
        let is_ours = self.lent_at.is_some_and(|at| at >= start) && self.bytes.len() >= start;
        self.lent_at = outer;
        if !is_ours {
            self.was_replaced(start, has_id);
        }
        self.dispatch();
    }

    #[cold]
    fn reserve_first(&mut self) {
        self.bytes.reserve(FIRST_BYTES);
    }

    /// The bytes written so far.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes written so far, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Appends a comment, one line for each line of `text`. Clients skip comments; they show that a
    /// quiet stream is alive. Write it before the fields of an event.
    pub fn comment(&mut self, text: &str) {
        self.lines(": ", "", |out| out.push_str(text));
    }

    /// Appends the name of the event. Without one, clients dispatch `message`.
    pub fn event(&mut self, name: &EventName<'_>) {
        self.field("event: ", |bytes| bytes.extend_from_slice(name.as_str().as_bytes()));
    }

    /// Appends the id, which clients send back as `Last-Event-ID` when they reconnect. It also
    /// applies to later events without one. On a stream that has a topic with a
    /// [history](crate::Topic::history), only ids published there are sent back.
    pub fn id(&mut self, id: &EventId<'_>) {
        self.has_id = true;
        self.field("id: ", |bytes| id.append_to(bytes));
    }

    /// Appends the time clients wait before they reconnect, from now on. Whole milliseconds,
    /// clamped to 1 ms (zero is a hot loop in the Datastar client) and to 2^31 - 1 ms (about 25
    /// days; above that, browsers' timers fire immediately). Firefox waits at least 500 ms.
    pub fn retry(&mut self, delay: Duration) {
        self.retry_field(Retry::new(delay));
    }

    /// Appends data, one line for each line of `text`. Only CRLF, LF and CR end a line; clients
    /// join the lines with LF. Further calls add lines.
    ///
    /// Empty text is one empty line, and text that ends with a newline ends with an empty line.
    /// Without them the client would dispatch nothing, or drop that newline.
    pub fn data(&mut self, text: &str) {
        self.data_with(None, |data| data.push_str(text));
    }

    /// Appends formatted data like [`data`](Self::data), without a `String` in between.
    pub fn data_fmt(&mut self, text: fmt::Arguments<'_>) {
        text.encode(self);
    }

    /// Appends data whose lines each start with `key` and a space, `data: KEY LINE`, as Datastar
    /// expects. Nothing is trimmed; an empty line keeps the space after its key.
    ///
    /// ```
    /// use starwheel::EventBuffer;
    /// let mut out = EventBuffer::new();
    /// out.data_with_key("elements", "<ul>\n\n</ul>");
    /// assert_eq!(out.as_bytes(), b"data: elements <ul>\ndata: elements \ndata: elements </ul>\n");
    /// ```
    ///
    /// A key is cut at its first line end, if it has one.
    pub fn data_with_key(&mut self, key: &str, text: &str) {
        self.data_with(Some(key), |data| data.push_str(text));
    }

    /// Appends data that `write` produces in pieces, with or without a key before each line. At
    /// least one line is written.
    ///
    /// ```
    /// use std::fmt::Write;
    /// use starwheel::EventBuffer;
    /// let mut out = EventBuffer::new();
    /// out.data_with(Some("elements"), |data| {
    ///     data.push_str("<li>");
    ///     let _ = write!(data, "{}", 6 * 7);
    ///     data.push_str("\n</li>");
    /// });
    /// assert_eq!(out.as_bytes(), b"data: elements <li>42\ndata: elements </li>\n");
    /// ```
    pub fn data_with(&mut self, key: Option<&str>, write: impl FnOnce(&mut DataWriter<'_>)) {
        self.is_open = true;
        match key {
            Some(key) => self.lines("data: ", first_line(key), write),
            None => self.lines("data: ", "", write),
        }
    }

    /// Like [`data_with`](Self::data_with) with a key, but appends nothing if `write` wrote
    /// nothing. Returns whether it did.
    pub(crate) fn data_unless_empty(
        &mut self,
        key: &str,
        write: impl FnOnce(&mut DataWriter<'_>),
    ) -> bool {
        let (start, was_open) = (self.bytes.len(), self.is_open);
        let mut wrote = false;
        self.data_with(Some(key), |data| {
            let before = data.bytes.len();
            write(data);
            wrote = data.bytes.len() > before;
        });
        if !wrote {
            self.bytes.truncate(start);
            self.is_open = was_open;
        }
        wrote
    }

    pub(crate) fn retry_field(&mut self, retry: Retry) {
        let mut digits = itoa::Buffer::new();
        self.field("retry: ", |bytes| {
            bytes.extend_from_slice(digits.format(retry.millis()).as_bytes());
        });
    }

    /// Appends a bookmark: an id of the server's, without an event, or with one of this name that
    /// has no data.
    pub(crate) fn push_bookmark(&mut self, id: impl fmt::Display, event: Option<&EventName<'_>>) {
        self.dispatch();
        if let Some(name) = event {
            self.event(name);
            self.data("");
        }
        // Writing to memory does not fail.
        let _infallible = writeln!(self.bytes, "id: {id}\n");
        self.is_open = false;
    }

    /// Appends all events of another buffer.
    pub(crate) fn push_all(&mut self, events: &Self) {
        self.dispatch();
        self.bytes.extend_from_slice(&events.bytes);
        self.has_id |= events.has_id;
    }

    /// True if an event may contain its sender's own id.
    pub(crate) fn has_id(&self) -> bool {
        self.has_id
    }

    /// Number of bytes written.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Discards all bytes and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.truncate(0);
        self.forget_id();
    }

    /// Marks that no event with its own id is left.
    pub(crate) fn forget_id(&mut self) {
        self.has_id = false;
    }

    /// Bytes allocated.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Discards the bytes from `len` on, for events that are not sent after all. `len` is between
    /// two events: a result of [`len`](Self::len) before a `push`.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
        self.is_open = false;
    }

    /// The raw bytes, to add framing around complete events.
    pub(crate) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        debug_assert!(!self.is_open, "framing goes around whole events");
        &mut self.bytes
    }

    /// Panics, and leaves as many bytes as before, because callers rely on the length: a comment,
    /// which stays one wherever its start is cut off.
    #[cold]
    fn was_replaced(&mut self, length: usize, has_id: bool) -> ! {
        self.bytes.clear();
        self.bytes.resize(length, b':');
        if let Some(last) = self.bytes.last_mut() {
            *last = b'\n';
        }
        (self.is_open, self.has_id) = (false, has_id);
        panic!("an Encode must append to the given EventBuffer, not replace it");
    }

    fn dispatch(&mut self) {
        if self.is_open {
            self.bytes.push(b'\n');
            self.is_open = false;
        }
    }

    fn field(&mut self, start: &str, append_value: impl FnOnce(&mut Vec<u8>)) {
        self.is_open = true;
        self.bytes.extend_from_slice(start.as_bytes());
        append_value(&mut self.bytes);
        self.bytes.push(b'\n');
    }

    fn lines(&mut self, start: &str, key: &str, write: impl FnOnce(&mut DataWriter<'_>)) {
        let mut lines = DataWriter { bytes: &mut self.bytes, start, key, ended_with_cr: false };
        lines.start_line();
        write(&mut lines);
        self.bytes.push(b'\n');
    }
}

impl fmt::Debug for EventBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventBuffer(\"{}\")", self.bytes.escape_ascii())
    }
}

/// Writes data in pieces; see [`EventBuffer::data_with`].
///
/// ```
/// use starwheel::EventBuffer;
/// let mut out = EventBuffer::new();
/// out.data_with(None, |data| {
///     for row in ["<li>1</li>", "<li>2</li>"] {
///         data.push_str(row);
///         data.push_str("\n");
///     }
/// });
/// assert_eq!(out.as_bytes(), b"data: <li>1</li>\ndata: <li>2</li>\ndata: \n");
/// ```
///
/// Line ends are detected across pieces: a CRLF split over two pieces counts once.
pub struct DataWriter<'a> {
    bytes: &'a mut Vec<u8>,
    start: &'a str,
    key: &'a str,
    ended_with_cr: bool,
}

impl DataWriter<'_> {
    /// Appends a piece of data.
    pub fn push_str(&mut self, piece: &str) {
        if piece.is_empty() {
            return;
        }
        let mut rest = piece.as_bytes();
        if self.ended_with_cr && rest[0] == b'\n' {
            rest = &rest[1..];
        }
        self.ended_with_cr = false;
        while let Some(end) = memchr2(b'\n', b'\r', rest) {
            self.bytes.extend_from_slice(&rest[..end]);
            self.bytes.push(b'\n');
            self.start_line();
            let is_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
            if is_cr {
                match rest.first() {
                    Some(b'\n') => rest = &rest[1..],
                    Some(_) => {}
                    None => self.ended_with_cr = true,
                }
            }
        }
        self.bytes.extend_from_slice(rest);
    }

    fn start_line(&mut self) {
        self.bytes.extend_from_slice(self.start.as_bytes());
        if !self.key.is_empty() {
            self.bytes.extend_from_slice(self.key.as_bytes());
            self.bytes.push(b' ');
        }
    }
}

impl fmt::Write for DataWriter<'_> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        self.push_str(piece);
        Ok(())
    }

    /// Padding and escapes come one character at a time: no search for line ends needed.
    fn write_char(&mut self, c: char) -> fmt::Result {
        let mut bytes = [0; 4];
        let piece = c.encode_utf8(&mut bytes);
        match c {
            '\n' | '\r' => self.push_str(piece),
            _ => {
                self.ended_with_cr = false;
                self.bytes.extend_from_slice(piece.as_bytes());
            }
        }
        Ok(())
    }
}

impl fmt::Debug for DataWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataWriter").field("key", &self.key).finish_non_exhaustive()
    }
}

fn first_line(text: &str) -> &str {
    text.split(['\n', '\r']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn text(out: &EventBuffer) -> &str {
        std::str::from_utf8(out.as_bytes()).unwrap()
    }

    #[test]
    fn pieces_are_split_like_the_whole() {
        let whole = "\r\n\r\r\n\na\r\nb\n\rc\r";
        let mut expected = EventBuffer::new();
        expected.data(whole);
        for first in 0..=whole.len() {
            for second in first..=whole.len() {
                let mut out = EventBuffer::new();
                out.data_with(None, |data| {
                    for piece in [&whole[..first], "", &whole[first..second], &whole[second..]] {
                        data.write_str(piece).unwrap();
                    }
                });
                assert_eq!(text(&out), text(&expected), "split at {first} and {second}");
                let mut out = EventBuffer::new();
                out.data_with(None, |data| {
                    data.write_str(&whole[..first]).unwrap();
                    whole[first..second].chars().for_each(|c| data.write_char(c).unwrap());
                    data.write_str(&whole[second..]).unwrap();
                });
                assert_eq!(text(&out), text(&expected), "characters from {first} to {second}");
            }
        }
    }

    #[test]
    fn data_that_wrote_nothing_can_be_taken_back() {
        let mut out = EventBuffer::new();
        assert!(!out.data_unless_empty("elements", |_| {}));
        assert_eq!(out.len(), 0);
        out.push("");
        out.push("a");
        assert_eq!(text(&out), "data: \n\ndata: a\n\n", "nothing was open");
        assert!(out.data_unless_empty("elements", |data| data.push_str("\n")));
        assert!(text(&out).ends_with("data: elements \ndata: elements \n"));
    }

    #[test]
    fn a_truncated_event_leaves_no_trace() {
        let mut out = EventBuffer::new();
        out.push("kept");
        let end = out.len();
        out.data("half an event");
        out.truncate(end);
        out.push("next");
        assert_eq!(text(&out), "data: kept\n\ndata: next\n\n");
        out.clear();
        out.bytes_mut().extend_from_slice(b"c\r\n");
        assert_eq!(out.into_bytes(), b"c\r\n");
    }
}
