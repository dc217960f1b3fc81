//! Topics through the public API: publish, subscribe, replay, backpressure, updaters.

#[path = "topics/backpressure.rs"]
mod backpressure;
#[path = "topics/closures.rs"]
mod closures;
#[path = "topics/driving.rs"]
mod driving;
#[path = "topics/foreign_ids.rs"]
mod foreign_ids;
#[path = "topics/later.rs"]
mod later;
#[path = "topics/once.rs"]
mod once;
#[path = "topics/positions.rs"]
mod positions;
#[path = "support/random.rs"]
mod random;
#[path = "topics/regressions.rs"]
mod regressions;
#[path = "topics/replaying.rs"]
mod replaying;
#[path = "support/story.rs"]
mod story;
#[path = "topics/updaters.rs"]
mod updaters;
#[path = "topics/words.rs"]
mod words;

use std::time::Duration;

use starwheel::{
    Backpressure, Ending, JoinAt, Request, Router, Sse, Topic,
    testing::{Client, Simulation},
};
use story::data;
use words::serving;

#[test]
fn each_subscriber_gets_later_events_in_order() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    let early = simulation.get("/");
    for n in 1..=3 {
        simulation.run(|cx| {
            cx.publish(&topic, format_args!("{n}")).unwrap();
        });
    }
    let late = simulation.get("/");
    simulation.run(|cx| {
        assert_eq!(cx.subscribers(&topic), 2);
        cx.publish(&topic, "4").unwrap();
        assert_eq!(cx.subscribers(&topic), 2);
        cx.publish(&topic, "5").unwrap();
    });
    assert_eq!(data(&simulation, early), ["1", "2", "3", "4", "5"]);
    assert_eq!(data(&simulation, late), ["4", "5"]);
    assert_eq!(simulation.stats().delivered, 7);
}

#[test]
fn a_new_subscriber_gets_the_retained_event_first() {
    let topic = Topic::new("t").retain();
    let mut simulation = serving(&topic);
    simulation.run(|cx| {
        cx.publish(&topic, "old").unwrap();
        cx.publish(&topic, "state").unwrap();
    });
    let client = simulation.get("/");
    simulation.run(|cx| {
        cx.publish(&topic, "next").unwrap();
    });
    assert_eq!(data(&simulation, client), ["state", "next"]);
}

#[test]
fn topics_of_one_stream_arrive_in_the_order_of_publishing() {
    let (a, b) = (Topic::new("a"), Topic::new("b"));
    let (left, right) = (a.clone(), b.clone());
    let mut simulation = Simulation::new(
        Router::new().get("/", move |_req, _cx| Sse::new().subscribe(&left).subscribe(&right)),
    );
    let client = simulation.get("/");
    simulation.run(|cx| {
        for n in 0..40 {
            cx.publish(if n % 3 == 0 { &a } else { &b }, format_args!("{n}")).unwrap();
        }
    });
    let expected: Vec<String> = (0..40).map(|n| n.to_string()).collect();
    assert_eq!(data(&simulation, client), expected);
}

#[test]
fn a_client_that_comes_back_gets_exactly_what_it_missed() {
    let topic = Topic::new("t").history(10, 10_000);
    let mut simulation = serving(&topic);
    let first = simulation.get("/");
    simulation.run(|cx| {
        for n in 1..=4 {
            cx.publish(&topic, format_args!("{n}")).unwrap();
        }
    });
    let events = simulation.events(first);
    let seen = events[1].last_event_id.clone();
    let back = simulation.get(&format!("/?last_event_id={seen}"));
    simulation.run(|cx| {
        cx.publish(&topic, "5").unwrap();
    });
    assert_eq!(data(&simulation, back), ["3", "4", "5"]);
}

#[test]
fn an_id_that_is_gone_yields_a_gap_and_never_silence() {
    let topic = Topic::new("t").history(2, 10_000);
    let mut simulation = serving(&topic);
    let first = simulation.get("/");
    simulation.run(|cx| {
        for n in 1..=5 {
            cx.publish(&topic, format_args!("{n}")).unwrap();
        }
    });
    let seen = simulation.events(first)[0].last_event_id.clone();
    let too_old = simulation.get(&format!("/?last_event_id={seen}"));
    let events = simulation.events(too_old);
    assert_eq!((events[0].name.as_str(), events[0].data.as_str()), ("gap", "t"));
    assert_eq!(data(&simulation, too_old), ["t", "4", "5"]);
    let absurd = simulation.get("/?lastEventID=%00%ff");
    assert_eq!(simulation.events(absurd)[0].name, "gap");
}

#[test]
fn history_on_join() {
    let topic = Topic::new("t").history(2, 10_000);
    let watched = topic.clone();
    let mut simulation = Simulation::new(Router::new().get("/", move |_req: &Request, _cx| {
        Sse::new().send("snapshot").subscribe_at(&watched, JoinAt::Oldest)
    }));
    simulation.run(|cx| {
        for n in 1..=5 {
            cx.publish(&topic, format_args!("{n}")).unwrap();
        }
    });
    let client = simulation.get("/");
    assert_eq!(data(&simulation, client), ["snapshot", "4", "5"]);
}

/// One reader that stops while far more than the log is published, next to one that continues.
fn passed_by(backpressure: Backpressure) -> (Simulation, Client, Client) {
    let topic = Topic::new("t").log(4, usize::MAX).backpressure(backpressure);
    let mut simulation = serving(&topic);
    let (slow, quick) = (simulation.get("/"), simulation.get("/"));
    simulation.stall(slow);
    for n in 0..100 {
        simulation.run(|cx| {
            cx.publish(&topic, format!("{n} {}", "x".repeat(5000))).unwrap();
        });
    }
    simulation.resume(slow);
    simulation.turn();
    simulation.run(|cx| {
        cx.publish(&topic, "last").unwrap();
    });
    assert_eq!(simulation.events(quick).len(), 101);
    (simulation, slow, quick)
}

#[test]
fn a_slow_subscriber_is_disconnected_by_default() {
    let (simulation, slow, _) = passed_by(Backpressure::Disconnect);
    assert_eq!(simulation.stats().closed.slow, 1);
    assert!(simulation.events(slow).len() < 20);
}

#[test]
fn a_slow_subscriber_may_go_on_with_the_latest() {
    let (simulation, slow, _) = passed_by(Backpressure::Latest);
    let got = data(&simulation, slow);
    assert_eq!(got.last().unwrap(), "last");
    assert!(got[got.len() - 2].starts_with("99 "));
    assert!(!got[got.len() - 3].starts_with("98 "));
}

#[test]
fn a_slow_subscriber_may_lose_the_oldest_events_and_gets_a_gap() {
    let (simulation, slow, _) = passed_by(Backpressure::DropOldest);
    let events = simulation.events(slow);
    let gap = events.iter().position(|event| event.name == "gap").unwrap();
    let after_gap: Vec<_> =
        events[gap + 1..].iter().map(|e| e.data.split(' ').next().unwrap()).collect();
    assert_eq!(after_gap, ["96", "97", "98", "99", "last"]);
}

#[test]
fn a_topic_updater_renders_once_for_all_and_rests_without_subscribers() {
    let topic = Topic::new("t").retain();
    let mut simulation = serving(&topic);
    simulation.run(|cx| {
        let mut renders = 0;
        cx.drive(&topic, Duration::from_secs(1), move |feed| {
            renders += 1;
            feed.send(format_args!("{}", renders / 3));
        });
    });
    simulation.advance(Duration::from_secs(100));
    assert_eq!(simulation.stats().ticks, 0);
    let first = simulation.get("/");
    let second = simulation.get("/");
    assert_eq!(data(&simulation, first), ["0"], "a fresh render at once");
    assert_eq!(data(&simulation, second), ["0"], "the retained one");
    simulation.advance(Duration::from_secs(5));
    assert_eq!(data(&simulation, second), ["0", "1", "2"], "unchanged ones are not sent");
    assert_eq!(simulation.stats().ticks, 6);
    simulation.half_close(first);
    simulation.half_close(second);
    simulation.advance(Duration::from_secs(100));
    assert_eq!(simulation.stats().ticks, 6);
}

#[test]
fn events_published_before_a_finish_still_arrive() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    let client = simulation.get("/");
    simulation.run(|cx| {
        cx.publish(&topic, "goodbye").unwrap();
        let ids: Vec<_> = cx.streams().collect();
        for id in ids {
            cx.close(id, Ending::Finish);
        }
        assert_eq!(cx.subscribers(&topic), 0);
    });
    assert_eq!(data(&simulation, client), ["goodbye"]);
}

#[test]
fn a_tag_finds_a_users_streams() {
    let mut simulation = Simulation::new(Router::new().get("/", |req: &Request, _cx| {
        Sse::new().tag(req.query_value("user").unwrap_or_default())
    }));
    let (anna, _ben) = (simulation.get("/?user=anna"), simulation.get("/?user=ben"));
    simulation.advance(Duration::from_secs(7));
    simulation.run(|cx| {
        let [id] = cx.tagged("anna")[..] else { panic!("one stream") };
        assert_eq!(cx.tag(id), Some("anna"));
        assert_eq!(cx.age(id), Some(Duration::from_secs(7)));
        assert!(cx.peer(id).is_some());
        assert!(cx.send(id, "just for you"));
    });
    assert_eq!(data(&simulation, anna), ["just for you"]);
}

#[test]
fn time_between_turns_does_not_count_as_fan_out() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    let client = simulation.get("/");
    simulation.jump(Duration::from_millis(700));
    simulation.context().publish(&topic, "hello").unwrap();
    simulation.turn();
    assert_eq!(data(&simulation, client), ["hello"]);
    assert_eq!(
        (simulation.stats().fan_out_ms.count(), simulation.stats().fan_out_ms.sum()),
        (1, 0)
    );
}
