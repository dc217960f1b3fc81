//! Figures of topics: computed on demand, and kept up to date for those that are listed in the
//! statistics.
//!
//! Counting costs an addition for an event and for a delivery. A listed topic is noted once when it
//! changes, and its figures are copied when the statistics are. To find the slowest subscriber, all
//! have to be compared; that is done at most once a second.

use std::mem;

use super::{Topics, listing::Listing, state::TopicState};
use crate::{
    conn::{Subscription, TopicIndex},
    engine::stats::{TOPICS_MAX, TopicStats, TopicTable},
    topic::{Metrics, Topic},
};

/// On demand.
impl Topics {
    /// Figures of a topic; `None` if it is not in use. Walks over its subscribers.
    pub(in crate::engine) fn figures(&self, topic: &Topic) -> Option<TopicStats> {
        let state = &self[self.find(topic)?];
        Some(state.figures(state.slowest_lag()))
    }

    /// Number of events that a subscriber has not been given. Those that have left the log do not
    /// count.
    pub(in crate::engine) fn lag(&self, subscription: Subscription) -> u64 {
        let (log, cursor) = self.position(subscription);
        log.count_after(cursor) as u64
    }
}

/// Topics that are listed.
impl Topics {
    /// Gives a new topic its place in the statistics, if it asks for one.
    pub(super) fn list(&mut self, index: TopicIndex) {
        let state = &mut self.states[index.slot()];
        if state.topic.options().metrics == Metrics::Off {
            return;
        }
        let place = self.listed.taken.trailing_ones() as usize;
        if place < TOPICS_MAX {
            self.listed.taken |= 1 << place;
            let listing = Listing { place, is_touched: false, is_unmeasured: false, lag: 0 };
            state.listing = Some(Box::new(listing));
            self.touch(index);
        } else if !mem::replace(&mut self.listed.is_full, true) {
            log::warn!(
                "more than {TOPICS_MAX} topics have `Topic::metrics`; the others are not listed"
            );
        }
    }

    /// The place of a topic that is forgotten becomes free.
    pub(super) fn unlist(&mut self, index: TopicIndex, state: &TopicState) {
        let Some(listing) = &state.listing else { return };
        self.listed.taken &= !(1 << listing.place);
        self.listed.left.push(listing.place);
        self.listed.touched.retain(|other| *other != index);
        self.listed.unmeasured.retain(|other| *other != index);
    }

    /// The figures of a topic have changed.
    #[inline]
    pub(super) fn touch(&mut self, index: TopicIndex) {
        if let Some(listing) = &mut self.states[index.slot()].listing
            && !mem::replace(&mut listing.is_touched, true)
        {
            self.listed.touched.push(index);
        }
    }

    /// Copies the figures that have changed.
    pub(in crate::engine) fn refresh_figures(&mut self, table: &mut TopicTable, now: u64) {
        for place in self.listed.left.drain(..) {
            table.forget_topic(place);
        }
        let mut touched = mem::take(&mut self.listed.touched);
        for index in touched.drain(..) {
            let state = &mut self.states[index.slot()];
            let Some(listing) = &mut state.listing else { continue };
            listing.is_touched = false;
            if !mem::replace(&mut listing.is_unmeasured, true) {
                self.listed.unmeasured.push(index);
            }
            state.note_figures(table);
        }
        self.listed.touched = touched;
        if now >= self.listed.measure_at && !self.listed.unmeasured.is_empty() {
            self.listed.measure_at = now + MEASURED_EVERY_MS;
            let mut unmeasured = mem::take(&mut self.listed.unmeasured);
            for index in unmeasured.drain(..) {
                let state = &mut self.states[index.slot()];
                let lag = state.slowest_lag();
                let Some(listing) = &mut state.listing else { continue };
                (listing.is_unmeasured, listing.lag) = (false, lag);
                state.note_figures(table);
            }
            self.listed.unmeasured = unmeasured;
        }
    }
}

impl TopicState {
    /// How far the slowest subscriber lags.
    fn slowest_lag(&self) -> u64 {
        let slowest = self.subscribers.iter().map(|subscriber| subscriber.cursor).min();
        slowest.map_or(0, |cursor| self.log.count_after(cursor) as u64)
    }

    fn note_figures(&self, table: &mut TopicTable) {
        if let Some(listing) = &self.listing {
            let figures = self.figures(listing.lag);
            table.note_topic(listing.place, self.topic.shared_name(), figures);
        }
    }

    fn figures(&self, lag: u64) -> TopicStats {
        TopicStats {
            subscribers: self.audience() as u64,
            lag,
            log_events: self.log.len() as u64,
            log_bytes: self.log.bytes() as u64,
            published: self.published,
            delivered: self.delivered,
        }
    }
}

/// How often the slowest subscriber of a listed topic is looked for.
const MEASURED_EVERY_MS: u64 = 1_000;
