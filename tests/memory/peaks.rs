//! After a peak, memory is freed: nothing keeps the size of the largest event, request or burst.

use std::time::Duration;

use starwheel::{
    Body, Config, Context, Encoding, Feed, Method, Reactor, Request, Response, Router, Sse,
    StreamId, Topic,
    testing::{Client, Simulation},
};

use crate::live_bytes;

const PEAK_BYTES: usize = 16_000_000;
/// Each of some ten buffers keeps 64 KiB at most, and zstd's two 1 MiB.
const KEPT_BYTES: usize = 3_000_000;

/// A client of each coding, all of which read everything.
struct Readers {
    simulation: Simulation,
    clients: Vec<Client>,
}

impl Readers {
    fn of(router: Router) -> Self {
        let mut config = Config::default();
        config.limits.body_bytes = 2 * PEAK_BYTES;
        config.limits.outbox_bytes = usize::MAX;
        let mut simulation = Simulation::with_config(config, 0, router);
        let clients = Encoding::BUILT_IN.iter().chain([&Encoding::Identity]).map(|encoding| {
            let client = simulation.connect();
            let coding = [("Accept-Encoding", encoding.as_str())];
            simulation.request(client, Method::Get, "/", &coding, b"");
            client
        });
        let clients = clients.collect();
        simulation.turn();
        Self { simulation, clients }
    }

    /// Runs turns until everything has been read, and discards it.
    fn read(&mut self) {
        self.simulation.turn();
        for &client in &self.clients {
            drop(self.simulation.take_received(client));
        }
    }

    /// After a `call` of the peak's size, little more is allocated than after a small one.
    #[track_caller]
    fn assert_falls_back(mut self, mut call: impl FnMut(&mut Simulation, usize)) {
        call(&mut self.simulation, 100);
        self.read();
        let before = live_bytes();
        let bytes_out = self.simulation.stats().bytes_out;
        call(&mut self.simulation, PEAK_BYTES);
        self.read();
        let sent = self.simulation.stats().bytes_out - bytes_out;
        assert!(sent > 1_000, "something was sent");
        let kept = live_bytes().saturating_sub(before);
        assert!(kept < KEPT_BYTES, "{kept} bytes are kept after a peak of {PEAK_BYTES}");
    }
}

fn quiet() -> Router {
    Router::new().get("/", |_, _| Sse::new())
}

fn to_all(cx: &mut Context<'_>, mut send: impl FnMut(&mut Context<'_>, StreamId)) {
    for id in cx.streams().collect::<Vec<_>>() {
        send(cx, id);
    }
}

#[test]
fn a_large_private_event_leaves_no_memory_allocated() {
    Readers::of(quiet()).assert_falls_back(|simulation, bytes| {
        let text = "x".repeat(bytes);
        simulation.run(|cx| to_all(cx, |cx, id| assert!(cx.send(id, &text))));
    });
}

#[test]
fn very_many_uncompressed_events_leave_no_memory_allocated() {
    let router = Router::new().get("/", |_, _| {
        let mut count = 10;
        Sse::every(Duration::from_secs(1), move |stream| {
            (0..count).for_each(|_| stream.send_uncompressed("x"));
            count = 200_000;
        })
    });
    Readers::of(router)
        .assert_falls_back(|simulation, _| simulation.advance(Duration::from_secs(1)));
}

#[test]
fn a_large_published_event_leaves_no_memory_allocated() {
    let topic = Topic::new("t");
    let watched = topic.clone();
    let router = Router::new().get("/", move |_, _| Sse::new().subscribe(&watched));
    Readers::of(router).assert_falls_back(|simulation, bytes| {
        let text = "x".repeat(bytes);
        simulation.run(|cx| {
            assert_eq!(cx.subscribers(&topic), Encoding::BUILT_IN.len() + 1);
            cx.publish(&topic, &text).unwrap();
        });
    });
}

#[test]
fn a_large_tick_leaves_no_memory_allocated() {
    let router = Router::new().get("/", |_, _| {
        let mut bytes = 100;
        Sse::every(Duration::from_secs(1), move |stream| {
            stream.send("x".repeat(bytes));
            bytes = PEAK_BYTES;
        })
    });
    Readers::of(router)
        .assert_falls_back(|simulation, _| simulation.advance(Duration::from_secs(1)));
}

#[test]
fn a_large_render_of_a_topic_leaves_no_memory_allocated() {
    let topic = Topic::new("t");
    let watched = topic.clone();
    let router = Router::new().get("/", move |_, _| Sse::new().subscribe(&watched));
    let mut readers = Readers::of(router);
    readers.simulation.run(|cx| {
        let mut renders = 0;
        let render = move |feed: &mut Feed<'_>| {
            renders += 1;
            feed.send("x".repeat(if renders < 3 { renders } else { PEAK_BYTES }));
        };
        cx.drive(&topic, Duration::from_secs(1), render);
    });
    readers.assert_falls_back(|simulation, _| simulation.advance(Duration::from_secs(1)));
}

#[test]
fn a_large_request_and_its_response_leave_no_memory_allocated() {
    let router = quiet().post("/", |request: &Request, _: &mut Context<'_>| {
        Response::text(Body::from(request.body().to_vec()))
    });
    Readers::of(router).assert_falls_back(|simulation, bytes| {
        let client = simulation.connect();
        simulation.request(client, Method::Post, "/", &[], &vec![b'x'; bytes]);
        simulation.turn();
        simulation.reset(client);
        simulation.turn();
        drop(simulation.take_received(client));
    });
}

#[test]
fn events_published_by_other_threads_leave_no_memory_allocated() {
    let mut reactor = Reactor::new(Router::new()).unwrap();
    let handle = reactor.handle();
    let topic = Topic::new("t").history(10, 1_000);
    let mut publish = |count: usize, bytes: usize| {
        for _ in 0..count {
            handle.publish(&topic, "x".repeat(bytes)).unwrap();
            if bytes > 100 {
                reactor.turn(Some(Duration::ZERO)).unwrap();
            }
        }
        for _ in 0..100 {
            reactor.turn(Some(Duration::ZERO)).unwrap();
        }
    };
    publish(1, 100);
    let before = live_bytes();
    publish(1, PEAK_BYTES);
    publish(60_000, 10);
    let kept = live_bytes().saturating_sub(before);
    assert!(kept < 1_000_000, "{kept} bytes are kept");
}

#[test]
fn a_burst_of_events_on_a_topic_leaves_no_memory_allocated() {
    for topic in [Topic::new("t").history(10, 1_000), Topic::new("t").log(10, 1_000).retain()] {
        let watched = topic.clone();
        let router = Router::new().get("/", move |_, _| Sse::new().subscribe(&watched));
        let mut simulation = Simulation::new(router);
        let client = simulation.get("/");
        drop(simulation.take_received(client));
        let before = live_bytes();
        simulation.run(|cx| {
            for number in 0..20_000 {
                cx.publish(&topic, format_args!("{number}")).unwrap();
            }
        });
        drop(simulation.take_received(client));
        let kept = live_bytes().saturating_sub(before);
        assert!(kept < 50_000, "{kept} bytes are kept");
    }
}

#[test]
fn subscribers_that_have_left_leave_no_memory_allocated() {
    const CROWD: usize = 20_000;
    let topics = ["a", "b", "c", "d"].map(Topic::new);
    let mut simulation = Simulation::new(quiet());
    simulation.crowd(CROWD, "GET / HTTP/1.1");
    // Lists of slots for one turn grow to the number of slots, and stay.
    simulation.run(|cx| to_all(cx, |cx, id| assert!(cx.send(id, "hello"))));
    let before = live_bytes();
    for topic in &topics {
        simulation.run(|cx| to_all(cx, |cx, id| assert!(cx.subscribe(id, topic))));
    }
    let at_peak = live_bytes() - before;
    assert!(at_peak > CROWD * 4 * 16, "{at_peak}");
    for topic in &topics {
        simulation.run(|cx| {
            let mut left = CROWD;
            to_all(cx, |cx, id| {
                left -= 1;
                assert!(left == 0 || cx.unsubscribe(id, topic));
            });
        });
    }
    let kept = live_bytes().saturating_sub(before);
    assert!(kept < 20_000, "{kept} bytes of {at_peak} are kept");
}

#[test]
fn forgotten_topics_leak_nothing() {
    const RUSH: usize = 20_000;
    let mut simulation = Simulation::new(Router::new());
    // Each forgotten topic had a timer, and slots of timers stay.
    simulation.run(|cx| {
        for _ in 0..RUSH {
            cx.after(Duration::from_secs(1), |_| {});
        }
    });
    simulation.advance(Duration::from_secs(2));
    let before = live_bytes();
    simulation.run(|cx| {
        for number in 0..RUSH {
            cx.publish(&Topic::new(format!("room {number}")).retain(), "x").unwrap();
        }
    });
    assert!(live_bytes() - before > RUSH * 200);
    simulation.advance(Duration::from_secs(200));
    let kept = live_bytes().saturating_sub(before);
    assert!(kept < 50_000, "{kept} bytes are kept");
}
