//! Connections that leave axum for the reactor.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{ConnectInfo, Query, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use starwheel::{
    KeepAlive, Limits, Sse, Topic,
    axum::{Live, LiveAnswer},
};
use tower_http::{
    compression::CompressionLayer, cors::CorsLayer, set_header::SetResponseHeaderLayer,
};

use crate::{
    App,
    client::{Client, field, get as get_of, status, wait_for},
};

async fn hello(live: Live) -> LiveAnswer {
    live.answer(|_req, _cx| Sse::new().send("hello").keep_alive(KeepAlive::Off))
}

fn with_hello() -> Router {
    Router::new().route("/live", get(hello)).route("/page", get(async || "a page"))
}

#[test]
fn figures_are_by_the_path_that_axum_has_matched() {
    let rooms = Router::new().route("/{id}", get(hello));
    let app = App::serving(with_hello().nest("/rooms", rooms));
    let _clients = ["/rooms/1", "/rooms/2", "/live"].map(|path| {
        let mut client = Client::streaming(app.address, path);
        assert_eq!(client.data(), "hello");
        client
    });
    let streams = |pattern: &str| app.live.stats().route(pattern).map_or(0, |route| route.streams);
    wait_for("all are counted", || (streams("/rooms/{id}") == 2).then_some(()));
    assert_eq!((streams("/live"), streams("other")), (1, 0));
}

#[test]
fn a_stream_knows_what_extractors_have_found() {
    async fn watch(
        State(news): State<Topic>,
        ConnectInfo(peer): ConnectInfo<SocketAddr>,
        Query(query): Query<Vec<(String, String)>>,
        live: Live,
    ) -> impl IntoResponse {
        let user = query[0].1.clone();
        live.answer(move |req, _cx| {
            assert_eq!(req.peer(), starwheel::Peer::Ip(peer));
            assert_eq!((req.path(), req.query_value("user").as_deref()), ("/watch", Some(&*user)));
            Sse::new().tag(&*user).subscribe(&news).send(format!("hello {user}"))
        })
    }
    let news = Topic::new("news");
    let app = App::serving(Router::new().route("/watch", get(watch)).with_state(news.clone()));
    let mut client = Client::streaming(app.address, "/watch?user=anna");
    assert_eq!(client.data(), "hello anna");
    app.live.handle.publish(&news, "fresh").unwrap();
    assert_eq!(client.data(), "fresh");
}

#[test]
fn tokio_keeps_nothing_of_a_stream_and_its_end_is_noticed() {
    let app = App::serving(with_hello());
    let mut clients: Vec<Client> = (0..200).map(|_| app.connect()).collect();
    for client in &mut clients {
        // The connection may have been used before.
        assert_eq!(client.get("/page").body, "a page");
        client.open_stream("/live");
        assert_eq!(client.data(), "hello");
    }
    app.wait_for_streams(200);
    app.wait_until_tokio_is_idle();
    clients.truncate(50);
    app.wait_for_streams(50);
    app.live.handle.drain(Duration::ZERO);
    for mut client in clients {
        assert_eq!(client.event(), None, "the reactor ends it, and nobody else holds it open");
    }
}

#[test]
fn the_answer_says_that_the_connection_ends_with_it() {
    let app = App::serving(with_hello());
    let mut client = app.connect();
    client.send(format!("{}{}", get_of("/live"), get_of("/page")));
    app.wait_for_streams(1);
    app.live.handle.drain(Duration::ZERO);
    let rest = client.rest();
    assert_eq!(field(&rest, "connection"), Some("close"), "{rest}");
    assert!(rest.contains("data: hello\n\n") && !rest.contains("a page"), "{rest}");
}

/// Three that are usual around an application, and a cookie.
#[test]
fn fields_that_layers_add_are_sent_and_those_of_another_body_are_not() {
    async fn log_in(request: Request, next: Next) -> Response {
        let mut response = next.run(request).await;
        for cookie in ["a=1; HttpOnly", "b=2"] {
            response.headers_mut().append(header::SET_COOKIE, cookie.parse().unwrap());
        }
        // Of the body that is not sent.
        response.headers_mut().insert(header::CONTENT_LENGTH, 7.into());
        response.headers_mut().insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
        response
    }
    async fn live(live: Live) -> LiveAnswer {
        live.answer(|_req, _cx| Sse::new().header("X-Own", "mine").send("hello"))
    }
    let own = HeaderName::from_static("x-own");
    let router = Router::new()
        .route("/live", get(live))
        .layer(SetResponseHeaderLayer::overriding(own, HeaderValue::from_static("theirs")))
        .layer(CompressionLayer::new())
        .layer(CorsLayer::permissive())
        .layer(middleware::from_fn(log_in));
    let app = App::serving(router);
    let mut client = app.connect();
    client
        .send("GET /live HTTP/1.1\r\nHost: a\r\nOrigin: http://b\r\nAccept-Encoding: gzip\r\n\r\n");
    app.wait_for_streams(1);
    app.live.handle.drain(Duration::ZERO);
    let head = client.rest();
    let cookies: Vec<&str> = head.lines().filter(|it| it.starts_with("set-cookie")).collect();
    assert_eq!(cookies, ["set-cookie: a=1; HttpOnly", "set-cookie: b=2"], "{head}");
    assert_eq!(field(&head, "access-control-allow-origin"), Some("*"), "{head}");
    assert_eq!(field(&head, "x-own"), Some("mine"), "{head}");
    assert_eq!(field(&head, "content-type"), Some("text/event-stream"), "{head}");
    assert_eq!(field(&head, "content-length"), None, "{head}");
    assert_eq!(field(&head, "content-encoding"), Some("gzip"), "ours, of the feature: {head}");
}

#[test]
fn a_layer_may_replace_the_answer() {
    async fn forbid(request: Request, next: Next) -> impl IntoResponse {
        // With all extensions, among them the answer.
        let mut response = next.run(request).await;
        *response.status_mut() = StatusCode::FORBIDDEN;
        response
    }
    let app = App::serving(with_hello().layer(middleware::from_fn(forbid)));
    let mut client = app.connect();
    assert_eq!(client.get("/live").status, 403);
    assert_eq!(client.get("/page").status, 403, "the connection goes on");
    assert_eq!(app.live.stats().requests, 0, "the closure was not called");
}

#[test]
fn a_request_whose_body_was_read_is_handed_over() {
    async fn answer(live: Live, Json(number): Json<u32>) -> LiveAnswer {
        live.answer(move |_req, _cx| Sse::new().send(format!("{}", number + 1)))
    }
    let app = App::serving(Router::new().route("/live", post(answer)));
    let json = "Host: a\r\nContent-Type: application/json\r\n";
    for body in
        ["Content-Length: 2\r\n\r\n41", "Transfer-Encoding: chunked\r\n\r\n2\r\n41\r\n0\r\n\r\n"]
    {
        let mut client = app.connect();
        client.send(format!("POST /live HTTP/1.1\r\n{json}{body}"));
        client.stream_head();
        assert_eq!(client.data(), "42");
        app.wait_until_tokio_is_idle();
    }
}

#[test]
fn head_gets_the_head_alone() {
    let app = App::serving(with_hello());
    let mut client = app.connect();
    client.send("HEAD /live HTTP/1.1\r\nHost: a\r\n\r\n");
    let rest = client.rest();
    assert_eq!((status(&rest), field(&rest, "content-type")), (200, Some("text/event-stream")));
    assert!(rest.ends_with("\r\n\r\n"), "{rest}");
    app.wait_until_tokio_is_idle();
}

#[test]
fn the_shutdown_of_axum_does_not_wait_for_streams() {
    let mut app = App::serving(with_hello());
    let mut client = Client::streaming(app.address, "/live");
    assert_eq!(client.data(), "hello");
    app.shut_down();
    app.wait_for_streams(1);
    app.live.handle.drain(Duration::ZERO);
    assert_eq!(client.event(), None);
    assert_eq!(app.live.ended().streams, 0);
}

#[test]
fn a_reactor_that_has_stopped_is_a_503_and_the_connection_goes_on() {
    let app = App::serving(with_hello());
    app.live.handle.shutdown();
    app.live.ended();
    let mut client = app.connect();
    for _ in 0..2 {
        let refused = client.get("/live");
        assert_eq!((refused.status, field(&refused.head, "retry-after")), (503, Some("1")));
        assert_eq!(client.get("/page").body, "a page");
    }
}

#[test]
fn the_caps_of_the_reactor_count_streams_that_came_from_axum() {
    let mut limits = Limits::default();
    limits.connections_per_ip = Some(2);
    let app = App::with_limits(limits, with_hello());
    let _open: Vec<Client> = (0..2).map(|_| Client::streaming(app.address, "/live")).collect();
    app.wait_for_streams(2);
    let mut third = app.connect();
    assert_eq!(third.get("/live").status, 429);
    assert_eq!(app.connect().get("/page").body, "a page", "axum has none of these caps");
}

#[test]
fn a_thousand_hand_overs_with_resets_leave_nothing() {
    static CALLED: AtomicU64 = AtomicU64::new(0);
    async fn live(live: Live) -> LiveAnswer {
        let held = Arc::new(());
        live.answer(move |_req, _cx| {
            CALLED.fetch_add(1, Ordering::Relaxed);
            Sse::new().send("hello").on_disconnect(move |_, _, _| drop(held))
        })
    }
    let app = App::serving(Router::new().route("/live", get(live)));
    for number in 0..1000 {
        let mut client = app.connect();
        client.request("/live");
        match number % 3 {
            0 => client.reset(),
            1 => drop(client),
            _ => {
                client.stream_head();
                client.reset();
            }
        }
    }
    app.wait_until_tokio_is_idle();
    wait_for("all have arrived", || (CALLED.load(Ordering::Relaxed) >= 333).then_some(()));
    app.live.wait_for("no connection is left", |stats| stats.connections == 0);
}

/// A client that sends two requests and reads nothing: what it has not read of the first response
/// is still in hyper's buffers when the second is answered.
#[test]
fn an_unsent_response_comes_before_the_stream() {
    let body = "x".repeat(8 << 20);
    let expected = body.len();
    let large = move || async move { body };
    let app = App::serving(with_hello().route("/large", get(large)));
    let mut client = Client::connect_with_buffer(app.address, 4096);
    client.send(format!("{}{}", get_of("/large"), get_of("/live")));
    let large = client.answer();
    assert_eq!(large.body.len(), expected);
    client.stream_head();
    assert_eq!(client.data(), "hello");
}
