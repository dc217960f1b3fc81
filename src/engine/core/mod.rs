//! [`Core`]: the state of the engine.
//!
//! Its methods never call user code. A request of a closure is either a matter of bytes and happens
//! immediately, or becomes data in [`Pending`] that the [`Engine`](super::Engine) settles when no
//! user code is on the stack. So nothing here is reentrant, and no cell or reference count is
//! needed.
//!
//! It is composed of parts with private fields. Code that needs several parts is a method of
//! `Core`: here if several steps of a turn use it, otherwise next to its step.

mod admission;
mod bookmark;
mod calls;
mod closings;
mod drive;
mod figures;
mod finish;
mod namespace;
mod negotiation;
mod promises;
mod publish;
mod slow_clients;
#[cfg(feature = "dashboard")]
mod slow_walk;
mod subscribe;
mod workers;

pub(in crate::engine) use closings::close_elsewhere;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::engine::{
    admission::Occupancy,
    api::Config,
    calls::{routes::Routes, watchdog::Watchdog},
    coding::Coding,
    conns::{Conns, NewTimer, Starts},
    keys::{ConnIndex, StreamId, TimerId},
    later::Waiting,
    memory::KEPT_BYTES,
    pending::{Death, Pending, TimerCall},
    remote::{Crew, Mailbox},
    scratch::Scratch,
    stats::Stats,
    tags::Tags,
    topics::Topics,
};
use crate::{
    conn::{Admission, Phase, Pool, StreamEnd},
    error::CloseReason,
    http::{Date, Peer},
    span::Once,
    sse::{Encode, EventBuffer},
    topic::Compressible,
};

#[derive(Debug)]
pub(crate) struct Core {
    /// Milliseconds since the start; set once per turn, and when the context is lent between turns.
    pub(in crate::engine) now: u64,
    pub(in crate::engine) date: Date,
    pub(in crate::engine) config: Config,
    pub(in crate::engine) stats: Stats,
    pub(in crate::engine) conns: Conns,
    pub(in crate::engine) pending: Pending,
    /// The stream whose closure is running; its output goes to `scratch`.
    pub(in crate::engine) lent: Option<ConnIndex>,
    pub(in crate::engine) scratch: Scratch,
    /// Where events for other streams are encoded.
    pub(in crate::engine) aside: Scratch,
    /// Where events to be published are encoded.
    pub(in crate::engine) publish_buffer: EventBuffer,
    /// Keys of events that are published once; nearly always none.
    once: Option<Box<Once>>,
    pub(in crate::engine) coding: Coding,
    pub(in crate::engine) pool: Pool,
    pub(in crate::engine) topics: Topics,
    pub(in crate::engine) tags: Tags,
    pub(in crate::engine) occupancy: Occupancy,
    /// Requests whose answer comes later.
    pub(in crate::engine) waiting: Waiting,
    /// Number of clients asked to retry later; each gets a different delay.
    pub(in crate::engine) told_to_wait: u64,
    /// Number of streams opened with a maximum age; ranges of ages are spread over them.
    pub(in crate::engine) aging: u64,
    pub(in crate::engine) watchdog: Watchdog,
    pub(in crate::engine) routes: Routes,
    pub(in crate::engine) stopping: Stopping,
    /// Shared with the handles to this reactor.
    pub(in crate::engine) mailbox: Arc<Mailbox>,
    /// Requests of other machines to close streams were obeyed up to this place.
    closings_up_to: u64,
    /// The workers of which this is one.
    crew: Option<Arc<Crew>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Stopping {
    No,
    /// Streams leave until this tick, and connections are accepted until an earlier one.
    Draining {
        until: u64,
        window_ms: u64,
        accepts_until: u64,
    },
    /// Everything is closed at the end of this turn.
    Now,
}

/// Which buffer a bookmark goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Buffer {
    /// The buffer of the stream whose closure is running.
    Scratch,
    /// The buffer for other streams.
    Aside,
}

/// The result of [`Core::even_out`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Evened {
    /// The stream can have shared frames.
    Out,
    /// Something was queued; there may be more.
    Further,
    /// The next due frame is not for this stream.
    NotYet,
}

impl Core {
    pub(in crate::engine) fn new(config: Config, epoch: String, mailbox: Arc<Mailbox>) -> Self {
        let mut stats = Stats::default();
        stats.routes.begin_routes();
        Self {
            now: 0,
            date: Date::new(),
            stats,
            conns: Conns::with_capacity(config.expected_connections.unwrap_or(0)),
            pending: Pending::default(),
            lent: None,
            scratch: Scratch::new(),
            aside: Scratch::new(),
            publish_buffer: EventBuffer::new(),
            once: None,
            coding: Coding::new(&config.compression),
            pool: Pool::default(),
            topics: Topics::new(epoch, config.compression.window_bytes_max),
            tags: Tags::default(),
            occupancy: Occupancy::default(),
            waiting: Waiting::default(),
            told_to_wait: 0,
            aging: 0,
            watchdog: Watchdog::new(config.slow_call),
            routes: Routes::default(),
            stopping: Stopping::No,
            mailbox,
            closings_up_to: 0,
            crew: None,
            config,
        }
    }

    pub(in crate::engine) fn tell_time(&mut self, now: u64, unix_seconds: u64) {
        debug_assert!(now >= self.now, "time went back");
        self.now = now;
        self.date.set(unix_seconds);
    }

    pub(in crate::engine) fn system_time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.date.unix_seconds())
    }

    pub(in crate::engine) fn begin_drain(&mut self, draining: Stopping) {
        self.stopping = draining;
        let limits = &mut self.config.limits;
        for timeout in [
            &mut limits.tls_handshake_timeout,
            &mut limits.first_request_timeout,
            &mut limits.idle_timeout,
        ] {
            *timeout = IDLE_WHILE_DRAINING.min(*timeout);
        }
    }

    /// Frees memory of this turn that exceeds what each buffer keeps; see `memory.rs`.
    pub(in crate::engine) fn release_large_buffers(&mut self) {
        self.scratch.release_large_buffers();
        self.aside.release_large_buffers();
        self.coding.out().release_large_buffers();
        if self.publish_buffer.capacity() > KEPT_BYTES {
            self.publish_buffer = EventBuffer::new();
        }
        self.topics.release_large_buffers();
    }

    pub(in crate::engine) fn begin_shutdown(&mut self) {
        self.stopping = Stopping::Now;
    }
}

/// Connections.
impl Core {
    pub(in crate::engine) fn add_conn(
        &mut self,
        peer: Peer,
        phase: Phase,
        admission: Admission,
    ) -> ConnIndex {
        let index = self.conns.open(peer, phase, admission);
        if self.stopping != Stopping::No {
            self.conns[index].close_afterwards();
        }
        self.stats.connections += 1;
        self.rearm(index);
        index
    }

    /// Closes a connection: its slot is freed at the end of this turn, its place in the limits now.
    pub(in crate::engine) fn close_conn(&mut self, index: ConnIndex) {
        if self.conns.close(index) {
            self.free_place(index);
            self.abandon_promise(index);
        }
    }

    /// Sets the connection's one timer to the deadline of its state.
    pub(in crate::engine) fn rearm(&mut self, index: ConnIndex) {
        self.conns.rearm(index, self.now, &self.config.limits);
    }

    pub(in crate::engine) fn peer_of(&self, id: StreamId) -> Option<Peer> {
        self.conns.live(id).map(|index| self.conns[index].peer())
    }

    pub(in crate::engine) fn age(&self, id: StreamId) -> Option<Duration> {
        let streaming = self.conns[self.conns.live(id)?].streaming()?;
        Some(streaming.age(self.now))
    }

    pub(in crate::engine) fn queued_bytes(&self, id: StreamId) -> Option<usize> {
        self.conns.live(id).map(|index| self.conns[index].outbox.len())
    }
}

/// Streams.
impl Core {
    /// Encodes an event for a stream; false when the stream has ended.
    pub(in crate::engine) fn send(
        &mut self,
        id: StreamId,
        event: &impl Encode,
        compression: Compressible,
    ) -> bool {
        let Some(index) = self.conns.live(id) else { return false };
        self.stats.events += 1;
        if self.lent == Some(index) {
            self.scratch.push_with(event, compression);
            return true;
        }
        self.aside.begin();
        self.aside.push_with(event, compression);
        if self.aside.has_id() {
            self.push_bookmark(index, Buffer::Aside);
        }
        // A client is slow only if its socket has refused bytes; others wait for the flush.
        let conn = &self.conns[index];
        let queued_bytes = conn.outbox.len() + self.aside.events().len();
        if conn.is_blocked() && queued_bytes > self.config.limits.outbox_bytes {
            self.end_stream(index, CloseReason::Slow);
            return false;
        }
        self.queue_aside(index);
        self.conns.mark_sent(index, self.aside.events().len());
        true
    }

    /// Appends the events in `aside` to a stream's outbox, compressed if the stream is.
    pub(in crate::engine) fn queue_aside(&mut self, index: ConnIndex) {
        let conn = &mut self.conns[index];
        let framing = conn.framing();
        let bytes = match conn.coding() {
            None => self.aside.seal(framing),
            Some(coding) => {
                self.coding.begin();
                self.coding.add(coding, &self.aside).seal(framing)
            }
        };
        conn.outbox.push(bytes, &mut self.pool);
    }

    /// Ends a stream if `id` is still valid.
    pub(in crate::engine) fn close(&mut self, id: StreamId, reason: CloseReason) -> bool {
        self.conns.live(id).is_some_and(|index| self.end_stream(index, reason))
    }

    /// Decides the end of the stream on this connection; false if it was decided before, or if
    /// there is no stream. From here on the stream is not counted anywhere, although its last
    /// events are still to be written and its hooks to be run.
    pub(in crate::engine) fn end_stream(&mut self, index: ConnIndex, reason: CloseReason) -> bool {
        let ending = match reason {
            CloseReason::Finished | CloseReason::TopicsFinished | CloseReason::Replaced => {
                StreamEnd::Finish
            }
            CloseReason::Disconnected | CloseReason::Io(_) | CloseReason::Slow => StreamEnd::Abort,
            _ => StreamEnd::Drop,
        };
        let conn = &mut self.conns[index];
        if !conn.end_stream(ending) {
            return false;
        }
        for &subscription in conn.subscriptions() {
            self.topics.begin_leaving(subscription);
        }
        let id = self.conns.stream_id(index);
        self.tags.end(id);
        self.count_ended(index);
        self.occupancy.leave_proxied(index);
        if ending == StreamEnd::Abort {
            self.free_place(index);
        }
        let published = self.topics.progress();
        self.pending.add_death(Death::Stream { id, reason, published });
        true
    }
}

/// Timers.
impl Core {
    pub(in crate::engine) fn add_timer(
        &mut self,
        delay_ms: u64,
        interval_ms: u32,
        call: TimerCall,
    ) -> TimerId {
        // The updater of a topic runs only while there are subscribers.
        let starts = match call {
            TimerCall::Drive(..) => Starts::Later,
            TimerCall::Once(_) | TimerCall::Repeating(_) => Starts::Now,
        };
        let id = self.conns.add_timer(NewTimer { delay_ms, interval_ms, starts }, self.now);
        self.pending.add_timer(id.index, call);
        id
    }

    pub(in crate::engine) fn cancel_timer(&mut self, id: TimerId) -> bool {
        // The slot is reused only after `settle`, so that a birth queued before still finds it.
        let was_armed = self.conns.cancel_timer(id);
        if was_armed {
            self.pending.add_death(Death::Timer(id.index));
        }
        was_armed
    }
}

/// How long a connection may wait for a request during a drain: enough for one that is already on
/// its way.
const IDLE_WHILE_DRAINING: Duration = Duration::from_secs(1);
