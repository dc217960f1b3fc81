//! By route.

use std::time::Duration;

use starwheel::{
    Config, Context, DurationHistogram, Ending, Handler, Method, Next, Request, Response,
    RouteStats, Router, Routes, Sse, Stats,
    testing::{SimulatedWorkers, Simulation, take_time},
};

use crate::story::{ms, secs};

const SHORT: Duration = Duration::from_micros(300);

#[track_caller]
fn route<'a>(simulation: &'a Simulation, pattern: &str) -> &'a RouteStats {
    simulation.stats().route(pattern).unwrap_or_else(|| panic!("no {pattern}"))
}

/// What routes have together is what is counted without them.
#[track_caller]
fn assert_adds_up(stats: &Stats) {
    let sum =
        |figure: fn(&RouteStats) -> u64| stats.routes().map(|(_, it)| figure(it)).sum::<u64>();
    assert_eq!(sum(|it| it.requests), stats.requests);
    assert_eq!(sum(|it| it.streams), stats.streams);
    assert_eq!(sum(|it| it.opened), stats.opened);
    assert_eq!(sum(|it| it.closed.total()), stats.closed.total());
    assert_eq!(sum(|it| it.durations.count()), stats.closed.total());
    assert!(sum(|it| it.call_nanos) <= stats.call_nanos);
}

#[test]
fn requests_and_streams_count_for_the_pattern_and_not_for_the_path() {
    let router = Router::new()
        .get("/rooms/{id}", |_, _| Sse::new())
        .post("/rooms/{id}", |_, _| Response::no_content())
        .get("/", |_, _| Response::text("home"));
    let mut simulation = Simulation::new(router);
    for target in ["/rooms/1", "/rooms/2?x=1", "/rooms/%31", "/", "/nowhere"] {
        simulation.get(target);
    }
    let client = simulation.connect();
    simulation.request(client, Method::Post, "/rooms/3", &[], b"");
    simulation.turn();
    let by_route: Vec<_> = simulation
        .stats()
        .routes()
        .map(|(pattern, it)| (pattern, it.requests, it.streams, it.opened))
        .collect();
    let expected = [("other", 1, 0, 0), ("/rooms/{id}", 4, 3, 3), ("/", 1, 0, 0)];
    assert_eq!(by_route, expected);
    assert_adds_up(simulation.stats());
}

#[test]
fn a_handler_without_a_router_counts_as_other() {
    let mut simulation = Simulation::new(|_: &Request, _: &mut Context<'_>| Sse::new());
    simulation.get("/a");
    let client = simulation.get("/b");
    simulation.reset(client);
    simulation.turn();
    let other = route(&simulation, "other");
    assert_eq!((other.requests, other.streams, other.closed.total()), (2, 1, 1));
    assert_adds_up(simulation.stats());
}

#[test]
fn patterns_inside_nested_routers_and_layers_are_whole() {
    struct Around(Routes);
    impl Handler for Around {
        fn handle(&mut self, request: &mut Request, cx: &mut Context<'_>) -> starwheel::Answer {
            self.0.handle(request, cx)
        }
    }
    let todos = Router::new().get("/{id}", |_, _| Sse::new()).layer(Around);
    let mut simulation = Simulation::new(Router::new().nest("/api/todos", todos).layer(Around));
    simulation.get("/api/todos/7");
    assert_eq!(route(&simulation, "/api/todos/{id}").streams, 1);
}

#[test]
fn streams_end_by_reason_and_with_their_duration() {
    let router = Router::new().get("/{kind}", |req, _| match req.param("kind") {
        Some("short") => Sse::every(ms(100), |_| Next::Again).max_lifetime(ms(700)),
        Some("long") => Sse::new().max_lifetime(secs(20)),
        Some("once") => Sse::new().ending(Ending::Finish),
        _ => Sse::new(),
    });
    let mut simulation = Simulation::new(router);
    for target in ["/short", "/long", "/once"] {
        simulation.get(target);
    }
    let client = simulation.get("/left");
    simulation.advance(secs(3_000));
    simulation.reset(client);
    simulation.turn();
    let kind = route(&simulation, "/{kind}");
    assert_eq!((kind.streams, kind.opened), (0, 4));
    assert_eq!((kind.closed.lifetime, kind.closed.finished, kind.closed.total()), (2, 1, 4));
    // Up to 1, 5, 15, 60, 300, 900 seconds, and an hour.
    assert_eq!(&kind.durations.counts()[..7], [2, 0, 0, 1, 0, 0, 1]);
    assert_eq!(DurationHistogram::BOUNDS[6], 3_600);
    assert_eq!(kind.durations.sum(), ms(700) + secs(20) + secs(3_000));
    assert_adds_up(simulation.stats());
}

#[test]
fn time_in_handlers_updaters_and_hooks_counts_for_their_route_and_other_time_for_none() {
    let stream = |_: &Request, _: &mut Context<'_>| {
        take_time(SHORT);
        Sse::every(secs(1), |_| take_time(SHORT))
            .on_connect(|_| take_time(SHORT))
            .on_disconnect(|_, _, _| take_time(SHORT))
    };
    let idle = |_: &Request, _: &mut Context<'_>| Sse::every(secs(1), |_| {});
    let mut simulation = Simulation::new(Router::new().get("/busy", stream).get("/idle", idle));
    simulation.get("/idle");
    let client = simulation.get("/busy");
    simulation.advance(secs(10));
    simulation.reset(client);
    simulation.run(|cx| {
        take_time(SHORT);
        cx.after(secs(1), |_| take_time(SHORT));
    });
    simulation.advance(secs(1));
    // Handler, on_connect, the first tick, ten more, on_disconnect.
    assert_eq!(route(&simulation, "/busy").call_nanos, 14 * 300_000);
    assert_eq!(route(&simulation, "/idle").call_nanos, 0);
    assert_eq!(simulation.stats().call_nanos, 16 * 300_000);
    assert_adds_up(simulation.stats());
}

#[test]
fn a_late_answer_counts_once_and_its_time_for_the_same_route() {
    let router = Router::new().post("/login", |_, cx| {
        take_time(SHORT);
        let (later, responder) = cx.later();
        cx.after(secs(1), move |_| {
            responder.answer_with(|_, _| {
                take_time(SHORT);
                Sse::new()
            });
        });
        later
    });
    let mut simulation = Simulation::new(router);
    let client = simulation.connect();
    simulation.request(client, Method::Post, "/login", &[], b"");
    simulation.advance(secs(2));
    let login = route(&simulation, "/login");
    assert_eq!((login.requests, login.streams, login.call_nanos), (1, 1, 600_000));
    assert_adds_up(simulation.stats());
}

#[test]
fn a_handler_that_panics_counts_for_its_route() {
    let router = Router::new().get("/bad", |_, _| -> Response {
        take_time(SHORT);
        panic!("a closure of the user's")
    });
    let mut simulation = Simulation::new(router);
    simulation.get("/bad");
    let bad = route(&simulation, "/bad");
    assert_eq!((bad.requests, bad.call_nanos), (1, 300_000));
}

#[test]
fn two_routes_on_one_connection_are_told_apart() {
    let once = |_: &Request, _: &mut Context<'_>| Sse::new().ending(Ending::Finish);
    let mut simulation = Simulation::new(Router::new().get("/a", once).get("/b", once));
    let client = simulation.get("/a");
    for _ in 0..2 {
        simulation.request(client, Method::Get, "/b", &[], b"");
        simulation.turn();
    }
    let finished = ["/a", "/b"].map(|pattern| route(&simulation, pattern).closed.finished);
    assert_eq!(finished, [1, 2]);
    assert_adds_up(simulation.stats());
}

/// A router with this many patterns, each of which opens a stream.
fn with_patterns(count: usize) -> Router {
    (0..count)
        .fold(Router::new(), |router, number| router.get(&format!("/{number}"), |_, _| Sse::new()))
}

#[test]
fn a_hundred_patterns_are_listed_and_the_rest_is_counted_as_other() {
    let mut simulation = Simulation::new(with_patterns(150));
    for round in 0..2 {
        for number in 0..150 {
            simulation.get(&format!("/{number}"));
        }
        let stats = simulation.stats();
        assert_eq!(
            (stats.routes().count(), route(&simulation, "other").streams),
            (101, 50 * (round + 1))
        );
        assert_eq!(route(&simulation, "/99").streams, round + 1);
        assert!(stats.route("/100").is_none());
        assert_adds_up(stats);
    }
    let text = simulation.stats().prometheus();
    let lines = text.lines().filter(|line| line.starts_with("starwheel_route_streams{"));
    assert_eq!(lines.count(), 101);
}

#[test]
fn paths_of_clients_make_no_series() {
    let mut simulation = Simulation::new(Router::new().fallback(|_, _| Response::not_found()));
    for number in 0..1_000 {
        simulation.get(&format!("/{number}"));
    }
    let routes: Vec<_> = simulation.stats().routes().map(|(pattern, _)| pattern).collect();
    assert_eq!(routes, ["other"]);
}

#[test]
fn a_copy_for_other_threads_has_every_change() {
    let mut simulation = Simulation::new(with_patterns(20));
    let handle = simulation.handle();
    for round in 0..100 {
        let client = simulation.get(&format!("/{}", round * 7 % 20));
        if round % 3 == 0 {
            simulation.reset(client);
            simulation.turn();
        }
        assert_eq!(handle.stats(), *simulation.stats(), "round {round}");
    }
}

#[test]
fn routes_of_workers_are_added_by_their_pattern() {
    // In another order on each worker, so that they have other numbers.
    let mut workers = SimulatedWorkers::new(2, |_| with_patterns(3));
    for (worker, target) in [(0, "/0"), (0, "/1"), (1, "/2"), (1, "/1"), (1, "/1"), (1, "/nowhere")]
    {
        workers[worker].get(target);
    }
    workers.turn();
    let stats = workers.handle_of_all().stats();
    let streams = ["other", "/0", "/1", "/2"].map(|pattern| stats.route(pattern).unwrap().streams);
    assert_eq!(streams, [0, 1, 3, 1]);
    assert_adds_up(&stats);
    let text = workers.handle_of_all().prometheus();
    for line in [
        r#"starwheel_route_streams{worker="0",route="/1"} 1"#,
        r#"starwheel_route_streams{worker="1",route="/1"} 2"#,
        r#"starwheel_route_requests_total{worker="1",route="other"} 1"#,
    ] {
        assert!(text.contains(&format!("\n{line}\n")), "{line} in {text}");
    }
}

#[test]
fn the_pattern_of_a_stream_is_known_while_it_is_open() {
    let mut simulation = Simulation::new(Router::new().get("/rooms/{id}", |_, _| Sse::new()));
    let client = simulation.get("/rooms/7");
    let mut id = None;
    simulation.run(|cx| {
        id = cx.streams().next();
        assert_eq!(cx.route(id.unwrap()), Some("/rooms/{id}"));
    });
    simulation.reset(client);
    simulation.turn();
    simulation.run(|cx| assert_eq!((cx.route(id.unwrap()), cx.lag(id.unwrap())), (None, None)));
}

#[test]
fn routes_are_counted_without_a_clock_for_closures() {
    let mut config = Config::default();
    config.slow_call = None;
    let mut simulation = Simulation::with_config(config, 0, with_patterns(1));
    simulation.get("/0");
    let it = route(&simulation, "/0");
    assert_eq!((it.requests, it.streams, it.call_nanos), (1, 1, 0));
}
