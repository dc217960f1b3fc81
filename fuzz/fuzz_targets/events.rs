//! Any text in any field of events: what a browser dispatches is what was given, once each, with
//! line ends normalised; in an `EventBuffer` and through a whole stream.

#![no_main]

#[path = "../../tests/support/event_ids.rs"]
mod event_ids;

use std::time::Duration;

use event_ids::can_come_back;
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use starwheel::{
    Encode, Ending, Event, EventBuffer, EventError, Request, Sse,
    testing::{BodyEnd, EventParser, ParsedEvent, Simulation},
};

#[derive(Debug, Clone, Arbitrary)]
struct Planned {
    name: Option<String>,
    id: Option<String>,
    retry_ms: Option<u64>,
    comment: Option<String>,
    data: Option<String>,
    formatted: bool,
}

fuzz_target!(|input: (Vec<Planned>, u8)| {
    let (planned, piece_bytes) = input;
    let mut model = Model::default();
    let mut buffer = EventBuffer::new();
    let mut sse = Sse::new().ending(Ending::Finish);
    for planned in &planned {
        let Ok(event) = planned.event() else {
            assert!(planned.is_refusable(), "{planned:?} was refused");
            continue;
        };
        assert!(!planned.is_refusable(), "{planned:?} was taken");
        model.expect(planned);
        if let (Some(data), true) = (&planned.data, planned.is_only_data()) {
            let expected = bytes_of(&event);
            assert_eq!(bytes_of(data.as_str()), expected);
            assert_eq!(bytes_of(&format_args!("{data}")), expected);
            let pieces: Vec<char> = data.chars().collect();
            let in_pieces = InPieces(&pieces);
            if planned.formatted {
                assert_eq!(bytes_of(&format_args!("{in_pieces}")), expected);
            }
        }
        buffer.push(&event);
        sse = sse.send(event.into_owned());
    }
    let bytes = buffer.into_bytes();
    model.judge(&EventParser::read(&bytes));
    let mut in_pieces = EventParser::default();
    bytes.chunks(usize::from(piece_bytes) + 1).for_each(|piece| in_pieces.feed(piece));
    model.judge(&in_pieces);

    let mut sse = Some(sse);
    let mut simulation = Simulation::new(move |_: &Request, _: &mut starwheel::Context<'_>| {
        sse.take().expect("one request")
    });
    let client = simulation.get("/");
    let answer = simulation.response(client);
    assert_eq!((answer.status, answer.end), (200, BodyEnd::Complete));
    model.judge(&EventParser::read(&answer.body));
});

impl Planned {
    fn event(&self) -> Result<Event<'_>, EventError> {
        let mut event = match &self.data {
            Some(data) => Event::new(data),
            None => Event::comment_only(self.comment.as_deref().unwrap_or_default()),
        };
        if let Some(name) = &self.name {
            event = event.name(name.as_str())?;
        }
        if let Some(id) = &self.id {
            event = event.id(id.as_str())?;
        }
        if let Some(retry_ms) = self.retry_ms {
            event = event.retry(Duration::from_millis(retry_ms));
        }
        if let Some(comment) = &self.comment {
            event = event.comment(comment);
        }
        Ok(event)
    }

    fn is_refusable(&self) -> bool {
        self.name.as_ref().is_some_and(|name| name.contains(['\r', '\n']))
            || self.id.as_ref().is_some_and(|id| !can_come_back(id))
    }

    fn is_only_data(&self) -> bool {
        self.name.is_none()
            && self.id.is_none()
            && self.retry_ms.is_none()
            && self.comment.is_none()
    }
}

/// Writes a character at a time.
struct InPieces<'a>(&'a [char]);

impl std::fmt::Display for InPieces<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use std::fmt::Write;
        self.0.iter().try_for_each(|character| f.write_char(*character))
    }
}

fn bytes_of(event: &(impl Encode + ?Sized)) -> Vec<u8> {
    let mut buffer = EventBuffer::new();
    buffer.push(event);
    buffer.into_bytes()
}

/// What a browser has to come to.
#[derive(Default)]
struct Model {
    events: Vec<ParsedEvent>,
    retries_ms: Vec<u64>,
    comments: Vec<String>,
    last_event_id: String,
}

impl Model {
    fn expect(&mut self, planned: &Planned) {
        if planned.comment.is_some() || planned.data.is_none() {
            let comment = normalised(planned.comment.as_deref().unwrap_or_default());
            self.comments.extend(comment.split('\n').map(|line| format!(" {line}")));
        }
        if let Some(id) = &planned.id {
            self.last_event_id.clone_from(id);
        }
        if let Some(retry_ms) = planned.retry_ms {
            self.retries_ms.push(retry_ms.clamp(1, (1 << 31) - 1));
        }
        if let Some(data) = &planned.data {
            let name = planned.name.as_deref().filter(|name| !name.is_empty());
            self.events.push(ParsedEvent {
                name: name.unwrap_or("message").to_owned(),
                data: normalised(data),
                last_event_id: self.last_event_id.clone(),
            });
        }
    }

    fn judge(&self, read: &EventParser) {
        assert_eq!(read.events, self.events);
        assert_eq!(read.retries_ms, self.retries_ms);
        assert_eq!(read.comments, self.comments);
        assert!(read.unknown_fields.is_empty(), "{:?}", read.unknown_fields);
    }
}

fn normalised(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}
