//! The end of a server: what each client is sent, when it leaves, and when it reconnects.

#[path = "support/decoders.rs"]
mod decoders;
#[path = "support/story.rs"]
mod story;

use std::ops::Range;

use starwheel::{
    CloseReason, Ending, Method, Response, Router, Sse, Topic,
    testing::{BodyEnd, Client, EventParser, ServerEnd, Simulation},
};
use story::{Diary, HOUR, data, faults, get_1_0, ms, secs};

const FAREWELL_MS: u64 = 500;

/// Streams of a topic, of an updater and quiet ones; and how often each close reason occurred.
fn server() -> (Simulation, Topic, Diary) {
    let (topic, diary) = (Topic::new("t"), Diary::default());
    let (subscribed, noted) = (topic.clone(), diary.clone());
    let router = Router::new().get("/plain", |_, _| Response::text("hello")).get(
        "/stream/{kind}",
        move |req, _| {
            let sse = match req.param("kind").unwrap() {
                "ticks" => Sse::every(ms(100), |stream| stream.send("tick")),
                "large" => Sse::every(ms(100), |stream| stream.send("x".repeat(50_000))),
                "topic" => Sse::new().subscribe(&subscribed).send("welcome"),
                "three" => Sse::new().max_lifetime(secs(3)),
                _ => Sse::new(),
            };
            let noted = noted.clone();
            sse.on_disconnect(move |_, _, reason: CloseReason| {
                noted.note(format_args!("{reason:?}"))
            })
        },
    );
    (Simulation::new(router), topic, diary)
}

fn open(simulation: &mut Simulation, target: &str, coding: &str) -> Client {
    let client = simulation.connect();
    simulation.request(client, Method::Get, target, &[("Accept-Encoding", coding)], b"");
    simulation.turn();
    client
}

/// The reconnect delays that a client has been sent.
fn retries_ms(simulation: &Simulation, client: Client) -> Vec<u64> {
    let answer = simulation.response(client);
    EventParser::read(&decoders::decoded(&answer)).retries_ms
}

/// How one client left.
#[derive(Debug)]
struct Leave {
    announced_ms: u64,
    dropped_ms: u64,
    retry_ms: u64,
}

impl Leave {
    fn returns_ms(&self) -> u64 {
        self.dropped_ms + self.retry_ms
    }
}

/// Watches a drain in steps of 10 ms.
fn watch(simulation: &mut Simulation, clients: &[Client], window_ms: u64) -> Vec<Leave> {
    let mut announced = vec![None; clients.len()];
    let mut dropped = vec![None; clients.len()];
    simulation.drain(ms(window_ms));
    let start_ms = simulation.now().as_millis() as u64;
    for at_ms in (0..=window_ms + 10).step_by(10) {
        for (place, &client) in clients.iter().enumerate() {
            if let [retry_ms] = retries_ms(simulation, client)[..] {
                announced[place].get_or_insert((at_ms, retry_ms));
            }
            if simulation.server_end(client).is_some() {
                dropped[place].get_or_insert(at_ms);
            }
        }
        simulation.advance(ms(10));
    }
    assert!(simulation.is_stopped(), "since {start_ms}");
    announced
        .into_iter()
        .zip(dropped)
        .map(|(announced, dropped)| {
            let (announced_ms, retry_ms) = announced.expect("one reconnect delay");
            Leave { announced_ms, dropped_ms: dropped.expect("dropped"), retry_ms }
        })
        .collect()
}

fn most_within(times_ms: impl Iterator<Item = u64>, span_ms: u64) -> usize {
    let mut times: Vec<u64> = times_ms.collect();
    times.sort_unstable();
    let within =
        |first: &u64| times.iter().filter(|&t| (*first..first + span_ms).contains(t)).count();
    times.iter().map(within).max().unwrap_or(0)
}

#[test]
fn each_stream_gets_its_own_reconnect_delay_before_it_is_dropped() {
    let (mut simulation, topic, diary) = server();
    let mut clients = Vec::new();
    for coding in ["identity", "zstd", "gzip", "br"] {
        for kind in ["ticks", "topic", "quiet"] {
            for _ in 0..10 {
                clients.push(open(&mut simulation, &format!("/stream/{kind}"), coding));
            }
        }
    }
    simulation.run(|cx| {
        cx.publish(&topic, "before").unwrap();
    });
    let leaves = watch(&mut simulation, &clients, 10_000);
    let window: Range<u64> = FAREWELL_MS..10_010;
    for leave in &leaves {
        assert!(window.contains(&leave.dropped_ms), "{leave:?}");
        let ahead_ms = leave.dropped_ms - leave.announced_ms;
        assert!((FAREWELL_MS - 10..=FAREWELL_MS + 10).contains(&ahead_ms), "{leave:?}");
        // The next server has a second to start.
        assert!((10_990..=31_000).contains(&leave.returns_ms()), "{leave:?}");
    }
    let hundred_ms_share = clients.len() / 100 + 2;
    let dropped = leaves.iter().map(|leave| leave.dropped_ms);
    assert!(most_within(dropped, 100) <= hundred_ms_share);
    let returns = leaves.iter().map(Leave::returns_ms);
    assert!(most_within(returns, 100) <= 2 * hundred_ms_share, "{leaves:?}");
    assert_eq!(diary.read(), vec!["Shutdown"; clients.len()]);
    for client in clients {
        assert_eq!(simulation.response(client).end, BodyEnd::Open, "no last chunk: reconnect");
        assert_eq!(simulation.server_end(client), Some(ServerEnd::Fin));
    }
}

#[test]
fn events_after_a_farewell_still_arrive_completely() {
    for coding in ["identity", "zstd", "gzip", "br"] {
        let (mut simulation, topic, _) = server();
        let client = open(&mut simulation, "/stream/topic", coding);
        simulation.run(|cx| {
            cx.publish(&topic, "before").unwrap();
        });
        simulation.drain(secs(10));
        simulation.advance(ms(100));
        assert_eq!(retries_ms(&simulation, client).len(), 1, "{coding}");
        simulation.run(|cx| {
            cx.publish(&topic, "behind").unwrap();
        });
        simulation.run(|cx| {
            cx.publish(&topic, "and behind that").unwrap();
        });
        simulation.advance(ms(FAREWELL_MS));
        let mut answer = simulation.response(client);
        answer.body = decoders::decoded(&answer);
        let expected = ["welcome", "before", "behind", "and behind that"];
        assert_eq!(story::data_of(&answer), expected, "{coding}");
        assert!(simulation.server_end(client).is_some());
    }
}

#[test]
fn a_farewell_is_a_line_and_no_event_and_leaves_with_a_tick_in_one_write() {
    let (mut simulation, _, _) = server();
    let client = open(&mut simulation, "/stream/ticks", "identity");
    simulation.advance(ms(50));
    let writes = simulation.writes(client);
    simulation.forget_received(client);
    simulation.drain(secs(10));
    simulation.advance(ms(50));
    let received = String::from_utf8(simulation.received(client)).unwrap();
    let (farewell, tick) = received.split_once("data: tick").unwrap();
    assert_eq!(tick, "\n\n\r\n");
    let line = farewell.split("\r\n").nth(1).unwrap();
    let retry = line.strip_prefix("retry: ").and_then(|rest| rest.strip_suffix('\n')).unwrap();
    assert!(retry.bytes().all(|byte| byte.is_ascii_digit()), "{received}");
    assert_eq!(simulation.writes(client) - writes, 2, "the line at once, and the tick");
}

#[test]
fn http_1_0_gets_its_delay_too_and_is_then_reset() {
    let (mut simulation, _, diary) = server();
    let client = get_1_0(&mut simulation, "/stream/quiet", "");
    simulation.drain(secs(10));
    simulation.advance(ms(1));
    assert_eq!(retries_ms(&simulation, client).len(), 1);
    simulation.advance(ms(FAREWELL_MS));
    assert_eq!(simulation.server_end(client), Some(ServerEnd::Reset), "cut, not finished");
    assert_eq!(diary.read(), ["Shutdown"]);
}

#[test]
fn streams_opened_during_a_drain_get_a_delay_and_are_dropped_within_it() {
    let (mut simulation, _, diary) = server();
    // Their requests are pending when the drain begins.
    let clients: Vec<Client> = (0..40)
        .map(|_| {
            let client = simulation.connect();
            simulation.send(client, b"GET /stream/quiet HTTP/1.1\r\n");
            client
        })
        .collect();
    simulation.turn();
    simulation.drain(secs(10));
    simulation.advance(secs(2));
    for &client in &clients {
        simulation.send(client, b"Host: a\r\n\r\n");
    }
    simulation.turn();
    assert_eq!(simulation.stats().streams, 40);
    assert_eq!(simulation.response(clients[0]).header("connection"), Some("close"));
    let mut left = Vec::new();
    for _ in 0..8 {
        simulation.advance(secs(1));
        left.push(simulation.stats().streams);
    }
    let at_once = left.windows(2).map(|pair| pair[0] - pair[1]).max().unwrap();
    assert!(at_once <= 8 && left[0] < 40, "{left:?}");
    assert_eq!(diary.read(), vec!["Shutdown"; 40]);
    for client in clients {
        assert_eq!(retries_ms(&simulation, client).len(), 1);
    }
}

#[test]
fn a_blocked_stream_finds_its_farewell_when_it_reads_on() {
    for kind in ["large", "topic"] {
        let (mut simulation, topic, diary) = server();
        let client = open(&mut simulation, &format!("/stream/{kind}"), "identity");
        simulation.stall(client);
        simulation.set_faults(faults(|faults| faults.socket_buffer_bytes = 60_000));
        for _ in 0..5 {
            simulation.run(|cx| {
                cx.publish(&topic, "x".repeat(50_000)).unwrap();
            });
        }
        simulation.advance(secs(1));
        simulation.drain(secs(10));
        simulation.advance(ms(FAREWELL_MS + 1));
        assert_eq!(diary.read(), ["Shutdown"], "{kind}");
        simulation.resume(client);
        simulation.turn();
        assert_eq!(retries_ms(&simulation, client).len(), 1, "{kind}");
        let whole = data(&simulation, client).iter().all(|data| data.len() >= 7);
        assert!(whole, "{kind}");
        assert_eq!(simulation.server_end(client), Some(ServerEnd::Fin), "{kind}");
    }
}

#[test]
fn at_the_end_of_the_window_everything_is_forced() {
    let (mut simulation, _, diary) = server();
    let stuck: Vec<Client> =
        (0..20).map(|_| open(&mut simulation, "/stream/large", "identity")).collect();
    stuck.iter().for_each(|&client| simulation.stall(client));
    let (reading, unfinished) = (simulation.get("/stream/quiet"), simulation.connect());
    simulation.send(unfinished, b"GET / HT");
    simulation.advance(secs(5));
    simulation.drain(secs(10));
    simulation.advance(secs(10) - ms(1));
    assert!(!simulation.is_stopped());
    simulation.advance(ms(1));
    assert!(simulation.is_stopped());
    assert_eq!(diary.read(), vec!["Shutdown"; 21], "each once, by one reason");
    for client in stuck {
        assert_eq!(simulation.server_end(client), Some(ServerEnd::Reset));
    }
    assert_eq!(simulation.server_end(reading), Some(ServerEnd::Fin));
}

#[test]
fn a_drain_without_a_window_still_sends_a_reconnect_delay() {
    let (mut simulation, _, diary) = server();
    let clients: Vec<Client> = (0..50).map(|_| simulation.get("/stream/quiet")).collect();
    simulation.drain(ms(0));
    simulation.advance(ms(1));
    assert!(simulation.is_stopped());
    assert_eq!(diary.read(), vec!["Shutdown"; 50]);
    let returns = clients.iter().map(|&client| retries_ms(&simulation, client)[0]);
    assert!(most_within(returns, 100) <= 5, "they would reconnect together");
}

#[test]
fn a_drain_prolongs_no_stream_beyond_its_lifetime() {
    let (mut simulation, _, diary) = server();
    let _first = simulation.get("/stream/quiet");
    let client = simulation.get("/stream/three");
    simulation.drain(HOUR);
    simulation.advance(secs(3) - ms(1));
    assert!(simulation.server_end(client).is_none());
    assert_eq!(retries_ms(&simulation, client).len(), 1, "one delay, before its age ends it");
    simulation.advance(ms(1));
    assert!(simulation.server_end(client).is_some());
    assert_eq!(diary.len(), 2);
}

#[test]
fn a_stream_that_is_finished_after_its_farewell_is_finished() {
    let (topic, ids) = (Topic::new("t"), story::Ids::default());
    let (subscribed, keep) = (topic.clone(), ids.clone());
    let mut simulation = story::serving(move |_, _| {
        let keep = keep.clone();
        Sse::new().subscribe(&subscribed).on_connect(move |stream| keep.keep(stream.id()))
    });
    let client = simulation.get("/");
    simulation.drain(secs(10));
    simulation.advance(ms(10));
    simulation.run(|cx| {
        cx.publish(&topic, "the last").unwrap();
        cx.close(ids.last(), Ending::Finish);
    });
    assert_eq!(retries_ms(&simulation, client).len(), 1);
    assert_eq!(data(&simulation, client), ["the last"]);
    assert_eq!(simulation.response(client).end, BodyEnd::Complete);
    assert_eq!(simulation.stats().closed.finished, 1);
}

#[test]
fn a_shutdown_and_an_age_are_no_farewells() {
    let (mut simulation, _, _) = server();
    let [aged, other] = ["/stream/three", "/stream/quiet"].map(|target| simulation.get(target));
    simulation.advance(secs(3));
    assert_eq!(retries_ms(&simulation, aged), [0; 0]);
    simulation.shutdown();
    assert_eq!(retries_ms(&simulation, other), [0; 0]);
}
