//! Streams that wait for their topics while the store is away.

use starwheel::{
    Ending, JoinAt, Router, Sse, StreamId, Topic,
    testing::{Client, SimulatedMachines},
};

use crate::words::{come_back, got, history, ms};

fn waiting() -> (SimulatedMachines, Vec<Client>) {
    let mut machines = SimulatedMachines::new(1, |_machine| {
        let sse = || Sse::new().subscribe(&history("t")).tag("waiting");
        Router::new()
            .get("/", move |_req, _cx| sse())
            .get("/aged", move |_req, _cx| sse().max_lifetime(ms(30_000)))
            .get("/published", move |_req, _cx| {
                sse().on_connect(|stream| {
                    stream.context().publish(&history("t"), "own").unwrap();
                    stream.context().publish(&Topic::new("local").local(), "x").unwrap();
                })
            })
            .get("/left", move |_req, _cx| {
                let finished = sse().subscribe_at(&history("u"), JoinAt::Oldest);
                finished.on_connect(|stream| assert!(stream.unsubscribe(&history("t"))))
            })
            .get("/cut", move |_req, _cx| sse().ending(Ending::Drop))
    });
    machines.stop_store();
    let targets = ["/", "/aged", "/published", "/left", "/cut"];
    let clients = targets.map(|target| come_back(&mut machines, (0, 0), target, "_other-7"));
    (machines, clients.into())
}

#[test]
fn they_are_kept_alive_and_end_when_they_should() {
    let (mut machines, clients) = waiting();
    let bytes = |machines: &SimulatedMachines| machines[0].received(clients[0]).len();
    let before = bytes(&machines);
    machines.advance(ms(20_000));
    assert!(bytes(&machines) > before, "a comment");
    machines.advance(ms(25_000));
    assert_eq!(machines[0].stats().streams, 4, "the life of one is over");
    machines[0].reset(clients[2]);
    machines.turn();
    assert_eq!(machines[0].stats().streams, 3);
    machines[0].run(|cx| assert!(cx.close_tagged_on_all("waiting", Ending::Finish) <= 3));
    machines.advance(ms(1_000));
    assert_eq!(machines[0].stats().streams, 0);
}

#[test]
fn a_drain_ends_them() {
    let (mut machines, clients) = waiting();
    machines[0].drain(ms(5_000));
    machines.advance(ms(6_000));
    assert_eq!(machines[0].stats().streams, 0);
    assert!(clients.iter().all(|client| !machines[0].is_open(*client)));
}

#[test]
fn they_get_what_has_come_when_the_store_is_back() {
    let (mut machines, clients) = waiting();
    let streams: Vec<StreamId> = machines[0].context().streams().collect();
    assert_eq!(streams.len(), 5);
    machines.resume_store();
    machines.advance(ms(3_000));
    assert_eq!(got(&machines, (0, 0), clients[2])[0], "gap t");
    assert_eq!(got(&machines, (0, 0), clients[3])[0], "gap u");
    for client in [clients[0], clients[2]] {
        assert!(got(&machines, (0, 0), client).contains(&"own".into()));
    }
    assert_eq!(machines[0].stats().streams, 4, "one was to end with them");
}
