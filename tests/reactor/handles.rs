//! `Handle`: access from other threads.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use starwheel::{Backpressure, Context, Handle, Reactor, Router, Sse, Topic, TrySendError};

use crate::{
    client::{Client, PATIENCE},
    routes,
    server::Server,
    turn_until,
};

#[test]
fn commands_of_one_thread_keep_their_order() {
    let server = Server::serving(routes);
    let (note, notes) = mpsc::channel();
    for number in 0..10_000 {
        let note = note.clone();
        server.run_patiently(move |_cx| note.send(number).unwrap());
    }
    drop(note);
    assert!(notes.iter().eq(0..10_000));
}

#[test]
fn no_wake_up_is_lost() {
    let server = Server::serving(routes);
    thread::scope(|scope| {
        for _ in 0..4 {
            // Each waits for its response, so the reactor falls asleep repeatedly in between.
            scope.spawn(|| {
                (0..5_000).for_each(|number| assert_eq!(server.ask(move |_| number), number))
            });
        }
    });
}

#[test]
fn a_full_queue_gives_the_command_back() {
    let mut reactor = Reactor::new(routes()).unwrap();
    let handle = reactor.handle();
    let ran = Arc::new(AtomicU32::new(0));
    for _ in 0..65_536 {
        handle.run(counting(&ran)).unwrap();
    }
    let refused = handle.run(counting(&ran)).unwrap_err();
    assert!(refused.is_full());
    let back = refused.into_inner();
    for _slice in 0..4 {
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    assert_eq!(ran.load(Ordering::Relaxed), 65_536);
    handle.run(back).unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(ran.load(Ordering::Relaxed), 65_537);
}

#[test]
fn a_full_queue_still_takes_a_shutdown() {
    let mut reactor = Reactor::new(routes()).unwrap();
    let handle = reactor.handle();
    while handle.run(|_cx| {}).is_ok() {}
    handle.shutdown();
    reactor.run().unwrap();
}

#[test]
fn a_shutdown_or_drain_runs_although_fan_out_always_lags() {
    for ends in [Handle::shutdown as fn(&Handle), |handle| handle.drain(Duration::ZERO)] {
        let news = Topic::new("news").backpressure(Backpressure::Latest);
        let watched = news.clone();
        let router = Router::new().get("/", move |_req, _cx| Sse::new().subscribe(&watched));
        let mut reactor = Reactor::new(router).unwrap();
        let address = reactor.listen("127.0.0.1:0").unwrap();
        // A pass over them takes three turns, and in each of these more is published than may lag.
        let _clients: Vec<Client> = (0..300)
            .map(|_| {
                let mut client = Client::connect(address);
                client.request("/");
                client
            })
            .collect();
        turn_until(&mut reactor, "all are there", |stats| stats.streams == 300);
        let event = "x".repeat(2_000_000);
        let publish = move |cx: &mut Context<'_>| {
            cx.publish(&news, &event).unwrap();
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(2) {}
        };
        reactor.context().every(Duration::from_millis(1), publish);
        turn_until(&mut reactor, "it lags", |stats| stats.published > 3);
        let handle = reactor.handle();
        let ran = Arc::new(AtomicU32::new(0));
        handle.run(counting(&ran)).unwrap();
        ends(&handle);
        for _ in 0..50 {
            reactor.turn(Some(Duration::ZERO)).unwrap();
        }
        assert!(reactor.is_stopped(), "50 turns later");
        assert_eq!(ran.load(Ordering::Relaxed), 1, "what was given before is not passed over");
    }
}

#[test]
fn commands_given_before_a_shutdown_still_run() {
    let mut reactor = Reactor::new(routes()).unwrap();
    let handle = reactor.handle();
    let ran = Arc::new(AtomicU32::new(0));
    handle.run(counting(&ran)).unwrap();
    handle.shutdown();
    reactor.run().unwrap();
    assert_eq!(ran.load(Ordering::Relaxed), 1);
}

#[test]
fn a_reactor_that_is_gone_gives_commands_back_and_drops_those_that_wait() {
    let reactor = Reactor::new(routes()).unwrap();
    let handle = reactor.handle();
    let waiting = Arc::new(());
    let (held, again) = (OnDrop(handle.clone(), Arc::clone(&waiting)), handle.clone());
    handle.run(move |_cx| drop(held)).unwrap();
    assert_eq!(Arc::strong_count(&waiting), 2);
    drop(reactor);
    assert_eq!(Arc::strong_count(&waiting), 1, "the closure that waited is dropped");
    assert!(again.run(|_cx| {}).is_err());
    again.drain(Duration::ZERO);
    again.shutdown();

    /// Uses the handle while the queue is being emptied, which must not deadlock.
    struct OnDrop(Handle, #[expect(dead_code)] Arc<()>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            assert!(self.0.run(|_cx| {}).is_err());
        }
    }
}

#[test]
fn a_reactor_that_has_stopped_gives_commands_back() {
    let mut reactor = Reactor::new(routes()).unwrap();
    let handle = reactor.handle();
    handle.shutdown();
    reactor.run().unwrap();
    assert!(handle.run(|_cx| {}).is_err(), "it would never run");
}

#[test]
fn a_panic_in_a_command_affects_nothing_else() {
    let server = Server::serving(routes);
    server.handle.run(|_cx| panic!("on purpose")).unwrap();
    assert_eq!(server.stats().panics, 1);
}

#[test]
fn handles_may_be_shared_by_many_threads() {
    let server = Server::serving(routes);
    let ran = Arc::new(AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..5_000).for_each(|_| server.run_patiently(counting(&ran))));
        }
    });
    server.stats(); // Behind all of them.
    assert_eq!(ran.load(Ordering::Relaxed), 40_000);
}

fn counting(ran: &Arc<AtomicU32>) -> impl FnOnce(&mut Context<'_>) + Send + 'static {
    let ran = Arc::clone(ran);
    move |_cx| {
        ran.fetch_add(1, Ordering::Relaxed);
    }
}

impl Server {
    /// Like a thread that may wait: tries again while the queue is full.
    fn run_patiently(&self, call: impl FnOnce(&mut Context<'_>) + Send + 'static) {
        let mut call = call;
        let start = Instant::now();
        while let Err(TrySendError::Full(back)) = self.handle.run(call) {
            assert!(start.elapsed() < PATIENCE, "the queue stays full");
            call = back;
            thread::yield_now();
        }
    }
}
