//! Values that layers hand to handlers: who sees them, and when they end.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use starwheel::{
    Answer, Context, Handler, Request, Response, Router, Sse,
    testing::{ClientResponse, Simulation},
};

/// Leaves what `make` makes of a request, if anything.
struct Leaving<H, M> {
    make: M,
    inside: H,
}

impl<H, M, T> Handler for Leaving<H, M>
where
    H: Handler,
    M: FnMut(&Request) -> Option<T>,
    T: Clone + Send + Sync + 'static,
{
    fn handle(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Answer {
        if let Some(value) = (self.make)(request) {
            request.extensions_mut().insert(value);
        }
        self.inside.handle(request, cx)
    }
}

#[derive(Clone, Debug, PartialEq)]
struct User(String);

fn user_of(request: &Request) -> Option<User> {
    request.query_value("user").map(|name| User(name.into_owned()))
}

fn greet(request: &Request) -> Response {
    let name = request.extension::<User>().map_or("nobody", |User(name)| name.as_str());
    Response::text(name.to_owned())
}

fn ask(simulation: &mut Simulation, targets: &[&str]) -> Vec<ClientResponse> {
    let client = simulation.connect();
    let requests: Vec<_> =
        targets.iter().map(|it| format!("GET {it} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    simulation.send(client, requests.concat().as_bytes());
    simulation.turn();
    simulation.responses(client)
}

#[test]
fn a_layer_hands_a_value_to_the_handler_of_this_request_alone() {
    let router = Router::new()
        .get("/", |req, _| greet(req))
        .get("/panic", |req, _| -> Response { panic!("{:?}", req.extension::<User>()) });
    let mut simulation = Simulation::new(Leaving { make: user_of, inside: router });
    let answers = ask(&mut simulation, &["/?user=ann", "/", "/panic?user=eve", "/", "/?user=bob"]);
    let texts: Vec<_> = answers.iter().map(ClientResponse::text).collect();
    assert_eq!([texts[0], texts[1], texts[3], texts[4]], ["ann", "nobody", "nobody", "bob"]);
    assert_eq!(answers[2].status, 500);
}

#[test]
fn there_is_one_value_of_each_type() {
    let mut request = Request::get("/");
    let extensions = request.extensions_mut();
    assert_eq!(extensions.insert(User("ann".into())), None);
    assert_eq!(extensions.insert(7_u8), None);
    assert_eq!(extensions.insert(User("bob".into())), Some(User("ann".into())));
    extensions.get_mut::<User>().unwrap().0.push('!');
    let copy = request.clone();
    assert_eq!(request.extensions_mut().remove::<User>(), Some(User("bob!".into())));
    assert_eq!(request.extension::<User>(), None);
    assert_eq!(request.extensions_mut().remove::<User>(), None);
    assert_eq!(request.extensions().get::<u8>(), Some(&7));
    assert_eq!(
        copy.extension::<User>(),
        Some(&User("bob!".into())),
        "a clone has values of its own"
    );
    assert_eq!(format!("{:?}", copy.extensions()), "Extensions { values: 2 }");
}

/// Counts its ends, and panics at the last one of a value.
#[derive(Clone)]
struct Bad<const N: usize>(Arc<AtomicUsize>);

impl<const N: usize> Drop for Bad<N> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        panic!("a destructor that panics");
    }
}

#[test]
fn values_end_with_their_request_also_when_their_destructors_panic() {
    let ends = Arc::new(AtomicUsize::new(0));
    let router = Router::new()
        .get("/text", |_, _| Response::text("text"))
        .get("/stream", |_, _| Sse::new().send("event"))
        .get("/panic", |_, _| -> Response { panic!("a handler that panics") });
    let (first, second) = (ends.clone(), ends.clone());
    let inside = Leaving { make: move |_: &Request| Some(Bad::<1>(first.clone())), inside: router };
    let handler = Leaving { make: move |_: &Request| Some(Bad::<2>(second.clone())), inside };
    let mut simulation = Simulation::new(handler);
    for (target, status) in [("/text", 200), ("/panic", 500), ("/none", 404), ("/stream", 200)] {
        let before = ends.load(Ordering::Relaxed);
        assert_eq!(ask(&mut simulation, &[target])[0].status, status, "{target}");
        assert_eq!(ends.load(Ordering::Relaxed), before + 2, "{target}");
    }
    assert_eq!(simulation.stats().panics, 4 * 2 + 1);
}
