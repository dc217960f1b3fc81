//! Keep-alives of compressed streams: comments and events that clients see, and that later events
//! allow for.

use std::time::Duration;

use starwheel::{
    CompressionCounts, KeepAlive, Request, Router, Sse, Topic,
    testing::{Client, EventParser, Simulation},
};

use super::{CODINGS, SECOND, decoded, for_all_streams, get, page};

/// Streams of a topic, with `?s=n` for the interval of keep-alives in seconds, and `?as=event` for
/// events instead of comments; and private ones that send a page each time their updater runs, once
/// a minute.
fn serving(topic: &Topic) -> Simulation {
    let topic = topic.clone();
    let router = Router::new()
        .get("/", move |req, _cx| Sse::new().subscribe(&topic).keep_alive(keep_alive(req)))
        .get("/silent", |_req, _cx| Sse::new())
        .get("/private", |req, _cx| {
            let mut version = 0;
            let pages = Sse::every(60 * SECOND, move |stream| {
                stream.send(page(version));
                version += 1;
            });
            pages.keep_alive(keep_alive(req))
        });
    Simulation::new(router)
}

fn keep_alive(req: &Request) -> KeepAlive {
    let interval = req.query_value("s").map_or(15, |text| text.parse().unwrap());
    let interval = Duration::from_secs(interval);
    match req.query_value("as").as_deref() {
        Some("event") => KeepAlive::Event(interval),
        _ => KeepAlive::Every(interval),
    }
}

const KINDS: [&str; 2] = ["comment", "event"];

/// The data of all events but keep-alives.
fn data(simulation: &Simulation, client: Client) -> Vec<String> {
    let bytes = decoded(&simulation.response(client));
    let events = EventParser::read(&bytes).events.into_iter();
    events.filter(|event| event.name != "keep-alive").map(|event| event.data).collect()
}

/// How many keep-alive events a client has seen.
fn heartbeats(simulation: &Simulation, client: Client) -> usize {
    let bytes = decoded(&simulation.response(client));
    let events = EventParser::read(&bytes).events.into_iter();
    events.filter(|event| event.name == "keep-alive").count()
}

fn publish(simulation: &mut Simulation, topic: &Topic, version: u32) {
    simulation.run(|cx| {
        cx.publish(topic, page(version)).unwrap();
    });
}

/// How many comments a client has seen, by bytes that are nothing but keep-alives.
fn comments(simulation: &Simulation, client: Client) -> usize {
    let decoded = decoded(&simulation.response(client));
    String::from_utf8(decoded).unwrap().lines().filter(|line| *line == ":").count()
}

/// A block that decodes to nothing reaches neither a watchdog in the page nor clients of a proxy
/// that decompresses.
#[test]
fn a_keep_alive_is_a_comment_in_every_coding() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    for coding in CODINGS {
        let streams =
            ["/", "/silent", "/private"].map(|target| get(&mut simulation, target, coding));
        publish(&mut simulation, &topic, 0);
        // A silent stream begins with one.
        let begun_with = streams.map(|client| comments(&simulation, client));
        simulation.advance(40 * SECOND);
        for (client, begun_with) in streams.into_iter().zip(begun_with) {
            assert_eq!(comments(&simulation, client), begun_with + 2, "{coding}");
            assert!(decoded(&simulation.response(client)).ends_with(b":\n:\n"), "{coding}");
            simulation.reset(client);
        }
        simulation.turn();
    }
}

#[test]
fn keep_alive_events_are_whole_and_leave_the_position_in_every_coding() {
    for topic in
        [Topic::new("t").history(10, 1 << 20), Topic::new("t").history(10, 1 << 20).retain()]
    {
        let mut simulation = serving(&topic);
        publish(&mut simulation, &topic, 0);
        let clients = CODINGS.map(|coding| get(&mut simulation, "/?as=event", coding));
        for version in 1..6 {
            simulation.advance(u32::from(version != 3) * 20 * SECOND);
            publish(&mut simulation, &topic, version);
        }
        simulation.advance(100 * SECOND);
        let seen = clients.map(|client| {
            let bytes = decoded(&simulation.response(client));
            assert!(bytes.ends_with(b"event: keep-alive\ndata:\n\n"));
            let events = EventParser::read(&bytes).events;
            let mut position = None;
            for event in &events {
                if event.name == "keep-alive" {
                    assert_eq!(event.data, "");
                    let before = position.get_or_insert_with(|| event.last_event_id.clone());
                    assert_eq!(*before, event.last_event_id, "it has no id of its own");
                }
                position = Some(event.last_event_id.clone());
            }
            events
        });
        let identity = &seen[CODINGS.iter().position(|it| *it == "identity").unwrap()];
        assert!(identity.iter().any(|event| event.name == "keep-alive"));
        for (events, coding) in seen.iter().zip(CODINGS) {
            assert_eq!(events, identity, "{coding}");
        }
    }
}

#[test]
fn events_after_any_number_of_keep_alives_arrive_as_they_were_sent() {
    for retains in [false, true] {
        let topic = if retains { Topic::new("t").retain() } else { Topic::new("t") };
        let mut simulation = serving(&topic);
        let mut clients = Vec::new();
        let mut published = 0;
        // An hour's quiet last.
        for quiet in [0, 1, 2, 3, 4, 5, 240] {
            for (coding, kind) in CODINGS.into_iter().flat_map(|it| KINDS.map(|kind| (it, kind))) {
                let client = get(&mut simulation, &format!("/?as={kind}"), coding);
                let seen = if retains { 1 } else { 0 };
                clients.push((client, coding, published.max(seen) - seen));
            }
            publish(&mut simulation, &topic, published);
            publish(&mut simulation, &topic, published + 1);
            published += 2;
            simulation.advance(quiet * 15 * SECOND + SECOND);
        }
        publish(&mut simulation, &topic, published);
        for (client, coding, from) in clients {
            let expected: Vec<String> = (from..=published).map(page).collect();
            assert_eq!(data(&simulation, client), expected, "{coding} from {from} on");
        }
    }
}

#[test]
fn streams_with_different_intervals_follow_one_topic() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    let mut clients = Vec::new();
    for version in 0..12 {
        for (coding, kind) in CODINGS.into_iter().flat_map(|it| KINDS.map(|kind| (it, kind))) {
            let target = format!("/?as={kind}&s={}", 2 + 3 * (version % 5));
            clients.push((get(&mut simulation, &target, coding), coding, version));
        }
        publish(&mut simulation, &topic, version);
        simulation.advance(Duration::from_millis(u64::from(version) * 1_777));
    }
    for (client, coding, from) in clients {
        let expected: Vec<String> = (from..12).map(page).collect();
        assert_eq!(data(&simulation, client), expected, "{coding} from {from} on");
    }
}

#[test]
fn private_events_before_and_after_keep_alives_are_part_of_the_history() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    let clients = CODINGS
        .map(|coding| KINDS.map(|kind| get(&mut simulation, &format!("/?as={kind}"), coding)));
    let mut expected = Vec::new();
    for (version, pauses) in [[0, 20], [20, 0], [20, 20], [100, 0], [0, 100]].iter().enumerate() {
        for (pause, text) in pauses.iter().zip(["for you alone", "and for you again"]) {
            simulation.advance(*pause * SECOND);
            for_all_streams(&mut simulation, |cx, id| {
                cx.send(id, text);
            });
            expected.push(text.to_owned());
        }
        publish(&mut simulation, &topic, version as u32);
        publish(&mut simulation, &topic, version as u32 + 1);
        expected.extend([page(version as u32), page(version as u32 + 1)]);
    }
    for (clients, coding) in clients.into_iter().zip(CODINGS) {
        for (client, kind) in clients.into_iter().zip(KINDS) {
            assert_eq!(data(&simulation, client), expected, "{coding}, {kind}");
        }
    }
}

#[test]
fn a_private_stream_refers_to_what_it_sent_before_its_keep_alives() {
    let mut simulation = serving(&Topic::new("t"));
    for (coding, kind) in CODINGS.into_iter().flat_map(|it| KINDS.map(|kind| (it, kind))) {
        let client = get(&mut simulation, &format!("/private?as={kind}"), coding);
        simulation.advance(301 * SECOND);
        let expected: Vec<String> = (0..6).map(page).collect();
        assert_eq!(data(&simulation, client), expected, "{coding}");
        match kind {
            "comment" => assert_eq!(comments(&simulation, client), 15, "three a minute"),
            _ => assert_eq!(heartbeats(&simulation, client), 20, "four a minute"),
        }
        if coding != "identity" {
            let bytes = simulation.received(client).len();
            let kept_alive = 40 * heartbeats(&simulation, client);
            let pages_bytes_max = page(0).len() / 2;
            assert!(bytes - kept_alive < pages_bytes_max, "{coding}: {bytes} bytes, so deltas");
        }
        simulation.reset(client);
        simulation.turn();
    }
}

/// The cost of the first publish after a pause: one piece for each number of keep-alives up to
/// three, and one key for all streams with more.
#[test]
fn quiet_streams_share_one_piece_by_the_number_of_their_keep_alives() {
    let topic = Topic::new("t");
    let made = |quiet: u32, intervals: &[u64], kinds: &[&str]| {
        let mut simulation = serving(&topic);
        for crowd in 0..30_usize {
            let kind = kinds[crowd % kinds.len()];
            let target = format!("/?as={kind}&s={}", intervals[crowd % intervals.len()]);
            get(&mut simulation, &target, "zstd");
        }
        publish(&mut simulation, &topic, 0);
        publish(&mut simulation, &topic, 1);
        simulation.advance(quiet * SECOND);
        let before = simulation.stats().compression;
        publish(&mut simulation, &topic, 2);
        let after = simulation.stats().compression;
        let since = |count: fn(&CompressionCounts) -> u64| count(&after) - count(&before);
        (since(|counts| counts.deltas), since(|counts| counts.keys))
    };
    for quiet in [0, 16, 31, 46] {
        for kind in KINDS {
            assert_eq!(made(quiet, &[15], &[kind]), (1, 0), "{quiet} s");
        }
    }
    for kind in KINDS {
        assert_eq!(made(61, &[15], &[kind]), (0, 1));
        assert_eq!(made(3601, &[15], &[kind]), (0, 1));
        let made_by_number = made(46, &[15, 20, 45, 50, 10], &[kind]);
        assert_eq!(made_by_number, (4, 1), "3, 2, 1, 0 and 4 keep-alives");
        assert_eq!(made(46, &[1, 2, 3], &[kind]), (0, 1));
    }
    assert_eq!(made(46, &[15, 20, 45, 50, 10], &KINDS), (7, 1), "as documented");
    assert_eq!(made(0, &[15], &KINDS), (1, 0), "no keep-alives are the same for both");
    assert_eq!(made(16, &[15], &KINDS), (2, 0));
}
