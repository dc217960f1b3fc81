//! `turn`, `next_deadline` and `as_fd`: the reactor inside another event loop.

use std::{
    cell::Cell,
    os::fd::{AsFd, AsRawFd},
    rc::Rc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use mio::{Events, Interest, Poll, Token, unix::SourceFd};
use starwheel::{Config, Context, Limits, Reactor, Request, Response, Router};

use crate::{
    client::{Client, PATIENCE, get},
    listening, routes, turn_until, turn_until_quiet,
};

#[test]
fn a_reactor_with_nothing_to_do_has_no_deadline_and_keeps_to_the_timeout() {
    let mut reactor = Reactor::new(hello).unwrap();
    assert_eq!(reactor.next_deadline(), None);
    let start = Instant::now();
    reactor.turn(Some(Duration::from_millis(20))).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(20));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(reactor.next_deadline(), None);
}

#[test]
fn a_loop_that_sleeps_until_the_deadline_finds_something_due_each_time() {
    let (mut reactor, address) = listening();
    let mut client = Client::connect(address);
    client.request("/later");
    turn_until(&mut reactor, "the stream is open", |stats| stats.streams == 1);
    turn_until_quiet(&mut reactor);
    for _ in 0..20 {
        let ticks_before = reactor.stats().ticks;
        thread::sleep(reactor.next_deadline().expect("a tick is due some time"));
        reactor.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(reactor.stats().ticks, ticks_before + 1, "a turn too early or too late");
    }
    client.stream_head();
    assert_eq!(client.data(), "tick");
}

#[test]
fn a_deadline_ends_the_wait_of_a_turn() {
    let (mut reactor, address) = listening();
    let mut client = Client::connect(address);
    client.request("/later");
    turn_until(&mut reactor, "the stream is open", |stats| stats.streams == 1);
    // If the wait did not end, these would not return.
    while reactor.stats().ticks < 5 {
        reactor.turn(None).unwrap();
    }
    // A second in total; a machine that busy would fail elsewhere.
    assert!(reactor.stats().ticks_missed < 50, "the wait ended long after the deadline");
}

#[test]
fn a_timer_set_before_a_long_preparation_runs() {
    let mut reactor = Reactor::new(hello).unwrap();
    let ran = Rc::new(Cell::new(0));
    let (once, every) = (Rc::clone(&ran), Rc::clone(&ran));
    let mut cx = reactor.context();
    cx.after(Duration::from_millis(2), move |_cx| once.set(once.get() + 1));
    cx.every(Duration::from_millis(2), move |cx| {
        every.set(every.get() + 1);
        cx.shutdown();
    });
    let (lent, start) = (cx.now(), Instant::now());
    while reactor.context().now() < lent + Duration::from_millis(20) {
        assert!(start.elapsed() < PATIENCE, "the clock is read when the context is lent");
    }
    reactor.run().unwrap();
    assert_eq!(ran.get(), 2);
}

#[test]
fn the_time_of_day_is_known_before_the_first_turn() {
    let mut reactor = Reactor::new(hello).unwrap();
    let before = SystemTime::now() - Duration::from_secs(1);
    let time = reactor.context().system_time();
    assert!((before..=SystemTime::now()).contains(&time), "{time:?}");
}

#[test]
fn more_events_than_one_turn_takes_make_the_next_turn_due_at_once() {
    let (mut reactor, address) = listening();
    let mut clients: Vec<_> = (0..1_100).map(|_| Client::connect(address)).collect();
    turn_until(&mut reactor, "all are accepted", |stats| stats.accepted == 1_100);
    turn_until_quiet(&mut reactor);
    clients.iter_mut().for_each(|client| client.request("/hello"));
    turn_until_quiet(&mut reactor);
    assert_eq!(reactor.stats().requests, 1_100);
    clients.iter_mut().for_each(|client| assert_eq!(client.answer().body, "hello"));
}

#[test]
fn input_that_was_put_off_makes_the_next_turn_due_at_once() {
    let (mut reactor, address) = listening();
    let mut client = Client::connect(address);
    client.send(get("/hello").repeat(300));
    turn_until(&mut reactor, "the first requests are read", |stats| stats.requests > 0);
    assert!(reactor.stats().requests < 300, "one turn's share");
    while reactor.stats().requests < 300 {
        assert_eq!(reactor.next_deadline(), Some(Duration::ZERO));
        reactor.turn(None).unwrap();
    }
    (0..300).for_each(|_| assert_eq!(client.answer().status, 200));
}

#[test]
fn a_command_given_during_a_turn_makes_the_next_one_due_at_once() {
    let mut reactor = Reactor::new(hello).unwrap();
    let handle = reactor.handle();
    let again = handle.clone();
    handle.run(move |_cx| again.run(|cx| cx.shutdown()).unwrap()).unwrap();
    reactor.turn(None).unwrap();
    assert_eq!(reactor.next_deadline(), Some(Duration::ZERO));
    reactor.turn(None).unwrap();
    assert!(reactor.is_stopped());
}

#[test]
fn a_stopped_reactor_does_nothing_in_further_turns() {
    let (mut reactor, address) = listening();
    let _client = Client::connect(address);
    reactor.handle().shutdown();
    reactor.turn(None).unwrap();
    assert!(reactor.is_stopped());
    assert_eq!(reactor.next_deadline(), None);
    reactor.turn(None).unwrap(); // Returns: there is nothing to wait for.
}

#[test]
fn a_page_that_is_loaded_again_has_the_place_of_its_old_connection() {
    let limit_all: fn(&mut Limits) = |limits| limits.connections = Some(1);
    let limit_address: fn(&mut Limits) = |limits| limits.connections_per_ip = Some(1);
    for limit in [limit_all, limit_address] {
        let mut config = Config::default();
        limit(&mut config.limits);
        let mut reactor = Reactor::with_config(config, routes()).unwrap();
        let address = reactor.listen("127.0.0.1:0").unwrap();
        let mut page = Client::connect(address);
        page.request("/idle");
        turn_until(&mut reactor, "the stream is open", |stats| stats.streams == 1);
        for reload in 1..=5 {
            // The end of the old connection and the new one are both pending when the turn begins.
            match reload % 2 {
                0 => page.reset(),
                _ => drop(page),
            }
            page = Client::connect(address);
            page.request("/idle");
            turn_until(&mut reactor, "the next stream is open", |stats| {
                stats.opened == reload + 1 || stats.refused.total() > 0
            });
            assert_eq!(reactor.stats().refused.total(), 0);
        }
        // There is room for one, as before.
        let mut second = Client::connect(address);
        second.request("/hello");
        turn_until(&mut reactor, "it is turned away", |stats| stats.refused.total() == 1);
        drop((page, second));
        turn_until(&mut reactor, "all are gone", |stats| stats.connections == 0);
        let mut last = Client::connect(address);
        last.request("/hello");
        turn_until(&mut reactor, "the last is answered", |stats| stats.requests == 7);
        assert_eq!(last.answer().body, "hello");
    }
}

#[test]
fn a_reactor_with_idle_streams_sleeps() {
    let (mut reactor, address) = listening();
    let mut clients: Vec<_> = (0..100).map(|_| Client::connect(address)).collect();
    clients.iter_mut().for_each(|client| client.request("/idle"));
    turn_until(&mut reactor, "all streams are open", |stats| stats.streams == 100);
    turn_until_quiet(&mut reactor);
    let (turns, _) = turns_within(&mut reactor, Duration::from_millis(300));
    assert!(turns <= 3, "{turns} turns with nothing to do");
}

#[test]
fn a_reactor_turns_about_once_for_each_tick() {
    let (mut reactor, address) = listening();
    let mut client = Client::connect(address);
    client.request("/count");
    turn_until(&mut reactor, "the stream is open", |stats| stats.streams == 1);
    turn_until_quiet(&mut reactor);
    let (turns, ticks) = turns_within(&mut reactor, Duration::from_millis(300));
    assert!(turns <= 2 * ticks + 3, "{turns} turns for {ticks} ticks");
}

#[test]
fn a_client_that_vanished_is_not_reported_again_and_again() {
    let (mut reactor, address) = listening();
    let mut half_closed = Client::connect(address);
    half_closed.half_close();
    Client::streaming_while(&mut reactor, address).reset();
    turn_until(&mut reactor, "the stream has ended", |stats| stats.closed.total() == 1);
    turn_until_quiet(&mut reactor);
    let (turns, _) = turns_within(&mut reactor, Duration::from_millis(200));
    assert!(turns <= 3, "{turns} turns with nothing to do");
}

#[test]
fn the_descriptor_reports_connections_and_commands_once_each() {
    let (mut reactor, address) = listening();
    let mut outer = Outer::watching(&reactor);
    turn_until_quiet(&mut reactor);
    outer.drain();

    let mut client = Client::connect(address);
    outer.wait();
    turn_until_quiet(&mut reactor);
    client.request("/hello");
    outer.wait();
    turn_until_quiet(&mut reactor);
    assert_eq!(client.answer().body, "hello");

    reactor.handle().run(|cx| cx.shutdown()).unwrap();
    outer.wait();
    turn_until_quiet(&mut reactor);
    assert!(reactor.is_stopped());
}

#[cfg(all(target_os = "linux", not(starwheel_portable)))]
#[test]
fn the_descriptor_reports_deadlines_so_that_the_outer_loop_needs_no_timeout() {
    use starwheel::{Next, Sse};
    let ticks = |_req: &Request, _cx: &mut Context<'_>| {
        let mut left = 3;
        Sse::every(Duration::from_millis(5), move |stream| {
            stream.send(format_args!("{left}"));
            left -= 1;
            if left == 0 { Next::Finish } else { Next::Again }
        })
    };
    let mut reactor = Reactor::new(Router::new().get("/ticks", ticks)).unwrap();
    let address = reactor.listen("127.0.0.1:0").unwrap();
    let mut outer = Outer::watching(&reactor);
    let clients = thread::spawn(move || {
        let mut clients: Vec<_> = (0..100).map(|_| Client::streaming(address, "/ticks")).collect();
        for client in &mut clients {
            let events: Vec<_> = std::iter::from_fn(|| client.event()).collect();
            assert_eq!(events, ["data: 3", "data: 2", "data: 1"]);
        }
    });
    while reactor.stats().closed.finished < 100 {
        turn_until_quiet(&mut reactor);
        if reactor.stats().closed.finished < 100 {
            outer.wait();
        }
    }
    clients.join().unwrap();
}

/// A new socket is writable, which nobody wants to know.
#[test]
fn a_client_that_has_not_sent_anything_causes_one_wake_up() {
    let (mut reactor, address) = listening();
    let _client = Client::connect(address);
    turn_until(&mut reactor, "it is accepted", |stats| stats.accepted == 1);
    let mut outer = Outer::watching(&reactor);
    outer.drain();
    assert!(outer.events.is_empty(), "there is more to report");
}

#[test]
fn the_descriptor_reports_that_a_client_reads_again() {
    const LENGTH: usize = 16 * 1024 * 1024;
    let mut reactor =
        Reactor::new(|_: &Request, _: &mut Context<'_>| Response::text("x".repeat(LENGTH)))
            .unwrap();
    let address = reactor.listen("127.0.0.1:0").unwrap();
    let mut outer = Outer::watching(&reactor);
    let mut client = Client::connect(address);
    client.request("/");
    turn_until(&mut reactor, "the response has begun", |stats| stats.bytes_out > 0);
    turn_until_quiet(&mut reactor);
    outer.drain();
    assert!(reactor.stats().bytes_out < LENGTH as u64, "all of it fits into the sockets");
    let reader = thread::spawn(move || client.answer().body.len());
    while reactor.stats().bytes_out < LENGTH as u64 {
        outer.wait();
        turn_until_quiet(&mut reactor);
    }
    assert_eq!(reader.join().unwrap(), LENGTH);
}

/// Another loop, edge-triggered, that watches the descriptor of the reactor.
struct Outer {
    poll: Poll,
    events: Events,
}

impl Outer {
    fn watching(reactor: &Reactor) -> Self {
        let poll = Poll::new().unwrap();
        let fd = reactor.as_fd().as_raw_fd();
        poll.registry().register(&mut SourceFd(&fd), Token(0), Interest::READABLE).unwrap();
        Self { poll, events: Events::with_capacity(8) }
    }

    fn wait(&mut self) {
        self.poll.poll(&mut self.events, Some(PATIENCE)).unwrap();
        assert!(!self.events.is_empty(), "the descriptor reported nothing");
    }

    fn drain(&mut self) {
        self.poll.poll(&mut self.events, Some(Duration::ZERO)).unwrap();
    }
}

impl Client {
    /// Opens an idle stream on a reactor that this thread turns.
    fn streaming_while(reactor: &mut Reactor, address: std::net::SocketAddr) -> Self {
        let mut client = Self::connect(address);
        client.request("/idle");
        turn_until(reactor, "the stream is open", |stats| stats.streams == 1);
        client.stream_head();
        client
    }
}

fn hello(_: &Request, _: &mut Context<'_>) -> Response {
    Response::text("hello")
}

/// Number of turns, and of ticks in them.
fn turns_within(reactor: &mut Reactor, time: Duration) -> (u64, u64) {
    let ticks_before = reactor.stats().ticks;
    let end = Instant::now() + time;
    let mut turns = 0;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        reactor.turn(Some(left)).unwrap();
        turns += 1;
    }
    (turns, reactor.stats().ticks - ticks_before)
}

#[test]
fn closures_that_leave_each_other_no_time_show_in_the_figures_though_none_is_slow() {
    const LENGTH: Duration = Duration::from_millis(50);
    let mut reactor = Reactor::new(Router::new()).unwrap();
    let runs = Rc::new(Cell::new(0));
    for _ in 0..10 {
        let runs = Rc::clone(&runs);
        let run = move |_: &mut Context<'_>| {
            thread::sleep(LENGTH);
            runs.set(runs.get() + 1);
        };
        reactor.context().every(Duration::from_millis(200), run);
    }
    let start = Instant::now();
    // Ten runs take longer than the interval, so that some are missed on any machine.
    while reactor.stats().timers_missed == 0 {
        assert!(start.elapsed() < PATIENCE, "no run is missed");
        reactor.turn(None).unwrap();
    }
    let counted = Duration::from_nanos(reactor.stats().call_nanos);
    // The exact clock and the coarse one agree to within a tick of the kernel for each run.
    let least = (LENGTH - Duration::from_millis(10)) * runs.get();
    assert!((least..=start.elapsed() + LENGTH).contains(&counted), "{counted:?}");
}
