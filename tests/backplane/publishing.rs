//! What publishers can rely on.

use starwheel::{Topic, testing::StoreRestart};

use crate::words::{got, history, machines_with, ms, publish, store_faults};

#[test]
fn a_store_without_room_is_tried_again_after_a_pause_and_nothing_spins() {
    let topic = history("t");
    let mut machines = machines_with(&[1, 1], std::slice::from_ref(&topic));
    let client = machines[1].get("/");
    machines.set_store_faults(0, store_faults(|it| it.delay_max = ms(50)));
    machines.fill_store();
    for n in 0..3 {
        publish(&mut machines, 0, &topic, n);
    }
    machines.advance(ms(5_000));
    assert_eq!(got(&machines, (1, 0), client), [""; 0]);
    machines.make_room();
    machines.advance(ms(1_000));
    assert_eq!(got(&machines, (1, 0), client), ["0", "1", "2"]);
    assert!(machines.has_sent_all(0));
}

#[test]
fn events_whose_acknowledgement_was_lost_come_once() {
    let topic = history("t");
    let mut machines = machines_with(&[1, 1], std::slice::from_ref(&topic));
    let client = machines[1].get("/");
    machines.set_store_faults(0, store_faults(|it| it.delay_max = ms(50)));
    for n in 0..100 {
        publish(&mut machines, 0, &topic, n);
        machines.advance(ms(n % 30));
        machines.cut(0);
    }
    machines.advance(ms(5_000));
    let all: Vec<_> = (0..100).map(|n: u32| n.to_string()).collect();
    assert_eq!(got(&machines, (1, 0), client), all);
}

#[test]
fn a_process_that_replaces_another_is_not_taken_for_it() {
    let topic = Topic::new("t");
    let mut machines = machines_with(&[1, 1], std::slice::from_ref(&topic));
    let client = machines[1].get("/");
    for n in 0..3 {
        publish(&mut machines, 0, &topic, n);
        machines.kill(0);
        machines.turn();
    }
    assert_eq!(got(&machines, (1, 0), client), ["0", "1", "2"]);
}

#[test]
fn what_the_store_has_lost_is_published_again_in_order() {
    let topic = history("t");
    let mut machines = machines_with(&[1, 1], std::slice::from_ref(&topic));
    let client = machines[1].get("/");
    for n in 0..5 {
        publish(&mut machines, 0, &topic, n);
    }
    machines.restart_store(StoreRestart::WithoutLast(3));
    machines.handle(0).publish(&topic, "later").unwrap();
    machines.advance(ms(1_000));
    let expected = ["0", "1", "2", "3", "4", "gap t", "2", "3", "4", "later"];
    let got = got(&machines, (1, 0), client);
    // What came back while this machine was recovering is part of the gap.
    assert_eq!(got[..6], expected[..6]);
    assert!(expected[6..].ends_with(&got[6..].iter().map(|it| &**it).collect::<Vec<_>>()));
    let lost = machines.places().iter().filter(|given| given.is_lost()).count();
    assert_eq!((machines.places().len(), lost), (9, 3));
}

#[test]
fn topics_and_keys_count_as_what_waits() {
    let mut machines = machines_with(&[1], &[]);
    machines.set_outbox_bytes(1_000_000);
    machines.kill(0);
    machines.stop_store();
    let long = "x".repeat(100_000);
    let handle = machines.handle(0);
    for make in [0, 1] {
        let taken = (0..100).filter(|n| {
            let published = match make {
                0 => handle.publish(&Topic::new(format!("{long}{n}")), "x"),
                _ => handle.publish_once(&Topic::new("t"), &format!("{long}{n}"), "x"),
            };
            published.is_ok()
        });
        assert!(taken.count() <= 10);
    }
    assert!(machines.outbox_bytes(0) >= 1_000_000);
    machines.resume_store();
    machines.advance(ms(3_000));
    assert_eq!((machines.outbox_bytes(0), machines.has_sent_all(0)), (0, true));
    assert_eq!(machines.places().len(), 10);
}

#[test]
fn large_histories_come_one_after_the_other_and_streams_get_all() {
    let topics = ["a", "b", "c", "d"].map(|name| Topic::new(name).history(100, 16 << 20));
    let mut machines = machines_with(&[1, 1], &topics);
    let large = "x".repeat(5 << 20);
    for (n, topic) in topics.iter().enumerate() {
        publish(&mut machines, 0, topic, format!("{n} {large}"));
    }
    let clients = ["/oldest", "/?t=1,3"].map(|target| machines[1].get(target));
    publish(&mut machines, 0, &topics[3], "last");
    let first_words = |client| {
        let all = got(&machines, (1, 0), client).into_iter();
        all.map(|it| it.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let expected: Vec<_> = (0..4).map(|n: i32| n.to_string()).chain(["last".into()]).collect();
    assert_eq!(first_words(clients[0]), expected);
    assert_eq!(first_words(clients[1]), ["last"]);
}
