//! The ids of the events in a frame.

use super::Point;
use crate::sse::{add_id, each_event, id_of, is_whole, replace_id};

/// Copies events and gives each an id: the position once the event has been seen. A client cut in
/// the middle of a frame resumes in the middle.
pub(super) fn copy_with_ids(
    sequence: u64,
    events: &[u8],
    epoch: &str,
    own_ids: &mut Vec<(Point, Box<str>)>,
    out: &mut Vec<u8>,
) {
    for (point, event) in points(sequence, events) {
        match (point, id_of(event)) {
            (Some(point), None) => add_id(event, format_args!("{epoch}-{point}"), out),
            // An empty id would make the client forget its position.
            (Some(point), Some(b"")) => replace_id(event, format_args!("{epoch}-{point}"), out),
            (Some(point), Some(id)) => {
                let id = String::from_utf8_lossy(id);
                replace_id(event, &id, out);
                own_ids.push((point, id.into()));
            }
            (None, _) => out.extend_from_slice(event),
        }
    }
}

/// The events of a frame, each with the position after it. Comments after the last event have none.
pub(super) fn points(sequence: u64, events: &[u8]) -> impl Iterator<Item = (Option<Point>, &[u8])> {
    let total = each_event(events).filter(|event| is_whole(event)).count();
    each_event(events).zip(1..).map(move |(event, number)| {
        let events = if number < total { number as u32 } else { 0 };
        (is_whole(event).then_some(Point { sequence, events }), event)
    })
}
