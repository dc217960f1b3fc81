//! actix-web with one worker: streaming bodies of prebuilt bytes.

use std::convert::Infallible;

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer, get,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    post, web,
};
use bytes::Bytes;
use common::{CHANNEL_EVENTS, Pace};
use tokio::{
    sync::broadcast,
    time::{MissedTickBehavior, interval},
};
use tokio_stream::{
    Stream, StreamExt, pending,
    wrappers::{BroadcastStream, IntervalStream},
};

type Topic = web::Data<broadcast::Sender<Bytes>>;

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let topic = Topic::new(broadcast::channel(CHANNEL_EVENTS).0);
    let listener = common::listen()?;
    common::announce(listener.local_addr()?)?;
    let app = move || {
        App::new()
            .app_data(topic.clone())
            .service(hello)
            .service(idle)
            .service(tick)
            .service(watch)
            .service(publish)
    };
    // The default of 25,000 connections per worker is above what is opened.
    HttpServer::new(app).workers(1).tcp_nodelay(true).listen(listener)?.run().await
}

#[get("/hello")]
async fn hello() -> &'static str {
    "Hello, World!"
}

#[get("/idle")]
async fn idle() -> HttpResponse {
    stream(pending())
}

#[get("/tick")]
async fn tick(request: HttpRequest) -> HttpResponse {
    let pace = Pace::parse(request.query_string());
    let mut ticks = interval(pace.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    stream(IntervalStream::new(ticks).map(move |_| common::event(&common::tick_data(pace.bytes))))
}

#[get("/topic")]
async fn watch(topic: Topic) -> HttpResponse {
    stream(BroadcastStream::new(topic.subscribe()).filter_map(Result::ok))
}

#[post("/publish")]
async fn publish(topic: Topic, body: String) -> HttpResponse {
    let _ = topic.send(common::event(&body));
    HttpResponse::NoContent().finish()
}

fn stream(events: impl Stream<Item = Bytes> + 'static) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .streaming(events.map(Ok::<_, Infallible>))
}
