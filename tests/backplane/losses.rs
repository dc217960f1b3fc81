//! Who is told that something is lost.

use starwheel::{
    Backpressure, Topic,
    testing::{StoreKey, StoreRestart},
};

use crate::words::{come_back, got, history, machines_with, ms, publish, store_faults};

#[test]
fn a_client_ahead_of_its_machine_gets_a_gap_when_what_it_has_seen_is_undone() {
    let topic = history("t");
    let mut machines = machines_with(&[1, 1], std::slice::from_ref(&topic));
    let (fast, slow) = (machines[0].get("/"), machines[1].get("/"));
    publish(&mut machines, 0, &topic, "seen by both");
    machines.set_store_faults(1, store_faults(|it| it.reconnect_max = ms(0)));
    machines.stop(1);
    publish(&mut machines, 0, &topic, "survives");
    publish(&mut machines, 0, &topic, "undone");
    assert_eq!(got(&machines, (0, 0), fast), ["seen by both", "survives", "undone"]);
    let id = machines[0].last_event_id(fast);
    // Nobody publishes it again.
    machines.kill(0);
    machines.restart_store(StoreRestart::WithoutLast(1));
    machines.cut(1);
    machines.resume(1);
    let client = come_back(&mut machines, (1, 0), "/", &id);
    machines.advance(ms(1_000));
    publish(&mut machines, 0, &topic, "after");
    assert_eq!(got(&machines, (1, 0), client), ["gap t", "after"]);
    // A client that has seen nothing of it lost nothing.
    assert_eq!(got(&machines, (1, 0), slow), ["seen by both", "survives", "after"]);
}

#[test]
fn ids_of_events_that_come_with_a_loss_are_known_everywhere() {
    let topic = history("t");
    let mut machines = machines_with(&[1, 1], std::slice::from_ref(&topic));
    let client = machines[1].get("/");
    for n in 0..3 {
        publish(&mut machines, 0, &topic, n);
    }
    machines.stop(1);
    machines.restart_store(StoreRestart::WithoutLast(1));
    machines.advance(ms(1_000));
    publish(&mut machines, 0, &topic, 3);
    machines.resume(1);
    machines.advance(ms(1_000));
    assert_eq!(got(&machines, (1, 0), client)[3], "gap t");
    let fresh = machines[1].get("/oldest");
    let id = machines[1].last_event_id(fresh);
    let name = machines.generations().last().unwrap();
    // With ids of the generation that was lost, another machine could only report a gap.
    assert!(id.starts_with(&format!("_{name}-")), "{id} is not of {name}");
    let elsewhere = come_back(&mut machines, (0, 0), "/", &id);
    publish(&mut machines, 0, &topic, 4);
    assert_eq!(got(&machines, (1, 0), fresh), ["0", "1", "2", "3", "4"]);
    assert_eq!(got(&machines, (0, 0), elsewhere), ["4"]);
}

#[test]
fn a_hole_in_the_log_is_a_gap_only_for_topics_that_do_not_keep_it() {
    let plain = Topic::new("plain").backpressure(Backpressure::DropOldest);
    let topics = [history("kept"), plain];
    let mut machines = machines_with(&[1, 1], &topics);
    let (kept, plain) = (machines[1].get("/?t=0"), machines[1].get("/?t=1"));
    for topic in &topics {
        publish(&mut machines, 0, topic, "before");
    }
    machines.stop(1);
    for topic in &topics {
        publish(&mut machines, 0, topic, "missed");
    }
    machines.cut(1);
    machines.trim_log(0);
    for topic in &topics {
        publish(&mut machines, 0, topic, "after");
    }
    machines.resume(1);
    machines.advance(ms(1_000));
    assert_eq!(got(&machines, (1, 0), kept), ["before", "missed", "after"]);
    let plain_got = got(&machines, (1, 0), plain);
    assert_eq!(plain_got[..2], ["before", "gap plain"]);
    publish(&mut machines, 0, &topics[1], "last");
    assert!(got(&machines, (1, 0), plain).ends_with(&["last".into()]));
}

#[test]
fn a_lossless_restart_is_no_gap() {
    let topics = [history("a"), history("b")];
    let mut machines = machines_with(&[1, 2], &topics);
    let clients = [(0, 0), (1, 0), (1, 1)].map(|at| (at, machines[at].get("/")));
    for n in 0..10 {
        publish(&mut machines, n % 2, &topics[n % 2], n);
        machines.restart_store(StoreRestart::Complete);
        machines.handle(0).publish(&topics[0], "meanwhile").unwrap();
        machines.advance(ms(1_000));
    }
    for (at, client) in clients {
        let all = got(&machines, at, client);
        assert_eq!(all.len(), 20, "{all:?}");
        assert!(!all.iter().any(|data| data.starts_with("gap")), "{all:?}");
    }
}

#[test]
fn keys_that_the_store_can_restore_are_no_gap() {
    for key in [StoreKey::Meta, StoreKey::Log, StoreKey::Generations] {
        let topic = history("t");
        let mut machines = machines_with(&[1, 1], std::slice::from_ref(&topic));
        let client = machines[1].get("/");
        publish(&mut machines, 0, &topic, "before");
        machines.delete_key(&key);
        publish(&mut machines, 0, &topic, "after");
        machines.advance(ms(10_000));
        assert_eq!(got(&machines, (1, 0), client), ["before", "after"], "{key:?}");
        let late = come_back(&mut machines, (0, 0), "/", "");
        publish(&mut machines, 1, &topic, "last");
        assert_eq!(got(&machines, (0, 0), late), ["last"], "{key:?}");
    }
}

/// It leaves before the next event, and the gap event itself has no id.
#[test]
fn a_client_that_comes_back_after_a_gap_event_gets_no_second_one() {
    let topic = history("t");
    let mut machines = machines_with(&[1, 1], std::slice::from_ref(&topic));
    let client = machines[1].get("/");
    publish(&mut machines, 0, &topic, "before");
    machines.kill(0);
    machines.restart_store(StoreRestart::Empty);
    machines.advance(ms(1_000));
    assert_eq!(got(&machines, (1, 0), client), ["before", "gap t"]);
    let id = machines[1].last_event_id(client);
    let again = come_back(&mut machines, (1, 0), "/", &id);
    machines.advance(ms(1_000));
    publish(&mut machines, 1, &topic, "after");
    assert_eq!(got(&machines, (1, 0), again), ["after"]);
}

#[test]
fn a_hole_with_nothing_after_it_is_noticed_too() {
    for key in [None, Some(StoreKey::Log)] {
        let topic = history("t");
        let mut machines = machines_with(&[1, 1], std::slice::from_ref(&topic));
        let client = machines[1].get("/");
        publish(&mut machines, 0, &topic, "before");
        machines.cut(1);
        machines.stop(1);
        publish(&mut machines, 0, &topic, "in the hole");
        match &key {
            Some(key) => machines.delete_key(key),
            None => machines.trim_log(0),
        }
        machines.resume(1);
        machines.advance(ms(10_000));
        assert_eq!(got(&machines, (1, 0), client), ["before", "in the hole"]);
        assert_eq!((machines.holes(0), machines.holes(1)), (0, 1));
    }
}
