//! The topics of a reactor: their logs, who subscribes, and how far the passes over them have come.
//!
//! | file | what it does |
//! |---|---|
//! | `state.rs` | one topic, and what it may discard |
//! | `pass.rs` | the walk over a topic's subscribers, in slices |
//! | `publish.rs` | events into logs |
//! | `subscribe.rs` | streams join, leave, and resume after what they have seen |
//! | `namespace.rs` | topics that span reactors: what arrives from elsewhere |
//! | `driven.rs` | topics with an updater |
//! | `finished.rs` | topics that have ended, and who has seen their end |
//! | `seen.rs` | the id that a client sent, and topics that a stream has left |
//! | `standing.rs` | how far a stream has come in all its topics |
//! | `figures.rs`, `listing.rs` | figures of topics, and which of them the statistics list |
//! | `due.rs` | what a stream has not been given yet, over all of its topics |
//!
//! This code calls no user code and writes nothing.

mod driven;
mod due;
mod figures;
mod finished;
mod listing;
mod namespace;
mod pass;
mod publish;
mod seen;
mod standing;
mod state;
mod subscribe;

pub(super) use self::{
    driven::{Render, Rendered},
    due::{DueFrame, DueFrames, FRAMES_PER_WRITE, Frames, next_due},
    namespace::Entry,
    pass::News,
    subscribe::Loss,
};

use std::{
    collections::{HashMap, VecDeque},
    ops::{Index, IndexMut},
    sync::Arc,
};

use slab::Slab;

use self::{listing::Listed, namespace::Namespace, seen::Past, state::TopicState};
use crate::{
    conn::{Subscription, TopicIndex},
    engine::{
        keys::{TimerId, TimerIndex},
        memory::release,
        registry::{Audience, Registry},
    },
    topic::{History, Log, Progress, Series, Tombstones, Topic},
};

/// All topics that are in use.
#[derive(Debug, Default)]
pub(super) struct Topics {
    by_name: HashMap<Arc<str>, TopicIndex>,
    states: Slab<TopicState>,
    /// Topics with a pass to start or finish, in round-robin order, each once. The pass number
    /// detects a topic that was forgotten and replaced by another in its place.
    passes: VecDeque<(TopicIndex, u64)>,
    /// How many passes have begun.
    passes_begun: u64,
    /// Published bytes that have not yet been offered to all subscribers.
    unoffered_bytes: usize,
    /// Bytes of all logs.
    log_bytes: usize,
    /// The last sequence assigned; one series for all local topics.
    sequence: u64,
    /// What the topics that span reactors share; `None` if all topics are local.
    namespace: Option<Box<Namespace>>,
    /// Where the subscribers of all workers are counted.
    audiences: Option<Box<Audiences>>,
    listed: Listed,
    /// Makes the ids of this process unique.
    epoch: String,
    /// Topics whose logs are held for a stream until this turn ends.
    held: Vec<TopicIndex>,
    frame_scratch: Vec<u8>,
    past: Past,
    /// Local topics that were finished, and of which no more is kept.
    tombstones: Tombstones,
    /// The last sequence of any topic with history that was forgotten. A new topic may have existed
    /// before, and lost events up to here.
    forgotten: u64,
    /// A topic with history has been in use.
    has_history: bool,
    /// How far back a delta may refer.
    window_bytes: usize,
}

/// The part of a worker in the subscribers of all, by topic.
#[derive(Debug)]
struct Audiences {
    registry: Arc<Registry>,
    parts: HashMap<TopicIndex, Audience>,
}

/// The timers of a forgotten topic that must be ended: its watch timer and its updater's.
#[derive(Debug)]
pub(super) struct Forgotten {
    pub(super) watch: Option<TimerId>,
    pub(super) driver: Option<TimerIndex>,
}

impl Topics {
    pub(in crate::engine) fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    pub(super) fn new(epoch: String, window_bytes: usize) -> Self {
        Self { epoch, window_bytes, ..Self::default() }
    }

    pub(super) fn find(&self, topic: &Topic) -> Option<TopicIndex> {
        self.by_name.get(topic.shared_name()).copied()
    }

    /// The topic's state; created if it is not in use.
    pub(super) fn open(&mut self, topic: &Topic, now: u64) -> TopicIndex {
        if let Some(index) = self.find(topic) {
            return index;
        }
        match self.series_of_new(topic) {
            Series::Local => self.open_local(topic, now),
            Series::Spanning => self.open_spanning(topic, now),
        }
    }

    /// The same; a new topic is local.
    pub(super) fn open_local(&mut self, topic: &Topic, now: u64) -> TopicIndex {
        if let Some(index) = self.find(topic) {
            return index;
        }
        let mut state = TopicState::new(topic.clone(), (self.forgotten, self.sequence), now);
        if let Some(remembered) = self.tombstones.get(topic.name(), now) {
            state.was_finished(remembered.end);
        }
        self.insert(state)
    }

    /// From here on, subscribers are counted there too.
    pub(super) fn join_registry(&mut self, registry: &Arc<Registry>) {
        let part = |(slot, state): (usize, &TopicState)| {
            let mut part = registry.audience(state.topic.shared_name());
            part.set(state.audience());
            (TopicIndex::new(slot), part)
        };
        let parts = self.states.iter().map(part).collect();
        self.audiences = Some(Box::new(Audiences { registry: Arc::clone(registry), parts }));
    }

    /// The audience of a topic has changed.
    #[inline]
    fn note_audience(&mut self, index: TopicIndex) {
        self.touch(index);
        if let Some(audiences) = &mut self.audiences
            && let Some(part) = audiences.parts.get_mut(&index)
        {
            part.set(self.states[index.slot()].audience());
        }
    }

    fn insert(&mut self, state: TopicState) -> TopicIndex {
        self.has_history |= state.topic.options().history == History::On;
        let name = Arc::clone(state.topic.shared_name());
        let index = TopicIndex::new(self.states.insert(state));
        if let Some(audiences) = &mut self.audiences {
            audiences.parts.insert(index, audiences.registry.audience(&name));
        }
        self.by_name.insert(name, index);
        self.list(index);
        index
    }

    /// The topic's name, for a message; `None` if it has been forgotten.
    pub(super) fn name(&self, index: TopicIndex) -> Option<&str> {
        self.states.get(index.slot()).map(|state| state.topic.name())
    }

    pub(super) fn subscribers(&self, topic: &Topic) -> usize {
        self.find(topic).map_or(0, |index| self[index].audience())
    }

    /// Number of streams that the next event will be offered to; zero if it has been forgotten.
    pub(super) fn subscribers_at(&self, index: TopicIndex) -> usize {
        self.states.get(index.slot()).map_or(0, TopicState::audience)
    }

    /// What the ids of this series begin with.
    pub(super) fn id_prefix(&self, series: Series) -> &str {
        match (&self.namespace, series) {
            (Some(namespace), Series::Spanning) => namespace.id_prefix(),
            _ => &self.epoch,
        }
    }

    /// The last sequence of any topic in each series.
    pub(super) fn progress(&self) -> Progress {
        let spanning = self.namespace.as_ref().map_or(0, |namespace| namespace.position());
        Progress { local: self.sequence, spanning }
    }

    pub(super) fn log_bytes(&self) -> usize {
        self.log_bytes
    }

    /// Bytes published that have not been offered to all subscribers yet.
    pub(super) fn unoffered_bytes(&self) -> usize {
        self.unoffered_bytes
    }

    /// The log of a subscription, and its cursor on it.
    fn position(&self, subscription: Subscription) -> (&Log, u64) {
        let state = &self[subscription.topic];
        (&state.log, state.subscribers[subscription.place as usize].cursor)
    }

    /// Changes a topic's log, and updates the total of log bytes.
    fn change<R>(&mut self, index: TopicIndex, change: impl FnOnce(&mut TopicState) -> R) -> R {
        let state = &mut self.states[index.slot()];
        self.log_bytes -= state.log.bytes();
        let result = change(state);
        self.log_bytes += state.log.bytes();
        self.touch(index);
        result
    }

    /// Frees the places of forgotten topics once three quarters of all places are free. Checked
    /// only when the number of topics has halved, because it may walk over all places.
    fn shrink_after_a_rush(&mut self) {
        let topics = self.states.len();
        let halves = topics == 0 || topics.is_power_of_two();
        if halves && self.states.capacity() > PLACES_KEPT.max(4 * topics) {
            self.states.shrink_to_fit();
            self.by_name.shrink_to(2 * topics);
        }
    }

    /// Frees the memory of a large publish.
    pub(super) fn release_large_buffers(&mut self) {
        release(&mut self.frame_scratch);
    }

    /// Removes an unused topic. Returns its timers.
    pub(super) fn forget(&mut self, index: TopicIndex, now: u64) -> Forgotten {
        let state = self.states.remove(index.slot());
        if let Some(audiences) = &mut self.audiences {
            audiences.parts.remove(&index);
        }
        self.by_name.remove(state.topic.shared_name());
        self.unlist(index, &state);
        if state.topic.options().history == History::On && state.series == Series::Local {
            self.forgotten = self.forgotten.max(state.log.last_sequence());
        }
        if state.is_finished()
            && state.series == Series::Local
            && let (Some(end), Some(until)) = (state.log.end(), state.kept_until())
        {
            self.tombstones.add(&state.topic, end, until, now);
        }
        self.log_bytes -= state.log.bytes();
        self.unoffered_bytes -= state.unoffered_bytes + state.pass.map_or(0, |pass| pass.bytes);
        self.shrink_after_a_rush();
        Forgotten { watch: state.watch, driver: state.driver.map(|driver| driver.timer()) }
    }
}

/// A topic is in use as long as a stream is subscribed to it, a pass over it is running, or an
/// updater drives it. Other holders of a [`TopicIndex`] look it up first.
impl Index<TopicIndex> for Topics {
    type Output = TopicState;

    fn index(&self, index: TopicIndex) -> &TopicState {
        &self.states[index.slot()]
    }
}

impl IndexMut<TopicIndex> for Topics {
    fn index_mut(&mut self, index: TopicIndex) -> &mut TopicState {
        &mut self.states[index.slot()]
    }
}

/// Places that are always kept.
const PLACES_KEPT: usize = 64;
