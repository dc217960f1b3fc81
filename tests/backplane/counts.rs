//! How many subscribers a topic has on all machines.

use starwheel::{
    Router, Sse, Topic,
    testing::{SimulatedMachines, SimulatedWorkers, Simulation, StoreKey, StoreRestart},
};

use crate::words::{got, machines_with, ms, publish};

/// What a program on this machine sees.
fn seen(machines: &mut SimulatedMachines, at: (usize, usize), topic: &Topic) -> usize {
    let mut seen = 0;
    machines[at].run(|cx| seen = cx.subscribers_on_machines(topic));
    assert_eq!(machines.handle(at.0).subscribers_on_machines(topic), seen);
    machines.turn();
    seen
}

/// On each machine.
fn all_seen(machines: &mut SimulatedMachines, topic: &Topic) -> Vec<usize> {
    (0..machines.count()).map(|machine| seen(machines, (machine, 0), topic)).collect()
}

#[test]
fn subscribers_of_all_machines_are_counted_some_seconds_later() {
    let topic = Topic::new("t");
    let mut machines = machines_with(&[2, 1, 1], std::slice::from_ref(&topic));
    let first = machines[(0, 0)].get("/");
    machines[(0, 1)].get("/");
    (0..3).for_each(|_| _ = machines[1].get("/"));
    assert_eq!(all_seen(&mut machines, &topic), [2, 3, 0], "nothing is known of others");
    machines.advance(ms(10_000));
    assert_eq!(all_seen(&mut machines, &topic), [5, 5, 5]);
    assert_eq!(seen(&mut machines, (0, 1), &topic), 5);
    assert_eq!(seen(&mut machines, (2, 0), &Topic::new("other")), 0);

    machines[(0, 0)].reset(first);
    machines[2].get("/");
    machines.turn();
    assert_eq!(seen(&mut machines, (0, 0), &topic), 4, "the own ones are exact");
    machines.advance(ms(10_000));
    assert_eq!(all_seen(&mut machines, &topic), [5, 5, 5]);

    machines.kill(1);
    machines.advance(ms(20_000));
    assert_eq!(all_seen(&mut machines, &topic)[0], 2);
    machines.advance(ms(10_000));
    assert_eq!(all_seen(&mut machines, &topic), [2, 2, 2]);

    // After a minute without questions, all begin again.
    machines.advance(ms(70_000));
    assert_eq!(all_seen(&mut machines, &topic), [1, 0, 1]);
}

#[test]
fn nothing_but_numbers_depends_on_what_the_store_knows_of_subscribers() {
    let topic = Topic::new("t").history(100, 1 << 16);
    let mut machines = machines_with(&[1, 1], std::slice::from_ref(&topic));
    let clients = [0, 1].map(|machine| machines[machine].get("/"));
    machines.turn();
    for round in 0..8 {
        match round {
            1 => machines.delete_key(&StoreKey::Watched),
            2 => machines.delete_key(&StoreKey::Count(topic.clone())),
            3 => machines.restart_store(StoreRestart::Complete),
            4 => machines.cut(0),
            5 => machines.fill_store(),
            6 => machines.make_room(),
            _ => {}
        }
        all_seen(&mut machines, &topic);
        publish(&mut machines, round % 2, &topic, round);
        machines.advance(ms(11_000));
        let counted = all_seen(&mut machines, &topic);
        // Without room, the last ones stay.
        assert_eq!(counted, [2, 2], "{round}");
    }
    let all: Vec<_> = (0..8).map(|round| round.to_string()).collect();
    for (machine, client) in clients.into_iter().enumerate() {
        let mut events = got(&machines, (machine, 0), client);
        // What had to wait for room came later.
        events.sort();
        assert_eq!(events, all);
    }
    assert_eq!((machines.holes(0), machines.cuts(1)), (0, 1), "only the restart");
}

#[test]
fn while_the_store_is_away_the_last_numbers_stay() {
    let topic = Topic::new("t");
    let mut machines = machines_with(&[1, 1], std::slice::from_ref(&topic));
    (0..2).for_each(|machine| _ = machines[machine].get("/"));
    all_seen(&mut machines, &topic);
    machines.advance(ms(10_000));
    machines.stop_store();
    machines.advance(ms(50_000));
    assert_eq!(all_seen(&mut machines, &topic), [2, 2]);
    machines.kill(1);
    machines.advance(ms(30_000));
    machines.resume_store();
    machines.advance(ms(10_000));
    assert_eq!(all_seen(&mut machines, &topic), [1, 0], "a new process asks for the first time");
    machines.advance(ms(10_000));
    assert_eq!(all_seen(&mut machines, &topic), [1, 1]);
}

#[test]
fn without_a_backplane_the_process_is_counted() {
    let topic = Topic::new("t");
    let make = || Router::new().get("/", |_req, _cx| Sse::new().subscribe(&Topic::new("t")));
    let mut workers = SimulatedWorkers::new(2, move |_worker| make());
    (0..2).for_each(|worker| _ = workers[worker].get("/"));
    workers.turn();
    assert_eq!(workers[0].context().subscribers_on_machines(&topic), 2);
    assert_eq!(workers.handle().subscribers_on_machines(&topic), 2);

    let mut reactor = Simulation::new(make());
    let (client, handle) = (reactor.get("/"), reactor.handle());
    reactor.get("/");
    assert_eq!(reactor.context().subscribers_on_machines(&topic), 2);
    assert_eq!(handle.subscribers_on_machines(&topic), 0, "it begins to count");
    reactor.turn();
    assert_eq!(handle.subscribers_on_machines(&topic), 2);
    reactor.reset(client);
    reactor.turn();
    assert_eq!(handle.subscribers_on_machines(&topic), 1);
    drop(reactor);
    assert_eq!(handle.subscribers_on_machines(&topic), 0);
}
