//! Lone surrogates in JSON: half a character, which strings in JavaScript may contain and strings
//! in Rust may not.
//!
//! A page gets one by cutting a string in the middle of an emoji, and `JSON.stringify` writes it as
//! an escape (`"\ud83d"`). Where the web platform needs complete characters (`USVString`), it
//! replaces it by U+FFFD: WHATWG Infra, "convert to a scalar value string". This module does the
//! same.

/// The same JSON with `\ufffd` in place of each lone surrogate; `None` if it has none. Error
/// positions do not change, because the replacement has the same length.
pub(super) fn replace_lone_surrogates(json: &str) -> Option<String> {
    let mut replaced = None;
    let mut at = 0;
    while let Some(backslash) = json[at..].find('\\') {
        at += backslash;
        let rest = &json.as_bytes()[at..];
        match Unit::of_escape(rest) {
            Unit::Leading if matches!(Unit::of_escape(&rest[ESCAPE_BYTES..]), Unit::Trailing) => {
                at += 2 * ESCAPE_BYTES;
            }
            Unit::Leading | Unit::Trailing => {
                let text = replaced.get_or_insert_with(|| json.to_owned());
                text.replace_range(at..at + ESCAPE_BYTES, "\\ufffd");
                at += ESCAPE_BYTES;
            }
            // The character after the backslash may be a backslash, or longer than a byte.
            Unit::Other => at += 1 + json[at + 1..].chars().next().map_or(0, char::len_utf8),
        }
    }
    replaced
}

/// The meaning of an escape in a JSON string.
enum Unit {
    /// The first half of a character.
    Leading,
    /// The second half.
    Trailing,
    Other,
}

impl Unit {
    /// The unit of the escape at the start of these bytes, if there is one.
    fn of_escape(bytes: &[u8]) -> Self {
        let &[b'\\', b'u', b'd' | b'D', second, third, fourth, ..] = bytes else {
            return Self::Other;
        };
        if !(third.is_ascii_hexdigit() && fourth.is_ascii_hexdigit()) {
            return Self::Other;
        }
        match second.to_ascii_lowercase() {
            b'8' | b'9' | b'a' | b'b' => Self::Leading,
            b'c'..=b'f' => Self::Trailing,
            _ => Self::Other,
        }
    }
}

/// A `\u` and four digits.
const ESCAPE_BYTES: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_becomes(json: &str, expected: &str) {
        assert_eq!(replace_lone_surrogates(json).as_deref(), Some(expected));
        assert_eq!(replace_lone_surrogates(expected), None);
    }

    #[test]
    fn each_lone_surrogate_is_replaced_and_pairs_stay() {
        assert_becomes(r"\ud800", r"\ufffd");
        assert_becomes(r"a\uDBFFz", r"a\ufffdz");
        assert_becomes(r"\udc00\ud800", r"\ufffd\ufffd");
        assert_becomes(r"\ud83d\ud83d\ude00\ude00", r"\ufffd\ud83d\ude00\ufffd");
        assert_becomes(r"\ud83d\u0041", r"\ufffd\u0041");
        assert_becomes(r"\ud83d\\ude00", r"\ufffd\\ude00");
        assert_becomes(r"\\\ud83d", r"\\\ufffd");
        assert_becomes(r"\é\uDfFf", r"\é\ufffd");
    }

    #[test]
    fn text_that_only_looks_like_a_surrogate_stays() {
        for json in [
            "",
            r"\",
            r"\ud83d\ude00",
            r"\\ud83d",
            r"\\\\ude00",
            r"\ud7ff\ue000",
            r"\ud8",
            r"\ud80g",
            r"\udz00",
            "ud800",
            r"\Ud800",
            r"\é",
            r"\u",
            r"\ud80é",
        ] {
            assert_eq!(replace_lone_surrogates(json), None, "{json}");
        }
    }
}
