//! Where an id belongs in an event that is encoded already.

use memchr::{memchr, memmem};

/// The place of the id line in encoded events.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct IdPlace<'a> {
    /// Where the line belongs: in the last event, behind its comments and its name, which is the
    /// order of Datastar's specification.
    pub(crate) offset: usize,
    /// The id that stands there already.
    pub(crate) id: Option<&'a [u8]>,
}

/// Looks at the first lines of the last event only: what follows them is data.
pub(crate) fn id_place(events: &[u8]) -> IdPlace<'_> {
    let without_end = events.strip_suffix(b"\n\n").unwrap_or(events);
    let mut offset = memmem::rfind(without_end, b"\n\n").map_or(0, |end| end + 2);
    loop {
        let line = line_at(events, offset);
        if !line.starts_with(b":") && !line.starts_with(b"event: ") {
            return IdPlace { offset, id: line.strip_prefix(b"id: ") };
        }
        offset = (offset + line.len() + 1).min(events.len());
    }
}

fn line_at(bytes: &[u8], offset: usize) -> &[u8] {
    let rest = &bytes[offset..];
    &rest[..memchr(b'\n', rest).unwrap_or(rest.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(events: &str) -> (usize, Option<&str>) {
        let place = id_place(events.as_bytes());
        (place.offset, place.id.map(|id| std::str::from_utf8(id).unwrap()))
    }

    #[test]
    fn the_id_goes_behind_comments_and_name() {
        assert_eq!(place("data: x\n\n"), (0, None));
        assert_eq!(place("event: e\nretry: 5\ndata: x\n\n"), (9, None));
        assert_eq!(place(": c\n: d\nevent: e\ndata: event: f\n\n"), (17, None));
    }

    #[test]
    fn an_id_that_is_there_is_found() {
        assert_eq!(place("event: e\nid: 7\ndata: x\n\n"), (9, Some("7")));
        assert_eq!(place("data: id: 7\n\n"), (0, None));
    }

    #[test]
    fn of_several_events_the_last_gets_it() {
        assert_eq!(place("id: 1\ndata: a\n\nevent: e\ndata: b\n\n"), (24, None));
        assert_eq!(place(""), (0, None));
        assert_eq!(place(": only a comment\n"), (17, None));
    }
}
