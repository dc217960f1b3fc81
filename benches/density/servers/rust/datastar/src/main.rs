//! axum with the `datastar` crate: the events of the axum peer, as patches of elements.

use std::{convert::Infallible, future::ready, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{RawQuery, State},
    response::sse::{Event, Sse},
    routing::{get, post},
    serve::ListenerExt,
};
use common::{CHANNEL_EVENTS, Dashboard, Pace};
use datastar::prelude::PatchElements;
use tokio::{
    net::TcpListener,
    sync::{OnceCell, broadcast},
    time::{MissedTickBehavior, interval},
};
use tokio_stream::{
    Stream, StreamExt, pending,
    wrappers::{BroadcastStream, IntervalStream},
};
use tower_http::compression::{CompressionLayer, predicate::SizeAbove};

type Events = broadcast::Sender<Event>;

#[derive(Clone)]
struct App {
    topic: Events,
    page: Arc<OnceCell<Events>>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let app = App { topic: broadcast::channel(CHANNEL_EVENTS).0, page: Arc::default() };
    // The default predicate leaves event streams alone.
    let compression = CompressionLayer::new().compress_when(SizeAbove::new(0));
    let router = Router::new()
        .route("/page", get(page))
        .route("/private", get(private))
        .layer(compression)
        .route("/hello", get(|| async { "Hello, World!" }))
        .route("/idle", get(idle))
        .route("/tick", get(tick))
        .route("/topic", get(topic))
        .route("/publish", post(publish))
        .with_state(app);
    let listener = TcpListener::from_std(common::listen()?)?;
    common::announce(listener.local_addr()?)?;
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router).await
}

async fn idle() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(pending())
}

async fn tick(RawQuery(query): RawQuery) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let Pace { interval, bytes } = Pace::parse(&query.unwrap_or_default());
    let event = move |_| Ok(PatchElements::new(common::tick_data(bytes)).into());
    Sse::new(every(interval).map(event))
}

async fn topic(State(app): State<App>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(received(&app.topic))
}

async fn publish(State(app): State<App>, body: String) -> axum::http::StatusCode {
    let _ = app.topic.send(PatchElements::new(body).into());
    axum::http::StatusCode::NO_CONTENT
}

/// Rendered once per interval for all, from the first request on.
async fn page(
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let start = || {
        let events = broadcast::channel(CHANNEL_EVENTS).0;
        let (sender, mut ticks) = (events.clone(), every(interval_of(query)));
        tokio::spawn(async move {
            let mut dashboard = Dashboard::default();
            while ticks.next().await.is_some() {
                let _ = sender.send(patch(&mut dashboard));
            }
        });
        ready(events)
    };
    Sse::new(received(app.page.get_or_init(start).await))
}

async fn private(RawQuery(query): RawQuery) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let mut dashboard = Dashboard::default();
    Sse::new(every(interval_of(query)).map(move |_| Ok(patch(&mut dashboard))))
}

fn patch(dashboard: &mut Dashboard) -> Event {
    dashboard.change();
    PatchElements::new(dashboard.render()).into()
}

fn received(events: &Events) -> impl Stream<Item = Result<Event, Infallible>> + use<> {
    BroadcastStream::new(events.subscribe()).filter_map(Result::ok).map(Ok)
}

fn interval_of(query: Option<String>) -> Duration {
    Pace::parse(&query.unwrap_or_default()).interval
}

fn every(period: Duration) -> IntervalStream {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    IntervalStream::new(ticks)
}
