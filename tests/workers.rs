//! Workers on several threads, with real sockets.

#[path = "support/client.rs"]
mod client;
#[path = "workers/limits.rs"]
mod limits;

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock, mpsc},
    thread,
    time::Duration,
};

use client::{Client, PATIENCE, field, wait_for};
use starwheel::{
    Backpressure, Config, Context, Ending, Handle, JoinAt, ListenOptions, Request, Response,
    ReusePort, Router, Sse, StreamId, Topic, TrySendError, Workers,
};

/// Workers that run on a thread, and end with the test.
struct Running {
    handle: Handle,
    address: SocketAddr,
    ended: mpsc::Receiver<std::io::Result<()>>,
}

impl Running {
    fn serving(count: usize, router: impl Fn(usize) -> Router + Send + Sync + 'static) -> Self {
        Self::start(Workers::new(count, move |worker| router(worker.number())).unwrap())
    }

    fn start(workers: Workers) -> Self {
        let address = workers.listen("127.0.0.1:0").unwrap();
        Self::run(workers, address)
    }

    fn run(workers: Workers, address: SocketAddr) -> Self {
        let (handle, (sender, ended)) = (workers.handle(), mpsc::channel());
        thread::spawn(move || sender.send(workers.run()));
        Self { handle, address, ended }
    }

    /// A client whose stream is on this worker.
    fn on_worker(&self, worker: usize, path: &str) -> Client {
        loop {
            let mut client = Client::connect(self.address);
            if client.get("/worker").body == worker.to_string() {
                client.open_stream(path);
                return client;
            }
        }
    }

    fn ended(&self) -> std::io::Result<()> {
        self.ended.recv_timeout(PATIENCE).expect("the workers end")
    }

    fn streams(&self) -> Vec<u64> {
        self.handle.workers().iter().map(|worker| worker.stats().streams).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.shutdown();
    }
}

/// `/worker` says which worker it is; `/news` is a topic with history.
fn news(worker: usize) -> Router {
    Router::new()
        .get("/worker", move |_req, _cx| Response::text(worker.to_string()))
        .get("/news", |_req, _cx| Sse::new().subscribe(&topic()))
        .get("/lossy", |_req, _cx| Sse::new().subscribe_at(&lossy(), JoinAt::Oldest))
        .post("/say", |req, cx| {
            let text = String::from_utf8_lossy(req.body()).into_owned();
            cx.publish(&topic(), text).map(|()| Response::no_content()).map_err(Response::from)
        })
}

/// Whose subscribers go on after a loss.
fn lossy() -> Topic {
    Topic::new("lossy").history(10_000, 1 << 20).backpressure(Backpressure::DropOldest)
}

fn topic() -> Topic {
    Topic::new("news").history(10_000, 1 << 20)
}

/// The next event with data; a stream may begin with an id alone.
fn event_of(client: &mut Client) -> String {
    loop {
        let event = client.event().expect("another event");
        if event.contains("data:") {
            return event;
        }
    }
}

/// No event with data comes before the end.
fn assert_ended(client: &mut Client) {
    while let Some(event) = client.event() {
        assert!(!event.contains("data:"), "{event}");
    }
}

fn id_of(event: &str) -> &str {
    event.lines().find_map(|line| line.strip_prefix("id: ")).expect("an id")
}

fn data_of(event: &str) -> &str {
    event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or_default()
}

#[test]
fn events_reach_the_subscribers_of_all_workers_with_one_id() {
    let workers = Running::serving(2, news);
    let (mut anna, mut bert) = (workers.on_worker(0, "/news"), workers.on_worker(1, "/news"));
    workers.handle.publish(&topic(), "from a thread").unwrap();
    let event = event_of(&mut anna);
    assert_eq!(event_of(&mut bert), event);
    let mut said = Client::connect(workers.address);
    said.send("POST /say HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nfrom here");
    assert_eq!(said.answer().status, 204);
    let next = event_of(&mut anna);
    assert_eq!(data_of(&next), "from here");
    assert_eq!(event_of(&mut bert), next);
    assert_ne!(id_of(&event), id_of(&next));
}

#[test]
fn a_client_that_comes_back_to_another_worker_gets_exactly_what_it_has_missed() {
    let workers = Running::serving(2, news);
    let mut anna = workers.on_worker(0, "/news");
    workers.handle.publish(&topic(), "1").unwrap();
    let id = id_of(&event_of(&mut anna)).to_owned();
    drop(anna);
    workers.handle.publish_batch(&topic(), ["2", "3"]).unwrap();
    for worker in [1, 0] {
        let mut anna = loop {
            let mut client = Client::connect(workers.address);
            if client.get("/worker").body == worker.to_string() {
                break client;
            }
        };
        anna.send(format!("GET /news HTTP/1.1\r\nHost: a\r\nLast-Event-ID: {id}\r\n\r\n"));
        anna.stream_head();
        let events = [event_of(&mut anna), event_of(&mut anna)];
        assert_eq!([data_of(&events[0]), data_of(&events[1])], ["2", "3"]);
    }
}

#[test]
fn commands_go_to_one_to_all_or_to_the_worker_of_a_stream() {
    let workers = Running::serving(3, |worker| {
        news(worker).get("/tagged", |_req, _cx| Sse::new().tag("anna"))
    });
    let clients: Vec<_> = (0..3).map(|worker| workers.on_worker(worker, "/tagged")).collect();
    let (sender, received) = mpsc::channel();
    workers.handle.run_on_all(move |cx| sender.send(cx.tagged("anna")).unwrap()).unwrap();
    let ids: Vec<StreamId> =
        (0..3).flat_map(|_| received.recv_timeout(PATIENCE).unwrap()).collect();
    assert_eq!(ids.len(), 3);
    for id in ids {
        let closed =
            workers.handle.run_on_worker_of(id, move |cx| assert!(cx.close(id, Ending::Finish)));
        assert!(closed.is_ok());
    }
    for mut client in clients {
        assert_eq!(client.event(), None);
    }
    let (sender, received) = mpsc::channel();
    for _ in 0..3 {
        let sender = sender.clone();
        let thread_name = move |_cx: &mut Context<'_>| {
            sender.send(thread::current().name().map(str::to_owned)).unwrap();
        };
        assert!(workers.handle.run(thread_name).is_ok());
    }
    let mut names: Vec<_> = (0..3).map(|_| received.recv_timeout(PATIENCE).unwrap()).collect();
    names.sort();
    assert_eq!(
        names,
        ["worker 0", "worker 1", "worker 2"].map(|it| Some(it.to_owned())),
        "in turn"
    );
}

#[test]
fn figures_are_summed_and_told_apart() {
    let workers = Running::serving(2, news);
    let _clients = [0, 0, 1].map(|worker| workers.on_worker(worker, "/news"));
    wait_for("all streams are counted", || (workers.streams() == [2, 1]).then_some(()));
    assert_eq!(workers.handle.stats().streams, 3);
    let text = workers.handle.prometheus();
    assert!(
        text.contains("starwheel_streams{worker=\"0\"} 2\nstarwheel_streams{worker=\"1\"} 1\n")
    );
}

#[test]
fn one_listener_for_all_hands_over_in_turn() {
    let workers = Workers::new(3, |worker| news(worker.number())).unwrap();
    let address = workers.listen_with("127.0.0.1:0", ListenOptions::new()).unwrap();
    let workers = Running::run(workers, address);
    let clients: Vec<_> = (0..30).map(|_| Client::streaming(workers.address, "/news")).collect();
    wait_for("as many on each", || (workers.streams() == [10, 10, 10]).then_some(()));
    drop(clients);
    wait_for("all have left", || (workers.handle.stats().connections == 0).then_some(()));
}

#[test]
fn a_drain_ends_all_workers_in_order() {
    let workers = Running::serving(2, news);
    let clients = [0, 1].map(|worker| workers.on_worker(worker, "/news"));
    workers.handle.drain(Duration::ZERO);
    for mut client in clients {
        assert_ended(&mut client);
    }
    workers.ended().unwrap();
    assert!(workers.handle.is_stopped());
    assert!(matches!(workers.handle.publish(&topic(), "late"), Err(TrySendError::Closed("late"))));
    let ran = workers.handle.run_on_all(|_cx| {});
    assert!(ran.is_err_and(|refused| refused.is_closed()));
}

#[test]
fn a_worker_that_ends_ends_the_others() {
    let workers = Running::serving(2, news);
    workers.handle.workers()[1].shutdown();
    workers.ended().unwrap();
    assert!(workers.handle.is_stopped());
}

#[test]
fn a_handler_that_cannot_be_made_is_an_error() {
    let made = Workers::new(2, |worker| -> Router {
        assert_eq!(worker.number(), 0, "on purpose");
        Router::new()
    });
    assert!(made.unwrap_err().to_string().contains("has panicked"));
}

#[test]
fn an_address_in_use_is_an_error_and_workers_that_never_run_end() {
    let workers = Workers::new(2, |_worker| Router::new()).unwrap();
    let address = workers.listen_with("127.0.0.1:0", ReusePort::Exclusive).unwrap();
    let error = workers.listen(address).unwrap_err();
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    drop(workers);
}

#[test]
fn local_topics_are_each_workers_own() {
    let local = || Topic::new("load").local();
    let workers = Running::serving(2, move |worker| {
        news(worker).get("/load", move |_req, _cx| Sse::new().subscribe(&local())).post(
            "/load",
            move |_req, cx| {
                let published = cx.publish(&local(), format!("of {worker}"));
                published.map(|()| Response::no_content()).map_err(Response::from)
            },
        )
    });
    let mut clients = [0, 1].map(|worker| workers.on_worker(worker, "/load"));
    let mut poster = workers.on_worker(1, "/load");
    workers.handle.workers()[1].publish(&local(), "of 1").unwrap();
    assert_eq!(poster.data(), "of 1");
    assert_eq!(clients[1].data(), "of 1");
    workers.handle.publish(&local(), "of all").unwrap();
    assert_eq!(clients[0].data(), "of all", "and nothing before");
    assert_eq!(clients[1].data(), "of all");
}

/// A worker that is held up does not hold up publishers for longer than a second.
#[test]
fn a_worker_that_takes_nothing_is_left_out_and_catches_up() {
    let workers = Workers::new(2, |worker| news(worker.number())).unwrap();
    let address = workers.listen("127.0.0.1:0").unwrap();
    let (sender, released) = mpsc::channel::<()>();
    let workers = Running::run(workers, address);
    let (mut anna, mut bert) = (workers.on_worker(0, "/lossy"), workers.on_worker(1, "/lossy"));
    let held_up =
        workers.handle.workers()[1].run(move |_cx| _ = released.recv_timeout(PATIENCE * 4));
    assert!(held_up.is_ok());
    // More than a queue takes; the reader is on a thread, so that worker 0 is never slow.
    let reader = thread::spawn(move || {
        while data_of(&event_of(&mut anna)) != "end" {}
        anna
    });
    let (mut published, mut refused) = (0_u64, 0_u64);
    while published < 70_000 {
        match workers.handle.publish(&lossy(), published.to_string()) {
            Ok(()) => published += 1,
            Err(_full) => {
                refused += 1;
                thread::yield_now();
            }
        }
    }
    assert!(refused > 0, "the queue was full before the worker was left out");
    while workers.handle.publish(&lossy(), "end").is_err() {}
    let _anna = reader.join().unwrap();
    sender.send(()).unwrap();
    // What the history still has comes without a gap, or a gap is told.
    let mut previous: Option<u64> = None;
    loop {
        let event = event_of(&mut bert);
        let is_gap = event.contains("event: gap");
        let data = data_of(&event);
        if data == "end" {
            break;
        }
        if is_gap {
            previous = None;
            continue;
        }
        let number: u64 = data.parse().unwrap();
        assert!(previous.is_none_or(|it| it + 1 == number), "{previous:?} and then {number}");
        previous = Some(number);
    }
    wait_for("it is counted", || {
        let of_each = workers.handle.workers();
        let left_out: Vec<_> = of_each.iter().map(|it| it.stats().left_out).collect();
        (left_out == [0, 1]).then_some(())
    });
}

#[test]
fn a_request_that_another_server_has_read_goes_to_any_worker() {
    let workers = Running::serving(2, news);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for _ in 0..4 {
        let mut client = Client::connect(listener.local_addr().unwrap());
        let (socket, _) = listener.accept().unwrap();
        let answer = |_req: &mut Request, _cx: &mut Context<'_>| {
            Response::text(thread::current().name().unwrap_or_default().to_owned())
        };
        workers.handle.adopt_request(socket, Request::get("/x"), answer).unwrap();
        let answer = client.answer();
        assert!(answer.body.starts_with("worker "), "{}", answer.body);
        assert_eq!(field(&answer.head, "connection"), Some("close"));
    }
    let config = Config::default();
    assert!(Workers::with_config(&config, 0, |_worker| Router::new()).is_ok(), "at least one");
}

/// A worker without connections ends at once when it drains; signals must reach the others all the
/// same.
#[test]
fn a_second_signal_shuts_down_workers_that_still_drain() {
    let workers = Workers::new(2, |worker| news(worker.number())).unwrap();
    workers.drain_on_signals(Duration::from_secs(3_600)).unwrap();
    let workers = Running::start(workers);
    let mut streaming = workers.on_worker(1, "/news");
    signal_hook::low_level::raise(signal_hook::consts::SIGTERM).unwrap();
    let of_each = workers.handle.workers();
    wait_for("the idle worker has ended", || of_each[0].is_stopped().then_some(()));
    assert!(!of_each[1].is_stopped(), "the first signal drains");
    signal_hook::low_level::raise(signal_hook::consts::SIGTERM).unwrap();
    assert_ended(&mut streaming);
    workers.ended().unwrap();
}

/// Fills the queue of worker 1 while it is held up, and publishes what it then misses.
fn leave_out(workers: &Running, text: &str) {
    let worker = &workers.handle.workers()[1];
    let (sender, released) = mpsc::channel::<()>();
    assert!(worker.run(move |_cx| _ = released.recv_timeout(PATIENCE * 4)).is_ok());
    while worker.run(|_cx| {}).is_ok() {}
    while workers.handle.publish(&lossy(), text).is_err() {
        thread::yield_now();
    }
    sender.send(()).unwrap();
}

#[test]
fn a_worker_that_is_left_out_again_catches_up_again() {
    let workers = Running::serving(2, news);
    let mut anna = workers.on_worker(1, "/lossy");
    for text in ["first", "second"] {
        leave_out(&workers, text);
        assert_eq!(data_of(&event_of(&mut anna)), text, "without a further publish");
    }
}

/// A log that is a stream itself, as that of an application with a page for its operators.
struct LogStream(OnceLock<Handle>);

impl log::Log for LogStream {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() == log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if let Some(handle) = self.0.get().filter(|_| self.enabled(record.metadata())) {
            let _refused = handle.publish(&Topic::new("log"), record.args().to_string());
        }
    }

    fn flush(&self) {}
}

#[test]
fn a_logger_may_publish_what_is_logged_while_publishing() {
    static LOG: LogStream = LogStream(OnceLock::new());
    let workers = Running::serving(2, |worker| {
        news(worker).get("/log", |_req, _cx| Sse::new().subscribe(&Topic::new("log")))
    });
    let mut operator = workers.on_worker(0, "/log");
    let _watching = workers.on_worker(1, "/lossy");
    LOG.0.set(workers.handle.clone()).unwrap();
    log::set_logger(&LOG).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let (sender, published) = mpsc::channel();
    thread::spawn(move || {
        leave_out(&workers, "missed");
        sender.send(workers).unwrap();
    });
    let _workers = published.recv_timeout(PATIENCE).expect("no lock is held while logging");
    assert!(operator.data().contains("has taken nothing"));
}

#[test]
fn the_address_of_dropped_workers_is_free() {
    for _ in 0..20 {
        let workers = Workers::new(4, |_worker| Router::new()).unwrap();
        let address = workers.listen_with("127.0.0.1:0", ReusePort::Exclusive).unwrap();
        drop(workers);
        let client = std::net::TcpStream::connect(address);
        assert!(client.is_err(), "nobody listens anymore");
    }
}

/// What the threads own is gone when `new` has returned its error.
#[test]
fn no_thread_outlives_workers_that_could_not_be_made() {
    for _ in 0..20 {
        let owned = Arc::new(());
        let of_workers = Arc::clone(&owned);
        let made = Workers::new(3, move |worker| {
            let owned = Arc::clone(&of_workers);
            assert_ne!(worker.number(), 2, "on purpose");
            Router::new().get("/", move |_req, _cx| {
                let _owned = &owned;
                Response::no_content()
            })
        });
        assert!(made.is_err());
        assert_eq!(Arc::strong_count(&owned), 1);
    }
}
