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
