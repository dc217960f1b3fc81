//! What else happens on a connection while its answer is awaited.

use super::*;

#[test]
fn pipelined_requests_wait_and_are_answered_in_order() {
    let mut office = Office::open();
    let visitor = office.simulation.connect();
    for path in ["/now", "/later", "/now", "/later"] {
        office.simulation.request(visitor, Method::Get, path, &[], b"");
    }
    office.simulation.turn();
    assert_eq!(office.simulation.responses(visitor).len(), 1);
    office.simulation.request(visitor, Method::Get, "/now", &[], b"");
    office.simulation.turn();
    office.responder().answer(Response::text("one"));
    office.simulation.turn();
    assert_eq!(office.simulation.responses(visitor).len(), 3, "up to the next promise");
    office.responder().answer(Response::text("two"));
    office.simulation.turn();
    let answers = office.simulation.responses(visitor);
    let texts: Vec<_> = answers.iter().map(ClientResponse::text).collect();
    assert_eq!(texts, ["now", "one", "now", "two", "now"]);
}

#[test]
fn requests_of_a_client_that_has_ended_its_side_are_answered_too() {
    let mut office = Office::open();
    let visitor = office.simulation.connect();
    for path in ["/later", "/now"] {
        office.simulation.request(visitor, Method::Get, path, &[], b"");
    }
    office.simulation.half_close(visitor);
    office.simulation.turn();
    office.responder().answer(Response::text("one"));
    office.simulation.turn();
    let answers = office.simulation.responses(visitor);
    let texts: Vec<_> = answers.iter().map(ClientResponse::text).collect();
    assert_eq!(texts, ["one", "now"]);
    assert_eq!(office.simulation.stats().connections, 0);
}

#[test]
fn a_client_that_sends_without_end_while_it_waits_is_not_read() {
    let mut office = Office::open();
    let visitor = office.visitor();
    let flood = b"GET /now HTTP/1.1\r\nHost: test\r\n\r\n".repeat(1_000);
    for _ in 0..100 {
        office.simulation.send(visitor, &flood);
        office.simulation.turn();
    }
    let read_bytes = office.simulation.stats().bytes_in;
    assert!(read_bytes < 200_000, "{read_bytes} of {} bytes", 100 * flood.len());
    office.responder().answer(Response::text("one"));
    office.simulation.turn();
    assert_eq!(office.simulation.stats().requests, 100_001, "and now all are answered");
}

#[test]
fn half_a_request_may_follow_the_one_that_waits() {
    let mut office = Office::open();
    let visitor = office.visitor();
    office.simulation.send(visitor, b"GET /now HTT");
    office.simulation.turn();
    office.responder().answer(Response::text("one"));
    office.simulation.turn();
    assert_eq!(office.simulation.responses(visitor).len(), 1);
    office.simulation.send(visitor, b"P/1.1\r\nHost: test\r\n\r\n");
    office.simulation.turn();
    assert_eq!(office.simulation.responses(visitor)[1].text(), "now");
}

#[test]
fn a_head_request_gets_the_head_alone() {
    let mut office = Office::open();
    for stream in [false, true] {
        let visitor = office.simulation.connect();
        office.simulation.request(visitor, Method::Head, "/later", &[], b"");
        office.simulation.turn();
        match stream {
            false => office.responder().answer(Response::text("four")),
            true => office.responder().answer_with(|_req, _cx| Sse::new().send("hi")),
        }
        office.simulation.turn();
        let response = office.simulation.response(visitor);
        assert_eq!((response.status, response.text()), (200, ""));
        assert_eq!(response.header("content-length"), (!stream).then_some("4"));
        assert!(office.simulation.is_open(visitor));
        assert_eq!(office.simulation.stats().streams, 0);
    }
}

#[test]
fn a_waiting_connection_counts_for_the_limits() {
    let mut office = Office::with_limits(|limits| limits.connections = Some(1));
    let _visitor = office.visitor();
    let second = office.simulation.get("/now");
    assert_eq!(office.simulation.response(second).status, 503);
    office.responder().answer(Response::text("one"));
    office.simulation.turn();
}

#[test]
fn a_client_that_does_not_read_earlier_responses_is_cut_while_it_waits() {
    let mut office = Office::open();
    let visitor = office.simulation.connect();
    office.simulation.stall(visitor);
    for _ in 0..2 {
        office.simulation.request(visitor, Method::Get, "/later", &[], b"");
    }
    office.simulation.turn();
    office.responder().answer(Response::text("x".repeat(100_000)));
    office.simulation.turn();
    let responder = office.responder();
    office.simulation.advance(Duration::from_secs(61));
    assert!(responder.is_gone());
    assert_eq!(office.simulation.stats().connections, 0);
}

#[test]
fn a_client_that_waits_is_not_idle() {
    let mut office = Office::with_limits(|limits| limits.answer_timeout = Duration::MAX);
    let visitor = office.visitor();
    office.simulation.advance(Duration::from_secs(24 * 3600));
    office.responder().answer(Response::text("a day later"));
    office.simulation.advance(Duration::from_secs(74));
    assert_eq!(office.text(visitor), "a day later");
    assert!(office.simulation.is_open(visitor), "idle since its answer");
    office.simulation.advance(Duration::from_secs(1));
    assert!(!office.simulation.is_open(visitor));
}

#[test]
fn a_stream_that_resumes_may_come_later() {
    let mut office = Office::open();
    let news = starwheel::Topic::new("news").history(10, 1_000);
    office.simulation.run(|cx| {
        for number in 1..=3 {
            cx.publish(&news, format_args!("event {number}")).unwrap();
        }
    });
    let first = office.visitor();
    let watched = news.clone();
    let watch = move |_: &mut Request, _: &mut Context<'_>| {
        Sse::new().subscribe_at(&watched, starwheel::JoinAt::Oldest)
    };
    office.responder().answer_with(watch.clone());
    office.simulation.turn();
    let seen: Vec<_> = office.simulation.events(first).into_iter().map(|it| it.data).collect();
    assert_eq!(seen, ["event 1", "event 2", "event 3"]);
    let id = office.simulation.last_event_id(first);
    office.simulation.run(|cx| cx.publish(&news, "event 4").unwrap());

    let again = office.simulation.connect();
    let headers = [("Last-Event-ID", &*id)];
    office.simulation.request(again, Method::Get, "/later", &headers, b"");
    office.simulation.turn();
    office.responder().answer_with(watch);
    office.simulation.turn();
    let seen: Vec<_> = office.simulation.events(again).into_iter().map(|it| it.data).collect();
    assert_eq!(seen, ["event 4"]);
}

/// Several thousand clients that wait, leave and are answered in any order leave nothing.
#[test]
fn thousands_of_waiting_clients_get_their_own_answers() {
    let mut office = Office::open();
    let clients: Vec<_> = (0..3_000)
        .map(|number| {
            let client = office.simulation.connect();
            let path = format!("/later/{number}");
            office.simulation.request(client, Method::Post, &path, &[], b"");
            client
        })
        .collect();
    office.simulation.turn();
    let mut responders: Vec<_> = office.desk.borrow_mut().drain(..).enumerate().collect();
    // Every third client leaves; the others are answered from the last to the first.
    for client in clients.iter().step_by(3) {
        office.simulation.reset(*client);
    }
    office.simulation.turn();
    for (number, responder) in responders.drain(..).rev() {
        assert_eq!(responder.is_gone(), number % 3 == 0);
        responder.answer_with(|req, _cx| Response::text(req.param("name").unwrap().to_owned()));
    }
    office.simulation.turn();
    for (number, client) in clients.iter().enumerate().filter(|(number, _)| number % 3 > 0) {
        assert_eq!(office.text(*client), number.to_string());
    }
    assert_eq!(office.simulation.stats().connections, 2_000);
}
