//! Streams in an axum application, with real sockets. Features `axum` and `hyper`.
//!
//! | what | file |
//! |---|---|
//! | connections that leave axum, and what layers add | `axum/handed_over.rs` |
//! | connections that cannot: HTTP/2, unread bodies, other sockets | `axum/bridged.rs` |
//! | clients, layers and applications that do what they should not | `axum/hostile.rs` |
//! | a server of hyper's own types | `axum/hyper_alone.rs` |
//! | workers instead of one reactor | `axum/on_workers.rs` |

#[path = "axum/bridged.rs"]
mod bridged;
#[path = "support/client.rs"]
mod client;
#[path = "axum/handed_over.rs"]
mod handed_over;
#[path = "axum/hostile.rs"]
mod hostile;
#[path = "axum/hyper_alone.rs"]
mod hyper_alone;
#[path = "axum/on_workers.rs"]
mod on_workers;
#[path = "support/server.rs"]
mod server;

use std::net::SocketAddr;

use axum::Router;
use client::{Client, PATIENCE, wait_for};
use server::Server;
use starwheel::{Config, Limits, Reactor};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::oneshot,
    task::JoinHandle,
    time,
};

/// An axum application on a runtime of its own, and the reactor that serves its streams.
struct App {
    address: SocketAddr,
    live: Server,
    runtime: Runtime,
    stop: Option<oneshot::Sender<()>>,
    served: Option<JoinHandle<()>>,
}

impl App {
    fn serving(app: Router) -> Self {
        Self::with_limits(Limits::default(), app)
    }

    fn with_limits(limits: Limits, app: Router) -> Self {
        let mut config = Config::default();
        config.limits = limits;
        Self::with_config(config, app)
    }

    fn with_config(config: Config, app: Router) -> Self {
        let live = Server::start(move || {
            let mut reactor = Reactor::with_config(config, starwheel::Router::new()).unwrap();
            let unused = reactor.listen("127.0.0.1:0").unwrap();
            (reactor, unused)
        });
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let handle = live.handle.clone();
        let served = runtime.spawn(async move {
            starwheel::axum::serve(listener, app, handle)
                .with_graceful_shutdown(async { drop(stopped.await) })
                .await
                .unwrap();
        });
        Self { address, live, runtime, stop: Some(stop), served: Some(served) }
    }

    fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Nothing but the loop that accepts, and what waits for the signal, is left in the runtime.
    fn wait_until_tokio_is_idle(&self) {
        self.wait_for_tasks(2);
    }

    fn wait_for_tasks(&self, count: usize) {
        let tasks = || self.runtime.metrics().num_alive_tasks();
        wait_for("no task of a connection is left", || (tasks() <= count).then_some(()));
    }

    /// Waits until so many streams are open in the reactor.
    fn wait_for_streams(&self, count: u64) {
        self.live.wait_for("the reactor has these streams", |stats| stats.streams == count);
    }

    /// Shuts axum down as its users do, and waits until it has ended.
    fn shut_down(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        let served = self.served.take().unwrap();
        let ended = async { time::timeout(PATIENCE, served).await };
        self.runtime.block_on(ended).expect("axum ends").unwrap();
    }
}
