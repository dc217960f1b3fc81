//! Parses a response, as a client does.

use super::{EventParser, ParsedEvent};
use crate::http::Method;

/// One HTTP response as a client reads it.
///
/// ```
/// use starwheel::{Context, Request, Response, testing::Simulation};
/// let mut simulation = Simulation::new(|_: &Request, _: &mut Context<'_>| Response::text("hi"));
/// let client = simulation.get("/");
/// let answer = simulation.response(client);
/// assert_eq!((answer.status, answer.body.as_slice()), (200, &b"hi"[..]));
/// assert_eq!(answer.header("content-length"), Some("2"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientResponse {
    /// The status code.
    pub status: u16,
    /// Field names and values, in order.
    pub headers: Vec<(String, String)>,
    /// The body so far, without chunked framing.
    pub body: Vec<u8>,
    /// Whether the body is complete.
    pub end: BodyEnd,
    /// Bytes after a complete response.
    pub rest: Vec<u8>,
}

/// Whether a body is complete by its framing.
///
/// ```
/// use starwheel::{Context, Request, Sse, Ending, testing::{BodyEnd, Simulation}};
/// let mut simulation = Simulation::new(|request: &Request, _: &mut Context<'_>| {
///     let ending = if request.path() == "/done" { Ending::Finish } else { Ending::Drop };
///     Sse::new().send("last words").ending(ending)
/// });
/// let (done, cut) = (simulation.get("/done"), simulation.get("/cut"));
/// assert_eq!(simulation.response(done).end, BodyEnd::Complete);
/// assert_eq!(simulation.response(cut).end, BodyEnd::Open);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyEnd {
    /// All of `Content-Length`, or the last chunk, has arrived.
    Complete,
    /// More is expected, or was expected before the connection ended.
    Open,
}

impl ClientResponse {
    /// Parses the response at the start of `bytes` to a request with `method`; `None` while its
    /// head is incomplete.
    ///
    /// # Panics
    /// When it is not HTTP: that is what a test wants to know.
    ///
    /// ```
    /// use starwheel::{Method, testing::ClientResponse};
    /// let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 204";
    /// let answer = ClientResponse::parse(bytes, Method::Get).unwrap();
    /// assert_eq!(answer.text(), "hi");
    /// assert_eq!(ClientResponse::parse(&answer.rest, Method::Get), None);
    /// ```
    #[must_use]
    pub fn parse(bytes: &[u8], method: Method) -> Option<Self> {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut fields);
        let head_bytes = match head.parse(bytes) {
            Ok(httparse::Status::Complete(head_bytes)) => head_bytes,
            Ok(httparse::Status::Partial) => return None,
            Err(error) => panic!("{error} in {:?}", String::from_utf8_lossy(bytes)),
        };
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let mut answer = Self {
            status: head.code?,
            headers: head.headers.iter().map(|h| (h.name.to_owned(), text(h.value))).collect(),
            body: Vec::new(),
            end: BodyEnd::Open,
            rest: Vec::new(),
        };
        if method == Method::Head || answer.is_interim() {
            answer.end = BodyEnd::Complete;
            answer.rest = bytes[head_bytes..].to_vec();
        } else {
            answer.take_body(&bytes[head_bytes..]);
        }
        Some(answer)
    }

    /// The body as text.
    ///
    /// # Panics
    /// When it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body in UTF-8")
    }

    /// The events in the body, as a browser would dispatch them.
    #[must_use]
    pub fn events(&self) -> Vec<ParsedEvent> {
        EventParser::read(&self.body).events
    }

    /// The `Last-Event-ID` that a client cut here sends when it reconnects; empty if none.
    #[must_use]
    pub fn last_event_id(&self) -> String {
        EventParser::read(&self.body).last_event_id().to_owned()
    }

    /// True for 1xx responses such as `100 Continue`: the final response follows.
    #[must_use]
    pub fn is_interim(&self) -> bool {
        self.status < 200
    }

    /// The first field with this name, case-insensitive.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let field = self.headers.iter().find(|(field, _)| field.eq_ignore_ascii_case(name))?;
        Some(&field.1)
    }

    fn take_body(&mut self, bytes: &[u8]) {
        if self.header("transfer-encoding").is_some() {
            return self.take_chunks(bytes);
        }
        let length: Option<usize> = self.header("content-length").and_then(|n| n.parse().ok());
        let none = matches!(self.status, 204 | 304);
        let length = if none { Some(0) } else { length };
        let taken = length.unwrap_or(bytes.len()).min(bytes.len());
        self.body = bytes[..taken].to_vec();
        if length == Some(taken) {
            self.end = BodyEnd::Complete;
            self.rest = bytes[taken..].to_vec();
        }
    }

    fn take_chunks(&mut self, mut bytes: &[u8]) {
        while let Some((size, behind)) = chunk_size(bytes) {
            if behind.len() < size + 2 {
                // Events reach a client as they arrive, even from an unfinished chunk.
                self.body.extend_from_slice(&behind[..size.min(behind.len())]);
                return;
            }
            assert_eq!(&behind[size..size + 2], b"\r\n", "a chunk ends with CR LF");
            self.body.extend_from_slice(&behind[..size]);
            bytes = &behind[size + 2..];
            if size == 0 {
                self.end = BodyEnd::Complete;
                self.rest = bytes.to_vec();
                return;
            }
        }
    }
}

fn chunk_size(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let digits = std::str::from_utf8(&bytes[..end]).expect("a chunk header in ASCII");
    let size = usize::from_str_radix(digits, 16).expect("a hexadecimal chunk size");
    Some((size, &bytes[end + 2..]))
}
