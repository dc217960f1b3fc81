//! The topics of a reactor: their logs, who subscribes, and how far the passes over them have come.
//!
//! The child modules publish, let streams come and go, and keep track of how far each has come. No
//! user code is called here.

mod pubsub;
mod seen;
mod standing;

use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::Arc,
};

use slab::Slab;

use self::seen::Past;
pub(super) use self::standing::Evened;
use super::context::TimerId;
use crate::{
    conn::Subscription,
    topic::{History, Log, Previous, Retain, Topic},
};

/// All topics that are in use.
#[derive(Debug, Default)]
pub(super) struct Topics {
    by_name: HashMap<Arc<str>, u32>,
    states: Slab<TopicState>,
    /// Topics with a pass to make or to finish, in turn; each once.
    pub(super) fan_out: VecDeque<u32>,
    /// Bytes published that some pass has not yet offered to everybody.
    pub(super) unoffered_bytes: usize,
    /// Bytes of all logs.
    pub(super) log_bytes: usize,
    /// The last sequence given; one series for all topics.
    sequence: u64,
    /// Makes ids of this process differ from those of any other.
    pub(super) epoch: String,
    past: Past,
    /// The last sequence of any topic with history that was forgotten: one that begins may have
    /// begun before, and lost events up to here.
    forgotten: u64,
    /// A topic with history has been in use.
    has_history: bool,
    /// Topics of which something is held back for somebody until this turn ends.
    held: Vec<u32>,
    frame_scratch: Vec<u8>,
}

/// One topic: its log, its subscribers, and how far the present pass over them has come.
#[derive(Debug)]
pub(super) struct TopicState {
    pub(super) topic: Topic,
    pub(super) log: Log,
    pub(super) subscribers: Vec<Subscriber>,
    pub(super) pass: Option<Pass>,
    /// Everything up to here has been offered to every subscriber.
    pub(super) offered: u64,
    /// The least cursor that the last pass met; what lies behind it is kept for its owner.
    kept_behind: u64,
    /// The least cursor of those who are to be served in this turn whatever else is published in
    /// it: who has joined behind, by the flush; who ends in order, when the turn settles.
    held_behind: Option<u64>,
    /// Published since the present pass began.
    pub(super) unoffered_bytes: usize,
    pub(super) driver: Option<Driver>,
    /// How many subscribers are compressed.
    coded_subscribers: u32,
    /// The last event, for the delta of the next; kept only while somebody needs it.
    last: Option<Previous>,
    /// A timer looks once in a while whether an unused topic can be forgotten.
    watched: bool,
    last_use: u64,
}

/// A stream's cursor on a topic's log: sixteen bytes, walked in memory order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subscriber {
    pub(super) conn: u32,
    /// The sequence of the last frame that the stream has been given.
    pub(super) cursor: u64,
}

/// One walk over the subscribers, made in slices.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pass {
    pub(super) next_place: usize,
    /// When, in milliseconds.
    pub(super) began: u64,
    /// What has been published when it began; more may come while it lasts.
    pub(super) up_to: u64,
    /// The least cursor met so far.
    pub(super) seen_by_all: u64,
    /// A slow subscriber has moved on meanwhile.
    pub(super) is_outdated: bool,
    /// Bytes that count as offered when it ends.
    pub(super) bytes: usize,
}

/// The timer of a topic's updater; its closure waits in the engine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Driver {
    pub(super) timer: TimerId,
    /// A render for the first subscriber is on its way.
    pub(super) renders_at_once: bool,
    /// Hash of what it published last.
    pub(super) last_output: Option<u64>,
}

impl Topics {
    pub(super) fn new(epoch: String) -> Self {
        Self { epoch, ..Self::default() }
    }

    pub(super) fn state(&mut self, index: u32) -> Option<&mut TopicState> {
        self.states.get_mut(index as usize)
    }

    /// The log of a subscription, and its cursor on it.
    pub(super) fn position_on(&self, subscription: Subscription) -> Option<(&Log, u64)> {
        let state = self.states.get(subscription.topic as usize)?;
        Some((&state.log, state.subscribers.get(subscription.place as usize)?.cursor))
    }

    /// True when frames that this subscription has not been given are gone.
    pub(super) fn has_passed_by(&self, subscription: Subscription) -> bool {
        self.position_on(subscription).is_some_and(|(log, cursor)| log.has_passed_by(cursor))
    }

    /// Moves a subscriber's cursor: it has been given everything up to this sequence.
    pub(super) fn advance(&mut self, subscription: Subscription, sequence: u64, now: u64) {
        let Some(state) = self.states.get_mut(subscription.topic as usize) else { return };
        let Some(subscriber) = state.subscribers.get_mut(subscription.place as usize) else {
            return;
        };
        if subscriber.cursor < sequence && subscriber.cursor < state.log.last_sequence() {
            let moved_from = mem::replace(&mut subscriber.cursor, sequence);
            self.moved_on_from(subscription.topic, moved_from, now);
        }
    }

    pub(super) fn find(&self, topic: &Topic) -> Option<u32> {
        self.by_name.get(topic.shared_name()).copied()
    }

    /// The topic's state, begun now if it is not in use.
    pub(super) fn open(&mut self, topic: &Topic, now: u64) -> u32 {
        if let Some(index) = self.find(topic) {
            return index;
        }
        let state = TopicState {
            topic: topic.clone(),
            log: Log::new(self.forgotten),
            subscribers: Vec::new(),
            pass: None,
            offered: self.sequence,
            kept_behind: self.sequence,
            held_behind: None,
            unoffered_bytes: 0,
            driver: None,
            coded_subscribers: 0,
            last: None,
            watched: false,
            last_use: now,
        };
        self.has_history |= topic.options().history == History::On;
        let index = u32::try_from(self.states.insert(state)).expect("fewer than 2^32 topics");
        self.by_name.insert(Arc::clone(topic.shared_name()), index);
        index
    }

    /// The sequence of the last event published on any topic.
    pub(super) fn last_sequence(&self) -> u64 {
        self.sequence
    }

    /// Starts a pass over the subscribers, unless one is on its way already.
    fn begin_pass(&mut self, index: u32, now: u64) {
        let Some(state) = self.states.get_mut(index as usize) else { return };
        if state.pass.is_none() {
            let bytes = mem::take(&mut state.unoffered_bytes);
            let up_to = state.log.last_sequence();
            state.pass = Some(Pass {
                next_place: 0,
                began: now,
                up_to,
                seen_by_all: up_to,
                is_outdated: false,
                bytes,
            });
            self.fan_out.push_back(index);
        }
    }

    /// A subscriber has moved on from this cursor, or left. If the log was kept for him, one more
    /// pass finds out how much of it can go.
    pub(super) fn moved_on_from(&mut self, index: u32, cursor: u64, now: u64) {
        let Some(state) = self.states.get_mut(index as usize) else { return };
        if let Some(pass) = &mut state.pass {
            // It may have met him before he moved, and nobody with less.
            pass.is_outdated |= cursor <= pass.seen_by_all;
        } else if cursor <= state.kept_behind && state.waits_for_somebody() {
            self.begin_pass(index, now);
        }
    }

    /// A pass has reached the last subscriber.
    pub(super) fn end_pass(&mut self, index: u32, now: u64) {
        let Some(state) = self.states.get_mut(index as usize) else { return };
        let Some(pass) = state.pass.take() else { return };
        self.unoffered_bytes -= pass.bytes;
        self.log_bytes -= state.log.bytes();
        state.offered = pass.up_to;
        state.kept_behind = pass.seen_by_all;
        state.log.trim(pass.seen_by_all, state.topic.options());
        state.evict();
        self.log_bytes += state.log.bytes();
        let has_more = state.log.last_sequence() > pass.up_to;
        if has_more || (pass.is_outdated && state.waits_for_somebody()) {
            self.begin_pass(index, now);
        }
    }

    /// Keeps what lies behind this cursor until the turn ends.
    pub(super) fn hold(&mut self, index: u32, cursor: u64) {
        let Some(state) = self.states.get_mut(index as usize) else { return };
        if cursor < state.log.last_sequence() {
            match &mut state.held_behind {
                Some(least) => *least = cursor.min(*least),
                none => {
                    *none = Some(cursor);
                    self.held.push(index);
                }
            }
        }
    }

    /// The turn has served everybody for whom something was held.
    pub(super) fn end_holds(&mut self) {
        while let Some(index) = self.held.pop() {
            if let Some(state) = self.states.get_mut(index as usize) {
                state.held_behind = None;
                self.log_bytes -= state.log.bytes();
                state.evict();
                self.log_bytes += state.log.bytes();
            }
        }
    }
}

impl TopicState {
    /// True when the log is kept for slow subscribers alone.
    fn waits_for_somebody(&self) -> bool {
        self.log.waits_for_somebody(self.topic.options())
    }

    /// Lets go of what exceeds the log's bounds and has been offered to everybody.
    fn evict(&mut self) {
        let offered = self.held_behind.map_or(self.offered, |held| held.min(self.offered));
        self.log.evict(self.topic.options(), offered);
    }

    /// Takes a subscriber out of the list, and tells who stands where now. Those whom the present
    /// pass has met stay in front of those whom it has yet to meet.
    fn take_out(&mut self, place: usize) -> [Option<(Subscriber, usize)>; 2] {
        let mut hole = place;
        if let Some(pass) = &mut self.pass
            && place < pass.next_place
        {
            pass.next_place -= 1;
            hole = pass.next_place;
            self.subscribers.swap(place, hole);
        }
        self.subscribers.swap_remove(hole);
        [place, hole].map(|place| Some((*self.subscribers.get(place)?, place)))
    }

    fn keeps_something(&self) -> bool {
        let options = self.topic.options();
        options.history == History::On || options.retain == Retain::Last || self.driver.is_some()
    }

    fn is_unused(&self, now: u64) -> bool {
        self.subscribers.is_empty()
            && self.driver.is_none()
            && (!self.keeps_something()
                || (self.topic.is_last_clone() && now >= self.last_use + FORGET_AFTER_MS))
    }
}

/// How long the history of a topic that nobody uses and nobody holds is kept.
const FORGET_AFTER_MS: u64 = 60_000;
