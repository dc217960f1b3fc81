//! Clients that do not read: how long their connections are kept, and that each byte restarts the
//! timeout.

#[path = "support/story.rs"]
mod story;

use starwheel::{
    Config, Ending, KeepAlive, Method, Response, Router, Sse, StatusCode, StreamCompression, Topic,
    testing::{BodyEnd, Client, ServerEnd, Simulation},
};
use std::time::Duration;
use story::{Diary, HOUR, Ids, data, faults, get_1_0, ms, numbers, secs, serving, serving_with};

const STALL: Duration = secs(60);

/// Streams of a topic `t`, of an updater, and quiet ones; and a diary of their ends.
fn streams() -> (Simulation, Topic, Diary, Ids) {
    let (topic, diary, ids) = (Topic::new("t"), Diary::default(), Ids::default());
    let (subscribed, noted, keep) = (topic.clone(), diary.clone(), ids.clone());
    let hooked = move |sse: Sse| {
        let (noted, keep) = (noted.clone(), keep.clone());
        sse.on_connect(move |stream| keep.keep(stream.id()))
            .on_disconnect(move |_, _, reason| noted.note(format_args!("{reason:?}")))
    };
    let router = Router::new().get("/{kind}", move |req, _| {
        hooked(match req.param("kind").unwrap() {
            "ticks" => Sse::every(secs(1), |stream| stream.send("x".repeat(10_000))),
            "topic" => Sse::new().subscribe(&subscribed).keep_alive(KeepAlive::Off),
            _ => Sse::new(),
        })
    });
    (Simulation::new(router), topic, diary, ids)
}

/// The kernel takes no byte for clients that do not read.
fn fill_the_kernel(simulation: &mut Simulation) {
    simulation.set_faults(faults(|faults| faults.socket_buffer_bytes = 0));
}

// Streams.

#[test]
fn a_stream_whose_client_takes_nothing_for_60_seconds_is_slow() {
    let (mut simulation, _, diary, _) = streams();
    let client = simulation.get("/ticks");
    simulation.stall(client);
    // The kernel takes 64 KiB, and so a part of the seventh tick.
    simulation.advance(secs(7) + STALL - ms(1));
    assert_eq!(diary.read(), [""; 0]);
    simulation.advance(ms(1));
    assert_eq!(diary.read(), ["Slow"]);
    assert_eq!(simulation.server_end(client), Some(ServerEnd::Reset), "whatever it had read");
    assert_eq!(simulation.stats().connections, 0);
}

#[test]
fn each_byte_taken_restarts_the_stall_timeout_of_a_stream() {
    let (mut simulation, _, diary, _) = streams();
    let client = simulation.get("/ticks");
    simulation.stall(client);
    simulation.advance(secs(10));
    for _ in 0..20 {
        simulation.read_some(client, 1);
        simulation.advance(STALL - ms(1));
    }
    assert_eq!(diary.read(), [""; 0]);
    simulation.resume(client);
    simulation.advance(HOUR);
    assert_eq!(diary.read(), [""; 0]);
    assert!(data(&simulation, client).iter().all(|data| data.len() == 10_000), "nothing is torn");
}

#[test]
fn refused_topic_frames_are_subject_to_the_stall_timeout() {
    for coding in ["identity", "zstd"] {
        let (mut simulation, topic, diary, _) = streams();
        let client = simulation.connect();
        simulation.request(client, Method::Get, "/topic", &[("Accept-Encoding", coding)], b"");
        simulation.turn();
        simulation.stall(client);
        simulation.advance(HOUR);
        fill_the_kernel(&mut simulation);
        simulation.run(|cx| {
            cx.publish(&topic, "refused").unwrap();
        });
        // The time counts from the refusal, not from the last write an hour ago.
        simulation.advance(STALL - ms(1));
        simulation.run(|cx| {
            cx.publish(&topic, "a further one is no progress").unwrap();
        });
        assert_eq!(diary.read(), [""; 0], "{coding}");
        simulation.advance(ms(1));
        assert_eq!(diary.read(), ["Slow"], "{coding}");
    }
}

#[test]
fn a_stream_for_which_nothing_waits_is_never_slow() {
    let (mut simulation, topic, diary, _) = streams();
    let client = simulation.get("/topic");
    simulation.stall(client);
    simulation.run(|cx| {
        cx.publish(&topic, "taken by the kernel").unwrap();
    });
    simulation.advance(24 * HOUR);
    assert_eq!(diary.read(), [""; 0]);
}

#[test]
fn events_from_other_closures_wait_no_longer_than_a_streams_own() {
    let (mut simulation, _, diary, ids) = streams();
    let client = simulation.get("/quiet");
    simulation.stall(client);
    fill_the_kernel(&mut simulation);
    simulation.run(|cx| assert!(cx.send(ids.last(), "refused")));
    simulation.advance(STALL - ms(1));
    simulation.run(|cx| assert!(cx.send(ids.last(), "no progress")));
    simulation.advance(ms(1));
    assert_eq!(diary.read(), ["Slow"]);
}

#[test]
fn a_keep_alive_that_is_refused_begins_the_time() {
    let (mut simulation, _, diary, _) = streams();
    let client = simulation.get("/quiet");
    simulation.stall(client);
    fill_the_kernel(&mut simulation);
    simulation.advance(secs(15) + STALL - ms(1));
    assert_eq!((diary.read(), simulation.stats().keep_alives), (vec![], 1));
    simulation.advance(ms(1));
    assert_eq!(diary.read(), ["Slow"]);
}

#[test]
fn a_stream_that_is_read_again_has_its_keep_alive_on_time() {
    let (mut simulation, _, diary, ids) = streams();
    let client = simulation.get("/quiet");
    simulation.stall(client);
    simulation.run(|cx| assert!(cx.send(ids.last(), "taken by the kernel")));
    fill_the_kernel(&mut simulation);
    simulation.run(|cx| assert!(cx.send(ids.last(), "refused")));
    simulation.advance(secs(25));
    simulation.set_faults(faults(|_| ()));
    simulation.resume(client);
    simulation.turn();
    assert_eq!(data(&simulation, client), ["taken by the kernel", "refused"]);
    simulation.forget_received(client);
    simulation.advance(secs(15) - ms(1));
    assert_eq!(simulation.received(client), b"");
    simulation.advance(ms(1));
    assert_eq!(simulation.received(client), b"2\r\n:\n\r\n");
    simulation.advance(HOUR);
    assert_eq!(diary.read(), [""; 0]);
}

#[test]
fn failed_write_attempts_do_not_restart_the_stall_timeout() {
    let (mut simulation, _, diary, _) = streams();
    let client = simulation.get("/ticks");
    simulation.stall(client);
    simulation.advance(secs(7));
    // Events that report everything: each byte from the client makes the engine try again.
    simulation.set_faults(faults(|faults| faults.spurious_readiness_percent = 100));
    for _ in 0..59 {
        simulation.advance(secs(1));
        simulation.send(client, b"x");
    }
    assert_eq!(diary.read(), [""; 0]);
    simulation.advance(secs(1));
    assert_eq!(diary.read(), ["Slow"]);
}

#[test]
fn the_time_of_streams_is_what_limits_say() {
    for (timeout, expected) in [(secs(5), vec!["Slow"]), (Duration::MAX, vec![])] {
        let mut config = Config::default();
        config.limits.stall_timeout = timeout;
        let diary = Diary::default();
        let noted = diary.clone();
        let mut simulation = serving_with(config, move |_, _| {
            let noted = noted.clone();
            Sse::every(secs(1), |stream| stream.send("x".repeat(100_000)))
                .compression(StreamCompression::Off)
                .on_disconnect(move |_, _, reason| noted.note(format_args!("{reason:?}")))
        });
        let client = simulation.connect();
        simulation.stall(client);
        simulation.request(client, Method::Get, "/", &[], b"");
        simulation.advance(secs(5) - ms(1));
        assert_eq!(diary.read(), [""; 0]);
        simulation.advance(HOUR);
        assert_eq!(diary.read(), expected, "{timeout:?}");
    }
}

#[test]
fn a_neighbour_of_a_stalled_client_notices_nothing() {
    let mut simulation = serving(|_, _| {
        let mut count = 0;
        Sse::every(secs(1), move |stream| {
            count += 1;
            stream.send(format_args!("{count}"));
        })
    });
    let (stalled, reading) = (simulation.get("/"), simulation.get("/"));
    simulation.stall(stalled);
    fill_the_kernel(&mut simulation);
    simulation.resume(reading);
    simulation.set_faults(faults(|faults| faults.socket_buffer_bytes = 100));
    simulation.advance(secs(600));
    assert_eq!(simulation.stats().closed.slow, 1);
    assert_eq!(numbers(&simulation, reading), (1..=601).collect::<Vec<u64>>());
}

// Responses.

fn large_response(fields: &[(&str, &str)]) -> (Simulation, Client) {
    let mut simulation = serving(|_, _| Response::text("x".repeat(200_000)));
    let client = simulation.connect();
    simulation.stall(client);
    simulation.request(client, Method::Get, "/", fields, b"");
    simulation.turn();
    (simulation, client)
}

#[test]
fn a_large_response_may_take_as_long_as_it_is_read() {
    for fields in [&[][..], &[("Connection", "close")]] {
        let (mut simulation, client) = large_response(fields);
        for _ in 0..100 {
            simulation.advance(STALL - ms(1));
            simulation.read_some(client, 2_000);
        }
        simulation.turn();
        simulation.resume(client);
        simulation.turn();
        let answer = simulation.response(client);
        assert_eq!((answer.body.len(), answer.end), (200_000, BodyEnd::Complete), "{fields:?}");
    }
}

#[test]
fn a_response_that_is_read_no_further_is_cut() {
    for fields in [&[][..], &[("Connection", "close")]] {
        let (mut simulation, client) = large_response(fields);
        simulation.advance(secs(50));
        simulation.read_some(client, 1);
        simulation.advance(STALL - ms(1));
        assert!(simulation.is_open(client), "{fields:?}");
        simulation.advance(ms(1));
        assert!(!simulation.is_open(client), "{fields:?}");
        assert_eq!(simulation.server_end(client), Some(ServerEnd::Reset), "it was cut");
        assert_eq!(simulation.stats().timed_out, 1);
    }
}

#[test]
fn a_client_that_gets_the_end_of_a_response_late_has_the_full_linger_timeout() {
    let (mut simulation, client) = large_response(&[("Connection", "close")]);
    simulation.advance(secs(50));
    simulation.resume(client);
    simulation.turn();
    assert_eq!(simulation.server_end(client), Some(ServerEnd::Fin));
    simulation.advance(secs(30) - ms(1));
    assert!(simulation.is_open(client));
    simulation.advance(ms(1));
    assert!(!simulation.is_open(client));
}

#[test]
fn a_client_that_does_not_read_buys_no_time_by_asking_for_more() {
    let mut simulation = serving(|_, _| Response::text("small enough to be queued"));
    fill_the_kernel(&mut simulation);
    let client = simulation.connect();
    simulation.stall(client);
    simulation.request(client, Method::Get, "/", &[], b"");
    simulation.turn();
    for _ in 0..60 {
        simulation.send(client, b"GET / HTTP/1.1\r\n");
        simulation.advance(ms(500));
        simulation.send(client, b"Host: a\r\n\r\n");
        simulation.advance(ms(if simulation.stats().requests < 60 { 500 } else { 499 }));
    }
    assert_eq!(simulation.stats().requests, 61, "all were read");
    assert!(simulation.is_open(client));
    simulation.advance(ms(1));
    assert!(!simulation.is_open(client));
}

/// A client whose complete response is refused, one second before it is cut for that.
fn about_to_be_cut() -> (Simulation, Client) {
    let router = Router::new()
        .get("/", |_, _| Response::text("refused"))
        .get("/busy", |_, _| {
            Response::error(StatusCode::TOO_MANY_REQUESTS, "busy").with_retry_after(secs(10))
        })
        .get("/quiet", |_, _| Sse::new())
        .get("/ticks", |_, _| Sse::every(secs(1), |stream| stream.send("tick")))
        .get("/once", |_, _| Sse::new().send("once").ending(Ending::Finish))
        .get("/drop", |_, _| Sse::new().send("once").ending(Ending::Drop));
    let mut simulation = Simulation::new(router);
    fill_the_kernel(&mut simulation);
    let client = simulation.connect();
    simulation.stall(client);
    simulation.request(client, Method::Get, "/", &[], b"");
    simulation.advance(STALL - secs(1));
    (simulation, client)
}

#[test]
fn a_client_that_does_not_read_gains_no_time_by_sending() {
    let requests = ["/", "/quiet", "/ticks", "/once", "/drop"].map(story::get);
    let others = [
        &b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"[..],
        b"GET / HTTP/1.0\r\n\r\n",
        b"HEAD /quiet HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
        b"GET /busy HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\nDatastar-Request: true\r\n\r\n",
        b"no request\r\n\r\n",
        b"",
    ];
    for bytes in requests.iter().map(Vec::as_slice).chain(others) {
        for half_closes in [false, true] {
            let (mut simulation, client) = about_to_be_cut();
            simulation.send(client, bytes);
            if half_closes {
                simulation.half_close(client);
            }
            simulation.advance(secs(1) - ms(1));
            let text = bytes.escape_ascii().to_string();
            assert!(simulation.is_open(client) || half_closes, "{text}");
            simulation.advance(ms(1));
            assert!(!simulation.is_open(client), "{text} {half_closes}");
            assert_eq!(simulation.server_end(client), Some(ServerEnd::Reset), "{text}");
        }
    }
}

// Ends.

#[test]
fn the_end_of_a_blocked_stream_buys_its_client_no_time() {
    for ending in [Ending::Finish, Ending::Drop] {
        let (mut simulation, _, diary, ids) = streams();
        let client = simulation.get("/quiet");
        simulation.stall(client);
        fill_the_kernel(&mut simulation);
        simulation.run(|cx| assert!(cx.send(ids.last(), "refused")));
        simulation.advance(STALL - secs(1));
        simulation.run(|cx| assert!(cx.close(ids.last(), ending)));
        assert_eq!(diary.read().len(), 1);
        simulation.advance(secs(1) - ms(1));
        assert!(simulation.is_open(client), "{ending:?}");
        simulation.advance(ms(1));
        assert!(!simulation.is_open(client), "{ending:?}");
    }
}

#[test]
fn a_blocked_stream_of_http_1_0_that_is_slow_is_reset() {
    let (mut simulation, topic, diary, _) = streams();
    let client = get_1_0(&mut simulation, "/topic", "");
    simulation.stall(client);
    fill_the_kernel(&mut simulation);
    simulation.run(|cx| {
        cx.publish(&topic, "refused as a whole, so nothing is queued").unwrap();
    });
    simulation.advance(STALL);
    assert_eq!(diary.read(), ["Slow"]);
    assert_eq!(simulation.server_end(client), Some(ServerEnd::Reset), "a FIN says: this was all");
}

#[test]
fn a_blocked_stream_of_http_1_0_that_is_dropped_and_not_read_is_reset() {
    let (mut simulation, topic, diary, ids) = streams();
    let client = get_1_0(&mut simulation, "/topic", "");
    simulation.stall(client);
    fill_the_kernel(&mut simulation);
    simulation.run(|cx| {
        cx.publish(&topic, "refused as a whole, so nothing is queued").unwrap();
    });
    simulation.run(|cx| assert!(cx.close(ids.last(), Ending::Drop)));
    assert_eq!(diary.read(), ["Dropped"]);
    simulation.advance(STALL);
    assert!(!simulation.is_open(client));
    assert_eq!(simulation.server_end(client), Some(ServerEnd::Reset), "a FIN says: this was all");
}

#[test]
fn a_blocked_stream_that_is_dropped_has_the_rest_of_the_stall_time_for_what_is_queued() {
    let (mut simulation, _, diary, ids) = streams();
    let client = simulation.get("/ticks");
    simulation.stall(client);
    // The seventh tick is taken in part.
    simulation.advance(secs(10));
    simulation.run(|cx| assert!(cx.close(ids.last(), Ending::Drop)));
    simulation.advance(secs(7) + STALL - secs(10) - ms(1));
    simulation.resume(client);
    simulation.turn();
    assert_eq!(data(&simulation, client).len(), 8, "also the tick that was accepted in part");
    assert_eq!(simulation.server_end(client), Some(ServerEnd::Fin));
    assert_eq!(diary.read(), ["Dropped"]);
}

#[test]
fn a_shutdown_resets_a_blocked_stream_of_http_1_0() {
    let (mut simulation, topic, _, _) = streams();
    let client = get_1_0(&mut simulation, "/topic", "");
    simulation.stall(client);
    fill_the_kernel(&mut simulation);
    simulation.run(|cx| {
        cx.publish(&topic, "refused as a whole, so nothing is queued").unwrap();
    });
    simulation.shutdown();
    assert_eq!(simulation.server_end(client), Some(ServerEnd::Reset));
}
