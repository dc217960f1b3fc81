//! Which closure a request finds.

#[path = "routing/composed.rs"]
mod composed;
#[path = "routing/layers.rs"]
mod layers;

use starwheel::{
    Answer, Method, Request, Response, Router, Sse, StatusCode,
    testing::{ClientResponse, Simulation},
};

fn ask(router: Router, method: Method, target: &str) -> ClientResponse {
    let mut simulation = Simulation::new(router);
    let client = simulation.connect();
    simulation.request(client, method, target, &[], b"");
    simulation.turn();
    simulation.responses(client).remove(0)
}

fn params(req: &Request) -> Response {
    let pairs: Vec<_> = req.params().map(|(name, value)| format!("{name}={value}")).collect();
    Response::text(pairs.join(" "))
}

fn site() -> Router {
    Router::new()
        .get("/", |_, _| Response::text("home"))
        .get("/users/{id}", |req, _| params(req))
        .get("/users/me", |_, _| Response::text("me"))
        .get("/users/{id}/posts/{post}", |req, _| params(req))
        .get("/files/{*path}", |req, _| params(req))
        .get("/events", |_, _| Sse::new().send("hello"))
        .post("/events", |_, _| Response::new(StatusCode::CREATED))
        .delete("/events", |_, _| Response::no_content())
}

#[test]
fn parameters_are_decoded_pieces_of_the_path() {
    for (target, text) in [
        ("/", "home"),
        ("/users/7", "id=7"),
        ("/users/me", "me"),
        ("/users/7/posts/a%20b?x=y", "id=7 post=a b"),
        ("/users/G%C3%B6del", "id=Gödel"),
        ("/files/a/b/c.txt", "path=a/b/c.txt"),
    ] {
        assert_eq!(ask(site(), Method::Get, target).text(), text, "{target}");
    }
}

#[test]
fn an_escaped_slash_or_percent_stays_inside_its_segment() {
    assert_eq!(ask(site(), Method::Get, "/users/a%2Fb").text(), "id=a/b");
    assert_eq!(ask(site(), Method::Get, "/users/a%2fb/posts/%25").text(), "id=a/b post=%");
    assert_eq!(ask(site(), Method::Get, "/users/%252F").text(), "id=%2F", "decoded once");
    assert_eq!(ask(site(), Method::Get, "/users%2F7").status, 404);
}

#[test]
fn an_unknown_path_is_404_and_a_fallback_may_say_more() {
    for target in ["/nothing", "/users", "/users/", "/users/7/", "/files/", "/EVENTS"] {
        assert_eq!(ask(site(), Method::Get, target).status, 404, "{target}");
    }
    let router = site()
        .fallback(|req, _| Response::error(StatusCode::GONE, format!("{} is gone", req.path())));
    let answer = ask(router, Method::Get, "/nothing");
    assert_eq!((answer.status, answer.text()), (410, "/nothing is gone"));
}

#[test]
fn a_known_path_with_another_method_is_405_with_allow() {
    let answer = ask(site(), Method::Put, "/events");
    assert_eq!(answer.status, 405);
    assert_eq!(answer.header("allow"), Some("GET, POST, DELETE, HEAD, OPTIONS"));
    let router = site().fallback(|_, _| Response::text("fallback"));
    assert_eq!(ask(router, Method::Put, "/events").status, 405, "no matter of the fallback");
}

#[test]
fn options_are_answered_with_allow_or_by_the_closure_for_it() {
    let answer = ask(site(), Method::Options, "/events");
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("allow"), Some("GET, POST, DELETE, HEAD, OPTIONS"));
    assert_eq!(ask(site(), Method::Options, "*").status, 204);
    let router = Router::new().on(Method::Options, "/", |_, _| Response::text("mine"));
    assert_eq!(ask(router, Method::Options, "/").text(), "mine");
}

#[test]
fn head_is_answered_through_the_closure_for_get_or_its_own() {
    let answer = ask(site(), Method::Head, "/");
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("4")));
    assert_eq!(answer.body, b"");
    let router = site().on(Method::Head, "/", |_, _| Response::no_content());
    assert_eq!(ask(router, Method::Head, "/").status, 204);
    assert_eq!(
        ask(site().post("/in", |_, _| Response::no_content()), Method::Head, "/in").status,
        405
    );
}

#[test]
fn every_method_finds_its_closure() {
    type Answers = fn(&Request, &mut starwheel::Context<'_>) -> Response;
    let method: Answers = |req, _| Response::text(req.method().as_str());
    let router = || {
        let router = Router::new().get("/", method).post("/", method).put("/", method);
        router.patch("/", method).delete("/", method).on(Method::Query, "/", method)
    };
    for asked in
        [Method::Get, Method::Post, Method::Put, Method::Patch, Method::Delete, Method::Query]
    {
        assert_eq!(ask(router(), asked, "/").text(), asked.as_str());
    }
}

#[test]
fn an_answer_may_be_a_response_a_stream_a_result_or_either() {
    let router = || {
        Router::new().get("/{what}", |req, _| -> Result<Answer, Response> {
            match req.param("what") {
                Some("stream") => Ok(Sse::new().send("hello").into()),
                Some("response") => Ok(Response::text("hello").into()),
                _ => Err(Response::error(StatusCode::BAD_REQUEST, "say stream or response")),
            }
        })
    };
    assert_eq!(ask(router(), Method::Get, "/stream").events()[0].data, "hello");
    assert_eq!(ask(router(), Method::Get, "/response").text(), "hello");
    assert_eq!(ask(router(), Method::Get, "/neither").status, 400);
}

#[test]
#[should_panic(expected = "GET / has a handler already")]
fn a_route_cannot_be_given_twice() {
    let _ = site().get("/", |_, _| Response::no_content());
}

#[test]
#[should_panic(expected = "cannot be added")]
fn a_route_that_contradicts_another_is_refused_at_start() {
    let _ = site().get("/users/{name}", |_, _| Response::no_content());
}
