//! Datastar events as the client parses them, for tests.

use std::collections::BTreeMap;

use starwheel::{Encode, EventBuffer, datastar::PatchMode, testing::EventParser};

pub(crate) const ALL_MODES: [(PatchMode, &str); 8] = [
    (PatchMode::Outer, "outer"),
    (PatchMode::Inner, "inner"),
    (PatchMode::Replace, "replace"),
    (PatchMode::Prepend, "prepend"),
    (PatchMode::Append, "append"),
    (PatchMode::Before, "before"),
    (PatchMode::After, "after"),
    (PatchMode::Remove, "remove"),
];

pub(crate) fn bytes_of(event: &impl Encode) -> Vec<u8> {
    let mut out = EventBuffer::new();
    out.push(event);
    out.into_bytes()
}

/// One event as the client's `datastar-fetch` parses it: each line of the data is a key, a space
/// and a value; values of one key are joined with LF.
#[derive(Debug, PartialEq)]
pub(crate) struct AtClient {
    pub(crate) name: String,
    pub(crate) last_event_id: String,
    pub(crate) arguments: BTreeMap<String, String>,
}

impl AtClient {
    #[track_caller]
    pub(crate) fn of(event: &impl Encode) -> Self {
        let mut read = EventParser::read(&bytes_of(event));
        assert_eq!(read.events.len(), 1, "one event");
        assert!(read.unknown_fields.is_empty());
        let event = read.events.remove(0);
        let mut lines = BTreeMap::<_, Vec<_>>::new();
        for line in event.data.split('\n') {
            let (key, value) = line.split_once(' ').expect("a key and a space");
            lines.entry(key.to_owned()).or_default().push(value);
        }
        let arguments = lines.into_iter().map(|(key, lines)| (key, lines.join("\n"))).collect();
        Self { name: event.name, last_event_id: event.last_event_id, arguments }
    }

    #[track_caller]
    pub(crate) fn argument(&self, key: &str) -> &str {
        &self.arguments[key]
    }
}
