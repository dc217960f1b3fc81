//! The dashboard: its page, its stream, what it says, and what it costs.

#[path = "dashboard/cost.rs"]
mod cost;
#[path = "dashboard/page.rs"]
mod page;
#[path = "dashboard/slow_clients.rs"]
mod slow_clients;
#[path = "support/story.rs"]
mod story;
#[path = "dashboard/stream.rs"]
mod stream;
#[path = "dashboard/workers.rs"]
mod workers;

use serde_json::Value;
use starwheel::{
    Method, Router, Sse, Topic,
    testing::{Client, Simulation},
};

use crate::story::ms;

/// Routes to look at, and the dashboard at `/ops`.
fn routes() -> Router {
    Router::new()
        .get("/ops", starwheel::dashboard())
        .get("/ticks", |_req, _cx| Sse::every(ms(100), |stream| stream.send("tick")))
        .get("/rooms/{name}", |req, _cx| {
            let name = req.param("name").unwrap_or_default().to_owned();
            let room = Topic::new(name).metrics();
            match req.query_value("tag") {
                Some(tag) => Sse::new().subscribe(&room).tag(&*tag),
                None => Sse::new().subscribe(&room),
            }
        })
}

/// Somebody opens the page: its stream.
fn look(simulation: &mut Simulation) -> Client {
    let viewer = simulation.connect();
    let accept = [("Accept", "text/event-stream")];
    simulation.request(viewer, Method::Get, "/ops", &accept, b"");
    simulation.turn();
    viewer
}

/// All that a viewer was sent.
fn told(simulation: &Simulation, viewer: Client) -> Vec<Value> {
    let events = simulation.events(viewer);
    events.iter().map(|event| serde_json::from_str(&event.data).unwrap()).collect()
}

/// The snapshots, without what comes before the first one.
fn snapshots(simulation: &Simulation, viewer: Client) -> Vec<Value> {
    told(simulation, viewer).into_iter().filter(|it| it.get("workers").is_some()).collect()
}

fn last_snapshot(simulation: &Simulation, viewer: Client) -> Value {
    snapshots(simulation, viewer).pop().expect("a snapshot")
}

/// The entry of a list that has this name.
fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let entries = list.as_array().expect("a list");
    entries.iter().find(|it| it["name"] == name).unwrap_or_else(|| panic!("no {name}: {list}"))
}
