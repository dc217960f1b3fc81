//! Numbers of subscribers: the script and its model count the same, and nothing else depends on it.

use std::sync::Arc;

use super::{Pair, Random, Server};
use crate::span::{
    Key, RoomLeft,
    protocol::{Reply, Request, WATCHED_TOPICS_MAX},
};

fn count(watch: &[&str], tell: &[(&str, u64)]) -> Request {
    Request::Count {
        watch: watch.iter().map(|topic| Arc::from(*topic)).collect(),
        tell: tell.iter().map(|(topic, number)| (Arc::from(*topic), *number)).collect(),
    }
}

/// The numbers that both give.
fn counted(pair: &mut Pair, member: &str, request: &Request) -> Vec<u64> {
    match pair.ask(member, request) {
        Ok(Reply::Counted(counts)) => counts.into_iter().map(|(_, number)| number).collect(),
        other => panic!("{other:?}"),
    }
}

/// What a member is asked for.
fn watched(pair: &mut Pair, member: &str) -> Vec<Arc<str>> {
    match pair.ask(member, &Request::Greet { floor: 0 }) {
        Ok(Reply::Greeted(greeting)) => greeting.watched,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_others_are_counted_while_they_say_so_and_topics_are_watched_for_a_minute() {
    let Some(server) = Server::start(&[]) else { return };
    let pair = &mut Pair::new(&server);
    assert!(watched(pair, "anna").is_empty());
    assert_eq!(counted(pair, "anna", &count(&["a", ""], &[])), [0, 0]);
    assert_eq!(watched(pair, "ben").len(), 2);
    assert_eq!(counted(pair, "ben", &count(&[], &[("a", 3), ("", 1)])), [0; 0]);
    assert_eq!(counted(pair, "cleo", &count(&["a"], &[("a", 4)])), [3]);
    assert_eq!(counted(pair, "anna", &count(&["a", ""], &[("a", 100)])), [7, 1]);
    assert_eq!(counted(pair, "ben", &count(&["a"], &[("a", 0)])), [104]);
    assert_eq!(counted(pair, "anna", &count(&["a"], &[])), [4], "ben has none anymore");
    pair.pass(20_000);
    assert_eq!(counted(pair, "cleo", &count(&["a"], &[("a", 4)])), [0], "they have ended");
    pair.pass(20_000);
    assert_eq!(watched(pair, "ben").len(), 2);
    pair.pass(25_000);
    assert_eq!(*watched(pair, "ben"), ["a".into()]);
    pair.pass(25_000);
    assert!(watched(pair, "ben").is_empty());
    assert!(super::strings(pair.client.call(&["KEYS", "*count*"])).is_empty());
    assert!(super::strings(pair.client.call(&["KEYS", "*watched*"])).is_empty());
}

#[test]
fn numbers_that_cannot_be_kept_cost_nothing_else() {
    let Some(server) = Server::start(&[]) else { return };
    let pair = &mut Pair::new(&server);
    watched(pair, "anna");
    pair.set_room(RoomLeft::None);
    assert_eq!(counted(pair, "anna", &count(&["a"], &[])), [0; 0], "it is refused");
    assert_eq!(counted(pair, "anna", &count(&[], &[("a", 1)])), [0; 0]);
    pair.set_room(RoomLeft::Some);
    assert!(watched(pair, "anna").is_empty());
    // Somebody else has these keys.
    let keys = ["{ns}:watched", "{ns}:count:a"];
    for key in keys {
        pair.client.call(&["SET", key, "foreign"]);
        pair.encode_and_expect_no_numbers(&count(&["a"], &[("a", 1)]));
        let mut command = Vec::new();
        pair.encode("anna", &Request::Greet { floor: 0 }, &mut command);
        pair.client.send(&command);
        let request = Request::Greet { floor: 0 };
        let reply = super::decode(&request, &pair.client.receive());
        assert!(matches!(reply, Ok(Reply::Greeted(_))), "{reply:?}");
        pair.client.call(&["DEL", key]);
    }
    // Fields that nobody of us writes do not count, and go.
    pair.client.call(&[
        "HSET",
        "{ns}:count:b",
        "x",
        "many",
        "y",
        "5 1",
        "z",
        "99999999999999999999 1",
    ]);
    assert_eq!(counted(pair, "anna", &count(&["b"], &[])), [0]);
    assert!(super::strings(pair.client.call(&["KEYS", "*count:b"])).is_empty());
}

impl Pair {
    /// Without the model, which knows no foreign keys.
    fn encode_and_expect_no_numbers(&mut self, request: &Request) {
        let mut command = Vec::new();
        self.encode("anna", request, &mut command);
        self.client.send(&command);
        let reply = super::decode(request, &self.client.receive());
        assert_eq!(reply, Ok(Reply::Counted(Vec::new())));
    }
}

#[test]
fn no_more_topics_are_watched_than_there_is_room_for() {
    let Some(server) = Server::start(&[]) else { return };
    let pair = &mut Pair::new(&server);
    let names: Vec<_> = (0..WATCHED_TOPICS_MAX + 10).map(|number| number.to_string()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    assert_eq!(counted(pair, "anna", &count(&names[..700], &[])).len(), 700);
    assert_eq!(counted(pair, "ben", &count(&names[600..], &[])), [0; 410]);
    let all = watched(pair, "anna");
    assert_eq!((all.len(), all.iter().any(|name| &**name == "1009")), (1_000, false));
}

#[test]
fn random_counts_are_those_of_the_model() {
    let Some(server) = Server::start(&[]) else { return };
    for seed in 0..20 {
        let (mut pair, mut random) = (Pair::new(&server), Random(seed));
        let pair = &mut pair;
        for _ in 0..60 {
            let member = random.of(&["anna", "ben", "cleo"]);
            let topics = ["a", "b", "c:d", "", "ü"];
            let mut some = || topics.iter().filter(|_| random.one_in(2)).copied().collect();
            let (watch, tell): (Vec<_>, Vec<_>) = (some(), some());
            let tell: Vec<_> = tell.into_iter().map(|topic| (topic, random.below(4))).collect();
            match random.below(10) {
                0..6 => drop(counted(pair, member, &count(&watch, &tell))),
                6..8 => drop(watched(pair, member)),
                // Sums are far from all limits, because the clock of Redis runs meanwhile.
                8 => pair.pass(20_000),
                _ => pair.delete(&match random.of(&topics) {
                    "" => Key::Watched,
                    topic => Key::Count(topic.into()),
                }),
            }
        }
    }
}
