//! Encoded events are parsed again by the rules of WHATWG HTML 9.2.6: one event in, the same event
//! out, for any text.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use proptest::prelude::*;
use starwheel::{
    Encode, Event, EventBuffer, EventError, EventId, EventName, Request, datastar::PatchElements,
};

#[path = "support/event_ids.rs"]
mod event_ids;
#[path = "support/hostile.rs"]
mod hostile;

use hostile::normalised;
use starwheel::testing::{EventParser, ParsedEvent};

#[track_caller]
fn assert_encodes(event: impl Encode, expected: &str) {
    let bytes = encoded(&event);
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}

fn encoded(event: &(impl Encode + ?Sized)) -> Vec<u8> {
    let mut out = EventBuffer::new();
    out.push(event);
    out.into_bytes()
}

fn read(event: &(impl Encode + ?Sized)) -> EventParser {
    EventParser::read(&encoded(event))
}

fn dispatched(name: &str, data: &str, last_event_id: &str) -> ParsedEvent {
    ParsedEvent {
        name: name.to_owned(),
        data: data.to_owned(),
        last_event_id: last_event_id.to_owned(),
    }
}

#[test]
fn lines_leave_in_the_order_of_the_adr() -> Result<(), EventError> {
    let event = Event::new("one\ntwo")
        .retry(Duration::from_millis(1500))
        .id("a7")?
        .name("news")?
        .comment("first\nsecond");
    let text = ": first\n: second\nevent: news\nid: a7\nretry: 1500\ndata: one\ndata: two\n\n";
    assert_encodes(&event, text);
    assert_encodes(event.into_owned(), text);
    Ok(())
}

#[test]
fn text_is_an_unnamed_event() {
    assert_encodes("a", "data: a\n\n");
    assert_encodes(String::from("a\rb"), "data: a\ndata: b\n\n");
    assert_encodes(format_args!("{}\r{}", "a", "\nb"), "data: a\ndata: b\n\n");
    assert_encodes(&"a" as &dyn Encode, "data: a\n\n");
}

#[test]
fn empty_data_and_trailing_newlines_are_kept() {
    for (data, bytes) in [
        ("", "data: \n\n"),
        ("\n", "data: \ndata: \n\n"),
        ("a\n", "data: a\ndata: \n\n"),
        ("a\r\n\r\n", "data: a\ndata: \ndata: \n\n"),
        (" a", "data:  a\n\n"),
        ("\u{feff}a", "data: \u{feff}a\n\n"),
    ] {
        assert_encodes(data, bytes);
        assert_eq!(read(data).events, [dispatched("message", &normalised(data), "")]);
    }
}

#[test]
fn blocks_without_data_dispatch_nothing() -> Result<(), EventError> {
    assert_encodes(Event::retry_only(Duration::from_secs(3)), "retry: 3000\n\n");
    assert_encodes(Event::id_only(12)?, "id: 12\n\n");
    assert_encodes(Event::comment_only(""), ": \n");
    assert_encodes(Event::comment_only("a\r\nb"), ": a\n: b\n");
    assert_encodes(Event::retry_only(Duration::ZERO).name("lost")?, "retry: 1\n\n");

    let mut out = EventBuffer::new();
    out.push(&Event::id_only("x")?);
    out.push(&Event::comment_only("ping"));
    out.push("y");
    let read = EventParser::read(out.as_bytes());
    assert_eq!(read.events, [dispatched("message", "y", "x")]);
    assert_eq!(read.comments, [" ping"]);
    Ok(())
}

#[test]
fn a_retry_is_never_a_hot_loop() {
    for (delay, retry_ms) in [
        (Duration::ZERO, 1),
        (Duration::from_nanos(1), 1),
        (Duration::from_millis(1000), 1000),
        (Duration::MAX, 2_147_483_647),
    ] {
        assert_eq!(read(&Event::new("").retry(delay)).retries_ms, [retry_ms]);
    }
}

#[test]
fn names_and_ids_that_do_not_fit_a_line_are_refused() {
    for newline in ["\n", "\r", "\r\n", "a\ndata: evil", "a\r\rb"] {
        assert_eq!(Event::new("x").name(newline), Err(EventError::NameHasNewline));
        assert_eq!(Event::new("x").id(newline), Err(EventError::IdHasNewline));
        assert_eq!(Event::id_only(newline.to_owned()), Err(EventError::IdHasNewline));
    }
    assert_eq!(Event::new("x").id("a\0b"), Err(EventError::IdHasNul));
    assert!(Event::new("x").name("a\0b").is_ok(), "a name may hold NUL");
}

#[test]
fn ids_that_clients_cannot_send_back_are_refused() {
    let long = "x".repeat(EventId::BYTES_MAX + 1);
    for (id, error) in [
        ("a\u{1}b", EventError::IdHasControl),
        ("\u{1b}[31m", EventError::IdHasControl),
        ("a\tb", EventError::IdHasControl),
        ("\u{7f}", EventError::IdHasControl),
        (" a", EventError::IdHasOuterSpace),
        ("a ", EventError::IdHasOuterSpace),
        ("  ", EventError::IdHasOuterSpace),
        ("é", EventError::IdIsNotAscii),
        ("\u{a0}a", EventError::IdIsNotAscii),
        ("\u{85}", EventError::IdIsNotAscii),
        ("7…", EventError::IdIsNotAscii),
        (&long, EventError::IdIsTooLong),
    ] {
        assert_eq!(Event::new("x").id(id), Err(error), "{id:?}");
        assert_eq!(Event::id_only(id.to_owned()), Err(error), "{id:?}");
        assert_eq!(PatchElements::new("x").id(id).err(), Some(error), "{id:?}");
    }
}

#[test]
fn an_id_may_be_any_other_text() {
    let printable: String = (' '..='~').collect();
    let long = "x".repeat(EventId::BYTES_MAX);
    for id in ["", "0", "a b  c", "%20", "null", "..", "\"<>\\,;%+", printable.trim(), &long] {
        assert!(Event::new("x").id(id).is_ok(), "{id:?}");
        assert_comes_back(id);
    }
}

/// The id that a client sends after it has read the event.
#[track_caller]
fn assert_comes_back(id: &str) {
    let event = &read(&Event::new("x").id(id).unwrap()).events[0];
    let head =
        format!("GET / HTTP/1.1\r\nHost: a\r\nLast-Event-ID: {}\r\n\r\n", event.last_event_id);
    let request = Request::parse(head.as_bytes()).unwrap();
    assert_eq!(request.last_event_id(), Some(id));
}

#[test]
fn an_empty_id_resets_and_an_empty_name_means_message() -> Result<(), EventError> {
    let mut out = EventBuffer::new();
    out.push(&Event::new("1").id("a 1")?);
    out.push(&Event::new("2").name("")?);
    out.push(&Event::new("3").id("")?);
    assert_eq!(
        EventParser::read(out.as_bytes()).events,
        [
            dispatched("message", "1", "a 1"),
            dispatched("message", "2", "a 1"),
            dispatched("message", "3", ""),
        ]
    );
    Ok(())
}

#[test]
fn an_event_type_can_stand_for_several_events() {
    struct Both;
    impl Encode for Both {
        fn encode(&self, out: &mut EventBuffer) {
            out.event(&EventName::from_static("a"));
            out.data("1");
            out.push("2");
            out.id(&EventId::from(3));
            out.data_with_key("key\ndata: evil", "3");
        }
    }
    let read = read(&Both);
    assert_eq!(
        read.events,
        [
            dispatched("a", "1", ""),
            dispatched("message", "2", ""),
            dispatched("message", "key 3", "3")
        ]
    );
}

/// The result of `put` on a buffer that already holds an event; `None` if it panics.
fn after_an_event(put: impl Fn(&mut EventBuffer)) -> (Option<()>, EventBuffer) {
    struct Puts<F>(F);
    impl<F: Fn(&mut EventBuffer)> Encode for Puts<F> {
        fn encode(&self, out: &mut EventBuffer) {
            self.0(out);
        }
    }
    let mut out = EventBuffer::new();
    out.push("an event");
    let encoded = catch_unwind(AssertUnwindSafe(|| out.push(&Puts(put)))).ok();
    (encoded, out)
}

#[test]
fn an_event_type_cannot_replace_what_was_sent_before() {
    let other = |texts: &[&str]| {
        let mut other = EventBuffer::new();
        texts.iter().for_each(|text| other.push(*text));
        other
    };
    let replaced: [&dyn Fn(&mut EventBuffer); 4] = [
        &|out| *out = EventBuffer::new(),
        &|out| *out = other(&["short"]),
        &|out| *out = other(&["a text that is longer than the event before it"]),
        &|out| out.push(&Replacing),
    ];
    for put in replaced {
        let (encoded, mut out) = after_an_event(put);
        assert_eq!(encoded, None, "the mistake is reported");
        out.push("next");
        let read = EventParser::read(out.as_bytes());
        assert_eq!(read.events, [dispatched("message", "next", "")]);
        assert_eq!(read.unknown_fields, []);
    }
    // Code that restores what it has taken, or catches a panic of a part, is valid.
    let appended: [&dyn Fn(&mut EventBuffer); 2] = [
        &|out| {
            let taken = std::mem::take(out);
            out.push("thrown away");
            *out = taken;
            out.data("appended");
        },
        &|out| {
            let part = || out.push(&Replacing);
            assert!(catch_unwind(AssertUnwindSafe(part)).is_err());
            out.data("appended");
        },
    ];
    for put in appended {
        let (encoded, out) = after_an_event(put);
        assert_eq!(encoded, Some(()));
        assert!(out.as_bytes().ends_with(b"\ndata: appended\n\n"));
    }
}

/// Replaces the buffer that it is given.
struct Replacing;

impl Encode for Replacing {
    fn encode(&self, out: &mut EventBuffer) {
        *out = EventBuffer::new();
        out.data("id: 7");
    }
}

#[test]
fn an_event_type_that_writes_nothing_sends_nothing() {
    struct Nothing;
    impl Encode for Nothing {
        fn encode(&self, _out: &mut EventBuffer) {}
    }
    assert_encodes(Nothing, "");
}

#[test]
fn a_display_that_fails_ends_its_data_and_not_the_stream() {
    struct Broken;
    impl fmt::Display for Broken {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("half")?;
            Err(fmt::Error)
        }
    }
    assert_encodes(format_args!("{Broken} lost"), "data: half\n\n");
}

#[test]
fn a_megabyte_on_one_line_and_every_plane_pass() {
    let long = "x".repeat(1 << 20);
    assert_eq!(read(&long).events, [dispatched("message", &long, "")]);
    let planes: String = (0..=16_u32)
        .flat_map(|plane| {
            [0x0, 0x1, 0x85, 0x2028, 0xd7ff, 0xfffd, 0xffff].map(|low| plane << 16 | low)
        })
        .filter_map(char::from_u32)
        .collect();
    assert_eq!(read(&planes).events, [dispatched("message", &planes, "")]);
}

/// Tests of the parser itself, with the cases of the standard and of the web platform tests.
#[test]
fn the_reader_reads_as_the_standard_says() {
    let one = |bytes: &str| EventParser::read(bytes.as_bytes()).events;
    assert_eq!(one("\u{feff}data:1\n\n"), [dispatched("message", "1", "")]);
    assert_eq!(one("\u{feff}\u{feff}data:1\n\n"), []);
    assert_eq!(one("data:1\rdata\r\rdata:2\n\n").len(), 2);
    assert_eq!(one("data\n\n"), [dispatched("message", "", "")]);
    assert_eq!(one("data:\ndata:\n\n"), [dispatched("message", "\n", "")]);
    assert_eq!(one("data:  x\nDATA:y\n data:z\n\n"), [dispatched("message", " x", "")]);
    assert_eq!(one("event:a\n\ndata:b\n\n"), [dispatched("message", "b", "")]);
    assert_eq!(one("id:1\nid:a\0b\ndata:x\n\n"), [dispatched("message", "x", "1")]);
    assert_eq!(one("data: unfinished\n"), []);
    assert_eq!(EventParser::read(b"retry:1000x\nretry:\nretry: 7\n").retries_ms, [7]);
    assert_eq!(EventParser::read(b"data:\xff\n\n").events, [dispatched("message", "\u{fffd}", "")]);
}

proptest! {
    #[test]
    fn any_event_arrives_once_and_unchanged(
        data in hostile::text(),
        comment in proptest::option::of(hostile::text()),
        name in hostile::text(),
        id in hostile::text(),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..4),
    ) {
        let mut event = Event::new(&data);
        let (mut expected_name, mut expected_id) = ("message", "");
        if let Some(comment) = &comment {
            event = event.comment(comment);
        }
        match event.clone().name(&name) {
            Ok(named) => {
                event = named;
                expected_name = if name.is_empty() { "message" } else { &name };
            }
            Err(_) => prop_assert!(name.contains(['\r', '\n'])),
        }
        match event.clone().id(&id) {
            Ok(with_id) => {
                event = with_id;
                expected_id = &id;
                assert_comes_back(&id);
            }
            Err(_) => prop_assert!(!event_ids::can_come_back(&id)),
        }

        let bytes = encoded(&event);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let mut read = EventParser::default();
        let mut at = 0;
        for cut in cuts {
            read.feed(&bytes[at..cut]);
            at = cut;
        }
        read.feed(&bytes[at..]);

        let expected = dispatched(expected_name, &normalised(&data), expected_id);
        prop_assert_eq!(read.events, [expected]);
        let comment = comment.map(|comment| normalised(&comment)).unwrap_or_default();
        let read_comment: Vec<_> = read.comments.iter().map(|line| &line[1..]).collect();
        prop_assert_eq!(read_comment.join("\n"), comment);
        prop_assert!(read.retries_ms.is_empty());
        prop_assert!(read.unknown_fields.is_empty());
    }

    #[test]
    fn pieces_arrive_like_the_whole(pieces in proptest::collection::vec(hostile::text(), 0..5)) {
        let whole = pieces.concat();
        let mut out = EventBuffer::new();
        out.data_with(None, |data| {
            for piece in &pieces {
                data.push_str(piece);
            }
        });
        let mut expected = EventBuffer::new();
        expected.data(&whole);
        prop_assert_eq!(out.as_bytes(), expected.as_bytes());
    }

    #[test]
    fn keyed_data_arrives_line_by_line(text in hostile::text()) {
        let mut out = EventBuffer::new();
        out.data_with_key("elements", &text);
        out.push(&Event::comment_only("ends what was open"));
        let read = EventParser::read(out.as_bytes());
        prop_assert_eq!(read.events.len(), 1);
        let lines: Vec<_> = read.events[0].data.split('\n').map(|line| line.strip_prefix("elements ")).collect();
        let lines: Option<Vec<_>> = lines.into_iter().collect();
        prop_assert_eq!(lines.expect("a key on each line").join("\n"), normalised(&text));
    }
}
