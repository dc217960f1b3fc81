//! The stream: what viewers are sent, and when.

use serde_json::json;
use starwheel::{Router, Sse, testing::Simulation};

use crate::{
    last_snapshot, look, named, routes, snapshots,
    story::{ms, secs},
    told,
};

#[test]
fn a_viewer_gets_a_snapshot_at_once_and_one_a_second() {
    let mut simulation = Simulation::new(routes());
    let viewer = look(&mut simulation);
    assert_eq!(snapshots(&simulation, viewer).len(), 1);
    simulation.advance(secs(10));
    assert_eq!(snapshots(&simulation, viewer).len(), 11);
}

#[test]
fn two_viewers_share_each_snapshot() {
    let mut simulation = Simulation::new(routes());
    let first = look(&mut simulation);
    simulation.advance(ms(500));
    let second = look(&mut simulation);
    simulation.advance(secs(5));
    let numbers = |viewer| -> Vec<_> {
        let snapshots = snapshots(&simulation, viewer);
        snapshots.iter().map(|snapshot| snapshot["number"].as_u64().unwrap()).collect()
    };
    assert_eq!(numbers(first), [1, 2, 3, 4, 5, 6]);
    assert_eq!(numbers(second), [2, 3, 4, 5, 6]);
    assert_eq!(last_snapshot(&simulation, second)["viewers"], 2);
}

#[test]
fn a_later_viewer_gets_the_last_minutes_too() {
    let mut simulation = Simulation::new(routes());
    simulation.get("/ticks");
    look(&mut simulation);
    simulation.advance(secs(400));
    let second = look(&mut simulation);
    let past = &told(&simulation, second)[0]["past"];
    let past = past.as_array().unwrap();
    assert_eq!(past.len(), 300);
    let ticks = |at: usize| past[at]["workers"][0]["ticks"].as_u64().unwrap();
    // Ten of the stream, and one of the dashboard itself.
    assert_eq!(ticks(299) - ticks(0), 299 * 11);
}

#[test]
fn a_reload_keeps_the_past_and_a_minute_without_viewers_frees_it() {
    let mut simulation = Simulation::new(routes());
    let first = look(&mut simulation);
    simulation.advance(secs(10));
    simulation.reset(first);
    simulation.advance(secs(5));
    let second = look(&mut simulation);
    assert_eq!(told(&simulation, second)[0]["past"].as_array().unwrap().len(), 11);
    simulation.reset(second);
    simulation.advance(secs(125));
    let third = look(&mut simulation);
    assert_eq!(told(&simulation, third)[0]["past"], json!([]));
    assert_eq!(last_snapshot(&simulation, third)["number"], 1);
}

/// `Stats` and `/metrics` have the same numbers.
#[test]
fn figures_are_those_of_the_statistics() {
    let mut simulation = Simulation::new(routes());
    let viewer = look(&mut simulation);
    for _ in 0..3 {
        simulation.get("/ticks");
    }
    let gone = simulation.get("/rooms/news");
    simulation.get("/rooms/news");
    simulation.reset(gone);
    simulation.get("/nowhere");
    simulation.advance(secs(2));
    let worker = &last_snapshot(&simulation, viewer)["workers"][0];
    let stats = simulation.stats();
    for (name, expected) in [
        ("streams", stats.streams),
        ("connections", stats.connections),
        ("opened", stats.opened),
        ("requests", stats.requests),
        ("panics", 0),
    ] {
        assert_eq!(worker[name].as_u64().unwrap_or(0), expected, "{name}");
    }
    assert_eq!((stats.streams, stats.opened), (5, 6), "its own stream counts");
    assert_eq!(worker["closed"], json!({ "io": stats.closed.io }));
    let ticks = worker["ticks"].as_u64().unwrap();
    assert_eq!(worker["lateness"].as_array().unwrap().len(), 13);
    assert!(stats.ticks - ticks <= 3, "those of the last instant come after it");
    assert_eq!(named(&worker["routes"], "/ticks")["streams"], 3);
    assert_eq!(named(&worker["routes"], "/ops")["streams"], 1);
    assert_eq!(named(&worker["topics"], "news")["subscribers"], 1);
}

#[test]
fn what_is_not_used_is_not_sent() {
    let mut simulation = Simulation::new(routes());
    let viewer = look(&mut simulation);
    let snapshot = last_snapshot(&simulation, viewer);
    let worker = snapshot["workers"][0].as_object().unwrap();
    for absent in ["tls", "compression", "refused", "slow", "silent_ms", "stopped"] {
        assert!(!worker.contains_key(absent), "{absent}: {worker:?}");
    }
    assert!(snapshot.get("backplane").is_none() && snapshot.get("draining_ms").is_none());
}

#[test]
fn names_arrive_as_they_are() {
    let hostile = "<img src=x onerror=alert(1)>\u{2028}\"},\n__proto__";
    let pattern = "/<img/onerror=x>/{id}";
    let router =
        Router::new().get("/ops", starwheel::dashboard()).get(pattern, move |_req, _cx| {
            Sse::new().subscribe(&starwheel::Topic::new(hostile).metrics()).tag(hostile)
        });
    let mut simulation = Simulation::new(router);
    simulation.get("/<img/onerror=x>/1");
    simulation.advance(secs(1));
    let viewer = look(&mut simulation);
    simulation.advance(secs(1));
    let worker = &last_snapshot(&simulation, viewer)["workers"][0];
    assert_eq!(named(&worker["topics"], hostile)["subscribers"], 1);
    assert_eq!(named(&worker["routes"], pattern)["streams"], 1);
}

/// Names of topics may come from clients.
#[test]
fn no_topic_of_the_program_carries_snapshots() {
    let mut simulation = Simulation::new(routes());
    look(&mut simulation);
    let spies: Vec<_> = (0..20)
        .flat_map(|number| [format!("%01dashboard%20{number}"), format!("dashboard%20{number}")])
        .map(|name| simulation.get(&format!("/rooms/{name}")))
        .collect();
    simulation.advance(secs(3));
    assert!(spies.iter().all(|spy| simulation.events(*spy).is_empty()));
}

#[test]
fn a_drain_is_shown_with_the_time_that_is_left() {
    let mut simulation = Simulation::new(routes());
    for _ in 0..9 {
        simulation.get("/ticks");
    }
    // The last one to leave.
    let viewer = look(&mut simulation);
    simulation.handle().drain(secs(10));
    simulation.advance(secs(1));
    assert_eq!(last_snapshot(&simulation, viewer)["draining_ms"], 9_000);
}
