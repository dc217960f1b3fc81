//! How long a topic is driven: until it is stopped, or until it is unused and no clone exists.

use starwheel::{Context, Feed, Request, Router, Sse, Topic, testing::Simulation};

use crate::{
    story::{Census, HOUR, data, ms, secs},
    updaters::counting,
    words::{publish, serving},
};

/// Streams of any topic by its name, with a new value for each request.
fn by_name() -> Simulation {
    Simulation::new(Router::new().get("/{name}", |req: &Request, _| {
        Sse::new().subscribe(&Topic::new(req.param("name").unwrap_or_default().to_owned()))
    }))
}

/// The same updater, with a captured value that can be counted.
fn counted(census: &Census) -> impl FnMut(&mut Feed<'_>) + use<> {
    let (mut count, citizen) = (counting(), census.citizen());
    move |feed| {
        count(feed);
        assert!(format!("{citizen:?}").contains("Citizen"));
    }
}

#[test]
fn a_topic_keeps_its_updater_while_its_value_is_held() {
    let (mut simulation, topic) = (by_name(), Topic::new("t"));
    simulation.run(|cx| cx.drive(&topic, secs(1), counting()));
    simulation.advance(secs(10_000));
    let client = simulation.get("/t");
    assert_eq!(data(&simulation, client), ["1"]);
    simulation.half_close(client);
    simulation.advance(secs(10_000));
    let client = simulation.get("/t");
    assert_eq!(data(&simulation, client), ["2"]);
    simulation.half_close(client);
    simulation.turn();
    drop(topic);
    simulation.advance(secs(60));
    let client = simulation.get("/t");
    assert_eq!(data(&simulation, client), [""; 0], "forgotten, and its updater with it");
}

#[test]
fn a_topic_keeps_its_updater_while_the_value_is_held_that_it_is_driven_by() {
    let (mut simulation, topic) = (by_name(), Topic::new("t"));
    // It starts with the value of the handler, which is dropped immediately.
    let client = simulation.get("/t");
    simulation.run(|cx| cx.drive(&topic, secs(1), counting()));
    simulation.half_close(client);
    simulation.advance(secs(10_000));
    let client = simulation.get("/t");
    assert_eq!(data(&simulation, client), ["2"]);
    // And with either of them, however often it is driven.
    let other = Topic::new("t");
    simulation.run(|cx| cx.drive(&other, secs(1), counting()));
    drop(topic);
    simulation.half_close(client);
    simulation.advance(secs(10_000));
    let client = simulation.get("/t");
    assert_eq!(data(&simulation, client), ["2"]);
}

#[test]
fn a_driven_topic_without_clones_is_forgotten_a_minute_after_its_last_use() {
    let kinds: [fn(Topic) -> Topic; 3] =
        [|topic| topic, |topic| topic.retain(), |topic| topic.history(10, 10_000)];
    for kind in kinds {
        let (mut simulation, census) = (by_name(), Census::default());
        let topic = || kind(Topic::new("t"));
        simulation.run(|cx| cx.drive(&topic(), secs(1), counted(&census)));
        simulation.advance(ms(59_999));
        let client = simulation.get("/t");
        assert_eq!(data(&simulation, client), ["1"]);
        simulation.advance(secs(1_000));
        simulation.half_close(client);
        simulation.advance(ms(59_999));
        assert_eq!(census.alive(), 1);
        simulation.advance(ms(1));
        assert_eq!((census.alive(), simulation.stats().log_bytes), (0, 0));
        let client = simulation.get("/t");
        assert_eq!(data(&simulation, client), [""; 0]);
        simulation.half_close(client);
        simulation.turn();
        // And it can be driven again.
        simulation.run(|cx| cx.drive(&topic(), secs(1), counted(&census)));
        let client = simulation.get("/t");
        assert_eq!(data(&simulation, client), ["1"]);
        simulation.half_close(client);
        simulation.advance(secs(60));
        assert_eq!(census.alive(), 0);
    }
}

#[test]
fn the_minute_counts_from_the_last_use_and_not_from_the_first_look() {
    let (mut simulation, census) = (by_name(), Census::default());
    let topic = || Topic::new("t").history(10, 10_000);
    publish(&mut simulation, &topic(), ["before it was driven"]);
    simulation.advance(secs(40));
    simulation.run(|cx| cx.drive(&topic(), secs(1), counted(&census)));
    simulation.advance(secs(30));
    assert_eq!(census.alive(), 1);
    let client = simulation.get("/t");
    simulation.half_close(client);
    simulation.turn();
    simulation.advance(secs(20));
    publish(&mut simulation, &topic(), ["by hand"]);
    simulation.advance(ms(59_999));
    assert_eq!(census.alive(), 1);
    simulation.advance(ms(1));
    assert_eq!((census.alive(), simulation.stats().log_bytes), (0, 0));
}

#[test]
fn driven_topics_that_never_had_subscribers_are_forgotten() {
    let (mut simulation, census) = (by_name(), Census::default());
    simulation.run(|cx| cx.drive(&Topic::new("t").retain(), secs(1), counted(&census)));
    simulation.advance(secs(60));
    assert_eq!(census.alive(), 0);
}

#[test]
fn thousands_of_driven_topics_come_and_go_without_a_trace() {
    const NAMES: usize = 3_100;
    let census = Census::default();
    let counted_by = census.clone();
    let router = Router::new().get("/{name}", move |req: &Request, cx: &mut Context<'_>| {
        let page = Topic::new(req.param("name").unwrap_or_default().to_owned()).retain();
        let citizen = counted_by.citizen();
        cx.drive(&page, secs(1), move |feed| feed.send(format!("{citizen:?}").repeat(500)));
        Sse::new().subscribe(&page)
    });
    let mut simulation = Simulation::new(router);
    let clients: Vec<_> = (0..NAMES).map(|name| simulation.get(&format!("/{name}"))).collect();
    assert_eq!(census.alive(), NAMES);
    assert!(simulation.stats().log_bytes > 5_000 * NAMES as u64);
    clients.into_iter().for_each(|client| simulation.half_close(client));
    simulation.advance(secs(60));
    assert_eq!((census.alive(), simulation.stats().log_bytes), (0, 0));
    let turns = simulation.turns();
    simulation.advance(HOUR);
    assert!(simulation.turns() - turns < 10, "no timer is left");
}

#[test]
fn driving_can_be_stopped() {
    let (topic, census) = (Topic::new("t").retain(), Census::default());
    let mut simulation = serving(&topic);
    simulation.run(|cx| {
        assert!(!cx.stop_driving(&topic), "never driven");
        cx.drive(&topic, secs(1), counted(&census));
    });
    let client = simulation.get("/");
    simulation.advance(secs(1));
    simulation.run(|cx| {
        assert!(cx.stop_driving(&Topic::new("t")), "its name is what counts");
        assert!(!cx.stop_driving(&topic), "twice");
        assert_eq!(census.alive(), 1, "destructors run when nothing is borrowed");
    });
    assert_eq!(census.alive(), 0);
    simulation.advance(HOUR);
    assert_eq!(data(&simulation, client), ["1", "2"]);
    publish(&mut simulation, &topic, ["by hand"]);
    let late = simulation.get("/");
    assert_eq!(data(&simulation, late), ["by hand"], "the topic is like any other");
    simulation.run(|cx| {
        cx.drive(&topic, secs(1), counted(&census));
        assert!(cx.stop_driving(&topic), "before its first run");
    });
    simulation.advance(secs(5));
    assert_eq!(census.alive(), 0);
    assert_eq!(data(&simulation, client), ["1", "2", "by hand"]);
}

#[test]
fn an_updater_may_stop_itself() {
    let (topic, census) = (Topic::new("t"), Census::default());
    let mut simulation = serving(&topic);
    let (own, citizen) = (topic.clone(), census.citizen());
    simulation.run(|cx| {
        cx.drive(&topic, secs(1), move |feed| {
            feed.send("not published, like what a replaced updater sends");
            assert!(feed.context().stop_driving(&own));
            assert!(!feed.context().stop_driving(&own), "{citizen:?}");
        });
    });
    let client = simulation.get("/");
    simulation.advance(secs(5));
    assert_eq!(data(&simulation, client), [""; 0]);
    assert_eq!((simulation.stats().ticks, simulation.stats().panics, census.alive()), (1, 0, 0));
    simulation.run(|cx| cx.drive(&topic, secs(1), counting()));
    assert_eq!(data(&simulation, client), ["1"]);
}

#[test]
fn topics_driven_and_stopped_repeatedly_leak_no_timers() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    for _ in 0..500 {
        simulation.run(|cx| {
            cx.drive(&topic, secs(1), counting());
            assert!(cx.stop_driving(&topic));
        });
        simulation.advance(ms(1));
    }
    simulation.run(|cx| cx.drive(&topic, secs(1), counting()));
    let turns = simulation.turns();
    simulation.advance(HOUR);
    assert!(simulation.turns() - turns < 200, "one that is held is looked at once a minute");
}
