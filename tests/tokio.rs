//! The reactor inside a tokio runtime, with real sockets. Feature `tokio`.

#[path = "support/client.rs"]
mod client;

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use client::{Client, PATIENCE};
use starwheel::{Handle, KeepAlive, Reactor, Response, Router, Sse, Topic, tokio::drive};
use tokio::{
    io::Interest,
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    task, time,
};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// `/hello`, a silent stream, and one that counts every 2 ms.
fn routes() -> Router {
    Router::new()
        .get("/hello", |_req, _cx| Response::text("hello"))
        .get("/idle", |_req, _cx| Sse::new().keep_alive(KeepAlive::Off))
        .get("/count", |_req, _cx| {
            let mut count = 0;
            Sse::every(Duration::from_millis(2), move |stream| {
                stream.send(format_args!("{count}"));
                count += 1;
            })
        })
}

fn listening(router: Router) -> (Reactor, SocketAddr) {
    let mut reactor = Reactor::new(router).unwrap();
    let address = reactor.listen("127.0.0.1:0").unwrap();
    (reactor, address)
}

/// Drives until the reactor has stopped. A reactor that sleeps too long fails the test.
async fn drive_to_the_end(reactor: &mut Reactor) {
    time::timeout(PATIENCE, drive(reactor)).await.expect("the future ends").unwrap();
    assert!(reactor.is_stopped());
}

/// A client on its own thread; the server is shut down when it is done.
fn visit<R: Send + 'static>(
    handle: Handle,
    client: impl FnOnce() -> R + Send + 'static,
) -> thread::JoinHandle<R> {
    /// Also if the client panics.
    struct ShutDown(Handle);
    impl Drop for ShutDown {
        fn drop(&mut self) {
            self.0.shutdown();
        }
    }
    thread::spawn(move || {
        let _shut_down = ShutDown(handle);
        client()
    })
}

#[test]
fn streams_and_tasks_take_turns_on_one_thread() {
    let counted = Arc::new(AtomicU64::new(0));
    let (seen, counting) = (Arc::clone(&counted), counted);
    let here = thread::current().id();
    let router = Router::new().get("/tasks", move |_req, _cx| {
        let seen = Arc::clone(&seen);
        Sse::every(Duration::from_millis(2), move |stream| {
            assert_eq!(thread::current().id(), here);
            stream.send(format_args!("{}", seen.load(Ordering::Relaxed)));
        })
    });
    let (mut reactor, address) = listening(router);
    let visitor = visit(reactor.handle(), move || {
        let mut client = Client::streaming(address, "/tasks");
        let start = Instant::now();
        while client.data().parse::<u64>().unwrap() < 10 {
            assert!(start.elapsed() < PATIENCE, "the task does not run");
        }
    });
    runtime().block_on(async {
        task::spawn(async move {
            loop {
                assert_eq!(thread::current().id(), here);
                counting.fetch_add(1, Ordering::Relaxed);
                time::sleep(Duration::from_millis(1)).await;
            }
        });
        drive_to_the_end(&mut reactor).await;
    });
    visitor.join().unwrap();
}

#[test]
fn a_handler_may_spawn_a_task_that_publishes_later() {
    let topic = Topic::new("answers");
    let router = Router::new().get("/ask", move |_req, cx| {
        let (handle, topic) = (cx.handle(), topic.clone());
        Sse::new().subscribe(&topic).on_connect(move |_stream| {
            task::spawn(async move {
                time::sleep(Duration::from_millis(1)).await;
                handle.publish(&topic, "42").unwrap();
            });
        })
    });
    let (mut reactor, address) = listening(router);
    let visitor = visit(reactor.handle(), move || Client::streaming(address, "/ask").data());
    runtime().block_on(drive_to_the_end(&mut reactor));
    assert_eq!(visitor.join().unwrap(), "42");
}

#[test]
fn another_thread_wakes_a_sleeping_runtime() {
    let topic = Topic::new("news");
    let watched = topic.clone();
    let router = Router::new().get("/news", move |_req, _cx| Sse::new().subscribe(&watched));
    let (mut reactor, address) = listening(router);
    let handle = reactor.handle();
    let visitor = visit(reactor.handle(), move || {
        let mut client = Client::streaming(address, "/news");
        for number in 0..100 {
            handle.publish(&topic, format_args!("{number}")).unwrap();
            assert_eq!(client.data(), number.to_string());
        }
    });
    runtime().block_on(drive_to_the_end(&mut reactor));
    visitor.join().unwrap();
}

#[test]
fn a_shutdown_or_a_drain_ends_the_future() {
    for end in [Handle::shutdown, |handle: &Handle| handle.drain(Duration::from_millis(50))] {
        let (mut reactor, address) = listening(routes());
        let handle = reactor.handle();
        let visitor = visit(reactor.handle(), move || {
            let mut client = Client::streaming(address, "/idle");
            end(&handle);
            client.rest()
        });
        runtime().block_on(drive_to_the_end(&mut reactor));
        visitor.join().unwrap();
        // A stopped reactor stays stopped.
        runtime().block_on(drive_to_the_end(&mut reactor));
    }
}

/// Nothing else wakes the runtime: neither a client nor a task.
#[test]
fn a_deadline_wakes_a_sleeping_runtime() {
    let (mut reactor, _address) = listening(routes());
    let rung = Rc::new(Cell::new(0));
    let count = Rc::clone(&rung);
    reactor.context().every(Duration::from_millis(3), move |cx| {
        count.set(count.get() + 1);
        if count.get() == 10 {
            cx.shutdown();
        }
    });
    runtime().block_on(drive_to_the_end(&mut reactor));
    assert_eq!(rung.get(), 10);
}

#[cfg(all(target_os = "linux", not(starwheel_portable)))]
#[test]
fn on_linux_the_runtime_needs_no_timers() {
    let (mut reactor, _address) = listening(routes());
    reactor.context().after(Duration::from_millis(3), |cx| cx.shutdown());
    let runtime = Builder::new_current_thread().enable_io().build().unwrap();
    runtime.block_on(drive(&mut reactor)).unwrap();
}

#[test]
fn a_dropped_future_leaves_the_reactor_usable() {
    let (mut reactor, address) = listening(routes());
    let visitor = visit(reactor.handle(), move || {
        let mut client = Client::streaming(address, "/count");
        (0..50).for_each(|number| assert_eq!(client.data(), number.to_string()));
        assert_eq!(Client::connect(address).get("/hello").body, "hello");
    });
    let mut drops = 0;
    runtime().block_on(async {
        let start = Instant::now();
        while !reactor.is_stopped() {
            assert!(start.elapsed() < PATIENCE, "the clients are not served");
            tokio::select! {
                result = drive(&mut reactor) => result.unwrap(),
                () = time::sleep(Duration::from_millis(3)) => drops += 1,
            }
        }
    });
    visitor.join().unwrap();
    assert!(drops > 0, "50 ticks take longer than one round");
}

/// At every place where the future can be left, nothing is lost.
#[test]
fn a_future_that_is_dropped_at_its_first_wait_serves_all_the_same() {
    let (mut reactor, address) = listening(routes());
    let visitor = visit(reactor.handle(), move || {
        let mut client = Client::streaming(address, "/count");
        (0..20).for_each(|number| assert_eq!(client.data(), number.to_string()));
    });
    runtime().block_on(async {
        let start = Instant::now();
        while !reactor.is_stopped() {
            assert!(start.elapsed() < PATIENCE, "the client is not served");
            poll_once(drive(&mut reactor)).await;
            task::yield_now().await;
        }
    });
    visitor.join().unwrap();
}

#[test]
fn a_reactor_without_a_pause_does_not_starve_tasks() {
    /// Always leaves a command for the next turn, so that the reactor never waits.
    fn keep_busy(handle: Handle, until: Instant, done: Arc<AtomicBool>) {
        if done.load(Ordering::Relaxed) || Instant::now() >= until {
            return handle.shutdown();
        }
        let next = handle.clone();
        handle.run(move |_cx| keep_busy(next, until, done)).unwrap();
    }
    let (mut reactor, _address) = listening(routes());
    let done = Arc::new(AtomicBool::new(false));
    keep_busy(reactor.handle(), Instant::now() + PATIENCE, Arc::clone(&done));
    let is_done = Arc::clone(&done);
    runtime().block_on(async {
        task::spawn(async move {
            for _ in 0..10 {
                time::sleep(Duration::from_millis(1)).await;
            }
            byte_through_a_socket().await.unwrap();
            done.store(true, Ordering::Relaxed);
        });
        drive(&mut reactor).await.unwrap();
    });
    assert!(is_done.load(Ordering::Relaxed), "the task did not run to its end");
}

#[test]
fn tasks_without_a_pause_do_not_starve_streams() {
    let (mut reactor, address) = listening(routes());
    let visitor = visit(reactor.handle(), move || {
        let mut client = Client::streaming(address, "/count");
        (0..20).for_each(|number| assert_eq!(client.data(), number.to_string()));
    });
    runtime().block_on(async {
        for _ in 0..3 {
            task::spawn(async {
                loop {
                    task::yield_now().await;
                }
            });
        }
        drive_to_the_end(&mut reactor).await;
    });
    visitor.join().unwrap();
}

/// The descriptor of the poller reports them once; the rest waits in the poller.
#[test]
fn more_events_than_one_turn_takes_are_all_handled() {
    let (mut reactor, address) = listening(routes());
    let visitor = visit(reactor.handle(), move || {
        let mut clients: Vec<_> = (0..1_100).map(|_| Client::connect(address)).collect();
        clients.iter_mut().for_each(|client| client.request("/hello"));
        clients.iter_mut().for_each(|client| assert_eq!(client.answer().body, "hello"));
    });
    runtime().block_on(drive_to_the_end(&mut reactor));
    visitor.join().unwrap();
}

#[test]
fn a_reactor_with_nothing_to_do_is_not_polled() {
    let (mut reactor, address) = listening(routes());
    let mut client = Client::connect(address);
    client.request("/idle");
    reactor.context().after(Duration::from_millis(50), |cx| cx.shutdown());
    let mut polls = 0;
    runtime().block_on(async {
        let mut driving = pin!(drive(&mut reactor));
        poll_fn(|cx| {
            polls += 1;
            driving.as_mut().poll(cx)
        })
        .await
        .unwrap();
    });
    client.stream_head();
    assert!(polls < 20, "polled {polls} times");
}

#[test]
fn a_runtime_with_several_threads_drives_it_in_block_on() {
    let (mut reactor, address) = listening(routes());
    let visitor = visit(reactor.handle(), move || {
        let mut client = Client::streaming(address, "/count");
        (0..20).for_each(|number| assert_eq!(client.data(), number.to_string()));
    });
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(drive_to_the_end(&mut reactor));
    visitor.join().unwrap();
}

/// Polls a future once and drops it.
async fn poll_once<F: Future>(future: F) {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let _ready = future.as_mut().poll(cx);
        Poll::Ready(())
    })
    .await;
}

/// A task that needs the runtime's poller.
async fn byte_through_a_socket() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let sending = TcpStream::connect(listener.local_addr()?).await?;
    let (receiving, _) = listener.accept().await?;
    sending.ready(Interest::WRITABLE).await?;
    sending.try_write(b"x")?;
    receiving.readable().await?;
    assert_eq!(receiving.try_read(&mut [0; 8])?, 1);
    Ok(())
}
