//! The invariants of the design, each as tests that fail when it is broken.
//!
//! The numbers are those of ARCHITECTURE.md. What concerns topics has its tests with them.

#[path = "support/story.rs"]
mod story;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use starwheel::{
    Closed, Config, Context, Encode, Ending, EventBuffer, FirstTick, KeepAlive, Method, Next,
    Reply, Request, Router, Sse, StreamId,
    testing::{Client, Simulation},
};
use story::{
    Bomb, Census, Diary, HOUR, Ids, bad_network, data, faults, get, ms, numbers, secs, serving,
    serving_with,
};

/// A stream that counts its ticks.
fn counter(interval_ms: u64) -> Sse {
    let mut count = 0_u64;
    Sse::every(ms(interval_ms), move |stream| {
        stream.send(format_args!("{count}"));
        count += 1;
    })
}

#[track_caller]
fn assert_counts_from_zero(simulation: &Simulation, client: Client, length: usize) {
    let expected: Vec<u64> = (0..length as u64).collect();
    assert_eq!(numbers(simulation, client), expected);
}

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
            Reply::no_content()
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

    // All of it lies before the engine when it looks again.
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
fn invariant_2_a_slot_that_was_given_up_means_nobody_until_it_is_used_again() {
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
fn invariant_3_streams_without_a_deadline_wake_nobody() {
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
fn invariant_3_one_timer_stands_for_tick_keep_alive_and_age_in_turn() {
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

// 4. libev's timer rules.

#[test]
fn invariant_4_time_is_read_once_per_turn() {
    let diary = Diary::default();
    let noted = diary.clone();
    let mut simulation = serving(move |_, cx| {
        let (at, noted) = (cx.now(), noted.clone());
        Sse::every(secs(1), move |stream| {
            assert_eq!(stream.now(), at);
            assert_eq!(stream.context().now(), at);
            noted.note(at.as_millis());
            Next::Close
        })
    });
    let client = simulation.connect();
    simulation.request(client, Method::Get, "/", &[], b"");
    simulation.pause(ms(12_345));
    assert_eq!(diary.read(), ["12345"]);
}

#[test]
fn invariant_4_a_repeating_timer_has_its_next_deadline_before_it_runs() {
    let mut simulation = Simulation::new(Router::new());
    let id = Rc::new(RefCell::new(None));
    let own = Rc::clone(&id);
    simulation.run(move |cx| {
        let timer = cx.every(secs(1), move |cx| {
            // There is something to cancel: the timer is armed while it runs.
            assert!(cx.cancel(own.borrow().unwrap()));
            assert!(!cx.cancel(own.borrow().unwrap()), "once");
        });
        *id.borrow_mut() = Some(timer.unwrap());
    });
    simulation.advance(secs(10));
    assert_eq!(simulation.stats().panics, 0);
}

#[test]
fn invariant_4_ticks_do_not_drift_over_a_day() {
    let diary = Diary::default();
    let noted = diary.clone();
    let mut simulation = serving(move |_, _| {
        let noted = noted.clone();
        Sse::every(ms(999), move |stream| {
            if stream.now().as_millis() % 999 != 0 {
                noted.note(stream.now().as_millis());
            }
            stream.send("tick");
        })
    });
    let client = simulation.get("/");
    simulation.advance(24 * HOUR);
    assert_eq!(diary.read(), [""; 0], "ticks off their schedule");
    assert_eq!(data(&simulation, client).len(), 1 + 24 * 3_600_000 / 999);
    let stats = simulation.stats();
    assert_eq!((stats.tick_lateness_ms.sum(), stats.ticks_missed, stats.ticks_skipped), (0, 0, 0));
}

#[test]
fn invariant_4_a_late_tick_does_not_move_the_ones_behind_it() {
    let diary = Diary::default();
    let noted = diary.clone();
    let mut simulation = serving(move |_, _| {
        let noted = noted.clone();
        Sse::every(ms(100), move |stream| noted.note(stream.now().as_millis()))
    });
    simulation.get("/");
    simulation.pause(ms(130));
    simulation.advance(ms(170));
    assert_eq!(diary.read(), ["0", "130", "200", "300"]);
    assert_eq!(simulation.stats().tick_lateness_ms.sum(), 30);
    assert_eq!(simulation.stats().ticks_missed, 0);
}

#[test]
fn invariant_4_a_stop_of_an_hour_causes_one_tick() {
    let runs = Diary::default();
    let noted = runs.clone();
    let mut simulation = serving(|_, _| counter(1000));
    simulation.run(move |cx| {
        cx.every(secs(1), move |cx| noted.note(cx.now().as_secs())).unwrap();
    });
    let client = simulation.get("/");
    simulation.advance(ms(500));
    simulation.pause(HOUR);
    assert_counts_from_zero(&simulation, client, 2);
    assert_eq!(simulation.stats().ticks_missed, 3599);
    assert_eq!(runs.read(), ["3600"]);

    // And the phase is what it was.
    simulation.advance(ms(499));
    assert_counts_from_zero(&simulation, client, 2);
    simulation.advance(ms(1));
    assert_counts_from_zero(&simulation, client, 3);
    assert_eq!(runs.read(), ["3600", "3601"]);
}

#[test]
fn invariant_4_a_timer_armed_in_a_turn_is_never_due_in_that_turn() {
    /// Arms itself again, without delay, for ever.
    fn again(cx: &mut Context<'_>, noted: Diary) {
        noted.note(cx.now().as_millis());
        cx.after(ms(0), move |cx| again(cx, noted));
    }
    let diary = Diary::default();
    let mut simulation = serving(|_, _| {
        Sse::every(ms(1), |stream| {
            stream.send("tick");
            Next::After(ms(0))
        })
    });
    let noted = diary.clone();
    simulation.run(|cx| again(cx, noted));
    simulation.advance(ms(3));
    assert_eq!(diary.read(), ["0", "1", "2", "3"]);
    let client = simulation.get("/");
    simulation.advance(ms(3));
    assert_eq!(data(&simulation, client).len(), 4);
}

#[test]
fn invariant_4_timers_due_together_run_in_deadline_order() {
    let diary = Diary::default();
    let mut simulation = Simulation::new(Router::new());
    // Armed in an order of its own (7 generates the numbers below 1009).
    let mut deadlines: Vec<u64> = Vec::new();
    let mut deadline = 7;
    for _ in 0..500 {
        deadlines.push(deadline);
        deadline = deadline * 7 % 1009;
    }
    for &deadline in &deadlines {
        let noted = diary.clone();
        simulation.run(move |cx| {
            cx.after(ms(deadline), move |_| noted.note(deadline));
        });
    }
    simulation.pause(secs(5));
    deadlines.sort_unstable();
    let expected: Vec<String> = deadlines.iter().map(u64::to_string).collect();
    assert_eq!(diary.read(), expected);
}

#[test]
fn invariant_4_ticks_and_timers_share_one_order() {
    let diary = Diary::default();
    let noted = diary.clone();
    let mut simulation = serving(move |req, _| {
        let (name, noted) = (req.query().unwrap().to_owned(), noted.clone());
        let interval = ms(name.parse().unwrap());
        Sse::every(interval, move |_| noted.note(&name)).first_tick(FirstTick::AfterInterval)
    });
    for name in ["300", "100", "500"] {
        simulation.get(&format!("/?{name}"));
    }
    for delay in [400, 200] {
        let noted = diary.clone();
        simulation.run(move |cx| {
            cx.after(ms(delay), move |_| noted.note(delay));
        });
    }
    simulation.pause(ms(599));
    assert_eq!(diary.read(), ["100", "200", "300", "400", "500"]);
}

#[test]
fn invariant_4_what_an_earlier_timer_cancels_or_closes_does_not_run() {
    let (diary, ids) = (Diary::default(), Ids::default());
    let (noted, keep) = (diary.clone(), ids.clone());
    let mut simulation = serving(move |_, _| {
        let (noted, keep) = (noted.clone(), keep.clone());
        Sse::every(ms(20), move |_| noted.note("tick"))
            .first_tick(FirstTick::AfterInterval)
            .on_connect(move |stream| keep.keep(stream.id()))
    });
    simulation.get("/");
    let (stream, noted) = (ids.last(), diary.clone());
    simulation.run(move |cx| {
        let later = noted.clone();
        let second = cx.after(ms(20), move |_| later.note("second"));
        cx.after(ms(10), move |cx| {
            noted.note("first");
            assert!(cx.cancel(second));
            assert!(cx.close(stream, Ending::Finish));
        });
    });
    simulation.pause(ms(30));
    assert_eq!(diary.read(), ["first"]);
}

// 5. Whole events, in order.

/// Two closures feed the stream: its updater, two events at a time, and a timer.
fn chatter(cx: &mut Context<'_>) -> Sse {
    let number = Rc::new(Cell::new(0_usize));
    let message = move || {
        number.set(number.get() + 1);
        let n = number.get();
        format!("{n}\n{}\n{n}", "x".repeat(n * 37 % 700))
    };
    let id = Rc::new(Cell::new(None));
    let (of_timer, to) = (message.clone(), Rc::clone(&id));
    cx.every(ms(5), move |cx| {
        if let Some(id) = to.get() {
            cx.send(id, of_timer());
        }
    })
    .unwrap();
    Sse::every(ms(7), move |stream| {
        stream.send(message());
        stream.send(message());
    })
    .on_connect(move |stream| id.set(Some(stream.id())))
}

/// Counts the messages of a [`chatter`], after making sure that each is whole and in its place.
#[track_caller]
fn whole_messages(data: &[String]) -> usize {
    for (message, n) in data.iter().zip(1..) {
        assert_eq!(*message, format!("{n}\n{}\n{n}", "x".repeat(n * 37 % 700)));
    }
    data.len()
}

#[test]
fn invariant_5_events_stay_whole_and_in_order_wherever_writes_are_cut() {
    for seed in 0..50 {
        let router = Router::new().get("/", |_, cx| chatter(cx));
        let mut simulation = Simulation::with_config(Config::default(), seed, router);
        simulation.set_faults(bad_network());
        let clients = [(); 4].map(|()| simulation.get("/"));
        simulation.advance(secs(1));
        for client in clients {
            assert!(whole_messages(&data(&simulation, client)) > 200, "seed {seed}");
        }
    }
}

#[test]
fn invariant_5_a_chunk_holds_whole_events() {
    let mut simulation = serving(|_, cx| chatter(cx));
    simulation.set_faults(bad_network());
    let client = simulation.get("/");
    simulation.advance(secs(2));
    let received = simulation.received(client);
    let head = received.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let mut rest = &received[head..];
    let mut chunks = 0;
    while let Some(line) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&rest[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let chunk = &rest[line + 2..][..size];
        assert!(chunk.starts_with(b"data: ") && chunk.ends_with(b"\n\n"), "{chunk:?}");
        rest = &rest[line + 2 + size + 2..];
        chunks += 1;
    }
    assert!(chunks > 400, "{chunks}");
    assert!(rest.is_empty(), "the simulation ends between two ticks");
}

#[test]
fn invariant_5_a_tick_and_the_response_head_with_it_is_one_write() {
    let mut simulation = serving(|_, _| {
        Sse::every(secs(1), |stream| {
            stream.send("one");
            stream.send("two");
        })
        .send("zero")
    });
    let client = simulation.get("/");
    assert_eq!(data(&simulation, client), ["zero", "one", "two"]);
    assert_eq!(simulation.writes(client), 1);
    simulation.advance(secs(5));
    assert_eq!(simulation.writes(client), 6);
}

// 6. A slow client costs little, and nobody else anything.

const KERNEL_BYTES: usize = 64 * 1024;

#[test]
fn invariant_6_a_stalled_clients_ticks_are_skipped_and_counted_and_its_neighbours_tick_on() {
    let mut simulation = serving(|_, _| {
        let mut count = 0_u64;
        Sse::every(ms(100), move |stream| {
            stream.send(format_args!("{count}{:2000}", ""));
            count += 1;
        })
    });
    let (stalled, neighbour) = (simulation.get("/"), simulation.get("/"));
    simulation.stall(stalled);
    simulation.advance(secs(600));
    let ticks = 6_001;
    assert_eq!(data(&simulation, neighbour).len(), ticks);
    let stats = simulation.stats().clone();
    assert_eq!(stats.ticks + stats.ticks_skipped, 2 * ticks as u64);
    assert!(stats.ticks_skipped > 5_900);
    assert_eq!(stats.streams, 2);

    // What it finds when it is back: all that was sent, whole and in order.
    simulation.forget_received(neighbour);
    let before = simulation.received(stalled).len();
    simulation.resume(stalled);
    simulation.turn();
    let backlog_bytes = simulation.received(stalled).len() - before;
    assert!(backlog_bytes <= KERNEL_BYTES + 2100, "one tick was kept: {backlog_bytes}");
    let seen: Vec<String> =
        data(&simulation, stalled).iter().map(|event| event.trim().to_owned()).collect();
    let expected: Vec<String> = (0..stats.ticks - ticks as u64).map(|n| n.to_string()).collect();
    assert_eq!(seen, expected);

    simulation.advance(secs(1));
    assert_eq!(data(&simulation, stalled).len(), expected.len() + 10, "and on it goes");
}

#[test]
fn invariant_6_what_others_send_to_a_stalled_client_is_bounded() {
    let diary = Diary::default();
    let (ids, noted) = (Ids::default(), diary.clone());
    let keep = ids.clone();
    let mut config = Config::default();
    config.limits.outbox_bytes = 10_000;
    let mut simulation = serving_with(config, move |_, _| {
        let (keep, noted) = (keep.clone(), noted.clone());
        Sse::new()
            .on_connect(move |stream| keep.keep(stream.id()))
            .on_disconnect(move |_, _, reason| noted.note(reason))
    });
    let stalled = simulation.get("/");
    let id = ids.last();
    simulation.stall(stalled);
    let mut sent = 0;
    loop {
        let accepted = Rc::new(Cell::new(false));
        let answer = Rc::clone(&accepted);
        simulation.run(move |cx| answer.set(cx.send(id, "x".repeat(980))));
        if !accepted.get() {
            break;
        }
        sent += 1;
        assert!(sent < 1000, "there is an end to patience");
    }
    assert_eq!(diary.read(), ["the client reads too slowly"]);
    assert_eq!(simulation.stats().closed.slow, 1);
    let bound_bytes = KERNEL_BYTES + 10_000 + 2_000;
    assert!(sent * 1000 <= bound_bytes && sent * 1000 > bound_bytes - 4_000, "{sent}");

    simulation.resume(stalled);
    simulation.turn();
    assert!(data(&simulation, stalled).iter().all(|event| event.len() == 980), "whole events");
}

#[test]
fn invariant_6_a_burst_in_one_turn_makes_nobody_slow() {
    let ids = Ids::default();
    let keep = ids.clone();
    let mut simulation = serving(move |_, _| {
        let keep = keep.clone();
        Sse::new().on_connect(move |stream| keep.keep(stream.id()))
    });
    let client = simulation.get("/");
    let id = ids.last();
    simulation.run(|cx| {
        for _ in 0..1000 {
            assert!(cx.send(id, "x".repeat(1000)));
        }
    });
    assert_eq!(data(&simulation, client).len(), 1000);
}

#[test]
fn invariant_6_a_client_that_pipelines_without_reading_is_not_read_either() {
    let mut simulation = serving(|_, _| Reply::text("x".repeat(1000)));
    let client = simulation.connect();
    simulation.stall(client);
    simulation.send(client, &get("/").repeat(20_000));
    simulation.turn();
    let stats = simulation.stats().clone();
    assert!(stats.requests < 300, "{} requests were answered into the void", stats.requests);
    assert!(stats.bytes_in <= 2 * KERNEL_BYTES as u64);
    simulation.resume(client);
    simulation.turn();
    assert_eq!(simulation.stats().requests, 20_000, "every one is answered once it reads");
    assert_eq!(simulation.stats().bytes_out, simulation.received(client).len() as u64);
}

#[test]
fn invariant_6_one_huge_tick_is_kept_whole() {
    let mut simulation =
        serving(|_, _| Sse::every(secs(1), |stream| stream.send("x".repeat(5_000_000))));
    let client = simulation.connect();
    simulation.stall(client);
    simulation.send(client, &get("/"));
    simulation.advance(secs(10));
    assert_eq!(simulation.stats().ticks, 1);
    simulation.resume(client);
    simulation.turn();
    assert_eq!(data(&simulation, client), ["x".repeat(5_000_000)]);
}

// 7. Bounded work per turn.

#[test]
fn invariant_7_a_client_that_never_stops_sending_holds_nobody_up() {
    let router =
        Router::new().get("/", |_, _| Reply::text("pong")).get("/stream", |_, _| Sse::new());
    let mut simulation = Simulation::new(router);
    let flood = simulation.get("/stream");
    let other = simulation.connect();
    simulation.send(flood, &vec![b'x'; 10_000_000]);
    simulation.request(other, Method::Get, "/", &[], b"");
    let before = simulation.stats().bytes_in;
    assert!(simulation.turn_once(), "more is to be read");
    assert!(simulation.stats().bytes_in - before < 512 * 1024);
    assert_eq!(simulation.answer(other).text(), "pong");
    simulation.turn();
    assert!(simulation.stats().bytes_in > 10_000_000, "all is read in the end");
}

#[test]
fn invariant_7_a_client_that_pipelines_gets_its_share_of_a_turn() {
    let mut simulation = serving(|_, _| Reply::text("pong"));
    let (flood, other) = (simulation.connect(), simulation.connect());
    simulation.send(flood, &get("/").repeat(1000));
    simulation.request(other, Method::Get, "/", &[], b"");
    simulation.turn_once();
    assert_eq!(simulation.answer(other).text(), "pong");
    let share = simulation.answers(flood).len();
    assert!((1..=64).contains(&share), "{share}");
    simulation.turn();
    assert_eq!(simulation.answers(flood).len(), 1000);
}

// 8. Hooks run exactly once.

/// Streams of every fate, and a diary of their hooks.
fn fates() -> (Simulation, Diary, Ids) {
    let (diary, ids) = (Diary::default(), Ids::default());
    let (noted, keep) = (diary.clone(), ids.clone());
    let hooked = move |sse: Sse| {
        let (born, dead, keep) = (noted.clone(), noted.clone(), keep.clone());
        sse.on_connect(move |stream| {
            keep.keep(stream.id());
            born.note("born");
        })
        .on_disconnect(move |_, _, reason| dead.note(format_args!("{reason:?}")))
    };
    let make = |fate: &str| match fate {
        "/updater/close" => Sse::every(secs(1), |_| Next::Close),
        "/updater/drop" => Sse::every(secs(1), |_| Next::Drop),
        "/updater/fail" => Sse::every(secs(1), |_| Err::<(), _>("broken".into())),
        "/updater/panic" => Sse::every(secs(1), |_| -> () { panic!("a closure of the user's") }),
        "/ending/finish" => Sse::new().ending(Ending::Finish),
        "/ending/drop" => Sse::new().ending(Ending::Drop),
        "/lifetime" => Sse::new().max_lifetime(secs(5)),
        "/ticks" => Sse::every(ms(100), |stream| stream.send("x".repeat(1000))),
        _ => Sse::new(),
    };
    let router = Router::new().get("/{*fate}", move |req, _| hooked(make(req.path())));
    (Simulation::new(router), diary, ids)
}

/// Lives through `story` with a stream of one fate; its hooks must have run once each.
#[track_caller]
fn assert_ends_once(
    fate: &str,
    reason: &str,
    expected: impl FnOnce(&Closed) -> u64,
    story: impl FnOnce(&mut Simulation, Client, &Ids),
) {
    let (mut simulation, diary, ids) = fates();
    let client = simulation.connect();
    simulation.request(client, Method::Get, fate, &[], b"");
    simulation.turn();
    story(&mut simulation, client, &ids);
    simulation.advance(secs(100));
    simulation.reset(client);
    simulation.advance(secs(100));
    simulation.shutdown();
    assert_eq!(diary.read(), ["born", reason], "{fate}");
    let closed = simulation.stats().closed;
    assert_eq!((expected(&closed), closed.total()), (1, 1), "{fate}");
    assert_eq!((simulation.stats().streams, simulation.stats().connections), (0, 0), "{fate}");
}

#[test]
fn invariant_8_on_connect_and_on_disconnect_run_exactly_once_each() {
    let wait = |simulation: &mut Simulation, _: Client, _: &Ids| simulation.advance(secs(10));
    let finished = |closed: &Closed| closed.finished;
    let dropped = |closed: &Closed| closed.dropped;
    assert_ends_once("/updater/close", "Finished", finished, wait);
    assert_ends_once("/ending/finish", "Finished", finished, wait);
    assert_ends_once("/closed", "Finished", finished, |simulation, _, ids| {
        simulation.run(|cx| assert!(cx.close(ids.last(), Ending::Finish)));
    });
    assert_ends_once("/updater/drop", "Dropped", dropped, wait);
    assert_ends_once("/ending/drop", "Dropped", dropped, wait);
    assert_ends_once("/closed", "Dropped", dropped, |simulation, _, ids| {
        simulation.run(|cx| assert!(cx.close(ids.last(), Ending::Drop)));
    });
    assert_ends_once("/lifetime", "Lifetime", |closed| closed.lifetime, wait);
    assert_ends_once("/updater/fail", "Failed(\"broken\")", |closed| closed.failed, wait);
    assert_ends_once("/updater/panic", "Panicked", |closed| closed.panicked, wait);
}

#[test]
fn invariant_8_hooks_run_once_when_the_client_or_the_server_goes() {
    let shutdown = |closed: &Closed| closed.shutdown;
    assert_ends_once("/quiet", "Shutdown", shutdown, |simulation, _, _| simulation.shutdown());
    assert_ends_once("/quiet", "Shutdown", shutdown, |simulation, _, _| simulation.drain(secs(20)));
    assert_ends_once("/quiet", "Shutdown", shutdown, |simulation, _, _| {
        simulation.drain(secs(20));
        simulation.shutdown();
    });
    assert_ends_once(
        "/ticks",
        "Disconnected",
        |closed| closed.disconnected,
        |simulation, client, _| {
            simulation.half_close(client);
        },
    );
    assert_ends_once(
        "/quiet",
        "Io(ConnectionReset)",
        |closed| closed.io,
        |simulation, client, _| {
            simulation.reset(client);
        },
    );
    // Found only when the next tick is written.
    assert_ends_once(
        "/ticks",
        "Io(BrokenPipe)",
        |closed| closed.io,
        |simulation, _, _| {
            simulation.set_faults(faults(|faults| faults.resets_percent = 100));
            simulation.advance(secs(1));
        },
    );
    assert_ends_once(
        "/quiet",
        "Slow",
        |closed| closed.slow,
        |simulation, client, ids| {
            simulation.stall(client);
            let flood = |simulation: &mut Simulation| {
                simulation.run(|cx| {
                    cx.send(ids.last(), "x".repeat(100_000));
                });
            };
            (0..10).for_each(|_| flood(simulation));
            assert_eq!(simulation.stats().closed.slow, 1);
        },
    );
}

#[test]
fn invariant_8_the_first_reason_is_the_reason() {
    // All of it in one turn.
    assert_ends_once(
        "/ticks",
        "Dropped",
        |closed| closed.dropped,
        |simulation, client, ids| {
            let id = ids.last();
            simulation.queue(move |cx| {
                assert!(cx.close(id, Ending::Drop));
                assert!(!cx.close(id, Ending::Finish));
            });
            simulation.queue(move |cx| assert!(!cx.close(id, Ending::Finish)));
            simulation.reset(client);
            simulation.pause(secs(10));
        },
    );
}

#[test]
fn invariant_8_a_stream_that_a_fin_overtakes_still_has_both_hooks() {
    for (fate, reason) in [("/ending/finish", "Finished"), ("/quiet", "Disconnected")] {
        let (mut simulation, diary, _) = fates();
        let client = simulation.connect();
        simulation.request(client, Method::Get, fate, &[], b"");
        simulation.half_close(client);
        simulation.turn();
        assert_eq!(diary.read(), ["born", reason]);
        assert!(!simulation.is_open(client));
    }
}

// 9. What users and peers do wrong costs them alone.

struct Unencodable;

impl Encode for Unencodable {
    fn encode(&self, out: &mut EventBuffer) {
        out.data("half of it");
        panic!("an Encode of the user's");
    }
}

/// Lives through `wrong` beside a ticking neighbour, who must not notice.
#[track_caller]
fn assert_costs_itself_alone(
    handler: impl FnMut(&Request, &mut Context<'_>) -> Sse + 'static,
) -> (Simulation, Client) {
    let router = Router::new().get("/ticks", |_, _| counter(100)).get("/wrong", handler);
    let mut simulation = Simulation::new(router);
    let before = simulation.get("/ticks");
    let wrong = simulation.get("/wrong");
    let behind = simulation.get("/ticks");
    simulation.advance(secs(10));
    assert_counts_from_zero(&simulation, before, 101);
    assert_counts_from_zero(&simulation, behind, 101);
    assert_eq!(simulation.stats().panics, 1, "counted once");
    (simulation, wrong)
}

#[test]
fn invariant_9_a_panic_in_an_updater_ends_its_stream_alone() {
    let census = Census::default();
    let counted = census.clone();
    let (simulation, wrong) = assert_costs_itself_alone(move |_, _| {
        let citizen = counted.citizen();
        let mut count = 0;
        Sse::every(secs(1), move |stream| {
            let _ = &citizen;
            count += 1;
            stream.send(format_args!("{count}"));
            assert!(count < 3, "a closure of the user's");
        })
    });
    assert_eq!(numbers(&simulation, wrong), [1, 2, 3], "what was sent before is whole");
    assert_eq!(simulation.stats().closed.panicked, 1);
    assert_eq!(census.alive(), 0, "nothing leaks");
}

#[test]
fn invariant_9_a_panic_in_on_connect_ends_its_stream_alone() {
    let diary = Diary::default();
    let noted = diary.clone();
    let (simulation, wrong) = assert_costs_itself_alone(move |_, _| {
        let (ticked, dead) = (noted.clone(), noted.clone());
        Sse::every(secs(1), move |_| ticked.note("a tick"))
            .on_connect(|stream| {
                stream.send("whole");
                panic!("a hook of the user's")
            })
            .on_disconnect(move |_, _, reason| dead.note(format_args!("{reason:?}")))
    });
    assert_eq!(diary.read(), ["Panicked"]);
    assert_eq!(data(&simulation, wrong), ["whole"]);
}

#[test]
fn invariant_9_a_panic_in_on_disconnect_costs_nothing_but_itself() {
    let (simulation, wrong) = assert_costs_itself_alone(|_, _| {
        let last = Sse::new().send("whole").ending(Ending::Finish);
        last.on_disconnect(|_, _, _| panic!("a hook of the user's"))
    });
    assert_eq!(data(&simulation, wrong), ["whole"]);
    assert_eq!(simulation.stats().closed.finished, 1);
    assert!(simulation.is_open(wrong), "the connection goes on");
}

#[test]
fn invariant_9_a_panic_in_a_handler_is_a_500() {
    let (simulation, wrong) = assert_costs_itself_alone(|_, _| panic!("a handler of the user's"));
    assert_eq!(simulation.answer(wrong).status, 500);
    assert!(!simulation.answer(wrong).text().contains("user's"), "no secrets are told");
}

#[test]
fn invariant_9_a_panic_in_a_timer_ends_that_timer() {
    let diary = Diary::default();
    let noted = diary.clone();
    assert_costs_itself_alone(move |_, cx| {
        let noted = noted.clone();
        cx.every(secs(1), move |_| -> () {
            noted.note("ran");
            panic!("a timer of the user's")
        })
        .unwrap();
        Sse::new()
    });
    assert_eq!(diary.read(), ["ran"]);
    assert_costs_itself_alone(|_, cx| {
        cx.after(secs(1), |_| panic!("a timer of the user's"));
        Sse::new()
    });
}

#[test]
fn invariant_9_a_panic_in_a_command_of_another_thread_is_caught() {
    let mut simulation = serving(|_, _| counter(100));
    let client = simulation.get("/");
    simulation.run(|_| panic!("a command of the user's"));
    simulation.advance(secs(1));
    assert_counts_from_zero(&simulation, client, 11);
    assert_eq!(simulation.stats().panics, 1);
}

#[test]
fn invariant_9_a_panic_in_the_destructor_of_a_captured_value_is_caught() {
    assert_costs_itself_alone(|_, _| {
        let bomb = Bomb;
        Sse::every(secs(1), move |_| {
            let _ = &bomb;
            Next::Close
        })
    });
    assert_costs_itself_alone(|_, _| {
        let bomb = Bomb;
        Sse::new().ending(Ending::Finish).on_disconnect(move |_, _, _| drop(bomb))
    });
    assert_costs_itself_alone(|_, cx| {
        let bomb = Bomb;
        let timer = cx.after(secs(1), move |_| drop(bomb));
        assert!(cx.cancel(timer));
        Sse::new()
    });
}

#[test]
fn invariant_9_a_panic_in_an_encode_leaves_no_half_event_behind() {
    let (simulation, wrong) = assert_costs_itself_alone(|_, _| {
        Sse::every(secs(1), |stream| {
            stream.send("whole");
            stream.send(Unencodable);
        })
    });
    assert_eq!(data(&simulation, wrong), ["whole"]);
    assert_eq!(simulation.stats().closed.panicked, 1);

    // Sent from elsewhere, it costs the sender, not the stream that was to get it.
    let ids = Ids::default();
    let keep = ids.clone();
    let (mut simulation, innocent) = assert_costs_itself_alone(move |_, cx| {
        let (keep, to) = (keep.clone(), keep.clone());
        cx.after(secs(1), move |cx| {
            cx.send(to.last(), Unencodable);
        });
        Sse::new().on_connect(move |stream| keep.keep(stream.id()))
    });
    let id = ids.last();
    simulation.run(|cx| assert!(cx.send(id, "still here")));
    assert_eq!(data(&simulation, innocent), ["still here"]);
}

#[test]
fn invariant_9_a_payload_that_panics_when_dropped_is_caught() {
    assert_costs_itself_alone(|_, _| {
        Sse::every(secs(1), |_| -> () { std::panic::panic_any(Bomb) })
    });
}

#[test]
fn invariant_9_nothing_that_a_peer_sends_ends_more_than_its_connection() {
    let mut simulation = serving(|req, _| Reply::text(req.body().to_vec()));
    let neighbour = simulation.connect();
    let alphabet: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\n",
        b"Host: a\r\n",
        b"\r\n",
        b"Content-Length: 5\r\n",
        b"hello",
        b"\0",
        b"Transfer-Encoding: chunked\r\n",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"HTTP/1.0",
        b" ",
        b":",
        b"POST / HTTP/1.1\r\n",
        b"\xff\xfe",
        b"ffffffffffffffff\r\n",
        b"Expect: 100-continue\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"%",
    ];
    let mut state = 1_usize;
    for _ in 0..3000 {
        let client = simulation.connect();
        for _ in 0..8 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            simulation.send(client, alphabet[(state >> 33) % alphabet.len()]);
            if state >> 40 & 1 == 0 {
                simulation.turn();
            }
        }
        simulation.turn();
        simulation.reset(client);
    }
    simulation.turn();
    assert_eq!(simulation.stats().connections, 1);
    assert!(simulation.stats().refused > 1000);
    simulation.request(neighbour, Method::Get, "/", &[], b"");
    simulation.turn();
    assert_eq!(simulation.answer(neighbour).status, 200);
}
