//! The engine: connections, streams, timers and their closures, without sockets or clocks.
//!
//! The work is split in two. [`Core`] holds the state and never calls user code. [`Engine`] owns a
//! `Core`, the users' closures and the transports as separate fields, so that a closure can borrow
//! the complete state (through [`Stream`] or [`Context`]) while the engine holds the closure
//! itself. What needs other closures cannot happen inside one; it is queued as data.
//!
//! # The order of a turn
//! The driver of the engine (the reactor, a simulation) takes these steps. Their order is part of
//! the contract:
//!
//! 1. wait, then set the time once: [`Engine::begin_turn`], which also stores the closures of
//!    timers that were set between two turns;
//! 2. commands from other threads: [`Engine::run`];
//! 3. socket events: [`Engine::ready`]; reads become requests, requests become responses, streams to
//!    open become births; then input deferred earlier, and [`Engine::accept`];
//! 4. [`Engine::end_turn`]: due timers, one at a time, in deadline order,
//!    up to a turn's share;
//! 5. fan-out: published events go to subscribers, a turn's share at a time;
//! 6. births, then deaths with their hooks, up to a turn's share, until there are none of either;
//! 7. flush: one write for each connection with queued bytes; up to a turn's share for connections
//!    that have only events from other closures;
//! 8. release of closed connections, so that no slot is reused within a turn.
//!
//! An updater's own output does not wait for step 7: it is written as soon as the updater returns,
//! while its bytes are in the cache and its tick is on time.

mod admission;
mod api;
mod calls;
mod client;
mod coding;
mod conns;
mod core;
mod handshake_share;
mod keys;
mod later;
mod ledger;
mod links;
mod memory;
mod opening;
mod pending;
mod places;
mod registry;
mod remote;
mod scratch;
mod secured;
mod stats;
mod tag_lists;
mod tags;
#[cfg(feature = "tls")]
mod tls_clients;
mod topics;
mod transport;
mod turn;

pub(crate) use self::calls::drop_each;
#[cfg(feature = "dashboard")]
pub(crate) use self::conns::{Progress, SlowStream, SlowWalk};
pub(crate) use self::keys::{ConnIndex, ReactorNumber};
pub(crate) use self::opening::{Entrance, Opening};
pub(crate) use self::remote::{Adoption, Command, Crew, First, Mailbox, Outlet, Wake};
pub(crate) use self::transport::Transport;
pub use self::{
    api::{
        Alignment, Answer, Config, Context, Ending, Feed, FirstTick, Handler, IntoNext, KeepAlive,
        Lifetime, Next, Sse, Stream, StreamCompression, TcpOptions,
    },
    keys::{StreamId, TimerId},
    later::{Later, Responder, Unanswered},
    remote::{Handle, TrySendError},
    stats::{
        BackplaneStats, ClosedCounts, DurationHistogram, FailedHandshakes, Histogram,
        RefusedCounts, RouteStats, Stats, TlsStats, TopicStats,
    },
};

use std::{collections::HashMap, fmt, mem, sync::Arc};

use self::{
    calls::Closures,
    core::{Core, Stopping},
    keys::TimerIndex,
    links::{Close, Links},
    memory::release,
    pending::{Birth, TimerCall},
};
use crate::{
    http::{Request, Response},
    span::Audiences,
    topic::Generations,
};

/// All connections of one reactor and the closures that feed them.
pub(crate) struct Engine<T> {
    core: Core,
    /// Closures of the streams, by connection.
    closures: Vec<Closures>,
    /// Closures of the application's timers and of the topics' updaters.
    timers: HashMap<TimerIndex, TimerCall>,
    links: Links<T>,
    handler: Box<dyn Handler>,
    /// The request being answered; its buffers are reused.
    request: Request,
    read_buffer: Box<[u8]>,
    head_buffer: Vec<u8>,
    /// More timers are due than one turn may fire.
    timers_wait: bool,
    /// Where listeners that only redirect send the requests of their connections.
    #[cfg(feature = "tls")]
    https_ports: HashMap<ConnIndex, u16>,
}

/// What to do with new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepting {
    On,
    /// Accept those already waiting, then close the listeners.
    WhatWaits,
    Nothing,
}

/// A poller's report about a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Readiness {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    pub(crate) short_read: ShortRead,
}

/// What a read that does not fill the buffer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShortRead {
    /// The socket is empty, and the poller will report further input.
    IsLast,
    /// There may be more that was already reported and will not be reported again: the peer's FIN,
    /// or bytes after a place where reads stop.
    MayBeFollowed,
}

impl<T: Transport> Engine<T> {
    /// `epoch` makes the event ids of this engine unique, so no two engines may have the same one.
    /// It consists of letters and digits.
    pub(crate) fn new(
        config: Config,
        epoch: String,
        waker: Box<dyn Wake>,
        handler: Box<dyn Handler>,
    ) -> Self {
        let connections = config.expected_connections.unwrap_or(0);
        Self {
            links: Links::new(connections, &config.limits),
            core: Core::new(config, epoch, Arc::new(Mailbox::new(waker))),
            closures: Vec::with_capacity(connections),
            timers: HashMap::new(),
            handler,
            request: Request::new(),
            read_buffer: vec![0; READ_BUFFER_BYTES].into(),
            head_buffer: Vec::new(),
            timers_wait: false,
            #[cfg(feature = "tls")]
            https_ports: HashMap::new(),
        }
    }

    /// Sets what tells the ids of this engine from those of others in the process; before the first
    /// connection.
    pub(crate) fn set_number(&mut self, number: ReactorNumber) {
        self.core.conns.set_reactor(number);
    }

    /// Joins a namespace: from here on, topics span all of its reactors unless they are local. Before
    /// the first connection, because topics that are in use stay local. `position` is the last place
    /// that the sequencer has given.
    pub(crate) fn join_namespace(
        &mut self,
        outlet: Arc<dyn Outlet>,
        generations: Generations,
        position: u64,
    ) {
        self.core.join_namespace(outlet, generations, position);
    }

    pub(crate) fn has_namespace(&self) -> bool {
        self.core.topics.has_namespace()
    }

    /// True if a topic is open.
    pub(crate) fn has_topics(&self) -> bool {
        !self.core.topics.is_empty()
    }

    /// Where subscribers are counted for other threads, from the first call on.
    pub(crate) fn audiences(&mut self) -> Arc<dyn Audiences> {
        self.core.audiences()
    }

    /// Becomes one of several workers: their limits and look-ups mean all of them. Before the first
    /// connection and the first topic.
    pub(crate) fn enlist(&mut self, crew: Arc<Crew>) {
        self.core.enlist(crew);
    }

    /// Sets a clock in nanoseconds that measures the time spent compressing, and in TLS handshakes.
    pub(crate) fn set_stopwatch(&mut self, stopwatch: fn() -> u64) {
        self.core.coding.set_stopwatch(stopwatch);
        self.links.set_stopwatch(stopwatch);
    }

    /// Sets a clock in nanoseconds that times user closures. It is read twice per call.
    pub(crate) fn set_call_clock(&mut self, clock_nanos: fn() -> u64) {
        self.core.watchdog.set_clock(clock_nanos);
    }

    /// Step 1 of the turn. Closures see the same time during the complete turn.
    pub(crate) fn begin_turn(&mut self, now: u64, unix_seconds: u64) {
        self.tell_time(now, unix_seconds);
        self.store_timers();
        self.core.conns.begin_turn();
        self.links.begin_turn(now);
    }

    /// Sets the time: milliseconds since the start, never going back, and Unix seconds for the
    /// `Date` header. Calls between two turns need it too: the time of the last turn may be long
    /// ago, and before the first turn there is none.
    pub(crate) fn tell_time(&mut self, now: u64, unix_seconds: u64) {
        self.core.tell_time(now, unix_seconds);
    }

    /// The connection with this token, if it is still open.
    pub(crate) fn find(&self, token: u32) -> Option<ConnIndex> {
        self.core.conns.find(token)
    }

    /// Borrows the transport of a newly accepted connection, to register it with a poller.
    pub(crate) fn transport(&mut self, index: ConnIndex) -> &mut T {
        self.links.get(index)
    }

    /// A connection whose transport has asked for reports of writability, or one that has taken its
    /// place since, with its transport. Each request comes once.
    pub(crate) fn next_refusing(&mut self) -> Option<(ConnIndex, &mut T)> {
        self.links.next_refusing()
    }

    /// Lends the context between two turns, with this time.
    pub(crate) fn context(&mut self, now: u64, unix_seconds: u64) -> Context<'_> {
        self.tell_time(now, unix_seconds);
        Context::new(&mut self.core)
    }

    /// A poller reported this connection; if it has ended since, nothing happens.
    pub(crate) fn ready(&mut self, token: u32, readiness: Readiness) {
        let Some(index) = self.core.conns.find(token) else { return };
        if readiness.writable {
            if let Err(error) = self.links.write_queued(index) {
                return self.lose(index, &error);
            }
            self.writable(index);
        }
        if readiness.readable {
            let short_read = match self.links.splits_reads(index) {
                true => ShortRead::MayBeFollowed,
                false => readiness.short_read,
            };
            self.readable(index, short_read);
        }
    }

    /// Steps 4 to 8 of the turn.
    pub(crate) fn end_turn(&mut self) {
        self.run_put_off_input();
        self.give_up_records();
        self.fire_due();
        self.take_arrivals();
        self.fan_out();
        self.settle();
        self.take_arrivals();
        if self.core.stopping == Stopping::Now {
            self.end_everything();
        }
        self.flush();
        // Events published before the end of a stream are kept until that end is settled.
        if self.core.pending.deaths() == 0 {
            self.core.topics.end_holds();
        }
        self.core.stats.log_bytes = self.core.topics.log_bytes() as u64;
        self.core.stats.compression = self.core.coding.stats();
        self.core.stats.published_late = self.core.mailbox.late().count();
        debug_assert!(
            self.core.stats.streams > 0
                || self.core.pending.deaths() > 0
                || self.core.topics.remembers_no_stream(),
            "nothing is remembered of streams that have ended"
        );
        self.release();
        self.release_large_buffers();
    }

    /// When the next turn is due if nothing else happens; now, if work was deferred.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        if self.has_pending() {
            return Some(self.core.now);
        }
        [self.core.conns.next_deadline(), self.links.next_deadline()].into_iter().flatten().min()
    }

    /// Work was deferred for fairness: the next turn must not wait.
    pub(crate) fn has_pending(&self) -> bool {
        self.timers_wait
            || self.core.conns.has_runnable()
            || self.core.conns.has_sent()
            || !self.core.pending.is_empty()
            || self.core.topics.has_passes()
            || self.links.next_deadline().is_some_and(|deadline| deadline <= self.core.now)
            || (self.core.stopping == Stopping::Now && self.core.stats.connections > 0)
    }

    /// A handle for other threads.
    pub(crate) fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.core.mailbox))
    }

    /// True while there are handles or responders.
    pub(crate) fn has_handles(&self) -> bool {
        Arc::strong_count(&self.core.mailbox) > 1
    }

    /// What this engine shares with its handles.
    pub(crate) fn mailbox(&self) -> &Mailbox {
        &self.core.mailbox
    }

    /// The same for others that push into the queue.
    pub(crate) fn shared_mailbox(&self) -> Arc<Mailbox> {
        Arc::clone(&self.core.mailbox)
    }

    /// What tells this engine from others in the process.
    pub(crate) fn number(&self) -> ReactorNumber {
        self.core.conns.reactor()
    }

    /// Replaces the handler; before the first connection.
    pub(crate) fn set_handler(&mut self, handler: Box<dyn Handler>) {
        self.handler = handler;
    }

    pub(crate) fn stats(&self) -> &Stats {
        &self.core.stats
    }

    /// Brings the statistics of topics up to date.
    pub(crate) fn refresh_stats(&mut self) {
        self.core.refresh_topics();
    }

    /// The same, and the copy of all statistics for other threads.
    pub(crate) fn publish_stats(&mut self) {
        self.refresh_stats();
        self.core.mailbox.copy_stats(&mut self.core.stats);
    }

    pub(crate) fn shutdown(&mut self) {
        self.core.begin_shutdown();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.core.stopping != Stopping::No
    }

    /// True when a shutdown or drain has nothing left to end.
    pub(crate) fn is_stopped(&self) -> bool {
        self.accepting() != Accepting::On && self.core.stats.connections == 0
    }

    /// Closes all connections without a message. Resets those with queued bytes, and those where an
    /// orderly close would look like the end of a stream.
    pub(crate) fn cut_everything(&mut self) {
        self.core.drop_promises();
        for index in self.core.conns.indices() {
            self.core.close_conn(index);
        }
        self.release();
    }

    /// Frees memory of this turn that exceeds what each buffer keeps; see `memory.rs`.
    fn release_large_buffers(&mut self) {
        self.request.release_large_buffers();
        release(&mut self.head_buffer);
        self.core.release_large_buffers();
    }

    fn release(&mut self) {
        while let Some((index, mut conn)) = self.core.conns.pop_closed() {
            self.core.stats.connections -= 1;
            let close = if conn.ends_with_a_reset() { Close::Reset } else { Close::InOrder };
            self.links.close(index, close);
            #[cfg(feature = "tls")]
            self.https_ports.remove(&index);
            conn.outbox.clear(&mut self.core.pool);
        }
        self.core.stats.tls = self.links.tls_stats();
    }
}

/// Closures are dropped one by one: two destructors that panic during one unwinding abort the
/// process.
impl<T> Drop for Engine<T> {
    fn drop(&mut self) {
        let core = &mut self.core;
        for command in core.mailbox.close() {
            core.drop_command(command);
        }
        core.drop_promises();
        while let Some(birth) = core.pending.next_birth() {
            match birth {
                Birth::Stream { sse, .. } => core.drop_sse(*sse),
                Birth::Review(_) | Birth::Render { .. } => {}
            }
        }
        let timers: Vec<_> = core.pending.take_timers().collect();
        for (_, call) in timers {
            core.drop_guarded(call);
        }
        while let Some(death) = core.pending.next_death() {
            core.drop_death(death);
        }
        for closures in self.closures.drain(..) {
            core.drop_closures(closures);
        }
        for (_, call) in self.timers.drain() {
            core.drop_guarded(call);
        }
        core.drop_guarded(mem::replace(&mut self.handler, Box::new(Gone)));
    }
}

/// Replaces a handler that has been dropped.
struct Gone;

impl Handler for Gone {
    fn handle(&mut self, _request: &mut Request, _cx: &mut Context<'_>) -> Answer {
        Response::no_content().into()
    }
}

impl<T> fmt::Debug for Engine<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("stats", &self.core.stats).finish_non_exhaustive()
    }
}

/// Shared by all connections. A request that fits is parsed where it was read.
const READ_BUFFER_BYTES: usize = 64 * 1024;
