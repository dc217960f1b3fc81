//! Several workers: one page for all of them.

use serde_json::Value;
use starwheel::testing::SimulatedWorkers;

use crate::{last_snapshot, look, named, routes, story::secs};

fn workers() -> SimulatedWorkers {
    SimulatedWorkers::new(3, |_worker| routes())
}

fn of_workers(
    workers: &SimulatedWorkers,
    worker: usize,
    viewer: starwheel::testing::Client,
) -> Vec<Value> {
    last_snapshot(&workers[worker], viewer)["workers"].as_array().unwrap().clone()
}

#[test]
fn a_viewer_of_one_worker_sees_all() {
    let mut workers = workers();
    workers[0].get("/ticks");
    workers[2].get("/rooms/news");
    workers[2].get("/rooms/news");
    let viewer = look(&mut workers[1]);
    workers.advance(secs(2));
    let seen = of_workers(&workers, 1, viewer);
    let streams: Vec<_> = seen.iter().map(|it| it["streams"].as_u64().unwrap_or(0)).collect();
    assert_eq!(streams, [1, 1, 2]);
    assert_eq!(named(&seen[2]["topics"], "news")["subscribers"], 2);
    assert_eq!(last_snapshot(&workers[1], viewer)["worker"], 1);
}

#[test]
fn slow_clients_of_other_workers_are_named() {
    let mut workers = workers();
    let viewer = look(&mut workers[0]);
    let client = workers[2].get("/rooms/news?tag=anna");
    workers[2].stall(client);
    workers[2].set_faults(crate::story::faults(|faults| faults.socket_buffer_bytes = 0));
    workers[2].run(|cx| cx.publish(&starwheel::Topic::new("news").metrics(), "x").unwrap());
    workers.advance(secs(3));
    let seen = of_workers(&workers, 0, viewer);
    assert_eq!(seen[2]["slow"][0]["tag"], "anna");
    assert_eq!(seen[2]["slow"][0]["lag"], 1);
    assert!(seen[0].get("slow").is_none());
}

#[test]
fn a_worker_that_stands_still_is_shown_with_its_last_figures() {
    let mut workers = workers();
    let viewer = look(&mut workers[0]);
    workers[1].get("/ticks");
    workers.advance(secs(2));
    assert!(of_workers(&workers, 0, viewer)[1].get("silent_ms").is_none());
    workers.stop(1);
    workers.advance(secs(10));
    let seen = of_workers(&workers, 0, viewer);
    assert!((9_000..=10_000).contains(&seen[1]["silent_ms"].as_u64().unwrap()), "{}", seen[1]);
    assert_eq!(seen[1]["streams"], 1);
    assert!(seen[2].get("silent_ms").is_none());
    workers.resume(1);
    workers.advance(secs(2));
    assert!(of_workers(&workers, 0, viewer)[1].get("silent_ms").is_none());
}

/// A worker that stands still is asked once, and its queue does not fill.
#[test]
fn one_question_at_a_time_is_on_its_way() {
    let mut workers = workers();
    look(&mut workers[0]);
    workers.advance(secs(1));
    workers.stop(1);
    workers.advance(secs(60));
    workers.resume(1);
    workers.turn_once();
    let waiting = workers[1].stats().queue_depth;
    assert!(waiting <= 1, "{waiting} commands at the start of its turn");
}
