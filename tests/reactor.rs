//! The reactor with real sockets, through the public API.

#[path = "support/client.rs"]
mod client;
#[path = "support/server.rs"]
mod server;

#[path = "reactor/adopting.rs"]
mod adopting;
#[path = "reactor/clients.rs"]
mod clients;
#[path = "reactor/ending.rs"]
mod ending;
#[path = "reactor/epochs.rs"]
mod epochs;
#[path = "reactor/handing_over.rs"]
mod handing_over;
#[path = "reactor/handles.rs"]
mod handles;
#[path = "reactor/listening.rs"]
mod listening;
#[path = "reactor/reading.rs"]
mod reading;
#[path = "reactor/silence.rs"]
mod silence;
#[path = "reactor/spawning.rs"]
mod spawning;
#[path = "reactor/turning.rs"]
mod turning;

use std::time::{Duration, Instant};

use client::PATIENCE;
use starwheel::{FirstTick, KeepAlive, Reactor, Response, Router, Sse, Stats};

/// `/hello`, a silent stream, and one that counts every 10 ms.
fn routes() -> Router {
    Router::new()
        .get("/hello", |_req, _cx| Response::text("hello"))
        .get("/idle", |_req, _cx| Sse::new().keep_alive(KeepAlive::Off))
        .get("/count", |_req, _cx| {
            let mut count = 0;
            Sse::every(Duration::from_millis(10), move |stream| {
                stream.send(format_args!("{count}"));
                count += 1;
            })
        })
        .get("/later", |_req, _cx| {
            let tick = Duration::from_millis(20);
            Sse::every(tick, |stream| stream.send("tick")).first_tick(FirstTick::AfterInterval)
        })
}

fn listening() -> (Reactor, std::net::SocketAddr) {
    let mut reactor = Reactor::new(routes()).unwrap();
    let address = reactor.listen("127.0.0.1:0").unwrap();
    (reactor, address)
}

/// Turns until the statistics are as expected.
fn turn_until(reactor: &mut Reactor, what: &str, is_so: impl Fn(&Stats) -> bool) {
    let start = Instant::now();
    while !is_so(reactor.stats()) {
        assert!(start.elapsed() < PATIENCE, "never true: {what}: {:?}", reactor.stats());
        reactor.turn(Some(Duration::from_millis(100))).unwrap();
    }
}

/// Turns until no work is left.
fn turn_until_quiet(reactor: &mut Reactor) {
    loop {
        reactor.turn(Some(Duration::ZERO)).unwrap();
        if reactor.next_deadline() != Some(Duration::ZERO) {
            return;
        }
    }
}
