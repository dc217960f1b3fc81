//! Limits of logs, and what happens to slow subscribers.

use std::{cell::RefCell, rc::Rc};

use starwheel::{
    Backpressure, CloseReason, JoinAt, KeepAlive, Router, Sse, Topic,
    testing::{Client, ServerEnd, Simulation},
};

use crate::{
    story::{data, faults, get_1_0, secs},
    words::{named, publish, serving, serving_all, streams},
};

/// Clients whose sockets hold next to nothing.
fn tight(topic: &Topic) -> Simulation {
    let mut simulation = serving(topic);
    simulation.set_faults(faults(|faults| faults.socket_buffer_bytes = 200));
    simulation
}

/// A numbered event that no socket of [`tight`] takes completely.
fn long(n: u32) -> String {
    format!("{n} {}", "x".repeat(400))
}

/// The numbers of events, names in place of those that are no messages.
fn numbers(simulation: &Simulation, client: Client) -> Vec<String> {
    let number = |data: String| data.split(' ').next().unwrap_or_default().to_owned();
    let events = named(simulation, client).into_iter();
    events.map(|(name, data)| if name == "message" { number(data) } else { name }).collect()
}

fn texts<const N: usize>(numbers: [u32; N]) -> [String; N] {
    numbers.map(|n| n.to_string())
}

#[test]
fn a_slow_subscriber_within_the_bound_loses_nothing() {
    for bound in [Topic::new("t").log(10, usize::MAX), Topic::new("t").log(usize::MAX, 4_400)] {
        let mut simulation = tight(&bound);
        let slow = simulation.get("/");
        simulation.stall(slow);
        // The first is being written; ten are kept for it.
        publish(&mut simulation, &bound, (0..=10).map(long));
        simulation.resume(slow);
        simulation.turn();
        assert_eq!(numbers(&simulation, slow), texts([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]));
        assert_eq!((simulation.stats().passed_by, simulation.stats().log_bytes), (0, 0));
    }
}

#[test]
fn one_event_beyond_the_bound_is_one_too_many() {
    for bound in [Topic::new("t").log(10, usize::MAX), Topic::new("t").log(usize::MAX, 4_400)] {
        let mut simulation = tight(&bound);
        let slow = simulation.get("/");
        simulation.stall(slow);
        publish(&mut simulation, &bound, (0..=11).map(long));
        assert_eq!(simulation.stats().closed.slow, 1);
        assert_eq!(simulation.server_end(slow), Some(ServerEnd::Reset));
    }
}

#[test]
fn a_burst_larger_than_the_log_reaches_all_reading_subscribers() {
    let topic = Topic::new("t").log(1, 0);
    let mut simulation = serving(&topic);
    let clients: Vec<_> = (0..600).map(|_| simulation.get("/")).collect();
    simulation.run(|cx| {
        for n in 0..50 {
            cx.publish(&topic, format_args!("{n}")).unwrap();
        }
    });
    let expected: Vec<_> = (0..50).map(|n| n.to_string()).collect();
    for client in clients {
        assert_eq!(data(&simulation, client), expected);
    }
}

#[test]
fn an_event_larger_than_the_log_reaches_all_subscribers_with_every_policy() {
    for policy in [Backpressure::Disconnect, Backpressure::Latest, Backpressure::DropOldest] {
        let topic = Topic::new("t").log(10, 1_000).backpressure(policy);
        let mut simulation = tight(&topic);
        let clients = [simulation.get("/"), simulation.get("/")];
        let slow = simulation.get("/");
        simulation.stall(slow);
        let huge = |n: u32| format!("{n} {}", "x".repeat(100_000));
        publish(&mut simulation, &topic, (0..3).map(huge));
        for client in clients {
            assert_eq!(numbers(&simulation, client), texts([0, 1, 2]));
        }
        simulation.resume(slow);
        simulation.turn();
        let got = numbers(&simulation, slow);
        match policy {
            Backpressure::Latest => assert_eq!(got, texts([0, 2])),
            Backpressure::DropOldest => assert_eq!(got, ["0", "gap", "2"]),
            _ => assert_eq!(simulation.stats().closed.slow, 1),
        }
    }
}

#[test]
fn a_client_cut_as_slow_reconnects_and_misses_nothing() {
    let topic = Topic::new("t").history(100, usize::MAX).log(100, 5_000);
    let mut simulation = tight(&topic);
    let slow = simulation.get("/");
    publish(&mut simulation, &topic, [long(0)]);
    simulation.stall(slow);
    publish(&mut simulation, &topic, (1..=20).map(long));
    assert_eq!(simulation.stats().closed.slow, 1);
    simulation.resume(slow);
    let seen = simulation.events(slow);
    let id = &seen.last().unwrap().last_event_id;
    let back = simulation.get(&format!("/?last_event_id={id}"));
    // The log has discarded some: it gets a gap.
    assert_eq!(simulation.events(back)[0].name, "gap");
    assert_eq!(numbers(&simulation, back).last().unwrap(), "20");
}

#[test]
fn a_slow_subscriber_gets_its_close_reason_exactly_once() {
    let reasons = Rc::new(RefCell::new(Vec::new()));
    let (topic, note) = (Topic::new("t").log(1, 0), Rc::clone(&reasons));
    let watched = topic.clone();
    let mut simulation = Simulation::new(Router::new().get("/", move |_, _| {
        let note = Rc::clone(&note);
        let sse = Sse::new().subscribe(&watched);
        sse.on_disconnect(move |_, _, reason| note.borrow_mut().push(reason))
    }));
    simulation.set_faults(faults(|faults| faults.socket_buffer_bytes = 200));
    let slow = simulation.get("/");
    simulation.stall(slow);
    publish(&mut simulation, &topic, (0..10).map(long));
    assert!(matches!(reasons.borrow()[..], [CloseReason::Slow]));
}

#[test]
fn policies_of_several_topics_on_one_stream_are_kept_apart() {
    let log = |name, policy| Topic::new(name).log(2, usize::MAX).backpressure(policy);
    let newest = log("newest", Backpressure::Latest);
    let rest = log("rest", Backpressure::DropOldest).gap_event("some are gone").unwrap();
    let all = Topic::new("all");
    let mut simulation = serving_all(&[newest.clone(), rest.clone(), all.clone()]);
    simulation.set_faults(faults(|faults| faults.socket_buffer_bytes = 200));
    let slow = simulation.get("/");
    simulation.stall(slow);
    publish(&mut simulation, &all, [long(0)]);
    for n in 1..=5 {
        publish(&mut simulation, &newest, [format!("newest-{n}")]);
        publish(&mut simulation, &rest, [format!("rest-{n}")]);
        publish(&mut simulation, &all, [format!("all-{n}")]);
    }
    simulation.resume(slow);
    simulation.turn();
    let expected = [
        "0",
        "some are gone",
        "all-1",
        "all-2",
        "all-3",
        "rest-4",
        "all-4",
        "newest-5",
        "rest-5",
        "all-5",
    ];
    assert_eq!(numbers(&simulation, slow), expected);
    assert_eq!((simulation.stats().passed_by, simulation.stats().gaps), (2, 1));
}

#[test]
fn a_stream_is_passed_by_again_and_again() {
    let topic = Topic::new("t").log(2, usize::MAX).backpressure(Backpressure::DropOldest);
    let mut simulation = tight(&topic);
    let slow = simulation.get("/");
    for round in 0..3 {
        simulation.stall(slow);
        publish(&mut simulation, &topic, (0..5).map(|n| long(10 * round + n)));
        simulation.resume(slow);
        simulation.turn();
    }
    let expected =
        ["0", "gap", "3", "4", "10", "gap", "13", "14", "20", "gap", "23", "24"].map(String::from);
    assert_eq!(numbers(&simulation, slow), expected);
}

#[test]
fn private_events_find_their_place_between_those_of_topics() {
    let topic = Topic::new("t");
    let mut simulation = tight(&topic);
    let slow = simulation.get("/");
    let [id] = streams(&mut simulation)[..] else { panic!("one stream") };
    simulation.stall(slow);
    publish(&mut simulation, &topic, [long(1), long(2)]);
    simulation.run(|cx| assert!(cx.send(id, "private")));
    publish(&mut simulation, &topic, [long(3)]);
    simulation.resume(slow);
    simulation.turn();
    // After the event being written, before those that wait in the log.
    assert_eq!(numbers(&simulation, slow), ["1", "private", "2", "3"]);
}

#[test]
fn a_private_event_that_the_outbox_cannot_hold_ends_a_blocked_stream() {
    let topic = Topic::new("t");
    let mut simulation = tight(&topic);
    let slow = simulation.get("/");
    let [id] = streams(&mut simulation)[..] else { panic!("one stream") };
    simulation.stall(slow);
    publish(&mut simulation, &topic, [long(1)]);
    simulation.run(|cx| {
        let mut waiting = cx.queued_bytes(id).unwrap();
        assert!((200..400).contains(&waiting));
        while cx.send(id, "x".repeat(10_000)) {
            let now = cx.queued_bytes(id).unwrap();
            assert!(now > waiting && now <= 256 * 1024, "{now}");
            waiting = now;
        }
        assert!(waiting > 240 * 1024);
        assert_eq!(cx.queued_bytes(id), None);
    });
    assert_eq!(simulation.stats().closed.slow, 1);
}

#[test]
fn a_stuck_stream_costs_its_cursor_and_the_event_under_way() {
    let topic = Topic::new("t").log(100, 50_000).backpressure(Backpressure::Latest);
    let mut simulation = tight(&topic);
    let stuck: Vec<_> = (0..50).map(|_| simulation.get("/")).collect();
    stuck.iter().for_each(|client| simulation.stall(*client));
    publish(&mut simulation, &topic, (0..1_000).map(long));
    let ids = streams(&mut simulation);
    simulation.run(|cx| {
        for id in ids {
            assert!(cx.queued_bytes(id).unwrap() < 500);
        }
    });
    assert!(simulation.stats().log_bytes <= 50_000);
}

#[test]
fn slow_http_1_0_clients_get_complete_events_too() {
    let topic = Topic::new("t").log(2, usize::MAX).backpressure(Backpressure::DropOldest);
    let mut simulation = tight(&topic);
    let old = get_1_0(&mut simulation, "/", "");
    simulation.stall(old);
    publish(&mut simulation, &topic, (0..5).map(long));
    simulation.resume(old);
    simulation.turn();
    assert_eq!(numbers(&simulation, old), ["0", "gap", "3", "4"]);
}

#[test]
fn topic_events_stand_in_for_keep_alives() {
    let topic = Topic::new("t");
    let watched = topic.clone();
    let mut simulation = Simulation::new(Router::new().get("/", move |_, _| {
        Sse::new().subscribe(&watched).keep_alive(KeepAlive::Every(secs(10)))
    }));
    let client = simulation.get("/");
    for _ in 0..20 {
        simulation.advance(secs(9));
        publish(&mut simulation, &topic, ["here I am"]);
    }
    assert_eq!((simulation.events(client).len(), simulation.stats().keep_alives), (20, 0));
    simulation.advance(secs(9));
    assert_eq!(simulation.stats().keep_alives, 0);
    simulation.advance(secs(1));
    assert_eq!(simulation.stats().keep_alives, 1);
    simulation.advance(secs(95));
    assert_eq!(simulation.stats().keep_alives, 10);
}

#[test]
fn a_stream_that_waits_for_its_client_gets_no_keep_alives_in_between() {
    let topic = Topic::new("t");
    let mut simulation = tight(&topic);
    let slow = simulation.get("/");
    simulation.stall(slow);
    publish(&mut simulation, &topic, [long(1), long(2)]);
    simulation.advance(secs(59));
    assert_eq!(simulation.stats().keep_alives, 0);
    simulation.resume(slow);
    simulation.turn();
    assert_eq!(numbers(&simulation, slow), ["1", "2"]);
}

#[test]
fn events_of_one_turn_leave_in_one_write() {
    let [a, b] = ["a", "b"].map(Topic::new);
    let mut simulation = serving_all(&[a.clone(), b.clone()]);
    let client = simulation.get("/");
    let before = simulation.writes(client);
    simulation.run(|cx| {
        for n in 0..8 {
            cx.publish(&a, format_args!("a{n}")).unwrap();
            cx.publish(&b, format_args!("b{n}")).unwrap();
        }
    });
    assert_eq!(simulation.events(client).len(), 16);
    assert_eq!(simulation.writes(client) - before, 1);
}

#[test]
fn joining_at_the_oldest_of_a_topic_that_keeps_nothing_is_joining_live() {
    let topic = Topic::new("t");
    let watched = topic.clone();
    let mut simulation = Simulation::new(
        Router::new().get("/", move |_, _| Sse::new().subscribe_at(&watched, JoinAt::Oldest)),
    );
    let first = simulation.get("/");
    publish(&mut simulation, &topic, ["1"]);
    let second = simulation.get("/");
    publish(&mut simulation, &topic, ["2"]);
    assert_eq!(data(&simulation, first), ["1", "2"]);
    assert_eq!(data(&simulation, second), ["2"]);
}

#[test]
fn a_log_keeps_what_its_options_say() {
    let mut simulation = Simulation::new(Router::new());
    let (kept, last) = (Topic::new("kept").history(5, usize::MAX), Topic::new("last").retain());
    publish(&mut simulation, &Topic::new("nothing"), (0..100).map(long));
    assert_eq!((simulation.stats().log_bytes, simulation.stats().published), (0, 0));
    publish(&mut simulation, &last, (0..100).map(long));
    let one = simulation.stats().log_bytes;
    assert!((400..500).contains(&one), "{one}");
    publish(&mut simulation, &kept, (0..100).map(long));
    let five = simulation.stats().log_bytes - one;
    assert!((2_000..2_500).contains(&five), "{five}");
}
