//! User code around promises that panics or does the unexpected.

use super::*;

/// Panics when it is dropped.
struct Trap;

impl Drop for Trap {
    fn drop(&mut self) {
        panic!("a destructor panics");
    }
}

#[test]
fn a_handler_that_panics_with_a_promise_may_have_a_callback_that_panics_too() {
    let router = Router::new().get("/", |_req, cx| -> Later {
        let (_later, responder) = cx.later();
        responder.on_gone(|| panic!("a second panic"));
        panic!("the first panic");
    });
    let mut simulation = Simulation::new(router);
    let client = simulation.get("/");
    assert_eq!(simulation.response(client).status, 500);
}

#[test]
fn what_an_unneeded_callback_has_captured_is_dropped_by_the_thread_that_answers() {
    let mut office = Office::open();
    let (visitor, trap) = (office.visitor(), Trap);
    let responder = office.responder();
    responder.on_gone(move || drop(trap));
    thread::spawn(move || responder.answer(Response::text("hi"))).join().unwrap_err();
    office.simulation.turn();
    assert_eq!(office.text(visitor), "hi");
}

#[test]
fn a_thread_that_panics_may_drop_a_callback_that_panics_too() {
    let mut office = Office::open();
    let (visitor, trap) = (office.visitor(), Trap);
    let responder = office.responder();
    responder.on_gone(move || drop(trap));
    let panics = move || {
        let _responder = responder;
        panic!("the first panic");
    };
    thread::spawn(panics).join().unwrap_err();
    office.simulation.turn();
    assert_eq!(office.simulation.response(visitor).status, 500);
}

#[test]
fn an_answer_that_its_handler_discards_may_panic_and_calls_nothing() {
    let (kept, calls) = (RefCell::new(None), Rc::<RefCell<Vec<_>>>::default());
    let watched = Rc::clone(&calls);
    let router = Router::new().get("/", move |_req, cx| {
        let Some(later) = kept.take() else {
            let ((later, responder), trap) = (cx.later(), Trap);
            watched.borrow_mut().push(watch(&responder));
            responder.answer_with(move |_req, _cx| {
                drop(trap);
                Response::text("never built")
            });
            kept.replace(Some(later));
            return Response::text("kept");
        };
        drop(later);
        Response::text("discarded")
    });
    let mut simulation = Simulation::new(router);
    let clients = [(); 2].map(|()| simulation.get("/"));
    let texts = clients.map(|client| simulation.response(client).text().to_owned());
    assert_eq!(texts, ["kept", "discarded"]);
    assert_eq!(count(&calls.borrow()[0]), 0, "it was answered");
}

#[test]
fn a_promise_that_another_reactor_has_refused_is_gone() {
    let mut office = Office::open();
    let (later, responder) = office.promise();
    let calls = watch(&responder);
    let (other, stranger) = visit_with(later);
    assert_eq!(other.response(stranger).status, 500);
    assert!(responder.is_gone());
    assert_eq!(count(&calls), 1);
}

/// Its conversion is user code, which must not run while the queue is locked.
struct Converts(starwheel::Handle);

impl From<Converts> for Response {
    fn from(Converts(handle): Converts) -> Self {
        assert!(handle.stats().connections > 9, "a panic");
        Self::text("converted")
    }
}

#[test]
fn a_conversion_that_panics_is_a_500() {
    let mut office = Office::open();
    let (visitor, responder) = (office.visitor(), office.responder());
    let value = Converts(office.simulation.handle());
    let answers = thread::spawn(move || responder.answer(value));
    answers.join().unwrap_err();
    office.simulation.turn();
    assert_eq!(office.simulation.response(visitor).status, 500);
}

/// A layer that adds these fields.
struct Adds<H>(H, &'static [(&'static str, &'static str)]);

impl<H: Handler> Handler for Adds<H> {
    fn handle(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Answer {
        let answer = self.0.handle(request, cx);
        self.1.iter().fold(answer, |answer, (name, value)| answer.with_header(name, value))
    }
}

fn answered_with_fields(fields: &'static [(&'static str, &'static str)]) -> ClientResponse {
    let mut office =
        Office::with_config(Config::default(), |router| Box::new(Adds(router, fields)));
    let visitor = office.visitor();
    office.responder().answer(Response::text("hi"));
    office.simulation.turn();
    office.simulation.response(visitor)
}

#[test]
fn a_layer_may_add_several_lines_of_a_field_to_a_promise() {
    let response = answered_with_fields(&[("X-Policy", "one"), ("x-policy", "two")]);
    assert_eq!(values(&response, "X-Policy"), ["one", "two"]);
}

/// Browsers obey all of them: without the layer's, the late answer would be allowed more than one
/// that comes immediately.
#[test]
fn a_late_answer_does_not_replace_the_security_policy_of_a_layer() {
    let mut office = Office::with_config(Config::default(), |router| {
        Box::new(Adds(router, &[("Content-Security-Policy", "default-src 'self'")]))
    });
    let visitor = office.visitor();
    let own = Response::text("hi").with_header("Content-Security-Policy", "img-src *");
    office.responder().answer(own);
    office.simulation.turn();
    let policies = values(&office.simulation.response(visitor), "Content-Security-Policy");
    assert_eq!(policies, ["img-src *", "default-src 'self'"]);
}

#[test]
fn a_media_type_that_a_layer_has_set_is_no_second_one() {
    let response = answered_with_fields(&[("Content-Type", "text/x-layer")]);
    assert_eq!((response.status, response.text()), (200, "hi"));
    assert_eq!(values(&response, "content-type"), ["text/plain; charset=utf-8"]);
}

#[test]
fn a_header_that_a_layer_must_not_send_makes_a_late_answer_a_500_too() {
    let response = answered_with_fields(&[("X-Split", "a\r\nb")]);
    assert_eq!(response.status, 500);
}

/// The same as for an answer of the handler: reads that were reported earlier are not lost.
#[test]
fn what_arrives_while_a_client_waits_is_read_after_the_answer() {
    for ending in 0..3 {
        let mut office = Office::open();
        let visitor = office.visitor();
        for _ in 0..2 {
            office.simulation.send(visitor, b"GET /now HTTP/1.1\r\nHost: test\r\n\r\n");
            office.simulation.turn();
        }
        match ending {
            0 => {}
            1 => office.simulation.half_close(visitor),
            _ => office.simulation.reset(visitor),
        }
        office.simulation.turn();
        office.responder().answer(Response::text("one"));
        office.simulation.turn();
        if ending < 2 {
            assert_eq!(office.simulation.responses(visitor).len(), 3);
        }
        assert_eq!(office.simulation.stats().connections, u64::from(ending == 0));
    }
}

/// A client that has ended its requests may still wait, and may then be lost.
#[test]
fn a_reset_after_the_end_of_requests_is_noticed() {
    let mut office = Office::open();
    let (visitor, responder) = (office.visitor(), office.responder());
    office.simulation.half_close(visitor);
    office.simulation.turn();
    assert!(!responder.is_gone());
    office.simulation.reset(visitor);
    office.simulation.turn();
    assert!(responder.is_gone());
    assert_eq!(office.simulation.stats().connections, 0);
}

/// Its place among the connections is not answered by those who waited there before.
#[test]
fn answers_to_clients_that_have_left_do_not_reach_those_who_wait_in_their_place() {
    let mut office = Office::open();
    for round in 0..200 {
        let first = office.visitor();
        let (late, text) = (office.responder(), format!("for {round}"));
        office.simulation.reset(first);
        if round % 2 == 0 {
            late.answer(Response::text("for nobody"));
            office.simulation.turn();
        } else {
            office.simulation.turn();
            let second = office.visitor();
            assert!(late.try_answer(Response::text("for nobody")).is_err());
            office.simulation.turn();
            assert!(office.simulation.responses(second).is_empty());
            office.responder().answer(Response::text(text.clone()));
            office.simulation.turn();
            assert_eq!(office.text(second), text);
            office.simulation.reset(second);
            office.simulation.turn();
        }
        assert_eq!(office.simulation.stats().connections, 0);
    }
}
