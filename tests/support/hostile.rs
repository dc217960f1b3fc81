//! Text chosen to break a line-based format, for property tests.

use proptest::{collection::vec, prelude::*};

/// Text of up to 40 pieces, most of which mean something to a reader of event streams, of HTML,
/// of JavaScript or of JSON.
pub(crate) fn text() -> impl Strategy<Value = String> {
    vec(piece(), 0..40).prop_map(|pieces| pieces.concat())
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => proptest::sample::select(PIECES).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
        1 => "[a-z ]{0,8}",
    ]
}

const PIECES: &[&str] = &[
    "\r",
    "\n",
    "\r\n",
    "\n\n",
    "\r\r",
    "\n\r",
    "\0",
    "\u{feff}",
    "\u{2028}",
    "\u{2029}",
    "\u{85}",
    "\u{b}",
    "\u{c}",
    "\t",
    " ",
    ":",
    "data: x",
    "data:",
    "event: evil",
    "id: 1",
    "id",
    "retry: 0",
    ": comment",
    "elements ",
    "signals {}",
    "\"",
    "'",
    "\\",
    "&",
    "<",
    ">",
    "</script>",
    "</ScRiPt",
    "<!--",
    "<script",
    "-->",
    "</body>",
    "{",
    "}",
    "null",
    "\u{1f600}",
    "é",
    "漢",
    "\u{10ffff}",
];

#[allow(dead_code, reason = "not every test file needs all of it")]
/// The line ends in `text` as a parser of event streams normalizes them.
pub(crate) fn normalised(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}
