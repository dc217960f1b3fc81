//! Compressed streams end to end: negotiated, joined at any time, decoded by independent decoders.

#[path = "compression/assets.rs"]
mod assets;
#[path = "support/decoders.rs"]
mod decoders;
#[path = "compression/ends.rs"]
mod ends;
#[path = "compression/keep_alives.rs"]
mod keep_alives;
#[path = "support/random.rs"]
mod random;
#[path = "compression/responses.rs"]
mod responses;

use std::{fmt::Write, time::Duration};

use decoders::{decoded, is_whole};
use random::Random;

use starwheel::{
    Config, Context, Encoding, Ending, FirstTick, Method, Request, Response, Router, Sse, Stream,
    StreamCompression, StreamId, Topic,
    testing::{Client, EventParser, Simulation},
};

/// A page of about 10 KB of which a few numbers change.
fn page(version: u32) -> String {
    let mut html = String::from("<table>\n");
    for row in 0..100 {
        let value = if row % 20 == version % 20 { version * 31 + row } else { row };
        let _infallible = writeln!(html, "<tr><td>instrument {row}</td><td>{value}</td></tr>");
    }
    html + "</table>"
}

fn get(simulation: &mut Simulation, target: &str, accept: &str) -> Client {
    let client = simulation.connect();
    let request =
        format!("GET {target} HTTP/1.1\r\nHost: test\r\nAccept-Encoding: {accept}\r\n\r\n");
    simulation.send(client, request.as_bytes());
    simulation.turn();
    client
}

/// Text that nothing compresses well.
fn noise(seed: u64) -> String {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'0' + (state % 64) as u8)
    };
    (0..4000).map(|_| letter()).collect()
}

fn data(simulation: &Simulation, client: Client) -> Vec<String> {
    let bytes = decoded(&simulation.response(client));
    EventParser::read(&bytes).events.into_iter().map(|event| event.data).collect()
}

fn serving(topic: &Topic) -> Simulation {
    let topic = topic.clone();
    Simulation::new(Router::new().get("/", move |_req, _cx| Sse::new().subscribe(&topic)).get(
        "/tick",
        |_req, _cx| {
            let mut version = 0;
            Sse::every(Duration::from_secs(1), move |stream| {
                stream.send(page(version));
                version += 1;
            })
        },
    ))
}

const CODINGS: [&str; 4] = ["zstd", "br", "gzip", "identity"];

#[test]
fn a_stream_that_joins_at_any_time_gets_what_all_get() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    let mut clients = Vec::new();
    for version in 0..12 {
        for coding in CODINGS {
            clients.push((version, coding, get(&mut simulation, "/", coding)));
        }
        simulation.run(|cx| {
            cx.publish(&topic, page(version)).unwrap();
        });
    }
    for (joined, coding, client) in clients {
        let expected: Vec<String> = (joined..12).map(page).collect();
        assert_eq!(data(&simulation, client), expected, "{coding} from {joined} on");
    }
}

#[test]
fn a_delta_is_a_fraction_of_the_page() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    for coding in ["zstd", "br", "gzip"] {
        let client = get(&mut simulation, "/", coding);
        simulation.run(|cx| {
            cx.publish(&topic, page(0)).unwrap();
        });
        simulation.forget_received(client);
        simulation.run(|cx| {
            cx.publish(&topic, page(1)).unwrap();
        });
        let bytes = simulation.received(client).len();
        assert!(bytes < page(1).len() / 20, "{coding}: {bytes} bytes");
    }
}

#[test]
fn a_retained_page_is_a_key_and_the_next_a_delta() {
    let topic = Topic::new("t").retain();
    let mut simulation = serving(&topic);
    simulation.run(|cx| {
        cx.publish(&topic, page(0)).unwrap();
    });
    for coding in CODINGS {
        let client = get(&mut simulation, "/", coding);
        simulation.run(|cx| {
            cx.publish(&topic, page(1)).unwrap();
        });
        simulation.run(|cx| {
            cx.publish(&topic, page(0)).unwrap();
        });
        assert_eq!(data(&simulation, client), [page(0), page(1), page(0)], "{coding}");
    }
}

#[test]
fn events_of_a_streams_own_between_shared_ones() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    let clients = CODINGS.map(|coding| get(&mut simulation, "/", coding));
    let mut expected = Vec::new();
    for version in 0..8 {
        simulation.run(|cx| {
            cx.publish(&topic, page(version)).unwrap();
        });
        expected.push(page(version));
        if version % 3 == 1 {
            simulation.run(|cx| {
                for id in cx.streams().collect::<Vec<_>>() {
                    cx.send(id, "for you alone");
                }
            });
            expected.push("for you alone".into());
        }
    }
    for client in clients {
        assert_eq!(data(&simulation, client), expected);
    }
}

#[test]
fn a_private_stream_refers_to_what_it_has_sent() {
    let mut simulation = serving(&Topic::new("t"));
    for coding in CODINGS {
        let client = get(&mut simulation, "/tick", coding);
        simulation.advance(Duration::from_secs(5));
        let expected: Vec<String> = (0..6).map(page).collect();
        assert_eq!(data(&simulation, client), expected, "{coding}");
        let decoded = decoded(&simulation.response(client));
        assert!(decoded.starts_with(b"data: <table>"), "{coding}: nothing goes before the first");
        if coding != "identity" {
            let all: usize = expected.iter().map(String::len).sum();
            assert!(simulation.response(client).body.len() < all / 4, "{coding}");
        }
        simulation.reset(client);
        simulation.turn();
    }
}

#[test]
fn a_slow_reader_that_was_skipped_ahead_decodes_on() {
    let topic = Topic::new("t").log(2, usize::MAX).backpressure(starwheel::Backpressure::Latest);
    let mut simulation = serving(&topic);
    for coding in CODINGS {
        let client = get(&mut simulation, "/", coding);
        simulation.stall(client);
        // Text that does not compress, so that the kernel's buffer fills.
        for n in 0..60_u64 {
            let noise = noise(n);
            simulation.run(|cx| {
                cx.publish(&topic, format!("{n} {noise}")).unwrap();
            });
        }
        simulation.resume(client);
        simulation.turn();
        for n in 60..63 {
            simulation.run(|cx| {
                cx.publish(&topic, format!("{n} after")).unwrap();
            });
        }
        let got = data(&simulation, client);
        let numbers: Vec<u32> =
            got.iter().map(|text| text.split(' ').next().unwrap().parse().unwrap()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{coding}: {numbers:?}");
        assert!(numbers.len() < 60, "{coding}: no stream was skipped");
        assert_eq!(numbers[numbers.len() - 3..], [60, 61, 62], "{coding}");
        simulation.reset(client);
        simulation.turn();
    }
}

#[test]
fn an_uncompressed_event_is_in_no_history() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    for coding in CODINGS {
        let client = get(&mut simulation, "/", coding);
        let secret = "a token that nobody may guess from lengths";
        for round in 0..2 {
            simulation.run(|cx| {
                cx.publish(&topic, page(round)).unwrap();
                cx.publish_uncompressed(&topic, secret).unwrap();
                cx.publish(&topic, secret).unwrap();
            });
        }
        let expected =
            [page(0), secret.into(), secret.into(), page(1), secret.into(), secret.into()];
        assert_eq!(data(&simulation, client), expected, "{coding}");
        assert!(plain_copies(&simulation, client, secret) >= 2, "{coding}: it leaves as it is");
    }
}

/// On private streams and on those with topics, from updaters and from elsewhere.
#[test]
fn an_event_sent_uncompressed_is_referred_to_by_none() {
    const SECRET: &str = "a token that nobody may guess from lengths";
    const OTHER: &str = "another one, of the same number of letters";
    let topic = Topic::new("t");
    let subscribed = topic.clone();
    let router = Router::new()
        .get("/private", |_req, _cx| {
            let mut version = 0;
            Sse::every(SECOND, move |stream| {
                version += 1;
                stream.send(page(version));
                stream.send_uncompressed(SECRET);
                stream.send(page(version + 1));
            })
        })
        .get("/shared", move |_req, _cx| Sse::new().subscribe(&subscribed));
    let mut simulation = Simulation::new(router);
    for coding in CODINGS {
        let client = get(&mut simulation, "/private", coding);
        simulation.advance(SECOND);
        for_all_streams(&mut simulation, |cx, id| {
            cx.send_uncompressed(id, SECRET);
            cx.send(id, page(4));
        });
        let expected = [page(1), SECRET.into(), page(2), page(2), SECRET.into(), page(3)];
        let expected = [&expected[..], &[SECRET.into(), page(4)]].concat();
        assert_eq!(data(&simulation, client), expected, "{coding}");
        assert_eq!(plain_copies(&simulation, client, SECRET), 3, "{coding}: all leave as they are");
        if coding != "identity" {
            let bytes = simulation.received(client).len();
            assert!(bytes < page(1).len() / 2, "{coding}: {bytes} bytes, so pages are deltas");
        }
        simulation.reset(client);
        simulation.turn();
    }
    for coding in CODINGS {
        let clients = [(); 2].map(|()| get(&mut simulation, "/shared", coding));
        for (version, secrets) in [(0, [SECRET, OTHER]), (1, [SECRET, OTHER]), (2, [OTHER, SECRET])]
        {
            simulation.run(|cx| {
                cx.publish(&topic, page(version)).unwrap();
            });
            simulation.run(|cx| {
                let ids: Vec<StreamId> = cx.streams().collect();
                for (id, secret) in ids.into_iter().zip(secrets) {
                    cx.send_uncompressed(id, secret);
                }
            });
        }
        let before = clients.map(|client| simulation.received(client).len());
        simulation.run(|cx| {
            cx.publish(&topic, SECRET).unwrap();
        });
        let [one, other] = clients.map(|client| data(&simulation, client));
        assert_eq!(
            one,
            [&page(0)[..], SECRET, &page(1), SECRET, &page(2), OTHER, SECRET],
            "{coding}"
        );
        assert_eq!(other, [&page(0), OTHER, &page(1), OTHER, &page(2), SECRET, SECRET], "{coding}");
        let [one, other] = clients.map(|client| simulation.received(client));
        assert_eq!(one[before[0]..], other[before[1]..], "{coding}: secrets make no difference");
        for client in clients {
            simulation.reset(client);
        }
        simulation.turn();
    }
}

fn for_all_streams(simulation: &mut Simulation, act: impl Fn(&mut Context<'_>, StreamId)) {
    simulation.run(|cx| {
        for id in cx.streams().collect::<Vec<_>>() {
            act(cx, id);
        }
    });
}

/// How often a text occurs uncompressed in the coded bytes.
fn plain_copies(simulation: &Simulation, client: Client, text: &str) -> usize {
    let body = simulation.response(client).body;
    body.windows(text.len()).filter(|part| *part == text.as_bytes()).count()
}

#[test]
fn the_client_decides_and_the_stream_may_refuse() {
    let router = Router::new()
        .get("/", |_req: &Request, _cx| Sse::new().send("x"))
        .get("/off", |_req: &Request, _cx| {
            Sse::new().send("x").compression(StreamCompression::Off)
        });
    let mut simulation = Simulation::new(router);
    for (target, accept, coding) in [
        ("/", "gzip, deflate, br, zstd", Some("zstd")),
        ("/", "zstd;q=0, gzip", Some("gzip")),
        ("/", "gzip;q=0.5, br", Some("br")),
        ("/", "deflate", None),
        ("/", "", None),
        ("/off", "zstd", None),
    ] {
        let client = get(&mut simulation, target, accept);
        let answer = simulation.response(client);
        assert_eq!(answer.header("content-encoding"), coding, "{target} {accept}");
        assert_eq!(answer.header("vary"), Some("Accept-Encoding"));
        assert_eq!(data(&simulation, client), ["x"]);
    }
}

/// Found by fuzzing: only the first field was read (RFC 9110, section 5.3).
#[test]
fn several_fields_of_accept_encoding_are_one_list() {
    let router = Router::new()
        .get("/", |_req: &Request, _cx| Sse::new().send("x"))
        .get("/response", |_req: &Request, _cx| Response::text("x".repeat(2000)));
    let mut simulation = Simulation::new(router);
    for target in ["/", "/response"] {
        let client = simulation.connect();
        let fields = [("Accept-Encoding", "zstd;q=0"), ("Accept-Encoding", "br;q=0.5, gzip")];
        simulation.request(client, Method::Get, target, &fields, b"");
        simulation.turn();
        let answer = simulation.response(client);
        assert_eq!(answer.header("content-encoding"), Some("gzip"), "{target}");
    }
}

/// Neither the rest of its line nor another line.
#[test]
fn a_member_of_accept_encoding_that_is_not_text_hides_no_other() {
    let mut simulation = Simulation::new(|_: &Request, _: &mut Context<'_>| Sse::new().send("x"));
    let client = simulation.connect();
    simulation.send(
        client,
        b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: \xff, gzip\r\nAccept-Encoding: zstd;q=\xb2\r\n\r\n",
    );
    simulation.turn();
    assert_eq!(simulation.response(client).header("content-encoding"), Some("gzip"));
}

#[test]
fn compression_can_be_switched_off() {
    let mut config = Config::default();
    config.compression.preference = vec![Encoding::Identity];
    let router = Router::new().get("/", |_req: &Request, _cx| Sse::new().send("x"));
    let mut simulation = Simulation::with_config(config, 0, router);
    let client = get(&mut simulation, "/", "zstd, gzip");
    assert_eq!(simulation.response(client).header("content-encoding"), None);
    assert_eq!(simulation.response(client).header("vary"), None);
}

#[test]
fn after_the_last_topic_is_left_private_events_are_compressed_again() {
    for coding in ["zstd", "br", "gzip"] {
        let topics = ["a", "b"].map(Topic::new);
        let mut simulation = serving(&topics[0]);
        let client = get(&mut simulation, "/", coding);
        let id = only(&mut simulation);
        simulation.run(|cx| assert!(cx.subscribe(id, &topics[1])));
        simulation.run(|cx| assert!(cx.unsubscribe(id, &topics[0])));
        let sent = private_pages(&mut simulation, client, id, 0);
        assert!(sent > 10 * page(0).len(), "{coding}: stored while there is a topic, {sent} bytes");
        simulation.run(|cx| assert!(cx.unsubscribe(id, &topics[1])));
        let sent = private_pages(&mut simulation, client, id, 20);
        assert!(sent < 2 * page(0).len(), "{coding}: {sent} bytes for twenty pages");
    }
}

/// Sends twenty pages and returns their number of bytes.
fn private_pages(simulation: &mut Simulation, client: Client, id: StreamId, first: u32) -> usize {
    let before = simulation.received(client).len();
    for version in first..first + 20 {
        simulation.run(|cx| assert!(cx.send(id, page(version))));
    }
    simulation.received(client).len() - before
}

fn only(simulation: &mut Simulation) -> StreamId {
    let mut found = None;
    simulation.run(|cx| found = cx.streams().next());
    found.expect("a stream is open")
}

#[test]
fn topics_may_be_joined_and_left_at_any_time() {
    for (coding, seed) in CODINGS.into_iter().flat_map(|coding| (0..30).map(move |it| (coding, it)))
    {
        let mut random = Random::new(seed);
        let mut config = Config::default();
        config.compression.history_bytes = random.pick(&[0, 300, 32 * 1024]);
        let router = Router::new().get("/", |_, _| Sse::new());
        let mut simulation = Simulation::with_config(config, 0, router);
        let client = get(&mut simulation, "/", coding);
        let (id, topic) = (only(&mut simulation), Topic::new("t"));
        let mut expected = Vec::new();
        for version in 0..30 {
            // Some start with a match at a distance that a decoder has at the start of a frame.
            let near = ["a", "abcd", "abcdefgh"].map(|it| it.repeat(20 + version as usize));
            let text =
                if random.percent(50) { page(version) } else { near[random.below(3)].clone() };
            let mut is_sent = false;
            if random.percent(20) {
                simulation.advance(random.pick(&[16, 31, 46, 61, 400]) * SECOND);
            }
            simulation.run(|cx| match random.below(5) {
                0 => {
                    cx.subscribe(id, &topic);
                }
                1 => {
                    cx.unsubscribe(id, &topic);
                }
                2 => is_sent = cx.send(id, &text),
                3 => is_sent = cx.send_uncompressed(id, &text),
                _ => {
                    is_sent = cx.subscribers(&topic) == 1;
                    cx.publish(&topic, &text).unwrap();
                }
            });
            expected.extend(is_sent.then_some(text));
        }
        simulation.run(|cx| assert!(cx.close(id, Ending::Finish)));
        assert_eq!(data(&simulation, client), expected, "{coding}, seed {seed}");
        assert!(is_whole(&simulation.response(client)), "{coding}, seed {seed}");
    }
}

/// A new stream whose hook sends to the others, as in a chat, and whose updater does so immediately
/// too.
#[test]
fn a_stream_that_sends_to_others_when_it_opens_gets_none_of_their_bytes() {
    for coding in CODINGS {
        let greeter = |who: &'static str| {
            move |stream: &mut Stream<'_>| {
                stream.send(format_args!("{who}: welcome"));
                let mut cx = stream.context();
                let everybody: Vec<StreamId> = cx.streams().collect();
                for id in everybody {
                    cx.send(id, format_args!("{who}: somebody has come"));
                }
            }
        };
        let router = Router::new().get("/", move |_, _| {
            Sse::every(Duration::from_secs(3600), greeter("updater"))
                .first_tick(FirstTick::Now)
                .on_connect(greeter("hook"))
        });
        let mut simulation = Simulation::new(router);
        let (first, second) =
            (get(&mut simulation, "/", coding), get(&mut simulation, "/", coding));
        let [to_all_of_hook, to_all_of_updater] =
            ["hook", "updater"].map(|who| format!("{who}: somebody has come"));
        let alone = ["hook: welcome", &to_all_of_hook, "updater: welcome", &to_all_of_updater];
        assert_eq!(data(&simulation, second), alone, "{coding}");
        let with_second = [&alone[..], &[&to_all_of_hook, &to_all_of_updater]].concat();
        assert_eq!(data(&simulation, first), with_second, "{coding}");
    }
}

const SECOND: Duration = Duration::from_secs(1);
