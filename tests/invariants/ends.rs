//! Invariants 8 and 9: hooks run once, and mistakes affect only the code that makes them.

use crate::story::{Bomb, Census, Diary, Ids, data, faults, ms, numbers, secs, serving};
use crate::{assert_counts_from_zero, counter};
use starwheel::testing::{Client, Simulation};
use starwheel::{
    ClosedCounts, Config, Context, Ending, Method, Next, Request, Response, Router, Sse, Stream,
};

// 8. Hooks run exactly once.

/// Streams of every kind, and a diary of their hooks.
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
        "/updater/close" => Sse::every(secs(1), |_| Next::Finish),
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

/// Runs `story` with one kind of stream; its hooks must have run once each.
#[track_caller]
fn assert_ends_once(
    fate: &str,
    reason: &str,
    expected: impl FnOnce(&ClosedCounts) -> u64,
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
    let finished = |closed: &ClosedCounts| closed.finished;
    let dropped = |closed: &ClosedCounts| closed.dropped;
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
    let shutdown = |closed: &ClosedCounts| closed.shutdown;
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
    // Detected only when the next tick is written.
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

// 9. Mistakes of users and peers affect only themselves.

/// Runs `wrong` next to a ticking neighbour, which must not be affected.
#[track_caller]
pub(crate) fn assert_costs_itself_alone(
    handler: impl FnMut(&Request, &mut Context<'_>) -> Sse + 'static,
) -> (Simulation, Client) {
    let router = Router::new().get("/ticks", |_, _| counter(100)).get("/wrong", handler);
    let mut simulation = Simulation::new(router);
    let before = simulation.get("/ticks");
    let wrong = simulation.get("/wrong");
    let after = simulation.get("/ticks");
    simulation.advance(secs(10));
    assert_counts_from_zero(&simulation, before, 101);
    assert_counts_from_zero(&simulation, after, 101);
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
fn invariant_9_a_panic_in_on_disconnect_affects_nothing_else() {
    let (simulation, wrong) = assert_costs_itself_alone(|_, _| {
        let last = Sse::new().send("whole").ending(Ending::Finish);
        last.on_disconnect(|_, _, _| panic!("a hook of the user's"))
    });
    assert_eq!(data(&simulation, wrong), ["whole"]);
    assert_eq!(simulation.stats().closed.finished, 1);
    assert!(simulation.is_open(wrong), "the connection stays open");
}

#[test]
fn invariant_9_a_panic_in_a_handler_is_a_500() {
    let (simulation, wrong) = assert_costs_itself_alone(|_, _| panic!("a handler of the user's"));
    assert_eq!(simulation.response(wrong).status, 500);
    assert!(!simulation.response(wrong).text().contains("user's"), "no secrets are revealed");
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
        });
        Sse::new()
    });
    assert_eq!(diary.read(), ["ran"]);
    assert_costs_itself_alone(|_, cx| {
        cx.after(secs(1), |_| panic!("a timer of the user's"));
        Sse::new()
    });
}

#[test]
fn invariant_9_a_timer_that_panics_takes_no_timer_with_it_that_it_has_set() {
    let diary = Diary::default();
    let (once, every) = (diary.clone(), diary.clone());
    let mut simulation = serving(|_, _| Response::no_content());
    simulation.run(move |cx| {
        cx.after(secs(1), move |cx| {
            cx.after(secs(1), move |_| once.note("once"));
            cx.every(secs(1), move |_| every.note("every"));
            panic!("a timer of the user's")
        });
    });
    simulation.advance(secs(3));
    assert_eq!(diary.read(), ["once", "every", "every"]);
}

#[test]
fn invariant_9_a_panic_in_a_command_of_another_thread_is_caught() {
    let mut simulation = serving(|_, _| counter(100));
    let client = simulation.get("/");
    simulation.queue(|_| panic!("a command of the user's"));
    simulation.turn();
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
            Next::Finish
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

/// Two panics during one unwinding abort the process.
#[test]
fn invariant_9_each_of_many_panicking_destructors_is_caught_separately() {
    let armed = |sse: Sse| {
        let bomb = Bomb;
        sse.on_disconnect(move |_, _, _| drop(bomb))
    };
    let failing = move || {
        let bomb = Bomb;
        let fail = move |_: &mut Stream<'_>| {
            let _ = &bomb;
            Err::<(), _>(Box::new(BombError(Bomb)).into())
        };
        armed(Sse::every(secs(1), fail))
    };
    let unborn = move || {
        let bomb = Bomb;
        failing().on_connect(move |_| drop(bomb))
    };
    let mut tagged = 0;
    let router = Router::new()
        .get("/failing", move |_, _| failing())
        .get("/expired", move |_, cx| unborn().expires_at(cx.system_time()))
        .get("/tagged", move |_, _| {
            tagged += 1;
            if tagged == 1 { armed(Sse::new()).tag("one") } else { unborn().tag("one") }
        });
    let mut config = Config::default();
    config.limits.streams_per_tag = Some(1);
    let mut simulation = Simulation::with_config(config, 0, router);
    for path in ["/failing", "/expired", "/tagged", "/tagged", "/failing"] {
        simulation.get(path);
    }
    let head = simulation.connect();
    simulation.request(head, Method::Head, "/failing", &[], b"");
    simulation.turn();
    assert_eq!((simulation.stats().closed.failed, simulation.stats().streams), (2, 1));
    assert_eq!(simulation.stats().panics, 3 + 3 + 3 + 3 + 2);
    drop(simulation);
}

#[test]
fn invariant_9_the_end_of_a_simulation_survives_all_destructors() {
    let armed = |bomb: Bomb| move |_: &Request, _: &mut Context<'_>| drop_later(&bomb);
    let router = Router::new()
        .get("/a", armed(Bomb))
        .post("/a", armed(Bomb))
        .get("/b", armed(Bomb))
        .fallback(armed(Bomb));
    let mut simulation = Simulation::new(router);
    simulation.get("/a");
    let mut cx = simulation.context();
    for _ in 0..2 {
        let bomb = Bomb;
        cx.after(secs(1), move |_| drop(bomb));
    }
    drop(simulation);
}

fn drop_later(_: &Bomb) -> Sse {
    let [updated, ended] = [Bomb, Bomb];
    Sse::every(secs(1), move |_| {
        let _ = &updated;
    })
    .on_disconnect(move |_, _, _| drop(ended))
}

/// An error whose destructor panics.
#[derive(Debug)]
struct BombError(#[allow(dead_code, reason = "for its destructor")] Bomb);

impl std::fmt::Display for BombError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a bomb")
    }
}

impl std::error::Error for BombError {}

#[test]
fn invariant_9_a_payload_that_panics_when_dropped_is_caught() {
    assert_costs_itself_alone(|_, _| {
        Sse::every(secs(1), |_| -> () { std::panic::panic_any(Bomb) })
    });
    // And one whose destructor panics with such a payload too.
    struct Payload;
    impl Drop for Payload {
        fn drop(&mut self) {
            std::panic::panic_any(Self);
        }
    }
    assert_costs_itself_alone(|_, _| {
        Sse::every(secs(1), |_| -> () { std::panic::panic_any(Payload) })
    });
}

#[test]
fn invariant_9_nothing_that_a_peer_sends_ends_more_than_its_connection() {
    let mut simulation = serving(|req, _| Response::text(req.body().to_vec()));
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
    assert!(simulation.stats().refused.total() > 1000);
    simulation.request(neighbour, Method::Get, "/", &[], b"");
    simulation.turn();
    assert_eq!(simulation.response(neighbour).status, 200);
}
