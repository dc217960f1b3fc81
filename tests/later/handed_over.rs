//! Requests that another server has read, in the simulator.

use super::*;

fn request(head: &str) -> Request {
    Request::parse(format!("{head}\r\nHost: app\r\n\r\n").as_bytes()).unwrap()
}

#[test]
fn head_and_old_clients_get_what_they_understand() {
    let mut simulation = Simulation::new(Router::new());
    let head = simulation.adopt_request(request("HEAD / HTTP/1.1"), |_, _| Sse::new().send("hi"));
    let old = simulation.adopt_request(request("GET / HTTP/1.0"), |_, _| Sse::new().send("hi"));
    simulation.turn();
    let response = simulation.response(head);
    assert_eq!((response.status, response.text()), (200, ""));
    assert_eq!(response.header("connection"), Some("close"));
    assert_eq!(simulation.response(old).header("transfer-encoding"), None);
    assert_eq!(simulation.events(old)[0].data, "hi");
}

#[test]
fn an_answer_that_panics_is_a_500() {
    let mut simulation = Simulation::new(Router::new());
    let client = simulation.adopt_request(Request::get("/"), |_, _| -> Sse { panic!("no stream") });
    simulation.turn();
    assert_eq!(simulation.response(client).status, 500);
    assert_eq!(simulation.stats().panics, 1);
}

/// A request that was handed over, and the promise of its answer.
fn promised() -> (Simulation, Client, Responder) {
    let mut simulation = Simulation::new(Router::new());
    let (sender, desk) = std::sync::mpsc::channel();
    let client = simulation.adopt_request(Request::get("/"), move |_, cx| {
        let (later, responder) = cx.later();
        sender.send(responder).unwrap();
        later
    });
    (simulation, client, desk.recv().unwrap())
}

#[test]
fn a_promise_there_ends_with_its_timeout() {
    let (mut simulation, client, responder) = promised();
    simulation.advance(Duration::from_secs(60));
    assert!(responder.is_gone());
    assert_eq!(simulation.response(client).status, 503);
}

#[test]
fn a_promise_there_ends_with_a_drain_or_a_reset() {
    let (mut simulation, client, responder) = promised();
    simulation.reset(client);
    simulation.turn();
    assert!(responder.is_gone());

    let (mut simulation, _client, responder) = promised();
    simulation.drain(Duration::from_secs(1));
    assert!(!responder.is_gone(), "there is a second left");
    simulation.advance(Duration::from_secs(1));
    assert!(responder.is_gone());
    assert!(simulation.is_stopped());
}

/// The position that the client sends is in the request that the other server has read.
#[test]
fn a_stream_resumes_after_a_hand_over() {
    let news = starwheel::Topic::new("news").history(10, 1_000);
    let mut simulation = Simulation::new(Router::new());
    let (first, second) = (news.clone(), news.clone());
    let reader =
        simulation.adopt_request(Request::get("/"), move |_, _| Sse::new().subscribe(&first));
    simulation.turn();
    simulation.run(|cx| cx.publish(&news, "one").unwrap());
    let id = simulation.last_event_id(reader);
    simulation.run(|cx| cx.publish(&news, "two").unwrap());
    let again = request(&format!("GET / HTTP/1.1\r\nLast-Event-ID: {id}"));
    let reader = simulation.adopt_request(again, move |_, _| Sse::new().subscribe(&second));
    simulation.turn();
    let seen: Vec<_> = simulation.events(reader).into_iter().map(|it| it.data).collect();
    assert_eq!(seen, ["two"]);
}

#[test]
fn a_rejected_hand_over_calls_nothing_and_answers_the_client() {
    let mut config = Config::default();
    config.limits.connections_per_ip = Some(1);
    let mut simulation = Simulation::with_config(config, 0, Router::new());
    let _first = simulation.adopt_request(Request::get("/"), |_, _| Sse::new());
    let second = simulation.adopt_request(Request::get("/"), |_, _| -> Sse { panic!("called") });
    simulation.turn();
    assert_eq!(simulation.response(second).status, 429);
    assert_eq!(simulation.stats().panics, 0);
}
