//! A reactor on a thread of its own.

use std::{collections::BTreeSet, io, sync::mpsc, thread, time::Duration};

use starwheel::{Reactor, Response, Router, Sse, Topic, Unanswered};

use crate::{
    client::{Client, PATIENCE},
    turn_until,
};

#[test]
fn a_spawned_reactor_serves_and_is_joined() {
    let (sender, address) = mpsc::channel();
    let spawned = Reactor::spawn_with("live", move || {
        assert_eq!(thread::current().name(), Some("live"));
        let mut reactor =
            Reactor::new(Router::new().get("/", |_req, _cx| Sse::new().subscribe(&news())))?;
        sender.send(reactor.listen("127.0.0.1:0")?).unwrap();
        Ok(reactor)
    });
    let spawned = spawned.unwrap();
    let mut client = Client::streaming(address.recv().unwrap(), "/");
    spawned.handle().publish(&news(), "hello").unwrap();
    while client.event().is_some_and(|event| !event.contains("hello")) {}
    let handle = spawned.handle();
    handle.drain(Duration::from_millis(1));
    spawned.join().unwrap();
    assert!(handle.is_stopped());
}

#[test]
fn a_reactor_does_not_wait_for_its_own_end() {
    let spawned = Reactor::spawn("live", Router::new).unwrap();
    let (handle, (sender, joined)) = (spawned.handle(), mpsc::channel());
    handle.run(move |_cx| sender.send(spawned.join()).unwrap()).unwrap();
    assert!(joined.recv_timeout(PATIENCE).expect("no panic").is_err());
    handle.shutdown();
}

fn news() -> Topic {
    Topic::new("news").retain()
}

#[test]
fn an_error_in_the_closure_comes_back() {
    let failed = Reactor::spawn_with("live", || {
        Err(io::Error::new(io::ErrorKind::NotFound, "no certificate"))
    });
    assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::NotFound);
    let listening = Reactor::spawn_with("live", || {
        let mut reactor = Reactor::new(Router::new())?;
        reactor.listen("no address at all")?;
        Ok(reactor)
    });
    assert!(listening.is_err());
    let panicked = Reactor::spawn("live", || -> Router { panic!("no routes") });
    assert!(panicked.unwrap_err().to_string().contains("live"));
    let misnamed = Reactor::spawn("li\0ve", Router::new);
    assert_eq!(misnamed.unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn a_reactor_that_is_dropped_without_a_shutdown_hands_late_answers_back() {
    let (responders, desk) = mpsc::channel::<starwheel::Responder>();
    let mut reactor = Reactor::new(Router::new().get("/", move |_req, cx| {
        let (later, responder) = cx.later();
        responders.send(responder).unwrap();
        later
    }))
    .unwrap();
    let mut client = Client::connect(reactor.listen("127.0.0.1:0").unwrap());
    client.request("/");
    turn_until(&mut reactor, "the request has come", |stats| stats.requests == 1);
    drop(reactor);
    let answered = desk.recv_timeout(PATIENCE).unwrap().try_answer(Response::text("back"));
    assert!(matches!(answered, Err(Unanswered::Stopped(_))), "{answered:?}");
}

/// A promise is kept by another thread, over a real socket, while the reactor sleeps.
#[test]
fn another_thread_answers_while_the_reactor_sleeps() {
    let (sender, address) = mpsc::channel();
    let (responders, desk) = mpsc::channel::<starwheel::Responder>();
    let spawned = Reactor::spawn_with("live", move || {
        let mut reactor = Reactor::new(Router::new().get("/", move |_req, cx| {
            let (later, responder) = cx.later();
            responders.send(responder).unwrap();
            later
        }))?;
        sender.send(reactor.listen("127.0.0.1:0")?).unwrap();
        Ok(reactor)
    });
    let (spawned, address) = (spawned.unwrap(), address.recv().unwrap());
    let mut clients: Vec<_> = (0..100).map(|_| Client::connect(address)).collect();
    for client in &mut clients {
        client.request("/");
    }
    // One leaves; the system tells, and the responder knows.
    clients.remove(0).reset();
    let pool = thread::spawn(move || {
        let (sender, left) = mpsc::channel();
        let responders: Vec<_> = (0..100).map(|_| desk.recv_timeout(PATIENCE).unwrap()).collect();
        for responder in &responders {
            let sender = sender.clone();
            responder.on_gone(move || sender.send(()).unwrap());
        }
        left.recv_timeout(PATIENCE).unwrap();
        let gone = responders.iter().filter(|responder| responder.is_gone()).count();
        for (number, responder) in responders.into_iter().enumerate() {
            responder.answer(Response::text(number.to_string()));
        }
        gone
    });
    let texts: BTreeSet<_> = clients.iter_mut().map(|client| client.answer().body).collect();
    assert_eq!(texts.len(), 99, "everybody gets another answer");
    assert_eq!(pool.join().unwrap(), 1);
    spawned.handle().shutdown();
    spawned.join().unwrap();
}
