//! Bugs that were found, each with a test.

use std::{cell::RefCell, error::Error, fmt, rc::Rc};

use starwheel::{
    Backpressure, BoxError, Ending, Event, JoinAt, Method, Next, Router, Sse, Topic,
    testing::{BodyEnd, ServerEnd, Simulation},
};

use crate::{
    story::{data, faults, secs},
    words::{publish, serving, serving_all, streams},
};

#[test]
fn a_subscriber_that_joins_at_the_oldest_of_a_full_history_is_not_slow() {
    let chat = Topic::new("chat").history(3, 10_000);
    let joined = chat.clone();
    let mut simulation = Simulation::new(Router::new().get("/", move |_, _| {
        let chat = joined.clone();
        Sse::new().subscribe_at(&joined, JoinAt::Oldest).on_connect(move |stream| {
            stream.context().publish(&chat, "somebody came in").unwrap();
        })
    }));
    publish(&mut simulation, &chat, 1..=3);
    let client = simulation.get("/");
    assert_eq!(data(&simulation, client), ["1", "2", "3", "somebody came in"]);
    assert_eq!(simulation.stats().streams, 1);
}

#[test]
fn a_retained_event_reaches_new_subscribers_even_if_the_next_follows_immediately() {
    let state = Topic::new("state").retain().log(1, usize::MAX);
    let mut simulation = Simulation::new(Router::new().get("/", |_, _| Sse::new()));
    publish(&mut simulation, &state, ["kept"]);
    let client = simulation.get("/");
    let [id] = streams(&mut simulation)[..] else { panic!("one stream") };
    simulation.run(|cx| {
        assert!(cx.subscribe(id, &state));
        cx.publish(&state, "next").unwrap();
    });
    assert_eq!(data(&simulation, client), ["kept", "next"]);
    publish(&mut simulation, &state, ["last"]);
    assert_eq!(data(&simulation, client), ["kept", "next", "last"]);
}

/// More subscribers than one turn serves twice: a pass takes three turns.
const THREE_TURNS: usize = 600;

#[test]
fn a_blocked_subscriber_that_moves_in_the_list_during_a_pass_loses_nothing() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    let clients: Vec<_> = (0..THREE_TURNS).map(|_| simulation.get("/")).collect();
    let (ids, last) = (streams(&mut simulation), *clients.last().unwrap());
    simulation.set_faults(faults(|faults| faults.socket_buffer_bytes = 100));
    simulation.stall(last);
    let long = |n: u32| format!("{n}{}", "x".repeat(200));
    publish(&mut simulation, &topic, [long(1), long(2)]);
    simulation.queue({
        let topic = topic.clone();
        move |cx| {
            assert_eq!(cx.subscribers(&topic), THREE_TURNS);
            cx.publish(&topic, "3").unwrap();
        }
    });
    simulation.turn_once();
    // The last one takes the place of the first, which the pass has already met.
    simulation.run(|cx| assert!(cx.unsubscribe(ids[0], &topic)));
    simulation.resume(last);
    simulation.turn();
    assert_eq!(data(&simulation, last), [long(1), long(2), "3".to_owned()]);
}

#[test]
fn a_fast_subscriber_that_moves_in_the_list_during_a_pass_does_not_count_as_slow() {
    let topic = Topic::new("t").log(2, usize::MAX);
    let mut simulation = serving(&topic);
    let clients: Vec<_> = (0..THREE_TURNS).map(|_| simulation.get("/")).collect();
    let ids = streams(&mut simulation);
    simulation.queue({
        let topic = topic.clone();
        move |cx| {
            (1..=5).for_each(|n| cx.publish(&topic, format_args!("{n}")).unwrap());
        }
    });
    simulation.turn_once();
    simulation.turn_once();
    simulation.run(|cx| assert!(cx.unsubscribe(ids[0], &topic)));
    for client in clients {
        assert_eq!(data(&simulation, client), ["1", "2", "3", "4", "5"]);
    }
    assert_eq!(simulation.stats().closed.slow, 0);
}

#[test]
fn a_topic_updater_rests_when_its_first_subscriber_leaves_at_once() {
    let topic = Topic::new("t");
    let mut simulation = Simulation::new(Router::new().get("/", |_, _| Sse::new()));
    simulation.get("/");
    let [id] = streams(&mut simulation)[..] else { panic!("one stream") };
    simulation.run(|cx| {
        cx.drive(&topic, secs(1), |feed| feed.send("x"));
        assert!(cx.subscribe(id, &topic));
        assert!(cx.unsubscribe(id, &topic));
    });
    simulation.advance(secs(100));
    assert_eq!(simulation.stats().ticks, 0);
}

#[test]
fn unchanged_output_of_a_topic_updater_is_not_published_again() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    simulation.run(|cx| cx.drive(&topic, secs(1), |feed| feed.send("the same")));
    let first = simulation.get("/");
    simulation.advance(secs(5));
    assert_eq!(data(&simulation, first), ["the same"]);
    assert_eq!(simulation.stats().ticks_unchanged, 5);
    simulation.half_close(first);
    simulation.turn();
    let next = simulation.get("/");
    assert_eq!(data(&simulation, next), ["the same"], "a fresh render at once");
}

#[test]
fn a_topic_updater_that_replaces_itself_may_end() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    let driven = topic.clone();
    simulation.run(|cx| {
        cx.drive(&topic, secs(1), move |feed| {
            feed.context().drive(&driven, secs(1), |feed| feed.send("its successor"));
            Next::Finish
        });
    });
    let client = simulation.get("/");
    assert_eq!(data(&simulation, client), ["its successor"]);
}

/// An error whose `Display` panics.
#[derive(Debug)]
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("on purpose")
    }
}

impl Error for Unspeakable {}

#[test]
fn a_topic_updaters_error_that_panics_in_display_affects_nothing_else() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    simulation.run(|cx| {
        let mut count = 0;
        cx.drive(&topic, secs(1), move |feed| {
            count += 1;
            if count == 2 {
                return Err(BoxError::from(Unspeakable));
            }
            feed.send(format_args!("{count}"));
            Ok(())
        });
    });
    let client = simulation.get("/");
    simulation.advance(secs(2));
    assert_eq!(data(&simulation, client), ["1", "3"]);
    assert_eq!(simulation.stats().panics, 1);
}

#[test]
fn a_slow_subscriber_that_is_cut_counts_as_passed_by() {
    let topic = Topic::new("t").log(2, usize::MAX);
    let mut simulation = serving(&topic);
    let slow = simulation.get("/");
    simulation.stall(slow);
    simulation.set_faults(faults(|faults| faults.socket_buffer_bytes = 10));
    publish(&mut simulation, &topic, 1..=5);
    let stats = simulation.stats();
    assert_eq!((stats.passed_by, stats.closed.slow), (1, 1));
}

#[test]
fn after_a_gap_a_client_starts_like_a_new_one() {
    let topic = Topic::new("t").history(10, 10_000);
    let watched = topic.clone();
    let mut simulation = Simulation::new(
        Router::new().get("/", move |_, _| Sse::new().subscribe_at(&watched, JoinAt::Oldest)),
    );
    publish(&mut simulation, &topic, 1..=2);
    let fresh = simulation.get("/");
    let from_before_the_restart = simulation.get("/?last_event_id=another-7");
    assert_eq!(data(&simulation, fresh), ["1", "2"]);
    assert_eq!(data(&simulation, from_before_the_restart), ["t", "1", "2"]);
}

#[test]
fn an_empty_last_event_id_is_none() {
    let topic = Topic::new("t").history(10, 10_000);
    let mut simulation = serving(&topic);
    let query = simulation.get("/?last_event_id=");
    let header = simulation.connect();
    simulation.request(header, Method::Get, "/", &[("Last-Event-ID", "")], b"");
    simulation.turn();
    publish(&mut simulation, &topic, ["1"]);
    assert_eq!(data(&simulation, query), ["1"]);
    assert_eq!(data(&simulation, header), ["1"]);
}

fn with_id(id: &'static str, data: &'static str) -> Event<'static> {
    Event::new(data).id(id).unwrap()
}

#[test]
fn an_id_of_the_publishers_own_resumes_all_topics_of_a_stream() {
    let [a, b] = ["a", "b"].map(|name| Topic::new(name).history(10, 10_000));
    let mut simulation = serving_all(&[a.clone(), b.clone()]);
    simulation.get("/");
    simulation.run(|cx| {
        cx.publish(&b, "seen").unwrap();
        cx.publish(&a, with_id("mine", "seen too")).unwrap();
        cx.publish(&b, "missed").unwrap();
        cx.publish(&a, "missed too").unwrap();
    });
    let back = simulation.get("/?last_event_id=mine");
    assert_eq!(data(&simulation, back), ["missed", "missed too"]);
}

#[test]
fn an_id_that_two_topics_of_a_stream_know_is_a_gap_in_both() {
    let [a, b] = ["a", "b"].map(|name| Topic::new(name).history(10, 10_000));
    let mut simulation = serving_all(&[a.clone(), b.clone()]);
    simulation.get("/");
    simulation.run(|cx| {
        cx.publish(&a, with_id("1", "first of a")).unwrap();
        cx.publish(&b, with_id("1", "first of b")).unwrap();
        cx.publish(&a, with_id("2", "second of a")).unwrap();
    });
    let back = simulation.get("/?last_event_id=1");
    assert_eq!(data(&simulation, back), ["a", "b"], "gaps, and no guess");
    let back = simulation.get("/?last_event_id=2");
    assert_eq!(data(&simulation, back), [""; 0]);
}

#[test]
fn events_published_after_the_end_of_a_stream_do_not_reach_it() {
    for ending in [Ending::Finish, Ending::Drop] {
        let topic = Topic::new("t");
        let mut simulation = serving(&topic);
        let (banned, other) = (simulation.get("/"), simulation.get("/"));
        let ids = streams(&mut simulation);
        simulation.run(|cx| {
            cx.publish(&topic, "before").unwrap();
            cx.close(ids[0], ending);
            cx.publish(&topic, "not for the banned").unwrap();
        });
        assert_eq!(data(&simulation, banned), ["before"]);
        assert_eq!(data(&simulation, other), ["before", "not for the banned"]);
    }
}

#[test]
fn published_events_reach_a_stream_that_finishes_itself() {
    let topic = Topic::new("t");
    let watched = topic.clone();
    let mut simulation = Simulation::new(Router::new().get("/", move |_, _| {
        let mut left = 2;
        Sse::every(secs(1), move |_| {
            left -= 1;
            if left == 0 { Next::Finish } else { Next::Again }
        })
        .subscribe(&watched)
    }));
    let client = simulation.get("/");
    simulation.queue(move |cx| {
        assert_eq!(cx.subscribers(&topic), 1);
        cx.publish(&topic, "goodbye").unwrap();
    });
    simulation.pause(secs(1));
    assert_eq!(data(&simulation, client), ["goodbye"]);
    assert_eq!(simulation.response(client).end, BodyEnd::Complete);
}

#[test]
fn a_one_shot_answer_brings_what_the_topic_keeps() {
    let topic = Topic::new("t").retain();
    let watched = topic.clone();
    let mut simulation =
        Simulation::new(Router::new().get("/", move |_, _| {
            Sse::new().send("now:").subscribe(&watched).ending(Ending::Finish)
        }));
    publish(&mut simulation, &topic, ["state"]);
    let client = simulation.get("/");
    assert_eq!(data(&simulation, client), ["now:", "state"]);
    assert_eq!(simulation.response(client).end, BodyEnd::Complete);
}

#[test]
fn a_finished_stream_still_delivers_everything_to_a_lagging_client() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    let client = simulation.get("/");
    simulation.stall(client);
    simulation.set_faults(faults(|faults| faults.socket_buffer_bytes = 10));
    publish(&mut simulation, &topic, 1..=40);
    let [id] = streams(&mut simulation)[..] else { panic!("one stream") };
    simulation.run(|cx| assert!(cx.close(id, Ending::Finish)));
    simulation.resume(client);
    simulation.turn();
    assert_eq!(data(&simulation, client), (1..=40).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(simulation.response(client).end, BodyEnd::Complete);
}

#[test]
fn a_finished_stream_is_cut_if_its_client_lags_too_far() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    let client = simulation.get("/");
    simulation.stall(client);
    simulation.set_faults(faults(|faults| faults.socket_buffer_bytes = 10));
    publish(&mut simulation, &topic, (0..4).map(|_| "x".repeat(100_000)));
    let [id] = streams(&mut simulation)[..] else { panic!("one stream") };
    simulation.run(|cx| assert!(cx.close(id, Ending::Finish)));
    simulation.resume(client);
    simulation.turn();
    assert_eq!(simulation.stats().closed.slow, 1);
    assert_eq!(simulation.server_end(client), Some(ServerEnd::Reset), "never half as if whole");
}

#[test]
fn a_stream_that_ends_is_not_found_by_its_tag_any_more() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let note = Rc::clone(&seen);
    let mut simulation = Simulation::new(Router::new().get("/", move |_, _| {
        let note = Rc::clone(&note);
        Sse::new().tag("anna").on_disconnect(move |cx, id, _| {
            // Needed for presence: was it the user's last stream, and which user's?
            note.borrow_mut().push((cx.tagged("anna").len(), cx.tag(id).map(str::to_owned)));
        })
    }));
    let (one, two) = (simulation.get("/"), simulation.get("/"));
    simulation.half_close(one);
    simulation.turn();
    simulation.half_close(two);
    simulation.turn();
    let anna = Some("anna".to_owned());
    assert_eq!(*seen.borrow(), [(1, anna.clone()), (0, anna)]);
}

#[test]
fn events_after_the_end_of_the_last_subscriber_are_not_kept() {
    let topic = Topic::new("t");
    let watched = topic.clone();
    let router =
        Router::new().get("/", move |_, _| Sse::new().subscribe_at(&watched, JoinAt::Oldest));
    let mut simulation = Simulation::new(router);
    let (last, next) = (simulation.get("/"), simulation.connect());
    // It joins in the turn in which the other one leaves, at the oldest event that is kept.
    simulation.request(next, Method::Get, "/", &[], b"");
    simulation.run(|cx| {
        assert_eq!(cx.subscribers(&topic), 1);
        cx.publish(&topic, "before").unwrap();
        let [id] = cx.streams().collect::<Vec<_>>()[..] else { panic!("one stream") };
        assert!(cx.close(id, Ending::Finish));
        assert_eq!(cx.subscribers(&topic), 0);
        cx.publish(&topic, "behind").unwrap();
    });
    assert_eq!(data(&simulation, last), ["before"]);
    assert!(!data(&simulation, next).contains(&"behind".to_owned()));
    assert_eq!(simulation.stats().published, 1);
}

/// A topic whose log is kept only for one stuck client.
fn stuck() -> (Simulation, Topic, starwheel::testing::Client) {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    let (stuck, _quick) = (simulation.get("/"), simulation.get("/"));
    simulation.stall(stuck);
    simulation.set_faults(faults(|faults| faults.socket_buffer_bytes = 100));
    publish(&mut simulation, &topic, (0..3).map(|_| "x".repeat(1_000)));
    assert!(simulation.stats().log_bytes > 2_000);
    (simulation, topic, stuck)
}

#[test]
fn a_log_is_let_go_when_the_slowest_has_caught_up() {
    let (mut simulation, _topic, slow) = stuck();
    simulation.resume(slow);
    simulation.turn();
    assert_eq!(simulation.events(slow).len(), 3);
    assert_eq!(simulation.stats().log_bytes, 0);
}

#[test]
fn a_log_is_let_go_when_the_slowest_has_left() {
    let (mut simulation, _topic, slow) = stuck();
    simulation.reset(slow);
    simulation.turn();
    assert_eq!(simulation.stats().streams, 1);
    assert_eq!(simulation.stats().log_bytes, 0);
}

#[test]
fn a_first_subscriber_that_subscribes_twice_in_a_turn_gets_one_render() {
    let topic = Topic::new("t");
    let mut simulation = Simulation::new(Router::new().get("/", |_, _| Sse::new()));
    let client = simulation.get("/");
    let [id] = streams(&mut simulation)[..] else { panic!("one stream") };
    simulation.run(|cx| {
        cx.drive(&topic, secs(1), |feed| feed.send("x"));
        assert!(cx.subscribe(id, &topic));
        assert!(cx.unsubscribe(id, &topic));
        assert!(cx.subscribe(id, &topic));
    });
    assert_eq!(data(&simulation, client), ["x"]);
}

#[test]
fn a_burst_after_the_end_of_a_stream_does_not_evict_its_last_events() {
    for ending in [Ending::Finish, Ending::Drop] {
        let topic = Topic::new("t").log(1, 0);
        let mut simulation = serving(&topic);
        let (client, _other) = (simulation.get("/"), simulation.get("/"));
        let ids = streams(&mut simulation);
        simulation.run(|cx| {
            cx.publish(&topic, "goodbye").unwrap();
            cx.close(ids[0], ending);
            (0..5).for_each(|n| {
                assert_eq!(cx.subscribers(&topic), 1);
                cx.publish(&topic, format_args!("{n}")).unwrap();
            });
        });
        assert_eq!(data(&simulation, client), ["goodbye"]);
        assert_eq!(simulation.stats().closed.slow, 0);
    }
}

#[test]
fn a_log_is_let_go_when_one_that_was_passed_by_has_caught_up() {
    for policy in [Backpressure::Latest, Backpressure::DropOldest] {
        let topic = Topic::new("t").log(3, usize::MAX).backpressure(policy);
        let mut simulation = serving(&topic);
        let slow = simulation.get("/");
        simulation.stall(slow);
        simulation.set_faults(faults(|faults| faults.socket_buffer_bytes = 100));
        publish(&mut simulation, &topic, (0..9).map(|_| "x".repeat(1_000)));
        assert!(simulation.stats().log_bytes > 3_000);
        simulation.resume(slow);
        simulation.turn();
        assert_eq!(simulation.stats().log_bytes, 0);
    }
}

#[test]
fn a_log_is_let_go_when_the_slowest_catches_up_during_a_pass() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    let clients: Vec<_> = (0..THREE_TURNS).map(|_| simulation.get("/")).collect();
    simulation.set_faults(faults(|faults| faults.socket_buffer_bytes = 100));
    simulation.stall(clients[0]);
    publish(&mut simulation, &topic, (0..3).map(|_| "x".repeat(1_000)));
    let published = topic.clone();
    simulation.queue(move |cx| {
        assert_eq!(cx.subscribers(&published), THREE_TURNS);
        cx.publish(&published, "last").unwrap();
    });
    simulation.turn_once(); // The pass has met the slow one.
    simulation.resume(clients[0]);
    simulation.turn();
    assert_eq!(simulation.events(clients[0]).len(), 4);
    assert_eq!(simulation.stats().log_bytes, 0);
}

#[test]
fn a_subscriber_that_reads_on_after_a_pass_has_met_it_holds_nothing_back() {
    let topic = Topic::new("t");
    let mut simulation = serving(&topic);
    let slow = simulation.get("/");
    let others: Vec<_> = (1..THREE_TURNS).map(|_| simulation.get("/")).collect();
    simulation.set_faults(faults(|faults| faults.socket_buffer_bytes = 100));
    simulation.stall(slow);
    // It is given the first event, and has read some of it when the second is on its way.
    let long = "x".repeat(200);
    publish(&mut simulation, &topic, [&long]);
    simulation.queue({
        let topic = topic.clone();
        move |cx| {
            assert_eq!(cx.subscribers(&topic), THREE_TURNS);
            cx.publish(&topic, "2").unwrap();
        }
    });
    simulation.turn_once();
    assert!(data(&simulation, *others.last().unwrap()).len() < 2, "the pass is not over");
    simulation.resume(slow);
    simulation.turn();
    assert_eq!(data(&simulation, slow), [long, "2".to_owned()]);
    assert_eq!(simulation.stats().log_bytes, 0);
}
