//! What a [`Context`] does with topics.

use std::time::Duration;

use crate::{
    engine::{
        api::{context::Context, feed::Feed, next::IntoNext},
        keys::StreamId,
        remote::TrySendError,
        stats::{BackplaneStats, TopicStats},
    },
    sse::Encode,
    topic::{Compressible, JoinAt, Topic},
};

/// Topics.
impl Context<'_> {
    /// Publishes an event to all subscribers of a topic. It is encoded once, now; the sockets are
    /// written in step 5 of this turn (for very many subscribers in slices over the next turns,
    /// with ticks in between), and several events of one turn leave in one write.
    ///
    /// Costs nothing when nobody listens and the topic keeps nothing.
    /// [`subscribers`](Self::subscribers) says how many there are.
    ///
    /// ```
    /// use starwheel::{Context, Request, Response, Router, Sse, Topic, testing::Simulation};
    /// let room = Topic::new("room");
    /// let watched = room.clone();
    /// let router = Router::new()
    ///     .get("/room", move |_req, _cx| Sse::new().subscribe(&watched))
    ///     .post("/say", move |req: &Request, cx: &mut Context<'_>| {
    ///         cx.publish(&room, &*String::from_utf8_lossy(req.body()))?;
    ///         Ok(Response::no_content())
    ///     });
    /// let mut simulation = Simulation::new(router);
    /// let reader = simulation.get("/room");
    /// let writer = simulation.connect();
    /// simulation.request(writer, starwheel::Method::Post, "/say", &[], b"hello");
    /// simulation.turn();
    /// assert_eq!(simulation.events(reader)[0].data, "hello");
    /// ```
    ///
    /// # Errors
    /// Returns the event, like [`Handle::publish`](crate::Handle::publish). A reactor that
    /// publishes on its own topics never refuses an event, so in a timer or hook `.ok()` is enough;
    /// in a handler `?` responds with 503 and a `Retry-After`. With several workers, a topic that
    /// spans them is refused while the queue of one of them is full.
    pub fn publish<E: Encode>(&mut self, topic: &Topic, event: E) -> Result<(), TrySendError<E>> {
        self.core.publish(topic, event, Compressible::Yes, None)
    }

    /// Publishes an event unless another one on this topic has had the same key in the last five
    /// minutes, like [`Handle::publish_once`](crate::Handle::publish_once).
    ///
    /// ```
    /// # use starwheel::{Context, Request, Response, Topic};
    /// fn order(req: &Request, cx: &mut Context<'_>) -> Result<Response, Response> {
    ///     let key = req.header("idempotency-key").unwrap_or_default();
    ///     cx.publish_once(&Topic::new("orders"), key, "a new order")?;
    ///     Ok(Response::no_content())
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`publish`](Self::publish); the key is not used up then.
    pub fn publish_once<E: Encode>(
        &mut self,
        topic: &Topic,
        key: &str,
        event: E,
    ) -> Result<(), TrySendError<E>> {
        self.core.publish(topic, event, Compressible::Yes, Some(key))
    }

    /// The same, but the event leaves as it is also in compressed streams, and no later event
    /// refers to it: for secrets on a topic that also carries text of others. The event after it
    /// is compressed as a full key.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_uncompressed<E: Encode>(
        &mut self,
        topic: &Topic,
        event: E,
    ) -> Result<(), TrySendError<E>> {
        self.core.publish(topic, event, Compressible::No, None)
    }

    /// Finishes a topic with a last event, like [`Handle::finish`](crate::Handle::finish). Subscribers
    /// get it, and streams without other topics end.
    ///
    /// ```
    /// use starwheel::{Context, Topic};
    /// fn report(cx: &mut Context<'_>, progress: &Topic, percent: u32) {
    ///     let reported = match percent {
    ///         100 => cx.finish(progress, "done"),
    ///         _ => cx.publish(progress, "further"),
    ///     };
    ///     reported.ok();
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn finish<E: Encode>(&mut self, topic: &Topic, event: E) -> Result<(), TrySendError<E>> {
        self.core.finish(topic, event)
    }

    /// Subscribes an open stream to a topic. What is sent to the stream before this call returns
    /// comes before the topic's next event. False if the stream has ended or has this topic already.
    /// A client that came with a `Last-Event-ID` goes on after it; see
    /// [`Stream::subscribe`](crate::Stream::subscribe).
    ///
    /// What the topic has for the stream, such as a retained event, leaves at the end of this turn.
    /// That is not sliced: subscribe very many streams over several turns.
    pub fn subscribe(&mut self, id: StreamId, topic: &Topic) -> bool {
        self.subscribe_at(id, topic, JoinAt::Live)
    }

    /// The same, with a choice where on the topic's log the stream starts; see
    /// [`Stream::subscribe_at`](crate::Stream::subscribe_at).
    pub fn subscribe_at(&mut self, id: StreamId, topic: &Topic, join_at: JoinAt) -> bool {
        self.core.subscribe(id, topic, join_at)
    }

    /// Ends a subscription. Events not yet delivered are discarded. False if there was none.
    pub fn unsubscribe(&mut self, id: StreamId, topic: &Topic) -> bool {
        self.core.unsubscribe(id, topic)
    }

    /// Number of open streams of this worker that are subscribed to a topic. Streams whose end is
    /// decided do not count, even if they still get what was published before.
    #[must_use]
    pub fn subscribers(&self, topic: &Topic) -> usize {
        self.core.topics.subscribers(topic)
    }

    /// Figures of a topic on this worker; `None` if it is not in use here. Counters begin with its
    /// use. To find the slowest subscriber, all of the topic are compared: about 50 us for 100,000.
    ///
    /// For other threads: [`Handle::run`](crate::Handle::run), or [`Stats::topics`](crate::Stats) of
    /// topics with [`Topic::metrics`].
    ///
    /// ```
    /// use starwheel::{Router, Sse, Topic, testing::Simulation};
    /// let news = Topic::new("news");
    /// let watched = news.clone();
    /// let router = Router::new().get("/news", move |_req, _cx| Sse::new().subscribe(&watched));
    /// let mut simulation = Simulation::new(router);
    /// simulation.get("/news");
    /// simulation.run(|cx| cx.publish(&news, "hello").unwrap());
    /// simulation.run(|cx| {
    ///     let stats = cx.topic_stats(&news).unwrap();
    ///     assert_eq!((stats.subscribers, stats.published, stats.delivered, stats.lag), (1, 1, 1, 0));
    /// });
    /// ```
    #[must_use]
    pub fn topic_stats(&self, topic: &Topic) -> Option<TopicStats> {
        self.core.topics.figures(topic)
    }

    /// How far a stream lags: the number of events of its topics that it has not been given, without
    /// those that have left the log. `None` when it has ended. Bytes that it has been given and that
    /// wait for its socket are [`queued_bytes`](Self::queued_bytes).
    ///
    /// ```
    /// use starwheel::{Context, StreamId};
    /// /// Streams that lag by more than ten events. Walks over all streams of this worker.
    /// fn slow(cx: &Context<'_>) -> Vec<StreamId> {
    ///     cx.streams().filter(|id| cx.lag(*id).is_some_and(|events| events > 10)).collect()
    /// }
    /// ```
    #[must_use]
    pub fn lag(&self, id: StreamId) -> Option<u64> {
        self.core.lag(id)
    }

    /// [`subscribers`](Self::subscribers) over all [`Workers`](crate::Workers), for presence. On a single reactor it is
    /// [`subscribers`](Self::subscribers). Costs one lock and one lookup. For other threads:
    /// [`Handle::run`](crate::Handle::run).
    ///
    /// ```
    /// use starwheel::{Response, Router, Sse, Topic, testing::SimulatedWorkers};
    /// let mut workers = SimulatedWorkers::new(2, |_worker| {
    ///     Router::new()
    ///         .get("/chat", |_req, _cx| Sse::new().subscribe(&Topic::new("chat")))
    ///         .get("/present", |_req, cx| {
    ///             Response::text(cx.subscribers_on_all(&Topic::new("chat")).to_string())
    ///         })
    /// });
    /// workers[0].get("/chat");
    /// workers[1].get("/chat");
    /// let asked = workers[0].get("/present");
    /// assert_eq!(workers[0].response(asked).text(), "2");
    /// ```
    #[must_use]
    pub fn subscribers_on_all(&self, topic: &Topic) -> usize {
        self.core.subscribers_on_all(topic)
    }

    /// The same over all machines of a [`Backplane`](crate::Backplane), approximately: this process
    /// exactly, and the others by what they have said last. Without a backplane it is
    /// [`subscribers_on_all`](Self::subscribers_on_all).
    ///
    /// The first question about a topic gives the number of this process. Those of the others come within
    /// ten seconds, and are renewed every five while somebody asks at least once a minute. A machine that
    /// ends without notice counts for up to twenty seconds more. While the store is away, the last
    /// numbers stay. Topics are compared by name, [local](Topic::local) ones too. At most 1,000 topics of
    /// a namespace are counted at the same time, with names of at most 1,024 bytes; of others, only this
    /// process counts.
    ///
    /// Costs two locks and two lookups. [`Handle::subscribers_on_machines`](crate::Handle) does the same
    /// on any thread.
    ///
    /// ```
    /// use starwheel::{Router, Sse, Topic, testing::SimulatedMachines};
    /// use std::time::Duration;
    ///
    /// let chat = Topic::new("chat");
    /// let mut machines = SimulatedMachines::new(2, |_machine| {
    ///     Router::new().get("/chat", |_req, _cx| Sse::new().subscribe(&Topic::new("chat")))
    /// });
    /// machines[0].get("/chat");
    /// machines[1].get("/chat");
    /// let mut seen = 0;
    /// machines[0].run(|cx| seen = cx.subscribers_on_machines(&chat));
    /// assert_eq!(seen, 1, "that of this machine");
    /// machines.advance(Duration::from_secs(10));
    /// machines[0].run(|cx| seen = cx.subscribers_on_machines(&chat));
    /// assert_eq!(seen, 2);
    /// ```
    #[must_use]
    pub fn subscribers_on_machines(&self, topic: &Topic) -> usize {
        self.core.subscribers_on_machines(topic)
    }

    /// Counts subscribers for other threads from here on.
    pub(in crate::engine) fn begin_to_count(&mut self) {
        let _registry = self.core.audiences();
    }

    /// Sets the updater of a topic and replaces an earlier one. It renders once per `interval` for
    /// all subscribers, and does not run while there are none. The first subscriber immediately
    /// gets a fresh render, or the retained event if that is the same. Output equal to that of the
    /// previous run is not published; this includes runs that send nothing.
    ///
    /// Such a topic should [`retain`](Topic::retain) its last event, so that later subscribers also
    /// get it immediately. A run that ends with an error or a panic publishes nothing. It is
    /// logged, a panic is also counted ([`Stats::panics`](crate::Stats::panics)), and the updater runs again at its next
    /// interval.
    ///
    /// The updater ends, and is dropped, when
    /// - it returns [`Next::Finish`](crate::Next::Finish) or [`Next::Drop`](crate::Next::Drop);
    /// - [`stop_driving`](Self::stop_driving) or another `drive` for the same topic is called;
    /// - its topic is forgotten: a minute after this call or the last subscriber, unless a clone of
    ///   `topic` exists. To let an updater wait for clients, keep a clone outside, for example in a
    ///   handler. A clone inside the updater itself would keep the topic until the updater is
    ///   stopped.
    ///
    /// For topics with names of their own, such as one per user, drive where you subscribe:
    ///
    /// ```
    /// use starwheel::{Context, Request, Router, Sse, Topic, testing::Simulation};
    /// use std::time::Duration;
    ///
    /// fn orders(req: &Request, cx: &mut Context<'_>) -> Sse {
    ///     let user = req.param("user").unwrap_or_default().to_owned();
    ///     let orders = Topic::new(format!("orders of {user}")).retain();
    ///     if cx.subscribers(&orders) == 0 {
    ///         cx.drive(&orders, Duration::from_secs(1), move |feed| feed.send(&user));
    ///     }
    ///     Sse::new().subscribe(&orders)
    /// }
    /// let mut simulation = Simulation::new(Router::new().get("/{user}", orders));
    /// let (anna, ben) = (simulation.get("/anna"), simulation.get("/ben"));
    /// assert_eq!(simulation.events(anna)[0].data, "anna");
    /// assert_eq!(simulation.events(ben)[0].data, "ben");
    /// // A minute after they have left, topics and updaters are gone.
    /// simulation.half_close(anna);
    /// simulation.half_close(ben);
    /// simulation.advance(Duration::from_secs(60));
    /// assert_eq!(simulation.stats().log_bytes, 0);
    /// ```
    ///
    /// The interval is at least 1 ms; a shorter one is set to 1 ms.
    pub fn drive<N: IntoNext>(
        &mut self,
        topic: &Topic,
        interval: Duration,
        mut updater: impl FnMut(&mut Feed<'_>) -> N + 'static,
    ) {
        self.core.drive(topic, interval, Box::new(move |feed| updater(feed).into_next()));
    }

    /// Removes the updater of a topic. False if it had none.
    ///
    /// It does not run again, and is dropped when no other closure is running: in this turn, unless
    /// very many streams end in it. When called from within the updater, the output of the current
    /// run is not published. Subscribers stay, and a topic that retains its last event keeps it.
    /// The topic can be published on and driven again.
    ///
    /// ```
    /// use starwheel::{Router, Topic, testing::Simulation};
    /// use std::time::Duration;
    /// let load = Topic::new("load");
    /// let mut simulation = Simulation::new(Router::new());
    /// simulation.run(|cx| {
    ///     cx.drive(&load, Duration::from_secs(1), |feed| feed.send("0.1"));
    ///     assert!(cx.stop_driving(&load));
    ///     assert!(!cx.stop_driving(&load));
    /// });
    /// ```
    pub fn stop_driving(&mut self, topic: &Topic) -> bool {
        self.core.stop_driving(topic)
    }

    /// How this process is connected with the other machines of its
    /// [`Backplane`](crate::Backplane); `None` if it has not joined one. Costs one lock;
    /// [`BackplaneStats`] has an example.
    #[must_use]
    pub fn backplane(&self) -> Option<BackplaneStats> {
        self.core.mailbox.outlet()?.backplane()
    }
}
