//! One machine: a process of its own that shares its topics with the other one.

use std::{cell::Cell, error::Error, process, time::Duration};

use starwheel::{
    Backplane, BoxError, Context, Event, EventError, Reactor, Response, ReusePort, Router, Sse,
    StatusCode, Stream, Topic,
};

pub(crate) fn run(name: &str, address: &str, redis: &str) -> Result<(), Box<dyn Error>> {
    let name: &'static str = name.to_owned().leak();
    let mut reactor = Reactor::new(routes(name))?;
    reactor.join(&Backplane::redis(redis)?.namespace("cluster"))?;
    publish_numbers(name, &mut reactor.context());
    // Both machines have a socket for the address, and the system spreads clients over them.
    reactor.listen_with(address, ReusePort::Shared)?;
    println!("ready");
    Ok(reactor.run()?)
}

fn routes(name: &'static str) -> Router {
    Router::new()
        .get("/", |_req, _cx| Response::html(include_str!("cluster.html")))
        .get("/numbers", move |_req, _cx| {
            let updater = move |stream: &mut Stream<'_>| -> Result<(), BoxError> {
                let state = state(name, &stream.context())?;
                stream.send(state);
                Ok(())
            };
            Sse::every(Duration::from_millis(250), updater).subscribe(&numbers())
        })
        // The parent process reads this line, and obeys.
        .post("/kill", |req, _cx| match req.query_value("what").as_deref() {
            Some(what @ ("a" | "b" | "redis")) => {
                println!("kill {what}");
                Response::no_content()
            }
            _ => Response::error(StatusCode::BAD_REQUEST, "what is a, b or redis"),
        })
}

/// What both machines publish on.
fn numbers() -> Topic {
    Topic::new("numbers").history(1_000, 64 * 1024)
}

/// Which machine a page hangs on, and what that knows of Redis. It comes from the stream's own
/// updater, which does not need Redis.
fn state(name: &str, cx: &Context<'_>) -> Result<Event<'static>, EventError> {
    let backplane = cx.backplane().unwrap_or_default();
    let state = format!(
        r#"{{"machine":"{name}","pid":{},"redis":{},"down_ms":{},"outbox_bytes":{},"streams":{}}}"#,
        process::id(),
        backplane.connected,
        backplane.down_for.map_or(0, |down| down.as_millis()),
        backplane.outbox_bytes,
        cx.stats().streams,
    );
    Event::new(state).name("state")
}

/// Numbers from 1 in the life of this process. The page knows that one is missing by the next.
fn publish_numbers(name: &'static str, cx: &mut Context<'_>) {
    let next = Cell::new(1_u64);
    cx.every(Duration::from_millis(200), move |cx| {
        let number = next.get();
        let event = format!(r#"{{"from":"{name}","life":{},"number":{number}}}"#, process::id());
        // If the outbox is full, the same number follows later.
        if cx.publish(&numbers(), event).is_ok() {
            next.set(number + 1);
        }
    });
}
