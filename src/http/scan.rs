//! Finds the end of a head in bytes that come in any pieces.
//!
//! It knows lines, not fields; `head` parses the lines. It stops at the first line end that is not
//! CRLF. A head can therefore end in only one way, and no two parsers can disagree about its end
//! (RFC 9112 section 2.2 permits accepting a bare LF; doubt is refused here).

use super::{Refusal, fields::is_token_byte};
use crate::Limits;

/// State of the search for the end of one head. No byte is examined twice.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    /// Bytes of empty lines dropped before the request line; part of the head's limit.
    skipped_bytes: usize,
    /// Everything before this was searched.
    searched: usize,
    line_start: usize,
    lines: usize,
}

impl HeadScan {
    pub(super) const fn new(skipped_bytes: usize) -> Self {
        Self { skipped_bytes, searched: 0, line_start: 0, lines: 0 }
    }

    pub(super) const fn skipped_bytes(&self) -> usize {
        self.skipped_bytes
    }

    /// Number of header fields in the head whose end was found, without the request line.
    pub(super) const fn field_count(&self) -> usize {
        self.lines.saturating_sub(1)
    }

    /// The length of the head, including its final empty line, or `None` when `bytes` holds only a
    /// part of it.
    ///
    /// `bytes` starts with the same bytes at every call and may only have grown. Empty lines before
    /// the request line are removed from its start.
    pub(super) fn find_end(
        &mut self,
        bytes: &mut &[u8],
        limits: &Limits,
    ) -> Result<Option<usize>, Refusal> {
        let limit_bytes = head_limit_bytes(limits);
        if self.lines == 0 {
            // RFC 9112 section 2.2: a robust server skips them, because old clients sent a CRLF
            // after a body.
            while let Some(rest) = bytes.strip_prefix(b"\r\n") {
                *bytes = rest;
                self.skipped_bytes += 2;
                if self.skipped_bytes > limit_bytes {
                    return Err(Refusal::EMPTY_LINES);
                }
            }
            match bytes.first() {
                Some(b'\n') => return Err(Refusal::BARE_LF),
                // Refused immediately, so that a TLS client need not wait for the timeout.
                Some(&first) if first != b'\r' && !is_token_byte(first) => {
                    return Err(Refusal::NOT_HTTP);
                }
                _ => {}
            }
        }
        let room_bytes = limit_bytes.saturating_sub(self.skipped_bytes);
        if room_bytes == 0 && !bytes.is_empty() {
            return Err(Refusal::EMPTY_LINES);
        }
        let window = &bytes[..bytes.len().min(room_bytes)];
        if let Some(end) = self.find_empty_line(window, limits)? {
            return Ok(Some(end));
        }
        match (bytes.len() > room_bytes, self.lines) {
            (false, _) => Ok(None),
            (true, 0) => Err(Refusal::TARGET_LENGTH),
            (true, _) => Err(Refusal::HEAD_LENGTH),
        }
    }

    fn find_empty_line(
        &mut self,
        window: &[u8],
        limits: &Limits,
    ) -> Result<Option<usize>, Refusal> {
        while let Some(found) = memchr::memchr2(b'\r', b'\n', &window[self.searched..]) {
            let at = self.searched + found;
            match (window[at], window.get(at + 1)) {
                (b'\n', _) => return Err(Refusal::BARE_LF),
                (_, Some(b'\n')) => {}
                (_, Some(_)) => return Err(Refusal::BARE_CR),
                (_, None) => {
                    self.searched = at;
                    return Ok(None);
                }
            }
            let is_empty = at == self.line_start;
            self.searched = at + 2;
            self.line_start = at + 2;
            if is_empty {
                return Ok(Some(at + 2));
            }
            self.lines += 1;
            if self.field_count() > limits.header_fields {
                return Err(Refusal::FIELD_COUNT);
            }
        }
        self.searched = window.len();
        Ok(None)
    }
}

/// Positions in a head have 32 bits, so higher limits are reduced to that.
pub(super) fn head_limit_bytes(limits: &Limits) -> usize {
    limits.head_bytes.min(u32::MAX as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searched_bytes_are_not_searched_again() {
        let head = b"GET /a/rather/long/target HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut scan = HeadScan::default();
        for end in 0..head.len() {
            let found = scan.find_end(&mut &head[..end], &Limits::default());
            assert_eq!(found, Ok(None));
            assert!(end - scan.searched <= 1, "only a last CR is looked at again");
        }
        assert_eq!(scan.find_end(&mut &head[..], &Limits::default()), Ok(Some(head.len())));
        assert_eq!(scan.field_count(), 1);
    }

    #[test]
    fn a_head_of_exactly_the_limit_fits_and_one_byte_more_does_not() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut limits = Limits { head_bytes: head.len(), ..Limits::default() };
        assert_eq!(HeadScan::default().find_end(&mut &head[..], &limits), Ok(Some(head.len())));
        limits.head_bytes -= 1;
        let refused = HeadScan::default().find_end(&mut &head[..], &limits);
        assert_eq!(refused, Err(Refusal::HEAD_LENGTH));
        limits.head_bytes = 15;
        let refused = HeadScan::default().find_end(&mut &head[..], &limits);
        assert_eq!(refused, Err(Refusal::TARGET_LENGTH));
    }

    #[test]
    fn empty_lines_count_towards_the_limit() {
        let limits = Limits { head_bytes: 8, ..Limits::default() };
        let refused = HeadScan::default().find_end(&mut &b"\r\n".repeat(5)[..], &limits);
        assert_eq!(refused, Err(Refusal::EMPTY_LINES));
    }
}
