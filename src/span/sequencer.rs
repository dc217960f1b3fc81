//! [`Sequencer`]: gives places to events, and passes them to the reactors that use their topics.

use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::Arc,
};

use super::archive::Archive;
use crate::topic::{Arrival, Compressible, Generations, History, Lost, Placed, Topic};

/// Numbers the events of a namespace, and knows which member uses which topic.
///
/// Everything it sends to a member is in order. A member that takes nothing any more does not stop
/// the others: it is left out, and gets one loss and its archives when it
/// [catches up](Self::catch_up).
#[derive(Debug)]
pub(crate) struct Sequencer<M> {
    generations: Generations,
    /// The last place given.
    position: u64,
    topics: HashMap<Arc<str>, Entry>,
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
    /// It has been full for so long that nobody waits for it any more.
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
    /// It has been left out, and must hear of it before anything else.
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
            position: 0,
            topics: HashMap::new(),
            members: Vec::new(),
            forgotten: 0,
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
        let keeps_events = topic.options().keeps_events();
        if events.is_empty() || !(keeps_events || self.topics.contains_key(topic.shared_name())) {
            return Ok(());
        }
        let entry = self.entry(topic, now_ms);
        entry.last_use_ms = now_ms;
        let (topic, users) = (entry.topic.clone(), mem::take(&mut entry.users));
        let published = self.ask_for_room(&users);
        if published.is_ok() {
            for event in events {
                self.place(&topic, &users, event, compression);
            }
        }
        if let Some(entry) = self.topics.get_mut(topic.shared_name()) {
            entry.users = users;
        }
        published
    }

    /// Before a place is given. A member that is stalled is left out from here on.
    fn ask_for_room(&mut self, users: &[MemberIndex]) -> Result<(), Refused> {
        for user in users {
            let seat = &mut self.members[user.0];
            match seat.queue.room() {
                Room::Full if !seat.is_behind => return Err(Refused::Full),
                Room::Stalled if !seat.is_behind => seat.leave_out(),
                Room::Free if seat.is_behind => self.catch_up(*user),
                _ => {}
            }
        }
        Ok(())
    }

    fn place(
        &mut self,
        topic: &Topic,
        users: &[MemberIndex],
        events: &[u8],
        compression: Compressible,
    ) {
        self.position += 1;
        let place = (self.generations.current(), self.position);
        let placed = Arc::new(Placed::new(topic, place, events, compression, &mut self.scratch));
        for user in users {
            let seat = &self.members[user.0];
            if !seat.is_behind {
                seat.queue.place(Arc::clone(&placed));
            }
        }
        let options = topic.options();
        if options.keeps_events()
            && let Some(entry) = self.topics.get_mut(topic.shared_name())
        {
            entry.archive.push(placed, options);
        }
    }
}

/// Uses.
impl<M: Member> Sequencer<M> {
    /// A member uses the topic from now on. It gets what the topic keeps.
    pub(crate) fn begin_use(&mut self, member: MemberIndex, topic: &Topic, now_ms: u64) {
        if self.members[member.0].is_behind {
            // What it gets now must not hide what it has missed.
            self.catch_up(member);
        }
        let position = self.position;
        let entry = self.entry(topic, now_ms);
        if !entry.users.contains(&member) {
            entry.users.push(member);
        }
        entry.last_use_ms = now_ms;
        if entry.topic.options().keeps_events() {
            let hydrate = entry.hydrate(position);
            self.members[member.0].queue.arrive(hydrate);
        }
    }

    /// A member has dropped what it had of the topic.
    pub(crate) fn end_use(&mut self, member: MemberIndex, topic: &Topic, now_ms: u64) {
        let Some(entry) = self.topics.get_mut(topic.shared_name()) else { return };
        entry.users.retain(|user| *user != member);
        entry.last_use_ms = now_ms;
        self.list_if_unused(topic.shared_name(), now_ms);
        self.forget_unused(now_ms);
    }

    /// A member has stopped; it uses nothing. Nothing happens the second time.
    pub(crate) fn remove_member(&mut self, member: MemberIndex, now_ms: u64) {
        if mem::replace(&mut self.members[member.0].is_gone, true) {
            return;
        }
        let names: Vec<_> = self.topics.keys().cloned().collect();
        for name in names {
            if let Some(entry) = self.topics.get_mut(&name) {
                entry.users.retain(|user| *user != member);
            }
            self.list_if_unused(&name, now_ms);
        }
    }

    /// The member has room again after it was left out: it hears that it has missed events, and gets
    /// what its topics keep. Nothing happens if it was not left out.
    pub(crate) fn catch_up(&mut self, member: MemberIndex) {
        let seat = &mut self.members[member.0];
        if !mem::replace(&mut seat.is_behind, false) {
            return;
        }
        let up_to = self.position;
        seat.queue.arrive(Arrival::Lost(Lost::Skipped { up_to }));
        self.hydrate(member);
    }

    /// Everything that the topics of a member keep. Subscribers that have lost nothing by it go on.
    fn hydrate(&self, member: MemberIndex) {
        let is_due = |entry: &&Entry| entry.users.contains(&member) && entry.keeps_something();
        let mut entries: Vec<_> = self.topics.values().filter(is_due).collect();
        entries.sort_unstable_by(|a, b| a.topic.name().cmp(b.topic.name()));
        for entry in entries {
            self.members[member.0].queue.arrive(entry.hydrate(self.position));
        }
    }

    /// Forgets topics that have had no users for a minute, and of which the program has no clone.
    /// Called when a use ends; once a minute suffices besides.
    pub(crate) fn forget_unused(&mut self, now_ms: u64) {
        while self.unused.front().is_some_and(|(due_ms, _)| *due_ms <= now_ms)
            && let Some((_, name)) = self.unused.pop_front()
        {
            let Some(entry) = self.topics.get_mut(&name) else { continue };
            entry.is_listed = false;
            if !entry.users.is_empty() {
                continue;
            }
            if !entry.keeps_something() || (entry.forget_at() <= now_ms && !entry.is_held()) {
                self.forget(&name);
            } else {
                self.list_if_unused(&name, now_ms);
            }
        }
    }

    fn forget(&mut self, name: &Arc<str>) {
        if let Some(entry) = self.topics.remove(name)
            && entry.topic.options().history == History::On
        {
            self.forgotten = self.forgotten.max(entry.archive.last_place());
        }
    }

    fn list_if_unused(&mut self, name: &Arc<str>, now_ms: u64) {
        let Some(entry) = self.topics.get_mut(name) else { return };
        if !entry.users.is_empty() || mem::replace(&mut entry.is_listed, true) {
            return;
        }
        if entry.keeps_something() {
            self.unused.push_back((now_ms + FORGET_AFTER_MS, Arc::clone(name)));
        } else {
            self.forget(name);
        }
    }

    /// The topic's entry; a new one is watched, because nobody may ever use it.
    fn entry(&mut self, topic: &Topic, now_ms: u64) -> &mut Entry {
        let name = topic.shared_name();
        if !self.topics.contains_key(name) {
            let entry = Entry::new(topic, self.forgotten, now_ms);
            self.topics.insert(Arc::clone(name), entry);
            self.unused.push_back((now_ms + FORGET_AFTER_MS, Arc::clone(name)));
        }
        self.topics.get_mut(name).expect("it has just been inserted")
    }
}

/// Lives.
impl<M: Member> Sequencer<M> {
    /// A generation begins that has lost everything placed after `place`; nothing, if that is the
    /// last place. No place is given twice.
    pub(crate) fn begin_generation(&mut self, name: &str, place: u64) {
        let place = place.min(self.position);
        self.generations.begin(name, place);
        let is_lossy = place < self.position;
        // A place beyond all that a member may have been told of.
        self.position += u64::from(is_lossy);
        for entry in self.topics.values_mut().filter(|_| is_lossy) {
            entry.archive.undo_after(place);
        }
        for member in (0..self.members.len()).map(MemberIndex) {
            let queue = &self.members[member.0].queue;
            queue.arrive(Arrival::Generations(self.generations.clone()));
            if is_lossy {
                let undone = Lost::Undone { after: place, up_to: self.position };
                queue.arrive(Arrival::Lost(undone));
                self.hydrate(member);
            }
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

    fn hydrate(&self, complete_up_to: u64) -> Arrival {
        Arrival::Hydrate(self.topic.clone(), self.archive.backlog(complete_up_to))
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

/// How long a topic is kept after its last use.
const FORGET_AFTER_MS: u64 = 60_000;
