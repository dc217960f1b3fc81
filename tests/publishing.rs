//! `Handle::publish` and related methods, over real sockets.

#[path = "support/client.rs"]
mod client;
#[path = "support/server.rs"]
mod server;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use client::{Client, PATIENCE, wait_for};
use server::Server;
use starwheel::{Handle, Reactor, Router, Sse, Topic, TrySendError};

/// A server whose streams have `topic`.
fn serving(topic: &Topic) -> Server {
    let topic = topic.clone();
    Server::serving(move || Router::new().get("/", move |_, _| Sse::new().subscribe(&topic)))
}

/// A reactor that the test turns itself, and one client subscribed to `topic`.
fn held_up(topic: &Topic) -> (Reactor, Client) {
    let watched = topic.clone();
    let router = Router::new().get("/", move |_, _| Sse::new().subscribe(&watched));
    let mut reactor = Reactor::new(router).unwrap();
    let address: SocketAddr = reactor.listen("127.0.0.1:0").unwrap();
    let mut client = Client::connect(address);
    client.request("/");
    let start = Instant::now();
    while reactor.stats().streams == 0 {
        assert!(start.elapsed() < PATIENCE);
        reactor.turn(Some(Duration::from_millis(100))).unwrap();
    }
    client.stream_head();
    (reactor, client)
}

fn turn_until_quiet(reactor: &mut Reactor) {
    while {
        reactor.turn(Some(Duration::ZERO)).unwrap();
        reactor.next_deadline() == Some(Duration::ZERO)
    } {}
}

/// What reaches a client that accepts zstd when `publish` publishes twice between other events.
fn raw_bytes(publish: impl Fn(&Handle, &Topic)) -> Vec<u8> {
    let topic = Topic::new("t");
    let server = serving(&topic);
    let mut socket = TcpStream::connect(server.address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: zstd\r\n\r\n").unwrap();
    server.wait_for("it is there", |stats| stats.streams == 1);
    server.handle.publish(&topic, "one ".repeat(100)).unwrap();
    publish(&server.handle, &topic);
    publish(&server.handle, &topic);
    server.wait_for("all are published", |stats| stats.published == 3);
    server.handle.shutdown();
    let mut bytes = Vec::new();
    let _cut = socket.read_to_end(&mut bytes);
    bytes
}

#[test]
fn what_a_handle_publishes_uncompressed_leaves_as_it_is() {
    const SECRET: &str = "a token that nobody may guess from lengths";
    let copies = |bytes: Vec<u8>| memchr::memmem::find_iter(&bytes, SECRET).count();
    let as_it_is = raw_bytes(|handle, topic| handle.publish_uncompressed(topic, SECRET).unwrap());
    assert_eq!(copies(as_it_is), 2);
    let compressed = raw_bytes(|handle, topic| handle.publish(topic, SECRET).unwrap());
    assert!(copies(compressed) < 2, "the second refers to the first");
}

/// Publishes, however long it takes to be let in.
fn publish_patiently(handle: &Handle, topic: &Topic, event: String) {
    let (mut event, start) = (event, Instant::now());
    while let Err(TrySendError::Full(back)) = handle.publish(topic, event) {
        assert!(start.elapsed() < PATIENCE, "the queue stays full");
        event = back;
        thread::yield_now();
    }
}

#[test]
fn events_of_one_thread_keep_their_order_and_none_is_lost() {
    let topic = Topic::new("t").log(100_000, usize::MAX);
    let server = serving(&topic);
    let mut clients = [(); 3].map(|()| Client::streaming(server.address, "/"));
    server.wait_for("all are there", |stats| stats.streams == 3);
    let threads = 4;
    let start = Barrier::new(threads);
    thread::scope(|scope| {
        for thread in 0..threads {
            let (server, topic, start) = (&server, &topic, &start);
            scope.spawn(move || {
                start.wait();
                for number in 0..2_000 {
                    publish_patiently(&server.handle, topic, format!("{thread} {number}"));
                }
            });
        }
    });
    for client in &mut clients {
        let mut next = vec![0; threads];
        for _ in 0..threads * 2_000 {
            let data = client.data();
            let (thread, number) = data.split_once(' ').unwrap();
            let next = &mut next[thread.parse::<usize>().unwrap()];
            assert_eq!(number.parse::<usize>().unwrap(), *next, "of thread {thread}");
            *next += 1;
        }
    }
}

#[test]
fn a_queue_full_of_events_gives_the_event_back_and_takes_it_later() {
    let topic = Topic::new("t");
    let (mut reactor, mut client) = held_up(&topic);
    let handle = reactor.handle();
    let mut taken = 0;
    let refused = loop {
        match handle.publish(&topic, taken.to_string()) {
            Ok(()) => taken += 1,
            Err(refused) => break refused,
        }
    };
    assert!(refused.is_full());
    let back = refused.into_inner();
    assert_eq!((taken, back.as_str()), (65_536, "65536"));
    let batch = handle.publish_batch(&topic, ["a", "b"]).unwrap_err();
    assert_eq!(batch, TrySendError::Full(["a", "b"]));
    let batch = batch.into_inner();
    let reader = thread::spawn(move || {
        (0..=65_536).for_each(|number| assert_eq!(client.data(), number.to_string()));
        assert_eq!((client.data(), client.data()), ("a".to_owned(), "b".to_owned()));
    });
    let (mut back, mut batch) = (Some(back), Some(batch));
    while !reader.is_finished() {
        reactor.turn(Some(Duration::from_millis(1))).unwrap();
        back = back
            .and_then(|event| handle.publish(&topic, event).err().map(TrySendError::into_inner));
        if back.is_none() {
            batch = batch.and_then(|two| {
                handle.publish_batch(&topic, two).err().map(TrySendError::into_inner)
            });
        }
    }
    reader.join().unwrap();
    assert_eq!(handle.stats().published, 65_539);
}

#[test]
fn sixteen_mebibytes_of_events_fill_the_queue_too() {
    let topic = Topic::new("t");
    let reactor = Reactor::new(Router::new()).unwrap();
    let handle = reactor.handle();
    let mebibyte = Arc::<str>::from("x".repeat(1 << 20));
    let taken = (0..).take_while(|_| handle.publish(&topic, &*mebibyte).is_ok()).count();
    assert_eq!(taken, 16);
}

#[test]
fn a_batch_stays_together_whatever_comes_between_two_turns() {
    let topic = Topic::new("t");
    let (mut reactor, mut client) = held_up(&topic);
    let handle = reactor.handle();
    // One command less than the limit of a turn: the batch would be cut after its first event.
    (1..16_384).for_each(|_| handle.run(|_| {}).unwrap());
    handle.publish_batch(&topic, ["one", "two"]).unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    reactor.context().publish(&topic, "an intruder").unwrap();
    turn_until_quiet(&mut reactor);
    assert_eq!([(); 3].map(|()| client.data()), ["one", "two", "an intruder"]);
}

#[test]
fn batches_of_several_threads_do_not_mingle() {
    let topic = Topic::new("t");
    let server = serving(&topic);
    let mut client = Client::streaming(server.address, "/");
    thread::scope(|scope| {
        for thread in 0..4 {
            let (server, topic) = (&server, &topic);
            scope.spawn(move || {
                for number in 0..100 {
                    let batch: Vec<_> =
                        (0..10).map(|place| format!("{thread} {number} {place}")).collect();
                    let start = Instant::now();
                    while server.handle.publish_batch(topic, &batch).is_err() {
                        assert!(start.elapsed() < PATIENCE);
                        thread::yield_now();
                    }
                }
            });
        }
    });
    for _ in 0..400 {
        let first = client.data();
        let batch = first.strip_suffix(" 0").unwrap_or_else(|| panic!("the middle: {first}"));
        (1..10).for_each(|place| assert_eq!(client.data(), format!("{batch} {place}")));
    }
}

#[test]
fn handles_tell_the_figures_from_any_thread() {
    let topic = Topic::new("t");
    let server = serving(&topic);
    let mut clients = [(); 5].map(|()| Client::streaming(server.address, "/"));
    server.handle.publish(&topic, "hello").unwrap();
    for client in &mut clients {
        assert_eq!(client.data(), "hello");
    }
    wait_for("the figures", || {
        let stats = server.handle.stats();
        let counts = (stats.streams, stats.published, stats.delivered);
        (counts == (5, 1, 5)).then_some(())
    });
}

#[test]
fn a_dropped_reactor_returns_every_command_as_closed() {
    type End = fn(Reactor);
    let (dropped, stopped): (End, End) = (drop, |mut reactor| {
        reactor.handle().shutdown();
        reactor.run().unwrap();
    });
    for end in [dropped, stopped] {
        let topic = Topic::new("t");
        let reactor = Reactor::new(Router::new()).unwrap();
        let handle = reactor.handle();
        assert!(!handle.is_stopped());
        // It makes no difference that the queue is full as well.
        while handle.publish(&topic, "waits").is_ok() {}
        assert_eq!(handle.publish(&topic, "x"), Err(TrySendError::Full("x")));
        end(reactor);

        assert!(handle.is_stopped());
        assert_eq!(handle.publish(&topic, "x"), Err(TrySendError::Closed("x")));
        assert_eq!(handle.publish_batch(&topic, ["x"]), Err(TrySendError::Closed(["x"])));
        let run = handle.run(|_cx| {});
        assert!(run.is_err_and(|refused| refused.is_closed() && !refused.is_full()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let Err(TrySendError::Closed((_socket, bytes))) = handle.adopt(socket, vec![7]) else {
            panic!("adopted by nobody");
        };
        assert_eq!(bytes, [7]);
    }
}

#[test]
fn a_reactor_that_stops_during_encoding_is_closed_not_full() {
    /// Ends the reactor while it is encoded, like another thread may.
    struct Last(std::cell::Cell<Option<Reactor>>);

    impl starwheel::Encode for Last {
        fn encode(&self, out: &mut starwheel::EventBuffer) {
            drop(self.0.take());
            "last".encode(out);
        }
    }
    let topic = Topic::new("t");
    let reactor = Reactor::new(Router::new()).unwrap();
    let handle = reactor.handle();
    let refused = handle.publish(&topic, Last(Some(reactor).into()));
    assert!(refused.is_err_and(|refused| refused.is_closed()));
}
