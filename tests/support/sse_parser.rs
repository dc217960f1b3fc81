//! A reader of event streams written from WHATWG HTML 9.2.5 and 9.2.6, for tests.
//!
//! It shares no code and no thought with the encoder. Bytes go in as they arrive, cut anywhere;
//! what a browser would dispatch or obey comes out.

/// An event as a browser would dispatch it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dispatched {
    pub(crate) name: String,
    pub(crate) data: String,
    pub(crate) last_event_id: String,
}

/// What a reader of event streams makes of the line ends in `text`.
pub(crate) fn normalised(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// The state of one stream. What has been read is in the public fields.
#[derive(Debug, Default)]
pub(crate) struct SseParser {
    pub(crate) events: Vec<Dispatched>,
    /// Every reconnection time that was set, in milliseconds.
    pub(crate) retries_ms: Vec<u64>,
    /// Every comment line, without its colon.
    pub(crate) comments: Vec<String>,
    /// Fields that clients ignore because they do not know them, as `(name, value)`.
    pub(crate) unknown_fields: Vec<(String, String)>,
    line: Vec<u8>,
    ended_with_cr: bool,
    is_past_first_line: bool,
    data: String,
    event_type: String,
    last_event_id: String,
}

impl SseParser {
    /// Reads a whole stream at once.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let mut parser = Self::default();
        parser.feed(bytes);
        parser
    }

    /// Reads the next bytes of the stream. A line counts once its end was read; at the end of
    /// the stream an unfinished line and an event without its blank line are dropped.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
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
            "id" => value.clone_into(&mut self.last_event_id),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retries_ms
                    .push(value.parse().expect("a retry that fits 64 bits"));
            }
            _ => self
                .unknown_fields
                .push((field.to_owned(), value.to_owned())),
        }
    }

    fn dispatch(&mut self) {
        let name = std::mem::take(&mut self.event_type);
        let mut data = std::mem::take(&mut self.data);
        if data.is_empty() {
            return;
        }
        assert_eq!(data.pop(), Some('\n'));
        self.events.push(Dispatched {
            name: if name.is_empty() {
                "message".to_owned()
            } else {
                name
            },
            data,
            last_event_id: self.last_event_id.clone(),
        });
    }
}
