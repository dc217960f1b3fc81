//! Shutdown and drain.

use std::{
    env, fs,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    process,
    sync::mpsc,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, unix::SourceFd};
use starwheel::{
    CloseReason, Config, Context, Ending, Handle, Reactor, Request, Response, Router, Sse, Topic,
};

use crate::{
    client::{Client, ClientResponse, PATIENCE, get, is_reset, wait_for},
    listening, routes,
    server::Server,
    turn_until, turn_until_quiet,
};

#[test]
fn a_drain_is_spread_over_the_streams_that_are_still_open() {
    let (mut reactor, address) = listening();
    let mut clients: Vec<_> = (0..3).map(|_| Client::connect(address)).collect();
    clients.iter_mut().for_each(|client| client.request("/idle"));
    turn_until(&mut reactor, "the streams are open", |stats| stats.streams == 3);
    let handle = reactor.handle();
    let close_two = |cx: &mut Context<'_>| {
        let first_two: Vec<_> = cx.streams().take(2).collect();
        assert!(first_two.into_iter().all(|id| cx.close(id, Ending::Drop)));
    };
    // Both in one turn.
    handle.run(close_two).unwrap();
    handle.drain(Duration::from_secs(600));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    let deadline = reactor.next_deadline().expect("one stream is still to leave");
    assert!(deadline <= Duration::from_secs(1), "the first drop comes at once: {deadline:?}");
}

#[test]
fn a_shutdown_ends_run_and_each_on_disconnect_runs_once() {
    let (reporter, reasons) = mpsc::channel();
    let server = Server::serving(|| {
        Router::new().get("/", move |_req, _cx| {
            let reporter = reporter.clone();
            Sse::new().on_disconnect(move |_cx, _id, reason| reporter.send(reason).unwrap())
        })
    });
    let mut clients: Vec<_> = (0..20).map(|_| Client::streaming(server.address, "/")).collect();
    let idle = Client::connect(server.address);
    server.wait_for("the idle one is in", |stats| stats.connections == 21);
    server.handle.shutdown();
    let stats = server.ended();
    assert_eq!((stats.connections, stats.streams, stats.closed.shutdown), (0, 0, 20));
    let reasons: Vec<_> = (0..20).map(|_| reasons.recv_timeout(PATIENCE).unwrap()).collect();
    assert!(reasons.iter().all(|reason| matches!(reason, CloseReason::Shutdown)));
    for client in &mut clients {
        assert_eq!(client.event(), None, "the connection is closed");
    }
    drop(idle);
}

#[test]
fn a_drain_ends_streams_over_its_window_and_answers_pending_requests() {
    let server = Server::serving(routes);
    let mut clients: Vec<_> = (0..20).map(|_| Client::streaming(server.address, "/idle")).collect();
    let mut half_way = Client::connect(server.address);
    half_way.send("GET /hello HTTP/1.1\r\n");
    let mut idle = Client::connect(server.address);
    server.wait_for("all are in", |stats| stats.bytes_in > 0 && stats.connections == 22);
    let start = Instant::now();
    let window = Duration::from_millis(400);
    server.handle.drain(window);
    half_way.send("Host: test\r\n\r\n");
    let answer = half_way.answer();
    assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
    assert!(answer.head.contains("\r\nConnection: close\r\n"), "{}", answer.head);
    drop(half_way);
    clients.iter_mut().for_each(|client| assert_eq!(client.event(), None));
    assert_eq!(idle.rest(), "", "it ends too");
    drop(clients);
    let stats = server.ended();
    assert!(start.elapsed() >= window / 2, "not all at once");
    assert_eq!((stats.connections, stats.closed.shutdown), (0, 20));
}

#[test]
fn a_drain_of_stuck_clients_ends_with_its_window() {
    let server = Server::serving(|| {
        Router::new().get("/big", |_req, _cx| {
            let event = "x".repeat(100_000);
            Sse::every(Duration::from_millis(1), move |stream| stream.send(event.as_str()))
        })
    });
    let _stuck: Vec<_> = (0..3).map(|_| Client::streaming(server.address, "/big")).collect();
    server.wait_for("they are stuck", |stats| stats.ticks_skipped > 50);
    server.handle.drain(Duration::from_millis(100));
    assert_eq!(server.ended().connections, 0);
}

#[test]
fn the_first_drain_sets_the_window_and_a_later_shutdown_ends_it() {
    let server = Server::serving(routes);
    let _client = Client::streaming(server.address, "/idle");
    server.handle.drain(Duration::from_secs(3_600));
    server.handle.drain(Duration::ZERO);
    server.handle.shutdown();
    assert_eq!(server.ended().closed.shutdown, 1);
}

#[test]
fn no_connection_is_accepted_during_a_drain() {
    let server = Server::serving(routes);
    let mut clients: Vec<_> = (0..2).map(|_| Client::streaming(server.address, "/idle")).collect();
    server.handle.drain(Duration::from_secs(3_600));
    wait_for("the listener is closed", || TcpStream::connect(server.address).err());
    assert_eq!(clients[0].event(), None, "the first leaves at once");
    assert_eq!(server.stats().streams, 1, "the second in the middle of the window");
}

/// More than one turn accepts, on listeners of both kinds.
#[test]
fn clients_that_wait_when_a_drain_begins_are_answered() {
    let path = env::temp_dir().join(format!("starwheel-test-{}-drain", process::id()));
    let (mut reactor, address) = listening();
    reactor.listen_on(UnixListener::bind(&path).unwrap()).unwrap();
    turn_until_quiet(&mut reactor);
    let mut clients: Vec<_> = (0..500).map(|_| Client::connect(address)).collect();
    let mut unix: Vec<_> = (0..50).map(|_| Client::connect_unix(&path)).collect();
    let (asked, late) = clients.split_at_mut(400);
    asked.iter_mut().for_each(|client| client.request("/hello"));
    unix.iter_mut().for_each(|client| client.request("/hello"));
    reactor.handle().drain(Duration::from_secs(3_600));
    turn_until(&mut reactor, "all are accepted", |stats| stats.accepted == 550);
    late.iter_mut().for_each(|client| client.request("/hello"));
    turn_until(&mut reactor, "all are answered", |stats| stats.requests == 550);
    turn_until_quiet(&mut reactor);
    let error = TcpStream::connect(address).expect_err("the listener is closed");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert!(UnixStream::connect(&path).is_err());
    fs::remove_file(&path).unwrap();
    let served = |answer: ClientResponse| {
        assert_eq!(answer.body, "hello");
        assert!(answer.head.contains("\r\nConnection: close\r\n"), "{}", answer.head);
    };
    clients.iter_mut().for_each(|client| served(client.answer()));
    unix.iter_mut().for_each(|client| served(client.answer()));
    drop((clients, unix));
    reactor.run().unwrap();
}

#[test]
fn a_drain_accepts_for_as_long_as_configured() {
    let server = Server::start(|| {
        let mut config = Config::default();
        config.drain_accept_for = Duration::from_millis(300);
        let mut reactor = Reactor::with_config(config, routes()).unwrap();
        let address = reactor.listen("127.0.0.1:0").unwrap();
        (reactor, address)
    });
    let start = Instant::now();
    server.handle.drain(Duration::from_secs(3_600));
    let mut served = 0;
    while let Ok(socket) = TcpStream::connect(server.address) {
        let mut client = Client::over(socket);
        // The very last may arrive just as the listener is closed.
        if client.try_send(get("/hello").as_bytes()).is_ok() {
            served += usize::from(client.rest().ends_with("hello"));
        }
    }
    assert!(served > 0);
    // Times are whole milliseconds.
    assert!(start.elapsed() >= Duration::from_millis(298));
    assert_eq!(server.ended().connections, 0);
}

#[test]
fn a_shutdown_by_a_closure_stops_listening_too() {
    let (mut reactor, address) = listening();
    reactor.handle().run(|cx| cx.shutdown()).unwrap();
    reactor.run().unwrap();
    let error = TcpStream::connect(address).expect_err("the listener is closed");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    drop(reactor);
}

#[test]
fn a_shutdown_between_two_turns_stops_listening_and_closes_handles_too() {
    let (mut reactor, address) = listening();
    let handle = reactor.handle();
    reactor.context().shutdown();
    assert!(!reactor.is_stopped(), "the next turn completes it");
    assert_eq!(reactor.next_deadline(), Some(Duration::ZERO));
    reactor.run().unwrap();
    assert!(reactor.is_stopped());
    assert!(handle.run(|_cx| {}).is_err(), "it would never run");
    assert!(TcpStream::connect(address).is_err());
    let _inert = reactor.context();
    assert!(reactor.is_stopped(), "for good");
    assert_eq!(reactor.next_deadline(), None);
}

#[test]
fn a_shutdown_by_a_timer_stops_listening_too() {
    let (mut reactor, address) = listening();
    let shut_down = |cx: &mut Context<'_>| {
        cx.after(Duration::from_millis(1), |cx| cx.shutdown());
    };
    reactor.handle().run(shut_down).unwrap();
    reactor.run().unwrap();
    assert!(TcpStream::connect(address).is_err());
    drop(reactor);
}

#[test]
fn a_shutdown_between_turns_closes_listeners_and_handles() {
    for clients in [0, 3] {
        let (mut reactor, address) = listening();
        let handle = reactor.handle();
        let mut clients: Vec<_> = (0..clients).map(|_| Client::connect(address)).collect();
        clients.iter_mut().for_each(|client| client.request("/idle"));
        turn_until(&mut reactor, "all are in", |stats| stats.streams == clients.len() as u64);
        reactor.context().shutdown();
        assert_eq!(reactor.next_deadline(), Some(Duration::ZERO));
        reactor.run().unwrap();
        assert!(reactor.is_stopped());
        assert_eq!(reactor.next_deadline(), None);
        assert!(handle.run(|_cx| {}).is_err(), "a command would never run");
        assert!(handle.publish(&Topic::new("t"), "nothing").is_err());
        assert!(TcpStream::connect(address).is_err(), "a connection would never be answered");
        clients.iter_mut().for_each(|client| client.stream_head());
        clients.iter_mut().for_each(|client| assert_eq!(client.event(), None));
        assert_eq!(handle.stats().closed.shutdown, clients.len() as u64);
    }
}

#[test]
fn a_reactor_without_listeners_ends_too() {
    let mut reactor = Reactor::new(routes()).unwrap();
    let (handle, (reporter, runs)) = (reactor.handle(), mpsc::channel());
    handle.run(move |_cx| reporter.send(()).unwrap()).unwrap();
    reactor.context().shutdown();
    reactor.turn(None).unwrap();
    assert!(reactor.is_stopped());
    assert_eq!(runs.try_recv(), Ok(()), "what was given before is run");
    assert!(handle.run(|_cx| {}).is_err());
}

#[test]
fn commands_whose_destructors_panic_do_not_end_run() {
    let mut reactor = Reactor::new(routes()).unwrap();
    let (handle, again) = (reactor.handle(), reactor.handle());
    handle
        .run(move |cx| {
            // They wait for the next turn, which never comes.
            give_bombs(&again);
            cx.shutdown();
        })
        .unwrap();
    reactor.run().unwrap();
    assert_eq!(reactor.stats().panics, 3);
    assert_eq!(handle.stats().panics, 3);
}

#[test]
fn a_reactor_is_dropped_whatever_destructors_do() {
    let bombs = [Bomb, Bomb].map(|bomb| {
        move |_: &Request, _: &mut Context<'_>| {
            let _ = &bomb;
            Response::no_content()
        }
    });
    let [a, b] = bombs;
    let reactor = Reactor::new(Router::new().get("/a", a).get("/b", b)).unwrap();
    give_bombs(&reactor.handle());
    drop(reactor);
}

fn give_bombs(handle: &Handle) {
    for bomb in [Bomb, Bomb, Bomb] {
        handle.run(move |_cx| drop(bomb)).unwrap();
    }
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a destructor of the user's");
    }
}

#[test]
fn a_listener_held_by_another_process_wakes_no_turn_once_the_drain_has_begun() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut reactor = Reactor::new(routes()).unwrap();
    // Like a parent that keeps its listeners: closing ours does not deregister them.
    reactor.listen_on(listener.try_clone().unwrap()).unwrap();
    let mut client = Client::connect(address);
    client.request("/idle");
    let mut other = Client::connect(address);
    other.request("/idle");
    turn_until(&mut reactor, "the streams are open", |stats| stats.streams == 2);
    reactor.handle().drain(Duration::from_secs(3_600));
    turn_until(&mut reactor, "the first has left", |stats| stats.streams == 1);
    drop(client);
    turn_until(&mut reactor, "its connection too", |stats| stats.connections == 1);
    turn_until_quiet(&mut reactor);

    let mut outer = Poll::new().unwrap();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(&reactor));
    outer.registry().register(&mut SourceFd(&fd), Token(0), Interest::READABLE).unwrap();
    let _unserved: Vec<_> = (0..10).map(|_| Client::connect(address)).collect();
    let mut events = Events::with_capacity(8);
    outer.poll(&mut events, Some(Duration::from_millis(50))).unwrap();
    assert!(events.is_empty(), "the reactor is woken for connections it will not take");
    drop(listener);
}

#[test]
fn no_stream_of_a_reactor_that_is_dropped_looks_finished() {
    let (mut reactor, address) = listening();
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    // A stream of HTTP/1.0 is finished when its connection is.
    client.write_all(b"GET /idle HTTP/1.0\r\n\r\n").unwrap();
    turn_until(&mut reactor, "it is open", |stats| stats.streams == 1);
    let mut head = [0; 1_000];
    assert!(client.read(&mut head).unwrap() > 0);
    drop(reactor);
    assert!(is_reset(&client.read(&mut head).unwrap_err()));
}
