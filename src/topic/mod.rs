//! Topics: named fan-out through a log that all subscribers read.
//!
//! ```text
//!   publish ──► encode once ──► │ 41 │ 42 │ 43 │ 44 │   the log: frames, shared
//!                                 ▲         ▲      ▲
//!                            a slow one   another  everybody else: cursors, eight bytes each
//! ```
//!
//! A publish encodes its event once into a frame, including the chunk header, and appends it to the
//! log. A subscriber is a cursor: the last frame it has seen. Nothing is queued per subscriber, so
//! a slow one costs only its cursor, until the log discards frames it needs and its
//! [`Backpressure`] applies. The same log serves `Last-Event-ID`: resuming sets the cursor.
//!
//! Sequence numbers are one series for all topics of a reactor, so a single id is the position of a
//! stream with several topics; see `position.rs`. Reactors that belong to a namespace have a second
//! series, numbered by its sequencer, for the topics that they share (`series.rs`).
//!
//! This layer knows no sockets, connections or subscribers: it keeps frames and answers questions
//! about cursors.

mod continues;
mod finished;
mod generations;
mod ids;
mod log;
mod pieces;
mod position;
mod series;

pub(crate) use continues::{Continues, encode_last};
pub(crate) use finished::Tombstones;
pub(crate) use generations::Generations;
pub(crate) use log::{
    Arrival, Backlog, Compressible, Frame, LastSeen, Log, Loss, Lost, Placed, Previous, Resume,
};
pub(crate) use pieces::Pieces;
pub(crate) use position::{IdOf, Point, Position, TopicKey, fnv_1a};
pub(crate) use series::{Progress, Series};

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    sse::{Encode, EventBuffer, EventError, EventName},
    time::millis,
};

/// A named series of events that any number of streams subscribe to.
///
/// * Streams subscribe when they open, with [`Sse::subscribe`](crate::Sse::subscribe), or at any
///   time with [`Stream::subscribe`](crate::Stream::subscribe).
/// * Other threads publish with [`Handle::publish`](crate::Handle::publish); handlers, updaters and
///   hooks with [`Context::publish`](crate::Context::publish). An event is encoded once for all
///   subscribers.
/// * [`Context::drive`](crate::Context::drive) lets a closure render it once for all subscribers.
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
///     assert_eq!(cx.subscribers(&news), 2);
///     cx.publish(&news, "hello to both").unwrap();
/// });
/// assert_eq!(simulation.events(anna)[0].data, "hello to both");
/// assert_eq!(simulation.events(ben)[0].data, "hello to both");
/// ```
///
/// The name identifies the topic: two values with the same name are the same topic. Creating a
/// value costs one allocation, so `Topic::new(format!("room-{id}"))` in a handler is fine. Options
/// apply when a topic starts: at its first subscriber or publish, in a reactor or on any of the
/// [`Workers`](crate::Workers).
///
/// A topic that keeps nothing disappears with its last subscriber. One with history,
/// [`retain`](Self::retain) or an updater is removed, with its contents, a minute after its last
/// use: a publish, a `drive`, or a stream that subscribes or leaves. It stays while it has
/// subscribers, and while a clone exists of the `Topic` that created it or
/// [drives](crate::Context::drive) it.
///
/// A topic can also be [finished](crate::Handle::finish), with a last event; see
/// [`keep_finished`](Self::keep_finished).
#[derive(Clone)]
pub struct Topic {
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Inner {
    name: Arc<str>,
    options: TopicOptions,
}

/// Options of a topic; set through the methods of [`Topic`].
#[derive(Debug, Clone)]
pub(crate) struct TopicOptions {
    pub(crate) log_events: usize,
    pub(crate) log_bytes: usize,
    pub(crate) history: History,
    pub(crate) retain: Retain,
    pub(crate) reach: Reach,
    pub(crate) backpressure: Backpressure,
    pub(crate) gap_event: EventName<'static>,
    pub(crate) keep_finished_ms: u64,
    pub(crate) metrics: Metrics,
}

/// Whether frames are kept for clients that reconnect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum History {
    Off,
    On,
}

/// Whether the last event is kept for new subscribers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retain {
    Nothing,
    Last,
}

/// Which reactors an event of a topic reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// All reactors of the namespace; this one, if it belongs to none.
    Namespace,
    /// This reactor.
    Local,
}

/// Whether the statistics list a topic by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metrics {
    Off,
    On,
}

/// What happens to a slow subscriber that needs events which have left the log.
///
/// ```
/// use starwheel::{Backpressure, Topic};
/// let prices = Topic::new("prices").backpressure(Backpressure::Latest);
/// # let _ = prices;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backpressure {
    /// Drops its stream with [`CloseReason::Slow`](crate::CloseReason::Slow), so that the client
    /// reconnects and resumes or starts over. The default: no client misses an event without
    /// noticing.
    Disconnect,
    /// Continues with the newest event. For state, where the newest event replaces all earlier
    /// ones.
    Latest,
    /// Continues with the oldest event that is left, after a gap event.
    DropOldest,
}

/// Where in the log a new subscriber starts.
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
    /// At the next event; at the last one, if the topic [retains](Topic::retain) it.
    Live,
    /// At the oldest event that the topic keeps; as `Live`, if it has neither a history nor a retained
    /// event.
    Oldest,
}

impl Topic {
    /// A topic with this name: a log of at most 1,024 events and 1 MiB, no history, no retained
    /// event, [`Backpressure::Disconnect`].
    ///
    /// A name that begins with U+0001 gets a second one: names with one are the library's own.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        let mut name = name.into();
        if name.starts_with(RESERVED) {
            name = format!("{RESERVED}{name}").into();
        }
        Self { inner: Arc::new(Inner { name, options: TopicOptions::default() }) }
    }

    /// The name of the topic of requests to end streams on all machines.
    pub(crate) const CLOSINGS: &str = "\u{1}closings";

    /// That topic. No other value has its name.
    pub(crate) fn closings() -> Self {
        let inner = Inner { name: Self::CLOSINGS.into(), options: TopicOptions::default() };
        Self { inner: Arc::new(inner) }.history(1_000, 256 * 1024)
    }

    pub(crate) fn is_closings(&self) -> bool {
        self.name() == Self::CLOSINGS
    }

    /// The topic of a dashboard, by a number that no other one has. No other value has its name.
    #[cfg(feature = "dashboard")]
    pub(crate) fn dashboard(number: u64) -> Self {
        let name = format!("{RESERVED}dashboard {number}").into();
        let inner = Inner { name, options: TopicOptions::default() };
        Self { inner: Arc::new(inner) }.local().log(2, 0).backpressure(Backpressure::Latest)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Keeps up to `events` events and `bytes` bytes for clients that reconnect. Each event gets an
    /// id as its last line. A client that reconnects with `Last-Event-ID` gets exactly what it has
    /// missed, or a [gap event](Self::gap_event) if that is no longer known. Clients that cannot
    /// set the header may use the query parameters `last_event_id`, `lastEventID` or `lastEventId`.
    ///
    /// History is kept in memory, so ids of an earlier process, or of another reactor of this
    /// process, are never known: ids start with 64 random bits that each
    /// [`Reactor`](crate::Reactor) draws when it is created. Two copies of a running reactor share
    /// them and cannot tell their ids apart: do not resume several virtual machines from one
    /// snapshot of a running server.
    ///
    /// One id covers all topics of a stream. A stream with such a topic has an id from the start:
    /// an id without an event (a bookmark) leaves with the response head. Not all clients keep
    /// those; see [`Config::bookmark_event`](crate::Config::bookmark_event), and `docs/replay.md`
    /// for the meaning of ids, for your own ids, and for the limits.
    ///
    /// An event with its [own id](crate::Event::id) keeps it, in whatever order an [`Encode`]
    /// writes its fields. Such ids must be unique: an id that two topics of a stream know is a gap
    /// in both.
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

    /// Limits the log, and so how far a slow subscriber may lag. The bytes are those of encoded
    /// events as they are sent, including about 30 for framing and id. The newest event is kept
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

    /// Keeps the last event and sends it to new subscribers immediately. For topics whose events
    /// are complete states.
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

    /// Keeps the topic in one worker: an event reaches only the subscribers of the reactor that it
    /// is published in. For what each worker has of its own, such as its load.
    ///
    /// Without it, a topic spans all workers of a process. A topic that is
    /// [driven](crate::Context::drive) before it is used otherwise is local in any case, because
    /// each worker renders it itself. For a [`Reactor`](crate::Reactor) alone this changes nothing.
    ///
    /// Local topics and others have ids of their own, and a client holds one. A stream with topics
    /// of both kinds that keep a [history](Self::history) has the id of those that span workers, so
    /// the local ones report a gap when its client reconnects.
    ///
    /// Socket.io and Phoenix call this local, too.
    ///
    /// ```
    /// use starwheel::Topic;
    /// let load = Topic::new("load").retain().local();
    /// # let _ = load;
    /// ```
    #[must_use]
    pub fn local(self) -> Self {
        self.with(|options| options.reach = Reach::Local)
    }

    /// What happens to a subscriber that reads too slowly.
    #[must_use]
    pub fn backpressure(self, backpressure: Backpressure) -> Self {
        self.with(|options| options.backpressure = backpressure)
    }

    /// Names the event that a client gets when it has permanently missed events; `gap` by default.
    /// Its data is the topic's name. It comes after the output of [`Sse::send`](crate::Sse::send)
    /// and before the topic's events. The client should then reload the complete state. Datastar
    /// passes it to the page, as a `datastar-fetch` DOM event, only if the name starts with
    /// `datastar`.
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

    /// How long the topic keeps its events after it has been [finished](crate::Handle::finish); ten
    /// minutes by default. Clones of the `Topic` do not prolong it.
    ///
    /// Until then, clients that come late get what the topic keeps, with its last event, and their
    /// streams end. After that, the events are dropped. For one more day it is remembered that the
    /// name has been finished: a client gets a [gap event](Self::gap_event), and its stream ends. At
    /// most 10,000 names are remembered, at about 100 bytes each; the oldest are forgotten first.
    /// From then on the name is that of a new topic.
    ///
    /// A topic that keeps nothing does not remember its end: its subscribers get the last event and
    /// the end, and the next event or subscriber begins a new topic. A stream that goes on, with other
    /// topics or an updater, and has not been given the last event by then, stays on the new one.
    ///
    /// ```
    /// use starwheel::Topic;
    /// use std::time::Duration;
    /// let run = Topic::new("run-1").history(4096, 1 << 20).keep_finished(Duration::from_secs(3600));
    /// # let _ = run;
    /// ```
    #[must_use]
    pub fn keep_finished(self, duration: Duration) -> Self {
        self.with(|options| options.keep_finished_ms = millis(duration))
    }

    /// Lists the topic by name in the [statistics](crate::Stats::topics) and as metrics: its
    /// subscribers, the lag of the slowest, its log, and events published and delivered.
    ///
    /// For a few topics with names that the program chooses. Each is six time series per reactor, so
    /// only the first 100 that are in use in a reactor are listed; a warning says when there are more.
    /// For others, [`Context::topic_stats`](crate::Context::topic_stats) has the same on demand.
    ///
    /// ```
    /// use starwheel::{Router, Sse, Topic, testing::Simulation};
    /// let news = Topic::new("news").metrics();
    /// let router = Router::new().get("/news", move |_req, _cx| Sse::new().subscribe(&news));
    /// let mut simulation = Simulation::new(router);
    /// simulation.get("/news");
    /// let text = simulation.stats().prometheus();
    /// assert!(text.contains("\nstarwheel_topic_subscribers{topic=\"news\"} 1\n"));
    /// ```
    #[must_use]
    pub fn metrics(self) -> Self {
        self.with(|options| options.metrics = Metrics::On)
    }

    /// The gap event.
    pub(crate) fn gap(&self) -> impl Encode + '_ {
        Gap(self)
    }

    pub(crate) fn shared_name(&self) -> &Arc<str> {
        &self.inner.name
    }

    pub(crate) fn options(&self) -> &TopicOptions {
        &self.inner.options
    }

    /// Number of clones of this value, including itself.
    pub(crate) fn clones(&self) -> usize {
        Arc::strong_count(&self.inner)
    }

    /// The same topic in a value that does not count as a clone of this one.
    pub(crate) fn detached(&self) -> Self {
        Self { inner: Arc::new(Inner::clone(&self.inner)) }
    }

    /// True when both are clones of one value. Two values with the same name are one topic, but not
    /// clones.
    pub(crate) fn is_clone_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    fn with(mut self, change: impl FnOnce(&mut TopicOptions)) -> Self {
        change(&mut Arc::make_mut(&mut self.inner).options);
        self
    }
}

/// What names of the library's own topics begin with.
const RESERVED: char = '\u{1}';

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
            reach: Reach::Namespace,
            backpressure: Backpressure::Disconnect,
            gap_event: EventName::from_static("gap"),
            keep_finished_ms: 10 * 60 * 1000,
            metrics: Metrics::Off,
        }
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Topic").field(&self.name()).finish()
    }
}
