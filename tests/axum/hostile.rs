//! Clients, layers and applications that do what they should not.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{ConnectInfo, Request},
    http::{Method, Version},
    middleware::{self, Next},
    response::Response,
    routing::{any, get, post},
    serve::Listener,
};
use http_body_util::BodyExt;
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use starwheel::{
    Config, Ending, KeepAlive, Response as Reply, Sse, TrustedPeers,
    axum::{Live, LiveAnswer},
    hyper::LiveService,
};
use tokio::{
    net::{TcpListener, TcpStream, UnixListener},
    time,
};
use tower_service::Service;

use crate::{
    App,
    client::{Client, PATIENCE, get as get_of},
};

type Sender = hyper::client::conn::http2::SendRequest<String>;

async fn connect_h2(address: SocketAddr) -> Sender {
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn h2(uri: &str) -> hyper::Request<String> {
    let uri = format!("http://app.example{uri}");
    Request::builder().uri(uri).version(Version::HTTP_2).body(String::new()).unwrap()
}

async fn hello(live: Live) -> LiveAnswer {
    live.answer(|_req, _cx| Sse::new().send("hello").keep_alive(KeepAlive::Off))
}

fn with_hello() -> Router {
    Router::new().route("/live", any(hello)).route("/page", get(async || "a page"))
}

/// The body of the second request is still on its way, and would be taken for what a client sends
/// during a stream.
#[test]
fn an_answer_of_an_earlier_request_of_the_same_connection_is_a_500() {
    let kept: Arc<Mutex<Option<LiveAnswer>>> = Arc::default();
    let keep = {
        let kept = kept.clone();
        move |live: Live| async move {
            let answer = live.answer(|_req, _cx| Sse::new().send("for the first"));
            *kept.lock().unwrap() = Some(answer);
        }
    };
    let give = move || async move { kept.lock().unwrap().take().unwrap() };
    let app = App::serving(Router::new().route("/keep", get(keep)).route("/give", post(give)));
    let mut client = app.connect();
    assert_eq!(client.get("/keep").status, 200);
    client.send("POST /give HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc");
    assert_eq!(client.answer().status, 500);
    assert_eq!(app.live.stats().requests, 0, "the closure was not called");
}

/// All clients of a server with TLS share one service.
#[test]
fn without_a_connection_an_answer_belongs_to_its_request_too() {
    let app = App::serving(Router::new());
    let kept: Arc<Mutex<Option<LiveAnswer>>> = Arc::default();
    let swap = move |live: Live| async move {
        let answer = live.answer(|_req, _cx| Reply::text("a secret"));
        let before = kept.lock().unwrap().replace(answer);
        before.map_or_else(|| Response::new(Body::empty()), Into::into)
    };
    app.runtime.block_on(async {
        let router: Router = Router::new().route("/live", get(swap));
        let mut service = LiveService::new(router, app.live.handle.clone());
        let mut statuses = Vec::new();
        for _ in 0..2 {
            let request = Request::get("/live").header("Host", "a").body(Body::empty()).unwrap();
            let response = Service::<Request<Body>>::call(&mut service, request).await.unwrap();
            statuses.push(response.status().as_u16());
        }
        assert_eq!(statuses, [200, 500]);
    });
}

/// As reverse proxies in an application do. The connection is still one of HTTP/2.
#[test]
fn a_layer_that_changes_the_version_does_not_make_an_http2_connection_leave() {
    async fn downgrade(mut request: Request, next: Next) -> Response {
        *request.version_mut() = Version::HTTP_11;
        next.run(request).await
    }
    let app = App::serving(with_hello().layer(middleware::from_fn(downgrade)));
    app.runtime.block_on(async {
        let mut sender = connect_h2(app.address).await;
        for _ in 0..2 {
            let answer = time::timeout(PATIENCE, sender.send_request(h2("/live"))).await.unwrap();
            assert_eq!(answer.unwrap().status(), 200);
        }
    });
}

/// The framing of the answer depends on what the client has sent.
#[test]
fn a_layer_that_changes_method_or_version_does_not_change_the_framing() {
    async fn change(mut request: Request, next: Next) -> Response {
        *request.version_mut() = Version::HTTP_11;
        *request.method_mut() = Method::GET;
        next.run(request).await
    }
    let app = App::serving(with_hello().layer(middleware::from_fn(change)));
    for unread in ["", "Content-Length: 9\r\n"] {
        let (mut old, mut head) = (app.connect(), app.connect());
        head.send(format!("HEAD /live HTTP/1.1\r\nHost: a\r\n{unread}\r\n"));
        assert!(head.rest().ends_with("\r\n\r\n"));
        old.send(format!("GET /live HTTP/1.0\r\n{unread}\r\n"));
        app.wait_for_streams(1);
        let close = |cx: &mut starwheel::Context<'_>| {
            for id in cx.streams().collect::<Vec<_>>() {
                cx.close(id, Ending::Finish);
            }
        };
        app.live.handle.run(close).unwrap();
        let rest = old.rest();
        assert!(rest.ends_with("\r\n\r\ndata: hello\n\n"), "{rest}");
    }
}

#[test]
fn a_method_that_no_reactor_serves_is_a_501() {
    let app = App::serving(with_hello());
    for method in ["TRACE", "PURGE"] {
        let mut client = app.connect();
        client.send(format!("{method} /live HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(client.answer().status, 501, "{method}");
    }
}

/// hyper drops the connection of a response that fails.
#[test]
fn a_live_that_is_kept_does_not_keep_the_connection_open() {
    let kept: Arc<Mutex<Vec<Live>>> = Arc::default();
    let all = kept.clone();
    let cut = move |live: Live| async move {
        all.lock().unwrap().push(live);
        Response::new(Body::new(Cut))
    };
    let app = App::serving(Router::new().route("/cut", get(cut)));
    let mut client = app.connect();
    client.request("/cut");
    let _cut = client.rest();
    app.wait_until_tokio_is_idle();
    assert_eq!(kept.lock().unwrap().len(), 1);
}

struct Cut;

impl http_body::Body for Cut {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(Some(Err(std::io::Error::other("cut"))))
    }
}

async fn client_ip(live: Live) -> LiveAnswer {
    live.answer(|req, _cx| Reply::text(format!("{:?}", req.client_ip())))
}

/// The peer of a socket pair is this process, but what the client says is not.
#[test]
fn a_client_without_an_address_is_not_trusted_to_forward() {
    let mut config = Config::default();
    config.trusted_proxies = TrustedPeers::unix_sockets();
    let app = App::with_config(config, Router::new());
    app.runtime.block_on(async {
        let router: Router = Router::new().route("/", any(client_ip));
        let mut service = LiveService::new(router, app.live.handle.clone());
        let request = Request::get("/")
            .header("Host", "a")
            .header("X-Forwarded-For", "192.0.2.7")
            .body(Body::empty())
            .unwrap();
        let response = Service::<Request<Body>>::call(&mut service, request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "None");
    });
}

#[test]
fn a_proxy_at_a_unix_socket_is_trusted_through_a_socket_pair_too() {
    let mut config = Config::default();
    config.trusted_proxies = TrustedPeers::unix_sockets();
    let app = App::with_config(config, Router::new());
    let path = std::env::temp_dir().join(format!("starwheel-proxied-{}", std::process::id()));
    let _guard = app.runtime.enter();
    let listener = UnixListener::bind(&path).unwrap();
    let (router, live) = (Router::new().route("/", any(client_ip)), app.live.handle.clone());
    app.runtime.spawn(async { starwheel::axum::serve(listener, router, live).await });
    for unread in ["", "Content-Length: 9\r\n"] {
        let mut client = Client::connect_unix(&path);
        let forwarded = "Host: a\r\nX-Forwarded-For: 192.0.2.7\r\n";
        client.send(format!("POST / HTTP/1.1\r\n{forwarded}{unread}\r\n"));
        assert_eq!(client.answer().body, "Some(192.0.2.7)");
    }
    std::fs::remove_file(path).unwrap();
}

/// A listener that knows the client from somewhere else, such as a PROXY header.
struct Proxied(TcpListener);

impl Listener for Proxied {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        let (stream, address) = self.0.accept().await.unwrap();
        (stream, SocketAddr::new([192, 0, 2, 7].into(), address.port()))
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

#[test]
fn the_client_is_the_one_that_the_listener_names_handed_over_or_not() {
    async fn peer(ConnectInfo(client): ConnectInfo<SocketAddr>, live: Live) -> LiveAnswer {
        live.answer(move |req, _cx| {
            Reply::text(format!("{}", req.peer() == starwheel::Peer::Ip(client)))
        })
    }
    let app = App::serving(Router::new());
    let listener = app.runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let router: Router = Router::new().route("/", any(peer));
    let live = app.live.handle.clone();
    app.runtime.spawn(async { starwheel::axum::serve(Proxied(listener), router, live).await });
    let mut unread = Client::connect(address);
    unread.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
    assert_eq!(unread.answer().body, "true", "through a socket pair");
    assert_eq!(Client::connect(address).get("/").body, "true", "handed over");
}

/// A body that is complete as soon as hyper has flushed what it had of it. hyper then reads the next
/// request first, and writes the rest of the response afterwards.
#[derive(Default)]
struct Halting(u32);

impl http_body::Body for Halting {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0 += 1;
        let text = match self.0 {
            1 => "first ",
            2 => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            3 => "last",
            _ => return Poll::Ready(None),
        };
        Poll::Ready(Some(Ok(Frame::data(text.into()))))
    }
}

#[test]
fn a_response_that_is_not_written_yet_comes_before_the_stream() {
    let halting = async || Response::new(Body::new(Halting::default()));
    let app = App::serving(with_hello().route("/halting", get(halting)));
    let mut client = app.connect();
    client.send(format!("{}{}", get_of("/halting"), get_of("/live")));
    app.wait_for_streams(1);
    app.live.handle.drain(Duration::ZERO);
    let rest = client.rest();
    let (before, stream) = rest.split_once("HTTP/1.1").unwrap().1.split_once("HTTP/1.1").unwrap();
    assert!(before.ends_with("4\r\nlast\r\n0\r\n\r\n"), "{rest}");
    assert!(stream.contains("data: hello\n\n"), "{rest}");
}

/// Its `Content-Length` is that of another response.
#[test]
fn the_body_of_a_head_is_known_to_be_empty() {
    async fn plain(live: Live) -> LiveAnswer {
        live.answer(|_req, _cx| Reply::text("twelve bytes"))
    }
    let app = App::serving(Router::new());
    app.runtime.block_on(async {
        let router: Router = Router::new().route("/", get(plain));
        let mut service = LiveService::new(router, app.live.handle.clone());
        for (request, bytes) in [(Request::head("/"), 0), (Request::get("/"), 12)] {
            let request = request.header("Host", "a").body(Body::empty()).unwrap();
            let response = Service::<Request<Body>>::call(&mut service, request).await.unwrap();
            assert_eq!(response.headers()["content-length"], "12");
            assert_eq!(http_body::Body::size_hint(response.body()).exact(), Some(bytes));
        }
    });
}
