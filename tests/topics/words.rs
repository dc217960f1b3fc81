//! Helpers for tests of topics.

#![allow(dead_code, reason = "each test program uses the words it needs")]

use std::fmt::Display;

use starwheel::{
    Router, Sse, StreamId, Topic,
    testing::{Client, Simulation},
};

/// A server with one topic at `/`.
pub(crate) fn serving(topic: &Topic) -> Simulation {
    let topic = topic.clone();
    Simulation::new(Router::new().get("/", move |_req, _cx| Sse::new().subscribe(&topic)))
}

/// A server whose streams at `/` have several topics.
pub(crate) fn serving_all(topics: &[Topic]) -> Simulation {
    let topics = topics.to_vec();
    Simulation::new(Router::new().get("/", move |_req, _cx| {
        topics.iter().fold(Sse::new(), |sse, topic| sse.subscribe(topic))
    }))
}

/// Publishes each event in its own turn.
pub(crate) fn publish<E: Display>(
    simulation: &mut Simulation,
    topic: &Topic,
    events: impl IntoIterator<Item = E>,
) {
    for event in events {
        simulation.run(|cx| {
            cx.publish(topic, format_args!("{event}")).unwrap();
        });
    }
}

/// The open streams in the order in which they were opened, if none has ended yet.
pub(crate) fn streams(simulation: &mut Simulation) -> Vec<StreamId> {
    let mut ids = Vec::new();
    simulation.run(|cx| ids = cx.streams().collect());
    ids
}

/// The id of the last event that a client has got.
pub(crate) fn last_id(simulation: &Simulation, client: Client) -> String {
    simulation.events(client).last().expect("an event").last_event_id.clone()
}

/// Number of subscribers of the topic.
pub(crate) fn subscribers(simulation: &mut Simulation, topic: &Topic) -> usize {
    let mut count = 0;
    simulation.run(|cx| count = cx.subscribers(topic));
    count
}

/// Names and data.
pub(crate) fn named(simulation: &Simulation, client: Client) -> Vec<(String, String)> {
    simulation.events(client).into_iter().map(|event| (event.name, event.data)).collect()
}
