//! Helpers.

use std::{fmt::Display, time::Duration};

use starwheel::{
    Encode, Event, EventBuffer, JoinAt, Method, Router, Sse, Topic,
    testing::{BodyEnd, Client, ClientResponse, Simulation},
};

pub(crate) const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// As a run is declared everywhere.
pub(crate) fn run() -> Topic {
    Topic::new("run").history(100, 100_000).keep_finished(secs(600))
}

/// A router whose streams at `/` get all of these topics from the oldest event on.
pub(crate) fn router(topics: &[Topic]) -> Router {
    let topics = topics.to_vec();
    Router::new().get("/", move |_req, _cx| {
        topics.iter().fold(Sse::new(), |sse, topic| sse.subscribe_at(topic, JoinAt::Oldest))
    })
}

pub(crate) fn serving(topics: &[Topic]) -> Simulation {
    Simulation::new(router(topics))
}

/// Publishes each event in its own turn.
pub(crate) fn publish<E: Display>(
    simulation: &mut Simulation,
    topic: &Topic,
    events: impl IntoIterator<Item = E>,
) {
    for event in events {
        simulation.run(|cx| cx.publish(topic, format_args!("{event}")).unwrap());
    }
}

pub(crate) fn finish(simulation: &mut Simulation, topic: &Topic, event: &str) {
    simulation.run(|cx| cx.finish(topic, event).unwrap());
}

/// A client reconnects with this id.
pub(crate) fn back(simulation: &mut Simulation, last_event_id: &str) -> Client {
    let client = simulation.connect();
    let fields = [("Last-Event-ID", last_event_id)];
    simulation.request(client, Method::Get, "/", &fields, b"");
    simulation.turn();
    client
}

/// The data of all events; a gap by its name.
pub(crate) fn got(answer: &ClientResponse) -> Vec<String> {
    let word = |event: starwheel::testing::ParsedEvent| match event.name.as_str() {
        "gap" => "gap".to_owned(),
        _ => event.data,
    };
    answer.events().into_iter().map(word).collect()
}

/// The client has got a complete stream with these events, and nothing after it.
#[track_caller]
pub(crate) fn assert_ended(simulation: &Simulation, client: Client, expected: &[&str]) {
    let answer = simulation.response(client);
    assert_eq!(answer.status, 200);
    assert_eq!(got(&answer), expected);
    assert_eq!(answer.end, BodyEnd::Complete);
}

/// The client has got these events, and its stream is open.
#[track_caller]
pub(crate) fn assert_open(simulation: &Simulation, client: Client, expected: &[&str]) {
    let answer = simulation.response(client);
    assert_eq!(answer.status, 200);
    assert_eq!(got(&answer), expected);
    assert_eq!(answer.end, BodyEnd::Open);
}

/// The client has been told to stay away.
#[track_caller]
pub(crate) fn assert_stays_away(simulation: &Simulation, client: Client) {
    assert_eq!(simulation.response(client).status, 204);
}

/// Events that are published together; perhaps none.
pub(crate) struct Together(pub(crate) &'static [&'static str]);

impl Encode for Together {
    fn encode(&self, out: &mut EventBuffer) {
        self.0.iter().for_each(|data| out.push(&Event::new(*data)));
    }
}
