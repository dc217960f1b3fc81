//! What a name stands for after its topic has been finished, and for how long.

use starwheel::{Backpressure, JoinAt, Router, Sse, Topic, testing::Simulation};

use crate::words::{
    assert_ended, assert_open, assert_stays_away, back, finish, publish, run, secs, serving,
};

#[test]
fn events_after_the_end_are_dropped_and_counted_and_a_second_end_is_ignored() {
    let run = run();
    let mut simulation = serving(std::slice::from_ref(&run));
    publish(&mut simulation, &run, ["a"]);
    finish(&mut simulation, &run, "end");
    publish(&mut simulation, &run, ["late", "later"]);
    simulation.run(|cx| cx.publish_once(&run, "key", "late").unwrap());
    finish(&mut simulation, &run, "second end");
    simulation.turn();
    let late = simulation.get("/");
    assert_ended(&simulation, late, &["a", "end"]);
    assert_eq!((simulation.stats().published, simulation.stats().published_late), (2, 3));
}

#[test]
fn a_finished_topic_is_kept_for_its_time_and_then_only_its_end() {
    let run = run();
    let mut simulation = serving(std::slice::from_ref(&run));
    let early = simulation.get("/");
    publish(&mut simulation, &run, ["a", "b"]);
    let after_b = simulation.last_event_id(early);
    finish(&mut simulation, &run, "end");
    let at_end = simulation.last_event_id(early);
    // The test holds a clone, which makes no difference.
    simulation.advance(secs(599));
    let late = simulation.get("/");
    assert_ended(&simulation, late, &["a", "b", "end"]);
    simulation.advance(secs(1));
    assert_eq!(simulation.stats().log_bytes, 0);
    for client in [simulation.get("/"), back(&mut simulation, &after_b)] {
        assert_ended(&simulation, client, &["gap"]);
        let id = simulation.last_event_id(client);
        let again = back(&mut simulation, &id);
        assert_stays_away(&simulation, again);
    }
    let away = back(&mut simulation, &at_end);
    assert_stays_away(&simulation, away);
    publish(&mut simulation, &run, ["late"]);
    assert_eq!(simulation.stats().published_late, 1);
}

#[test]
fn a_stream_that_goes_on_does_not_prolong_the_time_of_a_finished_topic() {
    let (run, news) = (run(), Topic::new("news"));
    let mut simulation = serving(&[run.clone(), news.clone()]);
    let client = simulation.get("/");
    finish(&mut simulation, &run, "end");
    simulation.advance(secs(600));
    assert_eq!(simulation.stats().log_bytes, 0);
    publish(&mut simulation, &news, ["news"]);
    assert_open(&simulation, client, &["end", "news"]);
}

#[test]
fn a_day_later_the_name_is_that_of_a_new_topic() {
    let run = run();
    let mut simulation = serving(std::slice::from_ref(&run));
    let early = simulation.get("/");
    finish(&mut simulation, &run, "end");
    let old_id = simulation.last_event_id(early);
    simulation.advance(secs(600 + 24 * 3600));
    let waiting = simulation.get("/");
    assert_open(&simulation, waiting, &[]);
    publish(&mut simulation, &run, ["new"]);
    assert_open(&simulation, waiting, &["new"]);
    // What the client of the old one has seen is all that there was of it.
    let back = back(&mut simulation, &old_id);
    assert_open(&simulation, back, &["new"]);
    assert_eq!(simulation.stats().published_late, 0);
}

#[test]
fn without_time_to_keep_it_the_events_of_a_finished_topic_are_dropped_at_once() {
    let run = run().keep_finished(secs(0));
    let mut simulation = serving(std::slice::from_ref(&run));
    let early = simulation.get("/");
    publish(&mut simulation, &run, ["a"]);
    finish(&mut simulation, &run, "end");
    assert_ended(&simulation, early, &["a", "end"]);
    assert_eq!(simulation.stats().log_bytes, 0);
    let late = simulation.get("/");
    assert_ended(&simulation, late, &["gap"]);
}

#[test]
fn a_topic_that_keeps_nothing_does_not_remember_its_end() {
    let run = Topic::new("run");
    let mut simulation = serving(std::slice::from_ref(&run));
    let early = simulation.get("/");
    publish(&mut simulation, &run, ["a"]);
    finish(&mut simulation, &run, "end");
    assert_ended(&simulation, early, &["a", "end"]);
    let late = simulation.get("/");
    publish(&mut simulation, &run, ["new"]);
    assert_open(&simulation, late, &["new"]);
    assert_eq!(simulation.stats().published_late, 0);
    let nobody = Topic::new("nobody");
    finish(&mut simulation, &nobody, "end");
    assert_eq!(simulation.stats().published, 3);
}

#[test]
fn a_topic_that_nobody_has_used_can_be_finished() {
    let run = run();
    let mut simulation = serving(std::slice::from_ref(&run));
    finish(&mut simulation, &run, "end");
    let late = simulation.get("/");
    assert_ended(&simulation, late, &["end"]);
}

#[test]
fn the_updater_of_a_finished_topic_is_dropped() {
    let run = run();
    let mut simulation = serving(std::slice::from_ref(&run));
    let client = simulation.get("/");
    let alive = std::rc::Rc::new(());
    let held = std::rc::Rc::clone(&alive);
    let driven = run.clone();
    simulation.run(move |cx| {
        let mut count = 0;
        cx.drive(&driven, secs(1), move |feed| {
            let _held = &held;
            count += 1;
            feed.send(count.to_string());
        });
    });
    simulation.advance(secs(2));
    assert_eq!(std::rc::Rc::strong_count(&alive), 2);
    finish(&mut simulation, &run, "end");
    assert_eq!(std::rc::Rc::strong_count(&alive), 1);
    assert_ended(&simulation, client, &["1", "2", "3", "end"]);
    // Driven again, it is dropped with its next run.
    let driven = run.clone();
    simulation.run(move |cx| cx.drive(&driven, secs(1), |feed| feed.send("again")));
    let late = simulation.get("/");
    simulation.advance(secs(2));
    assert_ended(&simulation, late, &["1", "2", "3", "end"]);
    simulation.run(|cx| assert!(!cx.stop_driving(&run)));
}

#[test]
fn an_end_in_a_stream_of_several_topics_leaves_ids_exact() {
    // The retained topic is older than the other and has no history; its last event has an id.
    let (state, news) = (Topic::new("state").retain(), Topic::new("news").history(10, 10_000));
    let topics = [state.clone(), news.clone()];
    let mut simulation = Simulation::new(Router::new().get("/", move |_req, _cx| {
        let sse = Sse::new().subscribe(&topics[0]);
        sse.subscribe_at(&topics[1], JoinAt::Live)
    }));
    finish(&mut simulation, &state, "end");
    publish(&mut simulation, &news, ["1", "2"]);
    let client = simulation.get("/");
    assert_open(&simulation, client, &["end"]);
    let id = simulation.last_event_id(client);
    publish(&mut simulation, &news, ["3"]);
    let again = back(&mut simulation, &id);
    assert_open(&simulation, again, &["3"]);
}

#[test]
fn many_finished_topics_need_little_memory() {
    let mut simulation = Simulation::new(Router::new());
    for n in 0..12_000 {
        let run = Topic::new(format!("run-{n}")).history(10, 1_000).keep_finished(secs(1));
        simulation.run(move |cx| cx.finish(&run, "end").unwrap());
    }
    simulation.advance(secs(2));
    assert_eq!(simulation.stats().log_bytes, 0);
    // The oldest are forgotten first.
    let [first, last] = [0, 11_999].map(|n| Topic::new(format!("run-{n}")).history(10, 1_000));
    publish(&mut simulation, &first, ["new"]);
    assert_eq!(simulation.stats().published_late, 0);
    publish(&mut simulation, &last, ["late"]);
    assert_eq!(simulation.stats().published_late, 1);
}

#[test]
fn a_lagging_subscriber_of_a_topic_that_was_dropped_is_told_and_ends() {
    let run = run().keep_finished(secs(1)).backpressure(Backpressure::DropOldest);
    let mut simulation = serving(std::slice::from_ref(&run));
    let slow = simulation.get("/");
    simulation.stall(slow);
    publish(&mut simulation, &run, (0..50).map(|n| format!("{n} {}", "x".repeat(1_000))));
    finish(&mut simulation, &run, "end");
    // While somebody subscribes, it is kept.
    simulation.advance(secs(5));
    simulation.resume(slow);
    simulation.turn();
    let events = simulation.events(slow);
    assert_eq!((events.len(), events[50].data.as_str()), (51, "end"));
    assert_eq!(simulation.stats().log_bytes, 0);
}
