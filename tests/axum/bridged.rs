//! Connections that cannot leave axum: their streams come through a socket pair.

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Request, Response, StatusCode, Version},
    routing::{get, post},
};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use starwheel::{
    Ending, KeepAlive, Limits, Peer, Response as Reply, Sse, Topic,
    axum::{Live, LiveAnswer},
    hyper::LiveService,
};
use tokio::{
    net::{TcpStream, UnixListener},
    time,
};
use tower_service::Service;

use crate::{
    App,
    client::{Client, PATIENCE},
};

type Sender = hyper::client::conn::http2::SendRequest<String>;

/// One HTTP/2 connection.
async fn connect_h2(app: &App) -> Sender {
    let stream = TcpStream::connect(app.address).await.unwrap();
    let io = TokioIo::new(stream);
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn send(sender: &mut Sender, request: hyper::http::request::Builder) -> Response<Incoming> {
    let request = request.version(Version::HTTP_2).body(String::new()).unwrap();
    time::timeout(PATIENCE, sender.send_request(request)).await.expect("an answer").unwrap()
}

/// Reads until the body contains `text`.
async fn read_until(body: &mut Incoming, text: &str) -> String {
    let mut all = String::new();
    while !all.contains(text) {
        let frame = time::timeout(PATIENCE, body.frame()).await.expect("bytes");
        let data = frame.expect("more").unwrap().into_data().unwrap();
        all.push_str(std::str::from_utf8(&data).unwrap());
    }
    all
}

/// Why there are no more bytes; `None` for an orderly end.
async fn end_of(body: &mut Incoming) -> Option<hyper::Error> {
    loop {
        match time::timeout(PATIENCE, body.frame()).await.expect("the end") {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Some(error),
            None => return None,
        }
    }
}

fn of(uri: &str) -> hyper::http::request::Builder {
    Request::builder().uri(format!("http://app.example{uri}"))
}

async fn hello(live: Live) -> LiveAnswer {
    live.answer(|req, _cx| {
        let Peer::Ip(peer) = req.peer() else { panic!("the client's address") };
        assert!(peer.ip().is_loopback());
        assert_eq!((req.host(), req.path()), ("app.example", "/live"));
        Sse::new().send("hello").header("X-Own", "mine").keep_alive(KeepAlive::Off)
    })
}

#[test]
fn http2_streams_come_from_the_reactor_and_their_ends_are_noticed() {
    let app = App::serving(Router::new().route("/live", get(hello)));
    app.runtime.block_on(async {
        let mut sender = connect_h2(&app).await;
        let mut open = Vec::new();
        for _ in 0..20 {
            let response = send(&mut sender, of("/live")).await;
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.headers()["content-type"], "text/event-stream");
            assert_eq!(response.headers()["x-own"], "mine");
            for of_the_connection in ["connection", "transfer-encoding"] {
                assert!(!response.headers().contains_key(of_the_connection));
            }
            let mut body = response.into_body();
            assert_eq!(read_until(&mut body, "\n\n").await, "data: hello\n\n");
            open.push(body);
        }
        task(&app, 20).await;
        open.truncate(5);
        task(&app, 5).await;
        // An orderly end of the streams, and the connection goes on.
        app.live
            .handle
            .run(|cx| {
                for id in cx.streams().collect::<Vec<_>>() {
                    cx.close(id, Ending::Finish);
                }
            })
            .unwrap();
        for body in &mut open {
            assert!(end_of(body).await.is_none(), "an orderly end");
        }
        assert_eq!(send(&mut sender, of("/none")).await.status(), 404);
    });
}

async fn task(app: &App, streams: u64) {
    tokio::task::block_in_place(|| app.wait_for_streams(streams));
}

#[test]
fn http2_streams_are_compressed_and_a_cut_stays_a_cut() {
    async fn page(live: Live) -> LiveAnswer {
        live.answer(|_req, _cx| Sse::new().send("x".repeat(1000)))
    }
    let app = App::serving(Router::new().route("/page", get(page)));
    app.runtime.block_on(async {
        let mut sender = connect_h2(&app).await;
        let response = send(&mut sender, of("/page").header("Accept-Encoding", "zstd")).await;
        assert_eq!(response.headers()["content-encoding"], "zstd");
        let mut body = response.into_body();
        let first = time::timeout(PATIENCE, body.frame()).await.unwrap().unwrap().unwrap();
        assert!(first.into_data().unwrap().len() < 500);
        app.live
            .handle
            .run(|cx| {
                for id in cx.streams().collect::<Vec<_>>() {
                    cx.close(id, Ending::Drop);
                }
            })
            .unwrap();
        assert!(end_of(&mut body).await.is_some(), "Datastar reconnects after a cut only");
    });
}

#[test]
fn the_caps_of_the_reactor_count_the_client_and_not_the_socket_pair() {
    let mut limits = Limits::default();
    limits.connections_per_ip = Some(2);
    let app = App::with_limits(limits, Router::new().route("/live", get(hello)));
    app.runtime.block_on(async {
        let mut sender = connect_h2(&app).await;
        let mut open = Vec::new();
        for expected in [200, 200, 429] {
            let response = send(&mut sender, of("/live")).await;
            assert_eq!(response.status().as_u16(), expected);
            open.push(response);
        }
    });
}

#[test]
fn a_response_of_the_reactor_has_its_status_and_length() {
    async fn plain(live: Live) -> LiveAnswer {
        live.answer(|_req, _cx| {
            Reply::text("nothing here").with_status(Reply::not_found().status())
        })
    }
    async fn empty(live: Live) -> LiveAnswer {
        live.answer(|_req, _cx| Reply::no_content())
    }
    let router = Router::new().route("/plain", get(plain)).route("/empty", get(empty));
    let app = App::serving(router);
    app.runtime.block_on(async {
        let mut sender = connect_h2(&app).await;
        let response = send(&mut sender, of("/plain")).await;
        assert_eq!(
            (response.status(), &response.headers()["content-length"]),
            (StatusCode::NOT_FOUND, &"12".parse().unwrap())
        );
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "nothing here");
        let head = send(&mut sender, of("/plain").method("HEAD")).await;
        assert_eq!(head.headers()["content-length"], "12");
        assert!(head.into_body().collect().await.unwrap().to_bytes().is_empty());
        let empty = send(&mut sender, of("/empty")).await;
        assert_eq!(empty.status(), StatusCode::NO_CONTENT);
        assert!(empty.into_body().collect().await.unwrap().to_bytes().is_empty());
    });
}

/// The rest of a body must not be taken for anything else.
#[test]
fn a_request_whose_body_was_not_read_is_answered_too() {
    async fn answer(live: Live) -> LiveAnswer {
        live.answer(|_req, _cx| Sse::every(Duration::from_millis(20), |it| it.send("hello")))
    }
    let app = App::serving(Router::new().route("/live", post(answer)));
    let mut client = app.connect();
    client.send("POST /live HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc");
    client.stream_head();
    assert_eq!(client.data(), "hello");
    drop(client);
    // hyper does not look for the end of such a connection, but it cannot send.
    app.wait_for_streams(0);
}

/// A progress page for an upload: the body is still being read while the stream is open.
#[test]
fn a_body_that_is_still_read_is_not_cut_by_the_stream() {
    async fn upload(live: Live, body: Body) -> LiveAnswer {
        let (done, is_done) = std::sync::mpsc::channel();
        tokio::spawn(async move {
            let all = body.collect().await.map(|it| it.to_bytes().len());
            done.send(all.unwrap_or_default())
        });
        live.answer(move |_req, _cx| {
            Sse::every(Duration::from_millis(5), move |stream| match is_done.try_recv() {
                Ok(bytes) => stream.send(format!("{bytes} bytes")),
                Err(_) => stream.send("waiting"),
            })
        })
    }
    let app = App::serving(Router::new().route("/upload", post(upload)));
    let mut client = app.connect();
    client.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
    client.stream_head();
    assert_eq!(client.data(), "waiting");
    client.send("def");
    crate::client::wait_for("the whole body", || (client.data() == "6 bytes").then_some(()));
}

#[test]
fn a_slow_client_is_the_reactors_to_judge() {
    let page = Topic::new("page");
    let watched = page.clone();
    let watch = move |live: Live| async move {
        live.answer(move |_req, _cx| Sse::new().subscribe(&watched))
    };
    let mut limits = Limits::default();
    limits.stall_timeout = Duration::from_millis(200);
    let app = App::with_limits(limits, Router::new().route("/page", get(watch)));
    app.runtime.block_on(async {
        let mut sender = connect_h2(&app).await;
        let response = send(&mut sender, of("/page")).await;
        task(&app, 1).await;
        // Nobody reads: the window of HTTP/2 fills, then the socket pair, then the stream is slow.
        for _ in 0..64 {
            app.live.handle.publish(&page, "x".repeat(64 * 1024)).unwrap();
        }
        task(&app, 0).await;
        drop(response);
    });
}

/// A test of an application, or a server with TLS: the service alone, without a listener.
#[test]
fn the_service_alone_answers_through_socket_pairs() {
    let app = App::serving(Router::new());
    app.runtime.block_on(async {
        let router: Router = Router::new().route("/live", get(hello));
        let mut service = LiveService::new(router, app.live.handle.clone());
        let request = Request::get("/live").header("Host", "app.example").body(Body::empty());
        let answer = Service::<Request<Body>>::call(&mut service, request.unwrap());
        let response = answer.await;
        let error = response.map(|response| response.status());
        // Without a connection there is no address: the handler above panics for it.
        assert_eq!(error, Ok::<_, Infallible>(StatusCode::INTERNAL_SERVER_ERROR));
    });
}

#[test]
fn a_handler_without_the_service_says_what_is_missing() {
    let app = App::serving(Router::new());
    app.runtime.block_on(async {
        let mut router: Router = Router::new().route("/live", get(hello));
        let request = Request::get("/live").body(Body::empty()).unwrap();
        let response = Service::<Request<Body>>::call(&mut router, request).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    });
}

#[test]
fn an_answer_belongs_to_the_connection_of_its_request() {
    use std::sync::{Arc, Mutex};
    let stolen: Arc<Mutex<Option<LiveAnswer>>> = Arc::default();
    let keep = move |live: Live| async move {
        let answer = live.answer(|_req, _cx| Sse::new().send("for the first"));
        let before = stolen.lock().unwrap().replace(answer);
        before.map_or_else(|| Response::new(Body::empty()), Into::into)
    };
    let app = App::serving(Router::new().route("/live", get(keep)));
    let (mut first, mut second) = (app.connect(), app.connect());
    assert_eq!(first.get("/live").status, 200);
    assert_eq!(second.get("/live").status, 500);
    assert_eq!(first.get("/live").status, 500, "it was the second's");
}

#[test]
fn unix_sockets_are_handed_over_too() {
    let app = App::serving(Router::new());
    let path = std::env::temp_dir().join(format!("starwheel-axum-{}", std::process::id()));
    let _guard = app.runtime.enter();
    let listener = UnixListener::bind(&path).unwrap();
    async fn live(live: Live) -> LiveAnswer {
        live.answer(|req, _cx| {
            assert_eq!(req.peer(), Peer::Unix);
            Sse::new().send("hello")
        })
    }
    let router: Router = Router::new().route("/live", get(live));
    let handle = app.live.handle.clone();
    let served =
        app.runtime.spawn(async { starwheel::axum::serve(listener, router, handle).await });
    let mut client = Client::connect_unix(&path);
    client.open_stream("/live");
    assert_eq!(client.data(), "hello");
    app.wait_for_tasks(4);
    served.abort();
    std::fs::remove_file(path).unwrap();
}
