//! [`Member`]: a process whose events get their places from a store that it shares with others.
//!
//! ```text
//!   publish ──► Outbox ──Append──► store ──Entries──► Member ──► Hub ──► the reactors of this process
//!                                    └─────Recalled─────┘ pasts of topics that begin to be used
//! ```
//!
//! It knows no connection: it makes requests, and is given the replies. It reads the log from the place
//! where it is, so a short absence loses nothing. Where places are missing, it greets the store, asks
//! for all pasts again, and then passes one loss on to the reactors.

mod doubts;
mod figures;
mod placing;

pub(crate) use figures::{MemberFigures, MemberSettings};

use std::{collections::VecDeque, sync::Arc};

use self::doubts::Doubts;
use super::{
    counts::{Audiences, Counts},
    hub::{Hub, Inbox},
    outbox::Outbox,
    protocol::{
        Entry, Greeting, History, Keeps, PUBLISHED_BYTES_MAX, Post, Reply, Request, Retention,
    },
    sequencer::{Publication, Refused},
};
use crate::topic::{Continues, Generations, Lost, Topic};

/// One process of a namespace.
#[derive(Debug)]
pub(crate) struct Member<I> {
    hub: Hub<I>,
    outbox: Outbox,
    settings: MemberSettings,
    link: Link,
    /// It has been greeted once, so its position means something.
    has_joined: bool,
    /// Entries that wait for room in the queue of a reactor.
    unplaced: VecDeque<Entry>,
    /// A `Read` is to be answered.
    is_reading: bool,
    /// The last place that the store was known to have given when that was sent.
    read_up_to: u64,
    /// Requests on the connection that writes that are to be answered, in order.
    unanswered: VecDeque<Unanswered>,
    /// Places up to here are missing in the log; the store is to be asked what that means.
    hole: Option<u64>,
    /// What is lost, until all pasts have come.
    recovering: Option<Lost>,
    /// The last place that the store is known to have given, and when that was learned.
    newest: (u64, u64),
    /// Bytes of an entry, as a running mean.
    entry_bytes: u64,
    read_entries_max: u64,
    greet_at_ms: u64,
    last_greeting_ms: u64,
    doubts: Doubts,
    counts: Counts,
    figures: MemberFigures,
}

/// What the connections to the store are ready for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Down,
    /// The store is to be greeted before anything else.
    Strange,
    /// The greeting is to be answered.
    Greeting,
    Up,
    /// As `Up`, while the store is greeted again.
    UpGreeting,
}

/// What a request was, for its reply.
#[derive(Debug, PartialEq, Eq)]
enum Unanswered {
    Greet,
    Append,
    Recall(Vec<Arc<str>>),
    Count,
}

impl<I: Inbox> Member<I> {
    /// Events of these reactors get their places from a store; none has got one yet.
    pub(crate) fn new(mut hub: Hub<I>, settings: MemberSettings) -> Self {
        hub.move_to_store();
        Self {
            hub,
            outbox: Outbox::new(settings.outbox_bytes),
            settings,
            link: Link::Down,
            has_joined: false,
            unplaced: VecDeque::new(),
            is_reading: false,
            read_up_to: 0,
            unanswered: VecDeque::new(),
            hole: None,
            recovering: None,
            newest: (0, 0),
            entry_bytes: FIRST_ENTRY_BYTES,
            read_entries_max: READ_ENTRIES_MAX,
            greet_at_ms: 0,
            last_greeting_ms: 0,
            doubts: Doubts::default(),
            counts: Counts::default(),
            figures: MemberFigures::default(),
        }
    }

    pub(crate) fn hub(&self) -> &Hub<I> {
        &self.hub
    }

    pub(crate) fn hub_mut(&mut self) -> &mut Hub<I> {
        &mut self.hub
    }

    /// Events leave for the store, and come back with their places. They are refused while too much
    /// waits for it.
    pub(crate) fn publish(
        &mut self,
        publication: Publication<'_>,
        now_ms: u64,
    ) -> Result<(), Refused> {
        let Publication { topic, events, compression, continues, once } = publication;
        let bytes = publication.bytes();
        if self.hub.is_empty() {
            return Err(Refused::Closed);
        }
        if events.is_empty() {
            return Ok(());
        }
        if continues == Continues::Yes && self.hub.is_known_to_be_finished(topic) {
            return Err(Refused::Finished);
        }
        let is_too_large = bytes > PUBLISHED_BYTES_MAX;
        if is_too_large || !self.outbox.has_room() {
            self.figures.refused += 1;
            return Err(if is_too_large { Refused::TooLarge } else { Refused::Full });
        }
        self.hub.touch(topic.shared_name(), now_ms);
        self.figures.published += events.len() as u64;
        let post = |event: &&[u8]| Post {
            topic: Arc::clone(topic.shared_name()),
            keeps: Keeps::of(topic),
            compression,
            continues,
            once: once.map(Box::from),
            events: (*event).into(),
        };
        self.outbox.push(events.iter().map(post).collect(), bytes);
        Ok(())
    }

    /// A client has come with an id of an unknown generation. The reactors are told soon whether there is
    /// such a one. Returns the number of the question.
    pub(crate) fn ask_for_generations(&mut self) -> u64 {
        self.doubts.ask()
    }

    /// Own subscribers are counted here.
    pub(crate) fn count_with(&mut self, audiences: Arc<dyn Audiences>) {
        self.counts.count_with(audiences);
    }

    /// How many subscribers the other processes have, as far as is known here. True if the store is to be
    /// asked at once.
    pub(crate) fn subscribers_elsewhere(&mut self, topic: &Topic, now_ms: u64) -> (usize, bool) {
        self.counts.ask(topic.shared_name(), now_ms)
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.link, Link::Up | Link::UpGreeting)
    }

    /// Nothing waits to be sent, or to be acknowledged.
    pub(crate) fn has_sent_all(&self) -> bool {
        self.outbox.is_empty()
    }

    pub(crate) fn outbox_bytes(&self) -> usize {
        self.outbox.bytes()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.outbox.in_flight()
    }

    pub(crate) fn figures(&self) -> MemberFigures {
        self.figures
    }

    /// For how long the oldest event that the store is known to have has been on its way here.
    pub(crate) fn lag_ms(&self, now_ms: u64) -> u64 {
        let (place, since_ms) = self.newest;
        if place > self.hub.position() { now_ms.saturating_sub(since_ms) } else { 0 }
    }
}

/// Requests.
impl<I: Inbox> Member<I> {
    /// Both connections to the store are ready.
    pub(crate) fn connected(&mut self) {
        self.disconnected();
        self.link = Link::Strange;
        self.figures.connects += 1;
    }

    /// What has not been answered is lost.
    pub(crate) fn disconnected(&mut self) {
        self.link = Link::Down;
        self.is_reading = false;
        self.unanswered.clear();
        // The store may lose them before it is greeted; then others have their places.
        self.unplaced.clear();
        self.hole = None;
        self.doubts.greeting_was_lost();
        self.outbox.disconnected();
        self.hub.ask_again();
    }

    /// The next request for the connection that writes.
    pub(crate) fn next_request(&mut self, now_ms: u64) -> Option<Request> {
        let request = self.choose_request(now_ms)?;
        self.unanswered.push_back(match &request {
            Request::Greet { .. } => Unanswered::Greet,
            Request::Recall(topics) => Unanswered::Recall(topics.clone()),
            Request::Count { .. } => Unanswered::Count,
            Request::Append { .. } | Request::Read { .. } => Unanswered::Append,
        });
        Some(request)
    }

    fn choose_request(&mut self, now_ms: u64) -> Option<Request> {
        match self.link {
            Link::Down | Link::Greeting => None,
            Link::Strange => {
                self.link = Link::Greeting;
                Some(self.greet(now_ms))
            }
            Link::Up if now_ms >= self.next_greeting_ms() => {
                self.link = Link::UpGreeting;
                Some(self.greet(now_ms))
            }
            Link::Up | Link::UpGreeting => {
                let request = self.recall().or_else(|| self.count(now_ms));
                let retention = self.retention();
                request.or_else(|| self.outbox.next(retention, now_ms))
            }
        }
    }

    /// A reply to a `Read` was too large for the connection.
    #[cfg(feature = "redis")]
    pub(crate) fn read_less(&mut self) {
        self.read_entries_max = (self.read_entries_max / 8).max(1);
    }

    /// The next request for the connection that reads.
    pub(crate) fn next_read(&mut self, now_ms: u64) -> Option<Request> {
        self.place_entries(now_ms);
        // The last topic whose past was missing may have been forgotten.
        self.end_recovery();
        let may_read = self.is_up()
            && !self.is_reading
            && self.recovering.is_none()
            && self.unplaced.is_empty();
        may_read.then(|| {
            (self.is_reading, self.read_up_to) = (true, self.newest.0);
            let most = (READ_BYTES / self.entry_bytes).clamp(1, self.read_entries_max);
            Request::Read { after: self.hub.position(), most: most as usize }
        })
    }

    /// When there may be requests though nothing has happened.
    pub(crate) fn next_deadline(&self, now_ms: u64) -> Option<u64> {
        let greet_at_ms = (self.link == Link::Up).then(|| self.next_greeting_ms());
        let resend_at_ms = self.outbox.next_deadline().filter(|_| self.is_up());
        let place_at_ms = (!self.unplaced.is_empty()).then_some(now_ms + ROOM_PAUSE_MS);
        [greet_at_ms, resend_at_ms, place_at_ms].into_iter().flatten().min()
    }

    fn greet(&mut self, now_ms: u64) -> Request {
        self.greet_at_ms = now_ms + GREET_EVERY_MS;
        self.last_greeting_ms = now_ms;
        self.doubts.greeting_was_sent();
        let seen = self.hub.position().max(self.newest.0);
        Request::Greet { floor: if self.has_joined { seen } else { 0 } }
    }

    /// Many clients with strange ids cost one greeting.
    fn next_greeting_ms(&self) -> u64 {
        match self.doubts.has_new() {
            true => self.greet_at_ms.min(self.last_greeting_ms + DOUBT_PAUSE_MS),
            false => self.greet_at_ms,
        }
    }

    fn recall(&mut self) -> Option<Request> {
        let is_recall = |it: &&Unanswered| matches!(it, Unanswered::Recall(_));
        let recalls = self.unanswered.iter().filter(is_recall).count();
        if !self.hub.has_unasked() || recalls == RECALLS_MAX {
            return None;
        }
        let topics = self.hub.take_unasked(RECALLED_TOPICS);
        (!topics.is_empty()).then_some(Request::Recall(topics))
    }

    fn count(&mut self, now_ms: u64) -> Option<Request> {
        let is_counting = self.unanswered.contains(&Unanswered::Count);
        if is_counting { None } else { self.counts.next(now_ms) }
    }

    /// The store keeps entries, not bytes.
    fn retention(&self) -> Retention {
        let log_entries = (self.settings.log_bytes / self.entry_bytes).max(LOG_ENTRIES_MIN);
        Retention { log_entries, history_s: self.settings.history_s }
    }
}

/// Replies.
impl<I: Inbox> Member<I> {
    pub(crate) fn answered(&mut self, reply: Reply, now_ms: u64) {
        let request = match reply {
            Reply::Entries(_) => None,
            _ => self.unanswered.pop_front(),
        };
        match reply {
            Reply::Greeted(greeting) => {
                // It was greeted again since: what is known by now may be newer than this.
                let is_late = self.unanswered.contains(&Unanswered::Greet);
                if !is_late && self.link != Link::Strange {
                    self.greeted(&greeting, now_ms);
                }
            }
            Reply::Appended { number, was_known, up_to } => {
                self.figures.duplicates += u64::from(was_known);
                self.note_newest(up_to, now_ms);
                self.outbox.acknowledge(number, up_to, now_ms);
            }
            Reply::Missing { .. } => self.outbox.was_not_applied(),
            Reply::Refused { .. } => self.outbox.was_refused(now_ms),
            Reply::Strange => {
                match request {
                    Some(Unanswered::Append) => self.outbox.was_not_applied(),
                    _ => self.hub.ask_again(),
                }
                self.link = Link::Strange;
            }
            Reply::Counted(counts) => self.counts.counted(&counts),
            Reply::Recalled { up_to, histories } => {
                if let Some(Unanswered::Recall(topics)) = request {
                    self.hub.ask_again_for(topics.get(histories.len()..).unwrap_or_default());
                }
                self.recalled(&histories, up_to, now_ms);
            }
            Reply::Entries(entries) => {
                self.is_reading = false;
                self.read_entries_max = READ_ENTRIES_MAX.min(self.read_entries_max * 2);
                if self.is_up() && self.recovering.is_none() {
                    self.come_to_entries(entries, now_ms);
                }
            }
        }
    }

    fn greeted(&mut self, greeting: &Greeting, now_ms: u64) {
        self.link = Link::Up;
        self.counts.greeted(&greeting.watched);
        let answered = self.doubts.greeting_was_answered();
        self.note_newest(greeting.position, now_ms);
        let generations = Generations::from_list(&greeting.generations);
        if !self.has_joined {
            self.has_joined = true;
            self.hub.join(generations, greeting.position);
            return;
        }
        let exists_up_to = generations.end_of(self.hub.generations());
        self.figures.generations += u64::from(generations != *self.hub.generations());
        let hole = self.hole.take();
        if exists_up_to < self.hub.position() {
            let undone = Lost::Undone { after: exists_up_to, up_to: greeting.position };
            self.figures.undone += 1;
            self.figures.resent += self.outbox.send_again_after(exists_up_to) as u64;
            self.recover(generations, undone);
        } else if let Some(up_to) = hole {
            self.recover(generations, Lost::Skipped { up_to });
        } else if !self.hub.set_generations(generations)
            && let Some(question) = answered
        {
            self.hub.confirm_generations(question);
        }
    }

    fn recalled(&mut self, histories: &[History], up_to: u64, now_ms: u64) {
        self.figures.histories += histories.len() as u64;
        for history in histories {
            if let Some(index) = self.hub.add_past(history, up_to, now_ms) {
                self.hub.hydrate(index);
            }
        }
        self.end_recovery();
        self.hub.catch_up_all();
    }

    fn note_newest(&mut self, place: u64, now_ms: u64) {
        let has_come = self.newest.0 <= self.hub.position();
        if place > self.newest.0 {
            // While something is on its way, its time counts.
            self.newest = (place, if has_come { now_ms } else { self.newest.1 });
        }
    }
}

/// Greetings tell that the store is alive, and what it is.
const GREET_EVERY_MS: u64 = 5_000;
/// How soon another client with an id of an unknown generation makes it greet again.
const DOUBT_PAUSE_MS: u64 = 20;
/// How soon a reactor whose queue was full is tried again.
const ROOM_PAUSE_MS: u64 = 5;
/// Requests for pasts on their way at the same time.
const RECALLS_MAX: usize = 4;
/// Topics of one such request.
const RECALLED_TOPICS: usize = 64;
/// Bytes and entries that are read at once, approximately.
const READ_BYTES: u64 = 1024 * 1024;
const READ_ENTRIES_MAX: u64 = 1_000;
/// Of a log, however large its entries are.
const LOG_ENTRIES_MIN: u64 = 1_000;
/// What an entry is thought to have until some have come.
const FIRST_ENTRY_BYTES: u64 = 256;
