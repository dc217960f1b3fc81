//! [`Reactor::spawn`]: a reactor on a thread of its own.

use std::{
    fmt, io,
    sync::mpsc,
    thread::{self, JoinHandle},
};

use super::Reactor;
use crate::engine::{Handle, Handler};

/// A reactor that runs on a thread of its own; from [`Reactor::spawn`].
///
/// Dropping it detaches the thread, which runs until the reactor is shut down or drained.
///
/// ```
/// use starwheel::{Reactor, Router, Spawned};
/// use std::time::Duration;
/// let live: Spawned = Reactor::spawn("live", Router::new)?;
/// live.handle().drain(Duration::from_secs(10)); // It has no clients, so it ends immediately.
/// live.join()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Spawned {
    handle: Handle,
    thread: JoinHandle<io::Result<()>>,
}

impl Reactor {
    /// Starts a thread with a reactor that has default settings and this handler, and no listener:
    /// connections come through [`Handle::adopt`] and [`Handle::adopt_request`]. `handler` is called on the new thread, because
    /// handlers are usually not `Send`.
    ///
    /// ```
    /// use starwheel::{Reactor, Router, Sse, Topic};
    /// let news = Topic::new("news");
    /// let watched = news.clone();
    /// let live = Reactor::spawn("live", move || {
    ///     Router::new().get("/news", move |_req, _cx| Sse::new().subscribe(&watched))
    /// })?;
    /// live.handle().publish(&news, "to everybody").unwrap();
    /// # live.handle().shutdown();
    /// # live.join()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// When there is no thread to be had, as [`Reactor::new`], when `handler` panics, or when `name`
    /// contains a NUL byte, which no thread can have in its name.
    pub fn spawn<H: Handler + 'static>(
        name: &str,
        handler: impl FnOnce() -> H + Send + 'static,
    ) -> io::Result<Spawned> {
        Self::spawn_with(name, || Self::new(handler()))
    }

    /// The same with a reactor that the closure makes, with settings and listeners of its own. When
    /// this returns, the listeners accept connections.
    ///
    /// ```
    /// use starwheel::{Config, Reactor, Response, Router};
    /// use std::{io::{Read, Write}, net::TcpStream, sync::mpsc};
    ///
    /// let (sender, address) = mpsc::channel();
    /// let live = Reactor::spawn_with("live", move || {
    ///     let router = Router::new().get("/", |_req, _cx| Response::text("hello"));
    ///     let mut reactor = Reactor::with_config(Config::default(), router)?;
    ///     _ = sender.send(reactor.listen("127.0.0.1:0")?);
    ///     Ok(reactor)
    /// })?;
    /// let mut client = TcpStream::connect(address.recv().unwrap())?;
    /// client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    /// let mut response = String::new();
    /// client.read_to_string(&mut response)?;
    /// assert!(response.ends_with("hello"));
    /// live.handle().shutdown();
    /// live.join()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// The error of the closure; otherwise as [`spawn`](Self::spawn).
    pub fn spawn_with(
        name: &str,
        reactor: impl FnOnce() -> io::Result<Self> + Send + 'static,
    ) -> io::Result<Spawned> {
        if name.contains('\0') {
            let reason = "the name of a thread must not contain a NUL byte";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let (sender, started) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let mut reactor = match reactor() {
                Ok(reactor) => reactor,
                Err(error) => return sender.send(Err(error)).or(Ok(())),
            };
            // The other side waits, so it is still there.
            let _gone = sender.send(Ok(reactor.handle()));
            reactor.run()
        })?;
        match started.recv() {
            Ok(handle) => Ok(Spawned { handle: handle?, thread }),
            Err(mpsc::RecvError) => {
                let reason = format!("the thread \"{name}\" panicked before its reactor started");
                Err(io::Error::other(reason))
            }
        }
    }
}

impl Spawned {
    /// A handle to the reactor.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits until the reactor has stopped, after [`Handle::shutdown`] or [`Handle::drain`].
    ///
    /// # Errors
    /// As [`Reactor::run`], when the thread has panicked, or on that thread, which cannot wait for
    /// itself.
    pub fn join(self) -> io::Result<()> {
        if self.thread.thread().id() == thread::current().id() {
            return Err(io::Error::other("a reactor's thread cannot wait for its own end"));
        }
        let name = self.thread.thread().name().unwrap_or_default().to_owned();
        let panicked = |_| io::Error::other(format!("the thread \"{name}\" panicked"));
        self.thread.join().map_err(panicked)?
    }
}

impl fmt::Debug for Spawned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawned")
            .field("thread", &self.thread.thread().name())
            .finish_non_exhaustive()
    }
}
