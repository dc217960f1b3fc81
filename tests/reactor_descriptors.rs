//! Descriptors are released. A separate program, because it counts those of the complete process.
#![cfg(target_os = "linux")]

#[path = "support/client.rs"]
mod client;
#[path = "support/server.rs"]
mod server;

use std::{fs, time::Duration};

use starwheel::{Context, Reactor, Request, Response, Router, Sse};

use client::{Client, wait_for};
use server::Server;

#[test]
fn descriptors_come_back() {
    reactors_come_and_go();
    connections_come_and_go();
}

fn reactors_come_and_go() {
    let hello = |_: &Request, _: &mut Context<'_>| Response::text("hello");
    let turn = || {
        let mut reactor = Reactor::new(hello).unwrap();
        let address = reactor.listen("127.0.0.1:0").unwrap();
        reactor.drain_on_signals(Duration::from_secs(1)).unwrap();
        let client = Client::connect(address);
        while reactor.stats().accepted == 0 {
            reactor.turn(None).unwrap();
        }
        drop(client);
    };
    turn(); // What the first one opens may stay.
    let before = open_descriptors();
    (0..20).for_each(|_| turn());
    assert_eq!(open_descriptors(), before);
}

fn connections_come_and_go() {
    let server = Server::serving(|| {
        Router::new()
            .get("/hello", |_req, _cx| Response::text("hello"))
            .get("/tick", |_req, _cx| Sse::every(Duration::from_millis(1), |s| s.send("tick")))
    });
    let (before, base) = (open_descriptors(), server.stats());
    for round in 0..2_000 {
        let mut client = Client::connect(server.address);
        match round % 4 {
            0 => drop(client),
            1 => assert_eq!(client.get("/hello").body, "hello"),
            2 => client.open_stream("/tick"),
            _ => {
                client.request("/tick");
                client.reset();
            }
        }
    }
    let stats = server.wait_for("all are gone", |stats| stats.connections == 0);
    assert_eq!((stats.streams, stats.closed.total()), (base.streams, stats.opened));
    // A reset may take a connection away before it is accepted.
    assert!((1_500..=2_000).contains(&stats.accepted), "{}", stats.accepted);
    wait_for("the descriptors are back", || (open_descriptors() == before).then_some(()));
}

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}
