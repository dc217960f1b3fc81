//! The warning for a slow client: which route, tag and topic, and at most one a second.

use std::{cell::RefCell, sync::Once};

use log::{Level, LevelFilter, Log, Metadata, Record};
use starwheel::{
    Config, KeepAlive, Router, Sse, Topic,
    testing::{Client, Faults, Simulation},
};

use crate::story::{faults, ms, secs};

/// Records of this thread, from debug level on, that name a slow client.
struct Collector;

thread_local! {
    static RECORDS: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
}

impl Log for Collector {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let text = record.args().to_string();
        if text.contains("reads too slowly") {
            RECORDS.with_borrow_mut(|records| records.push((record.level(), text)));
        }
    }

    fn flush(&self) {}
}

fn records() -> Vec<(Level, String)> {
    RECORDS.take()
}

/// `GET /rooms/{name}` subscribes to the topic of this name, whose log has two events, with the tag
/// of the query; `/ticks` has an updater.
fn serving(config: Config) -> Simulation {
    static LOGGER: Once = Once::new();
    LOGGER.call_once(|| {
        log::set_logger(&Collector).unwrap();
        log::set_max_level(LevelFilter::Debug);
    });
    records();
    let router = Router::new()
        .get("/rooms/{name}", |req, _| {
            let name = req.param("name").unwrap_or_default().to_owned();
            let sse = Sse::new().subscribe(&room(&name)).keep_alive(KeepAlive::Off);
            match req.query_value("tag") {
                Some(tag) => sse.tag(&*tag),
                None => sse,
            }
        })
        .get("/ticks", |_, _| {
            Sse::every(secs(1), |stream| stream.send("x".repeat(1_000))).tag("t")
        });
    Simulation::with_config(config, 0, router)
}

fn room(name: &str) -> Topic {
    Topic::new(name).log(2, 1 << 20)
}

fn stalled(simulation: &mut Simulation, target: &str) -> Client {
    simulation.set_faults(Faults::default());
    let client = simulation.get(target);
    simulation.stall(client);
    // The kernel takes nothing for clients that do not read.
    simulation.set_faults(faults(|faults| faults.socket_buffer_bytes = 0));
    client
}

fn publish(simulation: &mut Simulation, name: &str, count: usize) {
    for number in 0..count {
        simulation.run(|cx| cx.publish(&room(name), format!("{number}")).unwrap());
    }
}

/// The first client of a simulation.
const PEER: &str = "192.0.2.1:1024";

#[track_caller]
fn assert_one_warning(parts: &[&str]) {
    let records = records();
    let [(Level::Warn, text)] = records.as_slice() else { panic!("{records:?}") };
    let expected = parts.concat();
    assert!(text.starts_with("stream ") && text.ends_with(&expected), "{text:?}\n{expected:?}");
}

#[test]
fn a_client_that_misses_events_is_named_with_route_tag_and_topic() {
    let mut simulation = serving(Config::default());
    stalled(&mut simulation, "/rooms/news?tag=anna");
    publish(&mut simulation, "news", 4);
    assert_one_warning(&[
        &format!(" of /rooms/{{name}} for {PEER} with tag \"anna\": the client reads too slowly"),
        "; it missed events of topic \"news\"",
    ]);
    assert_eq!(simulation.stats().closed.slow, 1);
}

#[test]
fn a_client_without_tag_whose_socket_takes_nothing_is_named_with_the_topic_that_waits() {
    let mut simulation = serving(Config::default());
    stalled(&mut simulation, "/rooms/news");
    publish(&mut simulation, "news", 2);
    simulation.advance(secs(61));
    assert_one_warning(&[
        &format!(" of /rooms/{{name}} for {PEER}: the client reads too slowly"),
        "; 2 events of topic \"news\" wait for it",
    ]);
}

#[test]
fn a_client_without_topics_is_named_with_the_bytes_that_wait() {
    let mut simulation = serving(Config::default());
    stalled(&mut simulation, "/ticks");
    simulation.advance(secs(62));
    assert_one_warning(&[
        &format!(" of /ticks for {PEER} with tag \"t\": the client reads too slowly"),
        "; 1015 bytes are queued",
    ]);
}

#[test]
fn a_client_that_was_sent_too_much_is_named_with_the_bytes_that_wait() {
    let mut config = Config::default();
    config.limits.outbox_bytes = 100;
    let mut simulation = serving(config);
    stalled(&mut simulation, "/rooms/news?tag=a");
    for _ in 0..2 {
        simulation.run(|cx| {
            let id = cx.streams().next().unwrap();
            cx.send(id, "x".repeat(80));
        });
    }
    let records = records();
    assert!(records[0].1.contains(" bytes are queued"), "{records:?}");
}

#[test]
fn a_crowd_of_slow_clients_is_one_warning_a_second_and_a_line_each_for_debugging() {
    let mut simulation = serving(Config::default());
    for _ in 0..100 {
        stalled(&mut simulation, "/rooms/news");
    }
    publish(&mut simulation, "news", 4);
    let all = records();
    assert_eq!((all.len(), simulation.stats().closed.slow), (100, 100));
    assert_eq!(all.iter().filter(|(level, _)| *level == Level::Warn).count(), 1);
    simulation.advance(ms(1_000));
    stalled(&mut simulation, "/rooms/news");
    publish(&mut simulation, "news", 4);
    assert_one_warning(&["\"news\" (and 99 other slow clients since the last warning)"]);
}

#[test]
fn names_cannot_forge_a_line() {
    let mut simulation = serving(Config::default());
    stalled(&mut simulation, "/rooms/a%0d%0ab%1b?tag=c%22%0a%E2%80%AE");
    publish(&mut simulation, "a\r\nb\u{1b}", 4);
    let (_, text) = records().pop().unwrap();
    assert!(text.ends_with(r#"with tag "c\"\n\u{202e}": the client reads too slowly; it missed events of topic "a\r\nb\u{1b}""#), "{text}");
}
