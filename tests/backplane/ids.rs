//! Clients that come with ids of other namespaces, or of no namespace.

use starwheel::{
    Router, Sse, Topic,
    testing::{SimulatedMachines, StoreRestart},
};

use crate::words::{come_back, got, history, machines_with, ms, publish, store_faults};

#[test]
fn a_client_with_an_unknown_id_does_not_wait_for_those_after_it() {
    let topic = history("t");
    let mut machines = machines_with(&[1, 1], std::slice::from_ref(&topic));
    let _user = machines[0].get("/");
    machines.set_store_faults(0, store_faults(|it| it.delay_max = ms(50)));
    let mut clients = Vec::new();
    for n in 0..300 {
        clients.push(come_back(&mut machines, (0, 0), "/", &format!("_other-{n}")));
        machines.advance(ms(5));
        // At most two times a hundred milliseconds, and a pause.
        if n >= 100 {
            assert_eq!(got(&machines, (0, 0), clients[n - 100]), ["gap t"], "{n}");
        }
    }
    machines.advance(ms(500));
    assert!(clients.iter().all(|client| got(&machines, (0, 0), *client) == ["gap t"]));
}

#[test]
fn an_unknown_id_on_a_local_or_driven_topic_does_not_wait_for_the_store() {
    let topics = || [history("local").local(), history("driven")];
    let mut machines = SimulatedMachines::new(1, move |_machine| {
        let [local, driven] = topics();
        Router::new()
            .get("/local", move |_req, _cx| Sse::new().subscribe(&local))
            .get("/driven", move |_req, _cx| Sse::new().subscribe(&driven))
    });
    let [_, driven] = topics();
    machines[0].run(|cx| {
        cx.drive(&driven, ms(100), |_cx| {});
    });
    machines.stop_store();
    for (target, name) in [("/local", "local"), ("/driven", "driven")] {
        let client = come_back(&mut machines, (0, 0), target, "_other-7");
        assert_eq!(got(&machines, (0, 0), client), [format!("gap {name}")]);
    }
}

#[test]
fn ids_that_no_machine_has_given_harm_nobody() {
    let topic = history("t");
    let other = Topic::new("other").history(10, 1 << 10);
    let mut machines = machines_with(&[1, 1], &[topic.clone(), other]);
    publish(&mut machines, 0, &topic, "before");
    for round in 0..3 {
        let generation = machines.generations().last().unwrap().clone();
        for number in
            ["0", "1", "2", "9007199254740991", "18446744073709551614", "18446744073709551615"]
        {
            for lag in ["", "~0123456789abcdef:1", "~0123456789abcdef:18446744073709551615", "~x:y"]
            {
                for name in [&*generation, "other"] {
                    let id = format!("_{name}-{number}{lag}");
                    let at = (round % 2, 0);
                    let client = come_back(&mut machines, at, "/", &id);
                    let stream = machines[at].context().streams().last().unwrap();
                    machines[at].run(|cx| _ = cx.unsubscribe(stream, &topic));
                    machines.turn();
                    let _ids = machines[at].last_event_id(client);
                }
            }
        }
        publish(&mut machines, 1, &topic, round);
        let restart = [StoreRestart::WithoutLast(1), StoreRestart::Empty, StoreRestart::Complete];
        machines.restart_store(restart[round]);
        machines.advance(ms(1_000));
    }
    let client = machines[0].get("/?t=0");
    publish(&mut machines, 1, &topic, "after");
    assert_eq!(got(&machines, (0, 0), client), ["after"]);
}
