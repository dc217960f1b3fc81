//! An axum application whose streams go to workers.

use axum::{Router, routing::get};
use starwheel::{
    Sse, Topic, Workers,
    axum::{Live, LiveAnswer},
};
use tokio::{net::TcpListener, runtime::Builder};

use crate::client::{Client, wait_for};

async fn news(live: Live) -> LiveAnswer {
    live.answer(|_req, _cx| Sse::new().subscribe(&Topic::new("news")))
}

#[test]
fn streams_are_handed_over_to_all_workers_in_turn() {
    let workers = Workers::new(2, |_worker| starwheel::Router::new()).unwrap();
    let handle = workers.handle();
    let serving = std::thread::spawn(move || workers.run());
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let (address, live) = (listener.local_addr().unwrap(), handle.clone());
    let app: Router = Router::new().route("/news", get(news));
    runtime.spawn(async move { starwheel::axum::serve(listener, app, live).await });
    let mut clients: Vec<_> = (0..10).map(|_| Client::streaming(address, "/news")).collect();
    wait_for("as many on each", || {
        let streams: Vec<_> = handle.workers().iter().map(|it| it.stats().streams).collect();
        (streams == [5, 5]).then_some(())
    });
    handle.publish(&Topic::new("news"), "to all").unwrap();
    for client in &mut clients {
        assert_eq!(client.data(), "to all");
    }
    handle.shutdown();
    serving.join().unwrap().unwrap();
}
