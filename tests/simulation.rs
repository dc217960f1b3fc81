//! The simulated network behaves like the real one.

#[path = "support/story.rs"]
mod story;

use std::{cell::RefCell, rc::Rc};

use starwheel::{
    Config, Method, Response, Router, Sse,
    testing::{ServerEnd, Simulation},
};
use story::{bad_network, data, echo, faults, get, ms, secs, serving, texts};

#[test]
fn the_kernel_keeps_so_much_for_a_client_that_does_not_read_and_no_more() {
    let mut simulation = serving(|_, _| Response::text("x".repeat(10_000)));
    simulation.set_faults(faults(|faults| faults.socket_buffer_bytes = 1_000));
    let client = simulation.connect();
    simulation.stall(client);
    simulation.send(client, &get("/"));
    simulation.turn();
    assert_eq!(simulation.received(client), b"", "it does not read");
    assert_eq!(simulation.stats().bytes_out, 1_000);
    simulation.read_some(client, 300);
    assert_eq!(simulation.received(client).len(), 300);
    simulation.turn();
    assert_eq!(simulation.stats().bytes_out, 1_300, "the free space was reported and used");
    simulation.resume(client);
    simulation.turn();
    assert_eq!(simulation.response(client).body.len(), 10_000);
}

#[test]
fn nothing_is_told_twice() {
    let mut simulation = echo();
    let client = simulation.get("/");
    assert!(!simulation.turn_once(), "an edge is reported once");
    simulation.send(client, b"GET");
    assert!(!simulation.turn_once());
    assert_eq!(simulation.stats().bytes_in, (get("/").len() + 3) as u64);
}

#[test]
fn faults_delay_but_do_not_lose_or_change_anything() {
    for seed in 0..30 {
        let router = Router::new().post("/", |req, _| Response::text(req.body().to_vec()));
        let mut simulation = Simulation::with_config(Config::default(), seed, router);
        simulation.set_faults(bad_network());
        let client = simulation.connect();
        let body = format!("{seed} {}", "x".repeat(50_000));
        simulation.request(client, Method::Post, "/", &[], body.as_bytes());
        simulation.turn();
        assert!(texts(&simulation, client) == [body]);
    }
}

#[test]
fn a_reset_reaches_the_server_and_its_bytes_are_discarded() {
    let mut simulation = serving(|_, _| Sse::every(secs(1), |stream| stream.send("tick")));
    let client = simulation.get("/");
    simulation.reset(client);
    simulation.advance(secs(5));
    assert_eq!(data(&simulation, client), ["tick"]);
    assert_eq!(simulation.server_end(client), Some(ServerEnd::Reset));
    assert!(!simulation.is_open(client));
}

#[test]
fn a_close_over_unread_input_is_a_reset_as_in_a_kernel() {
    let mut simulation = serving(|_, cx| {
        cx.shutdown();
        Sse::new()
    });
    let client = simulation.connect();
    simulation.send(client, &get("/"));
    simulation.send(client, &vec![b'x'; 100_000]);
    simulation.turn();
    assert_eq!(simulation.server_end(client), Some(ServerEnd::Reset));
}

#[test]
fn responses_are_parsed_by_the_method_of_their_request() {
    let mut simulation = echo();
    let client = simulation.connect();
    simulation.request(client, Method::Head, "/?head", &[], b"");
    simulation.request(client, Method::Post, "/", &[("Expect", "100-continue")], b"post");
    simulation.request(client, Method::Get, "/?get", &[], b"");
    simulation.turn();
    assert_eq!(texts(&simulation, client), ["", "post", "get"]);
    assert!(simulation.response(client).rest.starts_with(b"HTTP/1.1 200 OK\r\n"));
}

#[test]
fn the_clock_stops_at_every_deadline_on_the_way() {
    let mut simulation = serving(|_, _| Sse::every(ms(7), |_| ()));
    simulation.get("/");
    let before = simulation.turns();
    simulation.advance(ms(700));
    assert!((100..=110).contains(&(simulation.turns() - before)));
    assert_eq!((simulation.now(), simulation.stats().ticks), (ms(700), 101));
}

#[test]
fn actions_between_turns_happen_at_the_time_the_clock_was_moved_to() {
    let ages = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&ages);
    let mut simulation = serving(move |_, cx| {
        seen.borrow_mut().push(cx.now());
        Sse::new()
    });
    let start = simulation.now();
    simulation.jump(secs(100));
    let idle = simulation.connect();
    simulation.crowd(1, "GET / HTTP/1.1");
    assert_eq!(*ages.borrow(), [start + secs(100)], "a handler sees it too");
    simulation.advance(ms(14_999));
    assert!(simulation.is_open(idle), "its time begins when it connects");
    simulation.jump(secs(100));
    simulation.drain(secs(10));
    simulation.advance(ms(9_999));
    assert!(!simulation.is_stopped(), "and the window when the drain is asked for");
    simulation.advance(ms(1));
    assert!(simulation.is_stopped());
}
