//! Nothing stays of topics that are over.

use starwheel::{Method, Request, Router, Sse, testing::SimulatedMachines};

use crate::words::{history, ms};

#[test]
fn topics_are_forgotten_on_all_machines_and_nothing_leaks() {
    let mut machines = SimulatedMachines::new(2, |_machine| {
        Router::new().get("/", |req: &Request, _cx: &mut starwheel::Context<'_>| {
            let room = req.query_value("room").unwrap_or_default().into_owned();
            Sse::new().subscribe(&history(&room))
        })
    });
    machines.set_history_for(ms(600_000));
    (0..2).for_each(|machine| machines.kill(machine));
    for round in 0..20 {
        let mut clients = Vec::new();
        for n in 0..50 {
            let (machine, room) = (n % 2, round * 50 + n);
            let client = machines[machine].connect();
            machines[machine].request(client, Method::Get, &format!("/?room={room}"), &[], b"");
            machines.turn();
            machines.handle(1 - machine).publish(&history(&room.to_string()), "hello").unwrap();
            clients.push((machine, client));
        }
        machines.turn();
        for (machine, client) in clients {
            assert_eq!(machines[machine].events(client).len(), 1);
            machines[machine].reset(client);
        }
        machines.advance(ms(1_000));
    }
    machines.advance(ms(130_000));
    for machine in 0..2 {
        assert_eq!(machines.topics(machine), 0);
        assert_eq!(machines[machine].stats().log_bytes, 0);
        assert_eq!(machines.outbox_bytes(machine), 0);
    }
    assert_eq!(machines.kept_histories(), 1_000);
    machines.advance(ms(600_000));
    machines.handle(0).publish(&history("last"), "hello").unwrap();
    machines.turn();
    assert_eq!(machines.kept_histories(), 1);
}
