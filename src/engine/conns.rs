//! Connections and timers: their slots, their deadlines, and the lists of what waits for a step of
//! the turn.
//!
//! Everything here belongs together because it is kept consistent here and nowhere else: a slot is
//! a key of the wheel, a connection is on a list at most once, and a slot is used again only after
//! [`pop_closed`](Conns::pop_closed) has emptied it at the end of a turn. This file knows no
//! closure and no transport.

use std::{
    collections::VecDeque,
    mem,
    ops::{Index, IndexMut},
};

use slab::Slab;

use super::keys::{ConnIndex, StreamId, TimerId, TimerIndex};
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
    /// Connections and timers share one range of keys: the wheel's, and the poller's.
    slots: Slab<Slot>,
    wheel: Wheel,
    /// Connections with bytes to flush at the end of this turn.
    dirty: Vec<ConnIndex>,
    /// Connections with nothing but what others have sent, or with more of a response than a turn's share,
    /// to be flushed in slices. Some have been flushed since, or are others by now.
    sent: VecDeque<ConnIndex>,
    /// Bytes sent while some of those had to wait; `None` if none had to.
    sent_meanwhile_bytes: Option<usize>,
    /// Connections with more to read, put off for fairness.
    runnable: VecDeque<ConnIndex>,
    /// How many of those were put off in earlier turns. The others have had their share of this one.
    runnable_now: usize,
    /// Connections whose slots are given up at the end of this turn.
    closed: Vec<ConnIndex>,
    generations: u32,
}

#[derive(Debug)]
enum Slot {
    Conn(Conn),
    Timer(Timer),
}

/// A timer of the application's; its closure waits in the engine.
#[derive(Debug)]
pub(super) struct Timer {
    generation: u32,
    /// Zero for a timer that runs once.
    interval_ms: u32,
    deadline: u64,
}

/// A timer to be.
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
    /// When somebody listens: [`Conns::restart_timer`].
    Later,
}

/// How the present run of a repeating timer came about.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Repeated {
    pub(super) late_ms: u64,
    /// Runs whose time has passed too.
    pub(super) missed: u64,
}

/// A slot whose deadline has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expired {
    Conn(ConnIndex),
    Timer(TimerIndex),
    /// No more of them now.
    Nothing,
    /// The wheel has to be put in order first, which takes more than this turn's share.
    Unfinished,
}

/// Slots.
impl Conns {
    /// Room for so many connections is made now, so that no table moves while it grows.
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
            closed: Vec::new(),
            generations: 0,
        }
    }

    pub(super) fn open(&mut self, peer: Peer, phase: Phase, admission: Admission) -> ConnIndex {
        let conn = Conn::new(peer, self.next_generation(), phase, admission);
        ConnIndex::new(self.slots.insert(Slot::Conn(conn)))
    }

    /// A number that no stream and no timer has had.
    pub(super) fn next_generation(&mut self) -> u32 {
        self.generations = self.generations.wrapping_add(1);
        self.generations
    }

    /// The connection that a poller means; `None` if it has ended since.
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

    /// Every connection there is now; for steps that close some of them as they go.
    pub(super) fn indices(&self) -> Vec<ConnIndex> {
        self.iter().map(|(index, _)| index).collect()
    }

    /// Closes the connection: its slot is given up at the end of this turn. False if it was closed
    /// before.
    pub(super) fn close(&mut self, index: ConnIndex) -> bool {
        let is_open = self[index].close();
        if is_open {
            self.closed.push(index);
        }
        is_open
    }

    /// Takes a closed connection out of its slot. Only at the end of a turn: until then, every
    /// [`ConnIndex`] of the turn has to mean what it meant.
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

    /// What is to be flushed, in the order in which it was listed. Give the list back with
    /// [`flushed`](Self::flushed), so that its memory is used again.
    pub(super) fn take_dirty(&mut self) -> Vec<ConnIndex> {
        mem::take(&mut self.dirty)
    }

    pub(super) fn flushed(&mut self, mut list: Vec<ConnIndex>) {
        debug_assert!(self.dirty.is_empty(), "flushing queues nothing");
        list.clear();
        self.dirty = list;
    }

    /// Lists a connection to which another closure has sent so many bytes. What is queued for it
    /// besides does not wait, and neither do they then.
    pub(super) fn mark_sent(&mut self, index: ConnIndex, bytes: usize) {
        if let Some(meanwhile) = &mut self.sent_meanwhile_bytes {
            *meanwhile += bytes;
        }
        if self[index].queued_by_other() {
            self.sent.push_back(index);
        }
    }

    /// How many entries the list of those has.
    pub(super) fn listed_for_sends(&self) -> usize {
        self.sent.len()
    }

    /// The next connection with nothing but what others have sent, among so many entries.
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

    /// A turn's share of what was sent has been flushed; so many of the entries still wait from
    /// before that.
    pub(super) fn end_flush_of_sent(&mut self, still_waiting: usize) {
        let meanwhile = if still_waiting == 0 { 0 } else { self.sent_meanwhile_bytes() };
        self.sent_meanwhile_bytes = self.has_sent().then_some(meanwhile);
    }

    /// How much has been sent while earlier sends wait.
    pub(super) fn sent_meanwhile_bytes(&self) -> usize {
        self.sent_meanwhile_bytes.unwrap_or(0)
    }

    /// Lists the connection for reading on in the next turn; once, or it would get several shares.
    pub(super) fn put_off(&mut self, index: ConnIndex) {
        if self[index].put_off() {
            self.runnable.push_back(index);
        }
    }

    /// A turn begins: what has been put off until now is taken up in it.
    pub(super) fn begin_turn(&mut self) {
        self.runnable_now = self.runnable.len();
    }

    /// The next connection that was put off in an earlier turn.
    pub(super) fn take_up(&mut self) -> Option<ConnIndex> {
        while self.runnable_now > 0 {
            self.runnable_now -= 1;
            let index = self.runnable.pop_front()?;
            // It may have ended since, and its slot may be somebody else's.
            if let Some(Slot::Conn(conn)) = self.slots.get_mut(index.slot())
                && conn.take_up()
            {
                return Some(index);
            }
        }
        None
    }

    pub(super) fn has_runnable(&self) -> bool {
        !self.runnable.is_empty()
    }
}

/// Streams.
impl Conns {
    /// The connection of an open stream; `None` once its end is decided.
    pub(super) fn live(&self, id: StreamId) -> Option<ConnIndex> {
        let Some(Slot::Conn(conn)) = self.slots.get(id.conn.slot()) else { return None };
        (conn.generation() == id.generation && conn.is_live_stream()).then_some(id.conn)
    }

    /// The id of the stream on this connection.
    pub(super) fn stream_id(&self, index: ConnIndex) -> StreamId {
        StreamId { conn: index, generation: self[index].generation() }
    }

    pub(super) fn live_streams(&self) -> impl Iterator<Item = StreamId> + '_ {
        let live = self.iter().filter(|(_, conn)| conn.is_live_stream());
        live.map(|(conn, it)| StreamId { conn, generation: it.generation() })
    }
}

/// Timers.
impl Conns {
    /// Takes a slot for a timer; it is armed if it `runs` from now on.
    pub(super) fn add_timer(&mut self, timer: NewTimer, now: u64) -> TimerId {
        let generation = self.next_generation();
        // What `arm` would make of it; the slot and the wheel must agree.
        let deadline = now.saturating_add(timer.delay_ms.max(1));
        let slot = Timer { generation, interval_ms: timer.interval_ms, deadline };
        let index = TimerIndex::new(self.slots.insert(Slot::Timer(slot)));
        if timer.starts == Starts::Now {
            self.arm(index.token(), deadline, now);
        }
        TimerId { index, generation }
    }

    /// Disarms a timer. False when it had run out or is none; its slot stays until it is
    /// [removed](Self::remove_timer).
    pub(super) fn cancel_timer(&mut self, id: TimerId) -> bool {
        let known = self.timer(id.index).is_some_and(|timer| timer.generation == id.generation);
        known && self.disarm_timer(id.index)
    }

    /// Disarms a timer that the engine holds; false when it was not armed.
    pub(super) fn disarm_timer(&mut self, index: TimerIndex) -> bool {
        self.wheel.cancel(index.token())
    }

    /// A repeating timer goes on to its next period, without drift and without a storm after a
    /// pause; before its closure runs, which may then decide otherwise.
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

    /// Gives up a timer's slot.
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
    /// Puts the connection's one timer where its state says.
    pub(super) fn rearm(&mut self, index: ConnIndex, now: u64, limits: &Limits) {
        match self[index].deadline(limits) {
            Some(deadline) => self.arm(index.token(), deadline, now),
            None => {
                self.wheel.cancel(index.token());
            }
        }
    }

    /// One slot whose deadline has come. Its timer is disarmed. `moves` bounds the work of the wheel;
    /// see [`Wheel::pop_due`].
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

    /// A timer armed in a turn is never due in the same turn: a zero delay cannot starve sockets.
    fn arm(&mut self, key: u32, deadline: u64, now: u64) {
        let is_due = |deadline| deadline <= now;
        let armed = self.wheel.deadline(key);
        // Due already, and about to fire: a socket that is busy in every turn must not put it off.
        if is_due(deadline) && armed.is_some_and(is_due) {
            return;
        }
        let deadline = deadline.max(now + 1);
        // After a tick it usually stays where it is.
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

/// Slots are given up at the end of a turn alone, and what holds a key across turns looks it up
/// first (`find`, `live`, `take_up`).
const OUTLIVED: &str = "a ConnIndex has outlived its connection";
