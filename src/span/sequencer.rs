//! [`Sequencer`]: gives places to events, and passes them to the reactors that use their topics.

use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::Arc,
};

use slab::Slab;

use super::archive::Archive;
use crate::topic::{Arrival, Compressible, Generations, History, Loss, Lost, Placed, Topic};

/// Numbers the events of a namespace, and knows which member uses which topic.
///
/// Everything it sends to a member is in order. A member that takes nothing anymore does not stop
/// the others: it is left out, and gets one loss and its archives when it
/// [catches up](Self::catch_up).
#[derive(Debug)]
pub(crate) struct Sequencer<M> {
    generations: Generations,
    /// The last place given.
    position: u64,
    by_name: HashMap<Arc<str>, usize>,
    topics: Slab<Entry>,
    members: Vec<Seat<M>>,
    /// The last place of a topic with history that was forgotten. A topic that is new may have
    /// existed before, and lost events up to here.
    forgotten: u64,
    /// Topics without users, and when to see whether they can be forgotten; in order of time.
    unused: VecDeque<(u64, Arc<str>)>,
    scratch: Vec<u8>,
}

/// The queue to one reactor.
pub(crate) trait Member {
    fn room(&self) -> Room;

    /// Never refused: the sequencer asks for [room](Self::room) first.
    fn place(&self, placed: Arc<Placed>);

    /// Never refused, because it is rare.
    fn arrive(&self, arrival: Arrival);
}

/// Whether a member takes an event.
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

/// Why events got no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    /// All members have stopped.
    Closed,
}

/// One of the members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MemberIndex(pub(crate) usize);

#[derive(Debug)]
struct Seat<M> {
    queue: M,
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
    /// The value that members get. It does not count as a clone of the application's.
    topic: Topic,
    /// The value that the topic began with: while the program has clones of it, it stays.
    origin: Topic,
    users: Vec<MemberIndex>,
    archive: Archive,
    last_use_ms: u64,
    /// Listed in `unused`.
    is_listed: bool,
}

impl<M: Member> Sequencer<M> {
    /// A sequencer in its first generation. `name` consists of letters and digits, and no other
    /// sequencer has the same one.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            generations: Generations::new(name),
            position: FIRST_PLACE - 1,
            by_name: HashMap::new(),
            topics: Slab::new(),
            members: Vec::new(),
            forgotten: FIRST_PLACE - 1,
            unused: VecDeque::new(),
            scratch: Vec::new(),
        }
    }

    /// A further member. Its engine joins with [`generations`](Self::generations) and
    /// [`position`](Self::position) before anything else is called for it.
    pub(crate) fn add_member(&mut self, queue: M) -> MemberIndex {
        self.members.push(Seat { queue, is_behind: false, is_gone: false, losses: 0 });
        MemberIndex(self.members.len() - 1)
    }

    pub(crate) fn member(&self, member: MemberIndex) -> &M {
        &self.members[member.0].queue
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = (MemberIndex, &M)> {
        let numbered = self.members.iter().enumerate();
        numbered.map(|(number, seat)| (MemberIndex(number), &seat.queue))
    }

    pub(crate) fn generations(&self) -> &Generations {
        &self.generations
    }

    /// The last place given.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Topics that are in use or keep events.
    pub(crate) fn topics(&self) -> usize {
        self.topics.len()
    }

    /// Number of times that this member was left out.
    pub(crate) fn losses(&self, member: MemberIndex) -> u64 {
        self.members[member.0].losses
    }

    /// Gives places to events, directly after each other, and passes them to all members that use
    /// the topic: all of them or, if one has no room, none. Costs nothing when nobody uses the topic
    /// and it keeps nothing.
    pub(crate) fn publish(
        &mut self,
        topic: &Topic,
        events: &[&[u8]],
        compression: Compressible,
        now_ms: u64,
    ) -> Result<(), Refused> {
        if self.members.iter().all(|seat| seat.is_gone) {
            return Err(Refused::Closed);
        }
        let index = match self.by_name.get(topic.shared_name()) {
            _ if events.is_empty() => return Ok(()),
            Some(&index) => index,
            None if topic.options().keeps_events() => self.open(topic, now_ms),
            None => return Ok(()),
        };
        self.topics[index].last_use_ms = now_ms;
        self.ask_for_room(index)?;
        for event in events {
            self.place(index, event, compression);
        }
        Ok(())
    }

    /// Before a place is given. A member that is stalled is left out from here on.
    fn ask_for_room(&mut self, topic: usize) -> Result<(), Refused> {
        for nth in 0..self.topics[topic].users.len() {
            let user = self.topics[topic].users[nth];
            let seat = &mut self.members[user.0];
            match seat.queue.room() {
                Room::Full if !seat.is_behind => return Err(Refused::Full),
                Room::Stalled if !seat.is_behind => seat.leave_out(),
                Room::Free if seat.is_behind => self.catch_up(user),
                _ => {}
            }
        }
        Ok(())
    }

    fn place(&mut self, topic: usize, events: &[u8], compression: Compressible) {
        self.position += 1;
        let place = (self.generations.current(), self.position);
        let Entry { topic, users, archive, .. } = &mut self.topics[topic];
        let placed = Arc::new(Placed::new(topic, place, events, compression, &mut self.scratch));
        for user in users {
            let seat = &self.members[user.0];
            if !seat.is_behind {
                seat.queue.place(Arc::clone(&placed));
            }
        }
        if topic.options().keeps_events() {
            archive.push(placed, topic.options());
        }
    }
}

/// Uses.
impl<M: Member> Sequencer<M> {
    /// A member uses the topic after the returned place, with the returned value. It gets what the
    /// topic keeps.
    pub(crate) fn begin_use(
        &mut self,
        member: MemberIndex,
        topic: &Topic,
        now_ms: u64,
    ) -> (u64, Topic) {
        if self.members[member.0].is_behind {
            // What it gets now must not hide what it has missed.
            self.catch_up(member);
        }
        let position = self.position;
        let index = self.open(topic, now_ms);
        let entry = &mut self.topics[index];
        if !entry.users.contains(&member) {
            entry.users.push(member);
        }
        entry.last_use_ms = now_ms;
        let topic = entry.topic.clone();
        if topic.options().keeps_events() {
            let past = entry.archive.backlog(position);
            self.member(member).arrive(Arrival::Hydrate(topic.clone(), past));
        }
        (position, topic)
    }

    /// True while any member uses the topic.
    pub(crate) fn is_in_use(&self, topic: &Topic) -> bool {
        let index = self.by_name.get(topic.shared_name());
        index.is_some_and(|&index| !self.topics[index].users.is_empty())
    }

    /// A member has dropped what it had of the topic.
    pub(crate) fn end_use(&mut self, member: MemberIndex, topic: &Topic, now_ms: u64) {
        let Some(&index) = self.by_name.get(topic.shared_name()) else { return };
        let entry = &mut self.topics[index];
        entry.users.retain(|user| *user != member);
        entry.last_use_ms = now_ms;
        self.list_if_unused(index, now_ms);
        self.forget_unused(now_ms);
    }

    /// A member has stopped; it uses nothing. Nothing happens the second time.
    pub(crate) fn remove_member(&mut self, member: MemberIndex, now_ms: u64) {
        if mem::replace(&mut self.members[member.0].is_gone, true) {
            return;
        }
        let all: Vec<_> = self.topics.iter().map(|(index, _)| index).collect();
        for index in all {
            self.topics[index].users.retain(|user| *user != member);
            self.list_if_unused(index, now_ms);
        }
    }

    /// The member has room again after it was left out: it gets a loss, and
    /// what its topics keep. Nothing happens if it was not left out.
    pub(crate) fn catch_up(&mut self, member: MemberIndex) {
        let seat = &mut self.members[member.0];
        if !mem::replace(&mut seat.is_behind, false) {
            return;
        }
        let loss = self.loss_of(member, Lost::Skipped { up_to: self.position });
        self.member(member).arrive(Arrival::Lost(loss));
    }

    /// Subscribers that have lost nothing, because their topics keep it, continue.
    fn loss_of(&self, member: MemberIndex, lost: Lost) -> Loss {
        let is_due = |entry: &&Entry| entry.users.contains(&member) && entry.keeps_something();
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
                self.forget(index);
            } else {
                self.list_if_unused(index, now_ms);
            }
        }
    }

    fn forget(&mut self, index: usize) {
        let entry = self.topics.remove(index);
        self.by_name.remove(entry.topic.shared_name());
        if entry.topic.options().history == History::On {
            self.forgotten = self.forgotten.max(entry.archive.last_place());
        }
    }

    /// A topic that keeps nothing is forgotten at once when it has no users, others later.
    fn list_if_unused(&mut self, index: usize, now_ms: u64) {
        let entry = &mut self.topics[index];
        if !entry.users.is_empty() {
            return;
        }
        if !entry.keeps_something() {
            self.forget(index);
        } else if !mem::replace(&mut entry.is_listed, true) {
            let name = Arc::clone(entry.topic.shared_name());
            self.unused.push_back((now_ms + FORGET_AFTER_MS, name));
        }
    }

    /// The topic's entry. A new one is watched, because it may never be used.
    fn open(&mut self, topic: &Topic, now_ms: u64) -> usize {
        if let Some(&index) = self.by_name.get(topic.shared_name()) {
            return index;
        }
        let name = topic.shared_name();
        let index = self.topics.insert(Entry::new(topic, self.forgotten, now_ms));
        self.by_name.insert(Arc::clone(name), index);
        self.unused.push_back((now_ms + FORGET_AFTER_MS, Arc::clone(name)));
        index
    }
}

/// Lives.
impl<M: Member> Sequencer<M> {
    /// A generation begins that has lost everything placed after `place`; nothing, if that is the
    /// last place. No place is given twice.
    pub(crate) fn begin_generation(&mut self, name: &str, place: u64) {
        let place = place.clamp(FIRST_PLACE - 1, self.position);
        self.generations.begin(name, place);
        let is_lossy = place < self.position;
        // A place after all that a member may have.
        self.position += u64::from(is_lossy);
        for (_, entry) in self.topics.iter_mut().filter(|_| is_lossy) {
            entry.archive.undo_after(place);
        }
        for member in (0..self.members.len()).map(MemberIndex) {
            let undone = Lost::Undone { after: place, up_to: self.position };
            let loss = is_lossy.then(|| self.loss_of(member, undone));
            let generations = self.generations.clone();
            self.member(member).arrive(Arrival::Generations(generations, loss));
        }
    }
}

impl<M> Seat<M> {
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
            last_use_ms: now_ms,
            is_listed: true,
        }
    }

    fn keeps_something(&self) -> bool {
        self.topic.options().keeps_events()
    }

    fn is_held(&self) -> bool {
        self.origin.clones() > 1
    }

    fn forget_at(&self) -> u64 {
        self.last_use_ms + FORGET_AFTER_MS
    }
}

/// So that there is a place before everything that is kept.
const FIRST_PLACE: u64 = 2;
/// How long a topic is kept after its last use.
const FORGET_AFTER_MS: u64 = 60_000;
