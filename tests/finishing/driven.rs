//! Ends of topics that each worker drives, whose last event comes from the namespace.

use starwheel::{
    Backpressure, Config, Topic,
    testing::{LinkFaults, SimulatedWorkers},
};

use crate::words::{assert_ended, router, secs};

fn workers(topic: &Topic) -> SimulatedWorkers {
    SimulatedWorkers::with_config(&Config::default(), 3, 2, |_| router(std::slice::from_ref(topic)))
}

fn drive(workers: &mut SimulatedWorkers, worker: usize, topic: &Topic) {
    let driven = topic.clone();
    workers[worker].run(move |cx| cx.drive(&driven, secs(1), |feed| feed.send("render")));
}

#[test]
fn the_updater_of_a_topic_without_subscribers_is_dropped_at_its_end() {
    for topic in [Topic::new("run"), Topic::new("run").retain()] {
        let mut workers = workers(&topic);
        drive(&mut workers, 0, &topic);
        workers.turn();
        workers.handle().finish(&topic, "end").unwrap();
        workers.turn();
        workers[0].run(|cx| assert!(!cx.stop_driving(&topic)));
    }
}

#[test]
fn a_topic_that_is_driven_after_its_end_ends_on_a_worker_that_has_not_used_it() {
    let topic = Topic::new("run").retain();
    let mut workers = workers(&topic);
    let early = workers[0].get("/");
    workers.turn();
    workers.handle().finish(&topic, "end").unwrap();
    workers.turn();
    assert_ended(&workers[0], early, &["end"]);
    drive(&mut workers, 1, &topic);
    workers.turn();
    let late = workers[1].get("/");
    workers.advance(secs(3));
    assert_ended(&workers[1], late, &["end"]);
    workers[1].run(|cx| assert!(!cx.stop_driving(&topic)));
}

#[test]
fn a_worker_that_was_left_out_learns_the_end_of_a_topic_that_it_drives() {
    for keep in [600, 0] {
        let topic = Topic::new("run").retain().backpressure(Backpressure::DropOldest);
        let topic = topic.keep_finished(secs(keep));
        let mut workers = workers(&topic);
        drive(&mut workers, 1, &topic);
        let client = workers[1].get("/");
        workers.turn();
        let mut faults = LinkFaults::default();
        faults.queue_events = 5;
        workers.set_link_faults(1, faults);
        workers.stop(1);
        while workers.handle().publish(&topic, "x").is_ok() {}
        workers.advance(secs(2));
        workers.handle().publish(&topic, "missed").unwrap();
        workers.handle().finish(&topic, "end").unwrap();
        // The events of the topic are dropped when it is used again, if their time is over.
        workers[0].get("/");
        workers.turn();
        workers.resume(1);
        workers.advance(secs(3));
        assert_eq!(workers.losses(1), 1);
        assert!(!workers[1].is_open(client) || workers[1].stats().streams == 0, "keep {keep}");
        workers[1].run(|cx| assert!(!cx.stop_driving(&topic), "keep {keep}"));
    }
}
