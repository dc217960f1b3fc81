//! Answers that come later: a request waits, and another thread answers it.

#[path = "later/connections.rs"]
mod connections;
#[path = "later/ends.rs"]
mod ends;
#[path = "later/handed_over.rs"]
mod handed_over;
#[path = "later/hostile.rs"]
mod hostile;

use std::{
    cell::RefCell,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use starwheel::{
    Answer, Config, Context, Handler, Later, Limits, Method, Request, Responder, Response, Router,
    Sse, StatusCode,
    testing::{Client, ClientResponse, Simulation},
};

/// A simulation whose path `/later` is answered by the test, through the responders in `desk`.
/// `/now` is answered immediately.
struct Office {
    simulation: Simulation,
    desk: Rc<RefCell<Vec<Responder>>>,
}

impl Office {
    fn open() -> Self {
        Self::with_limits(|_| {})
    }

    fn with_limits(change: impl FnOnce(&mut Limits)) -> Self {
        let mut config = Config::default();
        change(&mut config.limits);
        Self::with_config(config, |router| Box::new(router))
    }

    fn with_config(config: Config, around: impl FnOnce(Router) -> Box<dyn Handler>) -> Self {
        let desk = Rc::<RefCell<Vec<Responder>>>::default();
        let (get, post) = (Rc::clone(&desk), Rc::clone(&desk));
        let router = Router::new()
            .get("/later", move |_req, cx| promise(cx, &get))
            .post("/later/{name}", move |_req, cx| promise(cx, &post))
            .get("/now", |_req, _cx| Response::text("now"));
        let around = Boxed(around(router));
        Self { simulation: Simulation::with_config(config, 0, around), desk }
    }

    /// A client that waits for its answer.
    fn visitor(&mut self) -> Client {
        self.simulation.get("/later")
    }

    /// The responder of the client that has waited longest.
    fn responder(&self) -> Responder {
        self.desk.borrow_mut().remove(0)
    }

    /// A promise that no handler has returned yet.
    fn promise(&mut self) -> (Later, Responder) {
        self.simulation.context().later()
    }

    fn text(&self, client: Client) -> String {
        self.simulation.response(client).text().to_owned()
    }
}

/// A client of another reactor, whose handler returns this promise.
fn visit_with(later: Later) -> (Simulation, Client) {
    let kept = RefCell::new(Some(later));
    let router = Router::new().get("/", move |_req, _cx| kept.take().expect("one request"));
    let mut simulation = Simulation::new(router);
    let client = simulation.get("/");
    (simulation, client)
}

/// Counts the calls of `on_gone`.
fn watch(responder: &Responder) -> Arc<AtomicU32> {
    let calls = Arc::<AtomicU32>::default();
    let counter = Arc::clone(&calls);
    responder.on_gone(move || _ = counter.fetch_add(1, Ordering::Relaxed));
    calls
}

fn count(calls: &AtomicU32) -> u32 {
    calls.load(Ordering::Relaxed)
}

/// All values of a header field.
fn values(response: &ClientResponse, name: &str) -> Vec<String> {
    let fields = response.headers.iter().filter(|(it, _)| it.eq_ignore_ascii_case(name));
    fields.map(|(_, value)| value.clone()).collect()
}

struct Boxed(Box<dyn Handler>);

impl Handler for Boxed {
    fn handle(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Answer {
        self.0.handle(request, cx)
    }
}

fn promise(cx: &mut Context<'_>, desk: &Rc<RefCell<Vec<Responder>>>) -> Later {
    let (later, responder) = cx.later();
    desk.borrow_mut().push(responder);
    later
}

#[test]
fn another_thread_answers_with_a_response() {
    let mut office = Office::open();
    let visitor = office.visitor();
    assert!(office.simulation.responses(visitor).is_empty(), "it waits");

    let responder = office.responder();
    thread::spawn(move || responder.answer(Response::text("at last"))).join().unwrap();
    office.simulation.turn();
    assert_eq!(office.text(visitor), "at last");
    assert!(office.simulation.is_open(visitor), "and is kept for the next request");
}

#[test]
fn another_thread_answers_with_a_stream_that_is_built_on_the_reactor_thread() {
    let mut office = Office::open();
    let visitor = office.simulation.connect();
    office.simulation.request(visitor, Method::Post, "/later/anna", &[], b"a body");
    office.simulation.turn();

    let responder = office.responder();
    let call = move || {
        responder.answer_with(|req, _cx| {
            let not_send = Rc::new(req.param("name").unwrap_or_default().to_owned());
            let body = req.body().len();
            Sse::every(Duration::from_secs(1), move |stream| {
                stream.send(format_args!("{not_send} {body}"));
            })
        });
    };
    thread::spawn(call).join().unwrap();
    office.simulation.advance(Duration::from_secs(1));
    let events = office.simulation.events(visitor);
    assert_eq!(events.iter().map(|event| &*event.data).collect::<Vec<_>>(), ["anna 6"; 2]);
}

#[test]
fn an_answer_may_come_before_the_promise_is_returned() {
    let router = Router::new().get("/", |_req, cx| {
        let (later, responder) = cx.later();
        responder.answer(Response::text("quick"));
        later
    });
    let mut simulation = Simulation::new(router);
    let client = simulation.get("/");
    assert_eq!(simulation.response(client).text(), "quick");
}

/// The promise is bound to the request whose handler returns it, and to no other.
#[test]
fn promises_that_are_returned_in_the_wrong_order_answer_who_got_them() {
    let (kept, desk) = (RefCell::new(None), Rc::<RefCell<Vec<Responder>>>::default());
    let responders = Rc::clone(&desk);
    let router = Router::new().get("/{name}", move |_req, cx| {
        let later = promise(cx, &responders);
        // The first request gets a response, and its promise goes to the second one.
        kept.borrow_mut().replace(later).map_or_else(|| Response::text("-").into(), Answer::from)
    });
    let mut simulation = Simulation::new(router);
    let clients = ["/first", "/second", "/third"].map(|path| simulation.get(path));
    for (number, responder) in desk.borrow_mut().drain(..).enumerate() {
        responder.answer(Response::text(format!("promise {number}")));
    }
    simulation.turn();
    let texts = clients.map(|client| simulation.response(client).text().to_owned());
    assert_eq!(texts, ["-", "promise 0", "promise 1"]);
}

#[test]
fn a_promise_of_another_reactor_is_a_500_and_answers_nobody_else() {
    let mut office = Office::open();
    let (later, responder) = office.promise();
    let visitor = office.visitor();
    let (other, stranger) = visit_with(later);
    assert_eq!(other.response(stranger).status, 500);

    responder.answer(Response::text("for the wrong one"));
    office.simulation.turn();
    assert!(office.simulation.responses(visitor).is_empty());
    office.responder().answer(Response::text("for this one"));
    office.simulation.turn();
    assert_eq!(office.text(visitor), "for this one");
}

#[test]
fn an_answer_may_be_another_promise() {
    let mut office = Office::open();
    let visitor = office.visitor();
    let (sender, second) = std::sync::mpsc::channel();
    office.responder().answer_with(move |_req, cx| {
        let (later, responder) = cx.later();
        sender.send(responder).unwrap();
        later
    });
    office.simulation.turn();
    assert!(office.simulation.responses(visitor).is_empty(), "it waits again");
    second.recv().unwrap().answer(Response::text("third time lucky"));
    office.simulation.turn();
    assert_eq!(office.text(visitor), "third time lucky");
}

#[test]
fn a_result_answers_with_either_side() {
    let mut office = Office::open();
    for (login, status) in [(Ok("welcome"), 200), (Err(StatusCode::FORBIDDEN), 403)] {
        let visitor = office.visitor();
        let answer = login.map(Response::text).map_err(|it| Response::error(it, "wrong password"));
        office.responder().answer(answer);
        office.simulation.turn();
        assert_eq!(office.simulation.response(visitor).status, status);
    }
}

/// A layer that sets a cookie, adds to `Vary`, and a default for a field.
struct Dressed<H>(H);

impl<H: Handler> Handler for Dressed<H> {
    fn handle(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Answer {
        let answer = self.0.handle(request, cx);
        let default = answer.header("x-frame-options").is_none();
        let answer = answer.with_header("Set-Cookie", "layer=1").with_header("Vary", "Cookie");
        if default { answer.with_header("X-Frame-Options", "DENY") } else { answer }
    }
}

#[test]
fn what_layers_add_to_a_promise_is_added_to_the_response_or_stream_that_comes() {
    let mut office = Office::with_config(Config::default(), |router| Box::new(Dressed(router)));
    let (response, stream) = (office.visitor(), office.visitor());
    let dressed = Response::text("hi")
        .with_header("X-Frame-Options", "SAMEORIGIN")
        .with_header("Set-Cookie", "handler=1");
    office.responder().answer(dressed);
    office.responder().answer_with(|_req, _cx| Sse::new().header("Vary", "Origin").send("hi"));
    office.simulation.turn();

    let response = office.simulation.response(response);
    assert_eq!(values(&response, "set-cookie"), ["handler=1", "layer=1"]);
    assert_eq!(values(&response, "x-frame-options"), ["SAMEORIGIN"]);
    let stream = office.simulation.response(stream);
    assert_eq!(stream.header("set-cookie"), Some("layer=1"));
    assert!(values(&stream, "vary").iter().any(|it| it == "Cookie"));
    assert!(values(&stream, "vary").iter().any(|it| it == "Origin"));
    assert_eq!(stream.header("x-frame-options"), Some("DENY"));
}

#[test]
fn a_page_of_another_origin_may_read_an_answer_that_comes_later() {
    let mut office = Office::with_config(Config::default(), |router| {
        Box::new(starwheel::Cors::with_credentials(["https://app.example"]).unwrap().around(router))
    });
    let visitor = office.simulation.connect();
    let origin = [("Origin", "https://app.example")];
    office.simulation.request(visitor, Method::Get, "/later", &origin, b"");
    office.simulation.turn();
    office.responder().answer(Response::text("hi"));
    office.simulation.turn();
    let response = office.simulation.response(visitor);
    assert_eq!(response.header("access-control-allow-origin"), Some("https://app.example"));
}

#[test]
fn an_answer_needs_no_room_in_the_queue() {
    let mut office = Office::open();
    let visitor = office.visitor();
    let handle = office.simulation.handle();
    while handle.run(|_cx| {}).is_ok() {}
    assert!(handle.run(|_cx| {}).unwrap_err().is_full());

    office.responder().answer(Response::text("through"));
    office.simulation.turn();
    assert_eq!(office.text(visitor), "through");
}
