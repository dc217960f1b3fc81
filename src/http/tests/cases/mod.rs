//! The table of framing cases: bytes, what happens, and where that is written.
//!
//! Sources: RFC 9110, 9112 and 3986 by section, and what other projects and researchers have
//! published: the tests of llhttp (`test/request/*.md`), Http11Probe by test name, issues and pull
//! requests by number, advisories (CVE, GHSA, RUSTSEC), "HTTP desync attacks" (Kettle, 2019), "HTTP/1.1
//! must die" (Kettle, 2025), "Funky chunks" (2025). The bytes are our own. *Strict* marks what may be
//! taken as well, but is a doubt all the same.

mod chunks;
mod fields;
mod lengths;
mod lines;

/// Bytes, what happens, and where that is written. `HOST` stands for a valid Host field; characters
/// up to U+00FF stand for single bytes.
pub(crate) type Case = (&'static str, Expect, &'static str);

/// What happens to one case.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// One request with this body, and nothing left over.
    Body(&'static [u8]),
    /// Refused with this status.
    Status(u16),
}

/// Every case: its bytes, what happens, and a name to show.
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
