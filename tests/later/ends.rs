//! Promises that are not kept: one side leaves, or the time is over.

use super::*;
use starwheel::Unanswered;

#[test]
fn a_responder_that_is_dropped_is_a_500() {
    let mut office = Office::open();
    let visitor = office.visitor();
    let responder = office.responder();
    let panics = move || {
        let _responder = responder;
        panic!("the database is on fire");
    };
    thread::spawn(panics).join().unwrap_err();
    office.simulation.turn();
    assert_eq!(office.simulation.response(visitor).status, 500);
}

#[test]
fn a_promise_that_is_not_returned_leaves_nobody_to_answer() {
    let mut office = Office::open();
    office.simulation.run(|cx| {
        let (later, responder) = cx.later();
        let calls = watch(&responder);
        assert!(!responder.is_gone());
        drop(later);
        assert!(responder.is_gone());
        assert_eq!(count(&calls), 1);
        assert_eq!(count(&watch(&responder)), 1, "immediately");
        let unanswered = responder.try_answer(Response::text("hello?")).unwrap_err();
        assert!(matches!(unanswered, Unanswered::ClientGone(_)), "{unanswered}");
    });
}

#[test]
fn a_client_that_leaves_is_noticed_and_one_that_ends_its_requests_still_waits() {
    let mut office = Office::open();
    let (leaves, waits) = (office.visitor(), office.visitor());
    let [gone, patient] = [(); 2].map(|()| office.responder());
    let (gone_calls, patient_calls) = (watch(&gone), watch(&patient));
    office.simulation.reset(leaves);
    office.simulation.half_close(waits);
    office.simulation.turn();

    assert!(gone.is_gone());
    assert!(!patient.is_gone());
    assert_eq!((count(&gone_calls), count(&patient_calls)), (1, 0));
    assert!(matches!(gone.try_answer_with(|_, _| Sse::new()), Err(Unanswered::ClientGone(_))));
    patient.answer(Response::text("thanks for waiting"));
    office.simulation.turn();
    assert_eq!(office.text(waits), "thanks for waiting");
    assert_eq!(office.simulation.response(waits).header("connection"), Some("close"));
    assert_eq!(count(&patient_calls), 0, "it was answered");
    assert_eq!(office.simulation.stats().connections, 0);
}

/// Between the answer and its arrival at the reactor.
#[test]
fn an_answer_to_a_client_that_has_just_left_is_dropped() {
    let mut office = Office::open();
    let visitor = office.visitor();
    let responder = office.responder();
    office.simulation.reset(visitor);
    responder.answer(Response::text("too late"));
    office.simulation.turn();
    assert_eq!(office.simulation.stats().connections, 0);
    // Its slot serves the next client.
    let next = office.visitor();
    assert!(office.simulation.responses(next).is_empty());
}

#[test]
fn an_answer_that_takes_too_long_is_a_503_and_the_next_is_not_its_victim() {
    let mut office = Office::open();
    let visitor = office.visitor();
    let responder = office.responder();
    let calls = watch(&responder);
    office.simulation.advance(Duration::from_millis(59_999));
    assert!(office.simulation.responses(visitor).is_empty());
    office.simulation.advance(Duration::from_millis(1));
    let response = office.simulation.response(visitor);
    assert_eq!(response.status, 503);
    assert!(response.header("retry-after").is_some());
    assert_eq!(response.header("connection"), Some("close"));
    assert!(responder.is_gone());
    assert_eq!(count(&calls), 1);
    assert!(matches!(responder.try_answer(Response::text("")), Err(Unanswered::TimedOut(_))));
    assert_eq!(office.simulation.stats().timed_out, 1);
    assert_eq!(office.simulation.stats().refused.total(), 1);
}

#[test]
fn a_short_answer_timeout_is_kept_to_the_millisecond_and_ends_with_the_answer() {
    let mut office = Office::with_limits(|limits| limits.answer_timeout = Duration::from_secs(1));
    let (answered, waits) = (office.visitor(), office.visitor());
    office.responder().answer(Response::text("quick"));
    office.simulation.advance(Duration::from_millis(999));
    assert!(office.simulation.responses(waits).is_empty());
    office.simulation.advance(Duration::from_millis(1));
    assert_eq!(office.simulation.response(waits).status, 503);
    office.simulation.advance(Duration::from_secs(73));
    assert!(office.simulation.is_open(answered), "it is idle for less than 75 s");
}

/// An `EventSource` stops permanently after an error status.
#[test]
fn an_event_source_whose_answer_takes_too_long_reconnects() {
    let mut office = Office::open();
    let visitor = office.simulation.connect();
    let accept = [("Accept", "text/event-stream")];
    office.simulation.request(visitor, Method::Get, "/later", &accept, b"");
    office.simulation.advance(Duration::from_secs(60));
    let response = office.simulation.response(visitor);
    assert_eq!(response.status, 200);
    assert!(response.text().contains("retry: "), "{}", response.text());
}

#[test]
fn a_shutdown_tells_the_responder() {
    let mut office = Office::open();
    let visitor = office.visitor();
    let responder = office.responder();
    let calls = watch(&responder);
    office.simulation.shutdown();
    assert!(responder.is_gone());
    assert_eq!(count(&calls), 1);
    let Err(Unanswered::Stopped(response)) = responder.try_answer(Response::text("back")) else {
        panic!("the reactor has stopped");
    };
    assert_eq!(response.status(), 200);
    assert!(!office.simulation.is_open(visitor));
    assert!(office.simulation.is_stopped());
}

#[test]
fn a_drain_waits_for_the_answer_and_closes_after_it() {
    let mut office = Office::open();
    let visitor = office.visitor();
    office.simulation.drain(Duration::from_secs(10));
    office.simulation.advance(Duration::from_secs(5));
    assert!(!office.simulation.is_stopped(), "somebody waits");
    office.responder().answer(Response::text("just in time"));
    office.simulation.turn();
    assert_eq!(office.text(visitor), "just in time");
    assert_eq!(office.simulation.response(visitor).header("connection"), Some("close"));
    office.simulation.half_close(visitor);
    office.simulation.turn();
    assert!(office.simulation.is_stopped());
}

#[test]
fn a_reactor_that_is_dropped_hands_the_answer_back() {
    let mut office = Office::open();
    office.visitor();
    let responder = office.responder();
    let calls = watch(&responder);
    drop(office);
    assert!(responder.is_gone());
    assert_eq!(count(&calls), 0, "closures are dropped without a call");
    assert!(responder.try_answer(Response::text("back")).is_err());
}

#[test]
fn panics_of_a_promise_cost_its_client_alone() {
    let mut office = Office::open();
    let (panics, leaves, other) = (office.visitor(), office.visitor(), office.visitor());
    office.responder().answer_with(|_req, _cx| -> Response { panic!("no stream today") });
    let responder = office.responder();
    responder.on_gone(|| panic!("no goodbye either"));
    office.simulation.reset(leaves);
    office.simulation.turn();
    assert_eq!(office.simulation.response(panics).status, 500);
    assert_eq!(office.simulation.stats().panics, 2);
    office.responder().answer(Response::text("unimpressed"));
    office.simulation.turn();
    assert_eq!(office.text(other), "unimpressed");
}

/// Responders may be dropped anywhere, also with the closures of a reactor that is going.
#[test]
fn a_responder_inside_of_its_own_reactor_goes_with_it() {
    let mut office = Office::open();
    let (_visitor, responder) = (office.visitor(), office.responder());
    office.simulation.run(move |cx| {
        cx.after(Duration::from_secs(1), move |_cx| responder.answer(Response::text("never")));
    });
    drop(office);
}
