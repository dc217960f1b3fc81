//! What a member asks of the store that numbers the events of its namespace, and what that answers.
//!
//! The store is Redis with our script, or its model in a simulation. What they agree on:
//!
//! - A *place* is given to each event and each beginning of a generation, in one series without
//!   gaps. No place is given twice: the store continues after the highest one that any member that
//!   greets has seen.
//! - Each life of the store is a *generation*. The first [`Greet`](Request::Greet) that finds another
//!   life of the server, or has seen a place that the store has not given, begins one.
//!   It follows the last place that the store knows. Its own place in the log is an
//!   [entry](Content::Generation) that all members read. It leaves out [some](generation_leap) places,
//!   because members that greet later may have seen more of what is lost than the first one.
//! - A *batch* is applied completely or not at all. The store remembers the number of the last batch of
//!   each member. A batch that was applied before changes nothing. One that neither follows the last nor
//!   is the first that its member still has is [`Missing`](Reply::Missing) those before it.
//! - The *log* keeps the last entries, for members that have been away. A topic's *history* keeps the
//!   last events for members that begin to use it, and a place up to which everything older is lost.
//! - *Numbers of subscribers* are approximate, and nothing else depends on them. A member says its own of
//!   the topics that anyone [watches](Greeting::watched), again and again.

use std::sync::Arc;

use crate::topic::{self, Compressible, Continues, Retain, Topic, fnv_1a};

/// One request of a member; the store answers each with one [`Reply`], in order.
///
/// [`Read`](Self::Read) waits until there is something to read, so it needs a connection of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// The first on a connection, then from time to time.
    Greet {
        /// The highest place that this member has seen.
        floor: u64,
    },
    /// A batch, and the number of the oldest batch that was not acknowledged when it was sent.
    Append { batch: Arc<Batch>, base: u64, retention: Retention },
    /// The histories of topics. The answer has at least the first, and the others as far as it does not
    /// get [large](RECALLED_BYTES).
    Recall(Vec<Arc<str>>),
    /// Numbers of subscribers.
    Count {
        /// This member wants to know the numbers of these topics for the next [minute](WATCHED_MS).
        watch: Vec<Arc<str>>,
        /// Its own numbers of topics that any member wants to know.
        tell: Vec<(Arc<str>, u64)>,
    },
    /// Entries of the log after this place, at most so many.
    Read { after: u64, most: usize },
}

/// Events that are placed directly after each other.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// From 1, without gaps, in the life of one member.
    pub(crate) number: u64,
    pub(crate) posts: Vec<Post>,
    /// Bytes of all its events.
    pub(crate) bytes: usize,
}

/// An event on its way to the store.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Post {
    pub(crate) topic: Arc<str>,
    pub(crate) keeps: Keeps,
    pub(crate) compression: Compressible,
    /// Once a history ends with the last event of its topic, the topic gets no more places until the
    /// history has expired. A last event has no key.
    pub(crate) continues: Continues,
    /// Events with a key that another event on this topic has had in the last
    /// [five minutes](ONCE_MS) get no place.
    pub(crate) once: Option<Box<str>>,
    /// Whole events, encoded.
    pub(crate) events: Box<[u8]>,
}

/// How much of a topic's history is kept; nothing if `events` is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keeps {
    pub(crate) events: usize,
    /// The newest event is kept whatever its size.
    pub(crate) bytes: usize,
}

impl Keeps {
    pub(super) fn of(topic: &Topic) -> Self {
        let options = topic.options();
        let events = match (options.history, options.retain) {
            (topic::History::On, _) => options.log_events,
            (topic::History::Off, Retain::Last) => 1,
            (topic::History::Off, Retain::Nothing) => 0,
        };
        Self { events: events.min(KEPT_EVENTS_MAX), bytes: options.log_bytes.min(KEPT_BYTES_MAX) }
    }
}

/// How much the store keeps of what is appended, approximately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retention {
    /// Entries of the log.
    pub(crate) log_entries: u64,
    /// How long a history is kept after the last event of its topic, in seconds.
    pub(crate) history_s: u32,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Greeted(Greeting),
    /// The batch is in the log; perhaps it was already.
    Appended {
        number: u64,
        /// It was there already: an acknowledgement was lost.
        was_known: bool,
        /// The last place that the store has given.
        up_to: u64,
    },
    /// Not applied, because a batch before it was not.
    Missing {
        number: u64,
    },
    /// Not applied for now: the store has no room.
    Refused {
        number: u64,
        reason: String,
    },
    /// The store has forgotten what it was: greet it again. Nothing was applied.
    Strange,
    Recalled {
        /// The histories are complete up to this place.
        up_to: u64,
        /// Of the first topics that were asked for.
        histories: Vec<History>,
    },
    /// How many subscribers all other members have together, by what they have said lately, of each
    /// topic that this one watches. Empty if the store does not count for now.
    Counted(Vec<(Arc<str>, u64)>),
    /// In the order of their places; none if nothing has come for a while.
    Entries(Vec<Entry>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Greeting {
    /// Names of generations with the place that each follows, oldest first, and at least one.
    pub(crate) generations: Vec<(String, u64)>,
    /// The last place that the store has given, not below the floor.
    pub(crate) position: u64,
    /// Topics whose numbers of subscribers any member wants to know; normally none.
    pub(crate) watched: Vec<Arc<str>>,
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) place: u64,
    pub(crate) content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Event {
        topic: Arc<str>,
        compression: Compressible,
        continues: Continues,
        events: Arc<[u8]>,
    },
    /// A generation begins. Between this place and the one that it follows there is nothing.
    Generation {
        name: String,
        follows: u64,
    },
    /// It is not what a member writes, or too new for this release.
    #[cfg_attr(
        not(feature = "redis"),
        expect(dead_code, reason = "nobody else writes to a store in memory")
    )]
    Unreadable,
}

/// What the store keeps of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct History {
    pub(crate) topic: Arc<str>,
    /// Events up to this place are gone, or were never there.
    pub(crate) lost_up_to: u64,
    /// In the order of their places.
    pub(crate) events: Vec<Recorded>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) place: u64,
    pub(crate) compression: Compressible,
    pub(crate) continues: Continues,
    pub(crate) events: Arc<[u8]>,
}

/// How many places a generation leaves out that this member begins, except for the very first one: a
/// million or two, because members that greet later may have seen more of what is lost than this one.
/// It is hardly ever as many as for another member: the generation may get lost too, and the member that
/// begins the next one may not have seen it.
pub(crate) fn generation_leap(member: &str) -> u64 {
    (1 << 20) + (fnv_1a(member) >> 44)
}

/// What one call may publish at most, with all that is sent for it: a reply can have 64 MiB, and a command
/// a million words.
pub(crate) const PUBLISHED_BYTES_MAX: usize = 32 << 20;
/// What a history may have at most, so that a reply can have it.
const KEPT_BYTES_MAX: usize = 32 << 20;
const KEPT_EVENTS_MAX: usize = 200_000;
/// Once an answer has so many bytes, no further histories are added.
pub(crate) const RECALLED_BYTES: usize = 8 << 20;

/// How long the key of an event that is published [once](Post::once) is remembered.
pub(crate) const ONCE_MS: u64 = 5 * 60 * 1000;

/// How long a member wants to know the number of subscribers of a topic after it has asked.
pub(crate) const WATCHED_MS: u64 = 60_000;

/// Topics whose numbers of subscribers are known in a namespace at the same time. More are not watched.
pub(crate) const WATCHED_TOPICS_MAX: usize = 1_000;
