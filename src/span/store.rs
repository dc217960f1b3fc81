//! The store of a namespace in memory, with the faults that a store can have.
//!
//! [`Keys`] does what `src/backplane/redis/namespace.lua` does in Redis, in the same order and with
//! the same names. A test of that module runs both beside each other.

mod counts;
mod reading;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use self::counts::{Caller, Counts};
use super::{
    hub::FIRST_PLACE,
    protocol::{
        Batch, Content, Entry, Greeting, Keeps, ONCE_MS, Post, Recorded, Reply, Request, Retention,
        generation_leap,
    },
};
use crate::topic::Continues;

/// A store, in any of its lives.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    name: String,
    /// Makes names of generations different.
    seeds: u64,
    keys: Keys,
    life: u64,
    room: RoomLeft,
    /// What the keys were before the last calls.
    past: Keys,
    calls: VecDeque<Call>,
}

/// What a store still has when it starts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Survives {
    All,
    /// All but what this many last calls have done, at most [`CALLS_MAX`].
    WithoutLast(usize),
    Nothing,
}

/// Whether a store takes more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RoomLeft {
    Some,
    None,
}

/// What can be lost alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    Meta,
    Log,
    Generations,
    Recent,
    Earlier,
    History(Arc<str>),
    Once(Arc<str>, Box<str>),
    Watched,
    Count(Arc<str>),
}

/// What the server says if it refuses a request for which there is no [`Reply`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ServerError(pub(crate) &'static str);

impl Store {
    /// An empty one. `name` consists of letters and digits, and no other store has the same one.
    pub(crate) fn new(name: &str) -> Self {
        let keys = Keys::default();
        let past = keys.clone();
        Self {
            name: name.into(),
            seeds: 0,
            keys,
            life: 0,
            room: RoomLeft::Some,
            past,
            calls: VecDeque::new(),
        }
    }

    /// A `Read` is answered at once, also if there is nothing.
    pub(crate) fn apply(
        &mut self,
        member: &str,
        request: &Request,
        now_ms: u64,
    ) -> Result<Reply, ServerError> {
        let (life, room) = (self.life, self.room);
        self.seeds += u64::from(matches!(request, Request::Greet { .. }));
        let seed = format!("{}s{}", self.name, self.seeds);
        let (member, request) = (member.into(), request.clone());
        let call = Call { member, seed, request, now_ms, life, room };
        let reply = self.keys.apply(&call);
        // What is counted is not worth to be kept exactly.
        if matches!(call.request, Request::Greet { .. } | Request::Append { .. }) {
            self.calls.push_back(call);
        }
        if self.calls.len() > CALLS_MAX
            && let Some(oldest) = self.calls.pop_front()
        {
            let _reply = self.past.apply(&oldest);
        }
        reply
    }

    /// Which life of the store this is; members learn it when they connect.
    pub(crate) fn life(&self) -> u64 {
        self.life
    }

    /// Another life begins.
    pub(crate) fn restart(&mut self, survives: Survives) {
        self.life += 1;
        match survives {
            Survives::All => {}
            Survives::WithoutLast(lost) => {
                self.keys = self.past.clone();
                let kept = self.calls.len().saturating_sub(lost);
                self.calls.iter().take(kept).for_each(|call| drop(self.keys.apply(call)));
            }
            Survives::Nothing => self.keys = Keys::default(),
        }
        self.begin_past();
    }

    /// The last place that it knows; `None` if it has forgotten what it was.
    pub(crate) fn position(&self) -> Option<u64> {
        self.keys.meta.as_ref().map(|meta| meta.n)
    }

    /// Number of topics whose history is kept.
    pub(crate) fn histories(&self) -> usize {
        self.keys.histories.len()
    }

    pub(crate) fn set_room(&mut self, room: RoomLeft) {
        self.room = room;
    }

    /// The log loses its oldest entries but this many.
    pub(crate) fn trim_log(&mut self, kept: usize) {
        if let Some(log) = &mut self.keys.log {
            log.trim(kept);
        }
        self.begin_past();
    }

    /// A key is lost.
    pub(crate) fn delete(&mut self, key: &Key) {
        let keys = &mut self.keys;
        match key {
            Key::Meta => keys.meta = None,
            Key::Log => keys.log = None,
            Key::Generations => keys.generations.clear(),
            Key::Recent => keys.recent = None,
            Key::Earlier => keys.earlier = None,
            Key::History(topic) => drop(keys.histories.remove(topic)),
            Key::Once(topic, key) => {
                keys.once.remove(&(Arc::clone(topic), key.clone()));
            }
            Key::Watched => keys.counts.forget_watched(),
            Key::Count(topic) => keys.counts.forget(topic),
        }
        self.begin_past();
    }

    /// What is lost from here on is not what was before.
    fn begin_past(&mut self) {
        self.past = self.keys.clone();
        self.calls.clear();
    }
}

/// One call of the script.
#[derive(Debug, Clone)]
struct Call {
    member: String,
    seed: String,
    request: Request,
    now_ms: u64,
    life: u64,
    room: RoomLeft,
}

/// The keys of a namespace.
#[derive(Debug, Clone, Default)]
struct Keys {
    meta: Option<Meta>,
    log: Option<Log>,
    generations: VecDeque<(String, u64)>,
    recent: Option<Record>,
    earlier: Option<Record>,
    histories: HashMap<Arc<str>, Kept>,
    /// With the times at which they expire.
    once: HashMap<(Arc<str>, Box<str>), u64>,
    counts: Counts,
}

#[derive(Debug, Clone)]
struct Meta {
    life: u64,
    n: u64,
    generation: (String, u64),
    /// The number and the time of the last batch.
    members: HashMap<String, (u64, u64)>,
}

#[derive(Debug, Clone, Default)]
struct Log {
    entries: VecDeque<Entry>,
    last: u64,
}

/// The last place of each topic with history after `since`.
#[derive(Debug, Clone)]
struct Record {
    since: u64,
    begun_ms: u64,
    places: HashMap<Arc<str>, u64>,
}

#[derive(Debug, Clone)]
struct Kept {
    elements: VecDeque<Element>,
    expires_ms: u64,
}

#[derive(Debug, Clone)]
struct Element {
    before: u64,
    from: usize,
    to: usize,
    recorded: Recorded,
}

impl Keys {
    fn apply(&mut self, call: &Call) -> Result<Reply, ServerError> {
        self.histories.retain(|_, kept| kept.expires_ms > call.now_ms);
        self.once.retain(|_, expires_ms| *expires_ms > call.now_ms);
        match &call.request {
            Request::Greet { floor } => self.greet(*floor, call),
            Request::Append { batch, base, retention } => {
                Ok(self.append(batch, *base, *retention, call))
            }
            Request::Recall(topics) => Ok(self.recall(topics)),
            Request::Count { watch, tell } => {
                let has_room = call.room == RoomLeft::Some;
                let caller = Caller { member: &call.member, now_ms: call.now_ms, has_room };
                Ok(self.counts.count(watch, tell, &caller))
            }
            Request::Read { after, most } => Ok(self.read(*after, *most)),
        }
    }
}

/// Greet.
impl Keys {
    fn greet(&mut self, floor: u64, call: &Call) -> Result<Reply, ServerError> {
        let known = self.meta.as_ref().map(|meta| (meta.life, meta.n));
        let last_of_log = self.log.as_ref().map_or(0, |log| log.last);
        let n = known.map_or_else(|| self.last_of_histories(), |(_, n)| n).max(last_of_log);
        let is_new = known.is_none_or(|(life, _)| life != call.life || floor > n);
        let is_restored = self.generations.is_empty() && known.is_some();
        if (is_new || is_restored) && call.room == RoomLeft::None {
            return Err(ServerError(OUT_OF_MEMORY));
        }
        if let Some(meta) = self.meta.as_ref().filter(|_| is_restored) {
            self.generations.push_back(meta.generation.clone());
        }
        if is_new {
            self.begin_generation(n, floor, call);
        }
        self.forget_members(call.now_ms, is_new);
        let generations = self.generations.iter().cloned().collect();
        let position = self.meta.as_ref().map_or(n, |meta| meta.n);
        let watched = self.counts.watched(call.now_ms);
        Ok(Reply::Greeted(Greeting { generations, position, watched }))
    }

    fn last_of_histories(&self) -> u64 {
        let records = self.recent.iter().chain(&self.earlier);
        let places = records.flat_map(|it| it.places.values().chain([&it.since]));
        places.copied().max().unwrap_or_default()
    }

    fn begin_generation(&mut self, n: u64, floor: u64, call: &Call) {
        let place = match n.max(floor) {
            0 => FIRST_PLACE,
            seen => seen + 1 + generation_leap(&call.member),
        };
        let (name, follows) = (self.new_name(call), n);
        let content = Content::Generation { name: name.clone(), follows };
        self.log.get_or_insert_default().push(Entry { place, content });
        let members = self.meta.take().map(|meta| meta.members).unwrap_or_default();
        let generation = (name, follows);
        self.generations.push_back(generation.clone());
        self.meta = Some(Meta { life: call.life, n: place, generation, members });
        while self.generations.len() > GENERATIONS_MAX {
            self.generations.pop_front();
        }
        if self.recent.is_none() {
            self.earlier = None;
            self.recent = Some(Record::new(place, call.now_ms));
        }
    }

    fn new_name(&self, call: &Call) -> String {
        let last = self.generations.back().and_then(|(name, _)| name.get(..12));
        let time = last.and_then(|time| u64::from_str_radix(time, 16).ok()).unwrap_or_default();
        let seed = call.seed.chars().filter(char::is_ascii_alphanumeric);
        format!("{:012x}{}", call.now_ms.max(time + 1), seed.collect::<String>())
    }

    fn forget_members(&mut self, now_ms: u64, is_new: bool) {
        let Some(meta) = &mut self.meta else { return };
        meta.members.retain(|_, (_, time_ms)| {
            if is_new {
                *time_ms = now_ms;
            }
            now_ms.saturating_sub(*time_ms) <= FORGET_MEMBERS_AFTER_MS
        });
    }
}

/// Append.
impl Keys {
    fn append(&mut self, batch: &Batch, base: u64, retention: Retention, call: &Call) -> Reply {
        let number = batch.number;
        let Some(meta) = &self.meta else { return Reply::Strange };
        let (n, last) = (meta.n, meta.members.get(&call.member).map(|(number, _)| *number));
        if last.is_some_and(|last| number <= last) {
            return Reply::Appended { number, was_known: true, up_to: n };
        } else if number != base && last.is_none_or(|last| number != last + 1) {
            return Reply::Missing { number };
        } else if call.room == RoomLeft::None {
            return Reply::Refused { number, reason: OUT_OF_MEMORY.into() };
        }
        let mut finished = self.finished_among(batch, n);
        let mut placed: Vec<&Post> = Vec::new();
        for post in &batch.posts {
            if !finished.contains(&post.topic) && self.is_first(post, call.now_ms) {
                placed.push(post);
                if post.ends_history() {
                    finished.insert(Arc::clone(&post.topic));
                }
            }
        }
        let expires_ms = call.now_ms + retention.history_ms();
        for (post, place) in placed.iter().zip(n + 1..) {
            self.log.get_or_insert_default().push(post.entry(place));
            if post.keeps.events > 0 {
                self.add_to_history(post, place, n, expires_ms);
            }
        }
        let up_to = n + placed.len() as u64;
        if let Some(log) = self.log.as_mut().filter(|_| up_to > n) {
            log.trim(retention.log_entries.max(1) as usize);
        }
        if let Some(meta) = &mut self.meta {
            meta.n = up_to;
            meta.members.insert(call.member.clone(), (number, call.now_ms));
        }
        // The limits are those of the last event.
        let keeping = batch.posts.iter().filter(|post| post.keeps.events > 0);
        let limits: HashMap<_, _> = keeping.map(|post| (&post.topic, post.keeps)).collect();
        if !limits.is_empty() {
            self.begin_recording(n, call.now_ms, retention);
        }
        let written: HashSet<_> = placed.iter().map(|post| &post.topic).collect();
        for (topic, keeps) in limits.into_iter().filter(|(topic, _)| written.contains(topic)) {
            self.close_history(topic, keeps, expires_ms);
        }
        Reply::Appended { number, was_known: false, up_to }
    }

    /// False if its key is known; from now on it is.
    fn is_first(&mut self, post: &Post, now_ms: u64) -> bool {
        let Some(key) = &post.once else { return true };
        let key = (Arc::clone(&post.topic), key.clone());
        let is_first = !self.once.contains_key(&key);
        if is_first {
            self.once.insert(key, now_ms + ONCE_MS);
        }
        is_first
    }

    /// The last place that a topic without a history can have had.
    fn lost_up_to(&self, topic: &str, n: u64) -> u64 {
        let Some(recent) = &self.recent else { return n };
        let earlier = self.earlier.as_ref();
        let place = recent.places.get(topic).copied();
        let place = place.or_else(|| earlier?.places.get(topic).copied());
        place.unwrap_or_else(|| earlier.unwrap_or(recent).since).min(n)
    }

    fn add_to_history(&mut self, post: &Post, place: u64, n: u64, expires_ms: u64) {
        let lost_up_to = self.lost_up_to(&post.topic, n);
        if self.histories.get(&post.topic).is_some_and(|kept| kept.is_foreign(place - 1)) {
            self.histories.remove(&post.topic);
        }
        let kept = self
            .histories
            .entry(Arc::clone(&post.topic))
            .or_insert_with(|| Kept { elements: VecDeque::new(), expires_ms });
        let newest = kept.elements.back();
        let (before, from) =
            newest.map_or((lost_up_to, 0), |newest| (newest.recorded.place, newest.to));
        let to = from + post.topic.len() + post.events.len();
        let events = (&*post.events).into();
        let (compression, continues) = (post.compression, post.continues);
        let recorded = Recorded { place, compression, continues, events };
        kept.elements.push_back(Element { before, from, to, recorded });
    }

    fn close_history(&mut self, topic: &Arc<str>, keeps: Keeps, expires_ms: u64) {
        let Some(kept) = self.histories.get_mut(topic) else { return };
        let Some(newest) = kept.elements.back() else { return };
        let (place, to) = (newest.recorded.place, newest.to);
        let is_over = |elements: &VecDeque<Element>| {
            elements.len() > keeps.events || to - elements[0].from > keeps.bytes
        };
        while kept.elements.len() > 1 && is_over(&kept.elements) {
            kept.elements.pop_front();
        }
        kept.expires_ms = expires_ms;
        if let Some(recent) = &mut self.recent {
            recent.places.insert(Arc::clone(topic), place);
        }
    }

    fn begin_recording(&mut self, n: u64, now_ms: u64, retention: Retention) {
        let is_over =
            |record: &Record| now_ms.saturating_sub(record.begun_ms) >= retention.history_ms();
        if self.recent.as_ref().is_none_or(is_over) {
            self.earlier = self.recent.replace(Record::new(n, now_ms));
        }
    }
}

impl Post {
    fn ends_history(&self) -> bool {
        self.keeps.events > 0 && self.continues == Continues::No
    }

    fn entry(&self, place: u64) -> Entry {
        let (topic, events) = (Arc::clone(&self.topic), (&*self.events).into());
        let (compression, continues) = (self.compression, self.continues);
        Entry { place, content: Content::Event { topic, compression, continues, events } }
    }
}

impl Retention {
    fn history_ms(self) -> u64 {
        u64::from(self.history_s.max(1)) * 1000
    }
}

impl Log {
    fn push(&mut self, entry: Entry) {
        self.last = entry.place;
        self.entries.push_back(entry);
    }

    fn trim(&mut self, kept: usize) {
        let over = self.entries.len().saturating_sub(kept);
        self.entries.drain(..over);
    }
}

impl Record {
    fn new(since: u64, begun_ms: u64) -> Self {
        Self { since, begun_ms, places: HashMap::new() }
    }
}

/// How many calls a store can lose when it starts again.
pub(crate) const CALLS_MAX: usize = 256;
const GENERATIONS_MAX: usize = 64;
const FORGET_MEMBERS_AFTER_MS: u64 = 60 * 60 * 1000;
const OUT_OF_MEMORY: &str = "OOM command not allowed when used memory > 'maxmemory'.";

#[cfg(test)]
mod tests;
