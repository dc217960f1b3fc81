//! Streams wait until the pasts of all their topics have come.

use starwheel::{
    Backpressure, Ending, JoinAt, Request, Router, Sse, StreamId, Topic,
    testing::{BodyEnd, SimulatedWorkers},
};

use crate::words::{chosen, come_back, got, link_faults, ms, publish, workers_with};

fn two_topics() -> [Topic; 2] {
    ["a", "b"].map(|name| Topic::new(name).history(100, 1 << 16))
}

/// Two workers; the second learns late of what was before.
fn with_late_pasts(topics: &[Topic]) -> SimulatedWorkers {
    let mut workers = workers_with(2, topics);
    workers.set_link_faults(1, link_faults(|it| it.history_delay_max = ms(100)));
    workers
}

#[test]
fn a_stream_gets_all_its_topics_together_and_its_head_at_once() {
    let topics = two_topics();
    let mut workers = with_late_pasts(&topics);
    for n in 1..=6 {
        publish(&mut workers, &topics[n % 2], n);
    }
    let client = come_back(&mut workers, 1, "_sim0g0-3");
    for n in 7..=9 {
        publish(&mut workers, &topics[n % 2], n);
    }
    assert_eq!(workers[1].response(client).status, 200, "the head is out");
    let mut before = Vec::new();
    for _ in 0..200 {
        workers.advance(ms(1));
        let now = got(&workers, 1, client);
        assert!(before.is_empty() || now == before, "all at once");
        before = now;
    }
    assert_eq!(before, ["3", "4", "5", "6", "7", "8", "9"]);
}

#[test]
fn a_topic_that_keeps_nothing_waits_for_nothing() {
    let plain = Topic::new("plain");
    let mut workers = with_late_pasts(std::slice::from_ref(&plain));
    let client = workers[1].get("/");
    publish(&mut workers, &plain, "at once");
    assert_eq!(got(&workers, 1, client), ["at once"]);
}

#[test]
fn a_stream_that_subscribes_to_a_further_topic_gets_nothing_until_its_past_has_come() {
    let topics = two_topics();
    let watched = topics.clone();
    let mut workers = SimulatedWorkers::new(2, move |_worker| {
        let [a, b] = watched.clone();
        Router::new().get("/", move |_req: &Request, _cx: &mut starwheel::Context<'_>| {
            let b = b.clone();
            Sse::new().subscribe(&a).on_connect(move |stream| {
                assert!(stream.subscribe(&b));
                assert!(!stream.subscribe(&b), "it waits for it already");
            })
        })
    });
    let _user_of_a = workers[1].get("/");
    for n in 1..=4 {
        publish(&mut workers, &topics[n % 2], n);
    }
    workers.set_link_faults(0, link_faults(|it| it.history_delay_max = ms(100)));
    let client = come_back(&mut workers, 0, "_sim0g0-3");
    publish(&mut workers, &topics[0], "5");
    assert_eq!(got(&workers, 0, client), [""; 0]);
    workers.advance(ms(200));
    publish(&mut workers, &topics[1], "6");
    assert_eq!(got(&workers, 0, client), ["3", "4", "5", "6"]);
}

#[test]
fn an_open_stream_that_waits_for_a_further_topic_keeps_a_true_id() {
    let topics = two_topics();
    let mut workers = workers_with(2, &topics);
    for n in 1..=4 {
        publish(&mut workers, &topics[n % 2], n);
    }
    let client = workers[0].connect();
    let headers = [("Last-Event-ID", "_sim0g0-3")];
    workers[0].request(client, starwheel::Method::Get, "/?t=0", &headers, b"");
    workers.turn();
    assert_eq!(got(&workers, 0, client), ["4"]);
    workers.set_link_faults(0, link_faults(|it| it.history_delay_max = ms(100)));
    let id = workers[0].context().streams().next().unwrap();
    workers[0].run(|cx| assert!(cx.subscribe(id, &topics[1])));
    publish(&mut workers, &topics[0], "5");
    assert_eq!(got(&workers, 0, client), ["4"], "5 would hide 3");
    workers.advance(ms(200));
    assert_eq!(got(&workers, 0, client), ["4", "3", "5"]);
    assert_eq!(workers[0].last_event_id(client), "_sim0g0-6");
}

#[test]
fn a_snapshot_that_ends_is_complete_although_it_has_to_wait() {
    let topics = two_topics();
    let watched = topics.clone();
    let mut workers = SimulatedWorkers::new(2, move |_worker| {
        let topics = watched.clone();
        Router::new().get("/", move |req: &Request, _cx: &mut starwheel::Context<'_>| {
            let all = chosen(req, &topics);
            let sse = all.fold(Sse::new(), |sse, it| sse.subscribe_at(it, JoinAt::Oldest));
            sse.ending(Ending::Finish)
        })
    });
    for n in 1..=4 {
        publish(&mut workers, &topics[n % 2], n);
    }
    workers.set_link_faults(1, link_faults(|it| it.history_delay_max = ms(100)));
    let client = workers[1].get("/");
    assert_eq!(workers[1].response(client).end, BodyEnd::Open);
    workers.advance(ms(200));
    assert_eq!(got(&workers, 1, client), ["1", "2", "3", "4"]);
    assert_eq!(workers[1].response(client).end, BodyEnd::Complete);
}

#[test]
fn a_stream_that_is_finished_while_it_waits_is_cut() {
    let topics = two_topics();
    let mut workers = with_late_pasts(&topics);
    publish(&mut workers, &topics[0], "1");
    for ending in [Ending::Finish, Ending::Drop] {
        let client = come_back(&mut workers, 1, "_sim0g0-1");
        let streams: Vec<StreamId> = workers[1].context().streams().collect();
        workers[1].run(|cx| assert!(cx.close(streams[0], ending)));
        workers.advance(ms(200));
        // As a complete stream it would lack an event.
        assert_ne!(workers[1].response(client).end, BodyEnd::Complete);
        assert_eq!(workers[1].stats().streams, 0);
        workers.advance(ms(121_000));
    }
    assert_eq!(workers[1].stats().log_bytes, 0);
}

#[test]
fn a_client_that_leaves_while_it_waits_leaves_nothing() {
    let topics = two_topics();
    let mut workers = with_late_pasts(&topics);
    for _ in 0..10 {
        let client = come_back(&mut workers, 1, "_sim0g0-1");
        workers[1].reset(client);
        workers.turn();
    }
    workers.advance(ms(200));
    let stays = come_back(&mut workers, 1, "_sim0g0-1");
    workers.advance(ms(200));
    publish(&mut workers, &topics[0], "1");
    assert_eq!(got(&workers, 1, stays), ["1"]);
    workers[1].reset(stays);
    workers.advance(ms(200_000));
    assert_eq!((workers[1].stats().log_bytes, workers.topics()), (0, 2), "the test has clones");
}

#[test]
fn a_topic_that_a_stream_no_longer_wants_is_not_waited_for() {
    let topics = two_topics();
    let mut workers = workers_with(2, &topics);
    let _user_of_a = come_back(&mut workers, 1, "_sim0g0-1");
    workers.advance(ms(1));
    let mut workers = with_late_pasts(&topics);
    publish(&mut workers, &topics[0], "1");
    let client = come_back(&mut workers, 1, "_sim0g0-1");
    let id = workers[1].context().streams().next().unwrap();
    workers[1].run(|cx| {
        assert!(cx.unsubscribe(id, &topics[1]));
        assert!(!cx.unsubscribe(id, &topics[1]));
    });
    workers.advance(ms(200));
    publish(&mut workers, &topics[1], "2");
    assert_eq!(got(&workers, 1, client), ["1"]);
}

#[test]
fn a_retained_event_comes_to_the_first_subscriber_of_each_worker() {
    let state = Topic::new("state").retain().backpressure(Backpressure::Latest);
    let mut workers = workers_with(3, std::slice::from_ref(&state));
    publish(&mut workers, &state, "1");
    publish(&mut workers, &state, "2");
    for worker in 0..3 {
        let client = workers[worker].connect();
        workers[worker].request(client, starwheel::Method::Get, "/", &[], b"");
        workers[worker].turn_once();
        assert_eq!(got(&workers, worker, client), ["2"], "in the turn of its birth");
    }
}

#[test]
fn a_stream_that_waits_for_a_loss_with_several_pasts_joins_when_all_of_them_are_here() {
    let late = Topic::new("late").history(100, 1 << 16);
    let state = Topic::new("state").retain();
    let mut workers = with_late_pasts(&[late.clone(), state.clone()]);
    workers[0].get("/?t=0,1");
    workers.turn();
    publish(&mut workers, &late, "old");
    publish(&mut workers, &state, "now");
    let knows_state = workers[1].get("/?t=1");
    workers.advance(ms(200));
    assert_eq!(got(&workers, 1, knows_state), ["now"]);
    // The past of the first topic is on its way when a loss comes with the pasts of both.
    workers.set_link_faults(1, link_faults(|it| it.history_delay_max = ms(10_000)));
    let waits = workers[1].get("/?t=1,0");
    publish(&mut workers, &late, "undone");
    workers.restart_sequencer(1);
    workers.turn();
    assert_eq!(got(&workers, 1, waits), ["now"]);
}

#[test]
fn a_local_topic_is_joined_where_it_is_although_another_is_waited_for() {
    let late = Topic::new("late").history(100, 1 << 16);
    let local = Topic::new("local").history(100, 1 << 16).local();
    let mut workers = with_late_pasts(&[late.clone(), local.clone()]);
    publish(&mut workers, &late, "old");
    for n in 0..5 {
        workers[1].context().publish(&local, n.to_string()).unwrap();
    }
    let client = workers[1].get("/");
    workers[1].context().publish(&local, "while it waits").unwrap();
    workers.advance(ms(200));
    assert_eq!(got(&workers, 1, client), ["while it waits"]);
}
