//! What there is to look at: streams with an updater, topics, and some work that goes wrong.

use std::time::Duration;

use starwheel::{Backpressure, KeepAlive, Response, Router, Sse, StatusCode, Topic, Worker};

pub(crate) fn routes() -> Router {
    Router::new()
        .get("/prices", |_req, _cx| {
            let mut count = 0;
            Sse::every(Duration::from_millis(500), move |stream| {
                count += 1;
                stream.send(format_args!("price {count}"));
            })
        })
        .get("/news", |_req, _cx| Sse::new().subscribe(&news()))
        .get("/rooms/{name}", |req, _cx| {
            let name = req.param("name").unwrap_or_default();
            match ROOMS.contains(&name) {
                true => Ok(Sse::new().subscribe(&room(name)).tag(format!("guest of {name}"))),
                false => Err(Response::not_found()),
            }
        })
        // More than a client on a phone can read.
        .get("/video", |req, _cx| {
            let user = req.query_value("user").unwrap_or_default().into_owned();
            let quiet = KeepAlive::Off;
            Sse::every(Duration::from_millis(200), |stream| stream.send("-".repeat(64 * 1024)))
                .subscribe(&news())
                .tag(user)
                .keep_alive(quiet)
        })
        .get("/report", |_req, _cx| -> Result<Response, Response> {
            Err(Response::error(StatusCode::SERVICE_UNAVAILABLE, "too much to do")
                .with_retry_after(Duration::from_secs(1)))
        })
}

/// The first worker publishes for all.
pub(crate) fn drive(worker: &mut Worker<'_>) {
    if worker.number() > 0 {
        return;
    }
    let mut cx = worker.context();
    let mut count = 0;
    cx.every(Duration::from_millis(250), move |cx| {
        count += 1;
        // A full queue of another worker: the next event comes soon.
        _ = cx.publish(
            &news(),
            format!("{count}: the same words as before, {}", "and so on ".repeat(40)),
        );
        if let Some(name) = ROOMS.get(count % (4 * ROOMS.len())) {
            _ = cx.publish(&room(name), format!("message {count}"));
        }
    });
}

fn news() -> Topic {
    Topic::new("news").history(200, 256 * 1024).backpressure(Backpressure::Latest).metrics()
}

fn room(name: &str) -> Topic {
    Topic::new(format!("room {name}")).metrics()
}

const ROOMS: [&str; 3] = ["garden", "kitchen", "attic"];
