//! The hot paths of the engine, each as a program of its own over a network in memory.
//!
//! A path is prepared once and then run any number of times; what a run costs is what is
//! measured: instructions by `benches/density/instructions`, time by `cargo bench`, both by
//! `density million` as the number of streams grows.

use std::{hint::black_box, time::Duration};

use starwheel::{
    Config, EventBuffer, Method, Response, Router, Sse, Topic, datastar::PatchElements,
    testing::Simulation,
};

/// One hot path, ready to run.
pub struct Path {
    run: Box<dyn FnMut()>,
    /// How many of what is counted one run does.
    pub operations: u64,
}

impl Path {
    pub fn run(&mut self) {
        (self.run)();
    }
}

/// Name, what one operation is, and how to prepare it for so many streams.
pub type Named = (&'static str, &'static str, fn(usize) -> Path);

pub const PATHS: [Named; if cfg!(feature = "dashboard") { 9 } else { 8 }] = [
    ("tick", "tick of 100 bytes", tick),
    ("delivery", "delivery of 100 bytes", delivery),
    ("delivery-zstd", "delivery of a compressed page of 20 KB", delivery_zstd),
    ("request", "plain request and its response", request),
    ("birth", "connection accepted, stream begun, head sent", birth),
    ("mixed", "tick or delivery, of 10,000 streams over 50 routes and 1,000 topics", mixed),
    #[cfg(feature = "dashboard")]
    ("watched", "second of a viewer of the dashboard, for 1,000 of 10,000 streams", watched),
    ("encode", "event of 100 bytes, in a buffer of its own", encode),
    ("encode-page", "patch-elements event of 20 KB, in a buffer of its own", encode_page),
];

/// A simulation with room for its streams, as a server would have that knows its size.
pub fn simulation(streams: usize, router: Router) -> Simulation {
    let mut config = Config::default();
    config.expected_connections = Some(streams);
    config.keep_alive = None;
    Simulation::with_config(config, 0, router)
}

/// Each stream has an updater of its own, once a second; their phases are spread over [`PHASES`]
/// instants, as those of clients that came one after the other.
pub fn ticking(streams: usize) -> Simulation {
    let router = Router::new().get("/tick", |_req, _cx| {
        // As many digits as a time in nanoseconds has.
        let mut count = 10_u64.pow(18);
        Sse::every(SECOND, move |stream| {
            count += 1;
            stream.send(format_args!("{count} {PADDING}"));
        })
    });
    let mut simulation = simulation(streams, router);
    for phase in 0..PHASES {
        let share = streams * (phase + 1) / PHASES - streams * phase / PHASES;
        simulation.crowd(share, "GET /tick HTTP/1.1");
        simulation.advance(SECOND / PHASES as u32);
    }
    simulation
}

pub fn subscribed(streams: usize, topic: &Topic, head: &str) -> Simulation {
    let watched = topic.clone();
    let router = Router::new().get("/topic", move |_req, _cx| Sse::new().subscribe(&watched));
    let mut simulation = simulation(streams, router);
    simulation.crowd(streams, head);
    simulation
}

fn tick(streams: usize) -> Path {
    let mut simulation = ticking(streams);
    let run = move || {
        let before = simulation.crowd_writes();
        simulation.advance(SECOND);
        assert_eq!(simulation.crowd_writes() - before, streams as u64);
    };
    Path { run: Box::new(run), operations: streams as u64 }
}

fn delivery(streams: usize) -> Path {
    let topic = Topic::new("news");
    let mut simulation = subscribed(streams, &topic, "GET /topic HTTP/1.1");
    let run = move || {
        let before = simulation.crowd_writes();
        simulation.run(|cx| {
            cx.publish(&topic, PADDING).unwrap();
        });
        assert_eq!(simulation.crowd_writes() - before, streams as u64);
    };
    Path { run: Box::new(run), operations: streams as u64 }
}

/// The page is compressed once for all of them; what that costs is part of each one's share.
fn delivery_zstd(streams: usize) -> Path {
    let topic = Topic::new("page");
    let head = "GET /topic HTTP/1.1\r\nAccept-Encoding: zstd";
    let mut simulation = subscribed(streams, &topic, head);
    let mut version = 0;
    let run = move || {
        version += 1;
        let before = simulation.crowd_writes();
        let page = page(version);
        simulation.run(|cx| {
            cx.publish(&topic, PatchElements::new(&page)).unwrap();
        });
        assert!(simulation.crowd_writes() - before >= streams as u64);
    };
    Path { run: Box::new(run), operations: streams as u64 }
}

/// One connection asks again and again.
fn request(_streams: usize) -> Path {
    let router = Router::new().get("/hello", |_req, _cx| Response::text("Hello, World!"));
    let mut simulation = simulation(1, router);
    let client = simulation.connect();
    let run = move || {
        simulation.request(client, Method::Get, "/hello", &[("Accept", "*/*")], b"");
        simulation.turn();
        assert!(simulation.writes(client) > 0);
        simulation.forget_received(client);
    };
    Path { run: Box::new(run), operations: 1 }
}

/// Streams that come; those of earlier runs stay.
fn birth(_streams: usize) -> Path {
    let router = Router::new().get("/idle", |_req, _cx| Sse::new());
    let mut simulation = simulation(BIRTHS_ROOM, router);
    let run = move || simulation.crowd(BIRTHS, "GET /idle HTTP/1.1\r\nAccept: text/event-stream");
    Path { run: Box::new(run), operations: BIRTHS as u64 }
}

/// Each stream ticks once and gets one event of its topic. A hundred topics are listed in the
/// statistics, which are copied for other threads.
fn mixed(_streams: usize) -> Path {
    let topics: Vec<_> = (0..TOPICS).map(|number| Topic::new(format!("topic {number}"))).collect();
    let listed = |topic: &Topic| topic.clone().metrics();
    let topics: Vec<_> = topics[..100].iter().map(listed).chain(topics[100..].to_vec()).collect();
    let mut router = Router::new();
    for route in 0..ROUTES {
        let (topics, mut next) = (topics.clone(), route);
        router = router.get(&format!("/route-{route}/{{id}}"), move |_req, _cx| {
            next += ROUTES;
            Sse::every(SECOND, |stream| stream.send(PADDING)).subscribe(&topics[next % TOPICS])
        });
    }
    let mut simulation = simulation(MIXED, router);
    let handle = simulation.handle();
    for phase in 0..PHASES {
        let head = format!("GET /route-{}/{phase} HTTP/1.1", phase % ROUTES);
        simulation.crowd(MIXED / PHASES, &head);
        simulation.advance(SECOND / PHASES as u32);
    }
    let run = move || {
        let before = simulation.crowd_writes();
        for topics in topics.chunks(TOPICS / PHASES) {
            simulation.run(|cx| {
                for topic in topics {
                    cx.publish(topic, PADDING).unwrap();
                }
            });
            simulation.advance(SECOND / PHASES as u32);
        }
        assert_eq!(simulation.crowd_writes() - before, 2 * MIXED as u64);
        assert_eq!(handle.stats().streams, MIXED as u64);
    };
    Path { run: Box::new(run), operations: 2 * MIXED as u64 }
}

/// Streams that do nothing, so that all that is counted is for the viewer: the snapshot, and the walk
/// that looks for slow clients.
#[cfg(feature = "dashboard")]
fn watched(_streams: usize) -> Path {
    let router =
        Router::new().get("/idle", |_req, _cx| Sse::new()).get("/ops", starwheel::dashboard());
    let mut simulation = simulation(MIXED, router);
    simulation.crowd(MIXED, "GET /idle HTTP/1.1");
    let viewer = simulation.connect();
    let accept = [("Accept", "text/event-stream")];
    simulation.request(viewer, Method::Get, "/ops", &accept, b"");
    // Until the past that is kept has its full length.
    simulation.advance(301 * SECOND);
    simulation.forget_received(viewer);
    let run = move || {
        let before = simulation.writes(viewer);
        simulation.advance(WATCHED_SECONDS * SECOND);
        assert_eq!(simulation.writes(viewer) - before, u64::from(WATCHED_SECONDS));
        simulation.forget_received(viewer);
    };
    Path { run: Box::new(run), operations: u64::from(WATCHED_SECONDS) * MIXED as u64 / 1_000 }
}

fn encode(_streams: usize) -> Path {
    let run = || {
        let mut buffer = EventBuffer::new();
        buffer.push(black_box(PADDING));
        black_box(buffer.as_bytes());
    };
    Path { run: Box::new(run), operations: 1 }
}

fn encode_page(_streams: usize) -> Path {
    let page = page(1);
    let run = move || {
        let mut buffer = EventBuffer::new();
        buffer.push(&PatchElements::new(black_box(&page)));
        black_box(buffer.as_bytes());
    };
    Path { run: Box::new(run), operations: 1 }
}

/// A table of 200 rows, ten of which differ from one version to the next.
fn page(version: usize) -> String {
    let rows = (0..200).map(|row| {
        let changes = (version + row) / 20;
        format!(
            "<tr id=\"row-{row}\"><td class=\"name\">instrument {row:03}</td>\
             <td class=\"value\">{}</td><td class=\"unit\">units</td></tr>\n",
            (row * 7919 + changes * 104_729) % 10_000
        )
    });
    format!("<table id=\"dashboard\">\n{}</table>", rows.collect::<String>())
}

pub const PHASES: usize = 100;
const SECOND: Duration = Duration::from_secs(1);
const MIXED: usize = 10_000;
#[cfg(feature = "dashboard")]
const WATCHED_SECONDS: u32 = 100;
const ROUTES: usize = 50;
const TOPICS: usize = 1_000;
const BIRTHS: usize = 1000;
const BIRTHS_ROOM: usize = 100_000;
/// With the digits of a tick's count and the framing, an event of 100 bytes.
const PADDING: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
