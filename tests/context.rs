//! What closures can do through `Context`: other streams, timers, statistics, shutdown.

#[path = "support/story.rs"]
mod story;

use std::{cell::Cell, rc::Rc, time::Duration};

use starwheel::{
    Context, Ending, Next, Response, Router, Sse, TimerId,
    testing::{BodyEnd, Simulation},
};
use story::{Census, Diary, HOUR, Ids, data, ms, numbers, secs, serving};

/// Streams whose ids are kept.
fn kept() -> (Simulation, Ids) {
    let ids = Ids::default();
    let keep = ids.clone();
    let simulation = serving(move |_, _| {
        let keep = keep.clone();
        Sse::new().on_connect(move |stream| keep.keep(stream.id()))
    });
    (simulation, ids)
}

#[test]
fn send_reaches_a_stream_in_the_same_turn_and_in_order() {
    let (mut simulation, ids) = kept();
    let client = simulation.get("/");
    let id = ids.last();
    simulation.queue(move |cx| {
        for number in 0..100 {
            assert!(cx.send(id, format_args!("{number}")));
        }
    });
    simulation.turn_once();
    assert_eq!(numbers(&simulation, client), (0..100).collect::<Vec<_>>());
    assert_eq!(simulation.writes(client), 2, "the head, and all of these");
    assert_eq!(simulation.stats().events, 100);
}

#[test]
fn close_delivers_what_was_sent_before() {
    for (ending, end) in [(Ending::Finish, BodyEnd::Complete), (Ending::Drop, BodyEnd::Open)] {
        let (mut simulation, ids) = kept();
        let client = simulation.get("/");
        let id = ids.last();
        simulation.run(|cx| {
            assert!(cx.send(id, "last"));
            assert!(cx.close(id, ending));
            assert!(!cx.send(id, "never"));
            assert!(!cx.close(id, ending));
        });
        assert_eq!(data(&simulation, client), ["last"]);
        assert_eq!(simulation.response(client).end, end);
    }
}

#[test]
fn after_runs_once_and_on_time() {
    let diary = Diary::default();
    let mut simulation = Simulation::new(Router::new());
    for delay in [5_000, 1, 70, 0] {
        let noted = diary.clone();
        simulation.run(move |cx| {
            cx.after(ms(delay), move |cx| noted.note(cx.now().as_millis()));
        });
    }
    simulation.advance(HOUR);
    assert_eq!(diary.read(), ["1", "1", "70", "5000"]);
}

#[test]
fn every_runs_without_drift_until_it_is_done() {
    let diary = Diary::default();
    let noted = diary.clone();
    let mut simulation = Simulation::new(Router::new());
    simulation.run(move |cx| {
        let mut left = 4;
        cx.every(ms(300), move |cx| {
            noted.note(cx.now().as_millis());
            left -= 1;
            match left {
                2 => Next::After(ms(50)),
                0 => Next::Finish,
                _ => Next::Again,
            }
        });
    });
    simulation.advance(HOUR);
    assert_eq!(diary.read(), ["300", "600", "650", "950"]);
}

#[test]
fn every_ends_with_finish_drop_or_an_error() {
    let diary = Diary::default();
    let mut simulation = Simulation::new(Router::new());
    let ends: [fn() -> Next; 3] = [|| Next::Finish, || Next::Drop, || Next::Fail("broken".into())];
    for end in ends {
        let noted = diary.clone();
        simulation.run(move |cx| {
            cx.every(secs(1), move |_| {
                noted.note("ran");
                end()
            });
        });
    }
    simulation.advance(HOUR);
    assert_eq!(diary.len(), 3);
}

#[test]
fn an_interval_below_a_millisecond_becomes_one_millisecond() {
    for interval in [Duration::ZERO, Duration::from_micros(999)] {
        let diary = Diary::default();
        let noted = diary.clone();
        let mut simulation = Simulation::new(Router::new());
        simulation.run(move |cx| {
            cx.every(interval, move |_| noted.note("ran"));
        });
        simulation.advance(Duration::from_millis(5));
        assert_eq!(diary.len(), 5);
    }
}

#[test]
fn a_timer_is_cancelled_once() {
    let diary = Diary::default();
    let noted = diary.clone();
    let mut simulation = Simulation::new(Router::new());
    simulation.run(|cx| {
        let (once, every) = (noted.clone(), noted);
        let once = cx.after(secs(1), move |_| once.note("once"));
        let every = cx.every(secs(1), move |_| every.note("every"));
        for timer in [once, every] {
            assert!(cx.cancel(timer));
            assert!(!cx.cancel(timer), "twice");
        }
    });
    simulation.advance(HOUR);
    assert_eq!(diary.len(), 0);
}

#[test]
fn a_timer_may_cancel_itself() {
    let diary = Diary::default();
    let noted = diary.clone();
    let own = Rc::new(Cell::new(None::<TimerId>));
    let known = Rc::clone(&own);
    let mut simulation = Simulation::new(Router::new());
    simulation.run(|cx| {
        let timer = cx.every(secs(1), move |cx| {
            noted.note("ran");
            assert!(cx.cancel(known.get().unwrap()));
            Next::After(ms(1)) // Cancelled is cancelled.
        });
        own.set(Some(timer));
    });
    simulation.advance(HOUR);
    assert_eq!(diary.read(), ["ran"]);
    assert_eq!(simulation.stats().panics, 0);
}

#[test]
fn the_id_of_a_timer_that_is_gone_never_means_a_later_one() {
    let diary = Diary::default();
    let mut simulation = Simulation::new(Router::new());
    let stale = Rc::new(Cell::new(None::<TimerId>));
    let keep = Rc::clone(&stale);
    simulation.run(move |cx| keep.set(Some(cx.after(ms(1), |_| ()))));
    simulation.advance(ms(1));
    let noted = diary.clone();
    simulation.run(move |cx| {
        let young = cx.after(ms(1), move |_| noted.note("ran")); // in the slot of the old one
        assert_ne!(Some(young), stale.get());
        assert!(!cx.cancel(stale.get().unwrap()));
    });
    simulation.advance(ms(1));
    assert_eq!(diary.read(), ["ran"]);
}

#[test]
fn a_timer_armed_by_a_timer_may_take_its_place() {
    fn step(cx: &mut Context<'_>, diary: Diary, left: u32) {
        diary.note(left);
        if left > 0 {
            cx.after(secs(1), move |cx| step(cx, diary, left - 1));
        }
    }
    let diary = Diary::default();
    let mut simulation = Simulation::new(Router::new());
    let noted = diary.clone();
    simulation.run(|cx| step(cx, noted, 3));
    simulation.advance(secs(10));
    assert_eq!(diary.read(), ["3", "2", "1", "0"]);
}

// Between turns, like a program before `run`, or in its own loop.

#[test]
fn a_timer_that_is_due_before_the_next_turn_runs_in_it() {
    let diary = Diary::default();
    let mut simulation = Simulation::new(Router::new());
    let noted = [(); 3].map(|()| diary.clone());
    let [once, every, latest] = noted;
    simulation.context().after(ms(100), move |cx| once.note(cx.now().as_millis()));
    simulation.jump(ms(20));
    let mut cx = simulation.context();
    cx.every(ms(100), move |cx| every.note(format_args!("every {}", cx.now().as_millis())));
    cx.after(ms(60), move |_| latest.note("latest set, due first"));
    simulation.pause(ms(180));
    assert_eq!(diary.read(), ["latest set, due first", "200", "every 200"]);
    simulation.advance(ms(220));
    assert_eq!(diary.read()[3..], ["every 220", "every 320", "every 420"], "in its own phase");
}

#[test]
fn a_timer_that_is_due_before_the_next_turn_can_still_be_cancelled() {
    let (diary, census) = (Diary::default(), Census::default());
    let mut simulation = Simulation::new(Router::new());
    let mut cx = simulation.context();
    let (noted, citizen) = (diary.clone(), census.citizen());
    let once = cx.after(ms(100), move |_| noted.note(format_args!("{citizen:?}")));
    let (noted, citizen) = (diary.clone(), census.citizen());
    let every = cx.every(ms(100), move |_| noted.note(format_args!("{citizen:?}")));
    simulation.jump(secs(1));
    for timer in [once, every] {
        assert!(simulation.context().cancel(timer));
        assert!(!simulation.context().cancel(timer), "twice");
    }
    simulation.advance(HOUR);
    assert_eq!((diary.len(), census.alive()), (0, 0));
}

#[test]
fn a_delay_counts_from_the_moment_at_which_the_context_is_lent() {
    let diary = Diary::default();
    let mut simulation = Simulation::new(Router::new());
    simulation.turn();
    simulation.jump(secs(1));
    assert_eq!(simulation.context().now(), secs(1));
    let noted = diary.clone();
    simulation.context().after(ms(1_500), move |cx| noted.note(cx.now().as_millis()));
    let noted = diary.clone();
    let again =
        move |cx: &mut Context<'_>| noted.note(format_args!("every {}", cx.now().as_millis()));
    simulation.context().every(ms(700), again);
    simulation.advance(secs(2));
    assert_eq!(diary.read(), ["every 1700", "every 2400", "2500"]);
}

#[test]
fn the_time_of_day_and_the_age_of_streams_are_those_at_which_the_context_is_lent() {
    let (mut simulation, ids) = kept();
    let start = simulation.context().system_time();
    simulation.get("/");
    simulation.jump(secs(90));
    let cx = simulation.context();
    assert_eq!(cx.system_time(), start + secs(90));
    assert_eq!(cx.age(ids.last()), Some(secs(90)));
}

#[test]
fn stats_are_those_of_now() {
    let router = Router::new().get("/stream", |_, _| Sse::new()).get("/stats", |_, cx| {
        let stats = cx.stats();
        Response::text(format!("{} {} {}", stats.streams, stats.connections, stats.requests))
    });
    let mut simulation = Simulation::new(router);
    let streams = [(); 3].map(|()| simulation.get("/stream"));
    simulation.half_close(streams[0]);
    simulation.turn();
    let client = simulation.get("/stats");
    assert_eq!(simulation.response(client).text(), "2 3 4");
}

#[test]
fn shutdown_from_within_ends_everything_in_the_same_turn() {
    let diary = Diary::default();
    let noted = diary.clone();
    let router = Router::new()
        .get("/stream", move |_, _| {
            let noted = noted.clone();
            Sse::every(secs(1), |stream| stream.send("tick"))
                .on_disconnect(move |_, _, reason| noted.note(format_args!("{reason:?}")))
        })
        .get("/stop", |_, cx| {
            cx.shutdown();
            Response::text("good night")
        });
    let mut simulation = Simulation::new(router);
    let (stream, idle) = (simulation.get("/stream"), simulation.connect());
    let stop = simulation.get("/stop");
    assert_eq!(simulation.response(stop).text(), "good night");
    assert_eq!(simulation.response(stop).header("connection"), Some("close"));
    assert_eq!(diary.read(), ["Shutdown"]);
    assert_eq!(simulation.response(stream).end, BodyEnd::Open, "it may reconnect elsewhere");
    assert!(simulation.is_stopped());
    for client in [stream, idle, stop] {
        assert!(!simulation.is_open(client));
    }
}

#[test]
fn a_hook_may_arm_timers_and_send_to_others() {
    let ids = Ids::default();
    let (keep, others) = (ids.clone(), ids.clone());
    let mut simulation = serving(move |_, _| {
        let (keep, others) = (keep.clone(), others.clone());
        Sse::new().on_connect(move |stream| keep.keep(stream.id())).on_disconnect(
            move |cx, gone, _| {
                assert!(!cx.send(gone, "to the dead"));
                cx.after(secs(1), move |cx| {
                    for id in others.all() {
                        cx.send(id, "somebody left");
                    }
                });
            },
        )
    });
    let (staying, leaving) = (simulation.get("/"), simulation.get("/"));
    simulation.reset(leaving);
    simulation.advance(secs(2));
    assert_eq!(data(&simulation, staying), ["somebody left"]);
    assert_eq!(simulation.stats().panics, 0);
}
