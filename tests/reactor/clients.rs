//! Clients that disconnect, stall, flood and connect in large numbers.

use std::{
    io::Write,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use starwheel::{CloseReason, Config, Reactor, Response, Router, Sse, StreamId};

use crate::{
    client::{Client, PATIENCE, get},
    listening, routes,
    server::Server,
};

#[test]
fn a_client_that_closes_resets_or_half_closes_ends_its_stream_once() {
    let (reporter, reasons) = mpsc::channel();
    let server = Server::serving(|| reporting(reporter));
    drop(Client::streaming(server.address, "/idle"));
    assert!(matches!(next(&reasons), CloseReason::Disconnected));

    Client::streaming(server.address, "/idle").reset();
    assert!(matches!(next(&reasons), CloseReason::Io(_) | CloseReason::Disconnected));

    let mut client = Client::streaming(server.address, "/idle");
    client.half_close();
    assert!(matches!(next(&reasons), CloseReason::Disconnected));
    assert_eq!(client.event(), None, "the connection ends with it");

    let stats = server.wait_for("all are gone", |stats| stats.connections == 0);
    assert_eq!((stats.streams, stats.opened, stats.closed.total()), (0, 3, 3));
    assert!(reasons.try_recv().is_err(), "each reason is reported exactly once");
}

#[test]
fn a_client_that_half_closes_after_its_request_gets_its_response() {
    let server = Server::serving(routes);
    let mut client = Client::connect(server.address);
    client.request("/hello");
    client.half_close();
    assert!(client.rest().ends_with("hello"));
}

#[test]
fn bytes_held_by_the_kernel_arrive_after_the_linger_timeout() {
    let server = Server::start(|| {
        let mut config = Config::default();
        config.limits.linger_timeout = Duration::from_millis(20);
        let router = Router::new().get("/", |_req, _cx| Response::text("x".repeat(60_000)));
        let mut reactor = Reactor::with_config(config, router).unwrap();
        let address = reactor.listen("127.0.0.1:0").unwrap();
        (reactor, address)
    });
    // Most of it stays with the sender while the server does not read.
    let mut client = Client::connect_with_buffer(server.address, 4_000);
    client.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    server.wait_for("it has been left", |stats| stats.timed_out == 1 && stats.connections == 0);
    assert_eq!(client.answer().body.len(), 60_000);
    assert_eq!(client.rest(), "");
}

#[test]
fn a_client_that_pipelines_and_half_closes_gets_all_its_answers() {
    let server = Server::serving(routes);
    let mut client = Client::connect(server.address);
    client.send(get("/hello").repeat(500));
    client.half_close();
    assert_eq!(client.rest().matches("\r\n\r\nhello").count(), 500);
}

#[test]
fn a_client_that_pipelines_without_end_never_gets_more_than_its_share_of_a_turn() {
    let (mut reactor, address) = listening();
    let requests = 10_000;
    let flood = thread::spawn(move || {
        let mut client = Client::connect(address);
        let mut writing = client.socket().try_clone().unwrap();
        let writer =
            thread::spawn(move || writing.write_all(get("/hello").repeat(requests).as_bytes()));
        (0..requests).for_each(|_| assert_eq!(client.answer().body, "hello"));
        writer.join().unwrap().unwrap();
    });
    let mut most = 0;
    while reactor.stats().requests < requests as u64 {
        let before = reactor.stats().requests;
        reactor.turn(Some(Duration::from_millis(100))).unwrap();
        most = most.max(reactor.stats().requests - before);
    }
    crate::turn_until_quiet(&mut reactor);
    flood.join().unwrap();
    // 64 of what was kept, and 64 of what was read.
    assert!(most <= 128, "{most} requests in one turn");
}

#[test]
fn a_client_that_resets_at_any_moment_leaks_nothing() {
    let server = Server::serving(routes);
    for path in ["/hello", "/count", "/idle", "/later", "/none"] {
        let request = get(path);
        for cut in 0..=request.len() {
            let mut client = Client::connect(server.address);
            client.send(&request[..cut]);
            client.reset();
        }
    }
    let stats = server.wait_for("all are gone", |stats| stats.connections == 0);
    assert_eq!((stats.streams, stats.opened), (0, stats.closed.total()));
}

#[test]
fn a_client_that_never_reads_skips_ticks_and_delays_no_other() {
    let server = Server::serving(|| {
        routes().get("/big", |_req, _cx| {
            let event = "x".repeat(100_000);
            Sse::every(Duration::from_millis(1), move |stream| stream.send(event.as_str()))
        })
    });
    let stuck = Client::streaming(server.address, "/big");
    let mut neighbour = Client::streaming(server.address, "/count");
    server.wait_for("the kernel's buffers are full", |stats| stats.ticks_skipped > 20);
    for number in 0..50 {
        assert_eq!(neighbour.data(), number.to_string());
    }
    drop(stuck);
    let stats = server.wait_for("the stream has ended", |stats| stats.closed.total() == 1);
    assert_eq!(stats.closed.slow, 0, "a skipped tick queues nothing");
}

#[test]
fn a_client_that_reads_again_gets_complete_events() {
    let server = Server::serving(|| {
        Router::new().get("/big", |_req, _cx| {
            let (mut number, padding) = (0_u64, "x".repeat(50_000));
            Sse::every(Duration::from_millis(1), move |stream| {
                stream.send(format_args!("{number} {padding}"));
                number += 1;
            })
        })
    });
    let mut client = Client::streaming(server.address, "/big");
    let mut expected = 0;
    for _ in 0..3 {
        let skipped = server.stats().ticks_skipped;
        let stuck = server.wait_for("it is stuck", |stats| stats.ticks_skipped > skipped + 10);
        // Reads until the updater runs again, which happens once the rest of its last output is
        // out.
        while server.stats().events < stuck.events + 10 {
            let number: u64 = client.data().split(' ').next().unwrap().parse().unwrap();
            assert_eq!(number, expected, "no event is lost or torn");
            expected += 1;
        }
    }
}

#[test]
fn a_client_that_floods_its_stream_keeps_it_and_delays_no_other() {
    let server = Server::serving(routes);
    let mut neighbour = Client::streaming(server.address, "/count");
    let flooder = Client::streaming(server.address, "/count");
    let flood_bytes = 32 << 20;
    let mut writing = flooder.socket().try_clone().unwrap();
    let flood = thread::spawn(move || {
        let junk = vec![b'x'; 1 << 20];
        (0..flood_bytes >> 20).for_each(|_| writing.write_all(&junk).unwrap());
    });
    for number in 0..30 {
        assert_eq!(neighbour.data(), number.to_string());
    }
    flood.join().unwrap();
    let stats = server.wait_for("the flood is read", |stats| stats.bytes_in >= flood_bytes);
    assert_eq!(stats.streams, 2);
    drop(flooder);
    server.wait_for("its stream has ended", |stats| stats.streams == 1);
}

#[test]
fn a_thousand_streams_at_once_all_get_what_is_sent_to_them() {
    let server = Server::serving(|| {
        Router::new().get("/", |_req, _cx| {
            Sse::new().on_connect(|stream| {
                let id = stream.id();
                stream.send(format_args!("{id}"));
            })
        })
    });
    let mut clients: Vec<_> = (0..1_000).map(|_| Client::streaming(server.address, "/")).collect();
    let stats = server.stats();
    assert_eq!((stats.streams, stats.connections), (1_000, 1_000));
    let mut names: Vec<_> = clients.iter_mut().map(Client::data).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 1_000, "ids are unique");
    drop(clients);
    let stats = server.wait_for("all are gone", |stats| stats.connections == 0);
    assert_eq!(stats.closed.total(), 1_000);
}

#[test]
fn events_sent_through_a_handle_reach_every_stream_in_order() {
    let (opened, ids) = mpsc::channel::<StreamId>();
    let server = Server::serving(move || {
        Router::new().get("/", move |_req, _cx| {
            let opened = opened.clone();
            Sse::new().on_connect(move |stream| opened.send(stream.id()).unwrap())
        })
    });
    let mut clients: Vec<_> = (0..50).map(|_| Client::streaming(server.address, "/")).collect();
    let ids: Arc<[StreamId]> = (0..50).map(|_| ids.recv_timeout(PATIENCE).unwrap()).collect();
    for number in 0..100 {
        let ids = Arc::clone(&ids);
        server
            .handle
            .run(move |cx| {
                ids.iter().for_each(|id| assert!(cx.send(*id, format_args!("{number}"))))
            })
            .unwrap();
    }
    for client in &mut clients {
        (0..100).for_each(|number| assert_eq!(client.data(), number.to_string()));
    }
}

/// Idle streams that report their close reason.
fn reporting(reporter: mpsc::Sender<CloseReason>) -> Router {
    Router::new().get("/idle", move |_req, _cx| {
        let reporter = reporter.clone();
        Sse::new().on_disconnect(move |_cx, _id, reason| reporter.send(reason).unwrap())
    })
}

fn next(reasons: &mpsc::Receiver<CloseReason>) -> CloseReason {
    reasons.recv_timeout(PATIENCE).expect("a stream ends")
}

#[test]
fn a_closure_that_blocks_the_thread_is_counted_by_the_reactors_own_clock() {
    let server = Server::serving(|| {
        Router::new().get("/slow", |_req, _cx| {
            thread::sleep(Duration::from_millis(250));
            Response::no_content()
        })
    });
    assert_eq!(Client::connect(server.address).get("/slow").status, 204);
    server.handle.shutdown();
    let stats = server.ended();
    assert_eq!(stats.slow_calls, 1);
    // The clock is as coarse as the kernel's tick, 10 ms at most.
    assert!(stats.slowest_call_ms >= 240, "{} ms", stats.slowest_call_ms);
}
