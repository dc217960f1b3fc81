//! A name that keeps nothing is used again at once, while some have not left its former topic.

use starwheel::{
    Topic,
    testing::{Client, Faults, SimulatedWorkers, Simulation},
};

use crate::words::{assert_ended, assert_open, finish, publish, router, serving};

#[test]
fn an_event_right_after_the_end_begins_a_new_topic() {
    let run = Topic::new("run");
    let mut simulation = serving(std::slice::from_ref(&run));
    let client = simulation.get("/");
    simulation.run(|cx| {
        cx.publish(&run, "a").unwrap();
        cx.finish(&run, "end").unwrap();
        cx.publish(&run, "new").unwrap();
    });
    assert_ended(&simulation, client, &["a", "end"]);
}

#[test]
fn a_second_end_right_after_the_first_reaches_nobody() {
    let run = Topic::new("run");
    let mut simulation = serving(std::slice::from_ref(&run));
    let client = simulation.get("/");
    simulation.run(|cx| {
        cx.finish(&run, "end").unwrap();
        cx.finish(&run, "second end").unwrap();
    });
    assert_ended(&simulation, client, &["end"]);
}

#[test]
fn a_slow_client_of_the_former_topic_does_not_end_streams_of_the_new_one() {
    let run = Topic::new("run");
    let mut simulation = serving(std::slice::from_ref(&run));
    let slow = a_slow_client(&mut simulation);
    publish(&mut simulation, &run, 0..5);
    finish(&mut simulation, &run, "end");
    let client = simulation.get("/");
    assert_open(&simulation, client, &[]);
    publish(&mut simulation, &run, ["new"]);
    assert_open(&simulation, client, &["new"]);
    simulation.resume(slow);
    simulation.turn();
    assert_ended(&simulation, slow, &["0", "1", "2", "3", "4", "end"]);
    finish(&mut simulation, &run, "second end");
    assert_ended(&simulation, client, &["new", "second end"]);
}

#[test]
fn an_event_right_after_the_end_begins_a_new_topic_on_every_worker() {
    let run = Topic::new("run");
    let mut workers = SimulatedWorkers::new(2, |_| router(std::slice::from_ref(&run)));
    let clients = [0, 1].map(|worker| workers[worker].get("/"));
    workers.turn();
    workers.handle().finish(&run, "end").unwrap();
    workers.handle().publish(&run, "new").unwrap();
    workers.turn();
    for worker in 0..2 {
        assert_ended(&workers[worker], clients[worker], &["end"]);
    }
}

#[test]
fn streams_whose_topics_have_all_ended_end_when_one_of_them_begins_again() {
    let topics = [Topic::new("a"), Topic::new("b")];
    let mut simulation = serving(&topics);
    let client = simulation.get("/");
    simulation.run(|cx| {
        cx.finish(&topics[0], "end of a").unwrap();
        cx.finish(&topics[1], "end of b").unwrap();
        cx.publish(&topics[0], "new").unwrap();
    });
    assert_ended(&simulation, client, &["end of a", "end of b"]);
}

#[test]
fn what_is_held_for_a_slow_client_is_for_no_other() {
    let news = Topic::new("news");
    let mut simulation = serving(std::slice::from_ref(&news));
    let _slow = a_slow_client(&mut simulation);
    publish(&mut simulation, &news, 0..5);
    let client = simulation.get("/");
    assert_open(&simulation, client, &[]);
    publish(&mut simulation, &news, ["5"]);
    assert_open(&simulation, client, &["5"]);
}

fn a_slow_client(simulation: &mut Simulation) -> Client {
    let mut faults = Faults::default();
    faults.socket_buffer_bytes = 50;
    simulation.set_faults(faults);
    let slow = simulation.get("/");
    simulation.stall(slow);
    slow
}
