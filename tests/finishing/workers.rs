//! Topics that end over workers: the end has a place like any other event.

use starwheel::{
    Backpressure, Config, Topic,
    testing::{BodyEnd, Client, LinkFaults, SimulatedWorkers},
};

use crate::words::{assert_ended, assert_open, assert_stays_away, back, got, router, run, secs};

fn workers(count: usize, topics: &[Topic]) -> SimulatedWorkers {
    SimulatedWorkers::new(count, |_worker| router(topics))
}

/// A client reconnects to a worker with this id.
fn back_to(workers: &mut SimulatedWorkers, worker: usize, id: &str) -> Client {
    let client = back(&mut workers[worker], id);
    workers.turn();
    client
}

#[test]
fn streams_of_all_workers_end_after_the_last_event_in_one_order() {
    let run = run();
    let mut workers = workers(3, std::slice::from_ref(&run));
    let clients: Vec<_> = (0..3).map(|worker| workers[worker].get("/")).collect();
    let handle = workers.handle_of_all();
    handle.publish(&run, "a").unwrap();
    workers[1].run(|cx| cx.publish(&run, "b").unwrap());
    handle.finish(&run, "end").unwrap();
    handle.publish(&run, "late").unwrap();
    workers[2].run(|cx| cx.publish(&run, "later").unwrap());
    workers[2].run(|cx| cx.finish(&run, "second end").unwrap());
    workers.turn();
    let ids: Vec<_> = (0..3).map(|worker| workers[worker].last_event_id(clients[worker])).collect();
    for (worker, client) in clients.iter().enumerate() {
        assert_ended(&workers[worker], *client, &["a", "b", "end"]);
        assert_eq!(ids[worker], ids[0]);
    }
    assert_eq!(workers.last_place(), 4, "late events get no place");
    let stats = workers.handle_of_all().stats();
    assert_eq!((stats.closed.topics_finished, stats.published_late), (3, 2));
}

#[test]
fn a_client_that_comes_to_another_worker_gets_the_history_and_the_end_or_stays_away() {
    let run = run();
    let mut workers = workers(4, std::slice::from_ref(&run));
    let client = workers[0].get("/");
    workers.handle().publish(&run, "a").unwrap();
    workers.turn();
    let after_a = workers[0].last_event_id(client);
    workers.handle().finish(&run, "end").unwrap();
    workers.turn();
    let at_end = workers[0].last_event_id(client);
    // None of them has used the topic yet.
    let late = workers[1].get("/");
    workers.turn();
    assert_ended(&workers[1], late, &["a", "end"]);
    let resumed = back_to(&mut workers, 2, &after_a);
    assert_ended(&workers[2], resumed, &["end"]);
    for worker in 0..4 {
        let away = back_to(&mut workers, worker, &at_end);
        assert_stays_away(&workers[worker], away);
    }
}

#[test]
fn the_end_is_kept_for_its_time_although_no_worker_uses_the_topic() {
    let run = run();
    let mut workers = workers(2, std::slice::from_ref(&run));
    let client = workers[0].get("/");
    workers.handle().finish(&run, "end").unwrap();
    workers.turn();
    let at_end = workers[0].last_event_id(client);
    workers.advance(secs(599));
    let late = workers[1].get("/");
    workers.turn();
    assert_ended(&workers[1], late, &["end"]);
    workers.advance(secs(1));
    for worker in 0..2 {
        let late = workers[worker].get("/");
        workers.turn();
        assert_ended(&workers[worker], late, &["gap"]);
        let id = workers[worker].last_event_id(late);
        for id in [&id, &at_end] {
            let away = back_to(&mut workers, 1 - worker, id);
            assert_stays_away(&workers[1 - worker], away);
        }
    }
    workers.advance(secs(3600));
    assert_eq!(workers.topics(), 0);
    let away = back_to(&mut workers, 0, &at_end);
    assert_stays_away(&workers[0], away);
    let late = workers[0].get("/");
    workers.turn();
    assert_ended(&workers[0], late, &["gap"]);
    workers.handle().publish(&run, "late").unwrap();
    assert_eq!(workers.last_place(), 2);
}

#[test]
fn a_day_later_the_name_is_that_of_a_new_topic_on_all_workers() {
    let run = run();
    let mut workers = workers(2, std::slice::from_ref(&run));
    workers.handle().finish(&run, "end").unwrap();
    workers.advance(secs(2 * 24 * 3600));
    let client = workers[0].get("/");
    workers.handle().publish(&run, "new").unwrap();
    workers.turn();
    assert_open(&workers[0], client, &["new"]);
}

#[test]
fn a_stream_with_another_topic_goes_on_on_every_worker() {
    let topics = [run(), Topic::new("news").history(10, 10_000), Topic::new("local").local()];
    let mut workers = workers(2, &topics);
    let clients = [workers[0].get("/"), workers[1].get("/")];
    workers.turn();
    workers.handle().finish(&topics[0], "end").unwrap();
    workers.handle().publish(&topics[1], "news").unwrap();
    workers.turn();
    workers.handle().finish(&topics[1], "last news").unwrap();
    workers.turn();
    for worker in 0..2 {
        assert_open(&workers[worker], clients[worker], &["end", "news", "last news"]);
        workers[worker].run(|cx| {
            assert_eq!(topics.each_ref().map(|topic| cx.subscribers(topic)), [0, 0, 1]);
        });
    }
    // On every worker, because each has a topic of its own.
    workers.handle_of_all().finish(&topics[2], "last of all").unwrap();
    workers.turn();
    for worker in 0..2 {
        let expected = ["end", "news", "last news", "last of all"];
        assert_ended(&workers[worker], clients[worker], &expected);
    }
}

#[test]
fn a_worker_that_was_left_out_learns_the_end_with_its_loss() {
    for policy in [Backpressure::DropOldest, Backpressure::Latest] {
        for keep in [600, 0] {
            let run = Topic::new("run").history(3, 100_000).backpressure(policy);
            let run = run.keep_finished(secs(keep));
            let mut workers = workers(2, std::slice::from_ref(&run));
            let client = workers[1].get("/");
            let mut faults = LinkFaults::default();
            faults.queue_events = 5;
            workers.set_link_faults(1, faults);
            workers.stop(1);
            while workers.handle().publish(&run, "x").is_ok() {}
            workers.advance(secs(2));
            for n in 0..10 {
                workers.handle().publish(&run, n.to_string()).unwrap();
            }
            workers.handle().finish(&run, "end").unwrap();
            workers.advance(secs(2));
            workers.resume(1);
            workers.advance(secs(2));
            assert_eq!(workers.losses(1), 1);
            let answer = workers[1].response(client);
            assert_eq!(answer.end, BodyEnd::Complete, "{policy:?} {keep}");
            assert_eq!(got(&answer).last().unwrap(), "end", "{policy:?} {keep}");
        }
    }
}

#[test]
fn a_worker_that_was_left_out_until_only_the_end_was_kept_ends_its_streams_after_a_gap() {
    for policy in [Backpressure::DropOldest, Backpressure::Latest] {
        let run = run().backpressure(policy).keep_finished(secs(0));
        let mut workers = workers(2, std::slice::from_ref(&run));
        let client = workers[1].get("/");
        let mut faults = LinkFaults::default();
        faults.queue_events = 5;
        workers.set_link_faults(1, faults);
        workers.stop(1);
        while workers.handle().publish(&run, "x").is_ok() {}
        workers.advance(secs(2));
        workers.handle().publish(&run, "missed").unwrap();
        workers.handle().finish(&run, "end").unwrap();
        let late = workers[0].get("/");
        workers.turn();
        assert_ended(&workers[0], late, &["gap"]);
        workers.resume(1);
        workers.advance(secs(2));
        assert_eq!(workers.losses(1), 1);
        let answer = workers[1].response(client);
        assert_eq!((answer.end, got(&answer).last().unwrap().as_str()), (BodyEnd::Complete, "gap"));
    }
}

#[test]
fn a_sequencer_that_has_lost_the_end_takes_events_again() {
    let run = run().backpressure(Backpressure::DropOldest);
    let mut workers = workers(2, std::slice::from_ref(&run));
    workers.handle().publish(&run, "a").unwrap();
    workers.handle().finish(&run, "end").unwrap();
    workers.turn();
    workers.restart_sequencer(1);
    workers.turn();
    let client = workers[0].get("/");
    workers.turn();
    assert_open(&workers[0], client, &["a"]);
    workers.handle().publish(&run, "b").unwrap();
    workers.turn();
    assert_open(&workers[0], client, &["a", "b"]);
}

#[test]
fn a_topic_that_each_worker_drives_ends_on_all_of_them() {
    let run = Topic::new("run").retain();
    let mut workers = workers(2, std::slice::from_ref(&run));
    for worker in 0..2 {
        let driven = run.clone();
        workers[worker].run(move |cx| cx.drive(&driven, secs(1), |feed| feed.send("render")));
    }
    let clients = [workers[0].get("/"), workers[1].get("/")];
    workers.turn();
    workers.handle().finish(&run, "end").unwrap();
    workers.turn();
    for worker in 0..2 {
        assert_ended(&workers[worker], clients[worker], &["render", "end"]);
        workers[worker].run(|cx| assert!(!cx.stop_driving(&run)));
    }
}

#[test]
fn events_that_are_late_on_their_way_come_before_the_end() {
    let run = run();
    let topics = [run.clone()];
    let mut workers = SimulatedWorkers::with_config(&Config::default(), 7, 3, |_| router(&topics));
    let mut faults = LinkFaults::default();
    faults.delay_max = secs(1);
    workers.set_link_faults(2, faults);
    let clients: Vec<_> = (0..3).map(|worker| workers[worker].get("/")).collect();
    workers.advance(secs(3));
    workers.handle().publish(&run, "a").unwrap();
    workers.handle().finish(&run, "end").unwrap();
    workers.turn();
    assert_open(&workers[2], clients[2], &[]);
    assert_ended(&workers[0], clients[0], &["a", "end"]);
    // Its client is ahead of the slow worker.
    let id = workers[0].last_event_id(clients[0]);
    let away = back_to(&mut workers, 2, &id);
    workers.advance(secs(3));
    assert_ended(&workers[2], clients[2], &["a", "end"]);
    let answer = workers[2].response(away);
    assert_eq!(answer.end, BodyEnd::Complete);
    assert_eq!(got(&answer), [""; 0]);
}
