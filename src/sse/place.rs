//! Where an id belongs in an event that is encoded already.

use memchr::{memchr, memmem};

/// The place of the id line in encoded events.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct IdPlace<'a> {
    /// Where the line belongs: in the last event, behind its comments and its name, which is the
    /// order of Datastar's specification.
    pub(crate) offset: usize,
    /// The id that the event has already.
    pub(crate) id: Option<&'a [u8]>,
}

/// The place in the last event; `None` if there are only comments, which need no id.
pub(crate) fn id_place(events: &[u8]) -> Option<IdPlace<'_>> {
    // Comments behind the last blank line belong to no event.
    let end = memmem::rfind(events, b"\n\n")? + 1;
    let start = memmem::rfind(&events[..end - 1], b"\n\n").map_or(0, |blank| blank + 2);
    let mut place = IdPlace { offset: start, id: None };
    let mut at = start;
    while at < end {
        let line = line_at(events, at);
        let next = at + line.len() + 1;
        if place.offset == at && (line.starts_with(b":") || line.starts_with(b"event: ")) {
            place.offset = next;
        }
        // Of several ids the last counts: WHATWG HTML 9.2.6.
        place.id = line.strip_prefix(b"id: ").or(place.id);
        at = next;
    }
    Some(place)
}

fn line_at(bytes: &[u8], offset: usize) -> &[u8] {
    let rest = &bytes[offset..];
    &rest[..memchr(b'\n', rest).unwrap_or(rest.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(events: &str) -> (usize, Option<&str>) {
        let place = id_place(events.as_bytes()).expect("an event");
        (place.offset, place.id.map(|id| std::str::from_utf8(id).unwrap()))
    }

    #[test]
    fn the_id_goes_behind_comments_and_name() {
        assert_eq!(place("data: x\n\n"), (0, None));
        assert_eq!(place("event: e\nretry: 5\ndata: x\n\n"), (9, None));
        assert_eq!(place(": c\n: d\nevent: e\ndata: event: f\n\n"), (17, None));
    }

    #[test]
    fn an_id_that_is_there_is_found_on_whatever_line_it_is() {
        assert_eq!(place("event: e\nid: 7\ndata: x\n\n").1, Some("7"));
        for events in [
            "id: 7\n\n",
            "data: x\nid: 7\n\n",
            "data: x\ndata: y\nid: 7\n: c\ndata: z\n\n",
            "retry: 5\nid: 7\ndata: x\n\n",
            "data: x\nevent: e\nid: 7\n\n",
            "id: 6\ndata: x\nid: 7\n\n",
            "data: a\n\ndata: b\nid: 7\n\n",
            "data: x\nid: 7\n\n: c\n",
        ] {
            assert_eq!(place(events).1, Some("7"), "{events:?}");
        }
        assert_eq!(place("data: x\nid: \n\n").1, Some(""));
        assert_eq!(place("data: id: 7\ndata: \n: id: 7\n\n"), (0, None));
        assert_eq!(place("data: id: 7\nevent: id: 7\n\n"), (0, None));
    }

    #[test]
    fn of_several_events_the_last_gets_it() {
        assert_eq!(place("id: 1\ndata: a\n\nevent: e\ndata: b\n\n"), (24, None));
        assert_eq!(place("data: a\nid: 1\n\ndata: b\n\n"), (15, None));
    }

    #[test]
    fn a_comment_by_itself_is_no_event() {
        assert_eq!(place("data: x\n\n: c\n"), (0, None));
        assert_eq!(place("id: 7\ndata: x\n\n: c\n: d\n").1, Some("7"));
        assert_eq!(place(": c\ndata: x\n\n: d\n"), (4, None));
        assert_eq!(id_place(b""), None);
        assert_eq!(id_place(b": only a comment\n"), None);
    }
}
