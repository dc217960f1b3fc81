//! Topics: named fan-out by a log that all subscribers read.
//!
//! ```text
//!   publish ──► encode once ──► │ 41 │ 42 │ 43 │ 44 │   the log: frames, shared
//!                                 ▲         ▲      ▲
//!                            a slow one   another  everybody else: cursors, eight bytes each
//! ```
//!
//! A publish encodes its event once into a frame, chunk header included, and appends it. A
//! subscriber is a cursor: what it has seen. Nothing is queued per subscriber, so a slow one costs
//! its cursor, until the log's bound passes it by and its [`Backpressure`] decides. The same log
//! serves `Last-Event-ID`: resuming is placing the cursor.
//!
//! Sequence numbers are one series for all topics of a reactor, so that a single id says what a
//! stream with several topics has seen; `position.rs` says how.
//!
//! This floor knows no sockets, no connections and no subscribers: it keeps frames and answers
//! where a cursor stands.

mod ids;
mod log;
mod pieces;
mod position;

pub(crate) use log::{Allowed, Frame, LastSeen, Log, Previous, Resume};
pub(crate) use pieces::Pieces;
pub(crate) use position::{IdOf, Point, Position, TopicKey};

use std::{fmt, sync::Arc};

use crate::sse::{Encode, EventBuffer, EventError, EventName};

/// A named series of events that any number of streams subscribe to: how events from outside
/// reach all clients.
///
/// * Streams subscribe when they open, with [`Sse::subscribe`](crate::Sse::subscribe), or at any
///   time with [`Stream::subscribe`](crate::Stream::subscribe).
/// * Anybody publishes: other threads with [`Handle::publish`](crate::Handle::publish), handlers,
///   updaters and hooks with [`Context::publish`](crate::Context::publish). An event is encoded
///   once, however many get it.
/// * [`Context::drive`](crate::Context::drive) has a closure render it once for all.
///
/// The name is what identifies it: two values with one name are one topic, and making one costs
/// an allocation and nothing else, so `Topic::new(format!("room-{id}"))` in a handler is fine.
/// Options count where a topic begins: at its first subscriber or publish in a reactor.
///
/// A topic that keeps nothing vanishes with its last subscriber. One with history,
/// [`retain`](Self::retain) or an updater is forgotten with all of it a minute after its last use,
/// but not while it has subscribers, and not while a clone is alive of the value it began with or is
/// [driven](crate::Context::drive) by. A use is a publish, a `drive`, and a stream that subscribes or
/// leaves.
///
/// ```
/// use starwheel::{Router, Sse, Topic, testing::Simulation};
///
/// let news = Topic::new("news");
/// let watched = news.clone();
/// let router = Router::new().get("/news", move |_req, _cx| Sse::new().subscribe(&watched));
///
/// let mut simulation = Simulation::new(router);
/// let (anna, ben) = (simulation.get("/news"), simulation.get("/news"));
/// simulation.run(move |cx| {
///     assert_eq!(cx.publish(&news, "hello to both"), 2);
/// });
/// assert_eq!(simulation.events(anna)[0].data, "hello to both");
/// assert_eq!(simulation.events(ben)[0].data, "hello to both");
/// ```
#[derive(Clone)]
pub struct Topic {
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Inner {
    name: Arc<str>,
    options: TopicOptions,
}

/// What a topic keeps and does; set through the methods of [`Topic`].
#[derive(Debug, Clone)]
pub(crate) struct TopicOptions {
    pub(crate) log_events: usize,
    pub(crate) log_bytes: usize,
    pub(crate) history: History,
    pub(crate) retain: Retain,
    pub(crate) backpressure: Backpressure,
    pub(crate) gap_event: EventName<'static>,
}

/// Whether frames are kept for clients that come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum History {
    Off,
    On,
}

/// Whether the last event is kept for those who join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retain {
    Nothing,
    Last,
}

/// What happens to a subscriber that reads so slowly that the log has passed it by.
///
/// ```
/// use starwheel::{Backpressure, Topic};
/// let prices = Topic::new("prices").backpressure(Backpressure::Latest);
/// # let _ = prices;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backpressure {
    /// Its stream is cut with [`CloseReason::Slow`](crate::CloseReason::Slow), so that it comes
    /// back and resumes or starts afresh. The default: nobody misses an event unknowingly.
    Disconnect,
    /// It goes on with the newest event. For state, where the newest says everything.
    Latest,
    /// It goes on with the oldest event that is left, behind a gap event.
    DropOldest,
}

/// Where on the log a new subscriber starts.
///
/// ```
/// use starwheel::{JoinAt, Sse, Topic};
/// let chat = Topic::new("chat").history(100, 64 * 1024);
/// let stream = Sse::new().subscribe_at(&chat, JoinAt::Oldest);
/// # let _ = stream;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinAt {
    /// With the next event; with the last one, if the topic [retains](Topic::retain) it.
    Live,
    /// With the oldest event that is kept.
    Oldest,
}

impl Topic {
    /// A topic of this name: a log of at most 1,024 events and 1 MiB, no history, nothing
    /// retained, [`Backpressure::Disconnect`].
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self { inner: Arc::new(Inner { name: name.into(), options: TopicOptions::default() }) }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Keeps up to `events` events and `bytes` bytes, gives each event an id as its last line, and honours
    /// `Last-Event-ID` (or the query parameters `last_event_id`, `lastEventID` and `lastEventId`, for clients that
    /// cannot set the header): a client that comes back gets exactly what it has missed, or a
    /// [gap event](Self::gap_event) if that is no longer known. It is kept in memory, so an id of
    /// an earlier process, or of another reactor of this process, is never known: ids begin with
    /// 64 random bits that each [`Reactor`](crate::Reactor) draws when it is made. Two copies of
    /// one running reactor share them, and cannot tell their ids apart: do not resume several
    /// virtual machines from one snapshot of a running server.
    ///
    /// The id speaks for all topics of a stream, and a stream with such a topic has one from the
    /// beginning: an id without an event (a bookmark) leaves with the response head. Not all clients
    /// keep those; see [`Config::bookmark_event`](crate::Config::bookmark_event), and `docs/replay.md`
    /// for what ids mean, for ids of your own, and for the limits.
    ///
    /// One id says what a stream has seen of all its topics. An event that brings an
    /// [id of its own](crate::Event::id) keeps it, in whatever order an [`Encode`] writes its
    /// fields; such ids must differ from each other, because one that two topics of a stream know
    /// is a gap in both.
    ///
    /// ```
    /// use starwheel::Topic;
    /// let chat = Topic::new("chat").history(200, 256 * 1024);
    /// # let _ = chat;
    /// ```
    #[must_use]
    pub fn history(self, events: usize, bytes: usize) -> Self {
        self.log(events, bytes).with(|options| options.history = History::On)
    }

    /// Bounds the log: how far a slow subscriber may fall behind. The bytes are those of encoded
    /// events as they are sent, some 30 for framing and id included; the newest event is kept
    /// whatever its size.
    ///
    /// ```
    /// use starwheel::Topic;
    /// let prices = Topic::new("prices").log(64, 16 * 1024);
    /// # let _ = prices;
    /// ```
    #[must_use]
    pub fn log(self, events: usize, bytes: usize) -> Self {
        self.with(|options| {
            options.log_events = events.max(1);
            options.log_bytes = bytes;
        })
    }

    /// Keeps the last event for those who join, who get it at once: for topics whose events are
    /// whole states.
    ///
    /// ```
    /// use starwheel::Topic;
    /// let dashboard = Topic::new("dashboard").retain();
    /// # let _ = dashboard;
    /// ```
    #[must_use]
    pub fn retain(self) -> Self {
        self.with(|options| options.retain = Retain::Last)
    }

    /// What happens to a subscriber that reads too slowly.
    #[must_use]
    pub fn backpressure(self, backpressure: Backpressure) -> Self {
        self.with(|options| options.backpressure = backpressure)
    }

    /// Names the event that tells a client of events it has missed for good; `gap` by default. Its
    /// data is the topic's name. It comes after what [`Sse::send`](crate::Sse::send) sends and before
    /// the topic's events. The client should load the whole state again. Pages of Datastar
    /// are told, as a `datastar-fetch` DOM event, only of names that start with `datastar`.
    ///
    /// ```
    /// use starwheel::Topic;
    /// let chat = Topic::new("chat").history(200, 256 * 1024).gap_event("reload")?;
    /// # let _ = chat;
    /// # Ok::<(), starwheel::EventError>(())
    /// ```
    ///
    /// # Errors
    /// As [`Event::name`](crate::Event::name).
    pub fn gap_event(self, name: &str) -> Result<Self, EventError> {
        let name = EventName::try_from(name)?.into_owned();
        Ok(self.with(|options| options.gap_event = name))
    }

    /// The event that says: you have missed some.
    pub(crate) fn gap(&self) -> impl Encode + '_ {
        Gap(self)
    }

    pub(crate) fn shared_name(&self) -> &Arc<str> {
        &self.inner.name
    }

    pub(crate) fn options(&self) -> &TopicOptions {
        &self.inner.options
    }

    /// How many clones of this value there are, itself included.
    pub(crate) fn clones(&self) -> usize {
        Arc::strong_count(&self.inner)
    }

    /// True when both are clones of one value. Two values of one name are one topic, but not this.
    pub(crate) fn is_clone_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    fn with(mut self, change: impl FnOnce(&mut TopicOptions)) -> Self {
        change(&mut Arc::make_mut(&mut self.inner).options);
        self
    }
}

struct Gap<'a>(&'a Topic);

impl Encode for Gap<'_> {
    fn encode(&self, out: &mut EventBuffer) {
        out.event(&self.0.options().gap_event);
        out.data(self.0.name());
    }
}

impl Default for TopicOptions {
    fn default() -> Self {
        Self {
            log_events: 1024,
            log_bytes: 1024 * 1024,
            history: History::Off,
            retain: Retain::Nothing,
            backpressure: Backpressure::Disconnect,
            gap_event: EventName::from_static("gap"),
        }
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Topic").field(&self.name()).finish()
    }
}
