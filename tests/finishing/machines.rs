//! Topics that end over machines: the store places the end, and keeps it with the history.

use std::time::Duration;

use starwheel::{
    Config, Topic,
    testing::{BodyEnd, Client, SimulatedMachines, StoreRestart},
};

use crate::words::{assert_ended, assert_open, assert_stays_away, back, got, router, run, secs};

fn machines(workers: &[usize], topics: &[Topic]) -> SimulatedMachines {
    let topics = topics.to_vec();
    SimulatedMachines::with_config(&Config::default(), 0, workers, move |_, _| router(&topics))
}

/// A client reconnects to a machine with this id.
fn back_to(machines: &mut SimulatedMachines, machine: usize, id: &str) -> Client {
    let client = back(&mut machines[machine], id);
    machines.turn();
    client
}

#[test]
fn streams_of_all_machines_end_after_the_last_event_in_one_order() {
    let run = run();
    let mut machines = machines(&[2, 1, 1], std::slice::from_ref(&run));
    let clients: Vec<_> = (0..3).map(|machine| machines[machine].get("/")).collect();
    machines.turn();
    machines.handle(0).publish(&run, "a").unwrap();
    machines.handle(0).publish_batch(&run, ["b", "c"]).unwrap();
    machines.handle(0).finish(&run, "end").unwrap();
    machines.handle(0).publish(&run, "late in the same batch").unwrap();
    machines.turn();
    machines.handle(1).publish(&run, "late").unwrap();
    machines.handle(2).finish(&run, "second end").unwrap();
    machines.turn();
    for (machine, client) in clients.iter().enumerate() {
        assert_ended(&machines[machine], *client, &["a", "b", "c", "end"]);
    }
    let events = machines.places().len();
    assert_eq!(events, 4, "late events get no place");
    assert_eq!(machines.handle(1).stats().published_late, 1);
}

#[test]
fn a_client_that_comes_to_another_machine_gets_the_history_and_the_end_and_then_stays_away() {
    let run = run();
    let mut machines = machines(&[1, 1, 1], std::slice::from_ref(&run));
    let client = machines[0].get("/");
    machines.turn();
    machines.handle(0).publish(&run, "a").unwrap();
    machines.turn();
    let after_a = machines[0].last_event_id(client);
    machines.handle(0).finish(&run, "end").unwrap();
    machines.turn();
    let at_end = machines[0].last_event_id(client);
    let late = machines[1].get("/");
    machines.turn();
    assert_ended(&machines[1], late, &["a", "end"]);
    let resumed = back_to(&mut machines, 1, &after_a);
    assert_ended(&machines[1], resumed, &["end"]);
    // The third one learns of the topic with the first client that asks for it.
    let first = back_to(&mut machines, 2, &at_end);
    assert_ended(&machines[2], first, &[]);
    for machine in 0..3 {
        let away = back_to(&mut machines, machine, &at_end);
        assert_stays_away(&machines[machine], away);
    }
}

#[test]
fn a_machine_that_does_not_know_the_topic_cannot_publish_on_it_after_the_end() {
    for topic in [run(), Topic::new("run").retain()] {
        let mut machines = machines(&[1, 1], std::slice::from_ref(&topic));
        machines.handle(0).publish(&topic, "a").unwrap();
        machines.handle(0).finish(&topic, "end").unwrap();
        machines.turn();
        for n in 0..200 {
            machines.handle(1).publish(&topic, n.to_string()).unwrap();
        }
        machines.turn();
        let late = machines[1].get("/");
        machines.turn();
        assert_eq!(got(&machines[1].response(late)).last().unwrap(), "end");
        assert_eq!(machines.places().len(), 2);
    }
}

#[test]
fn two_machines_that_finish_a_topic_at_the_same_time_agree_on_the_end() {
    let run = run();
    let mut machines = machines(&[1, 1], std::slice::from_ref(&run));
    let clients = [machines[0].get("/"), machines[1].get("/")];
    machines.turn();
    machines.handle(0).finish(&run, "end of 0").unwrap();
    machines.handle(1).finish(&run, "end of 1").unwrap();
    machines.turn();
    let first = got(&machines[0].response(clients[0]));
    assert_eq!(first.len(), 1);
    assert_eq!(got(&machines[1].response(clients[1])), first);
    assert_eq!(machines.places().len(), 1);
}

#[test]
fn a_machine_that_was_away_learns_the_end() {
    let run = run();
    let mut machines = machines(&[1, 1], std::slice::from_ref(&run));
    let client = machines[1].get("/");
    machines.turn();
    machines.stop(1);
    machines.cut(1);
    machines.handle(0).publish(&run, "a").unwrap();
    machines.handle(0).finish(&run, "end").unwrap();
    machines.advance(secs(1));
    machines.trim_log(1);
    machines.resume(1);
    machines.advance(secs(10));
    assert_ended(&machines[1], client, &["a", "end"]);
}

#[test]
fn an_end_that_the_store_has_lost_is_sent_again() {
    let run = run();
    let mut machines = machines(&[1, 1], std::slice::from_ref(&run));
    machines.handle(0).publish(&run, "a").unwrap();
    machines.turn();
    machines.handle(0).finish(&run, "end").unwrap();
    machines.turn();
    machines.restart_store(StoreRestart::WithoutLast(1));
    machines.advance(secs(10));
    let late = machines[1].get("/");
    machines.advance(secs(1));
    let answer = machines[1].response(late);
    assert_eq!((answer.end, got(&answer).last().unwrap().as_str()), (BodyEnd::Complete, "end"));
}

#[test]
fn when_the_store_has_forgotten_the_history_a_machine_still_remembers_the_end() {
    let run = run();
    let mut machines = machines(&[1, 1], std::slice::from_ref(&run));
    machines.set_history_for(secs(3600));
    (0..2).for_each(|machine| machines.kill(machine));
    machines.advance(secs(1));
    let client = machines[0].get("/");
    machines.turn();
    machines.handle(0).finish(&run, "end").unwrap();
    machines.turn();
    let at_end = machines[0].last_event_id(client);
    machines.advance(Duration::from_secs(4 * 3600));
    let away = back_to(&mut machines, 0, &at_end);
    assert_stays_away(&machines[0], away);
    let late = machines[0].get("/");
    machines.advance(secs(1));
    assert_ended(&machines[0], late, &["gap"]);
    // The other has never heard of it. There, and for the store, the name is that of a new topic.
    let waiting = machines[1].get("/");
    machines.advance(secs(1));
    assert_open(&machines[1], waiting, &[]);
    machines.handle(1).publish(&run, "new").unwrap();
    machines.advance(secs(1));
    assert_open(&machines[1], waiting, &["new"]);
    let late = machines[0].get("/");
    machines.advance(secs(1));
    assert_open(&machines[0], late, &["new"]);
}
