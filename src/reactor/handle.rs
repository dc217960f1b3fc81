//! [`Handle`]: access to the reactor from other threads.

use std::{
    collections::VecDeque,
    fmt, io, mem,
    net::TcpStream,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mio::Waker;

use super::{
    TrySendError,
    command::{Batch, Command},
};
use crate::{
    engine::{Context, Stats},
    sse::{Encode, EventBuffer},
    topic::{Compressible, Topic},
};

/// Access to a reactor from any thread: cheap to clone, `Send` and `Sync`.
///
/// [`publish`](Self::publish) sends events to all subscribers of a topic. [`run`](Self::run) is for
/// everything else, such as an event for the streams of one user.
///
/// ```no_run
/// use starwheel::{Reactor, Router, Sse, Topic};
///
/// let router = Router::new().get("/", |_req, _cx| Sse::new().subscribe(&Topic::new("news")));
/// let mut reactor = Reactor::new(router)?;
/// let handle = reactor.handle();
/// std::thread::spawn(move || handle.publish(&Topic::new("news"), "hello").is_ok());
/// reactor.run()?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Commands wait in a bounded queue and run in step 2 of the next turn, in order. Nothing here
/// blocks. A command that is not accepted is returned in a [`TrySendError`], which says whether to
/// try again or to stop. Waking a sleeping reactor costs one system call; an awake one costs none.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    queue: Mutex<CommandQueue>,
    waker: Waker,
    /// Set while the reactor may sleep; the thread that clears it must wake it.
    sleeping: AtomicBool,
    /// A copy that other threads may read.
    stats: Mutex<Stats>,
}

struct CommandQueue {
    commands: VecDeque<Command>,
    /// Bytes of the events among them.
    bytes: usize,
    /// Drains and shutdowns among them.
    endings: usize,
    /// Cleared when the reactor has stopped or is dropped.
    open: bool,
}

impl Handle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Runs a closure on the reactor thread.
    ///
    /// ```
    /// # use starwheel::Handle;
    /// /// Tells all windows of one user, whose streams carry the user's name as their tag.
    /// fn tell(handle: &Handle, user: String, text: String) {
    ///     let queued = handle.run(move |cx| {
    ///         for id in cx.tagged(&user) {
    ///             cx.send(id, &text);
    ///         }
    ///     });
    ///     if let Err(error) = queued {
    ///         log::warn!("nothing was sent: {error}");
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// Returns the closure: [`TrySendError::Full`] when 65,536 commands are waiting,
    /// [`TrySendError::Closed`] when the reactor has stopped or was dropped.
    pub fn run<F: FnOnce(&mut Context<'_>) + Send + 'static>(
        &self,
        call: F,
    ) -> Result<(), TrySendError<F>> {
        self.shared.push_with(call, |call| Command::Run(Box::new(call)))
    }

    /// Publishes an event to all subscribers of a topic, from any thread, without blocking. It is
    /// encoded on the calling thread; the reactor appends it to the topic's log and writes the
    /// sockets.
    ///
    /// Events of one thread on one topic arrive in the order of publishing. When fan-out (or the
    /// ends of very many streams) cannot keep up, the reactor takes nothing more from the queue
    /// until it can, or until it must drain or shut down. The queue then fills, and this method
    /// returns an error instead of using more memory.
    ///
    /// ```
    /// use starwheel::{Reactor, Router, Sse, Topic};
    /// let news = Topic::new("news");
    /// let watched = news.clone();
    /// let router = Router::new().get("/news", move |_req, _cx| Sse::new().subscribe(&watched));
    /// let mut reactor = Reactor::new(router)?;
    /// let handle = reactor.handle();
    /// std::thread::spawn(move || {
    ///     if let Err(error) = handle.publish(&news, "to everybody") {
    ///         eprintln!("{error}, so not published: {}", error.into_inner());
    ///     }
    ///     handle.shutdown();
    /// });
    /// reactor.run()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Returns the event: [`TrySendError::Full`] when 65,536 commands or 16 MiB of events are
    /// waiting, [`TrySendError::Closed`] when the reactor has stopped or was dropped.
    pub fn publish<E: Encode>(&self, topic: &Topic, event: E) -> Result<(), TrySendError<E>> {
        self.publish_as(topic, event, Compressible::Yes)
    }

    /// The same, but the event leaves as it is also in compressed streams, and no later event refers
    /// to it; see [`Context::publish_uncompressed`].
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_uncompressed<E: Encode>(
        &self,
        topic: &Topic,
        event: E,
    ) -> Result<(), TrySendError<E>> {
        self.publish_as(topic, event, Compressible::No)
    }

    fn publish_as<E: Encode>(
        &self,
        topic: &Topic,
        event: E,
        compression: Compressible,
    ) -> Result<(), TrySendError<E>> {
        if let Err(refused) = self.shared.would_take() {
            return Err(refused.with(event));
        }
        let mut encoded = EventBuffer::new();
        encoded.push(&event);
        let command = Command::Publish(topic.clone(), encoded.into_bytes(), compression);
        self.shared.push(command).map_err(|refused| refused.with(event))
    }

    /// Publishes several events on one topic with one lock of the queue and one wake-up, in one
    /// turn. No other published event comes between them in any client's stream.
    ///
    /// They count as one command, and no tick runs in between: keep a batch to some thousands.
    ///
    /// ```
    /// # use starwheel::{Handle, Topic};
    /// fn replay(handle: &Handle, topic: &Topic, lines: &[String]) {
    ///     if let Err(error) = handle.publish_batch(topic, lines) {
    ///         log::warn!("{} lines were not published: {error}", lines.len());
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`publish`](Self::publish); none of them is published then.
    pub fn publish_batch<I>(&self, topic: &Topic, events: I) -> Result<(), TrySendError<I>>
    where
        I: IntoIterator + Clone,
        I::Item: Encode,
    {
        if let Err(refused) = self.shared.would_take() {
            return Err(refused.with(events));
        }
        let (mut encoded, mut ends) = (EventBuffer::new(), Vec::new());
        for event in events.clone() {
            encoded.push(&event);
            ends.push(encoded.as_bytes().len());
        }
        let batch = Batch { events: encoded.into_bytes(), ends };
        let command = Command::PublishBatch(topic.clone(), batch);
        self.shared.push(command).map_err(|refused| refused.with(events))
    }

    /// True once the reactor has stopped or was dropped: this handle then returns commands as
    /// [`TrySendError::Closed`]. For a producer that has nothing to send at the moment.
    ///
    /// ```
    /// use starwheel::{Reactor, Router};
    /// let mut reactor = Reactor::new(Router::new())?;
    /// let handle = reactor.handle();
    /// assert!(!handle.is_stopped());
    /// handle.shutdown();
    /// reactor.run()?;
    /// assert!(handle.is_stopped());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        !self.shared.lock().open
    }

    /// The statistics of the reactor, at most 100 ms old while it is busy.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Passes on a connected socket that was accepted elsewhere, with the bytes of the request that
    /// have already been read from it. It is served as if the reactor had accepted it.
    ///
    /// ```
    /// # use starwheel::Handle;
    /// # use std::net::TcpStream;
    /// /// After an upgrade check, say, in a server of another kind.
    /// fn hand_over(handle: &Handle, socket: TcpStream, request_so_far: Vec<u8>) {
    ///     if let Err(error) = handle.adopt(socket, request_so_far) {
    ///         log::warn!("a connection was not handed over: {error}");
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// Returns socket and bytes: [`TrySendError::Full`] when the queue is full,
    /// [`TrySendError::Closed`] when the reactor has stopped or was dropped.
    pub fn adopt(
        &self,
        socket: TcpStream,
        read_already: Vec<u8>,
    ) -> Result<(), TrySendError<(TcpStream, Vec<u8>)>> {
        self.shared
            .push_with((socket, read_already), |(socket, bytes)| Command::Adopt(socket, bytes))
    }

    /// Ends the server gracefully. `run` returns when all clients have left, at the end of `window`
    /// at the latest. Connections that remain then are closed, including clients that do not read.
    ///
    /// - Waiting connections are accepted, then the listeners are closed;
    ///   [`Config::drain_accept_for`](crate::Config::drain_accept_for) accepts for longer.
    /// - Requests are answered, with `Connection: close`. A connection that has been without one
    ///   for a second is closed. New clients, and those that poll, get a response and no reset.
    /// - Each stream is dropped with [`CloseReason::Shutdown`](crate::CloseReason::Shutdown) at its
    ///   own time in the window, so that its client reconnects. Half a second earlier it is sent
    ///   its own `retry:`, a second or more past the end of the window, and spread as widely as the
    ///   drops. So no client connects to a server that refuses it, and the next server does not get
    ///   all of them together. A client is without a server for about the length of the window. The
    ///   delay is never longer than 31 s, because an `EventSource` keeps it until another
    ///   [`retry`](crate::Event::retry).
    /// - A stream that is opened in this time leaves in the same way.
    ///
    /// Two races remain. A connection whose handshake ends in the microseconds between the last
    /// accept and the close of the listener is reset by the kernel, unless another process holds
    /// the same listener ([`Reactor::listen_on`](crate::Reactor::listen_on) with one from systemd,
    /// say). And a client may send a request just as its connection is closed as idle, as with
    /// every HTTP/1.1 server; clients repeat such a request on their own (RFC 9112, 9.3.1).
    ///
    /// Ten seconds are enough for a restart. The process must not be killed earlier: give the
    /// service manager more time than the window (systemd's `TimeoutStopSec`).
    ///
    /// Never fails: a full queue still accepts it, and a reactor that is gone needs no drain.
    pub fn drain(&self, window: Duration) {
        self.shared.push_always(Command::Drain(window));
    }

    /// Ends all streams with [`CloseReason::Shutdown`](crate::CloseReason::Shutdown) and all
    /// connections with them, now. `run` returns after this turn.
    ///
    /// Never fails: a full queue still accepts it, and a reactor that is gone needs no shutdown.
    pub fn shutdown(&self) {
        self.shared.push_always(Command::Shutdown);
    }
}

impl Shared {
    pub(super) fn new(waker: Waker) -> Self {
        let queue = Mutex::new(CommandQueue {
            commands: VecDeque::new(),
            bytes: 0,
            endings: 0,
            open: true,
        });
        Self { queue, waker, sleeping: AtomicBool::new(false), stats: Mutex::default() }
    }

    /// Whether a command would be accepted now; checked before the work of making one.
    fn would_take(&self) -> Result<(), TrySendError<()>> {
        self.lock().would_take()
    }

    fn push(&self, command: Command) -> Result<(), TrySendError<Command>> {
        self.push_with(command, |command| command)
    }

    fn push_with<T>(
        &self,
        value: T,
        command: impl FnOnce(T) -> Command,
    ) -> Result<(), TrySendError<T>> {
        let mut queue = self.lock();
        if let Err(refused) = queue.would_take() {
            return Err(refused.with(value));
        }
        queue.push(command(value));
        drop(queue);
        self.wake();
        Ok(())
    }

    /// Appends the command. It is never refused for lack of room, and never waits for fan-out to
    /// keep up.
    fn push_always(&self, command: Command) {
        let mut queue = self.lock();
        if !queue.open {
            return;
        }
        queue.push(command);
        drop(queue);
        self.wake();
    }

    /// The reactor is about to sleep; true if it must not, because commands wait.
    pub(super) fn fall_asleep(&self) -> bool {
        self.sleeping.store(true, Ordering::SeqCst);
        // Checked after the flag is set: a command pushed before is seen here, one pushed after
        // sees the flag.
        !self.lock().commands.is_empty()
    }

    /// The reactor is awake: pushing needs no system call from now on.
    pub(super) fn wake_up(&self) {
        self.sleeping.store(false, Ordering::SeqCst);
    }

    pub(super) fn copy_stats(&self, stats: &Stats) {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone_from(stats);
    }

    /// Number of waiting commands.
    pub(super) fn depth(&self) -> usize {
        self.lock().commands.len()
    }

    /// True if a drain or shutdown is queued, possibly after other commands.
    pub(super) fn is_to_end(&self) -> bool {
        self.lock().endings > 0
    }

    /// Takes up to `most` commands.
    pub(super) fn take(&self, most: usize) -> VecDeque<Command> {
        let mut queue = self.lock();
        if queue.commands.len() <= most {
            (queue.bytes, queue.endings) = (0, 0);
            return mem::take(&mut queue.commands);
        }
        let rest = queue.commands.split_off(most);
        let taken = mem::replace(&mut queue.commands, rest);
        queue.bytes -= taken.iter().map(Command::bytes).sum::<usize>();
        queue.endings -= taken.iter().filter(|command| command.is_ending()).count();
        taken
    }

    /// The reactor has stopped or is gone; further commands are returned. Returns the waiting ones,
    /// to be dropped without the lock: destructors of captured values may use a handle.
    pub(super) fn close(&self) -> VecDeque<Command> {
        let mut queue = self.lock();
        queue.open = false;
        mem::take(&mut queue.commands)
    }

    fn wake(&self) {
        if self.sleeping.swap(false, Ordering::SeqCst)
            && let Err(error) = self.waker.wake()
        {
            log_wake_error(&error);
        }
    }

    fn lock(&self) -> MutexGuard<'_, CommandQueue> {
        // Nothing that can panic runs under the lock, so a poisoned queue is still consistent.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log_wake_error(error: &io::Error) {
    log::error!("cannot wake the reactor: {error}");
}

impl CommandQueue {
    fn would_take(&self) -> Result<(), TrySendError<()>> {
        if !self.open {
            return Err(TrySendError::Closed(()));
        }
        let has_room = self.commands.len() < COMMANDS_MAX && self.bytes < BYTES_MAX;
        if has_room { Ok(()) } else { Err(TrySendError::Full(())) }
    }

    fn push(&mut self, command: Command) {
        self.bytes += command.bytes();
        self.endings += usize::from(command.is_ending());
        self.commands.push_back(command);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("sleeping", &self.sleeping).finish_non_exhaustive()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

/// Maximum number of waiting commands.
const COMMANDS_MAX: usize = 65_536;
/// Bytes of events that may wait, as far as they are known before the last one is pushed.
const BYTES_MAX: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> (Handle, mio::Poll) {
        let poll = mio::Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), mio::Token(0)).unwrap();
        (Handle::new(Arc::new(Shared::new(waker))), poll)
    }

    #[test]
    fn a_drain_does_not_overtake_earlier_commands() {
        let (handle, _poll) = shared();
        handle.run(|_cx| {}).unwrap();
        handle.drain(Duration::from_secs(1));
        handle.shutdown();
        let commands: Vec<_> = handle.shared.take(usize::MAX).into();
        let expected = [Command::is_run, Command::is_drain, Command::is_shutdown];
        assert_eq!(commands.len(), 3);
        assert!(commands.iter().zip(expected).all(|(command, is_expected)| is_expected(command)));
    }

    #[test]
    fn a_closed_queue_keeps_nothing() {
        let (handle, _poll) = shared();
        handle.shared.close();
        handle.shutdown();
        handle.drain(Duration::ZERO);
        assert!(handle.run(|_cx| {}).is_err());
        assert!(handle.shared.lock().commands.is_empty());
    }

    #[test]
    fn only_a_sleeping_reactor_is_woken_and_only_once() {
        let (handle, mut poll) = shared();
        let mut woken = || {
            let mut events = mio::Events::with_capacity(8);
            poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
            !events.is_empty()
        };
        handle.run(|_cx| {}).unwrap();
        assert!(!woken(), "awake");
        assert!(handle.shared.fall_asleep(), "a command waits");
        handle.shared.wake_up();
        handle.shared.take(1);
        assert!(!handle.shared.fall_asleep());
        handle.run(|_cx| {}).unwrap();
        assert!(woken(), "asleep");
        handle.run(|_cx| {}).unwrap();
        assert!(!woken(), "on its way already");
        handle.shared.wake_up();
        assert_eq!(handle.shared.take(usize::MAX).len(), 2);
    }

    impl Command {
        fn is_run(&self) -> bool {
            matches!(self, Self::Run(_))
        }

        fn is_drain(&self) -> bool {
            matches!(self, Self::Drain(_))
        }

        fn is_shutdown(&self) -> bool {
            matches!(self, Self::Shutdown)
        }
    }
}
