//! [`Handle`]: the way in from other threads.

use std::{
    collections::VecDeque,
    error::Error,
    fmt, io, mem,
    net::TcpStream,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mio::Waker;

use crate::engine::Context;

/// A way into a reactor from any thread: cheap to clone, `Send` and `Sync`.
///
/// Commands wait in a bounded queue and run in step 2 of the next turn, in the order in which
/// they came. Nothing here ever blocks; a queue that is full gives the command back. Waking a
/// sleeping reactor costs one system call, an awake one none.
///
/// ```
/// use starwheel::{Context, Reactor, Reply, Request};
///
/// let mut reactor = Reactor::new(|_: &Request, _: &mut Context<'_>| Reply::text("hi"))?;
/// let handle = reactor.handle();
/// let worker = std::thread::spawn(move || handle.run(|cx| cx.shutdown()).is_ok());
/// reactor.run()?;
/// assert!(worker.join().unwrap());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

/// The queue was full, or the reactor has stopped or is gone; here is what you gave.
///
/// ```
/// let full = starwheel::Full("the command");
/// assert_eq!(full.0, "the command");
/// ```
pub struct Full<T>(pub T);

/// A closure to run on the reactor thread.
type Job = Box<dyn FnOnce(&mut Context<'_>) + Send>;

pub(super) enum Command {
    Run(Job),
    Adopt(TcpStream, Vec<u8>),
    Drain(Duration),
    Shutdown,
}

pub(super) struct Shared {
    queue: Mutex<Queue>,
    waker: Waker,
    /// Set while the reactor may sleep; whoever clears it has to wake it.
    sleeping: AtomicBool,
}

struct Queue {
    commands: VecDeque<Command>,
    /// Cleared when the reactor has stopped or is dropped.
    open: bool,
}

impl Handle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Runs a closure on the reactor thread.
    ///
    /// # Errors
    /// [`Full`] with the closure when 65,536 commands wait already, or the reactor has stopped or
    /// is gone.
    pub fn run<F: FnOnce(&mut Context<'_>) + Send + 'static>(
        &self,
        call: F,
    ) -> Result<(), Full<F>> {
        self.shared.push_with(call, |call| Command::Run(Box::new(call)))
    }

    /// Hands over a connected socket that somebody else accepted, with the bytes of the request
    /// that have been read from it already. It is served as if the reactor had accepted it.
    ///
    /// ```
    /// # use starwheel::Handle;
    /// # use std::net::TcpStream;
    /// /// After an upgrade check, say, in a server of another kind.
    /// fn hand_over(handle: &Handle, socket: TcpStream, request_so_far: Vec<u8>) {
    ///     if handle.adopt(socket, request_so_far).is_err() {
    ///         log::warn!("the reactor is overloaded");
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Full`] with socket and bytes when the queue is full, or the reactor has stopped or is gone.
    pub fn adopt(
        &self,
        socket: TcpStream,
        read_already: Vec<u8>,
    ) -> Result<(), Full<(TcpStream, Vec<u8>)>> {
        self.shared
            .push_with((socket, read_already), |(socket, bytes)| Command::Adopt(socket, bytes))
    }

    /// Lets everybody leave politely: no connection is accepted any more, each stream is dropped
    /// at its own moment within `window` so that clients do not come back all at once, answers
    /// under way are completed. `run` returns when all have left, at the end of the window at the
    /// latest.
    ///
    /// Never fails: a full queue takes it nevertheless; a reactor that is gone needs no drain.
    pub fn drain(&self, window: Duration) {
        self.shared.push_always(Command::Drain(window));
    }

    /// Ends all streams with [`CloseReason::Shutdown`](crate::CloseReason::Shutdown) and all
    /// connections with them, now. `run` returns after this turn.
    ///
    /// Never fails: a full queue takes it nevertheless; a reactor that is gone needs no shutdown.
    pub fn shutdown(&self) {
        self.shared.push_always(Command::Shutdown);
    }
}

impl Shared {
    pub(super) fn new(waker: Waker) -> Self {
        let queue = Mutex::new(Queue { commands: VecDeque::new(), open: true });
        Self { queue, waker, sleeping: AtomicBool::new(false) }
    }

    fn push_with<T>(&self, value: T, command: impl FnOnce(T) -> Command) -> Result<(), Full<T>> {
        let mut queue = self.lock();
        if !queue.open || queue.commands.len() >= COMMANDS_MAX {
            return Err(Full(value));
        }
        queue.commands.push_back(command(value));
        drop(queue);
        self.wake();
        Ok(())
    }

    /// Takes its place behind the others, but is never refused for want of room.
    fn push_always(&self, command: Command) {
        let mut queue = self.lock();
        if !queue.open {
            return;
        }
        queue.commands.push_back(command);
        drop(queue);
        self.wake();
    }

    /// The reactor is about to sleep; true if it must not, because commands wait.
    pub(super) fn fall_asleep(&self) -> bool {
        self.sleeping.store(true, Ordering::SeqCst);
        // Looked at after the flag is set: a command pushed before is seen here, one pushed after
        // sees the flag.
        !self.lock().commands.is_empty()
    }

    /// Takes all commands that wait.
    pub(super) fn wake_up(&self) -> VecDeque<Command> {
        self.sleeping.store(false, Ordering::SeqCst);
        mem::take(&mut self.lock().commands)
    }

    /// The reactor has stopped or is gone; what waits is dropped, what comes is given back.
    pub(super) fn close(&self) {
        let commands = {
            let mut queue = self.lock();
            queue.open = false;
            mem::take(&mut queue.commands)
        };
        // Not under the lock: closures drop what they captured, and that may use a handle.
        drop(commands);
    }

    fn wake(&self) {
        if self.sleeping.swap(false, Ordering::SeqCst)
            && let Err(error) = self.waker.wake()
        {
            log_wake_error(&error);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing that can panic runs under the lock, so a poisoned queue is still whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log_wake_error(error: &io::Error) {
    log::error!("the reactor cannot be woken: {error}");
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

impl<T> fmt::Debug for Full<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Full(..)")
    }
}

impl<T> fmt::Display for Full<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reactor's command queue is full, or the reactor is gone")
    }
}

impl<T> Error for Full<T> {}

/// Commands that may wait for one turn.
const COMMANDS_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> (Handle, mio::Poll) {
        let poll = mio::Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), mio::Token(0)).unwrap();
        (Handle::new(Arc::new(Shared::new(waker))), poll)
    }

    #[test]
    fn a_drain_does_not_overtake_what_was_given_before() {
        let (handle, _poll) = shared();
        handle.run(|_cx| {}).unwrap();
        handle.drain(Duration::from_secs(1));
        handle.shutdown();
        let commands: Vec<_> = handle.shared.wake_up().into();
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
        assert!(!handle.shared.fall_asleep());
        handle.run(|_cx| {}).unwrap();
        assert!(woken(), "asleep");
        handle.run(|_cx| {}).unwrap();
        assert!(!woken(), "on its way already");
        assert_eq!(handle.shared.wake_up().len(), 2);
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
