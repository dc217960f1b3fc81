//! The end of a coding: complete when a stream is finished, visibly cut when it is not.

use std::{cell::RefCell, rc::Rc, time::Duration};

use starwheel::{
    Backpressure, Context, Ending, KeepAlive, Next, Router, Sse, StreamId, Topic,
    testing::{BodyEnd, Client, Simulation},
};

use super::{
    CODINGS, SECOND,
    decoders::{decoded, is_whole},
    get, noise, page,
};

/// The decoders of some clients (Python's httpx) treat a zstd frame without its last block as a cut
/// stream. Python's gzip, Java, Ruby and `gzip -t` need the trailer of RFC 1952.
#[test]
fn a_finished_stream_ends_what_its_decoder_reads() {
    let topic = Topic::new("t");
    let subscribed = topic.clone();
    let router = Router::new()
        .get("/once", |_req, _cx| Sse::new().send(page(1)).ending(Ending::Finish))
        .get("/empty", |_req, _cx| Sse::new().ending(Ending::Finish))
        .get("/ticks", |_req, _cx| three_pages())
        .get("/silent", |_req, _cx| Sse::every(SECOND, |_stream| Next::Finish))
        .get("/topic", move |_req, _cx| three_pages().subscribe(&subscribed));
    let mut simulation = Simulation::new(router);
    for target in ["/once", "/empty", "/ticks", "/silent", "/topic"] {
        for coding in CODINGS {
            let client = get(&mut simulation, target, coding);
            for version in 0..4 {
                simulation.run(|cx| {
                    cx.publish(&topic, page(version)).unwrap();
                });
                simulation.advance(SECOND);
            }
            assert_finished(&simulation, client, coding);
        }
    }
}

fn three_pages() -> Sse {
    let mut version = 0;
    Sse::every(SECOND, move |stream| {
        version += 1;
        stream.send(page(version));
        if version == 3 { Next::Finish } else { Next::Again }
    })
}

/// All decoded bytes count in the trailer of gzip, in whatever form they were sent.
#[test]
fn the_end_counts_all_that_a_stream_was_sent() {
    let topics = ["a", "b"].map(Topic::new);
    let mut stage = Stage::new(&topics, Backpressure::Disconnect);
    for coding in CODINGS {
        let early = stage.join("/", coding);
        stage.publish(&topics[0], 0);
        let late = stage.join("/?as=event", coding);
        stage.publish(&topics[0], 1);
        for &(_, id) in &[early, late] {
            stage.simulation.run(|cx| {
                cx.send(id, "for you alone");
                cx.send_uncompressed(id, "a secret");
            });
        }
        stage.publish(&topics[1], 2);
        stage.simulation.advance(Duration::from_secs(100));
        stage.simulation.run(|cx| {
            cx.publish_uncompressed(&topics[0], "a secret of all").unwrap();
            cx.publish(&topics[0], page(3)).unwrap();
            cx.publish(&topics[1], page(4)).unwrap();
        });
        stage.simulation.run(|cx| {
            cx.unsubscribe(early.1, &topics[0]);
            cx.send(early.1, "after a topic");
            cx.publish(&topics[0], page(5)).unwrap();
            for (_, id) in [early, late] {
                cx.close(id, Ending::Finish);
            }
        });
        for (client, _) in [early, late] {
            assert_finished(&stage.simulation, client, coding);
        }
    }
}

#[test]
fn the_end_counts_what_was_queued_for_a_slow_reader() {
    let topics = ["t"].map(|name| Topic::new(name).log(3, usize::MAX));
    for policy in [Backpressure::Latest, Backpressure::DropOldest] {
        let topics = topics.clone().map(|topic| topic.backpressure(policy));
        for coding in CODINGS {
            let mut stage = Stage::new(&topics, policy);
            let (client, id) = stage.join("/", coding);
            stage.simulation.stall(client);
            for n in 0..60 {
                let noise = noise(n);
                stage.simulation.run(|cx| {
                    cx.publish(&topics[0], format!("{n} {noise}")).unwrap();
                });
            }
            stage.simulation.run(|cx| {
                cx.send(id, "sent while it was blocked");
                cx.close(id, Ending::Finish);
            });
            stage.simulation.resume(client);
            stage.simulation.turn();
            assert_finished(&stage.simulation, client, coding);
        }
    }
}

/// A drop is not an end, and no client may treat it as one.
#[test]
fn a_dropped_stream_is_seen_to_be_cut() {
    let mut stage = Stage::new(&[Topic::new("t")], Backpressure::Disconnect);
    for coding in CODINGS.into_iter().filter(|coding| *coding != "identity") {
        let (client, id) = stage.join("/", coding);
        stage.simulation.run(|cx| {
            cx.send(id, "an event");
            cx.close(id, Ending::Drop);
        });
        let answer = stage.simulation.response(client);
        assert_eq!(answer.end, BodyEnd::Open, "{coding}");
        assert!(!is_whole(&answer), "{coding}");
        assert!(decoded(&answer).ends_with(b"data: an event\n\n"), "{coding}");
    }
}

fn assert_finished(simulation: &Simulation, client: Client, coding: &str) {
    let answer = simulation.response(client);
    let named = answer.header("content-encoding").unwrap_or("identity");
    assert_eq!((named, answer.end), (coding, BodyEnd::Complete));
    assert!(is_whole(&answer), "{coding}: {} bytes", answer.body.len());
}

/// A server whose streams are known by id.
struct Stage {
    simulation: Simulation,
    ids: Rc<RefCell<Vec<StreamId>>>,
}

impl Stage {
    fn new(topics: &[Topic], backpressure: Backpressure) -> Self {
        let topics: Vec<Topic> =
            topics.iter().map(|topic| topic.clone().backpressure(backpressure)).collect();
        let ids = Rc::new(RefCell::new(Vec::new()));
        let born = Rc::clone(&ids);
        let router = Router::new().get("/", move |req, _cx: &mut Context<'_>| {
            let born = Rc::clone(&born);
            let sse = topics.iter().fold(Sse::new(), |sse, topic| sse.subscribe(topic));
            let keep_alive = match req.query_value("as").as_deref() {
                Some("event") => KeepAlive::Event,
                _ => KeepAlive::Every,
            };
            sse.keep_alive(keep_alive(Duration::from_secs(15)))
                .on_connect(move |stream| born.borrow_mut().push(stream.id()))
        });
        Self { simulation: Simulation::new(router), ids }
    }

    fn join(&mut self, target: &str, coding: &str) -> (Client, StreamId) {
        let client = get(&mut self.simulation, target, coding);
        (client, *self.ids.borrow().last().expect("a stream was born"))
    }

    fn publish(&mut self, topic: &Topic, version: u32) {
        self.simulation.run(|cx| {
            cx.publish(topic, page(version)).unwrap();
        });
    }
}
