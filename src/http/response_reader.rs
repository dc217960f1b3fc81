//! Reads back a response that this crate has written, for servers that pass it on.

use http_types::{self as http, HeaderMap, HeaderName, HeaderValue};
use httparse::Status;

use crate::{
    Limits,
    http::{
        Refusal,
        body::{BodyReader, Fill},
        head::Framing,
    },
};

/// The reader of one response. It trusts the writer, so nothing is limited.
#[derive(Debug)]
pub(crate) struct ResponseReader {
    /// The head as far as it is here.
    head: Vec<u8>,
    body: BodyState,
    limits: Limits,
}

#[derive(Debug)]
enum BodyState {
    /// The head is not complete.
    Ahead,
    Framed(BodyReader),
    UntilClose,
    Complete,
}

/// The response is not what this crate writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Whether the head of the response has a body after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyFollows {
    Yes,
    /// The request was a HEAD.
    No,
}

impl ResponseReader {
    pub(crate) fn new() -> Self {
        let limits = Limits {
            body_bytes: usize::MAX,
            chunk_overhead_bytes: usize::MAX,
            ..Limits::default()
        };
        Self { head: Vec::new(), body: BodyState::Ahead, limits }
    }

    /// Takes bytes until the head is complete; then the rest of `input` belongs to the body. Fields
    /// of the connection are left out.
    pub(crate) fn take_head(
        &mut self,
        input: &mut &[u8],
        body_follows: BodyFollows,
    ) -> Result<Option<http::Response<()>>, Malformed> {
        // The end may lie across two pieces.
        let searched = self.head.len().saturating_sub(END_OF_HEAD.len() - 1);
        let known = self.head.len();
        self.head.extend_from_slice(input);
        let Some(at) = memchr::memmem::find(&self.head[searched..], END_OF_HEAD) else {
            *input = &[];
            return Ok(None);
        };
        let end = searched + at + END_OF_HEAD.len();
        *input = &input[end - known..];
        self.head.truncate(end);
        let response = parse(&std::mem::take(&mut self.head)).ok_or(Malformed)?;
        self.body = match body_follows {
            BodyFollows::No => BodyState::Complete,
            BodyFollows::Yes => self.framing_of(&response)?,
        };
        let mut response = response;
        for name in [http::header::CONNECTION, http::header::TRANSFER_ENCODING] {
            response.headers_mut().remove(name);
        }
        Ok(Some(response))
    }

    fn framing_of(&self, response: &http::Response<()>) -> Result<BodyState, Malformed> {
        let headers = response.headers();
        let status = response.status();
        let framing = if headers.contains_key(http::header::TRANSFER_ENCODING) {
            Framing::Chunked
        } else if let Some(length) = headers.get(http::header::CONTENT_LENGTH) {
            let length = length.to_str().ok().and_then(|text| text.parse().ok());
            Framing::Length(length.ok_or(Malformed)?)
        } else if status == http::StatusCode::NO_CONTENT || status == http::StatusCode::NOT_MODIFIED
        {
            return Ok(BodyState::Complete);
        } else {
            return Ok(BodyState::UntilClose);
        };
        let is_empty = framing == Framing::Length(0) || status == http::StatusCode::NOT_MODIFIED;
        match BodyReader::new(framing, &self.limits) {
            Ok(_) if is_empty => Ok(BodyState::Complete),
            Ok(reader) => Ok(BodyState::Framed(reader)),
            Err(_) => Err(Malformed),
        }
    }

    /// Appends the body bytes of `input` to `body`, without their framing.
    pub(crate) fn take_body(
        &mut self,
        mut input: &[u8],
        body: &mut Vec<u8>,
    ) -> Result<(), Malformed> {
        match &mut self.body {
            BodyState::Framed(reader) => {
                // The limits are about the whole body, which this is not.
                match reader.take(&mut input, body, &self.limits).map_err(|_: Refusal| Malformed)? {
                    Fill::Open => {}
                    Fill::Complete => self.body = BodyState::Complete,
                }
            }
            BodyState::UntilClose => body.extend_from_slice(input),
            BodyState::Ahead | BodyState::Complete => {}
        }
        Ok(())
    }

    pub(crate) fn is_complete(&self) -> bool {
        matches!(self.body, BodyState::Complete)
    }

    /// The connection has ended; false if the response was cut.
    pub(crate) fn may_end(&self) -> bool {
        matches!(self.body, BodyState::UntilClose | BodyState::Complete)
    }
}

fn parse(head: &[u8]) -> Option<http::Response<()>> {
    let lines = memchr::memchr_iter(b'\n', head).count();
    let mut room = vec![httparse::EMPTY_HEADER; lines];
    let mut parsed = httparse::Response::new(&mut room);
    let Ok(Status::Complete(_)) = parsed.parse(head) else { return None };
    let mut response = http::Response::new(());
    *response.status_mut() = http::StatusCode::from_u16(parsed.code?).ok()?;
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    for field in parsed.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    *response.headers_mut() = headers;
    Some(response)
}

const END_OF_HEAD: &[u8] = b"\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads it in pieces, as far as it is there: status, body, and whether it may end there.
    fn read(pieces: &[&[u8]], follows: BodyFollows) -> Option<(u16, Vec<u8>, bool)> {
        let (mut reader, mut status, mut body) = (ResponseReader::new(), None, Vec::new());
        for piece in pieces {
            let mut input = *piece;
            if status.is_none() {
                let head = reader.take_head(&mut input, follows).expect("a head of ours");
                status = head.map(|head| head.status().as_u16());
            }
            reader.take_body(input, &mut body).expect("a body of ours");
        }
        Some((status?, body, reader.may_end()))
    }

    #[test]
    fn a_response_may_come_in_any_pieces_and_a_cut_is_seen() {
        use BodyFollows::{No, Yes};
        let all = [
            (
                "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n",
                Yes,
            ),
            ("200 OK\r\nX: \r\nContent-Length: 13\r\n\r\nabc0123456789", Yes),
            ("200 OK\r\nX: \u{e4}\r\nContent-Length: 13\r\n\r\n", No),
            ("200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", No),
            ("304 Not Modified\r\nContent-Length: 13\r\n\r\n", Yes),
            ("204 No Content\r\n\r\n", Yes),
            ("404 Not Found\r\nContent-Length: 0\r\n\r\n", Yes),
        ];
        for (text, follows) in all {
            let bytes = [b"HTTP/1.1 ", text.as_bytes()].concat();
            let head_end = memchr::memmem::find(&bytes, END_OF_HEAD).unwrap() + END_OF_HEAD.len();
            let whole = read(&[&bytes], follows).unwrap();
            let has_body = whole.1 == b"abc0123456789";
            assert!(whole.2 && (has_body || bytes.len() == head_end), "{text}");
            for at in 0..bytes.len() {
                let (start, rest) = bytes.split_at(at);
                assert_eq!(read(&[start, rest], follows).as_ref(), Some(&whole), "{text} {at}");
                let cut = read(&[start], follows);
                assert_eq!(cut.is_some(), at >= head_end, "{text} {at}");
                assert!(!cut.is_some_and(|(_, _, may_end)| may_end), "{text} {at}");
            }
            let each: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(read(&each, follows), Some(whole), "{text}");
        }
        let until_close = read(&[b"HTTP/1.1 200 OK\r\n\r\nabc"], Yes);
        assert_eq!(until_close, Some((200, b"abc".to_vec(), true)));
    }
}
