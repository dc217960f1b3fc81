//! Engine bugs that were found, each with a test.

#[path = "support/story.rs"]
mod story;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use starwheel::{
    Encode, Ending, EventBuffer, Method, Next, Request, Response, Router, Sse,
    testing::{BodyEnd, ServerEnd, Simulation},
};
use story::{Bomb, Diary, HOUR, Ids, data, get, ms, secs, serving};

#[test]
fn a_timer_without_delay_runs_a_millisecond_later() {
    let diary = Diary::default();
    let mut simulation = Simulation::new(Router::new());
    let entry = diary.clone();
    simulation.run(|cx| {
        cx.after(ms(0), move |cx| entry.note(cx.now().as_millis()));
    });
    assert_eq!(diary.len(), 0, "never in the turn that armed it");
    simulation.advance(ms(1));
    assert_eq!(diary.read(), ["1"]);
}

#[test]
fn a_drain_without_a_window_ends_at_once() {
    let mut simulation = serving(|_, _| Sse::new());
    let client = simulation.get("/");
    simulation.drain(ms(0));
    simulation.advance(ms(2));
    assert!(simulation.is_stopped());
    assert_eq!(simulation.stats().closed.shutdown, 1);
    assert!(!simulation.is_open(client));
}

#[test]
fn all_pipelined_requests_before_a_fin_are_answered() {
    let mut simulation = serving(|_, _| Response::text("x"));
    let client = simulation.connect();
    for _ in 0..200 {
        simulation.request(client, Method::Get, "/", &[], b"");
    }
    simulation.half_close(client);
    simulation.turn();
    assert_eq!(simulation.responses(client).len(), 200);
    assert_eq!(simulation.server_end(client), Some(ServerEnd::Fin));
    assert!(!simulation.is_open(client));
}

#[test]
fn a_request_that_a_fin_cuts_off_does_not_keep_its_connection() {
    let mut simulation = serving(|_, _| Response::text("x"));
    let client = simulation.connect();
    for _ in 0..100 {
        simulation.request(client, Method::Get, "/", &[], b"");
    }
    simulation.send(client, b"GET / HTTP/1.1\r\nHo");
    simulation.half_close(client);
    simulation.turn();
    assert_eq!(simulation.responses(client).len(), 100);
    assert!(!simulation.is_open(client));
}

#[test]
fn a_pipelining_client_is_not_read_faster_than_it_is_answered() {
    let request = get("/");
    let request_bytes = request.len() as u64;
    let (mut answered, diary) = (0, Diary::default());
    let entry = diary.clone();
    let mut simulation = serving(move |_, cx| {
        answered += 1;
        entry.note(cx.stats().bytes_in - answered * request_bytes);
        Response::no_content()
    });
    let client = simulation.connect();
    simulation.send(client, &request.repeat(50_000));
    simulation.turn();
    assert_eq!(simulation.stats().requests, 50_000);
    let kept_bytes_max = diary.read().iter().map(|n| n.parse::<u64>().unwrap()).max().unwrap();
    assert!(kept_bytes_max <= 128 * 1024, "{kept_bytes_max} bytes were kept");
}

#[test]
fn output_of_on_connect_does_not_make_the_second_tick_look_changed() {
    let mut simulation = serving(|_, _| {
        Sse::every(secs(1), |stream| stream.send("same"))
            .send("first")
            .on_connect(|stream| stream.send("connected"))
            .skip_unchanged()
    });
    let client = simulation.get("/");
    simulation.advance(secs(5));
    assert_eq!(data(&simulation, client), ["first", "connected", "same"]);
    assert_eq!(simulation.stats().ticks_unchanged, 5);
}

/// All ways in which closures are dropped without having run.
#[test]
fn a_panicking_destructor_in_an_answer_that_is_never_opened_is_caught() {
    let armed = |_: &Request| {
        let bomb = Bomb;
        Sse::new().on_connect(move |_| drop(bomb))
    };
    let router = Router::new()
        .get("/stream", move |req, _| armed(req))
        .get("/refused", move |req, _| armed(req).header("a\r\nb", ""))
        .get("/slow", |_, _| Sse::every(ms(1), |_| ()));
    let mut simulation = Simulation::new(router);
    let neighbour = simulation.get("/slow");

    let head = simulation.connect();
    simulation.request(head, Method::Head, "/stream", &[], b"");
    simulation.turn();
    assert_eq!(simulation.response(head).status, 200);

    let refused = simulation.get("/refused");
    assert_eq!(simulation.response(refused).status, 500);
    assert_eq!(simulation.stats().panics, 2);

    let opened = simulation.get("/stream");
    assert_eq!(simulation.response(opened).status, 200);
    assert_eq!(simulation.stats().panics, 3);
    assert!(simulation.is_open(neighbour));
}

/// An error whose `Display` panics.
#[derive(Debug)]
struct Unspeakable(#[expect(dead_code, reason = "dropped")] Option<Bomb>);

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("an error of the user's cannot be shown")
    }
}

impl std::error::Error for Unspeakable {}

#[test]
fn an_error_that_panics_when_it_is_shown_or_dropped_costs_its_stream_alone() {
    let router = Router::new()
        .get("/ticks", |_, _| Sse::every(secs(1), |stream| stream.send("tick")))
        .get("/shown", |_, _| Sse::every(secs(1), |_| Next::Fail(Box::new(Unspeakable(None)))))
        .get("/dropped", |_, _| {
            Sse::every(secs(1), |_| Next::Fail(Box::new(Unspeakable(Some(Bomb)))))
        });
    let mut simulation = Simulation::new(router);
    let neighbour = simulation.get("/ticks");
    let _ = (simulation.get("/shown"), simulation.get("/dropped"));
    simulation.run(|cx| {
        cx.every(secs(1), |_| Next::Fail(Box::new(Unspeakable(Some(Bomb)))));
    });
    simulation.advance(secs(3));
    assert_eq!(data(&simulation, neighbour).len(), 4);
    assert_eq!(simulation.stats().closed.failed, 2);
}

#[test]
fn head_for_a_stream_has_its_headers_and_the_connection_state() {
    let mut simulation = serving(|_, _| Sse::new().header("X-Room", "7"));
    let client = simulation.connect();
    simulation.request(client, Method::Head, "/", &[], b"");
    simulation.turn();
    assert_eq!(simulation.response(client).header("x-room"), Some("7"));
    assert_eq!(simulation.server_end(client), None);

    simulation.drain(secs(10));
    simulation.advance(secs(1));
    assert!(simulation.server_end(client).is_some(), "idle connections leave");
    let late = simulation.connect();
    simulation.request(late, Method::Head, "/", &[], b"");
    simulation.turn();
    assert_eq!(simulation.response(late).header("connection"), Some("close"));
    assert_eq!(simulation.server_end(late), Some(ServerEnd::Fin));
}

#[test]
fn head_of_http_1_0_closes_as_announced() {
    let mut simulation = serving(|_, _| Sse::new());
    let client = simulation.connect();
    simulation.send(client, b"HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    simulation.turn();
    assert_eq!(simulation.response(client).header("connection"), Some("close"));
    assert_eq!(simulation.server_end(client), Some(ServerEnd::Fin));
}

/// HTTP/1.0 has no last chunk: an orderly close after half a stream would look like its end.
#[test]
fn incomplete_http_1_0_responses_end_with_a_reset() {
    let ids = Ids::default();
    let keep = ids.clone();
    let large = "x".repeat(100_000);
    let mut simulation = serving(move |_, _| {
        let keep = keep.clone();
        Sse::new().send(large.as_str()).on_connect(move |stream| keep.keep(stream.id()))
    });
    let stalled = |simulation: &mut Simulation| {
        let client = simulation.connect();
        simulation.stall(client);
        simulation.send(client, b"GET / HTTP/1.0\r\n\r\n");
        simulation.turn();
        client
    };

    let finished = stalled(&mut simulation);
    let id = ids.last();
    simulation.run(|cx| assert!(cx.close(id, Ending::Finish)));
    let dropped = stalled(&mut simulation);
    let id = ids.last();
    simulation.run(|cx| assert!(cx.close(id, Ending::Drop)));
    simulation.advance(secs(61));
    assert_eq!(simulation.server_end(finished), Some(ServerEnd::Reset), "finished, but not read");
    assert_eq!(simulation.server_end(dropped), Some(ServerEnd::Reset), "dropped and not read");

    let slow = stalled(&mut simulation);
    let id = ids.last();
    simulation.run(|cx| while cx.send(id, "y".repeat(10_000)) {});
    assert_eq!(simulation.stats().closed.slow, 1);
    assert_eq!(simulation.server_end(slow), Some(ServerEnd::Reset), "too slow");

    let last = stalled(&mut simulation);
    simulation.shutdown();
    assert_eq!(simulation.server_end(last), Some(ServerEnd::Reset), "shut down");
}

struct HalfThenPanic;

impl Encode for HalfThenPanic {
    fn encode(&self, out: &mut EventBuffer) {
        out.data("half");
        panic!("an event of the user's");
    }
}

#[test]
fn half_an_event_whose_panic_the_user_caught_is_not_sent_with_the_next() {
    let mut simulation = serving(|_, _| {
        Sse::new().on_connect(|stream| {
            stream.send("before");
            let half = AssertUnwindSafe(|| stream.send(HalfThenPanic));
            assert!(catch_unwind(half).is_err());
            stream.send("after");
        })
    });
    let client = simulation.get("/");
    assert_eq!(data(&simulation, client), ["before", "after"]);
}

#[test]
fn a_connection_with_a_pending_response_when_the_drain_begins_closes_after_it() {
    let mut simulation = serving(|_, _| Response::text("x".repeat(200_000)));
    let client = simulation.connect();
    simulation.stall(client);
    simulation.send(client, &get("/"));
    simulation.turn();
    simulation.drain(secs(600));
    simulation.resume(client);
    simulation.turn();
    assert_eq!(simulation.response(client).end, BodyEnd::Complete);
    assert_eq!(simulation.server_end(client), None, "it may have asked again");
    simulation.advance(secs(1));
    assert_eq!(simulation.server_end(client), Some(ServerEnd::Fin));
}

#[test]
fn a_stream_opened_during_a_drain_closes_its_connection() {
    let mut simulation = serving(|_, _| Sse::new().send("bye").ending(Ending::Finish));
    let before = simulation.get("/");
    assert_eq!(simulation.response(before).header("connection"), Some("keep-alive"));
    simulation.drain(secs(600));
    let during = simulation.get("/");
    assert_eq!(simulation.response(during).header("connection"), Some("close"));
    assert_eq!(simulation.server_end(during), Some(ServerEnd::Fin));
}

#[test]
fn a_reactor_that_is_dropped_with_bombs_aboard_survives() {
    let mut simulation = serving(|_, _| {
        let bomb = Bomb;
        Sse::every(secs(1), move |_| {
            let _ = &bomb;
        })
    });
    let _ = (simulation.get("/"), simulation.get("/"));
    simulation.run(|cx| {
        let bomb = Bomb;
        cx.after(HOUR, move |_| drop(bomb));
    });
    drop(simulation);
}

#[test]
fn silent_ticks_do_not_keep_a_stream_from_its_keep_alive() {
    for interval in [ms(1), secs(1), secs(15)] {
        let mut simulation = serving(move |_, _| Sse::every(interval, |_| ()));
        simulation.get("/");
        simulation.advance(secs(60));
        assert_eq!(simulation.stats().keep_alives, 4, "{interval:?}");
    }
}

/// Seed 31365 of the chaos tests.
#[test]
fn a_slow_reader_does_not_put_off_what_is_due() {
    let mut simulation = serving(|_, _| {
        Sse::every(ms(100), |stream| stream.send("x".repeat(100_000))).max_lifetime(secs(1))
    });
    let client = simulation.connect();
    simulation.stall(client);
    simulation.send(client, &get("/"));
    simulation.turn();
    // In every turn the socket takes a little before the timers run.
    for _ in 0..1000 {
        simulation.read_some(client, 10);
        simulation.pause(ms(1));
    }
    let stats = simulation.stats();
    assert_eq!((stats.ticks, stats.ticks_skipped), (1, 9));
    assert_eq!(stats.closed.lifetime, 1);
}
