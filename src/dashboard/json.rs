//! [`Json`]: a small writer, because a snapshot is mostly numbers, and most of them are zero.

/// JSON text. Keys are the program's own; texts may be anything.
#[derive(Debug, Default)]
pub(super) struct Json {
    bytes: Vec<u8>,
}

impl Json {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes) }
    }

    pub(super) fn object(&mut self, fill: impl FnOnce(&mut Self)) {
        self.enclosed(b'{', fill, b'}');
    }

    pub(super) fn list(&mut self, fill: impl FnOnce(&mut Self)) {
        self.enclosed(b'[', fill, b']');
    }

    /// Begins a member of an object; its value follows.
    pub(super) fn key(&mut self, key: &str) -> &mut Self {
        self.comma();
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(key.as_bytes());
        self.bytes.extend_from_slice(b"\":");
        self
    }

    /// A member that is a number. Zero is left out: the page takes what is missing for zero.
    pub(super) fn count(&mut self, key: &str, count: u64) {
        if count != 0 {
            self.key(key).number(count);
        }
    }

    pub(super) fn counts<'a>(&mut self, counts: impl IntoIterator<Item = (&'a str, u64)>) {
        for (key, count) in counts {
            self.count(key, count);
        }
    }

    pub(super) fn number(&mut self, number: u64) {
        self.comma();
        self.bytes.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    pub(super) fn numbers(&mut self, numbers: &[u64]) {
        self.list(|json| numbers.iter().for_each(|number| json.number(*number)));
    }

    /// A member that is a text, cut off after [`TEXT_CHARS_MAX`] characters.
    pub(super) fn text(&mut self, key: &str, text: &str) {
        let is_longer = text.char_indices().nth(TEXT_CHARS_MAX);
        let text = is_longer.map_or(text, |(end, _)| &text[..end]);
        self.key(key);
        // Writing into a vector cannot fail.
        _ = serde_json::to_writer(&mut self.bytes, text);
    }

    /// JSON that was written before.
    pub(super) fn raw(&mut self, json: &str) {
        self.comma();
        self.bytes.extend_from_slice(json.as_bytes());
    }

    pub(super) fn into_text(self) -> String {
        // Only texts and ASCII were written.
        String::from_utf8(self.bytes).unwrap_or_default()
    }

    fn enclosed(&mut self, open: u8, fill: impl FnOnce(&mut Self), close: u8) {
        self.comma();
        self.bytes.push(open);
        fill(self);
        self.bytes.push(close);
    }

    /// Between two members or items.
    fn comma(&mut self) {
        if !matches!(self.bytes.last(), None | Some(b'{' | b'[' | b':')) {
            self.bytes.push(b',');
        }
    }
}

/// Of a tag, or a name.
const TEXT_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_json_whatever_texts_are() {
        let mut json = Json::default();
        let hostile = "\"},\u{1}\u{2028}</script>\\";
        json.object(|json| {
            json.counts([("a", 1), ("zero", 0), ("b", u64::MAX)]);
            json.text("text", hostile);
            json.text("long", &"\u{e4}".repeat(1_000));
            json.key("list").list(|json| {
                json.object(|_| {});
                json.numbers(&[1, 2]);
                json.raw("[]");
            });
        });
        let read: serde_json::Value = serde_json::from_str(&json.into_text()).unwrap();
        assert_eq!(read["text"], hostile);
        assert_eq!(read["long"], "\u{e4}".repeat(TEXT_CHARS_MAX));
        assert_eq!((&read["a"], &read["b"]), (&1.into(), &u64::MAX.into()));
        assert_eq!(read["list"], serde_json::json!([{}, [1, 2], []]));
        assert_eq!(read.as_object().unwrap().len(), 5, "{read}");
    }
}
