use proptest::prelude::*;
use redis_protocol::resp2::decode::decode as decode_frame;

use super::*;
use crate::span::protocol::{Batch, Retention};

fn bulk(bytes: impl AsRef<[u8]>) -> OwnedFrame {
    OwnedFrame::BulkString(bytes.as_ref().to_vec())
}

fn list(frames: impl IntoIterator<Item = OwnedFrame>) -> OwnedFrame {
    OwnedFrame::Array(frames.into_iter().collect())
}

fn greet() -> Request {
    Request::Greet { floor: 5 }
}

fn append() -> Request {
    let batch = Arc::new(Batch { number: 3, posts: Vec::new(), bytes: 0 });
    Request::Append { batch, base: 3, retention: Retention { log_entries: 9, history_s: 9 } }
}

fn read() -> Request {
    Request::Read { after: 10, most: 100 }
}

fn recall() -> Request {
    Request::Recall(vec!["a".into()])
}

fn count() -> Request {
    Request::Count { watch: vec!["a".into(), "b".into()], tell: Vec::new() }
}

/// The entries of a log with these ids, fields and values.
fn entries(rows: &[(&str, &[&[u8]])]) -> Result<Vec<(u64, Content)>, ReplyError> {
    let row = |(id, fields): &(&str, &[&[u8]])| list([bulk(id), list(fields.iter().map(bulk))]);
    let stream = list([bulk("log"), list(rows.iter().map(row))]);
    match decode(&read(), &list([stream]))? {
        Reply::Entries(entries) => {
            Ok(entries.into_iter().map(|it| (it.place, it.content)).collect())
        }
        other => panic!("{other:?}"),
    }
}

/// Of the topic `a`, complete up to 100: what is lost, and the places of its events.
fn history(elements: &[&str]) -> (u64, Vec<u64>) {
    let history = list([OwnedFrame::Integer(7), list(elements.iter().map(bulk))]);
    let reply = list([bulk("recalled"), OwnedFrame::Integer(100), history]);
    match decode(&recall(), &reply).expect("histories") {
        Reply::Recalled { up_to: 100, mut histories } => {
            let History { lost_up_to, events, .. } = histories.remove(0);
            (lost_up_to, events.iter().map(|event| event.place).collect())
        }
        other => panic!("{other:?}"),
    }
}

fn event(topic: &str, events: &str) -> Content {
    let (topic, events) = (topic.into(), events.as_bytes().into());
    let (compression, continues) = (Compressible::Yes, Continues::Yes);
    Content::Event { topic, compression, continues, events }
}

#[test]
fn entries_are_read_whatever_later_releases_add() {
    let uncompressed = Content::Event {
        topic: "a".into(),
        compression: Compressible::No,
        continues: Continues::Yes,
        events: b"data: 1\n\n"[..].into(),
    };
    let generation = Content::Generation { name: "b7".into(), follows: 9 };
    let rows: &[(&str, &[&[u8]])] = &[
        ("11-0", &[b"e1", b"1\nadata: 1\n\n"]),
        ("12-0", &[b"x", b"?", b"e1", b"1 new u\nadata: 1\n\n", b"e2", b"?"]),
        ("13-0", &[b"g1", b"b7 9 new"]),
        ("14-0", &[b"e1", b"1 last new\nadata: 1\n\n"]),
    ];
    let last = Content::Event {
        topic: "a".into(),
        compression: Compressible::Yes,
        continues: Continues::No,
        events: b"data: 1\n\n"[..].into(),
    };
    let plain = event("a", "data: 1\n\n");
    let expected = [(11, plain), (12, uncompressed), (13, generation), (14, last)];
    assert_eq!(entries(rows).unwrap(), expected);
}

#[test]
fn entries_that_no_member_writes_are_unreadable() {
    let unreadable: &[&[&[u8]]] = &[
        &[],
        &[b"e1"],
        &[b"e2", b"1\nadata: 1\n\n"],
        &[b"e1", b"1\na"],
        &[b"e1", b"9\nadata: 1\n\n"],
        &[b"e1", b"-1\nadata: 1\n\n"],
        &[b"e1", b"+1\nadata: 1\n\n"],
        &[b"e1", b"18446744073709551616\nadata: 1\n\n"],
        &[b"e1", b"1\nadata: 1\n"],
        &[b"e1", b"1\nadata: 1\r\n\r\n"],
        &[b"e1", b"1\nadata: 1\rid: 7\n\n"],
        &[b"e1", b"1\n\xFFdata: 1\n\n"],
        &[b"g1", b"name"],
        &[b"g1", b" 9"],
        &[b"g1", b"na-me 9"],
        &[b"g1", b"name 11"],
        &[b"g1", b"name x"],
    ];
    for fields in unreadable {
        assert_eq!(
            entries(&[("11-0", fields)]).unwrap(),
            [(11, Content::Unreadable)],
            "{fields:?}"
        );
    }
    let foreign: &[&[u8]] = &[b"e1", b"1\nadata: 1\n\n"];
    assert_eq!(entries(&[("11-1", foreign)]).unwrap(), [(11, Content::Unreadable)]);
}

#[test]
fn places_grow() {
    let fields: &[&[u8]] = &[b"e1", b"1\nadata: 1\n\n"];
    let rows = ["9-0", "10-7", "11-0", "11-1", "13-0", "12-0"].map(|id| (id, fields));
    let places: Vec<_> = entries(&rows).unwrap().into_iter().map(|(place, _)| place).collect();
    assert_eq!(places, [11, 13]);
    // The server would send it again and again.
    for id in ["9007199254740992-0", "18446744073709551615-1", "x-0", "11", ""] {
        assert!(entries(&[(id, fields)]).is_err(), "{id}");
    }
}

#[test]
fn a_history_begins_after_what_was_lost() {
    assert_eq!(history(&[]), (7, vec![]));
    let chain = ["20 10 0 10\n1\nadata: 1\n\n", "30 20 10 20\n1\nadata: 2\n\n"];
    assert_eq!(history(&chain), (10, vec![20, 30]));
    assert_eq!(history(&chain[1..]), (20, vec![30]));
}

#[test]
fn what_cannot_be_read_of_a_history_is_lost_with_what_was_before() {
    let (old, new) = ("20 10 0 10\n1\nadata: 1\n\n", "40 30 20 30\n1\nadata: 3\n\n");
    assert_eq!(history(&[old, new]), (30, vec![40]), "one is gone");
    for middle in [
        "30 20 10 20\n1\nadata: 2\r\n\r\n",
        "30 20 10 20\n1\nbdata: 2\n\n",
        "30 20 10 20\n1\na",
        "30 30 10 20\n1\nadata: 2\n\n",
        "30\n1\nadata: 2\n\n",
        "101 20 10 20\n1\nadata: 2\n\n",
        "",
    ] {
        assert_eq!(history(&[old, middle, new]), (30, vec![40]), "{middle:?}");
        assert_eq!(history(&[old, middle]), (100, vec![]), "{middle:?}");
    }
    assert_eq!(history(&[new, old]), (100, vec![]), "out of order");
}

#[test]
fn a_batch_without_room_is_refused_and_other_errors_are_the_servers() {
    let error = |text: &str| OwnedFrame::Error(text.into());
    for reason in [
        "OOM command not allowed when used memory > 'maxmemory'. script: 2ba7, on @user_script:9.",
        "ERR Error running script (call to f_2ba7): @user_script:9: @user_script: 9: -OOM command \
         not allowed when used memory > 'maxmemory'.",
        "MISCONF Redis is configured to save RDB snapshots",
        "NOREPLICAS Not enough good replicas to write.",
    ] {
        let refused = Reply::Refused { number: 3, reason: reason.into() };
        assert_eq!(decode(&append(), &error(reason)), Ok(refused));
        assert_eq!(decode(&greet(), &error(reason)), Err(ReplyError::Server(reason.into())));
    }
    for words in ["NOPERM this user has no permissions", "NOSCRIPT No matching script", ""] {
        assert_eq!(decode(&append(), &error(words)), Err(ReplyError::Server(words.into())));
    }
}

#[test]
fn a_reply_to_something_else_is_an_error() {
    let greeting = |position, names: &[&str]| {
        let names = list(names.iter().map(bulk));
        list([bulk("greeted"), OwnedFrame::Integer(position), names, list([])])
    };
    assert!(decode(&greet(), &greeting(5, &["a 0"])).is_ok());
    let replies = [
        greeting(4, &["a 0"]),
        greeting(5, &[]),
        greeting(5, &["a"]),
        greeting(-1, &["a 0"]),
        greeting(i64::MAX, &["a 0"]),
        list([bulk("recalled"), OwnedFrame::Integer(3)]),
        list([bulk("appended"), OwnedFrame::Null]),
        list([bulk("missing"), OwnedFrame::Integer(3)]),
        list([bulk("counted"), OwnedFrame::Integer(3)]),
        list([bulk("counted"), OwnedFrame::Integer(3), OwnedFrame::Integer(-1)]),
        list([bulk("counted"), OwnedFrame::Integer(3), OwnedFrame::Null]),
        OwnedFrame::SimpleString(b"OK".to_vec()),
        OwnedFrame::Integer(7),
        list([]),
    ];
    for frame in replies {
        for request in [greet(), append(), recall(), read(), count()] {
            let reply = decode(&request, &frame);
            assert!(matches!(reply, Err(ReplyError::Malformed(_))), "{request:?}: {reply:?}");
        }
    }
}

/// One reply to each request.
const REPLIES: [&[u8]; 5] = [
    b"*4\r\n$7\r\ngreeted\r\n:5\r\n*1\r\n$3\r\na 0\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
    b"*2\r\n$8\r\nappended\r\n:7\r\n",
    b"*3\r\n$8\r\nrecalled\r\n:50\r\n*2\r\n:0\r\n*1\r\n$23\r\n20 10 0 10\n1\nadata: 1\n\n\r\n",
    b"*1\r\n*2\r\n$1\r\nl\r\n*1\r\n*2\r\n$4\r\n11-0\r\n*2\r\n$2\r\ne1\r\n$12\r\n1\nadata: 1\n\n\r\n",
    b"*3\r\n$7\r\ncounted\r\n:5\r\n:0\r\n",
];

#[test]
fn replies_that_are_cut_are_incomplete() {
    for (request, bytes) in [greet(), append(), recall(), read(), count()].iter().zip(REPLIES) {
        for length in 0..bytes.len() {
            assert!(decode_frame(&bytes[..length]).expect("nothing wrong").is_none());
        }
        let (frame, length) = decode_frame(bytes).unwrap().expect("a reply");
        assert_eq!(length, bytes.len());
        assert!(decode(request, &frame).is_ok(), "{request:?}");
    }
}

#[test]
fn lengths_that_nothing_follows_cost_nothing() {
    for bytes in ["$9223372036854775807\r\n", "*2147483647\r\n", "*9223372036854775807\r\n$1\r\n"] {
        assert!(matches!(decode_frame(bytes.as_bytes()), Ok(None)), "{bytes:?}");
    }
    for bytes in ["$-2\r\n", "*-7\r\n", "$18446744073709551616\r\n", "%1\r\n", "$x\r\n"] {
        assert!(decode_frame(bytes.as_bytes()).is_err(), "{bytes:?}");
    }
}

/// What a request can be answered with, whatever the bytes.
fn check(request: &Request, reply: Reply) {
    let is_whole = |events: &[u8]| events.ends_with(b"\n\n") && !events.contains(&b'\r');
    match (request, reply) {
        (Request::Greet { floor }, Reply::Greeted(greeting)) => {
            assert!(greeting.position >= *floor && !greeting.generations.is_empty());
        }
        (Request::Read { after, .. }, Reply::Entries(entries)) => {
            let mut last = *after;
            for Entry { place, content } in entries {
                assert!(place > last && place < PLACE_MAX);
                last = place;
                match content {
                    Content::Event { events, .. } => assert!(is_whole(&events)),
                    Content::Generation { follows, .. } => assert!(follows < place),
                    Content::Unreadable => {}
                }
            }
        }
        (Request::Recall(topics), Reply::Recalled { up_to, histories }) => {
            assert_eq!(topics.len(), histories.len());
            for History { lost_up_to, events, .. } in histories {
                let mut last = lost_up_to;
                for event in events {
                    assert!(event.place > last && is_whole(&event.events));
                    last = event.place;
                }
                assert!(last <= up_to);
            }
        }
        (Request::Count { watch, .. }, Reply::Counted(counts)) => {
            assert!(counts.is_empty() || counts.len() == watch.len());
        }
        (Request::Append { .. }, _) | (_, Reply::Strange) => {}
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn no_bytes_are_read_as_what_they_are_not(
        which in 0_usize..5,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_usize..3), 0..6),
    ) {
        let mut bytes = REPLIES[which].to_vec();
        for (at, byte, how) in changes {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => { bytes.remove(at); }
            }
        }
        if let Ok(Some((frame, _))) = decode_frame(&bytes) {
            for request in [greet(), append(), recall(), read(), count()] {
                if let Ok(reply) = decode(&request, &frame) {
                    check(&request, reply);
                }
            }
        }
    }

    #[test]
    fn no_frames_are_read_as_what_they_are_not(
        rows in prop::collection::vec(("1[0-3]-[01]", "[eg][12]", "[0-2]( u)?\n[ab]data: 1[\r\n]\n"), 0..6),
        elements in prop::collection::vec("[1-3]0 [0-3]0 0 10\n1\n[ab]data: 1[\r\n]\n", 0..6),
    ) {
        let row = |(id, name, value): &(String, String, String)| {
            list([bulk(id), list([bulk(name), bulk(value)])])
        };
        let stream = list([list([bulk("log"), list(rows.iter().map(row))])]);
        check(&read(), decode(&read(), &stream).expect("entries"));
        let history = list([OwnedFrame::Integer(7), list(elements.iter().map(bulk))]);
        let histories = list([bulk("recalled"), OwnedFrame::Integer(25), history]);
        check(&recall(), decode(&recall(), &histories).expect("histories"));
    }
}
