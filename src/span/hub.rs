//! [`Hub`]: passes events that have places to the reactors of this process that use their topics.

mod finished;
mod pasts;

use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::Arc,
};

use slab::Slab;

use super::archive::Archive;
use crate::topic::{
    Arrival, Compressible, Continues, Generations, History, Loss, Lost, Placed, Tombstones, Topic,
};

/// What the reactors of one process use of a namespace, and what their topics keep.
///
/// Everything it sends to a reactor is in order. A reactor that takes nothing anymore does not stop
/// the others: it is left out, and gets one loss and its archives when it
/// [catches up](Self::catch_up).
#[derive(Debug)]
pub(crate) struct Hub<I> {
    generations: Generations,
    /// The last place that has come here.
    position: u64,
    by_name: HashMap<Arc<str>, usize>,
    topics: Slab<Entry>,
    seats: Vec<Seat<I>>,
    /// Topics whose past is in the store of the namespace, and has not been asked for.
    unasked: VecDeque<Arc<str>>,
    /// Number of topics whose past has not come.
    unknown: usize,
    /// A loss is to come, with the pasts of all topics. No past comes before it.
    is_recovering: bool,
    pasts: Pasts,
    /// The last place of a topic with history that was forgotten. A topic that is new may have
    /// existed before, and lost events up to here.
    forgotten: u64,
    /// Topics that were finished, and of which no more is kept.
    tombstones: Tombstones,
    /// Topics without users, and when to see whether they can be forgotten; in order of time.
    unused: VecDeque<(u64, Arc<str>)>,
    scratch: Vec<u8>,
}

/// The queue to one reactor.
pub(crate) trait Inbox {
    fn room(&self) -> Room;

    /// Never refused: the hub asks for [room](Self::room) first.
    fn place(&self, placed: Arc<Placed>);

    /// Never refused, because it is rare.
    fn arrive(&self, arrival: Arrival);
}

/// Whether a reactor takes an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    Free,
    /// Its queue is full, and publishers must wait for it.
    Full,
    /// It has been full for so long that publishers no longer wait for it.
    Stalled,
    /// It has stopped.
    Gone,
}

/// One of the reactors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReactorIndex(pub(crate) usize);

/// Where the past of a topic is that begins to be used in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pasts {
    /// There is none: events get their places here.
    Here,
    /// In the store of the namespace.
    InStore,
}

#[derive(Debug)]
struct Seat<I> {
    inbox: I,
    /// It has been left out, and must get its loss before anything else.
    is_behind: bool,
    /// It uses nothing anymore.
    is_gone: bool,
    /// Number of times that it was left out.
    losses: u64,
}

/// A topic that is in use, or keeps events.
#[derive(Debug)]
struct Entry {
    /// The value that reactors get. It does not count as a clone of the application's.
    topic: Topic,
    /// The value that the topic began with: while the program has clones of it, it stays.
    origin: Topic,
    users: Vec<ReactorIndex>,
    archive: Archive,
    /// The archive has what the topic had before it was used here.
    has_past: bool,
    /// Events after this place have come one by one.
    began_after: u64,
    last_use_ms: u64,
    /// When the topic was finished, or that was learned here.
    finished_ms: u64,
    /// Listed in `unused`.
    is_listed: bool,
}

impl<I: Inbox> Hub<I> {
    /// A hub in its first generation. `name` consists of letters and digits, and no other namespace
    /// has the same one.
    pub(super) fn new(name: &str) -> Self {
        Self {
            generations: Generations::new(name),
            position: FIRST_PLACE - 1,
            by_name: HashMap::new(),
            topics: Slab::new(),
            seats: Vec::new(),
            unasked: VecDeque::new(),
            unknown: 0,
            is_recovering: false,
            pasts: Pasts::Here,
            forgotten: FIRST_PLACE - 1,
            tombstones: Tombstones::default(),
            unused: VecDeque::new(),
            scratch: Vec::new(),
        }
    }

    /// A further reactor. Its engine joins with [`generations`](Self::generations) and
    /// [`position`](Self::position) before anything else is called for it.
    pub(crate) fn add_reactor(&mut self, inbox: I) -> ReactorIndex {
        self.seats.push(Seat { inbox, is_behind: false, is_gone: false, losses: 0 });
        ReactorIndex(self.seats.len() - 1)
    }

    pub(crate) fn inbox(&self, reactor: ReactorIndex) -> &I {
        &self.seats[reactor.0].inbox
    }

    pub(crate) fn inboxes(&self) -> impl Iterator<Item = (ReactorIndex, &I)> {
        let numbered = self.seats.iter().enumerate();
        numbered.map(|(number, seat)| (ReactorIndex(number), &seat.inbox))
    }

    pub(crate) fn generations(&self) -> &Generations {
        &self.generations
    }

    /// The last place that has come here.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Topics of the program that are in use or keep events.
    pub(crate) fn topics(&self) -> usize {
        self.topics.len() - usize::from(self.by_name.contains_key(Topic::CLOSINGS))
    }

    /// Number of times that this reactor was left out.
    pub(crate) fn losses(&self, reactor: ReactorIndex) -> u64 {
        self.seats[reactor.0].losses
    }

    /// True when all reactors have stopped.
    pub(crate) fn is_empty(&self) -> bool {
        self.seats.iter().all(|seat| seat.is_gone)
    }

    /// True while any reactor uses the topic.
    pub(crate) fn is_in_use(&self, topic: &Topic) -> bool {
        let index = self.by_name.get(topic.shared_name());
        index.is_some_and(|&index| !self.topics[index].users.is_empty())
    }
}

/// Events.
impl<I: Inbox> Hub<I> {
    /// Whether all reactors that use this topic take an event; asked before it gets a place. A reactor
    /// that is stalled is left out from here on.
    pub(super) fn has_room_for(&mut self, name: &Arc<str>) -> bool {
        let Some(&index) = self.by_name.get(name) else { return true };
        for nth in 0..self.topics[index].users.len() {
            let user = self.topics[index].users[nth];
            let seat = &mut self.seats[user.0];
            match seat.inbox.room() {
                Room::Full if !seat.is_behind => return false,
                Room::Stalled if !seat.is_behind => seat.leave_out(),
                Room::Free if seat.is_behind => self.catch_up(user),
                _ => {}
            }
        }
        true
    }

    /// The next event has this place. False if nobody here uses the topic.
    pub(super) fn place(
        &mut self,
        place: u64,
        name: &Arc<str>,
        events: &[u8],
        kind: (Compressible, Continues),
        now_ms: u64,
    ) -> bool {
        self.position = place;
        let Some(&index) = self.by_name.get(name) else { return false };
        let place = (self.generations.current(), place);
        let Entry { topic, users, archive, finished_ms, .. } = &mut self.topics[index];
        let placed = Arc::new(Placed::new(topic, place, events, kind, &mut self.scratch));
        if placed.is_last() {
            *finished_ms = now_ms;
        }
        for user in users {
            let seat = &self.seats[user.0];
            if !seat.is_behind {
                seat.inbox.place(Arc::clone(&placed));
            }
        }
        if topic.options().keeps_events() {
            archive.push(placed, topic.options());
        }
        true
    }

    /// The topic is published on here, so it must not be forgotten yet. False if it is not known.
    pub(super) fn touch(&mut self, name: &Arc<str>, now_ms: u64) -> bool {
        let index = self.by_name.get(name);
        index.is_some_and(|&index| {
            self.topics[index].last_use_ms = now_ms;
            true
        })
    }

    /// This place is of nothing that reactors get.
    pub(super) fn come_to(&mut self, place: u64) {
        self.position = place;
    }
}

/// Uses.
impl<I: Inbox> Hub<I> {
    /// A reactor uses the topic after the returned place, with the returned value. It gets what the
    /// topic keeps, now or when that has come from the store.
    pub(crate) fn begin_use(
        &mut self,
        reactor: ReactorIndex,
        topic: &Topic,
        now_ms: u64,
    ) -> (u64, Topic) {
        if self.seats[reactor.0].is_behind {
            // What it gets now must not hide what it has missed.
            self.catch_up(reactor);
        }
        let index = self.open(topic, now_ms);
        self.drop_what_is_over(index, now_ms);
        let entry = &mut self.topics[index];
        if !entry.users.contains(&reactor) {
            entry.users.push(reactor);
        }
        entry.last_use_ms = now_ms;
        let topic = entry.topic.clone();
        // Otherwise it comes with the loss.
        let may_come = !self.is_recovering && !self.seats[reactor.0].is_behind;
        if may_come && entry.keeps_something() && entry.has_past {
            let past = entry.archive.backlog(self.position);
            self.inbox(reactor).arrive(Arrival::Hydrate(topic.clone(), past));
        }
        (self.position, topic)
    }

    /// A reactor has dropped what it had of the topic.
    pub(crate) fn end_use(&mut self, reactor: ReactorIndex, topic: &Topic, now_ms: u64) {
        let Some(&index) = self.by_name.get(topic.shared_name()) else { return };
        let entry = &mut self.topics[index];
        entry.users.retain(|user| *user != reactor);
        entry.last_use_ms = now_ms;
        self.list_if_unused(index, now_ms);
        self.forget_unused(now_ms);
    }

    /// A reactor has stopped; it uses nothing. Nothing happens the second time.
    pub(crate) fn remove_reactor(&mut self, reactor: ReactorIndex, now_ms: u64) {
        if mem::replace(&mut self.seats[reactor.0].is_gone, true) {
            return;
        }
        let all: Vec<_> = self.topics.iter().map(|(index, _)| index).collect();
        for index in all {
            self.topics[index].users.retain(|user| *user != reactor);
            self.list_if_unused(index, now_ms);
        }
    }

    /// The reactor has room again after it was left out: it gets a loss, and what its topics keep.
    /// Nothing happens if it was not left out, or as long as pasts are missing.
    pub(crate) fn catch_up(&mut self, reactor: ReactorIndex) {
        let seat = &mut self.seats[reactor.0];
        if !seat.is_behind || self.unknown > 0 {
            return;
        }
        seat.is_behind = false;
        let loss = self.loss_of(reactor, Lost::Skipped { up_to: self.position });
        self.inbox(reactor).arrive(Arrival::Lost(loss));
    }

    /// The same for all reactors that have room, as soon as no past is missing.
    pub(super) fn catch_up_all(&mut self) {
        for reactor in (0..self.seats.len()).map(ReactorIndex) {
            let seat = &self.seats[reactor.0];
            if seat.is_behind && seat.inbox.room() == Room::Free {
                self.catch_up(reactor);
            }
        }
    }

    /// Subscribers that have lost nothing, because their topics keep it, continue.
    fn loss_of(&self, reactor: ReactorIndex, lost: Lost) -> Loss {
        let is_due = |entry: &&Entry| entry.users.contains(&reactor) && entry.keeps_something();
        let used = self.topics.iter().map(|(_, entry)| entry).filter(is_due);
        let pasts = used.map(|entry| (entry.topic.clone(), entry.archive.backlog(self.position)));
        Loss { lost, pasts: pasts.collect() }
    }

    /// Forgets topics that have had no users for a minute, and of which the program has no clone.
    /// Called when a use ends; once a minute suffices besides.
    pub(crate) fn forget_unused(&mut self, now_ms: u64) {
        while self.unused.front().is_some_and(|(due_ms, _)| *due_ms <= now_ms)
            && let Some((_, name)) = self.unused.pop_front()
        {
            let Some(&index) = self.by_name.get(&name) else { continue };
            let entry = &mut self.topics[index];
            entry.is_listed = false;
            let is_over = entry.forget_at() <= now_ms && !entry.is_held();
            if entry.users.is_empty() && is_over {
                self.forget(index, now_ms);
            } else {
                self.drop_what_is_over(index, now_ms);
                self.list_if_unused(index, now_ms);
            }
        }
    }

    fn forget(&mut self, index: usize, now_ms: u64) {
        let entry = self.topics.remove(index);
        self.by_name.remove(entry.topic.shared_name());
        self.unknown -= usize::from(!entry.has_past);
        if entry.topic.options().history == History::On {
            self.forgotten = self.forgotten.max(entry.archive.last_place());
        }
        if let (Some(end), Some(until_ms)) = (entry.archive.end(), entry.kept_until_ms()) {
            self.tombstones.add(&entry.topic, end, until_ms, now_ms);
        }
    }

    /// A topic that keeps nothing is forgotten at once when it has no users, others later.
    fn list_if_unused(&mut self, index: usize, now_ms: u64) {
        let entry = &mut self.topics[index];
        if !entry.users.is_empty() {
            return;
        }
        if !entry.keeps_something() {
            self.forget(index, now_ms);
        } else if !mem::replace(&mut entry.is_listed, true) {
            let name = Arc::clone(entry.topic.shared_name());
            self.unused.push_back((now_ms + FORGET_AFTER_MS, name));
        }
    }

    /// The topic's entry. A new one is watched, because it may never be used.
    pub(super) fn open(&mut self, topic: &Topic, now_ms: u64) -> usize {
        if let Some(&index) = self.by_name.get(topic.shared_name()) {
            return index;
        }
        let name = topic.shared_name();
        let lost_up_to = match self.pasts {
            Pasts::Here => self.forgotten,
            Pasts::InStore => self.position,
        };
        let mut entry = Entry::new(topic, lost_up_to, now_ms);
        if let Some(remembered) = self.tombstones.get(name, now_ms)
            && entry.keeps_something()
        {
            entry.archive = Archive::finished(lost_up_to.max(remembered.end), remembered.end);
        }
        let index = self.topics.insert(entry);
        self.by_name.insert(Arc::clone(name), index);
        self.unused.push_back((now_ms + FORGET_AFTER_MS, Arc::clone(name)));
        if self.pasts == Pasts::InStore && topic.options().keeps_events() {
            self.await_past(index);
        }
        index
    }
}

impl<I> Seat<I> {
    fn leave_out(&mut self) {
        self.is_behind = true;
        self.losses += 1;
    }
}

impl Entry {
    fn new(topic: &Topic, lost_up_to: u64, now_ms: u64) -> Self {
        Self {
            topic: topic.detached(),
            origin: topic.clone(),
            users: Vec::new(),
            archive: Archive::new(lost_up_to),
            has_past: true,
            began_after: lost_up_to,
            last_use_ms: now_ms,
            finished_ms: 0,
            is_listed: true,
        }
    }

    fn keeps_something(&self) -> bool {
        self.topic.options().keeps_events()
    }

    fn is_held(&self) -> bool {
        self.origin.clones() > 1 && self.archive.end().is_none()
    }

    fn forget_at(&self) -> u64 {
        self.kept_until_ms().unwrap_or(self.last_use_ms + FORGET_AFTER_MS)
    }
}

/// So that there is a place before everything that is kept.
pub(crate) const FIRST_PLACE: u64 = 2;
/// How long a topic is kept after its last use.
const FORGET_AFTER_MS: u64 = 60_000;
