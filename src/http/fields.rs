//! Header fields: the bytes allowed in names and values, and encoded header lines.
//!
//! It knows no request and no response; both use it.

use std::{fmt, iter};

use crate::error::Logged;

/// Encoded header lines of a response, each validated and ended by CRLF.
///
/// Used by responses and streams. An invalid line is not added. It is logged and remembered, so
/// that the owner can answer 500: a response is never split.
#[derive(Debug, Clone, Default)]
pub(crate) struct HeaderLines {
    lines: Vec<u8>,
    fault: Option<HeaderFault>,
}

impl HeaderLines {
    pub(crate) const fn new() -> Self {
        Self { lines: Vec::new(), fault: None }
    }

    /// No lines, and a known fault.
    pub(super) const fn with_fault(fault: HeaderFault) -> Self {
        Self { lines: Vec::new(), fault: Some(fault) }
    }

    /// Adds `name: value`. White space around the value is trimmed.
    pub(crate) fn push(&mut self, name: &str, value: &str) {
        let value = trim(value.as_bytes());
        if let Some(fault) = HeaderFault::of(name, value) {
            self.refuse(name, fault);
            return;
        }
        self.lines.reserve(name.len() + value.len() + 4);
        self.lines.extend_from_slice(name.as_bytes());
        self.lines.extend_from_slice(b": ");
        self.lines.extend_from_slice(value);
        self.lines.extend_from_slice(b"\r\n");
    }

    /// Adds lines that were validated before.
    pub(super) fn append(&mut self, other: &Self) {
        self.lines.extend_from_slice(&other.lines);
    }

    /// Adds the lines of an earlier layer. A field that is set already keeps its value, except those
    /// that are lists or may repeat.
    pub(crate) fn append_missing(&mut self, earlier: &Self) {
        self.fault = self.fault.or(earlier.fault);
        let mut missing = Vec::new();
        for line in earlier.text().split_inclusive("\r\n") {
            let Some((name, _)) = line.split_once(": ") else { continue };
            let repeats = REPEATED.iter().any(|it| name.eq_ignore_ascii_case(it));
            if repeats || self.value(name).is_none() {
                missing.extend_from_slice(line.as_bytes());
            }
        }
        // Only now, because a layer may have set several lines of one field.
        self.lines.append(&mut missing);
    }

    /// Whether only this crate sets the field.
    #[cfg(feature = "hyper")]
    pub(crate) fn is_reserved(name: &str) -> bool {
        HeaderFault::of(name, b"") == Some(HeaderFault::Reserved)
    }

    /// Remembers that `name` cannot be sent.
    pub(super) fn refuse(&mut self, name: &str, fault: HeaderFault) {
        log::error!("the response header {} is not sent: {fault}", Logged(name));
        self.fault.get_or_insert(fault);
    }

    /// The first fault. With a fault the response must become a 500.
    pub(crate) const fn fault(&self) -> Option<HeaderFault> {
        self.fault
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.lines
    }

    /// The first value of `name`, case-insensitive.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// The values of all lines with `name`, case-insensitive.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let lines = self.text().split_terminator("\r\n").filter_map(|line| line.split_once(": "));
        lines.filter(move |(sent, _)| sent.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Puts `prefix` before the values of `name` that `is_due` selects.
    pub(super) fn prefix_values(
        &mut self,
        name: &str,
        prefix: &str,
        is_due: impl Fn(&str) -> bool,
    ) {
        debug_assert!(prefix.bytes().all(is_value_byte));
        let mut lines = Vec::with_capacity(self.lines.len() + prefix.len());
        for line in self.text().split_inclusive("\r\n") {
            match line.split_once(": ") {
                Some((sent, value)) if sent.eq_ignore_ascii_case(name) && is_due(value) => {
                    let parts = [sent, ": ", prefix, value];
                    parts.iter().for_each(|part| lines.extend_from_slice(part.as_bytes()));
                }
                _ => lines.extend_from_slice(line.as_bytes()),
            }
        }
        self.lines = lines;
    }

    fn text(&self) -> &str {
        // Names and values came as text.
        std::str::from_utf8(&self.lines).unwrap_or_default()
    }
}

/// Fields of which a response may have several: two layers may each add one.
/// Of several content security policies, browsers obey all: dropping one would loosen another.
const REPEATED: [&str; 6] = [
    "Content-Security-Policy",
    "Content-Security-Policy-Report-Only",
    "Link",
    "Server-Timing",
    "Set-Cookie",
    "Vary",
];

/// Why a header line must not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// The name is not a token (RFC 9110 section 5.1).
    Name,
    /// The value contains a control character (RFC 9110 section 5.5); a line end would split the response.
    Value,
    /// The field describes the framing of the response, which only this crate knows.
    Reserved,
}

impl HeaderFault {
    /// What is wrong with a line, if anything.
    pub(super) fn of(name: &str, value: &[u8]) -> Option<Self> {
        if !is_token(name.as_bytes()) {
            return Some(Self::Name);
        }
        if !value.iter().copied().all(is_value_byte) {
            return Some(Self::Value);
        }
        let is_reserved = RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved));
        is_reserved.then_some(Self::Reserved)
    }
}

impl fmt::Display for HeaderFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "its name is not a token",
            Self::Value => "its value contains a control character",
            Self::Reserved => "the library sets this header",
        })
    }
}

/// Names that only this crate sets: framing, connection handling, and related fields.
const RESERVED: [&str; 9] = [
    "Connection",
    "Content-Length",
    "Content-Type",
    "Date",
    "Keep-Alive",
    "Trailer",
    "TE",
    "Transfer-Encoding",
    "Upgrade",
];

/// `1*tchar` (RFC 9110 section 5.6.2).
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().copied().all(is_token_byte)
}

/// `tchar` (RFC 9110 section 5.6.2).
pub(super) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// What a field value may contain: all but control characters (RFC 9110 section 5.5).
pub(super) const fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// The non-empty members of a comma-separated list (RFC 9110 section 5.6.1). A comma in a quoted
/// string (section 5.6.4) is part of its member.
pub(super) fn list_members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    let members = iter::from_fn(move || {
        let list = rest?;
        let end = member_end(list);
        rest = list.get(end + 1..);
        Some(trim(&list[..end]))
    });
    members.filter(|member| !member.is_empty())
}

/// The position of the first comma outside of quotes, else the end.
fn member_end(list: &[u8]) -> usize {
    // Lists with quotes are rare, and this runs for each request.
    match memchr::memchr2(b',', b'"', list) {
        Some(at) if list[at] == b'"' => at + quoted_member_end(&list[at..]),
        Some(comma) => comma,
        None => list.len(),
    }
}

/// The same from the first quote on.
fn quoted_member_end(list: &[u8]) -> usize {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let ends = |&byte: &u8| {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_quoted,
            b'"' => is_quoted = !is_quoted,
            b',' => return !is_quoted,
            _ => {}
        }
        false
    };
    list.iter().position(ends).unwrap_or(list.len())
}

/// Removes the white space around a field value: space and tab, nothing else (RFC 9110 section
/// 5.6.3).
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_encoded_and_found_again() {
        let mut lines = HeaderLines::new();
        lines.push("X-One", " 1 ");
        lines.push("Set-Cookie", "a=ä: b");
        assert_eq!(lines.as_bytes(), "X-One: 1\r\nSet-Cookie: a=ä: b\r\n".as_bytes());
        assert_eq!(lines.value("set-cookie"), Some("a=ä: b"));
        assert_eq!(lines.value("x-two"), None);
        assert_eq!(lines.fault(), None);
    }

    #[test]
    fn a_line_that_would_split_the_response_is_not_added() {
        let refused = [
            ("X", "a\r\nSet-Cookie: b", HeaderFault::Value),
            ("X", "a\nb", HeaderFault::Value),
            ("X", "\0", HeaderFault::Value),
            ("X\r\nY", "a", HeaderFault::Name),
            ("X:", "a", HeaderFault::Name),
            ("", "a", HeaderFault::Name),
            ("X Y", "a", HeaderFault::Name),
            ("content-length", "0", HeaderFault::Reserved),
            ("Transfer-Encoding", "chunked", HeaderFault::Reserved),
        ];
        for (name, value, fault) in refused {
            let mut lines = HeaderLines::new();
            lines.push(name, value);
            lines.push("X-Fine", "1");
            assert_eq!(lines.fault(), Some(fault), "{name:?}: {value:?}");
            assert_eq!(lines.as_bytes(), b"X-Fine: 1\r\n");
        }
    }
}
