//! [`Workers`]: reactors on several threads that share listeners, topics and a handle.

mod thread;
mod worker;

pub use self::worker::Worker;

use std::{
    fmt, io, mem,
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
    thread as threads,
};

#[cfg(feature = "signals")]
use std::{sync::atomic::AtomicUsize, time::Duration};

use self::thread::{Setup, Thread};
#[cfg(feature = "tls")]
use crate::tls::TlsConfig;
use crate::{
    backplane::{Backplane, BackplaneError, Namespace},
    engine::{Config, Crew, Handle, Handler},
    reactor::{ListenOptions, Listener, ReusePort, bind},
};

/// Reactors on several threads, usually one per core, that serve the same address.
///
/// Topics span all of them: an event that is published anywhere reaches the subscribers of every
/// worker, in one order and with the same id, so a client that reconnects to another worker gets
/// exactly what it has missed. A connection stays on the worker that has accepted it.
///
/// ```no_run
/// use starwheel::{Router, Sse, Topic, Workers};
///
/// let news = Topic::new("news").history(200, 256 * 1024);
/// let watched = news.clone();
/// let workers = Workers::new(Workers::per_core(), move |_worker| {
///     let news = watched.clone();
///     Router::new().get("/news", move |_req, _cx| Sse::new().subscribe(&news))
/// })?;
/// println!("http://{}", workers.listen("0.0.0.0:8080")?);
/// let handle = workers.handle();
/// std::thread::spawn(move || handle.publish(&news, "to everybody").is_ok());
/// workers.run()?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # When one reactor is enough
/// Nearly always: it delivers some 100,000 events a second. Workers help when one core is busy with
/// delivering. They do not help a closure that blocks, and each worker compresses for itself.
///
/// # What is shared
/// | | |
/// |---|---|
/// | topics, their order, ids and history | all workers, except [`Topic::local`](crate::Topic::local) |
/// | topics that are [driven](crate::Context::drive) | each worker drives its own |
/// | [`Limits::connections`](crate::Limits::connections), `connections_per_ip`, `streams_per_tag` | all workers, exactly |
/// | what a `Context` shows: streams, tags, subscribers, timers, statistics | that worker, except methods that end in `_on_all`; [`Handle::run_on_all`] for others |
/// | panics of a closure | its stream, as on one reactor |
/// | the end of a worker, by an error or a panic outside of closures | all: the others drain over 10 s, and [`run`](Self::run) returns the error |
///
/// Publishing takes one lock, in which the event gets its place and enters the queue of every worker
/// that has subscribers of the topic, or of none: if one of these queues is full, the publisher gets
/// [`TrySendError::Full`](crate::TrySendError::Full). A worker that has taken nothing for a second no
/// longer holds up the others. It is left out ([`Stats::left_out`](crate::Stats::left_out)), and its
/// subscribers are notified of the loss by the [policies](crate::Backpressure) of their topics. Those
/// of topics with history lose nothing that is still in it. What was published by hand on a
/// [driven](crate::Context::drive) topic that keeps no event is then missing without notice.
#[must_use = "workers serve only while they run"]
pub struct Workers {
    crew: Arc<Crew>,
    namespace: Namespace,
    threads: Vec<Thread>,
}

impl Workers {
    /// Starts `count` threads, at least one, each with a reactor that has default settings. `handler`
    /// is called on each of them and makes that worker's handler, because handlers are not `Send`.
    /// The workers serve nothing before [`run`](Self::run).
    ///
    /// # Errors
    /// When a thread cannot be started, as [`Reactor::new`](crate::Reactor::new), or when `handler`
    /// panics.
    pub fn new<H, F>(count: usize, handler: F) -> io::Result<Self>
    where
        H: Handler + 'static,
        F: Fn(&mut Worker<'_>) -> H + Send + Sync + 'static,
    {
        Self::with_config(&Config::default(), count, handler)
    }

    /// Workers with your own settings. [Limits](crate::Limits) of connections and of streams per tag
    /// hold for all workers together.
    ///
    /// ```
    /// use starwheel::{Config, Router, Workers};
    /// let mut config = Config::default();
    /// config.limits.connections_per_ip = Some(20); // On whichever workers they are.
    /// let workers = Workers::with_config(&config, 2, |_worker| Router::new())?;
    /// # drop(workers);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Workers::new`].
    pub fn with_config<H, F>(config: &Config, count: usize, handler: F) -> io::Result<Self>
    where
        H: Handler + 'static,
        F: Fn(&mut Worker<'_>) -> H + Send + Sync + 'static,
    {
        let (crew, handler) = (Arc::<Crew>::default(), Arc::new(handler));
        let namespace = Namespace::new()?;
        // From here on, its drop ends the threads if there is an error.
        let mut workers = Self { crew, namespace, threads: Vec::new() };
        for number in 0..count.max(1) {
            let (config, handler) = (config.clone(), Arc::clone(&handler));
            let make =
                move |worker: &mut Worker<'_>| -> Box<dyn Handler> { Box::new(handler(worker)) };
            let thread = Thread::start(number, config, &workers.crew, &workers.namespace, make)?;
            workers.threads.push(thread);
        }
        // In two steps, so that the first handler that is made has a handle for all workers.
        let reactors: io::Result<Vec<_>> =
            workers.threads.iter().map(Thread::has_reactor).collect();
        workers.crew.complete(reactors?);
        workers.threads.iter().try_for_each(Thread::make_handler)?;
        Ok(workers)
    }

    /// The number of cores that this process may use, at least 1.
    ///
    /// ```
    /// assert!(starwheel::Workers::per_core() >= 1);
    /// ```
    #[must_use]
    pub fn per_core() -> usize {
        threads::available_parallelism().map_or(1, usize::from)
    }

    /// Listens on a TCP address and returns the actual one. On Linux each worker has a socket of its
    /// own, and the kernel distributes connections over them (`SO_REUSEPORT`). Of two workers, the
    /// fuller had 1 % more than the mean of 9,000 connections, and 3 to 5 % more of 1,000. On other
    /// systems, where the kernel does not distribute, the first worker accepts and hands over in turn.
    ///
    /// # Errors
    /// When the address is not available, with the address in the message.
    pub fn listen(&self, address: impl ToSocketAddrs) -> io::Result<SocketAddr> {
        self.listen_with(address, per_worker())
    }

    /// Listens for HTTPS; see [`Reactor::listen_tls`](crate::Reactor::listen_tls). The workers share
    /// the address as with [`listen`](Self::listen), and the key of tickets: a client resumes its
    /// session on any of them. Feature `tls`.
    ///
    /// ```no_run
    /// # use starwheel::{Response, Router, Workers};
    /// use starwheel::{Certificate, TlsConfig};
    /// # let workers = Workers::new(2, |_worker| Router::new())?;
    /// let certificate = Certificate::from_pem_files("fullchain.pem", "privkey.pem")?;
    /// workers.listen_tls("0.0.0.0:443", TlsConfig::builder(certificate).build()?)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`listen`](Self::listen).
    #[cfg(feature = "tls")]
    pub fn listen_tls(
        &self,
        address: impl ToSocketAddrs,
        config: TlsConfig,
    ) -> io::Result<SocketAddr> {
        self.listen_with(address, ListenOptions::new().reuse_port(per_worker()).tls(config))
    }

    /// Redirects clients that try http to HTTPS; see
    /// [`Reactor::redirect_to_https`](crate::Reactor::redirect_to_https). Feature `tls`.
    ///
    /// ```no_run
    /// # use starwheel::{Router, TlsConfig, Workers};
    /// # let workers = Workers::new(2, |_worker| Router::new())?;
    /// # fn config() -> TlsConfig { unimplemented!() }
    /// workers.listen_tls("0.0.0.0:443", config())?;
    /// workers.redirect_to_https("0.0.0.0:80")?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`listen`](Self::listen), and if there is no TCP listener with TLS.
    #[cfg(feature = "tls")]
    pub fn redirect_to_https(&self, address: impl ToSocketAddrs) -> io::Result<SocketAddr> {
        let options = ListenOptions::new().reuse_port(per_worker());
        let port = self.handle().tls_listeners().port()?;
        self.listen_with(address, options.redirect_to_https(port))
    }

    /// Like [`listen`](Self::listen), with [`ListenOptions`]. [`ReusePort::Shared`] gives each worker
    /// its own socket. With [`ReusePort::Exclusive`], the default of the options, the first worker
    /// accepts for all and hands connections over in turn: exactly even, and no other program can
    /// listen on the address, but each connection goes through the queue of its worker.
    ///
    /// ```
    /// # use starwheel::{Router, Workers};
    /// use starwheel::ReusePort;
    /// let workers = Workers::new(2, |_worker| Router::new())?;
    /// let address = workers.listen_with("127.0.0.1:0", ReusePort::Exclusive)?;
    /// assert!(workers.listen(address).is_err(), "no other program, and not a second time");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`listen`](Self::listen).
    pub fn listen_with(
        &self,
        address: impl ToSocketAddrs,
        options: impl Into<ListenOptions>,
    ) -> io::Result<SocketAddr> {
        let options = options.into();
        let listener = bind(address, options.sharing())?;
        let bound = listener.local_addr()?;
        if options.sharing() == ReusePort::Exclusive {
            self.listen_on_with(listener, options)?;
            return Ok(bound);
        }
        let others = self.threads[1..].iter().map(|_| bind(bound, ReusePort::Shared));
        let listeners = std::iter::once(Ok(listener)).chain(others);
        for (thread, listener) in
            self.threads.iter().zip(listeners.collect::<io::Result<Vec<_>>>()?)
        {
            thread.set_up(|done| Setup::Listen(listener.into(), options.clone(), done))?;
        }
        Ok(bound)
    }

    /// Accepts connections from a socket that was bound elsewhere. The first worker accepts and hands
    /// over in turn.
    ///
    /// ```
    /// # use starwheel::{Router, Workers};
    /// let workers = Workers::new(2, |_worker| Router::new())?;
    /// workers.listen_on(std::net::TcpListener::bind("127.0.0.1:0")?)?; // From systemd, say.
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Reactor::listen_on`](crate::Reactor::listen_on).
    pub fn listen_on(&self, listener: impl Into<Listener>) -> io::Result<()> {
        self.listen_on_with(listener, ListenOptions::new())
    }

    /// Like [`listen_on`](Self::listen_on), with [`ListenOptions`].
    ///
    /// # Errors
    /// As [`Reactor::listen_on`](crate::Reactor::listen_on).
    pub fn listen_on_with(
        &self,
        listener: impl Into<Listener>,
        options: impl Into<ListenOptions>,
    ) -> io::Result<()> {
        let (listener, options) = (listener.into(), options.into());
        self.threads[0].set_up(|done| Setup::Distribute(listener, options, done))
    }

    /// Drains all workers over `window` at the first SIGTERM or SIGINT, and shuts them down at the
    /// second; see [`Reactor::drain_on_signals`](crate::Reactor::drain_on_signals). Feature
    /// `signals`.
    ///
    /// # Errors
    /// When the system refuses the handler or the pipe.
    ///
    /// ```no_run
    /// # use starwheel::{Router, Workers};
    /// # let workers = Workers::new(2, |_worker| Router::new())?;
    /// workers.drain_on_signals(std::time::Duration::from_secs(10))?;
    /// workers.run()?; // Returns at most 10 s after a SIGTERM.
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[cfg(feature = "signals")]
    pub fn drain_on_signals(&self, window: Duration) -> io::Result<()> {
        let obeyed = Arc::<AtomicUsize>::default();
        let drain = |done| Setup::DrainOnSignals(window, Arc::clone(&obeyed), done);
        self.threads.iter().try_for_each(|thread| thread.set_up(drain))
    }

    /// A handle for all workers, for any thread.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::of_all(Arc::clone(&self.crew))
    }

    /// Shares the topics of these workers with other machines that join the same
    /// [`Backplane`](crate::Backplane). Before anything is published. It does not wait for the store,
    /// and starts one thread.
    ///
    /// ```
    /// use starwheel::{Backplane, Router, Workers};
    /// let workers = Workers::new(2, |_worker| Router::new())?;
    /// workers.join(&Backplane::memory())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Reactor::join`](crate::Reactor::join).
    pub fn join(&self, backplane: &Backplane) -> Result<(), BackplaneError> {
        backplane.connect(&self.namespace)
    }

    /// Serves until all workers have ended, after [`Handle::shutdown`] or [`Handle::drain`] on the
    /// handle of all. If one ends otherwise, the others end too.
    ///
    /// # Errors
    /// The first error of a worker; never because of a client.
    pub fn run(mut self) -> io::Result<()> {
        let running: io::Result<()> = self.threads.iter().try_for_each(Thread::run);
        let ended = mem::take(&mut self.threads).into_iter().map(Thread::join);
        // All of them, before any error is returned.
        let results: Vec<_> = std::iter::once(running).chain(ended).collect();
        results.into_iter().collect()
    }
}

/// A socket for each worker, where the kernel distributes connections over them.
fn per_worker() -> ReusePort {
    match cfg!(any(target_os = "linux", target_os = "android")) {
        true => ReusePort::Shared,
        false => ReusePort::Exclusive,
    }
}

/// Workers that never ran: their threads have ended and their addresses are free afterwards.
impl Drop for Workers {
    fn drop(&mut self) {
        for thread in mem::take(&mut self.threads) {
            // A panic of it has been reported as an error of a step.
            let _result = thread.join();
        }
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("count", &self.threads.len()).finish_non_exhaustive()
    }
}
