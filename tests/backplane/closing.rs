//! Streams of a user end on all machines.

use starwheel::{
    Config, Context, Ending, Request, Router, Sse, Topic,
    testing::{BodyEnd, Client, LinkFaults, SimulatedMachines, StoreRestart},
};

use crate::words::{got, history, ms, publish, store_faults};

/// Every stream has the tag that its query names, and the topic `t`.
fn machines(workers: &[usize]) -> SimulatedMachines {
    SimulatedMachines::with_config(&Config::default(), 0, workers, |_, _| {
        Router::new().get("/", |req: &Request, _cx: &mut Context<'_>| {
            let tag = req.query_value("tag").unwrap_or_default();
            Sse::new().tag(&*tag).subscribe(&history("t"))
        })
    })
}

struct Users {
    anna: Vec<((usize, usize), Client)>,
    bert: Vec<((usize, usize), Client)>,
}

impl Users {
    /// One stream of each user on each worker.
    fn arrive(machines: &mut SimulatedMachines) -> Self {
        let of = |machines: &SimulatedMachines, machine| 0..machines.workers(machine);
        let all: Vec<_> = (0..machines.count())
            .flat_map(|machine| of(machines, machine).map(move |worker| (machine, worker)))
            .collect();
        let mut open = |tag: &str| {
            all.iter().map(|&at| (at, machines[at].get(&format!("/?tag={tag}")))).collect()
        };
        let users = Self { anna: open("anna"), bert: open("bert") };
        machines.turn();
        users
    }

    /// The machines on which Anna still has streams.
    fn anna_is_on(&self, machines: &SimulatedMachines) -> Vec<usize> {
        for &(at, client) in &self.bert {
            assert_eq!(machines[at].server_end(client), None, "a stream of somebody else");
        }
        let has_ended = |(at, client): ((usize, usize), Client)| {
            machines[at].server_end(client).is_some()
                || machines[at].response(client).end == BodyEnd::Complete
        };
        let open = self.anna.iter().filter(|&&stream| !has_ended(stream));
        let mut on: Vec<_> = open.map(|((on, _), _)| *on).collect();
        on.dedup();
        on
    }
}

fn close_anna(machines: &SimulatedMachines, machine: usize) {
    machines.handle(machine).close_tagged_on_machines("anna", Ending::Drop).unwrap();
}

#[test]
fn all_streams_of_a_tag_end_on_all_machines() {
    for (ending, end) in [(Ending::Finish, BodyEnd::Complete), (Ending::Drop, BodyEnd::Open)] {
        for by_a_handle in [true, false] {
            let mut machines = machines(&[2, 1, 3]);
            let users = Users::arrive(&mut machines);
            match by_a_handle {
                true => machines.handle(0).close_tagged_on_machines("anna", ending).unwrap(),
                false => machines[(0, 1)].run(move |cx| {
                    cx.close_tagged_on_machines("anna", ending).unwrap();
                }),
            }
            machines.turn();
            assert_eq!(users.anna_is_on(&machines), [0usize; 0]);
            for (at, client) in users.anna {
                assert_eq!(machines[at].response(client).end, end);
            }
        }
    }
}

#[test]
fn streams_end_after_what_was_published_before() {
    let mut machines = machines(&[1, 1]);
    let users = Users::arrive(&mut machines);
    let topic = history("t");
    machines.handle(0).publish(&topic, "the last word").unwrap();
    close_anna(&machines, 0);
    machines.handle(0).publish(&topic, "a secret").unwrap();
    machines.turn();
    let (at, client) = users.anna[1];
    assert_eq!(got(&machines, at, client), ["the last word"]);
    let (at, client) = users.bert[1];
    assert_eq!(got(&machines, at, client), ["the last word", "a secret"]);
}

#[test]
fn while_the_store_is_away_only_own_streams_end_and_the_others_when_it_is_back() {
    for restart in [StoreRestart::Complete, StoreRestart::Empty] {
        let mut machines = machines(&[2, 1]);
        let users = Users::arrive(&mut machines);
        machines.stop_store();
        close_anna(&machines, 0);
        machines.advance(ms(60_000));
        assert_eq!(users.anna_is_on(&machines), [1]);
        machines.restart_store(restart);
        machines.resume_store();
        machines.advance(ms(10_000));
        assert_eq!(users.anna_is_on(&machines), [0usize; 0], "{restart:?}");
    }
}

/// The log no longer has the request, but its history does.
#[test]
fn a_machine_that_was_cut_off_for_long_does_it_when_it_is_back() {
    let mut machines = machines(&[1, 2]);
    let users = Users::arrive(&mut machines);
    machines.set_store_faults(1, store_faults(|it| it.reconnect_max = ms(0)));
    machines.stop(1);
    machines.cut(1);
    close_anna(&machines, 0);
    for n in 0..100 {
        publish(&mut machines, 0, &Topic::new("other"), n);
    }
    machines.trim_log(0);
    publish(&mut machines, 0, &Topic::new("other"), 100);
    machines.resume(1);
    machines.advance(ms(1_000));
    assert!(machines.holes(1) > 0, "the log had lost it");
    assert_eq!(users.anna_is_on(&machines), [0usize; 0]);
}

#[test]
fn a_worker_that_stalls_does_it_when_it_goes_on() {
    let mut machines = machines(&[1, 2]);
    let users = Users::arrive(&mut machines);
    let mut faults = LinkFaults::default();
    faults.queue_events = 1;
    machines.set_link_faults((1, 1), faults);
    machines.stop_worker((1, 1));
    close_anna(&machines, 0);
    for n in 0..30 {
        publish(&mut machines, 0, &history("t"), n);
        machines.advance(ms(100));
    }
    assert_eq!(users.anna_is_on(&machines), [1]);
    machines.resume_worker((1, 1));
    machines.advance(ms(1_000));
    assert!(machines.losses((1, 1)) > 0);
    assert_eq!(users.anna_is_on(&machines), [0usize; 0]);
}

#[test]
fn each_request_is_obeyed_once() {
    let mut machines = machines(&[1, 1]);
    let users = Users::arrive(&mut machines);
    close_anna(&machines, 0);
    machines.turn();
    assert_eq!(users.anna_is_on(&machines), [0usize; 0]);
    let users = Users::arrive(&mut machines);
    // All pasts come again, and the request is in one of them.
    machines.stop(1);
    publish(&mut machines, 0, &Topic::new("other"), "missed");
    machines.cut(1);
    machines.trim_log(0);
    publish(&mut machines, 0, &Topic::new("other"), "after");
    machines.resume(1);
    machines.advance(ms(1_000));
    assert!(machines.holes(1) > 0);
    assert_eq!(users.anna_is_on(&machines), [0, 1]);
}

#[test]
fn no_topic_of_a_program_has_anything_to_do_with_it() {
    let name = Topic::new("\u{1}closings");
    assert_ne!(name.name(), "\u{1}closings");
    let watched = Topic::new("\u{1}closings").history(100, 1 << 16);
    let mut machines = SimulatedMachines::new(2, move |_machine| {
        let watched = watched.clone();
        Router::new().get("/", move |_req: &Request, _cx: &mut Context<'_>| {
            Sse::new().tag("anna").subscribe(&watched)
        })
    });
    let client = machines[1].get("/");
    machines.handle(0).close_tagged_on_machines("bert", Ending::Drop).unwrap();
    publish(&mut machines, 0, &name, "event: drop\ndata: 616e6e61");
    assert_eq!(got(&machines, (1, 0), client), ["event: drop\ndata: 616e6e61"]);
    assert_eq!(machines[1].server_end(client), None);
}

#[test]
fn who_cannot_pass_it_on_is_told() {
    let mut machines = machines(&[1, 1]);
    machines.set_outbox_bytes(10_000);
    let users = Users::arrive(&mut machines);
    machines.stop_store();
    let topic = history("t");
    while machines.handle(0).publish(&topic, "x".repeat(1_000)).is_ok() {}
    let refused = machines.handle(0).close_tagged_on_machines("anna", Ending::Drop);
    assert!(refused.unwrap_err().is_full());
    machines.turn();
    assert_eq!(users.anna_is_on(&machines), [1], "but here, they have ended");
}
