//! Holes, restarts, full queues: which subscribers a loss is reported to, and which are not affected.

use starwheel::{Backpressure, Topic, TrySendError, testing::SimulatedWorkers};

use crate::words::{come_back, got, link_faults, ms, publish, workers_with};

/// Publishes to a worker that takes nothing, until it is left out, and lets it continue.
fn leave_out(workers: &mut SimulatedWorkers, worker: usize, topic: &Topic, lost: usize) {
    workers.set_link_faults(worker, link_faults(|it| it.queue_events = 1));
    workers.stop(worker);
    workers.handle().publish(topic, "in the queue").unwrap();
    let refused = workers.handle().publish(topic, "refused");
    assert_eq!(refused, Err(TrySendError::Full("refused")));
    workers.advance(ms(1_000));
    for n in 0..lost {
        workers.handle().publish(topic, format!("lost {n}")).unwrap();
    }
    workers.set_link_faults(worker, link_faults(|_| {}));
    workers.resume(worker);
    workers.turn();
}

#[test]
fn a_loss_is_reported_once_per_stream_and_topic_by_the_policy_of_each() {
    let policies =
        [Backpressure::DropOldest, Backpressure::Latest, Backpressure::Disconnect].into_iter();
    let topics: Vec<_> =
        policies.map(|policy| Topic::new(format!("{policy:?}")).backpressure(policy)).collect();
    let mut workers = workers_with(2, &topics);
    let oldest = [workers[1].get("/?t=0"), workers[1].get("/?t=0,1")];
    let latest = workers[1].get("/?t=1");
    let disconnects = workers[1].get("/?t=0,2");
    let elsewhere = workers[0].get("/?t=0,1,2");
    leave_out(&mut workers, 1, &topics[0], 3);
    for topic in &topics {
        publish(&mut workers, topic, "after");
    }
    assert_eq!(got(&workers, 1, oldest[0]), ["gap DropOldest", "after"]);
    assert_eq!(got(&workers, 1, oldest[1]), ["gap DropOldest", "after", "after"]);
    assert_eq!(got(&workers, 1, latest), ["after"]);
    assert!(!workers[1].is_open(disconnects), "dropped");
    assert_eq!(workers[1].stats().closed.slow, 1);
    let all = got(&workers, 0, elsewhere);
    assert_eq!(all.iter().filter(|data| data.starts_with("lost")).count(), 3);
    assert!(!all.iter().any(|data| data.starts_with("gap")), "{all:?}");
    assert_eq!((workers.losses(0), workers.losses(1)), (0, 1));
}

#[test]
fn what_a_topic_keeps_is_not_lost_to_a_worker_that_was_left_out() {
    let topic = Topic::new("t").history(5, 1 << 16).backpressure(Backpressure::DropOldest);
    let mut workers = workers_with(2, std::slice::from_ref(&topic));
    let client = workers[1].get("/");
    leave_out(&mut workers, 1, &topic, 4);
    let kept = ["in the queue", "lost 0", "lost 1", "lost 2", "lost 3"];
    assert_eq!(got(&workers, 1, client), kept, "nothing is missing");
    leave_out(&mut workers, 1, &topic, 6);
    let rest = got(&workers, 1, client).split_off(kept.len());
    assert_eq!(rest, ["gap t", "lost 1", "lost 2", "lost 3", "lost 4", "lost 5"]);
}

#[test]
fn what_was_published_by_hand_on_a_driven_topic_is_not_lost_to_a_worker_that_was_left_out() {
    let load = Topic::new("load").history(5, 1 << 16).backpressure(Backpressure::DropOldest);
    let mut workers = workers_with(2, std::slice::from_ref(&load));
    for worker in 0..2 {
        workers[worker].context().drive(&load, ms(600_000), |feed| feed.send("rendered"));
    }
    let client = workers[1].get("/");
    leave_out(&mut workers, 1, &load, 4);
    let kept = ["rendered", "in the queue", "lost 0", "lost 1", "lost 2", "lost 3"];
    assert_eq!(got(&workers, 1, client), kept, "nothing is missing");
    leave_out(&mut workers, 1, &load, 6);
    publish(&mut workers, &load, "after");
    let rest = got(&workers, 1, client).split_off(kept.len());
    assert_eq!(rest, ["gap load", "lost 1", "lost 2", "lost 3", "lost 4", "lost 5", "after"]);
}

#[test]
fn a_full_queue_refuses_before_a_place_is_given() {
    let (busy, free) = (Topic::new("busy"), Topic::new("free"));
    let mut workers = workers_with(3, &[busy.clone(), free.clone()]);
    let watches = workers[0].get("/");
    let _user = workers[1].get("/?t=0");
    workers.set_link_faults(1, link_faults(|it| it.queue_events = 10));
    workers.stop(1);
    let accepted =
        (0..1_000).take_while(|n| workers.handle().publish(&busy, n.to_string()).is_ok());
    assert_eq!(accepted.count(), 10);
    assert_eq!(workers.last_place(), 11);
    let batch = workers.handle().publish_batch(&busy, ["a", "b"]);
    assert_eq!(batch, Err(TrySendError::Full(["a", "b"])));
    let result = workers[0].context().publish(&busy, "in a closure");
    assert_eq!(result, Err(TrySendError::Full("in a closure")));
    assert_eq!(workers.last_place(), 11);
    // Whom the full worker does not concern is not refused.
    workers.handle().publish(&free, "free").unwrap();
    workers.turn();
    let numbers: Vec<_> = (0..10).map(|n| n.to_string()).chain(["free".to_owned()]).collect();
    assert_eq!(got(&workers, 0, watches), numbers, "all or none");
}

#[test]
fn a_worker_that_takes_nothing_for_a_second_no_longer_holds_the_others_up() {
    let topic = Topic::new("t");
    let mut workers = workers_with(2, std::slice::from_ref(&topic));
    let (watches, _stuck) = (workers[0].get("/"), workers[1].get("/"));
    workers.set_link_faults(1, link_faults(|it| it.queue_events = 1));
    workers.stop(1);
    workers.handle().publish(&topic, "first").unwrap();
    workers.handle().publish(&topic, "refused").unwrap_err();
    workers.advance(ms(999));
    workers.handle().publish(&topic, "refused").unwrap_err();
    workers.advance(ms(1));
    publish(&mut workers, &topic, "second");
    assert_eq!(got(&workers, 0, watches), ["first", "second"]);
    assert_eq!(workers.losses(1), 1);
}

#[test]
fn a_restart_without_loss_is_no_gap() {
    let topic = Topic::new("t").history(100, 1 << 16).backpressure(Backpressure::DropOldest);
    let mut workers = workers_with(2, std::slice::from_ref(&topic));
    let stays = workers[0].get("/");
    publish(&mut workers, &topic, "1");
    let id = workers[0].last_event_id(stays);
    workers.restart_sequencer(0);
    publish(&mut workers, &topic, "2");
    assert_eq!(got(&workers, 0, stays), ["1", "2"]);
    assert_eq!(workers[0].last_event_id(stays), "_sim0g1-3");
    let back = come_back(&mut workers, 1, &id);
    assert_eq!(got(&workers, 1, back), ["2"]);
}

#[test]
fn a_lost_tail_is_a_gap_for_clients_that_saw_it_and_for_no_others() {
    let topic = Topic::new("t").history(100, 1 << 16).backpressure(Backpressure::DropOldest);
    let mut workers = workers_with(2, std::slice::from_ref(&topic));
    let stays = workers[0].get("/");
    for n in 1..=5 {
        publish(&mut workers, &topic, n);
    }
    workers.restart_sequencer(2);
    publish(&mut workers, &topic, "after");
    assert_eq!(got(&workers, 0, stays), ["1", "2", "3", "4", "5", "gap t", "after"]);
    for (id, expected) in [
        ("_sim0g0-3", &["3", "after"][..]),
        ("_sim0g0-4", &["after"]),
        ("_sim0g0-5", &["gap t"]),
        ("_sim0g0-6", &["gap t"]),
        ("_sim0g1-8", &[]),
    ] {
        for worker in 0..2 {
            let back = come_back(&mut workers, worker, id);
            assert_eq!(got(&workers, worker, back), expected, "{id} at {worker}");
        }
    }
}

#[test]
fn a_client_ahead_of_its_worker_gets_a_gap_for_the_lost_tail_too() {
    let topic = Topic::new("t").history(100, 1 << 16).backpressure(Backpressure::DropOldest);
    let mut workers = workers_with(2, std::slice::from_ref(&topic));
    let (fast, _slow) = (workers[0].get("/"), workers[1].get("/"));
    publish(&mut workers, &topic, "1");
    workers.stop(1);
    for n in 2..=5 {
        publish(&mut workers, &topic, n);
    }
    let id = workers[0].last_event_id(fast);
    let back = workers[1].connect();
    workers[1].request(back, starwheel::Method::Get, "/", &[("Last-Event-ID", &id)], b"");
    workers[1].turn();
    workers.restart_sequencer(3);
    workers.resume(1);
    publish(&mut workers, &topic, "after");
    assert_eq!(got(&workers, 1, back), ["gap t", "after"]);
}

#[test]
fn a_total_loss_is_reported_once() {
    let topics = ["a", "b"]
        .map(|name| Topic::new(name).history(100, 1 << 16).backpressure(Backpressure::DropOldest));
    let mut workers = workers_with(2, &topics);
    let clients = [workers[0].get("/"), workers[1].get("/")];
    for n in 1..=4 {
        publish(&mut workers, &topics[n % 2], n);
    }
    workers.restart_sequencer(u64::MAX);
    publish(&mut workers, &topics[0], "after");
    for (worker, client) in clients.into_iter().enumerate() {
        let events = got(&workers, worker, client);
        assert_eq!(events, ["1", "2", "3", "4", "gap a", "gap b", "after"]);
    }
}

#[test]
fn a_past_that_was_sent_before_a_loss_brings_nothing_back() {
    let topic = Topic::new("t").history(100, 1 << 16).backpressure(Backpressure::DropOldest);
    let mut workers = workers_with(2, std::slice::from_ref(&topic));
    for n in 1..=5 {
        publish(&mut workers, &topic, n);
    }
    workers.set_link_faults(1, link_faults(|it| it.history_delay_max = ms(1_000)));
    let client = come_back(&mut workers, 1, "_sim0g0-2");
    workers.restart_sequencer(3);
    workers.advance(ms(2_000));
    publish(&mut workers, &topic, "after");
    assert_eq!(got(&workers, 1, client), ["2", "after"]);
}

#[test]
fn a_past_that_was_sent_before_a_loss_brings_back_no_lost_event() {
    let topic = Topic::new("t").history(3, 1 << 16).backpressure(Backpressure::DropOldest);
    let mut workers = workers_with(2, std::slice::from_ref(&topic));
    for n in 1..=3 {
        publish(&mut workers, &topic, n);
    }
    workers.set_link_faults(1, link_faults(|it| it.history_delay_max = ms(1_000)));
    let client = come_back(&mut workers, 1, "_sim0g0-2");
    // The first event leaves the history, and all others are lost.
    publish(&mut workers, &topic, "4");
    workers.restart_sequencer(3);
    workers.advance(ms(2_000));
    publish(&mut workers, &topic, "after");
    assert_eq!(got(&workers, 1, client), ["after"]);
}

#[test]
fn a_loss_during_a_pass_is_reported_to_those_that_the_pass_has_reached() {
    let topic = Topic::new("t").history(9, 1 << 16).backpressure(Backpressure::DropOldest);
    let mut workers = workers_with(1, std::slice::from_ref(&topic));
    let clients: Vec<_> = (0..200).map(|_| workers[0].get("/")).collect();
    workers.handle().publish(&topic, "undone").unwrap();
    workers[0].turn_once();
    workers.restart_sequencer(1);
    workers.turn();
    let all: Vec<_> = clients.into_iter().map(|client| got(&workers, 0, client)).collect();
    let told = all.iter().filter(|events| **events == ["undone", "gap t"]).count();
    let unaware = all.iter().filter(|events| events.is_empty()).count();
    assert!((1..200).contains(&told) && told + unaware == 200, "{told} and {unaware}");
}
