//! Closures that take too long: counted, named, and without flooding the log.

#[path = "support/story.rs"]
mod story;

use std::{cell::RefCell, sync::Once, time::Duration};

use log::{Level, LevelFilter, Log, Metadata, Record};
use starwheel::{
    Answer, Config, Context, Ending, Next, Request, Response, Router, Sse, Topic,
    testing::{Simulation, take_time},
};
use story::{HOUR, ms, secs};

/// Warnings of this thread.
struct Warnings;

thread_local! {
    static WARNINGS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

impl Log for Warnings {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if record.level() <= Level::Warn {
            WARNINGS.with_borrow_mut(|warnings| warnings.push(record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

/// A simulation whose warnings can be read.
fn watched(config: Config, router: Router) -> Simulation {
    static LOGGER: Once = Once::new();
    LOGGER.call_once(|| {
        log::set_logger(&Warnings).unwrap();
        log::set_max_level(LevelFilter::Warn);
    });
    warnings();
    Simulation::with_config(config, 0, router)
}

fn warnings() -> Vec<String> {
    WARNINGS.take()
}

const SLOW: Duration = ms(150);

#[track_caller]
fn assert_only_culprit(simulation: &Simulation, culprit: &str) {
    assert_eq!(warnings(), [format!("{culprit} blocked the reactor for 150 ms")]);
    assert_eq!((simulation.stats().slow_calls, simulation.stats().slowest_call_ms), (1, 150));
}

/// The first client of a simulation.
const PEER: &str = "192.0.2.1:1024";

#[test]
fn a_slow_handler_is_named_with_its_route_and_client() {
    let router = Router::new().post("/say/{room}", |_, _| {
        take_time(SLOW);
        Response::no_content()
    });
    let mut simulation = watched(Config::default(), router);
    let client = simulation.connect();
    simulation.request(client, starwheel::Method::Post, "/say/secret?token=1", &[], b"");
    simulation.turn();
    assert_only_culprit(&simulation, &format!("the handler of POST /say/{{room}} for {PEER}"));
}

#[test]
fn a_slow_handler_without_a_router_is_named_by_its_path_which_cannot_forge_a_line() {
    let handler = |_: &Request, _: &mut Context<'_>| {
        take_time(SLOW);
        Response::no_content()
    };
    let router = Router::new().fallback(handler);
    let mut simulation = watched(Config::default(), router);
    simulation.get(&format!("/a%0d%0aWARN%20forged%1b[31m{}", "x".repeat(5_000)));
    let line = warnings().pop().unwrap();
    assert!(line.starts_with(r"the handler of GET /a\r\nWARN forged\u{1b}[31mxxx"), "{line}");
    assert!(line.len() < 1_200 && !line.contains(['\r', '\n', '\u{1b}']), "{line}");
}

/// A server whose streams do `what` slowly, and nothing else.
fn slow_at(what: &'static str) -> Simulation {
    let slowly = move |now: &str| {
        if now == what {
            take_time(SLOW);
        }
    };
    let router = Router::new().get("/stream/{id}", move |_, _| {
        let mut ticks = 0;
        Sse::every(secs(1), move |_| {
            ticks += 1;
            if ticks == 3 {
                slowly("an updater");
            }
        })
        .on_connect(move |_| slowly("on_connect"))
        .on_disconnect(move |_, _, _| slowly("on_disconnect"))
    });
    watched(Config::default(), router)
}

#[test]
fn slow_closures_of_streams_are_named_with_the_route_that_opened_them() {
    for what in ["an updater", "on_connect", "on_disconnect"] {
        let mut simulation = slow_at(what);
        let client = simulation.get("/stream/7");
        simulation.advance(secs(5));
        simulation.reset(client);
        simulation.turn();
        assert_only_culprit(&simulation, &format!("{what} of /stream/{{id}} for {PEER}"));
    }
}

#[test]
fn a_stream_that_no_router_opened_has_no_route() {
    fn open(_: &Request, _: &mut Context<'_>) -> Answer {
        Sse::new().on_connect(|_| take_time(SLOW)).into()
    }
    let mut simulation = watched(Config::default(), Router::new().fallback(open));
    simulation.get("/anything");
    let culprit = format!("on_connect of a route without a pattern for {PEER}");
    assert_only_culprit(&simulation, &culprit);
}

#[test]
fn slow_timers_commands_and_topic_updaters_are_named() {
    type SetUp = fn(&mut Context<'_>);
    let cases: [(&str, SetUp); 4] = [
        ("a timer", |cx| {
            cx.after(secs(1), |_| take_time(SLOW));
        }),
        ("a timer", |cx| {
            let slow_once = |_: &mut Context<'_>| {
                take_time(SLOW);
                Next::Finish
            };
            cx.every(secs(1), slow_once);
        }),
        ("a closure passed to Handle::run", |_| take_time(SLOW)),
        (r#"the updater of a topic, "a\nb","#, |cx| {
            let topic = Topic::new("a\nb");
            let slow_once = |_: &mut starwheel::Feed<'_>| {
                take_time(SLOW);
                Next::Finish
            };
            cx.drive(&topic, secs(1), slow_once);
        }),
    ];
    for (culprit, set_up) in cases {
        let router = Router::new().get("/", |_, _| Sse::new().subscribe(&Topic::new("a\nb")));
        let mut simulation = watched(Config::default(), router);
        simulation.get("/");
        simulation.run(set_up);
        simulation.advance(secs(3));
        assert_only_culprit(&simulation, culprit);
    }
}

#[test]
fn a_call_just_below_the_limit_is_not_slow_and_the_limit_may_be_off() {
    for (slow_call, expected) in [(Some(ms(150)), 1), (Some(ms(151)), 0), (None, 0)] {
        let mut config = Config::default();
        config.slow_call = slow_call;
        let mut simulation = watched(config, Router::new());
        simulation.run(|_| take_time(SLOW));
        assert_eq!((warnings().len(), simulation.stats().slow_calls), (expected, expected as u64));
    }
}

#[test]
fn a_thousand_slow_calls_are_one_line_a_second() {
    let router = Router::new().get("/", |_, _| Sse::every(ms(100), |_| take_time(SLOW)));
    let mut simulation = watched(Config::default(), router);
    for _ in 0..10 {
        simulation.get("/");
    }
    simulation.advance(secs(10) - ms(1));
    assert_eq!(simulation.stats().slow_calls, 1_000);
    let lines = warnings();
    assert_eq!(lines.len(), 10);
    assert!(!lines[0].contains("other"), "{lines:?}");
    let others = "blocked the reactor for 150 ms (and 99 other slow calls since the last warning)";
    assert!(lines[1..].iter().all(|line| line.ends_with(others)), "{lines:?}");

    simulation.advance(HOUR / 60);
    assert!(warnings().len() <= 61);
}

#[test]
fn a_closure_that_is_slow_and_panics_is_both() {
    let router = Router::new().get("/", |_, _| {
        Sse::every(secs(1), |_| -> () {
            take_time(SLOW);
            panic!("a closure of the user's")
        })
    });
    let mut simulation = watched(Config::default(), router);
    simulation.get("/");
    assert_eq!((simulation.stats().slow_calls, simulation.stats().panics), (1, 1));
    assert_eq!(simulation.stats().closed.panicked, 1);
}

#[test]
fn the_slowest_call_is_remembered_and_exported_to_prometheus() {
    let mut simulation = watched(Config::default(), Router::new());
    for length in [120, 3_000, 200] {
        simulation.run(move |_| take_time(ms(length)));
    }
    let text = simulation.stats().prometheus();
    assert!(text.contains("\nstarwheel_slow_calls_total 3\n"));
    assert!(text.contains("\nstarwheel_slowest_call_seconds 3\n"));
}

#[test]
fn routes_of_streams_on_one_connection_are_not_mixed_up() {
    let stream = |slow| {
        move |_: &Request, _: &mut Context<'_>| {
            let sse = Sse::new().ending(Ending::Finish);
            sse.on_disconnect(move |_, _, _| {
                if slow {
                    take_time(SLOW)
                }
            })
        }
    };
    let router = Router::new().get("/quick", stream(false)).get("/slow", stream(true));
    let mut simulation = watched(Config::default(), router);
    let client = simulation.get("/quick");
    simulation.request(client, starwheel::Method::Get, "/slow", &[], b"");
    simulation.turn();
    assert_only_culprit(&simulation, &format!("on_disconnect of /slow for {PEER}"));
}

// Time in closures.

const SHORT: Duration = Duration::from_micros(300);

#[test]
fn time_in_closures_of_every_kind_is_counted_though_none_is_slow() {
    let topic = Topic::new("t");
    let watched = topic.clone();
    let router = Router::new()
        .get("/stream", |_, _| {
            take_time(SHORT);
            Sse::every(secs(1), |_| take_time(SHORT))
                .on_connect(|_| take_time(SHORT))
                .on_disconnect(|_, _, _| take_time(SHORT))
        })
        .get("/topic", move |_, _| Sse::new().subscribe(&watched));
    let mut simulation = watched_simulation(router);
    let mut expected = 0;
    let mut assert_more = |simulation: &Simulation, calls: u64, what: &str| {
        expected += 300_000 * calls;
        assert_eq!(simulation.stats().call_nanos, expected, "{what}");
    };
    let client = simulation.get("/stream");
    assert_more(&simulation, 3, "handler, on_connect and the first tick");
    simulation.advance(secs(100));
    assert_more(&simulation, 100, "ticks");
    simulation.reset(client);
    simulation.turn();
    assert_more(&simulation, 1, "on_disconnect");
    simulation.run(|_| take_time(SHORT));
    assert_more(&simulation, 1, "Handle::run");
    simulation.run(|cx| {
        cx.after(secs(1), |_| take_time(SHORT));
        cx.every(secs(1), |_| take_time(SHORT));
    });
    simulation.advance(secs(3));
    assert_more(&simulation, 4, "timers");
    simulation.run(move |cx| cx.drive(&topic, secs(1), |_| take_time(SHORT)));
    simulation.get("/topic");
    assert_more(&simulation, 1, "the first render of a topic");

    assert_eq!((simulation.stats().slow_calls, warnings().len()), (0, 0));
    let line = format!("\nstarwheel_call_seconds_total {}\n", expected as f64 / 1e9);
    assert!(simulation.stats().prometheus().contains(&line));
}

#[test]
fn time_of_calls_that_panic_is_counted_and_none_if_watching_is_off() {
    for (slow_call, expected) in [(Some(ms(100)), 300_000), (None, 0)] {
        let mut config = Config::default();
        config.slow_call = slow_call;
        let mut simulation = watched(config, Router::new());
        simulation.queue(|_| {
            take_time(SHORT);
            panic!("a closure of the user's");
        });
        simulation.turn();
        assert_eq!(simulation.stats().call_nanos, expected);
    }
}

// Missed ticks.

fn watched_simulation(router: Router) -> Simulation {
    watched(Config::default(), router)
}

const WHY: &str =
    ": closures take too much time (see Stats::call_nanos), or the process was suspended";

#[test]
fn a_stream_that_misses_ticks_is_named_with_its_route_and_client() {
    let router = Router::new().get("/clock/{zone}", |_, _| Sse::every(ms(200), |_| {}));
    let mut simulation = watched_simulation(router);
    simulation.get("/clock/utc");
    // Late by less than an interval, nothing is missed.
    simulation.pause(ms(399));
    assert_eq!(warnings(), [""; 0]);
    simulation.pause(ms(1_001));
    let line = format!("an updater of /clock/{{zone}} for {PEER} missed 5 runs{WHY}");
    assert_eq!(warnings(), [line]);
    assert_eq!(simulation.stats().ticks_missed, 5);
}

#[test]
fn topics_and_timers_that_miss_runs_are_counted_and_named() {
    let topic = Topic::new("a\nb");
    let watched = topic.clone();
    let router = Router::new().get("/", move |_, _| Sse::new().subscribe(&watched));
    let mut simulation = watched_simulation(router);
    simulation.get("/");
    simulation.run(move |cx| cx.drive(&topic, ms(100), |_| {}));
    simulation.pause(ms(450));
    let line = format!(r#"the updater of a topic, "a\nb", missed 3 runs{WHY}"#);
    assert_eq!(warnings(), [line]);
    assert_eq!((simulation.stats().ticks_missed, simulation.stats().timers_missed), (3, 0));
    assert_eq!(simulation.stats().tick_lateness_ms.sum(), 350);

    let mut simulation = watched_simulation(Router::new());
    simulation.run(|cx| {
        cx.every(ms(100), |_| {});
    });
    simulation.pause(ms(450));
    assert_eq!(warnings(), [format!("a timer missed 3 runs{WHY}")]);
    assert_eq!((simulation.stats().ticks_missed, simulation.stats().timers_missed), (0, 3));
    assert!(simulation.stats().prometheus().contains("\nstarwheel_timers_missed_total 3\n"));
}

#[test]
fn ticks_missed_by_a_thousand_streams_are_one_line_a_second() {
    let router = Router::new().get("/", |_, _| Sse::every(ms(10), |_| {}));
    let mut simulation = watched_simulation(router);
    for _ in 0..1_000 {
        simulation.get("/");
    }
    // Each of these turns is 30 ms late, and so drops two ticks of three.
    for _ in 0..200 {
        simulation.pause(ms(30));
    }
    let lines = warnings();
    assert!((5..=7).contains(&lines.len()), "{} lines in 6 s", lines.len());
    assert!(lines[0].ends_with(&format!("missed 2 runs{WHY}")), "{}", lines[0]);
    let others =
        format!("missed 2 runs, others missed {} since the last warning{WHY}", 34 * 2_000 - 2);
    assert!(lines[1].ends_with(&others), "{}", lines[1]);
    assert_eq!(simulation.stats().ticks_missed, 200 * 2_000);
}
