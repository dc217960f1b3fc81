//! Invariants 5 to 7: complete events, bounded memory, bounded work.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::story::{Diary, Ids, bad_network, data, get, ms, secs, serving, serving_with};
use starwheel::testing::Simulation;
use starwheel::{Config, Context, Method, Response, Router, Sse};

// 5. Complete events, in order.

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
    });
    Sse::every(ms(7), move |stream| {
        stream.send(message());
        stream.send(message());
    })
    .on_connect(move |stream| id.set(Some(stream.id())))
}

/// Counts the messages of a [`chatter`], after checking that each is complete and in its place.
#[track_caller]
fn whole_messages(data: &[String]) -> usize {
    for (message, n) in data.iter().zip(1..) {
        assert_eq!(*message, format!("{n}\n{}\n{n}", "x".repeat(n * 37 % 700)));
    }
    data.len()
}

#[test]
fn invariant_5_events_stay_complete_and_in_order_wherever_writes_are_cut() {
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
fn invariant_5_a_chunk_holds_complete_events() {
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

// 6. A slow client costs little, and affects no others.

const KERNEL_BYTES: usize = 64 * 1024;

#[test]
fn invariant_6_a_stalled_clients_ticks_are_skipped_and_counted_and_its_neighbours_tick_on() {
    let mut config = Config::default();
    config.limits.stall_timeout = Duration::MAX;
    let mut simulation = serving_with(config, |_, _| {
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

    // When it reads again, it gets all that was sent, complete and in order.
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
fn invariant_6_a_burst_in_one_turn_makes_no_client_slow() {
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
    let mut simulation = serving(|_, _| Response::text("x".repeat(1000)));
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
fn invariant_6_one_huge_tick_is_kept_completely() {
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
fn invariant_7_a_client_that_never_stops_sending_delays_no_others() {
    let router =
        Router::new().get("/", |_, _| Response::text("pong")).get("/stream", |_, _| Sse::new());
    let mut simulation = Simulation::new(router);
    let flood = simulation.get("/stream");
    let other = simulation.connect();
    simulation.send(flood, &vec![b'x'; 10_000_000]);
    simulation.request(other, Method::Get, "/", &[], b"");
    let before = simulation.stats().bytes_in;
    assert!(simulation.turn_once(), "more is to be read");
    assert!(simulation.stats().bytes_in - before < 512 * 1024);
    assert_eq!(simulation.response(other).text(), "pong");
    simulation.turn();
    assert!(simulation.stats().bytes_in > 10_000_000, "all is read in the end");
}

#[test]
fn invariant_7_a_client_that_pipelines_gets_its_share_of_a_turn() {
    let mut simulation = serving(|_, _| Response::text("pong"));
    let (flood, other) = (simulation.connect(), simulation.connect());
    simulation.send(flood, &get("/").repeat(1000));
    simulation.request(other, Method::Get, "/", &[], b"");
    simulation.turn_once();
    assert_eq!(simulation.response(other).text(), "pong");
    let share = simulation.responses(flood).len();
    assert!((1..=64).contains(&share), "{share}");
    simulation.turn();
    assert_eq!(simulation.responses(flood).len(), 1000);
}

#[test]
fn invariant_7_a_client_that_pipelines_long_requests_gets_the_same_share() {
    let mut simulation = serving(|_, _| Response::text("pong"));
    let flood = simulation.connect();
    let long = format!("GET / HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n", "x".repeat(1_500));
    simulation.send(flood, long.repeat(1_000).as_bytes());
    let mut goes_on = true;
    while goes_on {
        let before = simulation.stats().requests;
        goes_on = simulation.turn_once();
        let share = simulation.stats().requests - before;
        assert!(share <= 64, "{share} requests in one turn");
    }
    assert_eq!(simulation.responses(flood).len(), 1_000);
}

#[test]
fn invariant_7_a_deferred_client_that_sends_more_gets_one_share() {
    let mut simulation = serving(|_, _| Sse::new());
    let flood = simulation.get("/");
    simulation.send(flood, &vec![b'x'; 1_000_000]);
    let mut goes_on = true;
    while goes_on {
        let before = simulation.stats().bytes_in;
        goes_on = simulation.turn_once();
        let share = simulation.stats().bytes_in - before;
        assert!(share <= 256 * 1024, "{share} bytes in one turn");
        if simulation.stats().bytes_in < 3_000_000 {
            simulation.send(flood, &vec![b'x'; 300_000]);
            goes_on = true;
        }
    }
}

#[test]
fn invariant_7_a_client_that_reads_a_long_response_fast_delays_no_others() {
    let router = Router::new()
        .get("/long", |_, _| Response::text("x".repeat(20_000_000)))
        .get("/", |_, _| Response::text("pong"));
    let mut simulation = Simulation::new(router);
    let (greedy, other) = (simulation.connect(), simulation.connect());
    simulation.request(greedy, Method::Get, "/long", &[], b"");
    let (mut turns, mut goes_on) = (0, true);
    while goes_on {
        simulation.request(other, Method::Get, "/", &[], b"");
        let before = simulation.stats().bytes_out;
        goes_on = simulation.turn_once();
        let written = simulation.stats().bytes_out - before;
        assert!(written < 4_000_000, "{written} bytes in one turn");
        turns += 1;
        assert_eq!(simulation.responses(other).len(), turns, "others are served in between");
    }
    assert_eq!(simulation.response(greedy).text().len(), 20_000_000);
    assert!(simulation.is_open(greedy), "and may ask again");
}
