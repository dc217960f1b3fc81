//! [`Handle`]: access to the reactor from other threads.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    command::{Batch, Command},
    crew::Crew,
    mailbox::Mailbox,
    outlet::Outlet,
    try_send::TrySendError,
};
#[cfg(feature = "tls")]
use crate::tls::TlsListeners;
use crate::{
    engine::{
        api::Context,
        registry::Registry,
        stats::{BackplaneStats, Stats},
    },
    span::Publication,
    sse::{Encode, EventBuffer},
    topic::{Compressible, Reach, Topic},
};

/// Access to a reactor, or to all [`Workers`](crate::Workers) together, from any thread: cheap to
/// clone, `Send` and `Sync`.
///
/// [`publish`](Self::publish) sends events to all subscribers of a topic. [`run`](Self::run) is for
/// everything else, such as an event for the streams of one user.
///
/// ```no_run
/// use starwheel::{Reactor, Router, Sse, Topic};
///
/// let router = Router::new().get("/", |_req, _cx| Sse::new().subscribe(&Topic::new("news")));
/// let mut reactor = Reactor::new(router)?;
/// let handle = reactor.handle();
/// std::thread::spawn(move || handle.publish(&Topic::new("news"), "hello").is_ok());
/// reactor.run()?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Commands wait in a bounded queue and run in step 2 of the next turn, in order. Nothing here
/// blocks. A command that is not accepted is returned in a [`TrySendError`], which says whether to
/// try again or to stop. Waking a sleeping reactor costs one system call; an awake one costs none.
///
/// # Of workers
/// | method | what it means |
/// |---|---|
/// | `publish`, `publish_batch` | to the subscribers of all workers, in one order. On a [local](Topic::local) topic: to every worker's own topic |
/// | `drain`, `shutdown`, `stats`, `is_stopped` | all workers; figures are summed |
/// | `run`, `adopt`, `adopt_request` | one of them, in turn |
/// | `close_tagged` | the streams of all workers |
/// | `close_tagged_on_machines`, `subscribers_on_machines` | those of all machines |
/// | `reload_tls`, `reload_tls_on` | the listeners of all workers |
/// | `run_on_all`, `run_on_worker_of`, `workers` | as they say |
///
/// Events are never published to some workers only.
#[derive(Clone)]
pub struct Handle {
    to: Recipient,
}

#[derive(Clone)]
enum Recipient {
    One(Arc<Mailbox>),
    All(Arc<Crew>),
}

impl Handle {
    pub(in crate::engine) fn new(mailbox: Arc<Mailbox>) -> Self {
        Self { to: Recipient::One(mailbox) }
    }

    /// A handle for all workers.
    pub(crate) fn of_all(crew: Arc<Crew>) -> Self {
        Self { to: Recipient::All(crew) }
    }

    pub(super) fn crew(&self) -> Option<&Arc<Crew>> {
        match &self.to {
            Recipient::One(_) => None,
            Recipient::All(crew) => Some(crew),
        }
    }

    /// Passes a command to the reactor, or to one of the workers.
    pub(crate) fn push_with<T>(
        &self,
        value: T,
        command: impl Fn(T) -> Command,
    ) -> Result<(), TrySendError<T>> {
        match &self.to {
            Recipient::One(mailbox) => mailbox.push_with(value, command),
            Recipient::All(crew) => crew.push_to_one(value, command),
        }
    }

    /// Runs a closure on the reactor thread.
    ///
    /// ```
    /// # use starwheel::Handle;
    /// /// Tells all windows of one user, whose streams carry the user's name as their tag.
    /// fn tell(handle: &Handle, user: String, text: String) {
    ///     let queued = handle.run(move |cx| {
    ///         for id in cx.tagged(&user) {
    ///             cx.send(id, &text);
    ///         }
    ///     });
    ///     if let Err(error) = queued {
    ///         log::warn!("nothing was sent: {error}");
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// Returns the closure: [`TrySendError::Full`] when 65,536 commands are waiting,
    /// [`TrySendError::Closed`] when the reactor has stopped or was dropped.
    pub fn run<F: FnOnce(&mut Context<'_>) + Send + 'static>(
        &self,
        call: F,
    ) -> Result<(), TrySendError<F>> {
        self.push_with(call, |call| Command::Run(Box::new(call)))
    }

    /// Publishes an event to all subscribers of a topic, from any thread, without blocking. It is
    /// encoded on the calling thread; the reactor appends it to the topic's log and writes the
    /// sockets.
    ///
    /// Events of one thread on one topic arrive in the order of publishing. When fan-out (or the
    /// ends of very many streams) cannot keep up, the reactor takes nothing more from the queue
    /// until it can, or until it must drain or shut down. The queue then fills, and this method
    /// returns an error instead of using more memory.
    ///
    /// ```
    /// use starwheel::{Reactor, Router, Sse, Topic};
    /// let news = Topic::new("news");
    /// let watched = news.clone();
    /// let router = Router::new().get("/news", move |_req, _cx| Sse::new().subscribe(&watched));
    /// let mut reactor = Reactor::new(router)?;
    /// let handle = reactor.handle();
    /// std::thread::spawn(move || {
    ///     if let Err(error) = handle.publish(&news, "to everybody") {
    ///         eprintln!("{error}, so not published: {}", error.into_inner());
    ///     }
    ///     handle.shutdown();
    /// });
    /// reactor.run()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Returns the event: [`TrySendError::Full`] when 65,536 commands or 16 MiB of events are
    /// waiting, [`TrySendError::Closed`] when the reactor has stopped or was dropped.
    pub fn publish<E: Encode>(&self, topic: &Topic, event: E) -> Result<(), TrySendError<E>> {
        self.publish_as(topic, event, Compressible::Yes, None)
    }

    /// The same, but the event leaves as it is also in compressed streams, and no later event refers
    /// to it; see [`Context::publish_uncompressed`].
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_uncompressed<E: Encode>(
        &self,
        topic: &Topic,
        event: E,
    ) -> Result<(), TrySendError<E>> {
        self.publish_as(topic, event, Compressible::No, None)
    }

    fn publish_as<E: Encode>(
        &self,
        topic: &Topic,
        event: E,
        compression: Compressible,
        once: Option<&str>,
    ) -> Result<(), TrySendError<E>> {
        if let Err(refused) = self.would_take(topic) {
            return Err(refused.with(event));
        }
        let mut encoded = EventBuffer::new();
        encoded.push(&event);
        if let Some(outlet) = self.outlet_for(topic) {
            let bytes = encoded.as_bytes();
            let events: &[&[u8]] = if bytes.is_empty() { &[] } else { &[bytes] };
            let publication = Publication::of(topic, events, compression, once);
            return self.leave_by(outlet, publication).map_err(|it| it.with(event));
        }
        let command = || {
            let (topic, events) = (topic.clone(), encoded.as_bytes().to_vec());
            match once {
                None => Command::Publish(topic, events, compression),
                Some(key) => Command::PublishOnce(topic, events, key.into()),
            }
        };
        let pushed = match &self.to {
            Recipient::One(mailbox) => mailbox.push_with((), |()| command()),
            Recipient::All(crew) => crew.push_to_all(command),
        };
        pushed.map_err(|refused| refused.with(event))
    }

    /// Publishes an event unless another one on this topic has had the same key in the last five
    /// minutes: for publishers that retry, and for events that several machines find at the same time,
    /// such as a changed row of a database. It is `Ok` in both cases.
    ///
    /// The keys are remembered where events get their places: by the reactor, by the
    /// [`Workers`](crate::Workers) together, or by all machines of a
    /// [backplane](crate::Backplane) together. A process remembers at most 65,536 keys, and forgets the
    /// oldest if there are more. The number of those in Redis is not limited: each takes about 150 bytes
    /// for five minutes.
    ///
    /// ```
    /// # use starwheel::{Handle, Topic, TrySendError};
    /// fn shipped(handle: &Handle, orders: &Topic, id: u64, version: u64) -> Result<(), TrySendError<String>> {
    ///     let event = format!("order {id} was shipped");
    ///     handle.publish_once(orders, &format!("order-{id}-{version}"), event)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`publish`](Self::publish); the key is not used up then.
    pub fn publish_once<E: Encode>(
        &self,
        topic: &Topic,
        key: &str,
        event: E,
    ) -> Result<(), TrySendError<E>> {
        self.publish_as(topic, event, Compressible::Yes, Some(key))
    }

    /// Publishes several events on one topic with one lock of the queue and one wake-up, in one
    /// turn. No other published event comes between them in any client's stream.
    ///
    /// They count as one command, and no tick runs in between: keep a batch to some thousands.
    ///
    /// ```
    /// # use starwheel::{Handle, Topic};
    /// fn replay(handle: &Handle, topic: &Topic, lines: &[String]) {
    ///     if let Err(error) = handle.publish_batch(topic, lines) {
    ///         log::warn!("{} lines were not published: {error}", lines.len());
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`publish`](Self::publish); none of them is published then.
    pub fn publish_batch<I>(&self, topic: &Topic, events: I) -> Result<(), TrySendError<I>>
    where
        I: IntoIterator + Clone,
        I::Item: Encode,
    {
        if let Err(refused) = self.would_take(topic) {
            return Err(refused.with(events));
        }
        let (mut encoded, mut ends) = (EventBuffer::new(), Vec::new());
        for event in events.clone() {
            encoded.push(&event);
            ends.push(encoded.as_bytes().len());
        }
        let batch = Batch { events: encoded.into_bytes(), ends };
        if let Some(outlet) = self.outlet_for(topic) {
            let of_batch: Vec<_> = batch.events().filter(|event| !event.is_empty()).collect();
            let publication = Publication::of(topic, &of_batch, Compressible::Yes, None);
            return self.leave_by(outlet, publication).map_err(|refused| refused.with(events));
        }
        let pushed = match &self.to {
            Recipient::One(mailbox) => {
                let command = Command::PublishBatch(topic.clone(), batch);
                mailbox.push(command).map_err(|refused| refused.with(()))
            }
            Recipient::All(crew) => crew.publish_batch_locally(topic, &batch),
        };
        pushed.map_err(|refused| refused.with(events))
    }

    /// Events leave for the namespace.
    pub(super) fn leave_by(
        &self,
        outlet: &dyn Outlet,
        publication: Publication<'_>,
    ) -> Result<(), TrySendError<()>> {
        let mailbox = match &self.to {
            Recipient::One(mailbox) => Some(mailbox),
            Recipient::All(crew) => crew.all().next(),
        };
        let published = outlet.publish(publication);
        mailbox.map_or(Ok(()), |mailbox| mailbox.late().settle(publication, published))
    }

    /// Whether it is worthwhile to encode an event for this topic. The sequencer of workers has its
    /// own answer: one worker that is full or has ended does not count.
    pub(super) fn would_take(&self, topic: &Topic) -> Result<(), TrySendError<()>> {
        match &self.to {
            Recipient::One(mailbox) if self.outlet_for(topic).is_none() => mailbox.would_take(),
            Recipient::One(_) | Recipient::All(_) => Ok(()),
        }
    }

    /// Where events on this topic go instead of the queue.
    pub(super) fn outlet_for(&self, topic: &Topic) -> Option<&dyn Outlet> {
        let outlet = self.outlet()?;
        let leaves = match (topic.options().reach, &self.to) {
            (Reach::Namespace, _) => true,
            // The worker knows how it has opened the topic.
            (Reach::Local, Recipient::One(_)) => false,
            // Of a topic that spans them, each would publish it for all.
            (Reach::Local, Recipient::All(_)) => outlet.is_in_use(topic),
        };
        leaves.then_some(&**outlet)
    }

    /// Where subscribers are counted; otherwise the reactor that does not count them yet.
    pub(super) fn registry(&self) -> Result<&Arc<Registry>, &Arc<Mailbox>> {
        match &self.to {
            Recipient::One(mailbox) => mailbox.registry().ok_or(mailbox),
            Recipient::All(crew) => Ok(crew.registry()),
        }
    }

    pub(super) fn outlet(&self) -> Option<&Arc<dyn Outlet>> {
        match &self.to {
            Recipient::One(mailbox) => mailbox.outlet(),
            // They lead to the same sequencer.
            Recipient::All(crew) => crew.all().next()?.outlet(),
        }
    }

    #[cfg(feature = "tls")]
    pub(crate) fn tls_listeners(&self) -> &Arc<TlsListeners> {
        match &self.to {
            Recipient::One(mailbox) => mailbox.tls_listeners(),
            Recipient::All(crew) => crew.tls_listeners(),
        }
    }

    /// True once the reactor has stopped or was dropped: this handle then returns commands as
    /// [`TrySendError::Closed`]. For a producer that has nothing to send at the moment.
    ///
    /// ```
    /// use starwheel::{Reactor, Router};
    /// let mut reactor = Reactor::new(Router::new())?;
    /// let handle = reactor.handle();
    /// assert!(!handle.is_stopped());
    /// handle.shutdown();
    /// reactor.run()?;
    /// assert!(handle.is_stopped());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        match &self.to {
            Recipient::One(mailbox) => !mailbox.is_open(),
            Recipient::All(crew) => crew.has_stopped(),
        }
    }

    /// The statistics of the reactor, at most 100 ms old while it is busy.
    #[must_use]
    pub fn stats(&self) -> Stats {
        match &self.to {
            Recipient::One(mailbox) => mailbox.stats(),
            Recipient::All(crew) => crew.stats(),
        }
    }

    /// Ends the server gracefully. `run` returns when all clients have left, at the end of `window`
    /// at the latest. Connections that remain then are closed, including clients that do not read.
    ///
    /// - Waiting connections are accepted, then the listeners are closed;
    ///   [`Config::drain_accept_for`](crate::Config::drain_accept_for) accepts for longer.
    /// - Requests are answered, with `Connection: close`. A connection that has been without one
    ///   for a second is closed. New clients, and those that poll, get a response and no reset.
    /// - Each stream is dropped with [`CloseReason::Shutdown`](crate::CloseReason::Shutdown) at its
    ///   own time in the window, so that its client reconnects. Half a second earlier it is sent
    ///   its own `retry:`, a second or more past the end of the window, and spread as widely as the
    ///   drops. So no client connects to a server that refuses it, and the next server does not get
    ///   all of them together. A client is without a server for about the length of the window. The
    ///   delay is never longer than 31 s, because an `EventSource` keeps it until another
    ///   [`retry`](crate::Event::retry).
    /// - A stream that is opened in this time leaves in the same way.
    ///
    /// Two races remain. A connection whose handshake ends in the microseconds between the last
    /// accept and the close of the listener is reset by the kernel, unless another process holds
    /// the same listener ([`Reactor::listen_on`](crate::Reactor::listen_on) with one from systemd,
    /// say). And a client may send a request just as its connection is closed as idle, as with
    /// every HTTP/1.1 server; clients repeat such a request on their own (RFC 9112, 9.3.1).
    ///
    /// Ten seconds are enough for a restart. The process must not be killed earlier: give the
    /// service manager more time than the window (systemd's `TimeoutStopSec`).
    ///
    /// Never fails: a full queue still accepts it, and a reactor that is gone needs no drain.
    pub fn drain(&self, window: Duration) {
        self.push_ending(|| Command::Drain(window));
    }

    /// Ends all streams with [`CloseReason::Shutdown`](crate::CloseReason::Shutdown) and all
    /// connections with them, now. `run` returns after this turn.
    ///
    /// Never fails: a full queue still accepts it, and a reactor that is gone needs no shutdown.
    pub fn shutdown(&self) {
        self.push_ending(|| Command::Shutdown);
    }

    /// The statistics as text for a Prometheus scrape, as [`Stats::prometheus`]; those of workers have
    /// the label `worker`, a number from zero. Those of a [`Backplane`](crate::Backplane) follow.
    ///
    /// ```
    /// use starwheel::{Handle, Response, Router};
    /// fn metrics(handle: Handle) -> Router {
    ///     Router::new().get("/metrics", move |_req, _cx| {
    ///         Response::bytes("text/plain; version=0.0.4", handle.prometheus())
    ///     })
    /// }
    /// ```
    #[must_use]
    pub fn prometheus(&self) -> String {
        let mut text = match &self.to {
            Recipient::One(mailbox) => mailbox.stats().prometheus(),
            Recipient::All(crew) => {
                let stats: Vec<_> = crew.all().map(|mailbox| mailbox.stats()).collect();
                Stats::prometheus_of_workers(&stats)
            }
        };
        if let Some(backplane) = self.backplane() {
            text.push_str(&backplane.prometheus());
        }
        text
    }

    /// How this process is connected with the other machines of its
    /// [`Backplane`](crate::Backplane); `None` if it has not joined one. Costs one lock;
    /// [`BackplaneStats`] has an example.
    #[must_use]
    pub fn backplane(&self) -> Option<BackplaneStats> {
        self.outlet()?.backplane()
    }

    fn push_ending(&self, command: impl Fn() -> Command) {
        match &self.to {
            Recipient::One(mailbox) => mailbox.push_ending(command()),
            Recipient::All(crew) => crew.push_ending(command),
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}
