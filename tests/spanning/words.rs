//! Helpers for tests of several workers.

use std::time::Duration;

use starwheel::{
    Context, Method, Request, Router, Sse, Topic,
    testing::{Client, LinkFaults, SimulatedWorkers},
};

/// Workers whose streams subscribe to the topics that `?t=0,2` names; all without `t`.
pub(crate) fn workers_with(count: usize, topics: &[Topic]) -> SimulatedWorkers {
    SimulatedWorkers::new(count, |_worker| {
        let topics = topics.to_vec();
        Router::new().get("/", move |req: &Request, _cx: &mut Context<'_>| {
            chosen(req, &topics).fold(Sse::new(), |sse, topic| sse.subscribe(topic))
        })
    })
}

/// The topics that a request names.
pub(crate) fn chosen<'a>(req: &Request, topics: &'a [Topic]) -> impl Iterator<Item = &'a Topic> {
    let named = req.query_value("t").map(|numbers| numbers.into_owned());
    let is_named = move |number: usize| match &named {
        Some(numbers) => numbers.split(',').any(|it| it.parse() == Ok(number)),
        None => true,
    };
    topics.iter().enumerate().filter(move |(number, _)| is_named(*number)).map(|(_, it)| it)
}

/// A client of this worker that comes with an id.
pub(crate) fn come_back(workers: &mut SimulatedWorkers, to: usize, id: &str) -> Client {
    let client = workers[to].connect();
    workers[to].request(client, Method::Get, "/", &[("Last-Event-ID", id)], b"");
    workers.turn();
    client
}

/// What a client got: the data of events, and `gap NAME`.
pub(crate) fn got(workers: &SimulatedWorkers, worker: usize, client: Client) -> Vec<String> {
    let events = workers[worker].events(client).into_iter();
    let text = |name: &str, data: String| if name == "gap" { format!("gap {data}") } else { data };
    events.map(|event| text(&event.name.clone(), event.data)).collect()
}

/// The same with ids.
pub(crate) fn with_ids(
    workers: &SimulatedWorkers,
    worker: usize,
    client: Client,
) -> Vec<(String, String)> {
    let events = workers[worker].events(client).into_iter();
    events.map(|event| (event.data, event.last_event_id)).collect()
}

pub(crate) fn publish(workers: &mut SimulatedWorkers, topic: &Topic, data: impl ToString) {
    workers.handle().publish(topic, data.to_string()).unwrap();
    workers.turn();
}

pub(crate) fn link_faults(set: impl FnOnce(&mut LinkFaults)) -> LinkFaults {
    let mut faults = LinkFaults::default();
    set(&mut faults);
    faults
}

pub(crate) const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}
