//! [`Stream`]: the view of its stream that an updater or `on_connect` is given.

use std::time::Duration;

use crate::{
    engine::{
        api::{context::Context, next::Ending},
        core::Core,
        keys::StreamId,
    },
    error::CloseReason,
    http::Peer,
    sse::Encode,
    topic::{Compressible, JoinAt, Topic},
};

/// One open stream, lent to its updater or `on_connect` hook.
///
/// ```
/// use starwheel::{Event, Sse};
/// use std::time::Duration;
/// let stream = Sse::every(Duration::from_millis(100), |stream| {
///     stream.send("some text");
///     stream.send(Event::new("named").name("greeting")?);
///     Ok(())
/// });
/// # let _ = stream;
/// ```
#[derive(Debug)]
pub struct Stream<'a> {
    core: &'a mut Core,
    id: StreamId,
}

impl<'a> Stream<'a> {
    pub(in crate::engine) fn new(core: &'a mut Core, id: StreamId) -> Self {
        Self { core, id }
    }

    /// This stream's id. Keep it to send to the stream from elsewhere.
    #[must_use]
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// The address of the client, or of the proxy in front.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.core.conns[self.id.conn].peer()
    }

    /// Time since the reactor started; read once per turn.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_millis(self.core.now)
    }

    /// Sends an event. It is encoded at once, without allocation, and leaves together with
    /// everything else this call of the closure sends. Nothing is sent after [`Stream::close`].
    pub fn send(&mut self, event: impl Encode) {
        self.core.send(self.id, &event, Compressible::Yes);
    }

    /// Like [`send`](Self::send), but the event is not compressed in a compressed stream, and no
    /// later event refers to it. Use it for a secret on a stream that also carries untrusted text.
    /// Later events are compressed as if it had not been sent. It still takes space in the stream's
    /// [history](crate::Compression::history_bytes), so a large one makes them larger.
    ///
    /// ```
    /// use starwheel::Sse;
    /// use std::time::Duration;
    /// let stream = Sse::every(Duration::from_secs(1), |stream| {
    ///     stream.send("<article>what others wrote</article>");
    ///     stream.send_uncompressed("<input type=hidden name=token value=0d7e95>");
    /// });
    /// # let _ = stream;
    /// ```
    pub fn send_uncompressed(&mut self, event: impl Encode) {
        self.core.send(self.id, &event, Compressible::No);
    }

    /// Subscribes this stream to a topic. What has been sent to it before, such as a snapshot,
    /// comes before the topic's next event. False if it has this topic already.
    ///
    /// If the topic has a [history](Topic::history), the stream goes on after the `Last-Event-ID`
    /// that its client came with, unless it has had the topic since; and it gets a bookmark, so that
    /// the client can come back. In `on_connect` that is as exact as with
    /// [`Sse::subscribe`](crate::Sse::subscribe). Later, events that are older than those that the
    /// stream has been given are copied for it.
    pub fn subscribe(&mut self, topic: &Topic) -> bool {
        self.subscribe_at(topic, JoinAt::Live)
    }

    /// The same, with a choice where on the topic's log the stream starts. A stream that goes on after
    /// a `Last-Event-ID`, or after what it has had of the topic already, starts there instead.
    ///
    /// ```
    /// use starwheel::{JoinAt, Router, Sse, Topic, testing::Simulation};
    /// let chat = Topic::new("chat").history(100, 64 * 1024);
    /// let joined = chat.clone();
    /// let router = Router::new().get("/chat", move |_req, _cx| {
    ///     let chat = joined.clone();
    ///     Sse::new().on_connect(move |stream| {
    ///         stream.send("welcome, here is what was said:");
    ///         stream.subscribe_at(&chat, JoinAt::Oldest);
    ///     })
    /// });
    /// let mut simulation = Simulation::new(router);
    /// let first = simulation.get("/chat");
    /// simulation.run(|cx| cx.publish(&chat, "hello").unwrap());
    /// let second = simulation.get("/chat");
    /// let events = simulation.events(second);
    /// assert_eq!(events.last().map(|event| event.data.as_str()), Some("hello"));
    /// # let _ = first;
    /// ```
    pub fn subscribe_at(&mut self, topic: &Topic, join_at: JoinAt) -> bool {
        self.core.subscribe(self.id, topic, join_at)
    }

    /// Ends a subscription. Events not yet delivered are discarded. False if there was none.
    pub fn unsubscribe(&mut self, topic: &Topic) -> bool {
        self.core.unsubscribe(self.id, topic)
    }

    /// Ends the stream after what was sent, and published on its topics, so far; see
    /// [`Context::close`]. The updater is not called again.
    pub fn close(&mut self, ending: Ending) {
        self.core.close(self.id, CloseReason::from(ending));
    }

    /// The reactor: other streams, timers, statistics.
    pub fn context(&mut self) -> Context<'_> {
        Context::new(self.core)
    }
}

impl From<Ending> for CloseReason {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Finish => Self::Finished,
            Ending::Drop => Self::Dropped,
        }
    }
}
