//! A program whose `main` is not Rust's may leave SIGPIPE at its default, which ends the process. A
//! separate program, because the setting is per process.
#![cfg(unix)]

#[path = "support/client.rs"]
mod client;
#[path = "support/server.rs"]
mod server;

use std::{os::unix::net::UnixListener, path::PathBuf, sync::mpsc};

use client::{Client, PATIENCE};
use server::Server;
use starwheel::{KeepAlive, Reactor, Response, Router, Sse, Topic};

#[test]
fn writing_to_clients_that_are_gone_raises_no_signal() {
    // SAFETY: it replaces no handler, and the default action runs no code of this process.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("sigpipe");
    let _left_by_an_earlier_run = std::fs::remove_file(&path);
    let unix = UnixListener::bind(&path).unwrap();
    let (asked, asks) = mpsc::channel();
    let (gone, are_gone) = mpsc::channel::<()>();
    let server = Server::start(move || {
        let topic = Topic::new("news");
        let (news, stories) = (topic.clone(), topic);
        let router = Router::new()
            .get("/hello", |_req, _cx| Response::text("hello"))
            .get("/topic", move |_req, _cx| Sse::new().subscribe(&news).keep_alive(KeepAlive::Off))
            .post("/publish", move |req, cx| {
                // The clients disconnect while the reactor is here, so it writes before it notices.
                asked.send(()).unwrap();
                are_gone.recv_timeout(PATIENCE).unwrap();
                let events = req.query_value("events").unwrap().parse().unwrap();
                for number in 0..events {
                    cx.publish(&stories, format!("{number}")).unwrap();
                }
                Response::no_content()
            });
        let mut reactor = Reactor::new(router).unwrap();
        reactor.listen_on(unix).unwrap();
        let address = reactor.listen("127.0.0.1:0").unwrap();
        (reactor, address)
    });
    // One event is one slice, several are a vectored write.
    for events in [1, 3] {
        let mut over_unix = Client::connect_unix(&path);
        over_unix.open_stream("/topic");
        let mut over_tcp = Client::streaming(server.address, "/topic");
        let mut publisher = Client::connect(server.address);
        publisher.send(format!(
            "POST /publish?events={events} HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n"
        ));
        asks.recv_timeout(PATIENCE).unwrap();
        drop(over_unix);
        // After a FIN, a reset causes a broken pipe.
        over_tcp.half_close();
        over_tcp.reset();
        gone.send(()).unwrap();
        assert_eq!(publisher.answer().status, 204);
        assert_eq!(publisher.get("/hello").body, "hello", "the process lives");
    }
    server.wait_for("both streams have ended", |stats| stats.streams == 0);
}
