//! One response of a server as it arrives in pieces: head, chunks, lines, stamped events.
//!
//! It knows no socket and no clock, and understands of an event only what the measurements need: the
//! send time that `data:` begins with. Compressed events it counts by their chunks. It keeps no
//! bytes of the body unless asked to.

/// A response that is being read. Feed it what arrives, in pieces of any size.
pub struct Response {
    state: State,
    body: Body,
}

/// What is looked for in the body.
enum Body {
    Stamps(Events),
    Chunks,
    /// Chunks, and all their bytes are kept.
    Copy(Vec<u8>),
}

#[derive(Debug, PartialEq, Eq)]
pub enum WireError {
    /// The head is malformed or longer than any head that a server of streams would send.
    Head,
    /// The status is not 200.
    Status(u16),
    /// A chunk's size line or end is malformed.
    Chunk,
}

enum State {
    Head(Vec<u8>),
    ChunkSize { size: u64, digits_over: bool },
    ChunkData { left: u64 },
    ChunkEnd,
    UntilClose,
    Ended,
}

impl Default for Response {
    fn default() -> Self {
        Self { state: State::Head(Vec::new()), body: Body::Stamps(Events::default()) }
    }
}

impl Response {
    /// A response of which each chunk is an event, with 0 as its stamp.
    pub fn of_chunks() -> Self {
        Self { state: State::Head(Vec::new()), body: Body::Chunks }
    }

    /// The same, and [`body`](Self::body) is all that the chunks held.
    pub fn of_kept_chunks() -> Self {
        Self { state: State::Head(Vec::new()), body: Body::Copy(Vec::new()) }
    }

    pub fn body(&self) -> &[u8] {
        match &self.body {
            Body::Copy(bytes) => bytes,
            Body::Stamps(_) | Body::Chunks => &[],
        }
    }

    /// True once the head was complete.
    pub fn has_head(&self) -> bool {
        !matches!(self.state, State::Head(_))
    }

    /// True once the last chunk arrived.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Takes the next bytes and calls `on_event` with the stamp of each event that they complete.
    pub fn feed(
        &mut self,
        mut bytes: &[u8],
        mut on_event: impl FnMut(u64),
    ) -> Result<(), WireError> {
        while let Some((&first, rest)) = bytes.split_first() {
            match &mut self.state {
                State::Head(head) => {
                    head.extend_from_slice(bytes);
                    let Some((length, body)) = parse_head(head)? else {
                        return Ok(());
                    };
                    let remaining = head.split_off(length);
                    self.state = body;
                    return self.feed(&remaining, on_event);
                }
                State::ChunkSize { size, digits_over } => {
                    bytes = rest;
                    match (first, char::from(first).to_digit(16)) {
                        (b'\n', _) if *size == 0 => self.state = State::Ended,
                        (b'\n', _) => self.state = State::ChunkData { left: *size },
                        (_, Some(digit)) if !*digits_over && *size < 1 << 56 => {
                            *size = *size * 16 + u64::from(digit)
                        }
                        (b'\r' | b';', _) => *digits_over = true,
                        _ if *digits_over => {}
                        _ => return Err(WireError::Chunk),
                    }
                }
                State::ChunkData { left } => {
                    let here = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    self.body.feed(&bytes[..here], &mut on_event);
                    bytes = &bytes[here..];
                    *left -= here as u64;
                    if *left == 0 {
                        self.state = State::ChunkEnd;
                    }
                }
                State::ChunkEnd => {
                    bytes = rest;
                    match first {
                        b'\r' => {}
                        b'\n' => {
                            self.state = State::ChunkSize { size: 0, digits_over: false };
                            self.body.end_chunk(&mut on_event);
                        }
                        _ => return Err(WireError::Chunk),
                    }
                }
                State::UntilClose => {
                    self.body.feed(bytes, &mut on_event);
                    return Ok(());
                }
                State::Ended => return Ok(()),
            }
        }
        Ok(())
    }
}

impl Body {
    fn feed(&mut self, bytes: &[u8], on_event: &mut impl FnMut(u64)) {
        match self {
            Self::Stamps(events) => events.feed(bytes, on_event),
            Self::Chunks => {}
            Self::Copy(kept) => kept.extend_from_slice(bytes),
        }
    }

    fn end_chunk(&mut self, on_event: &mut impl FnMut(u64)) {
        if !matches!(self, Self::Stamps(_)) {
            on_event(0);
        }
    }
}

/// The head's length and the state that its body begins in, or `None` while it is incomplete.
fn parse_head(head: &[u8]) -> Result<Option<(usize, State)>, WireError> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Response::new(&mut fields);
    let length = match parsed.parse(head) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if head.len() <= HEAD_BYTES_MAX => return Ok(None),
        _ => return Err(WireError::Head),
    };
    match parsed.code {
        Some(200) => {}
        code => return Err(WireError::Status(code.unwrap_or(0))),
    }
    let chunked = parsed.headers.iter().any(|field| {
        field.name.eq_ignore_ascii_case("transfer-encoding")
            && field.value.eq_ignore_ascii_case(b"chunked")
    });
    let body =
        if chunked { State::ChunkSize { size: 0, digits_over: false } } else { State::UntilClose };
    Ok(Some((length, body)))
}

/// The lines of the body. Only the beginning of a line is kept, and only as much as a stamp needs.
struct Events {
    start: [u8; STAMP_END],
    line_length: usize,
    stamp: Option<u64>,
}

impl Default for Events {
    fn default() -> Self {
        Self { start: [0; STAMP_END], line_length: 0, stamp: None }
    }
}

impl Events {
    fn feed(&mut self, mut bytes: &[u8], on_event: &mut impl FnMut(u64)) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            self.extend_line(&bytes[..end]);
            self.end_line(on_event);
            bytes = &bytes[end + 1..];
        }
        self.extend_line(bytes);
    }

    fn extend_line(&mut self, bytes: &[u8]) {
        if self.line_length < STAMP_END {
            let fits = bytes.len().min(STAMP_END - self.line_length);
            self.start[self.line_length..][..fits].copy_from_slice(&bytes[..fits]);
        }
        self.line_length += bytes.len();
    }

    fn end_line(&mut self, on_event: &mut impl FnMut(u64)) {
        let line = &self.start[..self.line_length.min(STAMP_END)];
        if line.is_empty() || line == b"\r" {
            if let Some(stamp) = self.stamp.take() {
                on_event(stamp);
            }
        } else if let Some(digits) = stamped(line) {
            self.stamp = self.stamp.or_else(|| parse_stamp(digits));
        }
        self.line_length = 0;
    }
}

/// What follows the beginning of a line of data, plain or of Datastar.
fn stamped(line: &[u8]) -> Option<&[u8]> {
    let data = line.strip_prefix(DATA)?;
    let digits = data.strip_prefix(ELEMENTS).unwrap_or(data);
    Some(&digits[..digits.len().min(STAMP_DIGITS)])
}

fn parse_stamp(digits: &[u8]) -> Option<u64> {
    if digits.len() != STAMP_DIGITS {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, &digit| match digit {
        b'0'..=b'9' => Some(value * 10 + u64::from(digit - b'0')),
        _ => None,
    })
}

const DATA: &[u8] = b"data: ";
const ELEMENTS: &[u8] = b"elements ";
/// Unix nanoseconds have 19 digits from 2001 to 2286, and then still fit in 64 bits.
const STAMP_DIGITS: usize = 19;
const STAMP_END: usize = DATA.len() + ELEMENTS.len() + STAMP_DIGITS;
const HEAD_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    const STAMP: u64 = 1_790_000_000_123_456_789;

    fn chunk(text: &str) -> String {
        format!("{:x}\r\n{text}\r\n", text.len())
    }

    /// Feeds `text` in pieces of `size` bytes.
    fn stamps_in_pieces(text: &str, size: usize) -> Result<Vec<u64>, WireError> {
        let (mut response, mut stamps) = (Response::default(), Vec::new());
        for piece in text.as_bytes().chunks(size) {
            response.feed(piece, |stamp| stamps.push(stamp))?;
        }
        Ok(stamps)
    }

    #[test]
    fn events_are_found_however_the_bytes_are_cut() {
        let event = format!("data: {STAMP} xxxx\n\n");
        let (front, back) = event.split_at(11);
        let text =
            [HEAD, &chunk(": hello\n\n"), &chunk(&event), &chunk(front), &chunk(back), "0\r\n\r\n"]
                .concat();
        for size in 1..=text.len() {
            assert_eq!(stamps_in_pieces(&text, size), Ok(vec![STAMP; 2]), "pieces of {size}");
        }
    }

    #[test]
    fn a_response_without_chunks_lasts_until_close() {
        let text = format!("HTTP/1.1 200 OK\r\n\r\nevent: a\r\ndata: {STAMP}\r\n\r\n");
        assert_eq!(stamps_in_pieces(&text, 7), Ok(vec![STAMP]));
    }

    #[test]
    fn stamps_of_datastar_events_count_too() {
        let text = format!(
            "HTTP/1.1 200 OK\r\n\r\nevent: datastar-patch-elements\ndata: elements {STAMP} x\n\n"
        );
        assert_eq!(stamps_in_pieces(&text, 5), Ok(vec![STAMP]));
    }

    #[test]
    fn only_complete_stamps_at_the_start_of_data_count() {
        let text = format!(
            "HTTP/1.1 200 OK\r\n\r\ndata: 12\n\ndata: x{STAMP}\n\nid: {STAMP}\n\ndata: {STAMP}\n"
        );
        assert_eq!(stamps_in_pieces(&text, 5), Ok(vec![]));
    }

    #[test]
    fn the_last_chunk_ends_the_response() {
        let mut response = Response::default();
        response.feed(format!("{HEAD}0\r\n").as_bytes(), |_| {}).unwrap();
        assert!(response.has_ended());
    }

    #[test]
    fn chunks_count_whatever_they_hold_and_may_be_kept() {
        let text = [HEAD, &chunk("one"), "00000003\r\ntwo\r\n"].concat();
        for size in 1..=text.len() {
            let (mut response, mut events) = (Response::of_kept_chunks(), 0);
            for piece in text.as_bytes().chunks(size) {
                response.feed(piece, |_| events += 1).unwrap();
            }
            assert_eq!((events, response.body()), (2, &b"onetwo"[..]), "pieces of {size}");
        }
        let mut response = Response::of_chunks();
        response.feed(text.as_bytes(), |_| {}).unwrap();
        assert_eq!(response.body(), b"");
    }

    #[test]
    fn refusals_and_nonsense_are_errors() {
        assert_eq!(stamps_in_pieces("HTTP/1.1 503 No\r\n\r\n", 9), Err(WireError::Status(503)));
        assert_eq!(stamps_in_pieces("SSH-2.0-x\r\n", 9), Err(WireError::Head));
        assert_eq!(stamps_in_pieces(&format!("{HEAD}zz\r\n"), 9), Err(WireError::Chunk));
        assert_eq!(stamps_in_pieces(&format!("{HEAD}1\r\nabc"), 9), Err(WireError::Chunk));
    }
}
