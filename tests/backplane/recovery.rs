//! Machines that have missed something, and get it before anything that would hide it.

use starwheel::{
    Backpressure, JoinAt, Router, Sse, Topic,
    testing::{LinkFaults, SimulatedMachines, StoreKey},
};

use crate::words::{come_back, got, history, machines_with, ms, publish, store_faults};

#[test]
fn a_stream_gets_its_topics_although_the_store_has_forgotten_what_it_was() {
    let topic = history("t");
    let mut machines = machines_with(&[1, 1], std::slice::from_ref(&topic));
    publish(&mut machines, 0, &topic, "kept");
    // The first that notices it is the request for the past of the topic.
    machines.delete_key(&StoreKey::Meta);
    let client = machines[1].get("/");
    machines.advance(ms(1_000));
    publish(&mut machines, 0, &topic, "live");
    assert_eq!(got(&machines, (1, 0), client), ["live"]);
}

/// The store stops so long after a hole was found, and the topic is forgotten meanwhile.
fn forget_after(wait_ms: u64) {
    let plain = || Topic::new("plain").backpressure(Backpressure::DropOldest);
    let mut machines = SimulatedMachines::new(2, move |_machine| {
        Router::new()
            .get("/kept", |_req, _cx| Sse::new().subscribe(&history("kept")))
            .get("/plain", move |_req, _cx| Sse::new().subscribe(&plain()))
    });
    let kept = machines[1].get("/kept");
    machines.stop(1);
    publish(&mut machines, 0, &history("kept"), "missed");
    machines.cut(1);
    machines.trim_log(0);
    publish(&mut machines, 0, &history("kept"), "after the hole");
    machines.set_store_faults(1, store_faults(|it| it.delay_max = ms(100)));
    machines.resume(1);
    machines.advance(ms(wait_ms));
    machines.stop_store();
    machines[1].reset(kept);
    machines.advance(ms(200_000));
    assert_eq!(machines.topics(1), 0);
    machines.set_store_faults(1, store_faults(|_| {}));
    let client = machines[1].get("/plain");
    machines.resume_store();
    machines.advance(ms(3_000));
    publish(&mut machines, 0, &plain(), "heard");
    machines.advance(ms(1_000));
    let heard = got(&machines, (1, 0), client);
    assert!(heard.contains(&"heard".into()), "after {wait_ms} ms: {heard:?}");
}

#[test]
fn a_recovery_ends_although_the_topic_it_waits_for_is_forgotten() {
    (0..1_000).step_by(20).for_each(forget_after);
}

#[test]
fn a_worker_that_was_left_out_catches_up_when_pasts_have_come_that_were_missing() {
    let topics = [history("t"), history("other")];
    let mut machines = machines_with(&[2, 1], &topics);
    let client = machines[(0, 1)].get("/?t=0");
    let mut faults = LinkFaults::default();
    faults.queue_events = 1;
    machines.set_link_faults((0, 1), faults);
    machines.stop_worker((0, 1));
    for n in 0..4 {
        publish(&mut machines, 1, &topics[0], n);
    }
    machines.advance(ms(1_500));
    assert_eq!(machines.losses((0, 1)), 1);
    // A topic begins to be used, and the store does not say what it had.
    machines.stop_store();
    machines[(0, 0)].get("/?t=1");
    machines.set_link_faults((0, 1), LinkFaults::default());
    machines.resume_worker((0, 1));
    machines.advance(ms(100));
    machines.resume_store();
    machines.advance(ms(10_000));
    // Nothing is published, so nothing else makes it catch up.
    assert_eq!(got(&machines, (0, 1), client), ["0", "1", "2", "3"]);
}

/// A stream of a worker with an old topic begins to use a topic that another worker of the machine
/// already has back, while that of the old one is still missing.
fn subscribe_after(wait_ms: u64) {
    let topics: Vec<_> = (0..70).map(|n| history(&format!("t{n}"))).collect();
    let mut machines = machines_with(&[1, 2], &topics);
    let _all = machines[(1, 0)].get("/");
    let client = machines[(1, 1)].get("/?t=69");
    publish(&mut machines, 0, &topics[69], "x0");
    machines.stop(1);
    publish(&mut machines, 0, &topics[69], "x1");
    publish(&mut machines, 0, &topics[0], "y1");
    machines.cut(1);
    machines.trim_log(0);
    publish(&mut machines, 0, &topics[0], "y2");
    machines.set_store_faults(1, store_faults(|it| it.delay_max = ms(60)));
    machines.resume(1);
    machines.advance(ms(wait_ms));
    let stream = machines[(1, 1)].context().streams().next().unwrap();
    machines[(1, 1)].run(|cx| assert!(cx.subscribe_at(stream, &topics[0], JoinAt::Oldest)));
    machines.turn();
    // Its client is cut at once, with the id that it has then.
    let mut all = got(&machines, (1, 1), client);
    let id = machines[(1, 1)].last_event_id(client);
    machines[(1, 1)].reset(client);
    let client = come_back(&mut machines, (0, 0), "/?t=0,69", &id);
    machines.turn();
    all.extend(got(&machines, (0, 0), client));
    let of_x: Vec<_> = all.iter().filter(|data| data.contains('x')).collect();
    assert_eq!(of_x, ["x0", "x1"], "after {wait_ms} ms, with {id}: {all:?}");
}

#[test]
fn a_topic_that_is_opened_during_a_recovery_does_not_hide_what_is_missing() {
    (0..600).step_by(6).for_each(subscribe_after);
}
