//! [`Context`]: the reactor, as handlers, hooks and timers see it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

#[cfg(feature = "dashboard")]
use crate::engine::conns::{Progress, SlowStream, SlowWalk};
use crate::engine::{
    api::next::{Ending, IntoNext},
    api::sse::interval_ms,
    core::Core,
    keys::{StreamId, TimerId},
    later::{Later, Responder},
    pending::TimerCall,
    remote::{Handle, TrySendError},
    stats::Stats,
};
use crate::{
    error::CloseReason,
    http::{Peer, StatusCode},
    sse::Encode,
    time::millis,
    topic::Compressible,
};

/// The reactor as a closure sees it, borrowed for one call.
///
/// All effects are immediate, but other closures (hooks) run only after the current one has
/// returned. You may therefore keep a `RefCell` borrowed across every method here.
///
/// ```
/// use starwheel::{Context, Ending};
///
/// /// Ends all streams of a user who has logged out.
/// fn log_out(cx: &mut Context<'_>, user: &str) {
///     for id in cx.tagged(user) {
///         cx.send(id, "goodbye");
///         cx.close(id, Ending::Finish);
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Context<'a> {
    pub(super) core: &'a mut Core,
}

impl<'a> Context<'a> {
    pub(in crate::engine) fn new(core: &'a mut Core) -> Self {
        Self { core }
    }

    /// Time since the reactor started; read once per turn, and when
    /// [`Reactor::context`](crate::Reactor::context) lends the context between two turns.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_millis(self.core.now)
    }

    /// The time of day, in whole seconds; read together with [`now`](Self::now). It changes when
    /// the system's clock is set, so measure time with `now`.
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
    /// [history](crate::Topic::history), a bookmark follows, so that the client resumes from the position
    /// of the stream.
    ///
    /// The event is encoded now, and leaves at the end of this turn. If a turn sends to more than 128
    /// streams, the rest is served in the next turns, in the order of the first sends to them, with
    /// ticks and requests in between. To send the same event to many streams, publish it on a topic,
    /// which encodes it once.
    pub fn send(&mut self, id: StreamId, event: impl Encode) -> bool {
        self.core.send(id, &event, Compressible::Yes)
    }

    /// Like [`send`](Self::send), but not compressed in a compressed stream, and no later event
    /// refers to it; see [`Stream::send_uncompressed`](crate::Stream::send_uncompressed).
    pub fn send_uncompressed(&mut self, id: StreamId, event: impl Encode) -> bool {
        self.core.send(id, &event, Compressible::No)
    }

    /// Ends a stream of this worker after what was sent to it and published on its topics so far.
    /// False if it had ended before. Its `on_disconnect` runs at the end of this turn; if very many streams end
    /// together, in one of the next turns, 128 in each, with ticks and requests in between. A
    /// client that is [dropped](Ending::Drop) while it does not read gets no more events of its
    /// topics: it reconnects.
    pub fn close(&mut self, id: StreamId, ending: Ending) -> bool {
        self.core.close(id, CloseReason::from(ending))
    }

    /// All open streams of this worker, in no particular order. Walks over every connection. How many
    /// there are on all workers is in the [statistics](Handle::stats) of their handle.
    pub fn streams(&self) -> impl Iterator<Item = StreamId> + '_ {
        self.core.conns.live_streams()
    }

    /// The open streams of this worker with a [`tag`](crate::Sse::tag), the oldest first. A stream is
    /// listed from its start, at the end of the turn in which a handler returned it, until its end is
    /// decided. Costs one hash lookup for each.
    ///
    /// For example, to drop the oldest of a user's windows when
    /// [`Limits::streams_per_tag`](crate::Limits::streams_per_tag) is 3. It reconnects; a policy
    /// without that is [`TagOverflow::ReplaceOldest`](crate::TagOverflow::ReplaceOldest).
    ///
    /// ```
    /// use starwheel::{Config, Ending, Router, Sse, testing::Simulation};
    /// let mut config = Config::default();
    /// config.limits.streams_per_tag = Some(3);
    /// let router = Router::new().get("/", |_req, cx| {
    ///     let open = cx.tagged("anna");
    ///     if let [oldest, _, _] = open[..] {
    ///         cx.close(oldest, Ending::Drop);
    ///     }
    ///     Sse::new().tag("anna")
    /// });
    /// let mut simulation = Simulation::with_config(config, 0, router);
    /// let windows: Vec<_> = (0..4).map(|_| simulation.get("/")).collect();
    /// assert_eq!(simulation.stats().streams, 3);
    /// assert_eq!(simulation.stats().refused.total(), 0);
    /// ```
    #[must_use]
    pub fn tagged(&self, tag: &str) -> Vec<StreamId> {
        self.core.tags.with(tag).collect()
    }

    /// The open streams with a tag on all [`Workers`](crate::Workers), the oldest first. On a single
    /// reactor it is [`tagged`](Self::tagged). Each tagged stream of workers costs a lock at its
    /// start and at its end for this list.
    ///
    /// [`send`](Self::send) and [`close`](Self::close) take streams of this worker only;
    /// [`Handle::run_on_worker_of`] reaches the others. For other threads: [`Handle::run`].
    ///
    /// ```
    /// # use starwheel::{Handle, StreamId};
    /// # use std::sync::mpsc;
    /// /// All windows of a user, for a thread that may wait.
    /// fn windows(handle: &Handle, user: String) -> Vec<StreamId> {
    ///     let (sender, received) = mpsc::channel();
    ///     let asked = handle.run(move |cx| _ = sender.send(cx.tagged_on_all(&user)));
    ///     asked.ok().and_then(|()| received.recv().ok()).unwrap_or_default()
    /// }
    /// ```
    #[must_use]
    pub fn tagged_on_all(&self, tag: &str) -> Vec<StreamId> {
        self.core.tagged_on_all(tag)
    }

    /// Ends all streams with a tag, on all [`Workers`](crate::Workers), as [`close`](Self::close)
    /// does, and returns their number. From then on they count no more for
    /// [`Limits::streams_per_tag`](crate::Limits::streams_per_tag). Those of other workers end in
    /// the next turn there.
    ///
    /// ```
    /// use starwheel::{Ending, Response, Router, Sse, testing::SimulatedWorkers};
    /// let mut workers = SimulatedWorkers::new(2, |_worker| {
    ///     Router::new().get("/", |_req, _cx| Sse::new().tag("anna")).post("/logout", |_req, cx| {
    ///         Response::text(cx.close_tagged_on_all("anna", Ending::Drop).to_string())
    ///     })
    /// });
    /// workers[0].get("/");
    /// workers[1].get("/");
    /// let mut closed = 0;
    /// workers[0].run(|cx| closed = cx.close_tagged_on_all("anna", Ending::Drop));
    /// workers.turn();
    /// assert_eq!((closed, workers[1].stats().streams), (2, 0));
    /// ```
    pub fn close_tagged_on_all(&mut self, tag: &str, ending: Ending) -> usize {
        self.core.close_tagged_on_all(tag, ending)
    }

    /// Ends all streams with a tag on all machines that have joined the same
    /// [`Backplane`](crate::Backplane), for a logout or a ban. Without one, it is
    /// [`close_tagged_on_all`](Self::close_tagged_on_all).
    ///
    /// Those of this process end first, in any case. On other machines, streams end when the request
    /// arrives there, in order with published events: milliseconds later, while all are connected. While
    /// the store is out of reach, the request waits here like an event, and on a machine that is cut off,
    /// streams stay open until it is back; it then gets the last 1,000 requests of the time that
    /// [`Backplane::history_for`](crate::Backplane::history_for) says. A stream that opens before the
    /// request arrives is ended too, so first make your handlers refuse the user.
    ///
    /// ```
    /// use starwheel::{Ending, Response, Router};
    /// let router = Router::new().post("/logout", |_req, cx| {
    ///     // Forget the session here.
    ///     cx.close_tagged_on_machines("anna", Ending::Drop)?;
    ///     Ok(Response::text("bye"))
    /// });
    /// # let _ = router;
    /// ```
    ///
    /// # Errors
    /// [`TrySendError::Full`] while too much waits for the store: streams on other machines stay open.
    pub fn close_tagged_on_machines(
        &mut self,
        tag: &str,
        ending: Ending,
    ) -> Result<(), TrySendError<()>> {
        self.core.close_tagged_on_machines(tag, ending)
    }

    /// The tag of a stream; still available in its `on_disconnect`.
    #[must_use]
    pub fn tag(&self, id: StreamId) -> Option<&str> {
        self.core.tags.of(id)
    }

    /// The peer address of a stream; `None` when the stream has ended.
    #[must_use]
    pub fn peer(&self, id: StreamId) -> Option<Peer> {
        self.core.peer_of(id)
    }

    /// The pattern of the route that opened a stream, such as `/rooms/{id}`. `None` when no pattern
    /// matched its request, and when the stream has ended.
    ///
    /// ```
    /// use starwheel::{Router, Sse, testing::Simulation};
    /// let mut simulation = Simulation::new(Router::new().get("/rooms/{id}", |_req, _cx| Sse::new()));
    /// simulation.get("/rooms/7");
    /// simulation.run(|cx| {
    ///     let id = cx.streams().next().unwrap();
    ///     assert_eq!(cx.route(id), Some("/rooms/{id}"));
    /// });
    /// ```
    #[must_use]
    pub fn route(&self, id: StreamId) -> Option<&str> {
        self.core.pattern_of(id)
    }

    /// How long a stream has been open, in tenths of a second of [`now`](Self::now): up to a tenth more
    /// than has passed. `None` when it has ended.
    #[must_use]
    pub fn age(&self, id: StreamId) -> Option<Duration> {
        self.core.age(id)
    }

    /// Number of bytes queued for a slow client, without what the logs of its topics keep for it.
    /// `None` when the stream has ended. At most
    /// [`Limits::outbox_bytes`](crate::Limits::outbox_bytes), or one tick, one event of a topic, or
    /// what was sent to the stream in the turn in which its client became slow. Includes what will
    /// leave at the end of the turn. After a turn, the memory allocated is at most twice this
    /// number plus 64 KiB, no matter how much the client has been sent.
    #[must_use]
    pub fn queued_bytes(&self, id: StreamId) -> Option<usize> {
        self.core.queued_bytes(id)
    }

    /// Runs `call` once, `delay` from [`now`](Self::now) and never in this turn. Costs one slot
    /// (about 150 bytes) while armed.
    pub fn after(
        &mut self,
        delay: Duration,
        call: impl FnOnce(&mut Context<'_>) + 'static,
    ) -> TimerId {
        self.core.add_timer(millis(delay), 0, TimerCall::Once(Box::new(call)))
    }

    /// Runs `call` every `interval`, first one interval from [`now`](Self::now), by the rules of updaters:
    /// no drift, no storm after a pause. [`Next::Finish`](crate::Next::Finish),
    /// [`Next::Drop`](crate::Next::Drop), an error or a panic end it.
    ///
    /// The interval is at least 1 ms; a shorter one is set to 1 ms.
    pub fn every<N: IntoNext>(
        &mut self,
        interval: Duration,
        mut call: impl FnMut(&mut Context<'_>) -> N + 'static,
    ) -> TimerId {
        let call = TimerCall::Repeating(Box::new(move |cx| call(cx).into_next()));
        let interval_ms = interval_ms(interval);
        self.core.add_timer(interval_ms.into(), interval_ms, call)
    }

    /// Cancels a timer, also from within itself. False when it has run out or was cancelled.
    pub fn cancel(&mut self, id: TimerId) -> bool {
        self.core.cancel_timer(id)
    }

    /// A handle to this reactor, for a thread that a closure starts.
    ///
    /// ```
    /// use starwheel::{Context, Request, Response, Topic};
    /// fn start_import(_req: &Request, cx: &mut Context<'_>) -> Response {
    ///     let (handle, progress) = (cx.handle(), Topic::new("progress").retain());
    ///     std::thread::spawn(move || {
    ///         for percent in (0..=100).step_by(10) {
    ///             if handle.publish(&progress, format!("{percent} %")).is_err() {
    ///                 break;
    ///             }
    ///         }
    ///     });
    ///     Response::no_content()
    /// }
    /// ```
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.core.mailbox))
    }

    /// A promise of an answer, for a handler whose work takes too long for the reactor's thread: a
    /// slow hash, a database. The handler returns the [`Later`]; the [`Responder`] goes to a thread
    /// that answers.
    ///
    /// While the client waits, at most for [`Limits::answer_timeout`](crate::Limits::answer_timeout),
    /// its further requests on the connection wait too. Costs two allocations, and the request is
    /// kept with its body. What layers add to the answer is added when it comes.
    ///
    /// ```
    /// use starwheel::{Method, Response, Router, testing::Simulation};
    /// use std::{sync::mpsc, thread};
    ///
    /// let (pool, jobs) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
    /// let worker = thread::spawn(move || jobs.into_iter().for_each(|job| job()));
    /// let router = Router::new().post("/login", move |req, cx| {
    ///     let password = req.body().to_vec();
    ///     let (later, responder) = cx.later();
    ///     let check = move || responder.answer(match password.as_slice() {
    ///         b"open sesame" => Response::no_content().with_header("Set-Cookie", "user=ali"),
    ///         _ => Response::error(starwheel::StatusCode::FORBIDDEN, "wrong password"),
    ///     });
    ///     pool.send(Box::new(check)).map_err(|_| Response::busy(std::time::Duration::from_secs(1)))?;
    ///     Ok(later)
    /// });
    /// let mut simulation = Simulation::new(router);
    /// let client = simulation.connect();
    /// simulation.request(client, Method::Post, "/login", &[], b"open sesame");
    /// simulation.turn();
    /// drop(simulation); // And with it the router and the sender, so that the worker ends.
    /// worker.join().unwrap();
    /// ```
    pub fn later(&mut self) -> (Later, Responder) {
        let (oneshot, mailbox) = (Arc::default(), &self.core.mailbox);
        let later = Later::new(Arc::clone(&oneshot), Arc::clone(mailbox));
        (later, Responder::new(oneshot, Arc::clone(mailbox)))
    }

    /// The current statistics of this reactor.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.core.stats
    }

    /// Ends all streams with reason [`CloseReason::Shutdown`] and then the reactor's `run`, at the
    /// end of this turn. [Between two turns](crate::Reactor::context) it is the next one.
    pub fn shutdown(&mut self) {
        self.core.begin_shutdown();
    }

    /// A handle of all workers; on a single reactor, that of this one.
    #[cfg(feature = "dashboard")]
    pub(crate) fn handle_of_all(&self) -> Handle {
        self.core.handle_of_all()
    }

    /// The number of this worker, from zero.
    #[cfg(feature = "dashboard")]
    pub(crate) fn worker_number(&self) -> usize {
        self.core.worker_number()
    }

    /// How long a drain goes on, if there is one.
    #[cfg(feature = "dashboard")]
    pub(crate) fn drains_for(&self) -> Option<Duration> {
        self.core.drains_for()
    }

    /// Looks at the next connections of a walk.
    #[cfg(feature = "dashboard")]
    pub(crate) fn walk_on(&self, walk: &mut SlowWalk) -> Progress {
        self.core.walk_on(walk)
    }

    /// What a walk has found.
    #[cfg(feature = "dashboard")]
    pub(crate) fn end_walk(&self, walk: SlowWalk) -> Vec<SlowStream> {
        self.core.end_walk(walk)
    }

    /// Counts a request that a layer has refused.
    pub(crate) fn count_refusal(&mut self, status: StatusCode) {
        self.core.stats.refused.count(status);
    }

    pub(in crate::engine) fn review_topic(&mut self, name: &Arc<str>) {
        self.core.review_topic(name);
    }
}
