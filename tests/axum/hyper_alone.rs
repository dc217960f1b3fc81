//! A server of hyper's own types, without axum.

use std::{convert::Infallible, net::SocketAddr};

use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use starwheel::{
    Sse,
    hyper::{Lent, Live, LiveService, RequestBody},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tower::service_fn;

use crate::{
    App,
    client::{Client, get},
};

async fn handle(
    request: Request<RequestBody<Incoming>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() != "/live" {
        return Ok(Response::new("a page".into()));
    }
    let (parts, body) = request.into_parts();
    let said = body.collect().await.unwrap().to_bytes();
    Ok(match Live::from_parts(&parts) {
        Ok(live) => live
            .answer(move |_req, _cx| {
                Sse::new().send(format!("heard {}", String::from_utf8_lossy(&said)))
            })
            .into(),
        Err(error) => {
            let refused: Response<String> = error.into();
            refused.map(Into::into)
        }
    })
}

/// Serves `handle` on a port of its own.
fn serve(app: &App, http1: http1::Builder) -> (SocketAddr, JoinHandle<()>) {
    let live = app.live.handle.clone();
    let listener = app.runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = app.runtime.spawn(async move {
        loop {
            let (stream, peer) = listener.accept().await.unwrap();
            let stream = Lent::new(stream);
            let service = LiveService::new(service_fn(handle), live.clone());
            let service = TowerToHyperService::new(service.on(&stream, Some(peer)));
            tokio::spawn(http1.serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, accepting)
}

#[test]
fn a_connection_of_hyper_is_handed_over() {
    let app = App::serving(axum::Router::new());
    let (address, accepting) = serve(&app, http1::Builder::new());
    let mut client = Client::connect(address);
    assert_eq!(client.get("/page").body, "a page");
    client.send("POST /live HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    client.stream_head();
    assert_eq!(client.data(), "heard hi");
    app.wait_for_tasks(3);
    drop(client);
    app.wait_for_streams(0);
    accepting.abort();
}

/// With this setting hyper keeps a response while it has another request, and writes both at once.
#[test]
fn a_response_that_hyper_keeps_comes_before_the_stream() {
    let app = App::serving(axum::Router::new());
    let mut http1 = http1::Builder::new();
    http1.pipeline_flush(true);
    let (address, accepting) = serve(&app, http1);
    let mut client = Client::connect(address);
    client.send(format!("{}{}", get("/page"), get("/live")));
    assert_eq!(client.answer().body, "a page");
    client.stream_head();
    assert_eq!(client.data(), "heard ");
    accepting.abort();
}
