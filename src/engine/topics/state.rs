//! One topic: its log, its subscribers, and what it may discard.

use super::{driven::Driver, listing::Listing, pass::Pass};
use crate::{
    engine::keys::{ConnIndex, TimerId, TimerIndex},
    topic::{Log, Previous, Series, Topic},
};

/// A topic that is in use.
#[derive(Debug)]
pub(in crate::engine) struct TopicState {
    pub(super) topic: Topic,
    /// What its sequences belong to.
    pub(super) series: Series,
    /// Whether its log begins with what was published before; always for a local topic.
    pub(super) past: Past,
    /// The namespace knows that the topic is used here.
    pub(super) is_reported: bool,
    /// Streams that wait until it does.
    pub(super) waiters: Vec<ConnIndex>,
    /// Events after this place arrive one by one. Those before it are in the past that comes, or
    /// lost.
    pub(super) live_after: u64,
    /// Where subscribers continue that have seen events that do not exist anymore.
    pub(super) undone_up_to: u64,
    pub(super) log: Log,
    pub(super) subscribers: Vec<Subscriber>,
    /// Number of subscribers whose end is decided and that leave when the turn settles.
    pub(super) leaving: usize,
    pub(super) pass: Option<Pass>,
    /// Everything up to here has been offered to every subscriber.
    pub(super) offered: u64,
    /// The smallest cursor in the last pass; the log after it is kept for that subscriber.
    pub(super) kept_after: u64,
    /// The smallest cursor of subscribers that must be served in this turn, no matter what else is
    /// published in it: streams that joined at an older position (served by the flush), and streams
    /// that finish (served when the turn settles).
    pub(super) held_after: Option<u64>,
    /// Bytes published since the current pass began.
    pub(super) unoffered_bytes: usize,
    pub(super) driver: Option<Driver>,
    /// Number of compressed subscribers.
    pub(super) coded_subscribers: u32,
    /// The last event, as the base of the next delta; kept only while needed.
    pub(super) last: Option<Previous>,
    /// The timer that checks whether an unused topic can be forgotten.
    pub(super) watch: Option<TimerId>,
    pub(super) last_use: u64,
    /// When its last event was published; zero if it has none.
    pub(super) finished_at: u64,
    /// Events that have come to the log.
    pub(super) published: u64,
    /// Events of it given to streams.
    pub(super) delivered: u64,
    /// Its place in the statistics, if it has one.
    pub(super) listing: Option<Box<Listing>>,
}

/// What a reactor knows of a topic's earlier events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Past {
    /// They are in its log, or known to be lost.
    Known,
    /// The namespace has not been asked yet.
    Unasked,
    /// They are on their way.
    Coming,
}

/// A stream's cursor on a topic's log: sixteen bytes, walked in memory order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subscriber {
    pub(super) conn: ConnIndex,
    /// The sequence of the last frame that the stream has been given.
    pub(super) cursor: u64,
}

impl TopicState {
    pub(super) fn new(topic: Topic, (begins_after, last_sequence): (u64, u64), now: u64) -> Self {
        Self {
            topic,
            series: Series::Local,
            past: Past::Known,
            is_reported: false,
            waiters: Vec::new(),
            live_after: 0,
            undone_up_to: 0,
            log: Log::new(begins_after),
            subscribers: Vec::new(),
            leaving: 0,
            pass: None,
            offered: last_sequence,
            kept_after: last_sequence,
            held_after: None,
            unoffered_bytes: 0,
            driver: None,
            coded_subscribers: 0,
            last: None,
            watch: None,
            last_use: now,
            finished_at: 0,
            published: 0,
            delivered: 0,
            listing: None,
        }
    }

    /// Number of subscribers for events published from now on.
    pub(in crate::engine) fn audience(&self) -> usize {
        self.subscribers.len() - self.leaving
    }

    /// True when the log is kept only for slow subscribers.
    pub(super) fn waits_for_slow_subscribers(&self) -> bool {
        self.log.waits_for_slow_subscribers(self.topic.options())
    }

    /// Discards what exceeds the log's limits and has been offered to all subscribers.
    pub(super) fn evict(&mut self) {
        let offered = self.held_after.map_or(self.offered, |held| held.min(self.offered));
        self.log.evict(self.topic.options(), offered);
    }

    /// Removes a subscriber from the list, and returns which others have moved, and where to.
    /// Subscribers that the current pass has served stay before those it has yet to serve.
    pub(super) fn take_out(&mut self, place: usize) -> [Option<(ConnIndex, u32)>; 2] {
        let mut hole = place;
        if let Some(pass) = &mut self.pass
            && place < pass.next_place
        {
            pass.next_place -= 1;
            hole = pass.next_place;
            self.subscribers.swap(place, hole);
        }
        self.subscribers.swap_remove(hole);
        if self.subscribers.len() < self.subscribers.capacity() / 4 {
            self.subscribers.shrink_to(2 * self.subscribers.len());
        }
        [place, hole].map(|place| Some((self.subscribers.get(place)?.conn, place as u32)))
    }

    /// True when nothing holds the topic anymore.
    pub(in crate::engine) fn is_unused(&self, now: u64) -> bool {
        self.subscribers.is_empty()
            && self.waiters.is_empty()
            && (!self.keeps_something() || (!self.is_held() && now >= self.forget_at()))
    }

    /// True while the program has a clone of the [`Topic`] that this state was created with, or of
    /// the one that drives it.
    fn is_held(&self) -> bool {
        match &self.driver {
            // The namespace keeps what it has: for as long as that must be, it decides.
            _ if self.series == Series::Spanning || self.is_finished() => false,
            Some(driver) if driver.topic.is_clone_of(&self.topic) => self.topic.clones() > 2,
            Some(driver) => self.topic.clones() > 1 || driver.topic.clones() > 1,
            None => self.topic.clones() > 1,
        }
    }

    fn forget_at(&self) -> u64 {
        self.kept_until().unwrap_or(self.last_use + FORGET_AFTER_MS)
    }

    /// When a timer must check again whether the topic is unused, in milliseconds from now; `None`
    /// if that is not needed, or if a timer is already set.
    pub(in crate::engine) fn watch_in(&self, now: u64) -> Option<u64> {
        let needs_watching = self.subscribers.is_empty() && self.watch.is_none();
        let left_ms = self.forget_at().saturating_sub(now);
        // After that it is held, and checked once a minute.
        needs_watching.then_some(if left_ms > 0 { left_ms } else { FORGET_AFTER_MS })
    }

    /// It has been finished, and need not be watched for another reason.
    pub(in crate::engine) fn end_other_watch(&mut self) -> Option<TimerId> {
        self.watch.take()
    }

    pub(in crate::engine) fn begin_watch(&mut self, watch: TimerId) {
        self.watch = Some(watch);
    }

    /// The timer of an updater without subscribers.
    pub(in crate::engine) fn idle_driver(&self) -> Option<TimerIndex> {
        let driver = self.driver.as_ref().filter(|_| self.subscribers.is_empty())?;
        Some(driver.timer())
    }

    /// What was published before is in its log, or known to be lost.
    pub(super) fn is_known(&self) -> bool {
        self.past == Past::Known
    }

    pub(in crate::engine) fn is_reported(&self) -> bool {
        self.is_reported
    }

    pub(in crate::engine) fn series(&self) -> Series {
        self.series
    }

    pub(in crate::engine) fn topic(&self) -> &Topic {
        &self.topic
    }

    fn keeps_something(&self) -> bool {
        self.topic.options().keeps_events() || self.driver.is_some()
    }
}

/// How long a topic's state, including its updater, is kept after its last use if no clone exists.
const FORGET_AFTER_MS: u64 = 60_000;
