//! [`Mailbox`]: the queue of commands from other threads.

#[cfg(not(starwheel_shuttle))]
use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};
use std::{
    collections::VecDeque,
    fmt, io, mem,
    sync::{Arc, OnceLock, PoisonError},
};

#[cfg(starwheel_shuttle)]
use shuttle::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use super::{command::Command, late::Late, outlet::Outlet, try_send::TrySendError};
#[cfg(feature = "tls")]
use crate::tls::TlsListeners;
use crate::{
    engine::{registry::Registry, stats::Stats},
    topic::{Arrival, Placed},
};

/// Wakes the thread of a sleeping reactor.
pub(crate) trait Wake: Send + Sync {
    fn wake(&self) -> io::Result<()>;
}

/// What a reactor and the handles to it share: the queue of commands, and the way to wake it.
pub(crate) struct Mailbox {
    queue: Mutex<CommandQueue>,
    /// Length of the queue, so that a turn without commands takes no lock. It is only a hint:
    /// [`fall_asleep`](Self::fall_asleep) looks at the queue itself.
    depth: AtomicUsize,
    /// Commands taken so far.
    taken: AtomicU64,
    waker: Box<dyn Wake>,
    /// Set while the reactor may sleep; the thread that clears it must wake it.
    sleeping: AtomicBool,
    /// A copy that other threads may read.
    stats: Mutex<Stats>,
    /// Where events on topics that span reactors go.
    outlet: OnceLock<Arc<dyn Outlet>>,
    /// Where its subscribers are counted, if anyone else may want to know.
    registry: OnceLock<Arc<Registry>>,
    /// Events on topics that had been finished.
    late: Late,
    /// Its listeners with TLS, or those of all workers.
    #[cfg(feature = "tls")]
    tls: OnceLock<Arc<TlsListeners>>,
}

/// The waiting commands.
struct CommandQueue {
    commands: VecDeque<Command>,
    /// Bytes of the events among them.
    bytes: usize,
    /// Drains and shutdowns among them.
    endings: usize,
    /// Cleared when the reactor has stopped or is dropped.
    open: bool,
}

impl Mailbox {
    pub(crate) fn new(waker: Box<dyn Wake>) -> Self {
        let queue = Mutex::new(CommandQueue {
            commands: VecDeque::new(),
            bytes: 0,
            endings: 0,
            open: true,
        });
        Self {
            queue,
            depth: AtomicUsize::new(0),
            taken: AtomicU64::new(0),
            waker,
            sleeping: AtomicBool::new(false),
            stats: Mutex::new(Stats::default()),
            outlet: OnceLock::new(),
            registry: OnceLock::new(),
            late: Late::default(),
            #[cfg(feature = "tls")]
            tls: OnceLock::new(),
        }
    }

    /// Joins a namespace; false if the reactor belongs to one already.
    pub(in crate::engine) fn set_outlet(&self, outlet: Arc<dyn Outlet>) -> bool {
        self.outlet.set(outlet).is_ok()
    }

    pub(in crate::engine) fn outlet(&self) -> Option<&Arc<dyn Outlet>> {
        self.outlet.get()
    }

    /// Events that were published on topics after their end.
    pub(in crate::engine) fn late(&self) -> &Late {
        &self.late
    }

    /// Only the first call counts.
    pub(in crate::engine) fn set_registry(&self, registry: Arc<Registry>) {
        _ = self.registry.set(registry);
    }

    pub(in crate::engine) fn registry(&self) -> Option<&Arc<Registry>> {
        self.registry.get()
    }

    /// Before the first listener; only the first call counts.
    #[cfg(feature = "tls")]
    pub(in crate::engine) fn set_tls_listeners(&self, listeners: Arc<TlsListeners>) {
        _ = self.tls.set(listeners);
    }

    #[cfg(feature = "tls")]
    pub(crate) fn tls_listeners(&self) -> &Arc<TlsListeners> {
        self.tls.get_or_init(Arc::default)
    }

    /// An event from the sequencer; never refused for lack of room, because the sequencer
    /// [asks](Self::would_take) before it gives a place. False if the reactor has stopped.
    pub(crate) fn place(&self, placed: Arc<Placed>) -> bool {
        self.push_reserved(placed, Command::Place).is_ok()
    }

    /// The same for everything else that comes from the sequencer.
    pub(crate) fn arrive(&self, arrival: Arrival) -> bool {
        self.push_reserved(Box::new(arrival), Command::Arrive).is_ok()
    }

    /// Takes up to `most` events and other news from the sequencer, as far as no other command
    /// comes first.
    pub(in crate::engine) fn take_arrivals(&self, most: usize) -> VecDeque<Command> {
        let queue = self.lock();
        let is_arrival = |command: &&Command| command.is_arrival();
        let count = queue.commands.iter().take(most).take_while(is_arrival).count();
        drop(queue);
        // Only this thread takes commands, so the first ones are still the same.
        if count > 0 { self.take(count) } else { VecDeque::new() }
    }

    /// Whether a command would be accepted now; checked before the work of making one.
    pub(crate) fn would_take(&self) -> Result<(), TrySendError<()>> {
        self.lock().would_take()
    }

    pub(super) fn push(&self, command: Command) -> Result<(), TrySendError<Command>> {
        self.push_with(command, |command| command)
    }

    pub(crate) fn push_with<T>(
        &self,
        value: T,
        command: impl FnOnce(T) -> Command,
    ) -> Result<(), TrySendError<T>> {
        let queue = self.lock();
        if let Err(refused) = queue.would_take() {
            return Err(refused.with(value));
        }
        self.append(queue, command(value));
        Ok(())
    }

    /// Appends a command that is never refused for lack of room, because its number is bounded
    /// elsewhere: there is at most one answer for each connection that waits. Returns the value if
    /// the reactor has stopped.
    pub(crate) fn push_reserved<T>(
        &self,
        value: T,
        command: impl FnOnce(T) -> Command,
    ) -> Result<(), T> {
        let queue = self.lock();
        if !queue.open {
            return Err(value);
        }
        self.append(queue, command(value));
        Ok(())
    }

    /// Appends a drain or shutdown, which never waits for fan-out to keep up. A reactor that has
    /// stopped needs none.
    pub(super) fn push_ending(&self, command: Command) {
        let _stopped = self.push_reserved(command, |command| command);
    }

    /// The reactor is about to sleep; true if it must not, because commands wait.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.sleeping.store(true, Ordering::SeqCst);
        // Checked after the flag is set: a command pushed before is seen here, one pushed after
        // sees the flag.
        !self.lock().commands.is_empty()
    }

    /// The reactor is awake: pushing needs no system call from now on.
    pub(crate) fn wake_up(&self) {
        self.sleeping.store(false, Ordering::SeqCst);
    }

    /// Brings the copy of the statistics up to date.
    pub(in crate::engine) fn copy_stats(&self, stats: &mut Stats) {
        let mut copy = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        stats.copy_changes_to(&mut copy);
    }

    /// False once the reactor has stopped or is gone.
    pub(crate) fn is_open(&self) -> bool {
        self.lock().open
    }

    /// The last copy of the statistics.
    pub(super) fn stats(&self) -> Stats {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Number of waiting commands.
    pub(crate) fn depth(&self) -> usize {
        self.depth.load(Ordering::Acquire)
    }

    /// True if a drain or shutdown is queued, possibly after other commands.
    pub(crate) fn is_to_end(&self) -> bool {
        self.lock().endings > 0
    }

    /// Number of commands taken so far: whether a reactor whose queue is full still works on it.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Takes up to `most` commands.
    pub(crate) fn take(&self, most: usize) -> VecDeque<Command> {
        let mut queue = self.lock();
        self.taken.fetch_add(queue.commands.len().min(most) as u64, Ordering::Relaxed);
        if queue.commands.len() <= most {
            (queue.bytes, queue.endings) = (0, 0);
            self.depth.store(0, Ordering::Release);
            return mem::take(&mut queue.commands);
        }
        let rest = queue.commands.split_off(most);
        let taken = mem::replace(&mut queue.commands, rest);
        queue.bytes -= taken.iter().map(Command::bytes).sum::<usize>();
        queue.endings -= taken.iter().filter(|command| command.is_ending()).count();
        self.depth.store(queue.commands.len(), Ordering::Release);
        taken
    }

    /// The reactor has stopped or is gone; further commands are returned. Returns the waiting ones,
    /// to be dropped without the lock: destructors of captured values may use a handle.
    pub(crate) fn close(&self) -> VecDeque<Command> {
        let mut queue = self.lock();
        queue.open = false;
        self.depth.store(0, Ordering::Release);
        mem::take(&mut queue.commands)
    }

    fn append(&self, mut queue: MutexGuard<'_, CommandQueue>, command: Command) {
        queue.push(command);
        self.depth.store(queue.commands.len(), Ordering::Release);
        drop(queue);
        self.wake();
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

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("sleeping", &self.sleeping).finish_non_exhaustive()
    }
}

/// Maximum number of waiting commands.
const COMMANDS_MAX: usize = 65_536;
/// Bytes of events that may wait, as far as they are known before the last one is pushed.
const BYTES_MAX: usize = 16 * 1024 * 1024;

#[cfg(all(test, not(starwheel_shuttle)))]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::engine::Handle;

    /// Counts how often it is asked to wake the reactor.
    #[derive(Debug, Default)]
    struct Counter(AtomicUsize);

    impl Wake for Arc<Counter> {
        fn wake(&self) -> io::Result<()> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    }

    fn handle() -> (Handle, Arc<Mailbox>, Arc<Counter>) {
        let counter = Arc::<Counter>::default();
        let mailbox = Arc::new(Mailbox::new(Box::new(Arc::clone(&counter))));
        (Handle::new(Arc::clone(&mailbox)), mailbox, counter)
    }

    #[test]
    fn a_drain_does_not_overtake_earlier_commands() {
        let (handle, mailbox, _counter) = handle();
        handle.run(|_cx| {}).unwrap();
        handle.drain(Duration::from_secs(1));
        handle.shutdown();
        let commands: Vec<_> = mailbox.take(usize::MAX).into();
        let expected = [Command::is_run, Command::is_drain, Command::is_shutdown];
        assert_eq!(commands.len(), 3);
        assert!(commands.iter().zip(expected).all(|(command, is_expected)| is_expected(command)));
    }

    #[test]
    fn a_closed_queue_keeps_nothing() {
        let (handle, mailbox, _counter) = handle();
        mailbox.close();
        handle.shutdown();
        handle.drain(Duration::ZERO);
        assert!(handle.run(|_cx| {}).is_err());
        assert!(mailbox.lock().commands.is_empty());
    }

    #[test]
    fn only_a_sleeping_reactor_is_woken_and_only_once() {
        let (handle, mailbox, counter) = handle();
        let woken = || counter.0.swap(0, Ordering::SeqCst) > 0;
        handle.run(|_cx| {}).unwrap();
        assert!(!woken(), "awake");
        assert!(mailbox.fall_asleep(), "a command waits");
        mailbox.wake_up();
        mailbox.take(1);
        assert!(!mailbox.fall_asleep());
        handle.run(|_cx| {}).unwrap();
        assert!(woken(), "asleep");
        handle.run(|_cx| {}).unwrap();
        assert!(!woken(), "on its way already");
        mailbox.wake_up();
        assert_eq!(mailbox.take(usize::MAX).len(), 2);
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

/// Every interleaving of these threads. Run with `RUSTFLAGS='--cfg starwheel_shuttle' cargo test
/// --release -p starwheel-tests --lib mailbox`. The order of memory accesses is sequential there, as it
/// is here: all that matters is under the lock or `SeqCst`.
#[cfg(all(test, starwheel_shuttle))]
mod interleavings {
    use shuttle::{Config, Runner, check_random, scheduler::DfsScheduler, sync::Condvar, thread};

    use super::*;
    use crate::engine::Handle;

    /// The poller of a reactor that sleeps until it is woken.
    #[derive(Clone, Default)]
    struct Poller(Arc<(Mutex<bool>, Condvar)>);

    impl Wake for Poller {
        fn wake(&self) -> io::Result<()> {
            let (is_woken, condition) = &*self.0;
            *is_woken.lock().unwrap() = true;
            condition.notify_one();
            Ok(())
        }
    }

    impl Poller {
        fn wait(&self) {
            let (is_woken, condition) = &*self.0;
            let mut is_woken = is_woken.lock().unwrap();
            while !*is_woken {
                is_woken = condition.wait(is_woken).unwrap();
            }
            *is_woken = false;
        }
    }

    /// Turns until it has taken `count` commands; sleeps whenever it may.
    fn run(mailbox: &Mailbox, poller: &Poller, count: usize) {
        let mut taken = 0;
        while taken < count {
            if !mailbox.fall_asleep() {
                poller.wait();
            }
            mailbox.wake_up();
            // As in a turn: the depth is only a hint.
            if mailbox.depth() > 0 {
                taken += mailbox.take(usize::MAX).len();
            }
        }
    }

    /// A reactor, and threads that push one command each. A wake-up that is lost would let
    /// the reactor sleep with a command in its queue: a deadlock.
    fn push_from(threads: usize) {
        let poller = Poller::default();
        let mailbox = Arc::new(Mailbox::new(Box::new(poller.clone())));
        let publishers: Vec<_> = (0..threads)
            .map(|_| {
                let handle = Handle::new(Arc::clone(&mailbox));
                thread::spawn(move || assert!(handle.run(|_cx| {}).is_ok()))
            })
            .collect();
        run(&mailbox, &poller, threads);
        publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
    }

    #[test]
    fn no_wake_up_is_lost_in_any_order() {
        let tried = try_all_orders(|| push_from(1));
        assert!((100..ORDERS_MAX).contains(&tried), "{tried} orders, not all or hardly any");
    }

    /// Too many to try all.
    #[test]
    fn no_wake_up_of_two_publishers_is_lost() {
        check_random(|| push_from(2), 300_000);
    }

    #[test]
    fn a_command_of_a_reactor_that_stops_is_dropped_by_it_or_returned() {
        let tried = try_all_orders(|| {
            let mailbox = Arc::new(Mailbox::new(Box::new(Poller::default())));
            let handle = Handle::new(Arc::clone(&mailbox));
            let publisher = thread::spawn(move || handle.run(|_cx| {}).is_ok());
            let waiting = mailbox.close().len();
            assert_eq!(publisher.join().unwrap(), waiting == 1, "in the queue, or returned");
            assert_eq!(mailbox.take(usize::MAX).len(), 0);
        });
        assert!((2..ORDERS_MAX).contains(&tried), "{tried}");
    }

    /// Returns their number, at most [`ORDERS_MAX`].
    fn try_all_orders(test: impl Fn() + Send + Sync + 'static) -> usize {
        let scheduler = DfsScheduler::new(Some(ORDERS_MAX), false);
        Runner::new(scheduler, Config::default()).run(test)
    }

    const ORDERS_MAX: usize = 2_000_000;
}
