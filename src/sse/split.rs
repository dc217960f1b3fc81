//! Splits encoded events, to give each an id.

use std::{fmt::Display, io::Write};

use memchr::memmem;

use super::id_of;

/// The encoded events, each with its blank line. Comments after the last event come last, without
/// one.
pub(crate) fn each_event(events: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = events;
    std::iter::from_fn(move || {
        let end = memmem::find(rest, b"\n\n").map_or(rest.len(), |end| end + 2);
        let (event, after) = rest.split_at(end);
        rest = after;
        (!event.is_empty()).then_some(event)
    })
}

/// True if clients dispatch something for this piece, or store its id.
pub(crate) fn is_whole(event: &[u8]) -> bool {
    event.ends_with(b"\n\n")
}

/// True if one of these events has an id.
pub(crate) fn has_id(events: &[u8]) -> bool {
    memmem::find(events, b"id: ").is_some()
        && each_event(events).any(|event| id_of(event).is_some())
}

/// Copies an event that has no id and gives it one.
///
/// The id comes last, because clients built on fetch-event-source, including Datastar's, store it
/// at its line and not at the blank line. They would lose an event in which they are cut.
pub(crate) fn add_id(event: &[u8], id: impl Display, out: &mut Vec<u8>) {
    out.extend_from_slice(&event[..event.len() - 1]);
    // Writing to memory does not fail.
    let _infallible = writeln!(out, "id: {id}\n");
}

/// Copies an event with this id in place of any that it has.
pub(crate) fn replace_id(event: &[u8], id: impl Display, out: &mut Vec<u8>) {
    let lines = event[..event.len() - 1].split_inclusive(|byte| *byte == b'\n');
    lines.filter(|line| !line.starts_with(b"id: ")).for_each(|line| out.extend_from_slice(line));
    // Writing to memory does not fail.
    let _infallible = writeln!(out, "id: {id}\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_end_with_a_blank_line() {
        let events = b"data: a\n\n: c\nid: 7\ndata: b\n\n: and a comment\n";
        let pieces: Vec<_> = each_event(events).collect();
        assert_eq!(pieces.concat(), events);
        assert_eq!(pieces.iter().map(|it| is_whole(it)).collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(each_event(b"").count(), 0);
    }

    #[test]
    fn an_id_is_found_in_any_of_several_events() {
        assert!(has_id(b"data: a\n\nid: 7\ndata: b\n\ndata: c\n\n"));
        assert!(!has_id(b"data: id: 7\n\nevent: id: 7\ndata: b\n\n"));
    }

    #[test]
    fn an_id_is_added_after_the_data() {
        let mut out = Vec::new();
        add_id(b"event: e\ndata: x\n\n", 7, &mut out);
        assert_eq!(out, b"event: e\ndata: x\nid: 7\n\n");
    }

    #[test]
    fn an_id_is_replaced_at_any_place() {
        for event in ["event: e\nid: 7\ndata: id: 8\n\n", "event: e\ndata: id: 8\nid: 7\n\n"] {
            let mut out = Vec::new();
            replace_id(event.as_bytes(), "new", &mut out);
            assert_eq!(out, b"event: e\ndata: id: 8\nid: new\n\n");
        }
    }
}
