//! hyper, by hand: bodies that are streams of prebuilt bytes.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use common::{CHANNEL_EVENTS, Pace};
use http_body_util::{BodyExt, Either, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Frame, Incoming},
    header::{CACHE_CONTROL, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    sync::broadcast,
    time::{MissedTickBehavior, interval},
};
use tokio_stream::{
    Stream, StreamExt, pending,
    wrappers::{BroadcastStream, IntervalStream},
};

type Body = Either<Full<Bytes>, UnsyncBoxBody<Bytes, Infallible>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let topic = Arc::new(broadcast::channel::<Bytes>(CHANNEL_EVENTS).0);
    let listener = TcpListener::from_std(common::listen()?)?;
    common::announce(listener.local_addr()?)?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let topic = topic.clone();
        let service = service_fn(move |request| answer(request, topic.clone()));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
    }
}

async fn answer(
    request: Request<Incoming>,
    topic: Arc<broadcast::Sender<Bytes>>,
) -> Result<Response<Body>, hyper::Error> {
    let query = request.uri().query().unwrap_or_default();
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET, "/hello") => {
            Response::new(Either::Left(Full::new(Bytes::from_static(b"Hello, World!"))))
        }
        (&Method::GET, "/idle") => stream(pending()),
        (&Method::GET, "/tick") => {
            let pace = Pace::parse(query);
            let mut ticks = interval(pace.interval);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            stream(
                IntervalStream::new(ticks)
                    .map(move |_| common::event(&common::tick_data(pace.bytes))),
            )
        }
        (&Method::GET, "/topic") => {
            stream(BroadcastStream::new(topic.subscribe()).filter_map(Result::ok))
        }
        (&Method::POST, "/publish") => {
            let data = request.into_body().collect().await?.to_bytes();
            let _ = topic.send(common::event(&String::from_utf8_lossy(&data)));
            empty(StatusCode::NO_CONTENT)
        }
        _ => empty(StatusCode::NOT_FOUND),
    })
}

fn stream(events: impl Stream<Item = Bytes> + Send + 'static) -> Response<Body> {
    let frames = events.map(|event| Ok(Frame::data(event)));
    let mut response = Response::new(Either::Right(StreamBody::new(frames).boxed_unsync()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, "text/event-stream".parse().expect("a value"));
    headers.insert(CACHE_CONTROL, "no-cache".parse().expect("a value"));
    response
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Either::Right(Empty::new().boxed_unsync()));
    *response.status_mut() = status;
    response
}
