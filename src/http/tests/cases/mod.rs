//! The table of framing cases: bytes, expected result, and source.
//!
//! Sources: RFC 9110, 9112 and 3986 by section, and publications of other projects and researchers:
//! the tests of llhttp (`test/request/*.md`), Http11Probe by test name, issues and pull requests by
//! number, advisories (CVE, GHSA, RUSTSEC), "HTTP desync attacks" (Kettle, 2019), "HTTP/1.1 must
//! die" (Kettle, 2025), "Funky chunks" (2025). The bytes are our own. *Strict* marks input that
//! could be accepted, but is still doubtful.

mod chunks;
mod fields;
mod lengths;
mod lines;

/// Bytes, expected result, and source. `HOST` is replaced by a valid Host field; characters up to
/// U+00FF are single bytes.
pub(crate) type Case = (&'static str, Expect, &'static str);

/// The expected result of one case.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// One request with this body, and nothing left over.
    Body(&'static [u8]),
    /// Refused with this status.
    Status(u16),
}

/// Every case: its bytes, expected result, and a name to show.
pub(crate) fn all() -> impl Iterator<Item = (Vec<u8>, &'static Expect, String)> {
    let whole = [lines::CASES, fields::CASES, lengths::CASES].into_iter().flatten();
    let whole = whole
        .map(|(text, expect, source)| (bytes_of(text), expect, format!("{text:?} ({source})")));
    let chunked = chunks::CASES.iter().map(|(text, expect, source)| {
        let head = "POST / HTTP/1.1\r\nHOST\r\nTransfer-Encoding: chunked\r\n\r\n";
        (bytes_of(&[head, text].concat()), expect, format!("chunked {text:?} ({source})"))
    });
    whole.chain(chunked)
}

fn bytes_of(case: &str) -> Vec<u8> {
    let case = case.replace("HOST", "Host: a.example:8080");
    case.chars().map(|c| u8::try_from(c).expect("one byte per character")).collect()
}
