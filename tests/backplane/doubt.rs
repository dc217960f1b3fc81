//! Streams that wait until their machine knows enough.

use starwheel::testing::StoreRestart;

use crate::words::{come_back, got, history, machines_with, ms, publish};

/// It began to wait before the event was published.
#[test]
fn a_stream_that_waits_for_the_store_gets_what_is_published_meanwhile() {
    let topic = history("t");
    let mut machines = machines_with(&[1, 1], std::slice::from_ref(&topic));
    publish(&mut machines, 0, &topic, "before");
    machines.stop_store();
    let client = machines[1].get("/");
    for machine in [0, 1] {
        publish(&mut machines, machine, &topic, format!("from {machine}"));
    }
    assert_eq!(got(&machines, (1, 0), client), [""; 0]);
    machines.resume_store();
    machines.advance(ms(5_000));
    let mut got = got(&machines, (1, 0), client);
    got.sort_unstable();
    assert_eq!(got, ["from 0", "from 1"]);
}

/// The other machine was faster.
#[test]
fn an_id_of_a_generation_that_a_machine_does_not_know_yet_is_no_gap() {
    let topic = history("t");
    let mut machines = machines_with(&[1, 1], std::slice::from_ref(&topic));
    let [on_first, on_second] = [machines[0].get("/"), machines[1].get("/")];
    publish(&mut machines, 0, &topic, "one");
    machines.stop(1);
    machines.restart_store(StoreRestart::Complete);
    machines.advance(ms(1_000));
    publish(&mut machines, 0, &topic, "two");
    machines.advance(ms(10));
    assert_eq!(got(&machines, (0, 0), on_first), ["one", "two"]);
    let id = machines[0].last_event_id(on_first);
    machines[0].reset(on_first);
    publish(&mut machines, 0, &topic, "three");
    machines.resume(1);
    let client = come_back(&mut machines, (1, 0), "/", &id);
    machines.advance(ms(5_000));
    assert_eq!(got(&machines, (1, 0), client), ["three"]);
    assert_eq!(got(&machines, (1, 0), on_second), ["one", "two", "three"]);
}

/// Nobody knows its generation: the machine asks once, and says so.
#[test]
fn an_id_of_no_generation_is_a_gap_as_soon_as_the_store_has_answered() {
    let topic = history("t");
    let mut machines = machines_with(&[1], std::slice::from_ref(&topic));
    publish(&mut machines, 0, &topic, "one");
    let clients: Vec<_> = (0..50)
        .map(|number| come_back(&mut machines, (0, 0), "/", &format!("_other{number}-7")))
        .collect();
    machines.advance(ms(1_000));
    publish(&mut machines, 0, &topic, "two");
    for client in clients {
        assert_eq!(got(&machines, (0, 0), client), ["gap t", "two"]);
    }
}
