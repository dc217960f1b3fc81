//! The reactor inside a tokio runtime, on the runtime's own thread. Feature `tokio`.
//!
//! [`drive`] is [`Reactor::run`] as a future. Handlers and updaters run between the runtime's tasks,
//! so both may share an `Rc`, and no second thread is needed. Tasks reach the streams through a
//! [`Handle`], as other threads do.
//!
//! ```
//! use starwheel::{Reactor, Router, Sse, Topic};
//! use std::time::Duration;
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> std::io::Result<()> {
//!     let news = Topic::new("news");
//!     let watched = news.clone();
//!     let router = Router::new().get("/news", move |_req, _cx| Sse::new().subscribe(&watched));
//!     let mut reactor = Reactor::new(router)?;
//!     reactor.listen("127.0.0.1:0")?;
//!
//!     let handle = reactor.handle();
//!     tokio::spawn(async move {
//!         // A database, a queue or another service is awaited here.
//!         tokio::time::sleep(Duration::from_millis(1)).await;
//!         if let Err(error) = handle.publish(&news, "from a task") {
//!             eprintln!("not published: {error}");
//!         }
//!         handle.drain(Duration::ZERO);
//!     });
//!     starwheel::tokio::drive(&mut reactor).await
//! }
//! ```
//!
//! # Which runtime
//! The future is not `Send`, because a reactor is not. It runs in the main function of a
//! current-thread runtime (`#[tokio::main(flavor = "current_thread")]`, `Runtime::block_on`) or in
//! `LocalSet::spawn_local`. In a multi-thread runtime, [`Reactor::run`] on a thread of its own is
//! better: streams then tick on time, no matter how long a task computes.
//!
//! A task that blocks delays every tick, and a closure that blocks delays every task. The work of a
//! turn is bounded, and other tasks run between two turns.
//!
//! [`Handle`]: crate::Handle

use std::{io, time::Duration};

use ::tokio::{net::unix::pipe, task, time};

use crate::reactor::Reactor;

/// Runs turns until the reactor has stopped, and returns to the runtime after each turn.
///
/// On Linux, the reactor's own timer wakes the runtime, so ticks are as precise as in
/// [`Reactor::run`] while no task keeps the thread busy. On other systems, tokio's timer wakes it,
/// rounded up to a millisecond. Each wake-up costs one system call more than in `run`, because the
/// runtime waits first and the turn then asks the reactor's poller.
///
/// If the future is dropped (in `select!`, or by a timeout), the reactor stays as it is between two
/// turns: connections stay open and nothing ticks. Drive it again, or call [`Reactor::turn`].
///
/// ```
/// # use starwheel::{Reactor, Router};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// # let mut reactor = Reactor::new(Router::new())?;
/// # async fn asked_to_stop() {}
/// tokio::select! {
///     result = starwheel::tokio::drive(&mut reactor) => return result,
///     () = asked_to_stop() => reactor.handle().drain(std::time::Duration::from_secs(10)),
/// }
/// starwheel::tokio::drive(&mut reactor).await // Returns when the clients have left.
/// # }
/// ```
///
/// # Errors
/// As [`Reactor::run`]. Also if no descriptor is left for the registration with the runtime (it
/// takes one while the future exists), or if the runtime shuts down.
///
/// # Panics
/// Outside a tokio runtime, in a runtime without `enable_io`, and on other systems than Linux in one
/// without `enable_time`.
pub async fn drive(reactor: &mut Reactor) -> io::Result<()> {
    let poller = Poller::of(reactor)?;
    loop {
        reactor.turn(Some(Duration::ZERO))?;
        if reactor.is_stopped() {
            return Ok(());
        }
        if reactor.next_deadline() == Some(Duration::ZERO) {
            task::yield_now().await;
        } else {
            poller.wait(reactor.outer_timeout()).await?;
        }
    }
}

/// The reactor's poller, registered with the runtime for reading.
///
/// The type is that of a pipe, but nothing is read from it. Of tokio's types that register an
/// `OwnedFd`, it is the only one that watches for reading alone, which is all that a kqueue can be
/// watched for. The constructors of `AsyncFd` are unsafe, or deprecated because they should be.
struct Poller(pipe::Receiver);

impl Poller {
    fn of(reactor: &Reactor) -> io::Result<Self> {
        pipe::Receiver::from_owned_fd_unchecked(reactor.duplicate_fd()?).map(Self)
    }

    /// Waits for an event of the poller, at most for `timeout`.
    ///
    /// Its readiness is cleared before the turn, not after it: an event that comes during the turn
    /// makes the poller ready again, and is either handled in that turn or ends the next wait.
    async fn wait(&self, timeout: Option<Duration>) -> io::Result<()> {
        match timeout {
            None => self.0.readable().await?,
            Some(timeout) => match time::timeout(timeout, self.0.readable()).await {
                Ok(ready) => ready?,
                Err(_elapsed) => return Ok(()),
            },
        }
        // "It would block" is how readiness is cleared.
        let _cleared = self.0.try_io(|| Err::<(), _>(io::ErrorKind::WouldBlock.into()));
        Ok(())
    }
}
