//! Invariants 1 to 3: calls of user code, the order of a turn, one timer per connection.

use std::cell::RefCell;
use std::rc::Rc;

use crate::story::{Diary, HOUR, Ids, data, secs, serving};
use starwheel::testing::Simulation;
use starwheel::{Ending, KeepAlive, Method, Response, Router, Sse, StreamId};

// 1. Core never calls user code.

#[test]
fn invariant_1_a_users_refcell_may_stay_borrowed_across_send_and_close() {
    let room = Rc::new(RefCell::new(Vec::<StreamId>::new()));
    let (joined, left, closing) = (Rc::clone(&room), Rc::clone(&room), Rc::clone(&room));
    let router = Router::new()
        .get("/join", move |_, _| {
            let (joined, left) = (Rc::clone(&joined), Rc::clone(&left));
            Sse::new()
                .on_connect(move |stream| joined.borrow_mut().push(stream.id()))
                .on_disconnect(move |_, id, _| left.borrow_mut().retain(|other| *other != id))
        })
        .get("/close", move |_, cx| {
            let room = closing.borrow_mut();
            let timer = cx.after(HOUR, |_| ());
            for &id in room.iter() {
                assert!(cx.send(id, "the room closes"));
                assert!(cx.close(id, Ending::Finish));
                assert!(!cx.send(id, "too late"));
            }
            assert!(cx.cancel(timer));
            Response::no_content()
        });
    let mut simulation = Simulation::new(router);
    let clients = [(); 5].map(|()| simulation.get("/join"));
    assert_eq!(room.borrow().len(), 5);
    simulation.get("/close");
    assert!(room.borrow().is_empty(), "every hook ran");
    for client in clients {
        assert_eq!(data(&simulation, client), ["the room closes"]);
    }
}

/// Notes its own end, for which it must be able to borrow.
struct Mourner(Rc<RefCell<Vec<&'static str>>>);

impl Drop for Mourner {
    fn drop(&mut self) {
        self.0.borrow_mut().push("dropped");
    }
}

#[test]
fn invariant_1_destructors_of_closures_run_with_nothing_borrowed() {
    let app = Rc::new(RefCell::new(Vec::new()));
    let (ids, in_stream) = (Ids::default(), Rc::clone(&app));
    let keep = ids.clone();
    let mut simulation = serving(move |_, _| {
        let (keep, mourner) = (keep.clone(), Mourner(Rc::clone(&in_stream)));
        Sse::every(secs(1), move |_| {
            let _ = &mourner;
        })
        .on_connect(move |stream| keep.keep(stream.id()))
    });
    simulation.get("/");
    let (id, borrowed, in_timer) = (ids.last(), Rc::clone(&app), Mourner(Rc::clone(&app)));
    simulation.run(move |cx| {
        let mut app = borrowed.borrow_mut();
        let timer = cx.after(secs(1), move |_| drop(in_timer));
        cx.cancel(timer);
        cx.close(id, Ending::Drop);
        app.push("end of the call");
    });
    assert_eq!(*app.borrow(), ["end of the call", "dropped", "dropped"]);
}

#[test]
fn invariant_1_hooks_run_after_the_closure_that_caused_them_has_returned() {
    let (diary, ids) = (Diary::default(), Ids::default());
    let (noted, keep) = (diary.clone(), ids.clone());
    let mut simulation = serving(move |_, _| {
        let (noted, keep) = (noted.clone(), keep.clone());
        Sse::new()
            .on_connect(move |stream| keep.keep(stream.id()))
            .on_disconnect(move |_, _, _| noted.note("hook"))
    });
    simulation.get("/");
    let (id, noted) = (ids.last(), diary.clone());
    simulation.run(move |cx| {
        cx.close(id, Ending::Finish);
        noted.note("closed");
    });
    assert_eq!(diary.read(), ["closed", "hook"]);
}

#[test]
fn invariant_1_hooks_that_close_further_streams_settle_in_the_same_turn() {
    let (diary, ids) = (Diary::default(), Ids::default());
    let (noted, keep) = (diary.clone(), ids.clone());
    let mut simulation = serving(move |_, _| {
        let (noted, keep, others) = (noted.clone(), keep.clone(), keep.clone());
        Sse::new().on_connect(move |stream| keep.keep(stream.id())).on_disconnect(
            move |cx, id, _| {
                noted.note(cx.now().as_secs());
                let next = others.all().iter().position(|other| *other == id).unwrap() + 1;
                if let Some(&next) = others.all().get(next) {
                    cx.close(next, Ending::Finish);
                }
            },
        )
    });
    for _ in 0..100 {
        simulation.get("/");
    }
    simulation.advance(secs(7));
    let first = ids.all()[0];
    simulation.queue(move |cx| {
        cx.close(first, Ending::Finish);
    });
    simulation.turn_once();
    assert_eq!(diary.read(), vec!["7"; 100]);
    assert_eq!(simulation.stats().streams, 0);
}

// 2. The order of a turn.

#[test]
fn invariant_2_commands_then_requests_then_timers_then_births_then_deaths() {
    let diary = Diary::default();
    let note = |entry: &'static str| {
        let diary = diary.clone();
        move || diary.note(entry)
    };
    let (request, birth, death) = (note("request"), note("birth"), note("death"));
    let router = Router::new()
        .get("/leaving", move |_, _| {
            let death = death.clone();
            Sse::new().on_disconnect(move |_, _, _| death())
        })
        .get("/new", move |_, _| {
            request();
            let birth = birth.clone();
            Sse::new().on_connect(move |_| birth())
        });
    let mut simulation = Simulation::new(router);
    let leaving = simulation.get("/leaving");
    let (timer, command) = (note("timer"), note("command"));
    simulation.run(move |cx| {
        cx.after(secs(10), move |_| timer());
    });

    // The engine finds all of it at its next turn.
    let new = simulation.connect();
    simulation.half_close(leaving);
    simulation.request(new, Method::Get, "/new", &[], b"");
    simulation.queue(move |_| command());
    simulation.pause(secs(10));
    assert_eq!(diary.read(), ["command", "request", "timer", "birth", "death"]);
}

#[test]
fn invariant_2_a_stream_that_is_opened_and_closed_in_one_turn_has_both_hooks() {
    let diary = Diary::default();
    let noted = diary.clone();
    let mut simulation = serving(move |_, _| {
        let (born, dead) = (noted.clone(), noted.clone());
        Sse::new()
            .on_connect(move |stream| {
                born.note("born");
                stream.send("only");
                stream.close(Ending::Finish);
                stream.send("never");
            })
            .on_disconnect(move |_, _, reason| dead.note(reason))
    });
    let client = simulation.connect();
    simulation.request(client, Method::Get, "/", &[], b"");
    simulation.turn_once();
    assert_eq!(diary.read(), ["born", "finished"]);
    assert_eq!(data(&simulation, client), ["only"]);
}

#[test]
fn invariant_2_a_freed_slot_means_no_connection_until_it_is_reused() {
    let ids = Ids::default();
    let keep = ids.clone();
    let mut simulation = serving(move |_, _| {
        let keep = keep.clone();
        Sse::new().on_connect(move |stream| keep.keep(stream.id()))
    });
    for _ in 0..50 {
        let client = simulation.get("/");
        let stale = ids.all();
        simulation.run(move |cx| {
            for &id in &stale[..stale.len() - 1] {
                assert!(!cx.send(id, "for somebody else"));
                assert!(!cx.close(id, Ending::Drop));
            }
        });
        assert_eq!(data(&simulation, client).len(), 0);
        simulation.reset(client);
        simulation.turn();
    }
    let mut different = ids.all();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), 50);
}

// 3. One timer per connection; nothing is swept.

#[test]
fn invariant_3_streams_without_a_deadline_cause_no_wake_ups() {
    let mut simulation = serving(|_, _| Sse::new().keep_alive(KeepAlive::Off));
    for _ in 0..1000 {
        simulation.get("/");
    }
    let turns = simulation.turns();
    simulation.advance(24 * HOUR);
    assert!(simulation.turns() - turns <= 10, "{} turns", simulation.turns() - turns);
    assert_eq!(simulation.stats().streams, 1000);
}

#[test]
fn invariant_3_one_timer_serves_tick_keep_alive_and_age() {
    let mut simulation = serving(|_, _| {
        Sse::every(secs(40), |stream| stream.send("tick"))
            .keep_alive(KeepAlive::Every(secs(15)))
            .max_lifetime(secs(100))
    });
    let client = simulation.get("/");
    simulation.advance(secs(99));
    assert_eq!(data(&simulation, client), ["tick"; 3]); // at 0, 40 and 80
    assert_eq!(simulation.stats().keep_alives, 5); // at 15, 30, 55, 70 and 95
    assert_eq!(simulation.stats().streams, 1);
    simulation.advance(secs(1));
    assert_eq!(simulation.stats().closed.lifetime, 1);
}
