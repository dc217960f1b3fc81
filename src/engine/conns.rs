//! Connections and timers: their slots, their deadlines, and the lists of connections that wait for
//! a step of the turn.
//!
//! These are kept together because only this file keeps them consistent. A slot is a key of the
//! wheel, a connection is on a list at most once, and a slot is reused only after
//! [`pop_closed`](Conns::pop_closed) has emptied it at the end of a turn. This file knows no
//! closure and no transport.

#[cfg(feature = "dashboard")]
mod slow_walk;

#[cfg(feature = "dashboard")]
pub(crate) use slow_walk::{Arrears, Progress, SlowStream, SlowWalk};

use std::{
    collections::VecDeque,
    mem,
    ops::{Index, IndexMut},
};

use slab::Slab;

use super::keys::{ConnIndex, ReactorNumber, StreamId, TimerId, TimerIndex};
use crate::{
    conn::{Admission, Conn, Phase},
    http::Peer,
    limits::Limits,
    time::next_period,
    wheel::{Due, Wheel},
};

/// All connections and timers of an engine.
#[derive(Debug)]
pub(super) struct Conns {
    /// Connections and timers share one range of keys, used by the wheel and the poller.
    slots: Slab<Slot>,
    wheel: Wheel,
    /// Connections with bytes to flush at the end of this turn.
    dirty: Vec<ConnIndex>,
    /// Connections that have only events from other closures, or more of a response than a turn's
    /// share; flushed in slices. Some may have been flushed since, or replaced in their slots.
    sent: VecDeque<ConnIndex>,
    /// Bytes sent while some of those wait; `None` if none wait.
    sent_meanwhile_bytes: Option<usize>,
    /// Connections with more to read, deferred for fairness.
    runnable: VecDeque<ConnIndex>,
    /// How many of those were deferred in earlier turns. The others have had their share of this
    /// one.
    runnable_now: usize,
    /// Connections that wait for the expensive part of their TLS handshake, in order. Each turn takes
    /// as many as it has time for, and looks at no others.
    handshakes: VecDeque<ConnIndex>,
    /// Connections whose slots are freed at the end of this turn.
    closed: Vec<ConnIndex>,
    generations: u32,
    /// The ids of other reactors' streams and timers are not ours.
    reactor: ReactorNumber,
}

#[derive(Debug)]
enum Slot {
    Conn(Conn),
    Timer(Timer),
}

/// A timer of the application; the engine holds its closure.
#[derive(Debug)]
pub(super) struct Timer {
    generation: u32,
    /// Zero for a timer that runs once.
    interval_ms: u32,
    deadline: u64,
}

/// Parameters of a new timer.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewTimer {
    pub(super) delay_ms: u64,
    /// Zero for a timer that runs once.
    pub(super) interval_ms: u32,
    pub(super) starts: Starts,
}

/// When a timer is armed for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Starts {
    Now,
    /// When there is a subscriber: [`Conns::restart_timer`].
    Later,
}

/// The result of [`Conns::repeat_timer`].
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Repeated {
    pub(super) late_ms: u64,
    /// Further runs whose deadline has passed.
    pub(super) missed: u64,
}

/// A slot whose deadline has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expired {
    Conn(ConnIndex),
    Timer(TimerIndex),
    /// No more are due now.
    Nothing,
    /// The wheel must move keys first, which takes more than this turn's share.
    Unfinished,
}

/// Slots.
impl Conns {
    /// Reserves room for this many connections, so that no table moves while it grows.
    pub(super) fn with_capacity(connections: usize) -> Self {
        let mut wheel = Wheel::new();
        wheel.reserve(connections);
        Self {
            slots: Slab::with_capacity(connections),
            wheel,
            dirty: Vec::new(),
            sent: VecDeque::new(),
            sent_meanwhile_bytes: None,
            runnable: VecDeque::new(),
            runnable_now: 0,
            handshakes: VecDeque::new(),
            closed: Vec::new(),
            generations: 0,
            reactor: ReactorNumber::default(),
        }
    }

    pub(super) fn open(&mut self, peer: Peer, phase: Phase, admission: Admission) -> ConnIndex {
        let conn = Conn::new(peer, self.next_generation(), phase, admission);
        ConnIndex::new(self.slots.insert(Slot::Conn(conn)))
    }

    pub(super) fn reactor(&self) -> ReactorNumber {
        self.reactor
    }

    pub(super) fn set_reactor(&mut self, number: ReactorNumber) {
        self.reactor = number;
    }

    /// A number that no stream or timer has had.
    pub(super) fn next_generation(&mut self) -> u32 {
        self.generations = self.generations.wrapping_add(1);
        self.generations
    }

    /// The connection with this poller token; `None` if it has ended since.
    pub(super) fn find(&self, token: u32) -> Option<ConnIndex> {
        let slot = token as usize;
        matches!(self.slots.get(slot), Some(Slot::Conn(_))).then(|| ConnIndex::new(slot))
    }

    /// All connections, in no particular order. Walks over every slot.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnIndex, &Conn)> {
        self.slots.iter().filter_map(|(slot, it)| match it {
            Slot::Conn(conn) => Some((ConnIndex::new(slot), conn)),
            Slot::Timer(_) => None,
        })
    }

    /// All current connections; for steps that close some of them while iterating.
    pub(super) fn indices(&self) -> Vec<ConnIndex> {
        self.iter().map(|(index, _)| index).collect()
    }

    /// Closes the connection: its slot is freed at the end of this turn. False if it was closed
    /// before.
    pub(super) fn close(&mut self, index: ConnIndex) -> bool {
        let is_open = self[index].close();
        if is_open {
            self.closed.push(index);
        }
        is_open
    }

    /// Removes a closed connection from its slot. Only at the end of a turn: until then, every
    /// [`ConnIndex`] of the turn must stay valid.
    pub(super) fn pop_closed(&mut self) -> Option<(ConnIndex, Conn)> {
        let index = self.closed.pop()?;
        self.wheel.cancel(index.token());
        match self.slots.remove(index.slot()) {
            Slot::Conn(conn) => Some((index, conn)),
            Slot::Timer(_) => unreachable!("a connection's key"),
        }
    }
}

/// Lists.
impl Conns {
    /// Lists the connection for the flush at the end of the turn. A blocked one waits for its
    /// socket instead.
    pub(super) fn mark_dirty(&mut self, index: ConnIndex) {
        if self[index].queued() {
            self.dirty.push(index);
        }
    }

    /// Takes the connections to flush, in listing order. Return the list with
    /// [`flushed`](Self::flushed) to reuse its memory.
    pub(super) fn take_dirty(&mut self) -> Vec<ConnIndex> {
        mem::take(&mut self.dirty)
    }

    pub(super) fn flushed(&mut self, mut list: Vec<ConnIndex>) {
        debug_assert!(self.dirty.is_empty(), "flushing queues nothing");
        list.clear();
        self.dirty = list;
    }

    /// Lists a connection to which another closure has sent this many bytes. If anything else is
    /// queued for it, everything leaves at the end of the turn.
    pub(super) fn mark_sent(&mut self, index: ConnIndex, bytes: usize) {
        if let Some(meanwhile) = &mut self.sent_meanwhile_bytes {
            *meanwhile += bytes;
        }
        if self[index].queued_by_other() {
            self.sent.push_back(index);
        }
    }

    /// Length of that list.
    pub(super) fn listed_for_sends(&self) -> usize {
        self.sent.len()
    }

    /// The next connection that has only events from other closures, among the next `listed`
    /// entries.
    pub(super) fn next_sent(&mut self, listed: &mut usize) -> Option<ConnIndex> {
        while *listed > 0 {
            *listed -= 1;
            let index = self.sent.pop_front()?;
            if let Some(Slot::Conn(conn)) = self.slots.get(index.slot())
                && conn.waits_with_sends()
            {
                return Some(index);
            }
        }
        None
    }

    pub(super) fn has_sent(&self) -> bool {
        !self.sent.is_empty()
    }

    /// A turn's share of these has been flushed; `still_waiting` entries remain from before that.
    pub(super) fn end_flush_of_sent(&mut self, still_waiting: usize) {
        let meanwhile = if still_waiting == 0 { 0 } else { self.sent_meanwhile_bytes() };
        self.sent_meanwhile_bytes = self.has_sent().then_some(meanwhile);
    }

    /// Bytes sent while earlier sends wait.
    pub(super) fn sent_meanwhile_bytes(&self) -> usize {
        self.sent_meanwhile_bytes.unwrap_or(0)
    }

    /// Lists the connection for further reading in the next turn; once, or it would get several
    /// shares.
    pub(super) fn put_off(&mut self, index: ConnIndex) {
        if self[index].put_off() {
            self.runnable.push_back(index);
        }
    }

    /// Starts a turn: it resumes everything deferred so far.
    pub(super) fn begin_turn(&mut self) {
        self.runnable_now = self.runnable.len();
    }

    /// The next connection that was deferred in an earlier turn.
    pub(super) fn take_up(&mut self) -> Option<ConnIndex> {
        while self.runnable_now > 0 {
            self.runnable_now -= 1;
            let index = self.runnable.pop_front()?;
            // It may have ended since, and its slot may have been reused.
            if let Some(Slot::Conn(conn)) = self.slots.get_mut(index.slot())
                && conn.take_up()
            {
                return Some(index);
            }
        }
        None
    }

    pub(super) fn has_runnable(&self) -> bool {
        !self.runnable.is_empty() || self.has_handshakes()
    }

    /// Lists the connection for its handshake.
    pub(super) fn put_off_handshake(&mut self, index: ConnIndex) {
        if self[index].put_off() {
            self.handshakes.push_back(index);
        }
    }

    pub(super) fn has_handshakes(&self) -> bool {
        !self.handshakes.is_empty()
    }

    /// The connection that has waited longest for its handshake.
    pub(super) fn take_up_handshake(&mut self) -> Option<ConnIndex> {
        while let Some(index) = self.handshakes.pop_front() {
            // As in `take_up`.
            if let Some(Slot::Conn(conn)) = self.slots.get_mut(index.slot())
                && conn.take_up()
            {
                return Some(index);
            }
        }
        None
    }
}

/// Streams.
impl Conns {
    /// The connection of an open stream; `None` once its end is decided.
    pub(super) fn live(&self, id: StreamId) -> Option<ConnIndex> {
        let Some(Slot::Conn(conn)) = self.slots.get(id.conn.slot()) else { return None };
        let is_it = id.reactor == self.reactor && conn.generation() == id.generation;
        (is_it && conn.is_live_stream()).then_some(id.conn)
    }

    /// The id of the stream on this connection.
    pub(super) fn stream_id(&self, index: ConnIndex) -> StreamId {
        StreamId { reactor: self.reactor, conn: index, generation: self[index].generation() }
    }

    /// The id of the stream on this connection, if it begins now.
    pub(super) fn next_stream_id(&self, index: ConnIndex) -> StreamId {
        let generation = self.generations.wrapping_add(1);
        StreamId { reactor: self.reactor, conn: index, generation }
    }

    pub(super) fn live_streams(&self) -> impl Iterator<Item = StreamId> + '_ {
        let live = self.iter().filter(|(_, conn)| conn.is_live_stream());
        live.map(|(conn, it)| StreamId { reactor: self.reactor, conn, generation: it.generation() })
    }
}

/// Timers.
impl Conns {
    /// Takes a slot for a timer and arms it, unless it starts later.
    pub(super) fn add_timer(&mut self, timer: NewTimer, now: u64) -> TimerId {
        let generation = self.next_generation();
        // Same deadline as `arm` computes; the slot and the wheel must agree.
        let deadline = now.saturating_add(timer.delay_ms.max(1));
        let slot = Timer { generation, interval_ms: timer.interval_ms, deadline };
        let index = TimerIndex::new(self.slots.insert(Slot::Timer(slot)));
        if timer.starts == Starts::Now {
            self.arm(index.token(), deadline, now);
        }
        TimerId { reactor: self.reactor, index, generation }
    }

    /// Disarms a timer. False when it had run out or does not exist. Its slot stays until it is
    /// [removed](Self::remove_timer).
    pub(super) fn cancel_timer(&mut self, id: TimerId) -> bool {
        let known = self
            .timer(id.index)
            .is_some_and(|timer| id.reactor == self.reactor && timer.generation == id.generation);
        known && self.disarm_timer(id.index)
    }

    /// Disarms a timer that the engine holds; false when it was not armed.
    pub(super) fn disarm_timer(&mut self, index: TimerIndex) -> bool {
        self.wheel.cancel(index.token())
    }

    /// Moves a repeating timer to its next period, without drift and without a burst after a pause.
    /// Called before its closure runs, which may change the deadline.
    pub(super) fn repeat_timer(&mut self, index: TimerIndex, now: u64) -> Repeated {
        let Some(timer) = self.timer(index) else { return Repeated::default() };
        let late_ms = now.saturating_sub(timer.deadline);
        let next = next_period(timer.deadline, timer.interval_ms, now);
        self.rearm_timer(index, next.deadline, now);
        Repeated { late_ms, missed: next.missed }
    }

    /// The timer runs at this time instead, if it is armed.
    pub(super) fn move_timer(&mut self, index: TimerIndex, deadline: u64, now: u64) {
        if self.wheel.deadline(index.token()).is_some() {
            self.rearm_timer(index, deadline, now);
        }
    }

    /// The timer runs one interval from now, armed or not.
    pub(super) fn restart_timer(&mut self, index: TimerIndex, now: u64) {
        if let Some(timer) = self.timer(index) {
            let deadline = now + u64::from(timer.interval_ms);
            self.rearm_timer(index, deadline, now);
        }
    }

    /// Frees a timer's slot.
    pub(super) fn remove_timer(&mut self, index: TimerIndex) {
        self.wheel.cancel(index.token());
        self.slots.remove(index.slot());
    }

    fn rearm_timer(&mut self, index: TimerIndex, deadline: u64, now: u64) {
        if let Some(Slot::Timer(timer)) = self.slots.get_mut(index.slot()) {
            timer.deadline = deadline.max(now + 1);
            self.arm(index.token(), deadline, now);
        }
    }

    fn timer(&self, index: TimerIndex) -> Option<&Timer> {
        match self.slots.get(index.slot()) {
            Some(Slot::Timer(timer)) => Some(timer),
            _ => None,
        }
    }
}

/// Deadlines.
impl Conns {
    /// Sets the connection's one timer to the deadline of its state.
    pub(super) fn rearm(&mut self, index: ConnIndex, now: u64, limits: &Limits) {
        match self[index].deadline(limits) {
            Some(deadline) => self.arm(index.token(), deadline, now),
            None => {
                self.wheel.cancel(index.token());
            }
        }
    }

    /// The next slot whose deadline has come. Its timer is disarmed. `moves` limits the work of the
    /// wheel; see [`Wheel::pop_due`].
    pub(super) fn pop_due(&mut self, now: u64, moves: &mut u32) -> Expired {
        let (key, deadline) = match self.wheel.pop_due(now, moves) {
            Due::Key(key, deadline) => (key, deadline),
            Due::Nothing => return Expired::Nothing,
            Due::Unfinished => return Expired::Unfinished,
        };
        let slot = key as usize;
        match &self.slots[slot] {
            Slot::Conn(_) => Expired::Conn(ConnIndex::new(slot)),
            Slot::Timer(timer) => {
                debug_assert_eq!(timer.deadline, deadline, "slot and wheel agree");
                Expired::Timer(TimerIndex::new(slot))
            }
        }
    }

    /// Until when nothing is due; see [`Wheel::next_deadline`].
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.wheel.next_deadline()
    }

    /// A timer armed in a turn is never due in the same turn, so a zero delay cannot starve
    /// sockets.
    fn arm(&mut self, key: u32, deadline: u64, now: u64) {
        let is_due = |deadline| deadline <= now;
        let armed = self.wheel.deadline(key);
        // Already due and about to fire: a socket that is busy in every turn must not defer it.
        if is_due(deadline) && armed.is_some_and(is_due) {
            return;
        }
        let deadline = deadline.max(now + 1);
        // After a tick the deadline is usually unchanged.
        if armed != Some(deadline) {
            self.wheel.arm(key, deadline);
        }
    }
}

impl Index<ConnIndex> for Conns {
    type Output = Conn;

    fn index(&self, index: ConnIndex) -> &Conn {
        match self.slots.get(index.slot()) {
            Some(Slot::Conn(conn)) => conn,
            _ => panic!("{OUTLIVED}"),
        }
    }
}

impl IndexMut<ConnIndex> for Conns {
    fn index_mut(&mut self, index: ConnIndex) -> &mut Conn {
        match self.slots.get_mut(index.slot()) {
            Some(Slot::Conn(conn)) => conn,
            _ => panic!("{OUTLIVED}"),
        }
    }
}

/// Slots are freed only at the end of a turn, and holders of a key across turns look it up first
/// (`find`, `live`, `take_up`).
const OUTLIVED: &str = "a ConnIndex outlived its connection";
