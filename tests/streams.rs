//! Streams through HTTP: every option of `Sse`, every `Next`.

#[path = "support/decoders.rs"]
mod decoders;
#[path = "support/story.rs"]
mod story;

use std::time::Duration;

use starwheel::{
    Alignment, Config, Ending, Event, FirstTick, KeepAlive, Method, Next, Router, Sse, Topic,
    testing::{BodyEnd, Client, EventParser, ServerEnd, Simulation},
};
use story::{Diary, HOUR, Ids, data, get, get_1_0, ms, numbers, secs, serving, serving_with};

/// A stream whose ticks contain their run time, in milliseconds.
fn clock(interval: Duration) -> Sse {
    Sse::every(interval, |stream| stream.send(format_args!("{}", stream.now().as_millis())))
}

/// Comments, except the one that comes with a head when no event does.
fn comments(simulation: &Simulation, client: Client) -> usize {
    let body = simulation.response(client).body;
    EventParser::read(&body).comments.len() - usize::from(body.starts_with(b":\n"))
}

/// Keep-alive events.
fn heartbeats(simulation: &Simulation, client: Client) -> usize {
    simulation.events(client).iter().filter(|event| event.name == "keep-alive").count()
}

// The interval and its phase.

#[test]
fn a_tick_runs_at_birth_and_then_every_interval() {
    let mut simulation = serving(|_, _| clock(ms(250)));
    simulation.advance(ms(17));
    let client = simulation.get("/");
    simulation.advance(secs(1));
    assert_eq!(numbers(&simulation, client), [17, 267, 517, 767, 1017]);
}

#[test]
fn the_first_tick_can_wait_for_the_interval() {
    let mut simulation = serving(|_, _| clock(ms(250)).first_tick(FirstTick::AfterInterval));
    let client = simulation.get("/");
    assert_eq!(simulation.response(client).status, 200, "the head does not wait");
    simulation.advance(ms(500));
    assert_eq!(numbers(&simulation, client), [250, 500]);
}

#[test]
fn an_interval_is_rounded_up_to_whole_milliseconds() {
    let mut simulation = serving(|_, _| clock(Duration::from_micros(1_001)));
    let client = simulation.get("/");
    simulation.advance(ms(7));
    assert_eq!(numbers(&simulation, client), [0, 2, 4, 6]);
}

#[test]
fn an_interval_of_centuries_is_cut_to_49_days() {
    let mut simulation = serving(|_, _| clock(Duration::MAX).keep_alive(KeepAlive::Off));
    let client = simulation.get("/");
    simulation.advance(24 * HOUR * 50);
    assert_eq!(numbers(&simulation, client), [0, u64::from(u32::MAX - 1)]);
}

#[test]
fn an_interval_below_a_millisecond_becomes_one_millisecond() {
    for interval in [Duration::ZERO, Duration::from_micros(999)] {
        let mut simulation = serving(move |_, _| clock(interval));
        let client = simulation.get("/");
        simulation.advance(ms(3));
        assert_eq!(numbers(&simulation, client), [0, 1, 2, 3]);
    }
}

#[test]
fn streams_of_shared_alignment_tick_together_at_multiples_of_the_interval() {
    let mut simulation = serving(|_, _| clock(secs(1)).alignment(Alignment::Shared));
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(simulation.get("/"));
        simulation.advance(ms(170));
    }
    simulation.advance(secs(2));
    for (number, client) in clients.into_iter().enumerate() {
        assert_eq!(numbers(&simulation, client), [number as u64 * 170, 1000, 2000]);
    }
}

#[test]
fn a_stream_of_own_alignment_keeps_the_phase_of_its_birth() {
    let mut simulation = serving(|_, _| clock(secs(1)).alignment(Alignment::Own));
    simulation.advance(ms(333));
    let client = simulation.get("/");
    simulation.advance(secs(2));
    assert_eq!(numbers(&simulation, client), [333, 1333, 2333]);
}

#[test]
fn shared_alignment_does_not_tick_twice_when_born_on_a_multiple() {
    let mut simulation = serving(|_, _| clock(secs(1)).alignment(Alignment::Shared));
    simulation.advance(secs(3));
    let client = simulation.get("/");
    simulation.advance(secs(1));
    assert_eq!(numbers(&simulation, client), [3000, 4000]);
}

#[test]
fn slack_lets_streams_share_wake_ups_and_does_not_drift() {
    let mut simulation =
        serving(|_, _| clock(ms(105)).slack(ms(10)).first_tick(FirstTick::AfterInterval));
    simulation.advance(ms(3));
    let client = simulation.get("/");
    simulation.advance(ms(540));
    // Nominally at 108, 213, 318, 423 and 528.
    assert_eq!(numbers(&simulation, client), [110, 220, 320, 430, 530]);
    assert_eq!(simulation.stats().tick_lateness_ms.sum(), 0, "slack is not lateness");
    simulation.advance(HOUR);
    let last = *numbers(&simulation, client).last().unwrap();
    assert_eq!((last - 3) / 105, (3_600_000 + 543 - 3) / 105 - u64::from(!last.is_multiple_of(10)));
}

#[test]
fn slack_above_the_interval_makes_one_tick_of_several_and_none_is_missed() {
    for (interval_ms, slack_ms) in [(100, 1_000), (7, 50), (1, 60_000), (999, 1_000)] {
        let mut simulation = serving(move |_, _| clock(ms(interval_ms)).slack(ms(slack_ms)));
        simulation.advance(ms(3));
        simulation.get("/");
        simulation.advance(HOUR);
        let stats = simulation.stats();
        assert_eq!((stats.ticks_missed, stats.tick_lateness_ms.sum()), (0, 0), "no tick was late");
        let runs = 3_600_000 / slack_ms.max(interval_ms);
        assert!(stats.ticks.abs_diff(runs) <= 4, "{} runs instead of {runs}", stats.ticks);
    }
}

#[test]
fn a_tick_that_is_late_for_less_than_its_slack_costs_none_of_the_next() {
    let mut simulation = serving(|_, _| clock(ms(100)).slack(ms(100)));
    simulation.advance(ms(1));
    let client = simulation.get("/");
    // Nominally at 101 and 201, hence at 200 and 300.
    simulation.advance(ms(198));
    simulation.pause(ms(6));
    simulation.advance(ms(95));
    assert_eq!(numbers(&simulation, client), [1, 205, 300]);
    simulation.pause(ms(100));
    assert_eq!(simulation.stats().ticks_missed, 0);
    simulation.pause(ms(199));
    assert_eq!(simulation.stats().ticks_missed, 0);
    simulation.pause(ms(201));
    assert_eq!(simulation.stats().ticks_missed, 2);
}

// Keep-alive.

#[test]
fn a_quiet_stream_is_kept_alive_every_15_seconds() {
    let mut simulation = serving(|_, _| Sse::new());
    let client = simulation.get("/");
    simulation.advance(ms(14_999));
    assert_eq!(comments(&simulation, client), 0);
    simulation.advance(ms(1));
    assert_eq!(comments(&simulation, client), 1);
    simulation.advance(secs(45));
    assert_eq!(comments(&simulation, client), 4);
    assert_eq!(simulation.stats().keep_alives, 4);
    assert_eq!(data(&simulation, client).len(), 0, "no client treats it as an event");
}

#[test]
fn keep_alive_follows_config_and_stream() {
    let router = || {
        Router::new()
            .get("/default", |_, _| Sse::new())
            .get("/every", |_, _| Sse::new().keep_alive(KeepAlive::Every(secs(1))))
            .get("/off", |_, _| Sse::new().keep_alive(KeepAlive::Off))
    };
    let comments_in_a_minute = |config: Config| {
        let mut simulation = Simulation::with_config(config, 0, router());
        let clients = ["/default", "/every", "/off"].map(|path| simulation.get(path));
        simulation.advance(secs(60));
        clients.map(|client| comments(&simulation, client))
    };
    let mut config = Config::default();
    config.keep_alive = Some(secs(20));
    assert_eq!(comments_in_a_minute(config.clone()), [3, 60, 0]);
    config.keep_alive = None;
    assert_eq!(comments_in_a_minute(config), [0, 60, 0]);
}

/// A page does not see events of types that it does not listen for.
#[test]
fn keep_alive_events_come_at_fixed_times_however_much_else_is_sent() {
    for interval in [ms(100), secs(1), secs(7), secs(60)] {
        let mut simulation =
            serving(move |_, _| clock(interval).keep_alive(KeepAlive::Event(secs(10))));
        let client = simulation.get("/");
        for beat in 1..=20 {
            simulation.advance(secs(10) - ms(1));
            assert_eq!(heartbeats(&simulation, client), beat - 1, "{interval:?}");
            simulation.advance(ms(1));
            assert_eq!(heartbeats(&simulation, client), beat, "{interval:?}");
        }
        assert_eq!(simulation.stats().keep_alives, 20);
    }
}

#[test]
fn keep_alive_events_carry_no_position_of_their_own() {
    let topic = Topic::new("news").history(10, 1000);
    let subscribed = topic.clone();
    let mut simulation = serving(move |_, _| {
        Sse::new().subscribe(&subscribed).keep_alive(KeepAlive::Event(secs(1)))
    });
    let client = simulation.get("/");
    simulation.advance(secs(2));
    simulation.run(|cx| cx.publish(&topic, "one").map(drop).unwrap());
    simulation.advance(secs(2));
    let events = simulation.events(client);
    let names: Vec<&str> = events.iter().map(|event| &*event.name).collect();
    assert_eq!(names, ["keep-alive", "keep-alive", "message", "keep-alive", "keep-alive"]);
    let ids: Vec<&str> = events.iter().map(|event| &*event.last_event_id).collect();
    assert!(ids[0] == ids[1] && ids[1] != ids[2], "{ids:?}");
    assert!(ids[2] == ids[3] && ids[3] == ids[4], "{ids:?}");
    assert!(!ids[0].is_empty(), "the page learns the position at which it joined");
}

#[test]
fn a_client_that_is_not_read_gets_no_keep_alive_events_until_it_reads() {
    let mut simulation =
        serving(|_, _| Sse::new().send("x".repeat(100_000)).keep_alive(KeepAlive::Event(secs(1))));
    let client = simulation.connect();
    simulation.stall(client);
    simulation.send(client, &get("/"));
    simulation.advance(secs(59));
    simulation.resume(client);
    simulation.turn();
    simulation.advance(ms(1));
    assert_eq!(heartbeats(&simulation, client), 1, "at once, because it is overdue");
    simulation.advance(secs(10));
    assert_eq!(heartbeats(&simulation, client), 11);
}

#[test]
fn intervals_of_keep_alive_events_are_tenths_of_a_second_within_limits() {
    for (asked, every) in [
        (Duration::ZERO, ms(100)),
        (Duration::from_nanos(1), ms(100)),
        (ms(99), ms(100)),
        (ms(101), ms(200)),
        (secs(400), secs(400)),
        (secs(401), secs(400)),
        (Duration::MAX, secs(400)),
    ] {
        let mut simulation = serving(move |_, _| Sse::new().keep_alive(KeepAlive::Event(asked)));
        let client = simulation.get("/");
        let head = heartbeats(&simulation, client);
        simulation.advance(every * 10 - ms(1));
        assert_eq!(heartbeats(&simulation, client) - head, 9, "{asked:?}");
        simulation.advance(ms(1));
        assert_eq!(heartbeats(&simulation, client) - head, 10, "{asked:?}");
    }
}

#[test]
fn keep_alive_events_reach_clients_of_http_1_0() {
    let mut simulation =
        serving(|_, _| Sse::new().send("first").keep_alive(KeepAlive::Event(secs(10))));
    let client = get_1_0(&mut simulation, "/", "");
    simulation.advance(secs(35));
    assert_eq!(heartbeats(&simulation, client), 3);
    assert_eq!(simulation.events(client).len(), 4);
}

#[test]
fn keep_alive_events_continue_until_a_drain_drops_the_stream() {
    let mut simulation =
        serving(|_, _| Sse::new().send("first").keep_alive(KeepAlive::Event(secs(1))));
    let client = simulation.get("/");
    simulation.advance(secs(5));
    simulation.drain(secs(10));
    let mut kept_alive = 5;
    while simulation.server_end(client).is_none() {
        assert_eq!(heartbeats(&simulation, client), kept_alive);
        simulation.advance(secs(1));
        kept_alive += usize::from(simulation.server_end(client).is_none());
        assert!(kept_alive < 20, "the window is 10 s");
    }
    assert_eq!(simulation.response(client).end, BodyEnd::Open);
}

#[test]
fn a_stream_that_flows_needs_no_keep_alive() {
    let mut simulation = serving(|_, _| clock(secs(14)));
    simulation.get("/");
    simulation.advance(HOUR);
    assert_eq!(simulation.stats().keep_alives, 0);
}

#[test]
fn events_from_other_closures_delay_the_keep_alive_too() {
    let ids = Ids::default();
    let keep = ids.clone();
    let mut simulation = serving(move |_, _| {
        let keep = keep.clone();
        Sse::new().on_connect(move |stream| keep.keep(stream.id()))
    });
    let client = simulation.get("/");
    let id = ids.last();
    simulation.advance(secs(10));
    simulation.run(|cx| assert!(cx.send(id, "news")));
    simulation.advance(ms(14_999));
    assert_eq!(comments(&simulation, client), 0);
    simulation.advance(ms(1));
    assert_eq!(comments(&simulation, client), 1);
}

#[test]
fn ticks_that_send_nothing_do_not_put_keep_alive_off() {
    let mut simulation = serving(|_, _| Sse::every(secs(1), |_| ()));
    let client = simulation.get("/");
    simulation.advance(secs(30));
    assert_eq!(comments(&simulation, client), 2);
}

#[test]
fn nothing_is_added_to_what_a_stalled_client_has_not_read() {
    let mut simulation = serving(|_, _| Sse::new().send("x".repeat(100_000)));
    let client = simulation.connect();
    simulation.stall(client);
    simulation.send(client, &get("/"));
    simulation.advance(secs(59));
    simulation.resume(client);
    simulation.turn();
    assert_eq!(comments(&simulation, client), 0);
    simulation.advance(secs(15));
    assert_eq!(comments(&simulation, client), 1, "but then it continues");
}

// Age, unchanged output, headers.

#[test]
fn a_stream_at_its_max_lifetime_is_dropped_so_that_its_client_reconnects() {
    let mut simulation = serving(|_, _| clock(secs(1)).max_lifetime(secs(10)));
    let client = simulation.get("/");
    simulation.advance(ms(9_999));
    assert_eq!(simulation.stats().streams, 1);
    simulation.advance(ms(1));
    assert_eq!(simulation.stats().closed.lifetime, 1);
    assert_eq!(simulation.response(client).end, BodyEnd::Open, "no last chunk");
    assert_eq!(simulation.server_end(client), Some(ServerEnd::Fin));
    assert_eq!(data(&simulation, client).len(), 10);
}

#[test]
fn streams_that_opened_together_do_not_end_together() {
    const STREAMS: u64 = 10_000;
    let mut simulation = serving(|_, _| Sse::new().max_lifetime(secs(60)..=secs(120)));
    for _ in 0..STREAMS {
        simulation.get("/");
    }
    simulation.advance(secs(60) - ms(1));
    assert_eq!(simulation.stats().closed.lifetime, 0);
    let mut ended = 0;
    for second in 60..120 {
        simulation.advance(secs(1));
        let now_ended = simulation.stats().closed.lifetime;
        let even = STREAMS / 60;
        assert!((now_ended - ended).abs_diff(even) <= 5, "{second} s: {}", now_ended - ended);
        ended = now_ended;
    }
    simulation.advance(ms(1));
    assert_eq!(simulation.stats().closed.lifetime, STREAMS);
}

#[test]
fn a_range_of_ages_may_be_reversed_or_empty() {
    for (start, end) in [(20, 10), (5, 5), (0, 0)].map(|(start, end)| (secs(start), secs(end))) {
        let mut simulation = serving(move |_, _| Sse::new().max_lifetime(start..=end));
        for _ in 0..100 {
            simulation.get("/");
        }
        simulation.advance(start.min(end).saturating_sub(ms(1)));
        assert_eq!(simulation.stats().closed.lifetime, 0, "{start:?} to {end:?}");
        simulation.advance(start.abs_diff(end) + ms(1));
        assert_eq!(simulation.stats().closed.lifetime, 100, "{start:?} to {end:?}");
    }
}

/// Each page opens several streams, and only one of them has a maximum age.
#[test]
fn ages_are_spread_whatever_else_opens_between() {
    for others in [1, 2, 3, 4, 7, 12, 20, 33, 54] {
        let mut opened = 0;
        let mut simulation = serving(move |_, _| {
            opened += 1;
            match opened % (others + 1) {
                0 => Sse::new().max_lifetime(secs(60)..=secs(120)),
                _ => Sse::new(),
            }
        });
        for _ in 0..100 * (others + 1) {
            simulation.get("/");
        }
        simulation.advance(secs(60) - ms(1));
        for _ in 0..10 {
            let before = simulation.stats().closed.lifetime;
            simulation.advance(secs(6));
            let ended = simulation.stats().closed.lifetime - before;
            assert!((8..=12).contains(&ended), "{others} others: {ended}");
        }
    }
}

#[test]
fn unchanged_output_is_not_sent() {
    let mut simulation = serving(|_, _| {
        Sse::every(secs(1), |stream| stream.send(format_args!("{}", stream.now().as_secs() / 10)))
            .skip_unchanged()
    });
    let client = simulation.get("/");
    simulation.advance(secs(35));
    assert_eq!(numbers(&simulation, client), [0, 1, 2, 3]);
    assert_eq!((simulation.stats().ticks, simulation.stats().ticks_unchanged), (36, 32));
    assert_eq!(simulation.writes(client), 4);
}

#[test]
fn output_that_changes_back_is_sent_again() {
    let mut simulation = serving(|_, _| {
        Sse::every(secs(1), |stream| match stream.now().as_secs() % 4 {
            0 | 1 => stream.send("a"),
            2 => stream.send("b"),
            _ => {}
        })
        .skip_unchanged()
    });
    let client = simulation.get("/");
    simulation.advance(secs(7));
    assert_eq!(data(&simulation, client), ["a", "b", "a", "b"]);
}

#[test]
fn the_head_of_a_stream_is_for_browsers_proxies_and_datastar() {
    let mut simulation = serving(|_, _| Sse::new().header("Set-Cookie", "id=7"));
    let client = simulation.get("/");
    let answer = simulation.response(client);
    assert_eq!(answer.status, 200);
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
        ("transfer-encoding", "chunked"),
        ("connection", "keep-alive"),
        ("date", "Thu, 01 Jan 2026 00:00:00 GMT"),
        ("set-cookie", "id=7"),
    ] {
        assert_eq!(answer.header(name), Some(value));
    }
    assert_eq!(answer.header("content-length"), None);
}

#[test]
fn a_header_that_cannot_be_sent_is_a_500_and_no_stream() {
    for (name, value) in
        [("X", "a\r\nSet-Cookie: b=c"), ("a b", "c"), ("Transfer-Encoding", "gzip"), ("", "")]
    {
        let diary = Diary::default();
        let noted = diary.clone();
        let mut simulation = serving(move |_, _| {
            let noted = noted.clone();
            Sse::new().header(name, value).on_connect(move |_| noted.note("opened"))
        });
        let client = simulation.get("/");
        assert_eq!(simulation.response(client).status, 500, "{name:?}");
        assert_eq!(simulation.response(client).header("set-cookie"), None);
        assert_eq!((diary.len(), simulation.stats().opened), (0, 0));
    }
}

// Output at birth, and the ends.

#[test]
fn at_birth_events_leave_in_the_order_answer_hook_tick() {
    let mut simulation = serving(|_, _| {
        Sse::every(secs(1), |stream| stream.send("tick"))
            .send("first")
            .send(Event::new("second"))
            .on_connect(|stream| stream.send("hook"))
    });
    let client = simulation.get("/");
    assert_eq!(data(&simulation, client), ["first", "second", "hook", "tick"]);
}

#[test]
fn a_one_shot_answer_is_finished_in_one_write() {
    let mut simulation = serving(|_, _| Sse::new().send("a").send("b").ending(Ending::Finish));
    let client = simulation.get("/");
    assert_eq!(data(&simulation, client), ["a", "b"]);
    assert_eq!(simulation.response(client).end, BodyEnd::Complete);
    assert_eq!(simulation.writes(client), 1);
    assert_eq!(simulation.stats().closed.finished, 1);
    assert_eq!(simulation.server_end(client), None, "the connection is kept");
}

#[test]
fn a_one_shot_answer_with_an_updater_ticks_once() {
    let mut simulation = serving(|_, _| clock(secs(1)).send("a").ending(Ending::Finish));
    let client = simulation.get("/");
    simulation.advance(secs(5));
    assert_eq!(data(&simulation, client), ["a", "0"]);
    assert_eq!(simulation.response(client).end, BodyEnd::Complete);
}

#[test]
fn an_empty_stream_can_be_finished() {
    let mut simulation = serving(|_, _| Sse::new().ending(Ending::Finish));
    let client = simulation.get("/");
    assert_eq!(simulation.response(client).end, BodyEnd::Complete);
    assert_eq!(simulation.response(client).body, b"");
}

#[test]
fn a_dropped_stream_has_no_last_chunk() {
    let mut simulation = serving(|_, _| Sse::new().send("a").ending(Ending::Drop));
    let client = simulation.get("/");
    assert_eq!(data(&simulation, client), ["a"]);
    assert_eq!(simulation.response(client).end, BodyEnd::Open);
    assert_eq!(simulation.server_end(client), Some(ServerEnd::Fin));
}

#[test]
fn http_1_0_gets_bare_bytes_until_the_end_of_the_connection() {
    let router = Router::new()
        .get("/finish", |_, _| Sse::new().send("a").ending(Ending::Finish))
        .get("/drop", |_, _| Sse::new().send("a").ending(Ending::Drop));
    let mut simulation = Simulation::new(router);
    let finished = get_1_0(&mut simulation, "/finish", "Connection: keep-alive\r\n");
    let dropped = get_1_0(&mut simulation, "/drop", "");
    for client in [finished, dropped] {
        let answer = simulation.response(client);
        assert_eq!(answer.header("transfer-encoding"), None);
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(answer.body, b"data: a\n\n");
    }
    assert_eq!(simulation.server_end(finished), Some(ServerEnd::Fin));
    assert_eq!(simulation.server_end(dropped), Some(ServerEnd::Reset), "only a reset shows a cut");
}

// Results of an updater.

#[test]
fn again_and_nothing_mean_the_interval() {
    let router = Router::new()
        .get("/again", |_, _| {
            Sse::every(secs(1), |stream| {
                stream.send("tick");
                Next::Again
            })
        })
        .get("/unit", |_, _| Sse::every(secs(1), |stream| stream.send("tick")))
        .get("/result", |_, _| {
            Sse::every(secs(1), |stream| {
                let number: u32 = "7".parse()?;
                stream.send(format_args!("{number}"));
                Ok(())
            })
        });
    let mut simulation = Simulation::new(router);
    let clients = ["/again", "/unit", "/result"].map(|path| simulation.get(path));
    simulation.advance(secs(10));
    for client in clients {
        assert_eq!(data(&simulation, client).len(), 11);
    }
}

#[test]
fn after_puts_one_tick_elsewhere_and_the_interval_goes_on_from_there() {
    let mut simulation = serving(|_, _| {
        let mut pauses = [ms(50), ms(2_500), ms(0)].into_iter();
        Sse::every(secs(1), move |stream| {
            stream.send(format_args!("{}", stream.now().as_millis()));
            pauses.next().map_or(Next::Again, Next::After)
        })
    });
    let client = simulation.get("/");
    simulation.advance(secs(5));
    assert_eq!(numbers(&simulation, client), [0, 50, 2_550, 2_551, 3_551, 4_551]);
}

#[test]
fn after_for_ever_is_never() {
    let mut simulation = serving(|_, _| {
        Sse::every(secs(1), |stream| {
            stream.send("once");
            Next::After(Duration::MAX)
        })
        .keep_alive(KeepAlive::Off)
    });
    let client = simulation.get("/");
    simulation.advance(24 * HOUR * 365);
    assert_eq!(data(&simulation, client), ["once"]);
    assert_eq!(simulation.stats().streams, 1);
}

#[test]
fn finish_and_drop_take_effect_after_the_events_of_the_tick() {
    let router = Router::new()
        .get("/close", |_, _| {
            Sse::every(secs(1), |stream| {
                stream.send("last");
                Next::Finish
            })
        })
        .get("/drop", |_, _| {
            Sse::every(secs(1), |stream| {
                stream.send("last");
                Next::Drop
            })
        });
    let mut simulation = Simulation::new(router);
    let (closed, dropped) = (simulation.get("/close"), simulation.get("/drop"));
    simulation.advance(secs(10));
    for client in [closed, dropped] {
        assert_eq!(data(&simulation, client), ["last"]);
        assert_eq!(simulation.writes(client), 1, "the end leaves with the last event");
    }
    assert_eq!(simulation.response(closed).end, BodyEnd::Complete);
    assert_eq!(simulation.server_end(closed), None);
    assert_eq!(simulation.response(dropped).end, BodyEnd::Open);
    assert_eq!(simulation.server_end(dropped), Some(ServerEnd::Fin));
}

#[test]
fn an_error_drops_the_stream_and_is_its_reason() {
    let diary = Diary::default();
    let noted = diary.clone();
    let mut simulation = serving(move |_, _| {
        let noted = noted.clone();
        Sse::every(secs(1), |stream| {
            stream.send("before");
            "seven".parse::<u32>()?;
            Ok(Next::Again)
        })
        .on_disconnect(move |_, _, reason| noted.note(reason))
    });
    let client = simulation.get("/");
    assert_eq!(diary.read(), ["the updater failed: invalid digit found in string"]);
    assert_eq!(data(&simulation, client), ["before"]);
    assert_eq!(simulation.server_end(client), Some(ServerEnd::Fin));
    assert_eq!(simulation.response(client).end, BodyEnd::Open);
}

#[test]
fn a_stream_closed_by_its_own_updater_sends_nothing_more() {
    let mut simulation = serving(|_, _| {
        Sse::every(secs(1), |stream| {
            stream.send("last");
            stream.close(Ending::Finish);
            stream.send("never");
            let id = stream.id();
            assert!(!stream.context().send(id, "never"));
            Next::Drop
        })
    });
    let client = simulation.get("/");
    simulation.advance(secs(5));
    assert_eq!(data(&simulation, client), ["last"]);
    assert_eq!(simulation.stats().closed.finished, 1, "the first end counts");
    assert_eq!(simulation.stats().ticks, 1);
}

#[test]
fn an_updater_knows_its_peer_and_id() {
    let ids = Ids::default();
    let keep = ids.clone();
    let mut simulation = serving(move |req, _| {
        let (keep, peer) = (keep.clone(), req.peer());
        Sse::every(secs(1), move |stream| {
            assert_eq!(stream.peer(), peer);
            keep.keep(stream.id());
        })
    });
    simulation.get("/");
    simulation.advance(secs(5));
    assert_eq!(ids.all(), [ids.last(); 6]);
    assert_eq!(simulation.stats().panics, 0);
}

#[test]
fn ten_thousand_streams_tick_for_a_simulated_minute() {
    let mut config = Config::default();
    config.expected_connections = Some(10_000);
    let mut simulation = serving_with(config, |_, _| clock(secs(10)));
    for _ in 0..10_000 {
        simulation.get("/");
    }
    simulation.advance(secs(60));
    assert_eq!(simulation.stats().ticks, 70_000);
    assert_eq!(simulation.stats().tick_lateness_ms.sum(), 0);
}

/// A proxy may hold the head of a response until the first byte of its body.
#[test]
fn a_body_begins_with_the_head_also_when_no_event_follows() {
    let retained = Topic::new("retained").retain();
    let (quiet, driven) = (Topic::new("quiet"), Topic::new("driven").retain());
    let (topics, kept) = ([retained.clone(), quiet.clone(), driven.clone()], driven.clone());
    let router = Router::new().get("/{kind}", move |req, _| {
        let [retained, quiet, driven] = &topics;
        match req.param("kind").unwrap() {
            "quiet" => Sse::new(),
            "off" => Sse::new().keep_alive(KeepAlive::Off),
            "later" => Sse::every(secs(1), |stream| stream.send("tick"))
                .first_tick(FirstTick::AfterInterval),
            "silent" => Sse::every(secs(1), |_| ()),
            "topic" => Sse::new().subscribe(quiet),
            "first" => Sse::new().send("first"),
            "ticks" => Sse::every(secs(1), |stream| stream.send("first")),
            "connect" => Sse::new().on_connect(|stream| stream.send("first")),
            "retained" => Sse::new().subscribe(retained).subscribe(quiet),
            "driven" => Sse::new().subscribe(driven),
            "end" => Sse::new().ending(Ending::Finish),
            "cut" => Sse::new().ending(Ending::Drop),
            other => panic!("{other}"),
        }
    });
    let mut simulation = Simulation::new(router);
    simulation.run(|cx| {
        cx.publish(&retained, "first").unwrap();
        cx.drive(&driven, secs(1), |feed| feed.send("first"));
    });
    // Another stream has it rendered.
    simulation.get("/driven");
    for coding in ["identity", "zstd", "br", "gzip"] {
        for (kind, body, writes) in [
            ("quiet", ":\n", 1),
            ("off", ":\n", 1),
            ("later", ":\n", 1),
            ("silent", ":\n", 1),
            ("topic", ":\n", 1),
            ("first", "data: first\n\n", 1),
            ("ticks", "data: first\n\n", 1),
            ("connect", "data: first\n\n", 1),
            ("retained", "data: first\n\n", 2),
            ("driven", "data: first\n\n", 2),
            ("end", "", 1),
            ("cut", "", 1),
        ] {
            let client = simulation.connect();
            let fields = [("Accept-Encoding", coding)];
            simulation.request(client, Method::Get, &format!("/{kind}"), &fields, b"");
            simulation.turn();
            let answer = simulation.response(client);
            let found = answer.header("content-encoding").unwrap_or("identity");
            assert_eq!(found, coding, "{kind}");
            let decoded = decoders::decoded(&answer);
            let decoded = String::from_utf8_lossy(&decoded);
            // A coding may have its own comments.
            assert!(decoded.ends_with(body), "{kind} in {coding}: {decoded:?}");
            assert_eq!(
                decoded.starts_with(":\n"),
                body == ":\n",
                "{kind} in {coding}: {decoded:?}"
            );
            assert_eq!(simulation.writes(client), writes, "{kind} in {coding}");
        }
    }
    let old = get_1_0(&mut simulation, "/quiet", "");
    assert_eq!(simulation.response(old).body, b":\n");
    drop(kept);
}
