//! By topic.

use std::time::Duration;

use starwheel::{
    Backpressure, Config, Context, Ending, Method, Router, Sse, StreamId, Topic, TopicStats,
    testing::{Client, SimulatedWorkers, Simulation},
};

use crate::story::{Ids, bad_network, faults, ms, secs};

/// `GET /?a&b` subscribes to the topics `a` and `b`, with these options.
fn serving(options: fn(Topic) -> Topic) -> (Simulation, Ids) {
    let ids = Ids::default();
    let kept = ids.clone();
    let router = Router::new().get("/", move |req, _| {
        let names = req.query().unwrap_or_default().split('&').map(str::to_owned);
        let ids = kept.clone();
        names
            .fold(Sse::new(), |sse, name| sse.subscribe(&options(Topic::new(name))))
            .on_connect(move |stream| ids.keep(stream.id()))
    });
    (Simulation::new(router), ids)
}

fn publish(simulation: &mut Simulation, topic: &Topic, count: usize) {
    for number in 0..count {
        simulation.run(|cx| cx.publish(topic, format!("{number}")).unwrap());
    }
}

#[track_caller]
fn figures(simulation: &mut Simulation, topic: &Topic) -> TopicStats {
    let mut figures = None;
    simulation.run(|cx| figures = cx.topic_stats(topic));
    figures.expect("the topic is in use")
}

fn lag(simulation: &mut Simulation, ids: &Ids, nth: usize) -> Option<u64> {
    let (mut lag, id) = (None, ids.all()[nth]);
    simulation.run(|cx| lag = cx.lag(id));
    lag
}

/// The client does not read, and its socket is full.
fn stall(simulation: &mut Simulation, client: Client, id: StreamId) {
    simulation.set_faults(faults(|faults| faults.socket_buffer_bytes = 1_000));
    simulation.stall(client);
    simulation.run(|cx| assert!(cx.send(id, "x".repeat(3_000))));
}

#[test]
fn a_topic_that_is_not_in_use_has_no_figures() {
    let mut simulation = Simulation::new(Router::new());
    simulation.run(|cx| assert_eq!(cx.topic_stats(&Topic::new("t")), None));
}

#[test]
fn subscribers_events_and_deliveries_are_counted() {
    let (mut simulation, ids) = serving(|topic| topic);
    let topic = Topic::new("t");
    let clients = [0; 3].map(|_| simulation.get("/?t"));
    publish(&mut simulation, &topic, 5);
    let stats = figures(&mut simulation, &topic);
    assert_eq!((stats.subscribers, stats.published, stats.delivered), (3, 5, 15));
    assert_eq!((stats.lag, stats.log_events, stats.log_bytes), (0, 0, 0));
    simulation.reset(clients[0]);
    simulation.turn();
    publish(&mut simulation, &topic, 1);
    let stats = figures(&mut simulation, &topic);
    assert_eq!((stats.subscribers, stats.published, stats.delivered), (2, 6, 17));
    assert_eq!((lag(&mut simulation, &ids, 0), lag(&mut simulation, &ids, 1)), (None, Some(0)));
}

#[test]
fn the_lag_is_that_of_the_slowest_and_ends_when_it_has_caught_up() {
    // With a history the log stays, and nothing but the cursors tells who lags.
    for options in [|topic: Topic| topic, |topic: Topic| topic.history(100, 1 << 20)] {
        let (mut simulation, ids) = serving(options);
        let topic = options(Topic::new("t"));
        let slow = simulation.get("/?t");
        simulation.get("/?t");
        stall(&mut simulation, slow, ids.all()[0]);
        publish(&mut simulation, &topic, 12);
        let stats = figures(&mut simulation, &topic);
        assert_eq!((stats.lag, stats.log_events, stats.delivered), (12, 12, 12));
        assert_eq!(lag(&mut simulation, &ids, 0), Some(12));
        assert_eq!(lag(&mut simulation, &ids, 1), Some(0));
        simulation.resume(slow);
        simulation.turn();
        let stats = figures(&mut simulation, &topic);
        assert_eq!((stats.lag, stats.delivered), (0, 24), "{:?}", topic);
        assert_eq!(lag(&mut simulation, &ids, 0), Some(0));
    }
}

#[test]
fn a_stream_lags_in_all_its_topics_together() {
    let (mut simulation, ids) = serving(|topic| topic);
    let slow = simulation.get("/?a&b&c");
    stall(&mut simulation, slow, ids.all()[0]);
    publish(&mut simulation, &Topic::new("a"), 3);
    publish(&mut simulation, &Topic::new("b"), 4);
    assert_eq!(lag(&mut simulation, &ids, 0), Some(7));
    assert_eq!(figures(&mut simulation, &Topic::new("b")).lag, 4);
    assert_eq!(figures(&mut simulation, &Topic::new("c")).lag, 0);
}

/// Each way a frame takes: written, merged from several topics, in part, queued at the end of a
/// stream, copied because the stream is uneven, compressed, in the place of others.
#[test]
fn deliveries_of_all_topics_add_up_whatever_way_they_take() {
    let kinds: [fn(Topic) -> Topic; 4] = [
        |topic| topic,
        |topic| topic.history(5, 1 << 20),
        |topic| topic.retain(),
        |topic| topic.log(3, 1 << 20).backpressure(Backpressure::DropOldest),
    ];
    for (kind, options) in kinds.into_iter().enumerate() {
        for seed in 0..10 {
            let topics = ["a", "b", "c"].map(|name| options(Topic::new(name)));
            let all = topics.clone();
            let router = Router::new().get("/{mask}", move |req, _| {
                let mask: usize = req.param("mask").unwrap().parse().unwrap();
                let some = all.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1);
                some.fold(Sse::new(), |sse, (_, topic)| sse.subscribe(topic))
            });
            let mut simulation = Simulation::with_config(Config::default(), seed, router);
            let mut faults = bad_network();
            faults.socket_buffer_bytes = 500;
            simulation.set_faults(faults);
            // It keeps all topics in use.
            simulation.get("/7");
            let mut clients = Vec::new();
            for round in 0..30_usize {
                let mask = 1 + (round * 5 + seed as usize) % 7;
                let client = simulation.connect();
                let fields: &[(&str, &str)] = match round % 2 {
                    0 => &[("Accept-Encoding", "zstd")],
                    _ => &[],
                };
                simulation.request(client, Method::Get, &format!("/{mask}"), fields, b"");
                clients.push(client);
                let client = clients[round / 2];
                match round % 5 {
                    0 => simulation.stall(client),
                    1 => simulation.resume(client),
                    2 => simulation.queue(|cx: &mut Context<'_>| {
                        let last = cx.streams().last();
                        _ = last.map(|id| cx.close(id, Ending::Finish));
                    }),
                    _ => {}
                }
                for topic in &topics[..=round % 3] {
                    simulation.queue({
                        let topic = topic.clone();
                        move |cx: &mut Context<'_>| {
                            cx.publish(&topic, "x".repeat(round * 50)).unwrap()
                        }
                    });
                }
                simulation.advance(ms(100));
            }
            for client in clients {
                simulation.resume(client);
            }
            simulation.advance(secs(5));
            let all: Vec<_> = topics.iter().map(|it| figures(&mut simulation, it)).collect();
            let delivered: u64 = all.iter().map(|it| it.delivered).sum();
            let published: u64 = all.iter().map(|it| it.published).sum();
            let stats = simulation.stats();
            assert!(stats.delivered > 100);
            assert_eq!((published, delivered), (stats.published, stats.delivered), "{kind} {seed}");
        }
    }
}

#[test]
fn only_topics_that_ask_for_it_are_listed_and_none_that_is_forgotten() {
    let (mut simulation, _) = serving(|topic| match topic.name().starts_with("listed") {
        true => topic.metrics(),
        false => topic,
    });
    let clients = ["/?listed+1", "/?plain", "/?listed+2"].map(|target| simulation.get(target));
    let names = |simulation: &Simulation| -> Vec<String> {
        simulation.stats().topics().map(|(name, _)| name.to_owned()).collect()
    };
    assert_eq!(names(&simulation), ["listed+1", "listed+2"]);
    simulation.reset(clients[0]);
    simulation.turn();
    assert_eq!(names(&simulation), ["listed+2"]);
    // In the place of the first.
    simulation.get("/?listed+3");
    assert_eq!(names(&simulation), ["listed+3", "listed+2"]);
    let text = simulation.stats().prometheus();
    assert!(text.contains("\nstarwheel_topic_subscribers{topic=\"listed+3\"} 1\n"), "{text}");
    assert!(!text.contains("plain"), "{text}");
}

#[test]
fn listed_figures_are_as_of_the_last_turn_and_the_lag_of_the_last_second() {
    let (mut simulation, ids) = serving(Topic::metrics);
    let topic = Topic::new("t").metrics();
    let slow = simulation.get("/?t");
    stall(&mut simulation, slow, ids.all()[0]);
    simulation.advance(secs(2));
    publish(&mut simulation, &topic, 5);
    let listed = |simulation: &Simulation| *simulation.stats().topic("t").unwrap();
    assert_eq!((listed(&simulation).published, listed(&simulation).log_events), (5, 5));
    simulation.advance(secs(1));
    assert_eq!(listed(&simulation), figures(&mut simulation, &topic));
    assert_eq!(listed(&simulation).lag, 5);
    simulation.resume(slow);
    simulation.advance(secs(1));
    assert_eq!(listed(&simulation), figures(&mut simulation, &topic));
    assert_eq!((listed(&simulation).lag, listed(&simulation).delivered), (0, 5));
}

#[test]
fn a_hundred_topics_are_listed_at_most_and_places_of_forgotten_ones_are_free_again() {
    let (mut simulation, _) = serving(Topic::metrics);
    let handle = simulation.handle();
    let clients: Vec<_> = (0..150).map(|number| simulation.get(&format!("/?{number}"))).collect();
    assert_eq!(simulation.stats().topics().count(), 100);
    assert_eq!(handle.stats(), *simulation.stats());
    for client in clients {
        simulation.reset(client);
    }
    simulation.advance(Duration::from_secs(1));
    assert_eq!(simulation.stats().topics().count(), 0);
    for number in 0..100 {
        simulation.get(&format!("/?{}", number % 100 + 200));
    }
    assert_eq!(simulation.stats().topics().count(), 100);
    assert_eq!(handle.stats(), *simulation.stats());
}

#[test]
fn topics_of_workers_are_added_but_what_was_published_counts_once() {
    let topic = || Topic::new("t").metrics();
    let mut workers = SimulatedWorkers::new(2, |_| {
        Router::new().get("/", move |_, _| Sse::new().subscribe(&topic()))
    });
    for worker in [0, 1, 1] {
        workers[worker].get("/");
    }
    workers.turn();
    for _ in 0..4 {
        workers[0].run(|cx| cx.publish(&topic(), "hello").unwrap());
        workers.turn();
    }
    workers.advance(secs(2));
    let stats = workers.handle_of_all().stats();
    let all = stats.topic("t").unwrap();
    assert_eq!((all.subscribers, all.published, all.delivered, all.lag), (3, 4, 12, 0));
    let text = workers.handle_of_all().prometheus();
    for line in [
        r#"starwheel_topic_subscribers{worker="0",topic="t"} 1"#,
        r#"starwheel_topic_subscribers{worker="1",topic="t"} 2"#,
        r#"starwheel_topic_delivered_total{worker="1",topic="t"} 8"#,
    ] {
        assert!(text.contains(&format!("\n{line}\n")), "{line} in {text}");
    }
}
