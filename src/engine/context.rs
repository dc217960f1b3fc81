//! [`Context`]: the view of the reactor that handlers, hooks and timers are given.

use std::{
    error::Error,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    core::{Core, TimerCall},
    feed::Feed,
    next::{Ending, IntoNext},
    sse::{SHORTEST_INTERVAL, interval_ms},
    stats::Stats,
    stream::StreamId,
};
use crate::{
    conn::millis,
    error::CloseReason,
    http::Peer,
    sse::Encode,
    topic::{Allowed, JoinAt, Topic},
};

/// The reactor, lent to a closure for the length of one call.
///
/// Whatever is done through it takes effect on bytes at once, and runs other closures (hooks)
/// only after the present one has returned. So a `RefCell` of the application's own may stay
/// borrowed across every method here.
///
/// ```
/// use starwheel::{Context, Ending, StreamId};
/// fn say_goodbye(cx: &mut Context<'_>, id: StreamId) {
///     cx.send(id, "goodbye");
///     cx.close(id, Ending::Finish);
/// }
/// ```
#[derive(Debug)]
pub struct Context<'a> {
    core: &'a mut Core,
}

/// Names a timer set with [`Context::after`] or [`Context::every`]. Stale ids are inert.
///
/// ```
/// use starwheel::{Context, TimerId};
/// fn stop(cx: &mut Context<'_>, timer: TimerId) {
///     assert!(cx.cancel(timer));
///     assert!(!cx.cancel(timer));
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimerId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// An interval below one millisecond, which the wheel cannot keep.
///
/// ```
/// # use starwheel::Context;
/// fn set(cx: &mut Context<'_>) {
///     let refused = cx.every(std::time::Duration::ZERO, |_cx| {}).unwrap_err();
///     assert_eq!(refused.to_string(), "an interval must be at least 1 ms");
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntervalTooShort;

impl<'a> Context<'a> {
    pub(super) fn new(core: &'a mut Core) -> Self {
        Self { core }
    }

    /// Time since the reactor started; read once per turn.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_millis(self.core.now)
    }

    /// The time of day, in whole seconds; read once per turn. It follows the system's clock where
    /// that is set, so use [`now`](Self::now) to measure time with.
    ///
    /// ```
    /// use starwheel::{Router, testing::Simulation};
    /// use std::time::{Duration, SystemTime};
    /// let mut simulation = Simulation::new(Router::new());
    /// let new_year_2026 = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    /// simulation.run(|cx| assert_eq!(cx.system_time(), new_year_2026));
    /// ```
    #[must_use]
    pub fn system_time(&self) -> SystemTime {
        self.core.system_time()
    }

    /// Sends an event to a stream. False when the stream has ended, or ends now because it is
    /// [too slow](CloseReason::Slow). If the event has an id and the stream a topic with a
    /// [history](Topic::history), a bookmark follows: what its client comes back with is the position
    /// of the stream.
    pub fn send(&mut self, id: StreamId, event: impl Encode) -> bool {
        self.core.send(id, &event, Allowed::Yes)
    }

    /// The same, but the event leaves as it is also in a compressed stream, and no later event
    /// refers to it; see [`Stream::send_uncompressed`](crate::Stream::send_uncompressed).
    pub fn send_uncompressed(&mut self, id: StreamId, event: impl Encode) -> bool {
        self.core.send(id, &event, Allowed::No)
    }

    /// Ends a stream behind what was sent to it and published on its topics so far; its
    /// `on_disconnect` runs later in this turn. False when it had ended before.
    pub fn close(&mut self, id: StreamId, ending: Ending) -> bool {
        self.core.close(id, CloseReason::from(ending))
    }

    /// Publishes an event to all subscribers of a topic, and returns how many there are. It is
    /// encoded once, now; the sockets are written in step 5 of this turn (for very many
    /// subscribers in slices over the next turns, with ticks in between), and several events of
    /// one turn leave in one write.
    ///
    /// Costs nothing when nobody listens and the topic keeps nothing.
    pub fn publish(&mut self, topic: &Topic, event: impl Encode) -> usize {
        self.core.publish(topic, &event, Allowed::Yes)
    }

    /// The same, but the event leaves as it is also in compressed streams, and no later event
    /// refers to it: for secrets on a topic that also carries text of others. The event after it
    /// costs a whole key.
    pub fn publish_uncompressed(&mut self, topic: &Topic, event: impl Encode) -> usize {
        self.core.publish(topic, &event, Allowed::No)
    }

    /// Subscribes an open stream to a topic. What is sent to the stream before this call returns
    /// comes before the topic's next event. False if the stream has ended or has this topic already.
    /// A client that came with a `Last-Event-ID` goes on after it; see
    /// [`Stream::subscribe`](crate::Stream::subscribe).
    pub fn subscribe(&mut self, id: StreamId, topic: &Topic) -> bool {
        self.core.subscribe(id, topic, JoinAt::Live)
    }

    /// Ends a subscription: what the stream has not been given yet, it does not get. False if there
    /// was none.
    pub fn unsubscribe(&mut self, id: StreamId, topic: &Topic) -> bool {
        self.core.unsubscribe(id, topic)
    }

    /// How many streams are subscribed to a topic.
    #[must_use]
    pub fn subscribers(&self, topic: &Topic) -> usize {
        self.core.subscribers(topic)
    }

    /// Gives a topic an updater, in place of an earlier one: it renders once per `interval` for
    /// all subscribers, and does not run while there are none. The first subscriber gets a fresh
    /// render at once. Output equal to that of the run before is not published.
    ///
    /// Such a topic should [`retain`](Topic::retain) its last event, so that everybody who joins
    /// later gets something at once too. [`Next::Close`](crate::Next::Close) or
    /// [`Next::Drop`](crate::Next::Drop) ends the updater; an error or a panic is logged and
    /// counted, and it runs again at its next time.
    ///
    /// # Errors
    /// [`IntervalTooShort`] below 1 ms.
    pub fn drive<N: IntoNext>(
        &mut self,
        topic: &Topic,
        interval: Duration,
        mut updater: impl FnMut(&mut Feed<'_>) -> N + 'static,
    ) -> Result<(), IntervalTooShort> {
        if interval < SHORTEST_INTERVAL {
            return Err(IntervalTooShort);
        }
        self.core.drive(topic, interval, Box::new(move |feed| updater(feed).into_next()));
        Ok(())
    }

    /// All open streams, in no particular order. Walks over every connection.
    pub fn streams(&self) -> impl Iterator<Item = StreamId> + '_ {
        self.core.live_streams()
    }

    /// The open streams that carry a [`tag`](crate::Sse::tag).
    #[must_use]
    pub fn tagged(&self, tag: &str) -> Vec<StreamId> {
        let ids = self.core.tags.with(tag).iter().copied();
        ids.filter(|id| self.core.is_live(*id)).collect()
    }

    /// The tag of a stream; in its `on_disconnect` it is still known.
    #[must_use]
    pub fn tag(&self, id: StreamId) -> Option<&str> {
        self.core.tags.of(id)
    }

    /// Who is at the other end of a stream; `None` when it has ended.
    #[must_use]
    pub fn peer(&self, id: StreamId) -> Option<Peer> {
        self.core.is_live(id).then(|| self.core.peer(id.index))
    }

    /// How long a stream has been open, in whole seconds; `None` when it has ended.
    #[must_use]
    pub fn age(&self, id: StreamId) -> Option<Duration> {
        self.core.age(id)
    }

    /// How many bytes wait for a client that reads too slowly, apart from what the logs of its
    /// topics keep for it; `None` when the stream has ended. At most
    /// [`Limits::outbox_bytes`](crate::Limits::outbox_bytes), or one tick, or one event of a topic.
    /// Within a turn it counts what leaves at the end of it too.
    #[must_use]
    pub fn queued_bytes(&self, id: StreamId) -> Option<usize> {
        self.core.queued_bytes(id)
    }

    /// Runs `call` once, `delay` from now and never in this turn. Costs one slot (about 150
    /// bytes) while armed.
    pub fn after(
        &mut self,
        delay: Duration,
        call: impl FnOnce(&mut Context<'_>) + 'static,
    ) -> TimerId {
        self.core.add_timer(millis(delay), 0, TimerCall::Once(Box::new(call)))
    }

    /// Runs `call` every `interval`, first one interval from now, by the same rules as updaters:
    /// no drift, no storm after a pause. [`Next::Close`](crate::Next::Close),
    /// [`Next::Drop`](crate::Next::Drop), an error or a panic end it.
    ///
    /// # Errors
    /// [`IntervalTooShort`] below 1 ms.
    pub fn every<N: IntoNext>(
        &mut self,
        interval: Duration,
        mut call: impl FnMut(&mut Context<'_>) -> N + 'static,
    ) -> Result<TimerId, IntervalTooShort> {
        if interval < SHORTEST_INTERVAL {
            return Err(IntervalTooShort);
        }
        let call = TimerCall::Repeating(Box::new(move |cx| call(cx).into_next()));
        Ok(self.core.add_timer(millis(interval), interval_ms(interval), call))
    }

    /// Cancels a timer, also from within itself. False when it has run out or was cancelled.
    pub fn cancel(&mut self, id: TimerId) -> bool {
        self.core.cancel_timer(id)
    }

    /// The figures of this reactor as of now.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.core.stats
    }

    /// Ends all streams with reason [`CloseReason::Shutdown`] and then the reactor's `run`.
    pub fn shutdown(&mut self) {
        self.core.begin_shutdown();
    }

    /// Counts a request that a layer has refused.
    pub(crate) fn count_refusal(&mut self, status: u16) {
        self.core.stats.refused.count(status);
    }

    pub(super) fn review_topic(&mut self, name: &Arc<str>) {
        self.core.review_topic(name);
    }
}

impl fmt::Display for IntervalTooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an interval must be at least 1 ms")
    }
}

impl Error for IntervalTooShort {}
