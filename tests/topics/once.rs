//! `publish_once`: events with keys, from publishers that try again.

use std::time::Duration;

use starwheel::{
    Topic, TrySendError,
    testing::{LinkFaults, SimulatedWorkers},
};

use crate::{story::data, words::serving};

const FIVE_MINUTES: Duration = Duration::from_secs(300);

#[test]
fn an_event_with_a_known_key_is_not_published_again() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    let client = simulation.get("/");
    let handle = simulation.handle();
    handle.publish_once(&topic, "1", "first").unwrap();
    handle.publish_once(&topic, "1", "again").unwrap();
    simulation.turn();
    simulation.run(|cx| {
        cx.publish_once(&topic, "1", "and from a closure").unwrap();
        cx.publish_once(&topic, "2", "second").unwrap();
        cx.publish_once(&Topic::new("other"), "3", "the key of another topic").unwrap();
        cx.publish_once(&topic, "3", "third").unwrap();
    });
    simulation.turn();
    assert_eq!(data(&simulation, client), ["first", "second", "third"]);
}

#[test]
fn a_key_is_known_for_five_minutes() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    let client = simulation.get("/");
    for (event, wait) in [
        ("first", FIVE_MINUTES - Duration::from_millis(1)),
        ("too early", Duration::from_millis(1)),
        ("second", Duration::ZERO),
    ] {
        simulation.run(|cx| cx.publish_once(&topic, "key", event).unwrap());
        simulation.advance(wait);
    }
    assert_eq!(data(&simulation, client), ["first", "second"]);
}

#[test]
fn workers_know_the_same_keys() {
    let topic = Topic::new("t").history(10, 10_000);
    let watched = topic.clone();
    let mut workers = SimulatedWorkers::new(2, |_| {
        let topic = watched.clone();
        starwheel::Router::new().get("/", move |_, _| starwheel::Sse::new().subscribe(&topic))
    });
    let client = workers[1].get("/");
    for worker in [0, 1, 0] {
        workers[worker].context().publish_once(&topic, "row 7", format!("from {worker}")).unwrap();
    }
    workers.handle_of_all().publish_once(&topic, "row 7", "from outside").unwrap();
    workers.turn();
    assert_eq!(data(&workers[1], client), ["from 0"]);
}

#[test]
fn a_refused_event_does_not_use_up_its_key() {
    let topic = Topic::new("t");
    let watched = topic.clone();
    let mut workers = SimulatedWorkers::new(2, |_| {
        let topic = watched.clone();
        starwheel::Router::new().get("/", move |_, _| starwheel::Sse::new().subscribe(&topic))
    });
    let client = workers[1].get("/");
    let mut faults = LinkFaults::default();
    faults.queue_events = 1;
    faults.delay_max = Duration::from_millis(1);
    workers.set_link_faults(1, faults);
    workers.stop(1);
    let handle = workers.handle();
    while handle.publish(&topic, "filling").is_ok() {}
    let refused = handle.publish_once(&topic, "key", "event").unwrap_err();
    assert_eq!(refused, TrySendError::Full("event"));
    workers.set_link_faults(1, LinkFaults::default());
    workers.resume(1);
    workers.advance(Duration::from_millis(10));
    handle.publish_once(&topic, "key", refused.into_inner()).unwrap();
    handle.publish_once(&topic, "key", "again").unwrap();
    workers.advance(Duration::from_millis(10));
    assert_eq!(data(&workers[1], client).last().unwrap(), "event");
}
