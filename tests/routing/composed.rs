//! Routers out of routers, handlers that are no closures, and layers around a part.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use starwheel::{
    Answer, Context, Cors, Handler, Method, OriginCheck, Request, Response, Router, Sse,
    StatusCode, testing::Simulation,
};

use crate::{ask, params, site};

/// Says in a header field that it was passed, and notes what it saw of the route.
struct Marking<H> {
    name: &'static str,
    seen: Rc<RefCell<Vec<String>>>,
    inside: H,
}

impl<H: Handler> Handler for Marking<H> {
    fn handle(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Answer {
        let seen = format!("{} {}", self.name, request.route().unwrap_or("none"));
        self.seen.borrow_mut().push(seen);
        let before = self.inside.handle(request, cx);
        let passed = format!("{}{}", self.name, before.header("passed").unwrap_or_default());
        Response::text(match before {
            Answer::Response(response) => {
                format!("{} {}", response.status(), String::from_utf8_lossy(response.body()))
            }
            _ => "a stream".to_owned(),
        })
        .with_header("passed", passed)
        .into()
    }
}

fn marking<H: Handler>(name: &'static str) -> impl FnOnce(H) -> Marking<H> {
    move |inside| Marking { name, seen: Rc::default(), inside }
}

fn named(name: &'static str) -> Router {
    Router::new().get("/", move |_, _| Response::text(name))
}

fn text(router: Router, target: &str) -> String {
    ask(router, Method::Get, target).text().to_owned()
}

#[test]
fn any_handler_may_answer_one_method_or_all() {
    struct Count(u32);
    impl Handler for Count {
        fn handle(&mut self, request: &mut Request, _: &mut Context<'_>) -> Answer {
            self.0 += 1;
            Response::text(format!("{} {}", request.method(), self.0)).into()
        }
    }
    let router = || {
        Router::new()
            .handler(Method::Get, "/one", Count(0))
            .post("/one", |_, _| Response::no_content())
            .any_method("/all", Count(10))
            .fallback_handler(Count(20))
    };
    assert_eq!(text(router(), "/one"), "GET 1");
    let refused = ask(router(), Method::Put, "/one");
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, POST, HEAD, OPTIONS")));
    for method in [Method::Get, Method::Delete, Method::Options] {
        assert_eq!(ask(router(), method, "/all").text(), format!("{method} 11"));
    }
    assert_eq!(text(router(), "/none"), "GET 21");
}

#[test]
fn merged_routers_answer_as_one() {
    let merged = || {
        site()
            .merge(
                Router::new()
                    .put("/events", |_, _| Response::text("put"))
                    .get("/more/{id}", |req, _| params(req)),
            )
            .merge(Router::new().fallback(|_, _| Response::text("fallback")))
    };
    assert_eq!(text(merged(), "/users/7"), "id=7");
    assert_eq!(text(merged(), "/more/7"), "id=7");
    assert_eq!(ask(merged(), Method::Put, "/events").text(), "put");
    let refused = ask(merged(), Method::Patch, "/events");
    assert_eq!(refused.header("allow"), Some("GET, POST, DELETE, PUT, HEAD, OPTIONS"));
    assert_eq!(ask(merged(), Method::Head, "/more/7").header("content-length"), Some("4"));
    assert_eq!(text(merged(), "/nothing"), "fallback");
}

#[test]
fn nested_routes_are_named_with_their_whole_pattern() {
    let inner = || {
        Router::new()
            .get("/", |req, _| Response::text(format!("{:?} {}", req.route(), req.path())))
            .get("/posts/{post}", |req, _| {
                Response::text(format!("{:?} {}", req.route(), req.param("id").unwrap()))
            })
            .post("/posts/{post}", |_, _| Response::new(StatusCode::CREATED))
    };
    let router = || Router::new().nest("/v1", Router::new().nest("/users/{id}", inner()));
    assert_eq!(text(router(), "/v1/users/7"), "Some(\"/v1/users/{id}\") /v1/users/7");
    assert_eq!(text(router(), "/v1/users/7/posts/9"), "Some(\"/v1/users/{id}/posts/{post}\") 7");
    for missing in ["/v1/users/7/", "/v1", "/users/7", "/v1/users/7/posts"] {
        assert_eq!(ask(router(), Method::Get, missing).status, 404, "{missing}");
    }
    let refused = ask(router(), Method::Delete, "/v1/users/7/posts/9");
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, POST, HEAD, OPTIONS")));
    assert_eq!(ask(router(), Method::Head, "/v1/users/7").body, b"");
    let nested_twice = Router::new().nest("/a", named("a")).nest("/b", named("b"));
    assert_eq!(text(nested_twice, "/b"), "b");
}

#[test]
fn a_layer_is_around_what_was_added_before_it() {
    let router = || {
        Router::new()
            .get("/in/{id}", |req, _| params(req))
            .post("/in/{id}", |_, _| Response::no_content())
            .layer(marking("a"))
            .get("/out", |_, _| Response::text("out"))
    };
    let inside = ask(router(), Method::Get, "/in/7");
    assert_eq!((inside.text(), inside.header("passed")), ("200 OK id=7", Some("a")));
    let outside = ask(router(), Method::Get, "/out");
    assert_eq!((outside.text(), outside.header("passed")), ("out", None));
    assert_eq!(ask(router(), Method::Get, "/none").header("passed"), None);
    let refused = ask(router(), Method::Put, "/in/7");
    assert_eq!(refused.header("passed"), Some("a"), "the layer sees what is refused inside");
    assert!(refused.text().starts_with("405"), "{}", refused.text());
    assert_eq!(ask(router(), Method::Head, "/in/7").header("content-length"), Some("11"));
}

#[test]
fn layers_lie_around_each_other_through_merges_and_nests() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let note = |name, seen: &Rc<RefCell<Vec<String>>>| {
        let seen = seen.clone();
        move |inside| Marking { name, seen, inside }
    };
    let leaf = Router::new()
        .get("/x", |_, _| Response::text("x"))
        .layer(note("1", &seen))
        .get("/y", |_, _| Response::text("y"))
        .layer(note("2", &seen))
        .get("/z", |_, _| Response::text("z"));
    let other = Router::new()
        .get("/other", |_, _| Response::text("other"))
        .fallback(|_, _| Response::text("fallback"))
        .layer(note("3", &seen));
    let router = Router::new().merge(other).nest("/leaf", leaf).layer(note("4", &seen));
    let router = named("first").layer(note("5", &seen)).merge(router);
    let mut simulation = Simulation::new(router);
    for (target, passed, seen_then) in [
        ("/leaf/x", "421", &["4 /leaf/x", "2 /leaf/x", "1 /leaf/x"][..]),
        ("/leaf/y", "42", &["4 /leaf/y", "2 /leaf/y"]),
        ("/leaf/z", "4", &["4 /leaf/z"]),
        ("/other", "43", &["4 /other", "3 /other"]),
        ("/nothing", "43", &["4 none", "3 none"]),
        ("/", "5", &["5 /"]),
    ] {
        seen.borrow_mut().clear();
        let client = simulation.get(target);
        let answer = simulation.response(client);
        assert_eq!(answer.header("passed"), Some(passed), "{target}");
        assert_eq!(*seen.borrow(), seen_then, "{target}");
    }
}

#[test]
fn a_layer_may_call_what_is_inside_it_again() {
    struct Twice<H>(H);
    impl<H: Handler> Handler for Twice<H> {
        fn handle(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Answer {
            self.0.handle(request, cx);
            self.0.handle(request, cx)
        }
    }
    let calls = Rc::new(Cell::new(0));
    let counted = calls.clone();
    let router = named("first")
        .get("/x", move |_, _| {
            counted.set(counted.get() + 1);
            Response::text("x")
        })
        .layer(Twice)
        .get("/y", |_, _| Response::text("y"))
        .layer(Twice);
    assert_eq!(text(router, "/x"), "x");
    assert_eq!(calls.get(), 4);
}

/// Another route must not answer by chance.
#[test]
fn what_is_inside_a_layer_answers_no_request_but_the_one_that_was_matched() {
    struct Other<H>(H);
    impl<H: Handler> Handler for Other<H> {
        fn handle(&mut self, _: &mut Request, cx: &mut Context<'_>) -> Answer {
            self.0.handle(&mut Request::get("/"), cx)
        }
    }
    let answer = ask(named("first").layer(Other), Method::Get, "/");
    assert_eq!(answer.status, 404);
}

#[test]
fn the_checks_of_the_library_are_layers() {
    let router = || {
        Router::new()
            .post("/pay", |_, _| Response::no_content())
            .layer(|routes| OriginCheck::new().around(routes))
            .post("/hook", |_, _| Response::no_content())
            .get("/news", |_, _| Sse::new().send("hello"))
            .merge(
                Router::new()
                    .put("/open", |_, _| Response::no_content())
                    .layer(|routes| Cors::any().around(routes)),
            )
    };
    let send = |method: Method, target: &str, more: &[(&str, &str)]| {
        let mut simulation = Simulation::new(router());
        let client = simulation.connect();
        let foreign = [&[("Origin", "https://attacker.example")], more].concat();
        simulation.request(client, method, target, &foreign, b"");
        simulation.turn();
        simulation.responses(client).remove(0)
    };
    assert_eq!(send(Method::Post, "/pay", &[]).status, 403);
    assert_eq!(send(Method::Post, "/hook", &[]).status, 204);
    assert_eq!(send(Method::Put, "/open", &[]).header("access-control-allow-origin"), Some("*"));
    let asks = [("Access-Control-Request-Method", "PUT")];
    let preflight = send(Method::Options, "/open", &asks);
    assert!(preflight.header("access-control-allow-methods").is_some());
    assert_eq!(send(Method::Options, "/pay", &asks).header("access-control-allow-origin"), None);
}

#[test]
#[should_panic(expected = "GET / has a handler already")]
fn merged_routers_may_not_answer_the_same() {
    let _router = named("a").merge(named("b"));
}

#[test]
#[should_panic(expected = "both routers have a fallback; keep one of them")]
fn merged_routers_have_one_fallback() {
    let with_fallback = || Router::new().fallback(|_, _| Response::not_found());
    let _router = with_fallback().merge(with_fallback());
}

#[test]
#[should_panic(
    expected = "/ is inside a layer already; add all of its methods before Router::layer"
)]
fn a_pattern_inside_a_layer_gets_no_more_methods() {
    let _router = named("a").layer(marking("a")).post("/", |_, _| Response::no_content());
}

#[test]
#[should_panic(expected = "/ is inside a layer already")]
fn a_pattern_inside_a_layer_is_not_merged_with_the_same_outside() {
    let post = Router::new().post("/", |_, _| Response::no_content());
    let _router = post.merge(named("a").layer(marking("a")));
}

#[test]
#[should_panic(expected = "/ has a handler for all methods, so it can have no other")]
fn a_pattern_with_a_handler_for_all_methods_has_no_other() {
    let _router = named("a").any_method("/", named("b"));
}

#[test]
#[should_panic(expected = "the route /a/{*rest} cannot be added")]
fn a_nested_route_that_contradicts_another_is_refused_at_start() {
    let rest = |name| Router::new().get(name, |_, _| Response::no_content());
    let _router = rest("/a/{*path}").nest("/a", rest("/{*rest}"));
}

#[test]
#[should_panic(expected = "the router nested at /a has a fallback; set it on the outer router")]
fn a_nested_router_has_no_fallback() {
    let _router = Router::new().nest("/a", named("b").fallback(|_, _| Response::not_found()));
}

#[test]
fn a_prefix_begins_with_a_slash_and_does_not_end_with_one() {
    for prefix in ["", "/", "a", "/a/"] {
        let nested = std::panic::catch_unwind(|| drop(Router::new().nest(prefix, named("a"))));
        let message = *nested.unwrap_err().downcast::<String>().unwrap();
        assert!(message.starts_with(&format!("the prefix {prefix:?} must")), "{message}");
    }
}

struct Bad(Rc<Cell<u32>>);

impl Drop for Bad {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
        panic!("a destructor that panics");
    }
}

#[test]
fn a_router_drops_its_handlers_and_layers_one_by_one() {
    struct Holding<H>(H, #[allow(dead_code)] Bad);
    impl<H: Handler> Handler for Holding<H> {
        fn handle(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Answer {
            self.0.handle(request, cx)
        }
    }
    let ends = Rc::new(Cell::new(0));
    let bad = || Bad(ends.clone());
    let holding = |bad: Bad| {
        move |_: &Request, _: &mut Context<'_>| {
            let _held = &bad;
            Response::no_content()
        }
    };
    let part = Router::new()
        .get("/a", holding(bad()))
        .post("/a", holding(bad()))
        .layer(|routes| Holding(routes, bad()))
        .layer(|routes| Holding(routes, bad()));
    drop(Router::new().get("/", holding(bad())).fallback(holding(bad())).nest("/part", part));
    assert_eq!(ends.get(), 6);
}
