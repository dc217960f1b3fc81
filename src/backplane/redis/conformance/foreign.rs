//! What others do to the keys of a namespace costs what it must, and no more.

use std::sync::Arc;

use redis_protocol::resp2::types::OwnedFrame;

use super::{Pair, Server, strings};
use crate::{
    backplane::redis::{codec::ReplyError, replies::decode},
    span::{
        RoomLeft, ServerError, Survives,
        protocol::{
            Batch, Content, Greeting, History, Keeps, Post, Reply, Request, Retention,
            generation_leap,
        },
    },
    topic::{Compressible, Continues},
};

/// Without the model, which knows no foreign keys.
fn ask(pair: &mut Pair, request: &Request) -> Result<Reply, ReplyError> {
    let mut command = Vec::new();
    pair.encode("anna", request, &mut command);
    pair.client.send(&command);
    decode(request, &pair.client.receive())
}

/// A server and a pair that has greeted, if Redis is installed.
fn greeted() -> Option<(Server, Pair)> {
    let server = Server::start(&[])?;
    let mut pair = Pair::new(&server);
    greet(&mut pair, 0);
    Some((server, pair))
}

fn greet(pair: &mut Pair, floor: u64) -> Greeting {
    match ask(pair, &Request::Greet { floor }) {
        Ok(Reply::Greeted(greeting)) => greeting,
        other => panic!("{other:?}"),
    }
}

/// One event on each of these topics; all keep ten.
fn append(number: u64, topics: &[&str]) -> Request {
    let post = |topic: &&str| Post {
        topic: (*topic).into(),
        keeps: Keeps { events: 10, bytes: 1_000 },
        compression: Compressible::Yes,
        continues: Continues::Yes,
        once: None,
        events: b"data: 1\n\n"[..].into(),
    };
    let posts = topics.iter().map(post).collect();
    let batch = Arc::new(Batch { number, posts, bytes: 9 * topics.len() });
    Request::Append {
        batch,
        base: number,
        retention: Retention { log_entries: 100, history_s: 60 },
    }
}

/// The last place.
fn appended(pair: &mut Pair, number: u64, topics: &[&str]) -> u64 {
    match ask(pair, &append(number, topics)) {
        Ok(Reply::Appended { was_known: false, up_to, .. }) => up_to,
        other => panic!("{other:?}"),
    }
}

fn refused(pair: &mut Pair, request: &Request) -> String {
    match ask(pair, request) {
        Err(ReplyError::Server(words)) => words,
        other => panic!("{other:?}"),
    }
}

/// What is lost, and the places that are there.
fn recall(pair: &mut Pair, topic: &str) -> (u64, Vec<u64>) {
    match ask(pair, &Request::Recall(vec![topic.into()])) {
        Ok(Reply::Recalled { mut histories, .. }) => {
            let History { lost_up_to, events, .. } = histories.remove(0);
            (lost_up_to, events.iter().map(|event| event.place).collect())
        }
        other => panic!("{other:?}"),
    }
}

fn state(pair: &mut Pair) -> [Vec<Vec<u8>>; 2] {
    ["XRANGE {ns}:log - +", "HGETALL {ns}:meta"].map(|command| {
        let words: Vec<_> = command.split(' ').collect();
        strings(pair.client.call(&words))
    })
}

#[test]
fn a_batch_that_cannot_be_recorded_is_not_applied() {
    let Some((_server, mut pair)) = greeted() else { return };
    assert_eq!(appended(&mut pair, 1, &["a"]), 3);
    for key in ["{ns}:h:b", "{ns}:recent", "{ns}:log"] {
        let before = state(&mut pair);
        pair.client.call(&["RENAME", "{ns}:log", "log"]);
        pair.client.call(&["COPY", "log", "{ns}:log"]);
        pair.client.call(&["SET", key, "foreign"]);
        let words = refused(&mut pair, &append(2, &["a", "b"]));
        assert!(words.starts_with("WRONGTYPE"), "{words}");
        if key == "{ns}:log" {
            pair.client.call(&["RENAME", "log", "{ns}:log"]);
        }
        assert_eq!(state(&mut pair), before, "{key}");
        if key != "{ns}:log" {
            pair.client.call(&["DEL", key]);
        }
    }
    assert_eq!(appended(&mut pair, 2, &["a", "b"]), 5);
}

#[test]
fn a_foreign_entry_in_the_log_is_passed_at_the_next_greeting() {
    let Some((_server, mut pair)) = greeted() else { return };
    assert_eq!(appended(&mut pair, 1, &["a"]), 3);
    pair.client.call(&["XADD", "{ns}:log", "500-3", "x", "y"]);
    let words = refused(&mut pair, &append(2, &["a"]));
    assert!(words.contains("equal or smaller"), "{words}");
    let greeting = greet(&mut pair, 3);
    assert_eq!((greeting.position, greeting.generations.len()), (500, 1));
    assert_eq!(appended(&mut pair, 2, &["a"]), 501);
    let read = ask(&mut pair, &Request::Read { after: 3, most: 10 });
    let Ok(Reply::Entries(entries)) = read else { panic!("{read:?}") };
    assert_eq!(entries[0].content, Content::Unreadable);
    assert_eq!(entries.iter().map(|entry| entry.place).collect::<Vec<_>>(), [500, 501]);
    assert_eq!(recall(&mut pair, "a"), (2, vec![3, 501]));

    // There is no place after it: the log has to be deleted by hand.
    pair.client.call(&["XADD", "{ns}:log", "18446744073709551615-1", "x", "y"]);
    let words = refused(&mut pair, &Request::Greet { floor: 501 });
    assert!(words.contains("STARWHEEL"), "{words}");
    pair.client.call(&["DEL", "{ns}:log"]);
    assert_eq!(greet(&mut pair, 501).position, 501);
}

#[test]
fn a_later_format_is_not_written() {
    let Some((_server, mut pair)) = greeted() else { return };
    pair.client.call(&["HSET", "{ns}:meta", "format", "2"]);
    let before = state(&mut pair);
    let count = Request::Count { watch: vec!["a".into()], tell: vec![] };
    let greet = Request::Greet { floor: 9 };
    for request in [greet, append(1, &["a"]), Request::Recall(vec![]), count] {
        let words = refused(&mut pair, &request);
        assert!(words.contains("format 2"), "{words}");
    }
    assert_eq!(state(&mut pair), before);
}

#[test]
fn a_history_with_foreign_elements_begins_again() {
    let Some((_server, mut pair)) = greeted() else { return };
    appended(&mut pair, 1, &["a", "a", "b"]);
    for foreign in ["foreign", "", "99 4 0 9\n1\nadata: 1\n\n"] {
        pair.client.call(&["RPUSH", "{ns}:h:b", foreign]);
        let (lost_up_to, places) = recall(&mut pair, "b");
        assert_eq!((lost_up_to >= 5, places), (true, vec![]), "{foreign:?}");
    }
    let place = appended(&mut pair, 2, &["b"]);
    assert_eq!(recall(&mut pair, "b"), (5, vec![place]));
    assert_eq!(recall(&mut pair, "a"), (2, vec![3, 4]));
}

/// What `earlier` has recorded is not the last.
#[test]
fn without_the_record_of_last_places_everything_counts_as_lost() {
    let Some((_server, mut pair)) = greeted() else { return };
    appended(&mut pair, 1, &["a"]);
    pair.pass(61_000);
    appended(&mut pair, 2, &["b"]);
    assert_eq!(recall(&mut pair, "a"), (3, vec![]), "it has expired, but is known");
    let last = appended(&mut pair, 3, &["a"]);
    assert_eq!(recall(&mut pair, "a"), (3, vec![last]));
    pair.client.call(&["DEL", "{ns}:recent", "{ns}:h:a"]);
    assert_eq!(recall(&mut pair, "a"), (last, vec![]));
    pair.restart(Survives::All);
    let position = greet(&mut pair, last).position;
    assert_eq!(recall(&mut pair, "a"), (position, vec![]));
}

/// Even if no member remembers them.
#[test]
fn places_of_histories_that_survive_are_not_given_again() {
    let Some((_server, mut pair)) = greeted() else { return };
    let last = appended(&mut pair, 1, &["a", "b", "b"]);
    pair.client.call(&["DEL", "{ns}:meta", "{ns}:log"]);
    assert_eq!(ask(&mut pair, &append(2, &["a"])), Ok(Reply::Strange));
    let greeting = greet(&mut pair, 0);
    let place = last + 1 + generation_leap("anna");
    assert_eq!((greeting.position, greeting.generations[1].1), (place, last));
    assert_eq!(recall(&mut pair, "b"), (2, vec![4, 5]));
}

/// Lua's stack and Redis' limits of arguments are larger.
#[test]
fn a_batch_may_have_thousands_of_topics() {
    let Some((_server, mut pair)) = greeted() else { return };
    let names: Vec<_> = (0..9_000).map(|number| number.to_string()).collect();
    let topics: Vec<_> = names.iter().map(String::as_str).collect();
    assert_eq!(appended(&mut pair, 1, &topics), 9_002);
    assert_eq!(recall(&mut pair, "8999"), (2, vec![9_002]));
}

#[test]
fn a_read_without_news_ends_after_a_while() {
    let Some((server, mut pair)) = greeted() else { return };
    let id = pair.client.call(&["CLIENT", "ID"]);
    let OwnedFrame::Integer(id) = id else { panic!("{id:?}") };
    let request = Request::Read { after: 2, most: 10 };
    let mut command = Vec::new();
    pair.encode("anna", &request, &mut command);
    pair.client.send(&command);
    // So that nobody waits for a second here.
    let mut other = server.connect();
    while matches!(other.call(&["CLIENT", "UNBLOCK", &id.to_string()]), OwnedFrame::Integer(0)) {}
    assert_eq!(decode(&request, &pair.client.receive()), Ok(Reply::Entries(vec![])));
}

/// The model has the same words as Redis, as far as members depend on them.
#[test]
fn a_greeting_that_must_write_needs_room() {
    let Some((_server, mut pair)) = greeted() else { return };
    pair.set_room(RoomLeft::None);
    assert_eq!(greet(&mut pair, 0).position, 2, "nothing is written");
    let words = refused(&mut pair, &Request::Greet { floor: 9 });
    let model = pair.store.apply("anna", &Request::Greet { floor: 9 }, 0);
    let ServerError(expected) = model.expect_err("no room");
    assert!(words.starts_with(expected.trim_end_matches('.')), "{words}");
}
