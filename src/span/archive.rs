//! What a sequencer keeps of one topic for reactors that begin to use it.

use std::{collections::VecDeque, mem, sync::Arc};

use crate::topic::{Backlog, History, Placed, TopicOptions};

/// The newest events of a topic, oldest first; empty for a topic that keeps none.
#[derive(Debug)]
pub(super) struct Archive {
    events: VecDeque<Arc<Placed>>,
    bytes: usize,
    /// Everything up to this place is gone, or older than the topic.
    lost_up_to: u64,
    /// The place of the last event of a finished topic.
    end: Option<u64>,
}

impl Archive {
    pub(super) fn new(lost_up_to: u64) -> Self {
        Self { events: VecDeque::new(), bytes: 0, lost_up_to, end: None }
    }

    /// That of a topic which was finished, and of which nothing else is left.
    pub(super) fn finished(lost_up_to: u64, end: u64) -> Self {
        Self { end: Some(end), ..Self::new(lost_up_to) }
    }

    /// The topic was finished, and nothing else is left of it.
    pub(super) fn was_finished(&mut self, end: u64) {
        if self.events.is_empty() {
            self.end = Some(end);
        }
    }

    /// The place of the last event, if the topic has been finished.
    pub(super) fn end(&self) -> Option<u64> {
        self.end
    }

    /// Drops the events of a finished topic.
    pub(super) fn drop_events(&mut self) {
        while !self.events.is_empty() {
            self.pop_front();
        }
    }

    /// The last place of the topic.
    pub(super) fn last_place(&self) -> u64 {
        self.events.back().map_or(self.lost_up_to, |placed| placed.sequence())
    }

    pub(super) fn push(&mut self, placed: Arc<Placed>, options: &TopicOptions) {
        if self.end.take().is_some() {
            // A new topic of the same name.
            self.drop_events();
        }
        self.end = placed.is_last().then(|| placed.sequence());
        self.bytes += placed.len();
        self.events.push_back(placed);
        let events_max = match options.history {
            History::On => options.log_events,
            // The retained event.
            History::Off => 1,
        };
        while self.events.len() > 1
            && (self.events.len() > events_max || self.bytes > options.log_bytes)
        {
            self.pop_front();
        }
    }

    /// Adds what was up to the place that the archive began after. Keeps to the limits of the topic.
    pub(super) fn prepend(
        &mut self,
        began_after: u64,
        lost_up_to: u64,
        past: Vec<Arc<Placed>>,
        options: &TopicOptions,
    ) {
        if self.lost_up_to > began_after {
            // It is full of later ones, and has discarded some: there is a hole between.
            return;
        }
        let newer = mem::take(&mut self.events);
        (self.bytes, self.end) = (0, None);
        self.lost_up_to = lost_up_to.min(began_after);
        past.into_iter().chain(newer).for_each(|placed| self.push(placed, options));
    }

    /// What was placed after this place is lost.
    pub(super) fn undo_after(&mut self, place: u64) {
        let kept = self.events.partition_point(|placed| placed.sequence() <= place);
        self.bytes -= self.events.drain(kept..).map(|placed| placed.len()).sum::<usize>();
        self.lost_up_to = self.lost_up_to.min(place);
        self.end = self.end.filter(|end| *end <= place);
    }

    /// For a reactor that has come to this place.
    pub(super) fn backlog(&self, complete_up_to: u64) -> Backlog {
        let events = self.events.iter().cloned().collect();
        Backlog { lost_up_to: self.lost_up_to, complete_up_to, events, end: self.end }
    }

    fn pop_front(&mut self) {
        if let Some(placed) = self.events.pop_front() {
            self.bytes -= placed.len();
            self.lost_up_to = placed.sequence();
        }
    }
}
