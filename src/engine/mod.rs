//! The engine: connections, streams, timers and their closures, without sockets or clocks.
//!
//! Two things share the work. [`Core`] holds the state and never calls user code; [`Engine`] owns
//! a `Core`, the users' closures and the transports as separate fields, so that a closure can be
//! lent the whole state (through [`Stream`] or [`Context`]) while the engine holds the closure
//! itself. What a closure cannot do at once, because it needs other closures, is queued as data.
//!
//! # The order of a turn
//! Whoever drives the engine (the reactor, a simulation) does this, in this order, and the order
//! is part of the contract:
//!
//! 1. wait, then tell the time once: [`Engine::begin_turn`];
//! 2. commands of other threads: [`Engine::run`];
//! 3. what sockets report: [`Engine::ready`], [`Engine::accept`]; reads become requests, requests
//!    become answers, streams to be opened become births;
//! 4. [`Engine::end_turn`]: input put off earlier; due timers, one at a time, in deadline order,
//!    a turn's share of them;
//! 5. fan-out: what was published goes to subscribers, a turn's share of them at a time;
//! 6. births, then deaths with their hooks, until there are none of either;
//! 7. flush: one write for each connection that has something queued;
//! 8. release of closed connections, so that no slot is used again within a turn.
//!
//! An updater's own output does not wait for step 7: it is written as soon as the updater
//! returns, while its bytes are in the cache and its tick is on time.

mod admission;
mod asker;
mod batch;
mod busy;
mod calls;
mod codec;
mod coded;
mod config;
mod context;
mod core;
mod drain;
mod fanout;
mod feed;
mod fire;
mod flush;
mod handler;
mod io;
mod next;
mod output;
mod prometheus;
mod refused;
mod settle;
mod sse;
mod stats;
mod stream;
mod tags;
mod topics;
mod transport;
mod watchdog;

pub(crate) use self::transport::Transport;
pub use self::{
    config::{Config, Tcp},
    context::{Context, IntervalTooShort, TimerId},
    feed::Feed,
    handler::{Handler, Response},
    next::{Ending, IntoNext, Next},
    refused::Refused,
    sse::{Alignment, Compress, FirstTick, KeepAlive, Sse},
    stats::{Closed, Histogram, Stats},
    stream::{Stream, StreamId},
};

use std::{collections::HashMap, fmt, io::Error as IoError};

use self::{
    calls::Calls,
    core::{Core, Slot, Stopping, TimerCall},
    watchdog::Call,
};
use crate::{
    conn::{Goodbye, Phase},
    http::{Peer, Request},
    topic::Topic,
};

/// All connections of one reactor and the closures that feed them.
pub(crate) struct Engine<T> {
    core: Core,
    /// Closures of the streams, by connection.
    calls: Vec<Calls>,
    /// Closures of the users' timers, by slot.
    timers: HashMap<u32, TimerCall>,
    /// Sockets, by connection; `None` for a timer's slot.
    transports: Vec<Option<T>>,
    handler: Box<dyn Handler>,
    /// The request being answered; its buffers are used again and again.
    request: Request,
    read_buffer: Box<[u8]>,
    head_buffer: Vec<u8>,
    /// How many of the connections in `Core::runnable` were put off in earlier turns. The others
    /// have had their share of this one.
    put_off_earlier: usize,
    /// More timers are due than one turn may fire.
    timers_wait: bool,
}

/// What a poller says of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Readiness {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The peer's FIN is behind what can be read; a short read must not be taken for the end.
    pub(crate) read_closed: bool,
}

impl<T: Transport> Engine<T> {
    /// `epoch` makes the event ids of this engine differ from those of any other.
    pub(crate) fn new(config: Config, epoch: String, handler: Box<dyn Handler>) -> Self {
        let connections = config.expected_connections.unwrap_or(0);
        Self {
            core: Core::new(config, epoch),
            calls: Vec::with_capacity(connections),
            timers: HashMap::new(),
            transports: Vec::with_capacity(connections),
            handler,
            request: Request::new(),
            read_buffer: vec![0; READ_BUFFER_BYTES].into(),
            head_buffer: Vec::new(),
            put_off_earlier: 0,
            timers_wait: false,
        }
    }

    /// Lends a clock of nanoseconds, by which the time spent compressing is counted.
    pub(crate) fn set_stopwatch(&mut self, stopwatch: fn() -> u64) {
        self.core.compressor.set_stopwatch(stopwatch);
    }

    /// Lends a clock of milliseconds, by which users' closures are timed. It is read twice per call.
    pub(crate) fn set_call_clock(&mut self, clock_ms: fn() -> u64) {
        self.core.watchdog.set_clock(clock_ms);
    }

    /// Tells the time: milliseconds since the start, never going back, and Unix seconds for the
    /// `Date` header. A closure sees one and the same time for the whole turn.
    pub(crate) fn begin_turn(&mut self, now: u64, unix_seconds: u64) {
        debug_assert!(now >= self.core.now, "time went back");
        self.core.now = now;
        self.core.date.set(unix_seconds);
        self.put_off_earlier = self.core.runnable.len();
    }

    /// Takes over an accepted connection. The index stays its name until it is released. `None` if
    /// it was reset at once, because there are far too many.
    pub(crate) fn accept(&mut self, mut transport: T, peer: Peer) -> Option<u32> {
        self.core.stats.accepted += 1;
        let Some(admission) = self.core.admit(peer) else {
            // An orderly end would be kept in the kernel's memory for a minute.
            transport.reset_on_close();
            return None;
        };
        let index = self.core.add_conn(peer, admission);
        let needed = index as usize + 1;
        if self.transports.len() < needed {
            self.transports.resize_with(needed, || None);
            self.calls.resize_with(needed, Calls::default);
        }
        self.transports[index as usize] = Some(transport);
        Some(index)
    }

    /// The system had no descriptor or memory for a newcomer.
    pub(crate) fn count_accept_failure(&mut self) {
        self.core.stats.accept_failures += 1;
    }

    /// Gives up a connection that cannot be served.
    pub(crate) fn abandon(&mut self, index: u32, error: &IoError) {
        self.lose(index, error);
    }

    /// Hands over bytes of a connection that were read by somebody else.
    pub(crate) fn feed(&mut self, index: u32, bytes: &[u8]) {
        for piece in bytes.chunks(READ_BUFFER_BYTES) {
            self.read_buffer[..piece.len()].copy_from_slice(piece);
            self.receive(index, piece.len());
        }
    }

    /// Lends the transport of a connection, for registering it with a poller.
    pub(crate) fn transport(&mut self, index: u32) -> Option<&mut T> {
        self.transports.get_mut(index as usize)?.as_mut()
    }

    /// Runs a closure that came from another thread.
    pub(crate) fn run(&mut self, call: impl FnOnce(&mut Context<'_>)) {
        let what = Call::Free("a closure given to Handle::run");
        // A panic is logged and counted, and costs nothing else.
        let _panicked = self.core.call(what, |core| call(&mut Context::new(core)));
    }

    /// Publishes events that another thread has encoded.
    pub(crate) fn publish_bytes(&mut self, topic: &Topic, events: &[u8]) {
        self.core.publish_bytes(topic, events);
    }

    /// False while fan-out lags behind so far that publishers should wait.
    pub(crate) fn takes_publishes(&self) -> bool {
        self.core.topics.unoffered_bytes < UNOFFERED_BYTES_MAX
    }

    pub(crate) fn set_queue_depth(&mut self, commands: usize) {
        self.core.stats.queue_depth = commands as u64;
    }

    /// Lends the context outside of a turn.
    pub(crate) fn context(&mut self) -> Context<'_> {
        Context::new(&mut self.core)
    }

    /// A poller reported connection `index`. Stale indices are ignored.
    pub(crate) fn ready(&mut self, index: u32, readiness: Readiness) {
        if readiness.writable {
            self.writable(index);
        }
        if readiness.readable {
            self.readable(index, readiness.read_closed);
        }
    }

    /// Steps 4 to 8 of the turn.
    pub(crate) fn end_turn(&mut self) {
        self.run_put_off_input();
        self.fire_due();
        self.fan_out();
        self.settle();
        if self.core.stopping == Stopping::Now {
            self.end_everything();
        }
        self.flush();
        self.core.topics.end_holds();
        debug_assert!(self.core.stats.streams > 0 || self.core.topics.remembers_nobody());
        self.core.stats.log_bytes = self.core.topics.log_bytes as u64;
        self.core.stats.compression = self.core.compressor.stats();
        self.release();
    }

    /// When the next turn is due if nothing else happens; now, if work was put off.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        if self.has_pending() {
            return Some(self.core.now);
        }
        self.core.wheel.next_deadline()
    }

    /// Work was put off for fairness: the next turn must not wait.
    pub(crate) fn has_pending(&self) -> bool {
        self.timers_wait
            || !self.core.runnable.is_empty()
            || !self.core.deaths.is_empty()
            || !self.core.births.is_empty()
            || !self.core.topics.fan_out.is_empty()
            || (self.core.stopping == Stopping::Now && self.core.stats.connections > 0)
    }

    pub(crate) fn stats(&self) -> &Stats {
        &self.core.stats
    }

    pub(crate) fn shutdown(&mut self) {
        self.core.begin_shutdown();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.core.stopping != Stopping::No
    }

    /// True when a shutdown, or a drain, has nothing left to end.
    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopping() && self.core.stats.connections == 0
    }

    fn release(&mut self) {
        while let Some(index) = self.core.released.pop() {
            let slot = self.core.slots.remove(index as usize);
            self.core.wheel.cancel(index);
            self.core.stats.connections -= 1;
            let transport = self.transports[index as usize].take();
            let Slot::Conn(mut conn) = slot else { continue };
            self.core.forget(&conn);
            if let Some(mut transport) = transport {
                let is_cut = matches!(conn.phase, Phase::Closed { goodbye: Goodbye::Reset });
                // An orderly end would pass half an answer off as a whole one wherever the end of
                // the connection is the end of the answer; and it would leave the kernel sending.
                if is_cut || !conn.outbox.is_empty() {
                    transport.reset_on_close();
                }
                conn.outbox.clear(&mut self.core.pool);
            }
        }
    }
}

/// Closures are dropped one by one: two destructors that panic in one unwinding end the process.
impl<T> Drop for Engine<T> {
    fn drop(&mut self) {
        let core = &mut self.core;
        while let Some(birth) = core.births.pop_front() {
            core.drop_guarded(birth);
        }
        for calls in self.calls.drain(..) {
            core.drop_guarded(calls);
        }
        for (_, call) in self.timers.drain() {
            core.drop_guarded(call);
        }
    }
}

impl<T> fmt::Debug for Engine<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("stats", &self.core.stats).finish_non_exhaustive()
    }
}

/// What may be published from other threads before subscribers have been offered some of it.
const UNOFFERED_BYTES_MAX: usize = 1024 * 1024;
/// Shared by all connections. A request that fits is parsed where it was read.
const READ_BUFFER_BYTES: usize = 64 * 1024;
