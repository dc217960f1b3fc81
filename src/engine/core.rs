//! [`Core`]: the state of the engine.
//!
//! No method here ever calls user code. What users' closures ask for while they run is either a
//! matter of bytes and happens at once, or becomes data in `births` and `deaths` that the
//! [`Engine`](super::Engine) settles when no user code is on the stack. So nothing here can be
//! entered twice, and no cell and no reference count is needed.

use std::{
    collections::VecDeque,
    fmt, mem,
    time::{Duration, SystemTime},
};

use slab::Slab;

use super::{
    admission::Crowd,
    asker::Asker,
    codec::{Codec, Source},
    config::Config,
    context::{Context, TimerId},
    feed::Feed,
    next::Next,
    output::Output as Scratch,
    sse::Sse,
    stats::Stats,
    stream::StreamId,
    tags::Tags,
    topics::Topics,
    watchdog::{Routes, Watchdog},
};
use crate::{
    compress::{Compressor, Encoding},
    conn::{Admission, Afterwards, Conn, Ending, Goodbye, NO_CODEC, Output, Phase, Pool},
    error::CloseReason,
    http::{Date, Peer},
    sse::{Encode, EventBuffer},
    topic::Allowed,
    wheel::Wheel,
};

#[derive(Debug)]
pub(crate) struct Core {
    /// Milliseconds since the start; set once per turn.
    pub(super) now: u64,
    pub(super) date: Date,
    pub(super) config: Config,
    pub(super) stats: Stats,
    /// Connections and users' timers share one range of keys: the wheel's keys, and the poller's.
    pub(super) slots: Slab<Slot>,
    pub(super) wheel: Wheel,
    pub(super) births: VecDeque<Birth>,
    pub(super) deaths: VecDeque<Death>,
    /// Connections with bytes to flush at the end of this turn.
    pub(super) dirty: Vec<u32>,
    /// Connections with more to read, put off for fairness.
    pub(super) runnable: VecDeque<u32>,
    /// Slots to give up at the end of this turn.
    pub(super) released: Vec<u32>,
    /// The stream whose closure runs at this moment; what it sends goes to `scratch`.
    pub(super) lent: Option<u32>,
    pub(super) scratch: Scratch,
    /// Where events for other streams are encoded.
    pub(super) aside: Scratch,
    pub(super) compressor: Compressor,
    /// What is remembered of compressed streams.
    pub(super) codecs: Slab<Codec>,
    /// Compressed events on their way to a socket or outbox.
    pub(super) coded: Scratch,
    pub(super) pool: Pool,
    pub(super) topics: Topics,
    /// Where events to be published are encoded.
    pub(super) publish_buffer: EventBuffer,
    pub(super) tags: Tags,
    pub(super) crowd: Crowd,
    /// How many were told to come back later; each is given another delay.
    pub(super) told_to_wait: u64,
    pub(super) watchdog: Watchdog,
    pub(super) routes: Routes,
    pub(super) stopping: Stopping,
    generations: u32,
}

#[derive(Debug)]
pub(super) enum Slot {
    Conn(Conn),
    Timer(Timer),
}

/// A timer of the user's; its closure waits in the engine.
#[derive(Debug)]
pub(super) struct Timer {
    pub(super) generation: u32,
    /// Zero for a timer that runs once.
    pub(super) interval_ms: u32,
    pub(super) deadline: u64,
}

pub(super) enum TimerCall {
    Once(Box<dyn FnOnce(&mut Context<'_>)>),
    Repeating(Box<dyn FnMut(&mut Context<'_>) -> Next>),
    /// The updater of a topic.
    Drive(u32, TopicUpdater),
}

pub(super) type TopicUpdater = Box<dyn FnMut(&mut Feed<'_>) -> Next>;

/// What the birth of a stream needs to know of its request.
#[derive(Debug)]
pub(super) struct Remembered {
    pub(super) last_event_id: Option<Box<str>>,
    pub(super) encoding: Encoding,
    /// For a stream that may be one too many of its tag.
    pub(super) asker: Option<Asker>,
    pub(super) route: u16,
}

/// Closures on their way in.
#[derive(Debug)]
pub(super) enum Birth {
    Stream {
        index: u32,
        sse: Box<Sse>,
        request: Remembered,
    },
    Timer {
        index: u32,
        call: TimerCall,
    },
    /// A driven topic has got its first subscriber: render for it at once.
    Render {
        topic: u32,
        timer: u32,
    },
}

/// Closures on their way out.
#[derive(Debug)]
pub(super) enum Death {
    Stream {
        id: StreamId,
        reason: CloseReason,
        /// The last event of any topic that was published before the end was decided.
        last_sequence: u64,
    },
    Timer(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopping {
    No,
    /// Streams leave until this tick.
    Draining {
        until: u64,
        window_ms: u64,
    },
    /// Everything is given up at the end of this turn.
    Now,
}

impl Core {
    pub(super) fn new(config: Config, epoch: String) -> Self {
        let mut wheel = Wheel::new();
        let watchdog = Watchdog::new(config.slow_call);
        let compressor = Compressor::new(&config.compression);
        let connections = config.expected_connections.unwrap_or(0);
        wheel.reserve(connections);
        Self {
            slots: Slab::with_capacity(connections),
            wheel,
            now: 0,
            date: Date::new(),
            config,
            stats: Stats::default(),
            births: VecDeque::new(),
            deaths: VecDeque::new(),
            dirty: Vec::new(),
            runnable: VecDeque::new(),
            released: Vec::new(),
            lent: None,
            scratch: Scratch::new(),
            aside: Scratch::new(),
            compressor,
            codecs: Slab::new(),
            coded: Scratch::new(),
            pool: Pool::default(),
            topics: Topics::new(epoch),
            publish_buffer: EventBuffer::new(),
            tags: Tags::default(),
            crowd: Crowd::default(),
            told_to_wait: 0,
            watchdog,
            routes: Routes::default(),
            stopping: Stopping::No,
            generations: 0,
        }
    }

    pub(super) fn system_time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.date.unix_seconds())
    }

    pub(super) fn conn(&mut self, index: u32) -> Option<&mut Conn> {
        match self.slots.get_mut(index as usize) {
            Some(Slot::Conn(conn)) => Some(conn),
            _ => None,
        }
    }

    pub(super) fn peer(&self, index: u32) -> Peer {
        match self.slots.get(index as usize) {
            Some(Slot::Conn(conn)) => conn.peer(),
            _ => Peer::Unix,
        }
    }

    pub(super) fn add_conn(&mut self, peer: Peer, admission: Admission) -> u32 {
        let mut conn = Conn::new(peer, self.next_generation(), self.now, admission);
        if self.stopping != Stopping::No {
            conn.afterwards = Afterwards::Close;
        }
        let index = self.add_slot(Slot::Conn(conn));
        self.stats.connections += 1;
        self.rearm(index);
        index
    }

    pub(super) fn next_generation(&mut self) -> u32 {
        self.generations = self.generations.wrapping_add(1);
        self.generations
    }

    fn add_slot(&mut self, slot: Slot) -> u32 {
        // Every slot is a descriptor or a boxed closure: memory ends long before 2^32 of them.
        u32::try_from(self.slots.insert(slot)).expect("fewer than 2^32 slots")
    }

    /// True while `id` means an open stream.
    pub(super) fn is_live(&self, id: StreamId) -> bool {
        matches!(self.slots.get(id.index as usize),
            Some(Slot::Conn(conn)) if conn.generation == id.generation && conn.is_live_stream())
    }

    pub(super) fn live_streams(&self) -> impl Iterator<Item = StreamId> + '_ {
        self.slots.iter().filter_map(|(index, slot)| match slot {
            Slot::Conn(conn) if conn.is_live_stream() => {
                Some(StreamId { index: index as u32, generation: conn.generation })
            }
            _ => None,
        })
    }

    pub(super) fn age(&self, id: StreamId) -> Option<Duration> {
        match self.slots.get(id.index as usize) {
            Some(Slot::Conn(Conn { generation, phase: Phase::Streaming(streaming), .. }))
                if *generation == id.generation && streaming.ending.is_none() =>
            {
                let now_s = self.now / 1000;
                Some(Duration::from_secs(now_s.saturating_sub(streaming.born_s.into())))
            }
            _ => None,
        }
    }

    pub(super) fn queued_bytes(&self, id: StreamId) -> Option<usize> {
        match self.slots.get(id.index as usize) {
            Some(Slot::Conn(conn)) if self.is_live(id) => Some(conn.outbox.len()),
            _ => None,
        }
    }

    /// Encodes an event for a stream; false when the stream has ended.
    pub(super) fn send(&mut self, id: StreamId, event: &impl Encode, compression: Allowed) -> bool {
        if !self.is_live(id) {
            return false;
        }
        self.stats.events += 1;
        if self.lent == Some(id.index) {
            self.scratch.push_with(event, compression);
            return true;
        }
        self.aside.begin();
        self.aside.push_with(event, compression);
        if self.aside.has_id() {
            self.push_bookmark(id.index, Source::Aside);
        }
        let bytes_max = self.config.limits.outbox_bytes;
        let event_bytes = self.aside.events().len();
        // Only a socket that has refused bytes makes a client slow; within a turn everybody is.
        if let Some(conn) = self.conn(id.index)
            && conn.output == Output::Blocked
            && conn.outbox.len() + event_bytes > bytes_max
        {
            self.end_stream(id, CloseReason::Slow);
            return false;
        }
        self.queue_aside(id.index);
        self.mark_dirty(id.index);
        true
    }

    /// Appends the events in `aside` to a stream's outbox, compressed if the stream is.
    pub(super) fn queue_aside(&mut self, index: u32) {
        let Some(Slot::Conn(conn)) = self.slots.get_mut(index as usize) else { return };
        let (codec, framing) = (conn.codec, conn.framing);
        if codec == NO_CODEC {
            return conn.outbox.push(self.aside.seal(framing), &mut self.pool);
        }
        self.coded.begin();
        self.code(codec, Source::Aside);
        let Some(Slot::Conn(conn)) = self.slots.get_mut(index as usize) else { return };
        conn.outbox.push(self.coded.seal(framing), &mut self.pool);
    }

    /// Ends a stream if `id` still means one.
    pub(super) fn close(&mut self, id: StreamId, reason: CloseReason) -> bool {
        let lives = self.is_live(id);
        if lives {
            self.end_stream(id, reason);
        }
        lives
    }

    /// Decides the end of the stream on connection `index`, unless that has been decided before.
    pub(super) fn end_stream_at(&mut self, index: u32, reason: CloseReason) {
        if let Some(conn) = self.conn(index)
            && conn.is_live_stream()
        {
            let id = StreamId { index, generation: conn.generation };
            self.end_stream(id, reason);
        }
    }

    fn end_stream(&mut self, id: StreamId, reason: CloseReason) {
        if let Some(Slot::Conn(conn)) = self.slots.get_mut(id.index as usize)
            && let Phase::Streaming(streaming) = &mut conn.phase
        {
            streaming.ending = Some(match reason {
                CloseReason::Finished => Ending::Finish,
                CloseReason::Disconnected | CloseReason::Io(_) | CloseReason::Slow => Ending::Abort,
                _ => Ending::Drop,
            });
            for &subscription in streaming.subscriptions.as_slice() {
                if let Some((_, cursor)) = self.topics.position_on(subscription) {
                    self.topics.hold(subscription.topic, cursor);
                }
            }
            let last_sequence = self.topics.last_sequence();
            self.deaths.push_back(Death::Stream { id, reason, last_sequence });
        }
    }

    /// Lists the connection for the flush at the end of the turn. A blocked one waits for its
    /// socket instead.
    pub(super) fn mark_dirty(&mut self, index: u32) {
        if let Some(Slot::Conn(conn)) = self.slots.get_mut(index as usize)
            && conn.output == Output::Quiet
        {
            conn.output = Output::Dirty;
            self.dirty.push(index);
        }
    }

    /// Lists the connection for reading on in the next turn; once, or it would get several shares.
    pub(super) fn put_off(&mut self, index: u32) {
        if let Some(conn) = self.conn(index)
            && !mem::replace(&mut conn.is_put_off, true)
        {
            self.runnable.push_back(index);
        }
    }

    /// Puts the connection's one timer where its state says.
    pub(super) fn rearm(&mut self, index: u32) {
        let limits = &self.config.limits;
        let Some(Slot::Conn(conn)) = self.slots.get(index as usize) else { return };
        match conn.deadline(limits) {
            Some(deadline) => self.arm(index, deadline),
            None => {
                self.wheel.cancel(index);
            }
        }
    }

    /// A timer armed in a turn is never due in the same turn: a zero delay cannot starve sockets.
    fn arm(&mut self, index: u32, deadline: u64) {
        let is_due = |deadline| deadline <= self.now;
        let armed = self.wheel.deadline(index);
        // Due already, and about to fire: a socket that is busy in every turn must not put it off.
        if is_due(deadline) && armed.is_some_and(is_due) {
            return;
        }
        let deadline = deadline.max(self.now + 1);
        // Behind a tick it mostly stays where it is.
        if armed != Some(deadline) {
            self.wheel.arm(index, deadline);
        }
    }

    /// Gives the connection up at the end of this turn.
    pub(super) fn release(&mut self, index: u32) {
        if let Some(conn) = self.conn(index)
            && !matches!(conn.phase, Phase::Closed { .. })
        {
            let goodbye = match conn.phase {
                Phase::Draining { goodbye, .. } => goodbye,
                _ => Goodbye::Fin,
            };
            conn.phase = Phase::Closed { goodbye };
            self.released.push(index);
        }
    }

    pub(super) fn add_timer(
        &mut self,
        delay_ms: u64,
        interval_ms: u32,
        call: TimerCall,
    ) -> TimerId {
        let generation = self.next_generation();
        // What `arm` would make of it; the slot and the wheel must agree.
        let deadline = self.now.saturating_add(delay_ms.max(1));
        let index = self.add_slot(Slot::Timer(Timer { generation, interval_ms, deadline }));
        // The updater of a topic runs only while somebody listens.
        if !matches!(call, TimerCall::Drive(..)) {
            self.arm(index, deadline);
        }
        self.births.push_back(Birth::Timer { index, call });
        TimerId { index, generation }
    }

    pub(super) fn cancel_timer(&mut self, id: TimerId) -> bool {
        let known = matches!(self.slots.get(id.index as usize),
            Some(Slot::Timer(timer)) if timer.generation == id.generation);
        // The slot is reused only in `settle`, so that a birth queued before still finds it.
        known && self.wheel.cancel(id.index) && {
            self.deaths.push_back(Death::Timer(id.index));
            true
        }
    }

    /// Re-arms a repeating timer before its closure runs; see [`Timer`].
    pub(super) fn rearm_timer(&mut self, index: u32, deadline: u64) {
        if let Some(Slot::Timer(timer)) = self.slots.get_mut(index as usize) {
            timer.deadline = deadline;
            self.arm(index, deadline);
        }
    }

    pub(super) fn begin_shutdown(&mut self) {
        self.stopping = Stopping::Now;
    }
}

impl fmt::Debug for TimerCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Once(_) => "Once",
            Self::Repeating(_) => "Repeating",
            Self::Drive(..) => "Drive",
        })
    }
}
