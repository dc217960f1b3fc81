//! Bugs that were found, each with the test that would have found it.

use std::{cell::RefCell, error::Error, fmt, rc::Rc};

use starwheel::{
    Backpressure, BoxError, Ending, Event, JoinAt, Method, Next, Router, Sse, Topic,
    testing::{BodyEnd, ServerEnd, Simulation},
};

use crate::{
    story::{data, faults, ms, secs},
    words::{last_id, publish, serving, serving_all, streams},
};

#[test]
fn who_joins_a_full_history_and_says_so_is_not_taken_for_slow() {
    let chat = Topic::new("chat").history(3, 10_000);
    let joined = chat.clone();
    let mut simulation = Simulation::new(Router::new().get("/", move |_, _| {
        let chat = joined.clone();
        Sse::new().subscribe_at(&joined, JoinAt::Oldest).on_connect(move |stream| {
            stream.context().publish(&chat, "somebody came in");
        })
    }));
    publish(&mut simulation, &chat, 1..=3);
    let client = simulation.get("/");
    assert_eq!(data(&simulation, client), ["1", "2", "3", "somebody came in"]);
    assert_eq!(simulation.stats().streams, 1);
}

#[test]
fn a_retained_event_reaches_who_joins_even_if_the_next_follows_at_once() {
    let state = Topic::new("state").retain().log(1, usize::MAX);
    let mut simulation = Simulation::new(Router::new().get("/", |_, _| Sse::new()));
    publish(&mut simulation, &state, ["kept"]);
    let client = simulation.get("/");
    let [id] = streams(&mut simulation)[..] else { panic!("one stream") };
    simulation.run(|cx| {
        assert!(cx.subscribe(id, &state));
        cx.publish(&state, "next");
    });
    assert_eq!(data(&simulation, client), ["kept", "next"]);
    publish(&mut simulation, &state, ["last"]);
    assert_eq!(data(&simulation, client), ["kept", "next", "last"]);
}
