//! The reactor: sockets, clocks and threads, and the loop that drives the engine.
//!
//! Everything that touches the outside world is in this layer. The engine decides about bytes and
//! timers without it.

mod adopt;
mod clock;
mod descriptors;
mod ending;
mod epoch;
mod listen_options;
mod listener;
mod listening;
#[cfg(feature = "tokio")]
mod nested;
#[cfg(feature = "signals")]
mod signals;
mod socket;
mod spawn;
mod system;
mod worker;

pub use self::{
    descriptors::raise_descriptor_limit,
    listen_options::{ListenOptions, ReusePort},
    listener::Listener,
    spawn::Spawned,
};
pub(crate) use self::{epoch::draw as draw_epoch, listening::bind};

use std::{
    fmt, io,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use mio::{Events, Poll, Token, Waker};

use self::{
    clock::Clock,
    listener::{Acceptor, Paused},
    socket::{Socket, readiness, take},
    system::Alarm,
};
use crate::engine::{Accepting, Config, Context, Engine, Handle, Handler, Stats, TcpOptions, Wake};

/// An event loop on one thread: it accepts, answers, ticks and writes, and needs no other thread.
///
/// Call [`run`](Self::run), or call [`turn`](Self::turn) from your own loop. It is not `Send`, so
/// its closures may hold anything; other threads use a [`Handle`].
///
/// ```no_run
/// use starwheel::{Reactor, Router, Sse};
/// use std::time::Duration;
///
/// let router = Router::new().get("/clock", |_req, _cx| {
///     let mut seconds = 0;
///     Sse::every(Duration::from_secs(1), move |stream| {
///         stream.send(format_args!("{seconds}"));
///         seconds += 1;
///     })
/// });
/// let mut reactor = Reactor::new(router)?;
/// println!("http://{}", reactor.listen("127.0.0.1:8080")?);
/// reactor.run()?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// If it is dropped before a shutdown or drain is complete, it closes its connections immediately
/// and drops the closures without calling them: `on_disconnect` runs at the end of a stream, not at
/// the end of the reactor. No incomplete stream or response looks finished: those of HTTP/1.0 are
/// reset, and so are connections with queued bytes.
pub struct Reactor {
    engine: Engine<Socket>,
    poll: Poll,
    events: Events,
    acceptors: Vec<Acceptor>,
    tcp: TcpOptions,
    expected_connections: Option<usize>,
    clock: Clock,
    alarm: Alarm,
    /// The poller may have more events than one turn took, or commands came while it was busy.
    busy: bool,
    /// A shutdown or drain is complete: listeners and handles are closed.
    stopped: bool,
    stats_copied_ms: u64,
    /// The workers that this reactor is one of.
    all_workers: Option<Handle>,
    /// Called once it has stopped, or is dropped.
    after_stop: Option<Box<dyn FnOnce()>>,
    #[cfg(feature = "signals")]
    signals: Option<signals::Signals>,
}

impl Reactor {
    /// A reactor with default settings and this handler.
    ///
    /// # Errors
    /// When the system provides no poller, timer or waker, usually for lack of descriptors, or no
    /// random bits for the [ids of events](crate::Topic::history).
    pub fn new(handler: impl Handler + 'static) -> io::Result<Self> {
        Self::with_config(Config::default(), handler)
    }

    /// A reactor with your own settings.
    ///
    /// # Errors
    /// As [`Reactor::new`].
    pub fn with_config(mut config: Config, handler: impl Handler + 'static) -> io::Result<Self> {
        let (tcp, expected_connections) = (config.tcp, config.expected_connections);
        config.expected_connections =
            expected_connections.or_else(descriptors::connections_to_expect);
        let poll = Poll::new()?;
        let waker = Box::new(Waker::new(poll.registry(), WAKER)?);
        let alarm = Alarm::new(poll.registry(), ALARM)?;
        let mut engine = Engine::new(config, epoch::draw()?, waker, Box::new(handler));
        engine.set_number(epoch::next_number());
        engine.set_stopwatch(clock::nanos);
        engine.set_call_clock(clock::for_calls());
        engine.mailbox().fall_asleep();
        Ok(Self {
            engine,
            poll,
            events: Events::with_capacity(EVENTS_PER_TURN),
            acceptors: Vec::new(),
            tcp,
            expected_connections,
            clock: Clock::start(),
            alarm,
            busy: false,
            stopped: false,
            stats_copied_ms: 0,
            all_workers: None,
            after_stop: None,
            #[cfg(feature = "signals")]
            signals: None,
        })
    }

    /// A handle for other threads.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.engine.handle()
    }

    /// The reactor as closures see it, to set up timers, topic updaters and the like before it
    /// runs. Effects happen in the next turn, and [`next_deadline`](Self::next_deadline) is zero
    /// until then.
    ///
    /// The clock is read once, now: delays count from this call, and a timer that is due before the
    /// next turn runs in it. After long work, call this again instead of keeping the context.
    ///
    /// ```
    /// # use starwheel::{Reactor, Response, Request, Context};
    /// # use std::time::Duration;
    /// # let mut reactor = Reactor::new(|_: &Request, _: &mut Context<'_>| Response::text("hi"))?;
    /// reactor.context().after(Duration::from_secs(3600), |cx| cx.shutdown());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn context(&mut self) -> Context<'_> {
        self.busy = true;
        let now_ms = self.clock.now_ms();
        self.engine.context(now_ms, self.clock.unix_seconds(now_ms))
    }

    /// The current statistics.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        self.engine.stats()
    }

    /// Runs turns until [`Handle::shutdown`], [`Handle::drain`] or [`Context::shutdown`] ends the
    /// reactor.
    ///
    /// # Errors
    /// When the poller fails; never because of a client.
    ///
    /// [`Context::shutdown`]: crate::Context::shutdown
    pub fn run(&mut self) -> io::Result<()> {
        while !self.is_stopped() {
            self.turn(None)?;
        }
        Ok(())
    }

    /// True when a shutdown or drain is complete. It becomes true at the end of a turn, and stays
    /// true. Listeners are closed, handles return commands, and further turns do nothing and do not
    /// wait.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Runs one turn: waits for an event, at most for `timeout` (`None`: without limit), then
    /// handles it. The work of a turn is bounded. The rest is left for the next turn, and
    /// [`next_deadline`](Self::next_deadline) is zero.
    ///
    /// If another loop watches [`as_fd`](AsFd::as_fd), call this with a zero timeout until
    /// `next_deadline` is not zero: a nested edge-triggered descriptor wakes only once.
    ///
    /// # Errors
    /// As [`Reactor::run`].
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if self.is_stopped() {
            return Ok(());
        }
        let timeout = match self.has_work() {
            true => Some(Duration::ZERO),
            false => {
                [timeout, Alarm::poll_timeout(|| self.next_deadline())].into_iter().flatten().min()
            }
        };
        if let Err(error) = self.poll.poll(&mut self.events, timeout)
            && error.kind() != io::ErrorKind::Interrupted
        {
            return Err(error);
        }
        self.engine.mailbox().wake_up();
        let now_ms = self.clock.now_ms();
        self.engine.begin_turn(now_ms, self.clock.unix_seconds(now_ms));
        self.obey_commands();
        self.handle_events();
        // Before new connections come: a deferred end makes room for one.
        self.engine.run_put_off_input();
        self.accept(now_ms);
        let connections = self.engine.stats().connections;
        self.engine.end_turn();
        if self.engine.stats().connections < connections {
            self.acceptors.iter_mut().for_each(|acceptor| acceptor.end_pause(now_ms));
        }
        if self.engine.accepting() == Accepting::Nothing {
            self.stop_listening();
        }
        if self.engine.is_stopped() && self.acceptors.is_empty() {
            self.stop();
            return Ok(());
        }
        self.prepare_sleep(now_ms)
    }

    /// Longest time the next turn may wait: zero if it already has work, `None` if only a client or
    /// a handle can cause any, or if the reactor has stopped.
    ///
    /// On Linux the descriptor of [`as_fd`](AsFd::as_fd) becomes readable by then, so your loop
    /// needs no timeout of its own; except if the result is zero, because then there is nothing to
    /// wait for.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        if self.is_stopped() {
            return None;
        }
        if self.has_work() {
            return Some(Duration::ZERO);
        }
        self.next_deadline_ms().map(|deadline_ms| self.clock.until(deadline_ms))
    }

    /// True if there is work now, at any time.
    fn has_work(&self) -> bool {
        let accepts_more = |acceptor: &Acceptor| acceptor.more && acceptor.again_ms.is_none();
        self.busy || self.engine.has_pending() || self.acceptors.iter().any(accepts_more)
    }

    fn next_deadline_ms(&self) -> Option<u64> {
        let pauses = self.acceptors.iter().filter_map(|acceptor| acceptor.again_ms);
        pauses.chain(self.engine.next_deadline()).min()
    }

    fn obey_commands(&mut self) {
        let (poll, tcp) = (&self.poll, &self.tcp);
        self.engine.obey_commands(|engine, adoption| adopt::adopt(engine, poll, tcp, adoption));
    }

    fn handle_events(&mut self) {
        self.busy = false;
        let mut count = 0;
        for event in &self.events {
            count += 1;
            match event.token() {
                WAKER => {}
                ALARM => self.alarm.rang(),
                #[cfg(feature = "signals")]
                SIGNALS => {
                    if let Some(signals) = &mut self.signals {
                        signals.receive(&mut self.engine, self.all_workers.as_ref());
                    }
                }
                Token(number) if number >= FIRST_LISTENER => {
                    if let Some(acceptor) = self.acceptors.get_mut(number - FIRST_LISTENER) {
                        acceptor.arrived();
                    }
                }
                // Tokens of connections are their u32 index.
                Token(number) => self.engine.ready(number as u32, readiness(event)),
            }
        }
        self.busy = count == EVENTS_PER_TURN;
    }

    fn accept(&mut self, now_ms: u64) {
        let accepting = self.engine.accepting();
        if accepting == Accepting::Nothing {
            return;
        }
        if accepting == Accepting::WhatWaits {
            self.acceptors.iter_mut().for_each(Acceptor::arrived);
        }
        for acceptor in self.acceptors.iter_mut().filter(|acceptor| acceptor.is_due(now_ms)) {
            let all = self.all_workers.as_ref().filter(|_| acceptor.is_for_all());
            let (engine, poll) = (&mut self.engine, &self.poll);
            let entrance = acceptor.entrance();
            let accepted = acceptor.accept(now_ms, |socket, peer, opening| match all {
                None => _ = take(engine, poll, socket, peer, opening, &entrance),
                Some(all) => adopt::hand_over(all, engine, poll, socket, peer, opening, &entrance),
            });
            if let Err(Paused) = accepted {
                self.engine.count_accept_failure();
            }
        }
        // Immediately: connections that arrive in between are reset.
        if accepting == Accepting::WhatWaits && self.acceptors.iter().all(|it| !it.more) {
            self.stop_listening();
        }
    }

    /// Copies the statistics for other threads, occasionally while busy, and before a long sleep.
    fn publish_stats(&mut self, now_ms: u64) {
        let sleeps = self.engine.next_deadline().is_none_or(|next| next > now_ms + STATS_AGE_MS);
        if sleeps || now_ms >= self.stats_copied_ms + STATS_AGE_MS {
            self.stats_copied_ms = now_ms;
            self.engine.publish_stats();
        }
    }

    /// Lets the poller report when sockets that have refused bytes in this turn take some again.
    fn watch_refusing(&mut self) {
        while let Some((index, socket)) = self.engine.next_refusing() {
            let token = Token(index.token() as usize);
            if let Err(error) = socket.report_writability(self.poll.registry(), token) {
                self.engine.abandon(index, &error);
                // The turn is over; the next one closes it.
                self.busy = true;
            }
        }
    }

    /// Sets the alarm, and makes other threads wake us from now on. Done at the end of a turn, not
    /// at the start of the next, so that another loop may watch `as_fd`.
    fn prepare_sleep(&mut self, now_ms: u64) -> io::Result<()> {
        self.watch_refusing();
        self.publish_stats(now_ms);
        if self.engine.mailbox().fall_asleep() {
            self.busy = true;
        }
        match self.next_deadline_ms() {
            // With work left there is no sleep.
            Some(deadline_ms) if !self.busy && !self.engine.has_pending() => {
                self.alarm.set(deadline_ms, self.clock.until(deadline_ms))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Reactor");
        debug.field("engine", &self.engine).field("acceptors", &self.acceptors);
        debug.field("stopped", &self.stopped).finish_non_exhaustive()
    }
}

/// The descriptor of the poller, to be watched for reading by another loop.
impl AsFd for Reactor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.registry().as_fd()
    }
}

impl Wake for Waker {
    fn wake(&self) -> io::Result<()> {
        Self::wake(self)
    }
}

const WAKER: Token = Token(usize::MAX);
const ALARM: Token = Token(usize::MAX - 1);
#[cfg(feature = "signals")]
const SIGNALS: Token = Token(usize::MAX - 2);
/// Above every connection index; there are not that many descriptors.
const FIRST_LISTENER: usize = usize::MAX / 2;
/// Events per poll.
const EVENTS_PER_TURN: usize = 1024;
/// Maximum age of `Handle::stats` while the reactor is busy.
const STATS_AGE_MS: u64 = 100;
