//! A parser of event streams written from WHATWG HTML 9.2.5 and 9.2.6.
//!
//! It shares no code with the encoder. Bytes go in as they arrive, cut anywhere; what a browser
//! would dispatch or obey comes out.

/// An event as a browser would dispatch it.
///
/// ```
/// let event = &starwheel::testing::EventParser::read(b"id: 7\ndata: hello\n\n").events[0];
/// assert_eq!((event.name.as_str(), event.data.as_str()), ("message", "hello"));
/// assert_eq!(event.last_event_id, "7");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "tests compare it with what they expect")]
pub struct ParsedEvent {
    /// The type; `message` when the stream gave none.
    pub name: String,
    /// The lines of data, joined by LF.
    pub data: String,
    /// The current id, from this event or an earlier one.
    pub last_event_id: String,
}

/// Parses an event stream in pieces of any size. The results are in the public fields.
///
/// ```
/// use starwheel::testing::EventParser;
/// let mut parser = EventParser::default();
/// parser.feed(b": a comment\nda");
/// parser.feed(b"ta: in two pieces\n\n");
/// assert_eq!(parser.events[0].data, "in two pieces");
/// assert_eq!(parser.comments, [" a comment"]);
/// ```
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct EventParser {
    /// What a browser would have dispatched.
    pub events: Vec<ParsedEvent>,
    /// Every reconnection time that was set, in milliseconds.
    pub retries_ms: Vec<u64>,
    /// Every comment line, without its colon.
    pub comments: Vec<String>,
    /// Fields that clients ignore because they do not know them, as `(name, value)`.
    pub unknown_fields: Vec<(String, String)>,
    line: Vec<u8>,
    ended_with_cr: bool,
    is_past_first_line: bool,
    data: String,
    event_type: String,
    /// The last `id` field; takes effect at the next blank line.
    id_buffer: String,
    last_event_id: String,
}

impl EventParser {
    /// Parses a complete stream.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        let mut parser = Self::default();
        parser.feed(bytes);
        parser
    }

    /// The `Last-Event-ID` that a client cut here sends when it reconnects; empty if none. An id
    /// takes effect at the blank line, even without data.
    ///
    /// ```
    /// let mut parser = starwheel::testing::EventParser::read(b"id: 7\ndata: x\n\nid: 8\n");
    /// assert_eq!(parser.last_event_id(), "7");
    /// parser.feed(b"\n");
    /// assert_eq!((parser.last_event_id(), parser.events.len()), ("8", 1));
    /// ```
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// Parses the next bytes of the stream. A line counts once its end has been read. At the end of
    /// the stream, an unfinished line and an event without its blank line are dropped.
    pub fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let is_rest_of_crlf = self.ended_with_cr && byte == b'\n';
            self.ended_with_cr = byte == b'\r';
            match byte {
                _ if is_rest_of_crlf => {}
                b'\r' | b'\n' => self.end_line(),
                _ => self.line.push(byte),
            }
        }
    }

    fn end_line(&mut self) {
        let bytes = std::mem::take(&mut self.line);
        let mut bytes = bytes.as_slice();
        if !self.is_past_first_line {
            self.is_past_first_line = true;
            bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
        }
        let line = String::from_utf8_lossy(bytes);
        if line.is_empty() {
            return self.dispatch();
        }
        if let Some(comment) = line.strip_prefix(':') {
            return self.comments.push(comment.to_owned());
        }
        match line.split_once(':') {
            Some((field, value)) => self.field(field, value.strip_prefix(' ').unwrap_or(value)),
            None => self.field(&line, ""),
        }
    }

    fn field(&mut self, field: &str, value: &str) {
        match field {
            "event" => value.clone_into(&mut self.event_type),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if value.contains('\0') => {}
            "id" => value.clone_into(&mut self.id_buffer),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retries_ms.push(value.parse().expect("a retry that fits 64 bits"));
            }
            _ => self.unknown_fields.push((field.to_owned(), value.to_owned())),
        }
    }

    fn dispatch(&mut self) {
        self.id_buffer.clone_into(&mut self.last_event_id);
        let name = std::mem::take(&mut self.event_type);
        let mut data = std::mem::take(&mut self.data);
        if data.is_empty() {
            return;
        }
        assert_eq!(data.pop(), Some('\n'));
        self.events.push(ParsedEvent {
            name: if name.is_empty() { "message".to_owned() } else { name },
            data,
            last_event_id: self.last_event_id.clone(),
        });
    }
}
