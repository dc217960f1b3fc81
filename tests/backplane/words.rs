//! Helpers for tests of several machines.

use std::time::Duration;

use starwheel::{
    Config, Context, JoinAt, Method, Request, Router, Sse, Topic,
    testing::{Client, SimulatedMachines, StoreFaults},
};

/// Machines with so many workers, whose streams subscribe to the topics that `?t=0,2` names; all
/// without `t`. Those of `/oldest` get all events that are kept. The topics are values of their own at each worker.
pub(crate) fn machines_with(workers: &[usize], topics: &[Topic]) -> SimulatedMachines {
    let topics = topics.to_vec();
    SimulatedMachines::with_config(&Config::default(), 0, workers, move |_, _| {
        let topics = topics.clone();
        let all = topics.clone();
        let oldest = move |_req: &Request, _cx: &mut Context<'_>| {
            all.iter().fold(Sse::new(), |sse, topic| sse.subscribe_at(topic, JoinAt::Oldest))
        };
        Router::new().get("/oldest", oldest).get(
            "/",
            move |req: &Request, _cx: &mut Context<'_>| {
                let named = req.query_value("t").map(|numbers| numbers.into_owned());
                let is_named = |number: usize| match &named {
                    Some(numbers) => numbers.split(',').any(|it| it.parse() == Ok(number)),
                    None => true,
                };
                let chosen = topics.iter().enumerate().filter(|(number, _)| is_named(*number));
                chosen.fold(Sse::new(), |sse, (_, topic)| sse.subscribe(topic))
            },
        )
    })
}

/// A client of this worker that comes with an id.
pub(crate) fn come_back(
    machines: &mut SimulatedMachines,
    at: (usize, usize),
    target: &str,
    id: &str,
) -> Client {
    let client = machines[at].connect();
    machines[at].request(client, Method::Get, target, &[("Last-Event-ID", id)], b"");
    machines.turn();
    client
}

/// What a client got: the data of events, and `gap NAME`.
pub(crate) fn got(machines: &SimulatedMachines, at: (usize, usize), client: Client) -> Vec<String> {
    let events = machines[at].events(client).into_iter();
    let text = |name: &str, data: String| if name == "gap" { format!("gap {data}") } else { data };
    events.map(|event| text(&event.name.clone(), event.data)).collect()
}

pub(crate) fn publish(
    machines: &mut SimulatedMachines,
    machine: usize,
    topic: &Topic,
    data: impl ToString,
) {
    machines.handle(machine).publish(topic, data.to_string()).unwrap();
    machines.turn();
}

pub(crate) fn store_faults(set: impl FnOnce(&mut StoreFaults)) -> StoreFaults {
    let mut faults = StoreFaults::default();
    set(&mut faults);
    faults
}

pub(crate) fn history(name: &str) -> Topic {
    Topic::new(name).history(100, 1 << 16).backpressure(starwheel::Backpressure::DropOldest)
}

pub(crate) const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}
