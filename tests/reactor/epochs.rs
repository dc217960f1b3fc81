//! The event ids of one reactor are unknown to all others.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Arc, Barrier},
    thread,
    time::Duration,
};

use starwheel::{Config, Ending, JoinAt, Reactor, Router, Sse, Topic};

use crate::{client::Client, turn_until, turn_until_quiet};

#[test]
fn reactors_that_begin_together_never_share_an_event_id() {
    const PAIRS: usize = 100;
    let barrier = Arc::new(Barrier::new(2));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let barrier = Arc::clone(&barrier);
            let first_id = move || {
                let mut newsroom = Newsroom::open_after(|| _ = barrier.wait());
                newsroom.publish(1);
                newsroom.ids("/").remove(0)
            };
            thread::spawn(move || (0..PAIRS).map(|_| first_id()).collect::<Vec<_>>())
        })
        .collect();
    let ids: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let different: HashSet<_> = ids.iter().collect();
    assert_eq!(different.len(), 2 * PAIRS, "{ids:?}");
}

/// The first stream of each has the same slot and generation.
#[test]
fn ids_of_streams_and_timers_mean_nothing_to_another_reactor_of_the_process() {
    let reactor = || {
        let mut reactor =
            Reactor::new(Router::new().get("/", |_req, _cx| Sse::new().send("hello"))).unwrap();
        let mut client = Client::connect(reactor.listen("127.0.0.1:0").unwrap());
        client.request("/");
        turn_until(&mut reactor, "a stream opens", |stats| stats.streams == 1);
        (reactor, client)
    };
    let ((mut one, _first), (mut other, _second)) = (reactor(), reactor());
    let id = one.context().streams().next().unwrap();
    let timer = one.context().after(Duration::from_secs(60), |_cx| {});
    let similar = other.context().after(Duration::from_secs(60), |_cx| {});

    assert_ne!(timer, similar);
    assert!(!other.context().cancel(timer), "it is not this reactor's timer");
    let (mut cx, topic) = (other.context(), Topic::new("t"));
    assert!(!cx.send(id, "a secret"), "it is not this reactor's stream");
    assert!(!cx.send_uncompressed(id, "a secret"));
    assert!(!cx.subscribe(id, &topic) && !cx.unsubscribe(id, &topic));
    assert!(!cx.close(id, Ending::Drop));
    assert_eq!(
        (cx.tag(id), cx.peer(id), cx.age(id), cx.queued_bytes(id)),
        (None, None, None, None)
    );
    assert_eq!(cx.streams().count(), 1);
    assert!(one.context().send(id, "a secret"));
    assert!(one.context().cancel(timer));
}

#[test]
fn an_id_of_another_reactor_of_the_process_is_a_gap() {
    let (mut here, mut there) = (Newsroom::open(), Newsroom::open());
    here.publish(3);
    there.publish(3);
    for id in there.ids("/") {
        let events = here.events(&format!("/?last_event_id={id}"));
        assert_eq!(events[0], "event: gap\ndata: news", "{id} says nothing here");
        assert_eq!(events.len(), 4, "what a new client gets follows the gap");
    }
    let id = &here.ids("/")[1];
    assert_eq!(here.events(&format!("/?last_event_id={id}")).len(), 1, "{id} is known here");
}

/// A reactor with one topic that has a history.
struct Newsroom {
    reactor: Reactor,
    address: SocketAddr,
    news: Topic,
}

impl Newsroom {
    fn open() -> Self {
        Self::open_after(|| {})
    }

    /// Calls `wait` immediately before it creates its reactor.
    fn open_after(wait: impl FnOnce()) -> Self {
        let news = Topic::new("news").history(10, 10_000);
        let watched = news.clone();
        let router = Router::new()
            .get("/", move |_req, _cx| Sse::new().subscribe_at(&watched, JoinAt::Oldest));
        let mut config = Config::default();
        config.expected_connections = Some(1);
        wait();
        let mut reactor = Reactor::with_config(config, router).unwrap();
        let address = reactor.listen("127.0.0.1:0").unwrap();
        Self { reactor, address, news }
    }

    fn publish(&mut self, events: usize) {
        let handle = self.reactor.handle();
        (0..events).for_each(|number| handle.publish(&self.news, number.to_string()).unwrap());
        turn_until(&mut self.reactor, "all is published", |it| it.published == events as u64);
    }

    /// The events for a client that requests this path and disconnects.
    fn events(&mut self, path: &str) -> Vec<String> {
        let opened = self.reactor.stats().opened;
        let mut client = Client::connect(self.address);
        client.request(path);
        turn_until(&mut self.reactor, "the stream is open", |stats| stats.opened > opened);
        turn_until_quiet(&mut self.reactor);
        client.half_close();
        turn_until(&mut self.reactor, "the stream has ended", |stats| stats.streams == 0);
        client.stream_head();
        let events = std::iter::from_fn(|| client.event());
        // Without bookmarks, which dispatch nothing.
        events.filter(|event| event.contains("data: ")).collect()
    }

    fn ids(&mut self, path: &str) -> Vec<String> {
        let id = |event: &String| {
            event.lines().find_map(|it| it.strip_prefix("id: ").map(str::to_owned))
        };
        self.events(path).iter().filter_map(id).collect()
    }
}
