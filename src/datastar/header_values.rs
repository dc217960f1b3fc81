//! Header field values for text that HTTP cannot carry directly: selectors and objects, in ASCII.

/// A CSS selector as the value of a header field: ASCII without control characters, because the
/// client reads the field as Latin-1. Line ends become spaces, other characters escapes of CSS
/// (CSS Syntax 4.3.7), which mean the same in names and strings.
pub(super) fn selector_value(selector: &str) -> String {
    let mut value = String::with_capacity(selector.len());
    let mut is_escaped = false;
    for character in selector.chars() {
        let character = if is_css_newline(character) { ' ' } else { character };
        let is_plain = character.is_ascii_graphic() || (character == ' ' && !is_escaped);
        if is_plain {
            value.push(character);
        } else {
            // A backslash before the character already starts an escape.
            let start = if is_escaped { "" } else { "\\" };
            value.push_str(&format!("{start}{:x} ", u32::from(character)));
        }
        is_escaped = character == '\\' && !is_escaped;
    }
    value
}

fn is_css_newline(character: char) -> bool {
    matches!(character, '\r' | '\n' | '\u{c}' | '\t')
}

/// A JSON object of strings, in ASCII, for a header field.
pub(super) fn json_object_value<'a>(members: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut value = String::from("{");
    for (name, member) in members {
        if value.len() > 1 {
            value.push(',');
        }
        push_json_string(name, &mut value);
        value.push(':');
        push_json_string(member, &mut value);
    }
    value.push('}');
    value
}

fn push_json_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            ' '..='~' => out.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_become_ascii_that_css_reads_the_same() {
        for (selector, value) in [
            ("#log > li:not([a=\"b\"])", "#log > li:not([a=\"b\"])"),
            ("#größe", r"#gr\f6 \df e"),
            ("[title=\"🚀\"]", r#"[title="\1f680 "]"#),
            ("a,\r\n\tb\u{c}c", "a,   b c"),
            ("#a\0\u{7f}", r"#a\0 \7f "),
            (r"#a\:b", r"#a\:b"),
            (r"#\ö", r"#\f6 "),
            (r"#\\ö", r"#\\\f6 "),
            (r"#a\ ", r"#a\20 "),
        ] {
            assert_eq!(selector_value(selector), value);
        }
    }

    #[test]
    fn objects_become_ascii_that_json_reads_the_same() {
        let members = [("a\"\\", "\r\n\0\u{7f}"), ("ö", "🚀</script>")];
        let value = json_object_value(members.into_iter());
        assert_eq!(
            value,
            "{\"a\\\"\\\\\":\"\\u000d\\u000a\\u0000\\u007f\",\
             \"\\u00f6\":\"\\ud83d\\ude80</script>\"}"
        );
        let parsed: serde_json::Value = serde_json::from_str(&value).unwrap();
        for (name, member) in members {
            assert_eq!(parsed[name], member);
        }
    }
}
