//! The same axum application with streams of starwheel, which take their connections out of axum.

use axum::{
    Router,
    extract::{RawQuery, State},
    http::StatusCode,
    routing::{get, post},
};
use common::Pace;
use starwheel::{
    Handle, Reactor, Sse, Topic,
    axum::{Live, LiveAnswer},
};
use tokio::net::TcpListener;

#[derive(Clone)]
struct App {
    topic: Topic,
    live: Handle,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let live = Reactor::spawn("live", starwheel::Router::new)?;
    let app = App { topic: Topic::new("topic"), live: live.handle() };
    let router = Router::new()
        .route("/hello", get(|| async { "Hello, World!" }))
        .route("/idle", get(idle))
        .route("/tick", get(tick))
        .route("/topic", get(topic))
        .route("/publish", post(publish))
        .with_state(app);
    let listener = TcpListener::from_std(common::listen()?)?;
    common::announce(listener.local_addr()?)?;
    starwheel::axum::serve(listener, router, live.handle()).await
}

async fn idle(live: Live) -> LiveAnswer {
    live.answer(|_req, _cx| Sse::new())
}

async fn tick(RawQuery(query): RawQuery, live: Live) -> LiveAnswer {
    let Pace { interval, bytes } = Pace::parse(&query.unwrap_or_default());
    live.answer(move |_req, _cx| {
        Sse::every(interval, move |stream| stream.send(common::tick_data(bytes)))
    })
}

async fn topic(State(app): State<App>, live: Live) -> LiveAnswer {
    live.answer(move |_req, _cx| Sse::new().subscribe(&app.topic))
}

async fn publish(State(app): State<App>, body: String) -> StatusCode {
    match app.live.publish(&app.topic, body) {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_full) => StatusCode::SERVICE_UNAVAILABLE,
    }
}
