//! The server of a namespace's store in a simulation, and every place that it has ever given.

use super::parser::{EventParser, ParsedEvent};
use crate::span::{
    Key, RoomLeft, Store, Survives,
    protocol::{Content, Entry, Reply, Request},
};

/// A store with a clock of its own that can stop, start again, and lose what it had.
#[derive(Debug)]
pub(super) struct Server {
    store: Store,
    now_ms: u64,
    /// How far its clock is ahead of the start of the simulation.
    clock_ahead_ms: u64,
    is_stopped: bool,
    /// What processes have sent on connections that have ended since.
    ghosts: Vec<Ghost>,
    given: Vec<GivenPlace>,
    generations: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Ghost {
    pub(super) due_ms: u64,
    pub(super) member: String,
    pub(super) request: Request,
}

/// An event that the store of [`SimulatedMachines`](super::SimulatedMachines) has given a place.
///
/// ```
/// use starwheel::{Router, Topic, testing::SimulatedMachines};
/// let mut machines = SimulatedMachines::new(2, |_machine| Router::new());
/// machines.handle(0).publish(&Topic::new("news"), "one").unwrap();
/// machines.turn();
/// let places = machines.places();
/// assert_eq!((places[0].topic.as_str(), places[0].events[0].data.as_str()), ("news", "one"));
/// assert!(!places[0].is_lost());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GivenPlace {
    /// The number in the id of the event.
    pub place: u64,
    /// The name of the topic.
    pub topic: String,
    /// What was published, without ids.
    pub events: Vec<ParsedEvent>,
    /// The [generation](super::SimulatedMachines::generations) in which it was given.
    pub generation: usize,
    /// The generation that no longer has it.
    pub lost_in: Option<usize>,
}

impl GivenPlace {
    /// True if the store has lost the event, and a generation has begun since. Publishers that still
    /// have it publish it again.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost_in.is_some()
    }
}

impl Server {
    pub(super) fn new(name: &str) -> Self {
        Self {
            store: Store::new(name),
            now_ms: 0,
            clock_ahead_ms: CLOCK_AT_START_MS,
            is_stopped: false,
            ghosts: Vec::new(),
            given: Vec::new(),
            generations: Vec::new(),
        }
    }

    /// `None` if the store has no room for what the request needs: that ends the connection.
    pub(super) fn apply(&mut self, member: &str, request: &Request) -> Option<Reply> {
        let before = self.store.position();
        let now_ms = self.clock_ahead_ms.saturating_add(self.now_ms);
        let reply = self.store.apply(member, request, now_ms).ok();
        if matches!(request, Request::Greet { .. } | Request::Append { .. }) {
            self.note_places(before);
        }
        reply
    }

    /// All new entries are still in the log.
    fn note_places(&mut self, before: Option<u64>) {
        if self.store.position() == before {
            return;
        }
        let generation = Request::Read { after: 0, most: usize::MAX };
        let Ok(Reply::Entries(entries)) = self.store.apply("", &generation, 0) else { return };
        let after = before.unwrap_or_else(|| entries.last().map_or(0, |newest| newest.place - 1));
        for entry in entries.into_iter().filter(|entry| entry.place > after) {
            self.note(entry);
        }
    }

    fn note(&mut self, entry: Entry) {
        let generation = self.generations.len();
        match entry.content {
            Content::Event { topic, events, .. } => self.given.push(GivenPlace {
                place: entry.place,
                topic: (*topic).into(),
                events: EventParser::read(&events).events,
                generation: generation.saturating_sub(1),
                lost_in: None,
            }),
            Content::Generation { name, follows } => {
                let is_gone = |it: &&mut GivenPlace| it.lost_in.is_none() && it.place > follows;
                for lost in self.given.iter_mut().filter(is_gone) {
                    lost.lost_in = Some(generation);
                }
                self.generations.push(name);
            }
            Content::Unreadable => {}
        }
    }

    pub(super) fn given(&self) -> &[GivenPlace] {
        &self.given
    }

    pub(super) fn generations(&self) -> &[String] {
        &self.generations
    }

    pub(super) fn kept_histories(&self) -> usize {
        self.store.histories()
    }

    pub(super) fn set_now(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    pub(super) fn set_clock_ahead(&mut self, ahead_ms: u64) {
        self.clock_ahead_ms = ahead_ms;
    }

    pub(super) fn set_stopped(&mut self, is_stopped: bool) {
        self.is_stopped = is_stopped;
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    pub(super) fn life(&self) -> u64 {
        self.store.life()
    }

    /// Nothing of the life before arrives anymore.
    pub(super) fn restart(&mut self, survives: Survives) {
        self.store.restart(survives);
        self.ghosts.clear();
    }

    pub(super) fn set_room(&mut self, room: RoomLeft) {
        self.store.set_room(room);
    }

    pub(super) fn trim_log(&mut self, kept: usize) {
        self.store.trim_log(kept);
    }

    pub(super) fn delete(&mut self, key: &Key) {
        self.store.delete(key);
    }

    pub(super) fn add_ghosts(&mut self, ghosts: impl Iterator<Item = Ghost>) {
        self.ghosts.extend(ghosts);
        self.ghosts.sort_by_key(|ghost| ghost.due_ms);
    }

    /// What was still on its way on ended connections arrives. True if anything did.
    pub(super) fn take_ghosts(&mut self) -> bool {
        let due = self.ghosts.partition_point(|ghost| ghost.due_ms <= self.now_ms);
        if self.is_stopped || due == 0 {
            return false;
        }
        for ghost in self.ghosts.drain(..due).collect::<Vec<_>>() {
            let _nobody_reads_it = self.apply(&ghost.member, &ghost.request);
        }
        true
    }

    pub(super) fn next_due(&self) -> Option<u64> {
        self.ghosts.first().map(|ghost| ghost.due_ms).filter(|_| !self.is_stopped)
    }
}

/// So that the clock can be set back.
const CLOCK_AT_START_MS: u64 = 1_767_225_600_000;
