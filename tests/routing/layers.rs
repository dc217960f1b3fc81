//! Layers that are routers with layers of their own, and layers that call twice.

use std::panic::{AssertUnwindSafe, catch_unwind};

use starwheel::{Answer, Context, Handler, Method, Request, Response, Router, StatusCode};

use crate::ask;

/// Calls what is inside.
struct Pass<H>(H);

impl<H: Handler> Handler for Pass<H> {
    fn handle(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Answer {
        self.0.handle(request, cx)
    }
}

#[test]
fn a_layered_router_as_a_layer_does_not_change_which_route_answers() {
    let pages = || {
        Router::new()
            .get("/admin", |_, _| Response::text("admin"))
            .get("/public", |_, _| Response::text("public"))
    };
    for path in ["/admin", "/public"] {
        let layered = pages().layer(|routes| Router::new().fallback_handler(routes).layer(Pass));
        assert_eq!(ask(layered, Method::Get, path).text(), &path[1..]);
        let matched =
            pages().layer(|routes| Router::new().any_method("/{*rest}", routes).layer(Pass));
        assert_eq!(ask(matched, Method::Get, path).text(), &path[1..]);
    }
}

#[test]
fn a_route_keeps_its_own_layer_inside_a_layered_router_that_is_a_layer() {
    struct Deny<H>(H);
    impl<H> Handler for Deny<H> {
        fn handle(&mut self, _request: &mut Request, _cx: &mut Context<'_>) -> Answer {
            Response::error(StatusCode::UNAUTHORIZED, "closed").into()
        }
    }
    let router = Router::new()
        .get("/open", |_, _| Response::text("open"))
        .merge(Router::new().get("/closed", |_, _| Response::text("closed")).layer(Deny))
        .layer(|routes| Router::new().fallback_handler(routes).layer(Pass));
    assert_eq!(ask(router, Method::Get, "/closed").status, 401);
}

#[test]
fn a_layer_that_catches_a_panic_and_calls_again_reaches_the_same_route() {
    struct Retry<H>(H);
    impl<H: Handler> Handler for Retry<H> {
        fn handle(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Answer {
            let first = catch_unwind(AssertUnwindSafe(|| self.0.handle(request, cx)));
            first.unwrap_or_else(|_| self.0.handle(request, cx))
        }
    }
    struct PanicsOnce<H>(H, bool);
    impl<H: Handler> Handler for PanicsOnce<H> {
        fn handle(&mut self, request: &mut Request, cx: &mut Context<'_>) -> Answer {
            assert!(std::mem::replace(&mut self.1, true), "on purpose");
            self.0.handle(request, cx)
        }
    }
    let inner = Router::new()
        .get("/secret", |_, _| Response::text("secret"))
        .layer(|routes| PanicsOnce(routes, false));
    let router =
        Router::new().get("/other", |_, _| Response::text("other")).merge(inner).layer(Retry);
    assert_eq!(ask(router, Method::Get, "/secret").text(), "secret");
}

#[test]
#[should_panic(expected = "both have a parameter id")]
fn a_parameter_of_the_prefix_has_a_name_of_its_own() {
    let posts = Router::new().get("/posts/{id}", |_, _| Response::no_content());
    let _router = Router::new().nest("/users/{id}", posts);
}
