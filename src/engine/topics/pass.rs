//! The walk over a topic's subscribers, in slices.
//!
//! A publish starts a pass unless one is running. Each subscriber that a pass reaches gets
//! everything it has not seen, so events that come faster than passes leave together. At the end of
//! a pass it is known what the log may discard.

use std::mem;

use super::Topics;
use crate::{
    conn::{Subscription, TopicIndex},
    engine::keys::ConnIndex,
    topic::{Backpressure, Progress},
};

/// One walk over the subscribers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pass {
    /// Distinguishes it from a pass of a forgotten topic that had the same place.
    number: u64,
    pub(super) next_place: usize,
    /// Start time, in milliseconds.
    began: u64,
    /// The last sequence published when it began; more may come while it runs.
    pub(super) up_to: u64,
    /// The smallest cursor met so far.
    pub(super) seen_by_all: u64,
    /// A slow subscriber has moved on since.
    is_outdated: bool,
    /// Bytes that count as offered when it ends.
    pub(super) bytes: usize,
}

/// A subscriber that a pass has reached.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Met {
    pub(in crate::engine) conn: ConnIndex,
    pub(in crate::engine) news: News,
    place: usize,
    was_outdated: bool,
}

/// What a topic has for a subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum News {
    /// It has been given everything.
    None,
    /// It has been given everything, and nothing comes anymore.
    Ended,
    /// Frames that it has not been given.
    Some,
    /// Some of these are gone, and the subscriber must be disconnected for it.
    TooLate,
}

impl Topics {
    /// The topic whose pass continues next.
    pub(in crate::engine) fn next_pass(&mut self) -> Option<TopicIndex> {
        while let Some((index, number)) = self.passes.pop_front() {
            let state = self.states.get(index.slot());
            let pass = state.and_then(|state| state.pass.as_ref());
            if pass.is_some_and(|pass| pass.number == number) {
                return Some(index);
            }
        }
        None
    }

    pub(in crate::engine) fn has_passes(&self) -> bool {
        !self.passes.is_empty()
    }

    /// The pass over this topic continues when its turn comes.
    pub(in crate::engine) fn rest_pass(&mut self, index: TopicIndex) {
        if let Some(pass) = &self[index].pass {
            self.passes.push_back((index, pass.number));
        }
    }

    /// True when the pass only remains to be ended.
    pub(in crate::engine) fn has_met_all(&self, index: TopicIndex) -> bool {
        let state = &self[index];
        state.pass.is_none_or(|pass| pass.next_place >= state.subscribers.len())
    }

    /// The next subscriber of the pass; `None` at the end.
    pub(in crate::engine) fn meet_next(&mut self, index: TopicIndex) -> Option<Met> {
        let state = &mut self[index];
        let pass = state.pass.as_mut()?;
        let subscriber = *state.subscribers.get(pass.next_place)?;
        let (place, was_outdated) = (pass.next_place, pass.is_outdated);
        pass.next_place += 1;
        let disconnects = state.topic.options().backpressure == Backpressure::Disconnect;
        let news = match subscriber.cursor < state.log.last_sequence() {
            false if state.log.end().is_some() => News::Ended,
            false => News::None,
            true if disconnects && state.log.has_passed_by(subscriber.cursor) => News::TooLate,
            true => News::Some,
        };
        Some(Met { conn: subscriber.conn, news, place, was_outdated })
    }

    /// The subscriber has been offered its events.
    pub(in crate::engine) fn offered(&mut self, index: TopicIndex, met: Met) {
        let state = &mut self[index];
        if let (Some(pass), Some(seen)) = (&mut state.pass, state.subscribers.get(met.place)) {
            pass.seen_by_all = pass.seen_by_all.min(seen.cursor);
            // The pass itself moves this subscriber, so that does not make the pass outdated.
            pass.is_outdated = met.was_outdated;
        }
    }

    /// The pass has reached the last subscriber. Returns when it began, if it offered anything. A
    /// pass without bytes only determines what can be discarded.
    pub(in crate::engine) fn end_pass(&mut self, index: TopicIndex, now: u64) -> Option<u64> {
        let pass = self[index].pass.take()?;
        self.unoffered_bytes -= pass.bytes;
        self.change(index, |state| {
            state.offered = pass.up_to;
            state.kept_after = pass.seen_by_all;
            state.log.trim(pass.seen_by_all, state.topic.options());
            state.evict();
        });
        let state = &self[index];
        let has_more = state.log.last_sequence() > pass.up_to;
        if has_more || (pass.is_outdated && state.waits_for_slow_subscribers()) {
            self.begin_pass(index, now);
        }
        (pass.bytes > 0).then_some(pass.began)
    }

    /// Starts a pass over the subscribers, unless one is running.
    pub(super) fn begin_pass(&mut self, index: TopicIndex, now: u64) {
        if self[index].pass.is_some() {
            return;
        }
        self.passes_begun += 1;
        let number = self.passes_begun;
        let state = &mut self[index];
        let up_to = state.log.last_sequence();
        state.pass = Some(Pass {
            number,
            next_place: 0,
            began: now,
            up_to,
            seen_by_all: up_to,
            is_outdated: false,
            bytes: mem::take(&mut state.unoffered_bytes),
        });
        self.passes.push_back((index, number));
    }

    /// A stream has been given everything up to the sequence of each series.
    pub(in crate::engine) fn advance(
        &mut self,
        subscription: Subscription,
        given: Progress,
        now: u64,
    ) {
        let state = &self[subscription.topic];
        let (log, cursor) = self.position(subscription);
        let frames = log.count_after(cursor) - log.count_after(cursor.max(given.of(state.series)));
        self.advance_by(subscription, frames, given, now);
    }

    /// The same if the number of frames that it was given of this topic is known.
    #[inline]
    pub(in crate::engine) fn advance_by(
        &mut self,
        subscription: Subscription,
        frames: usize,
        given: Progress,
        now: u64,
    ) {
        let state = &mut self[subscription.topic];
        state.delivered += frames as u64;
        let sequence = given.of(state.series);
        let subscriber = &mut state.subscribers[subscription.place as usize];
        if subscriber.cursor < sequence && subscriber.cursor < state.log.last_sequence() {
            let moved_from = mem::replace(&mut subscriber.cursor, sequence);
            self.moved_on_from(subscription.topic, moved_from, now);
        }
    }

    /// A subscriber has moved on from this cursor, or left. If the log was kept for it, one more
    /// pass determines what can be discarded.
    pub(super) fn moved_on_from(&mut self, index: TopicIndex, cursor: u64, now: u64) {
        let state = &mut self[index];
        if let Some(pass) = &mut state.pass {
            // The pass may have counted this cursor, and none smaller.
            pass.is_outdated |= cursor <= pass.seen_by_all;
            return;
        }
        if cursor <= state.kept_after && state.waits_for_slow_subscribers() {
            self.begin_pass(index, now);
        }
        self.touch(index);
    }

    /// The end of a subscriber is decided. What was published before is kept for it.
    pub(in crate::engine) fn begin_leaving(&mut self, subscription: Subscription) {
        self.hold(subscription);
        self[subscription.topic].leaving += 1;
        self.note_audience(subscription.topic);
    }

    /// A subscriber whose end was decided leaves.
    pub(in crate::engine) fn end_leaving(&mut self, subscription: Subscription) {
        self[subscription.topic].leaving -= 1;
    }

    /// Keeps what comes after a subscription's cursor until the turn ends.
    pub(super) fn hold(&mut self, subscription: Subscription) {
        let (log, cursor) = self.position(subscription);
        if cursor >= log.last_sequence() {
            return;
        }
        match &mut self[subscription.topic].held_after {
            Some(least) => *least = cursor.min(*least),
            none => {
                *none = Some(cursor);
                self.held.push(subscription.topic);
            }
        }
    }

    /// The turn has served all streams that the log was held for.
    pub(in crate::engine) fn end_holds(&mut self) {
        while let Some(index) = self.held.pop() {
            // The topic may have been forgotten since.
            if self.states.contains(index.slot()) {
                self.change(index, |state| {
                    state.held_after = None;
                    state.evict();
                });
            }
        }
    }
}
