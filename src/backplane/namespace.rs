//! The topics that the reactors of a process share: a lock around what numbers their events, or passes
//! them on from a store.

use std::{
    cell::{Cell, RefCell},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    BackplaneError,
    status::{News, Status},
};
use crate::{
    engine::{BackplaneStats, Command, Context, Mailbox, Outlet, TrySendError},
    error::Logged,
    reactor::{Reactor, draw_epoch},
    span::{
        Audiences, Hub, Inbox, Member, MemberSettings, Publication, ReactorIndex, Refused, Room,
        Sequencer,
        protocol::{PUBLISHED_BYTES_MAX, Reply, Request},
    },
    topic::{Arrival, Placed, Topic},
};

/// The one lock of the reactors of a namespace.
#[derive(Clone)]
pub(crate) struct Namespace(Arc<Mutex<State>>);

struct State {
    numbering: Numbering,
    /// The reactors by the numbers of their workers; they join in any order.
    reactors: Vec<(usize, ReactorIndex)>,
    /// Where the subscribers of all of them are counted.
    audiences: Option<Arc<dyn Audiences>>,
    start: Instant,
}

/// Wakes the thread that connects a process with the store.
pub(super) trait Bell: Send + Sync {
    /// There may be a request.
    fn ring(&self);

    /// The last reactor may have ended.
    fn ring_for_the_end(&self);
}

/// Where events get their places.
enum Numbering {
    Here(Box<Sequencer<Queue>>),
    InStore(Box<InStore>),
}

/// A process of a namespace that others belong to as well.
struct InStore {
    member: Member<Queue>,
    bell: Arc<dyn Bell>,
    status: Status,
    /// Ends after the last reactor, when it has sent what was published.
    thread: Option<JoinHandle<()>>,
}

impl Namespace {
    pub(crate) fn new() -> io::Result<Self> {
        let numbering = Numbering::Here(Box::new(Sequencer::new(&draw_epoch()?)));
        let start = Instant::now();
        let state = State { numbering, reactors: Vec::new(), audiences: None, start };
        Ok(Self(Arc::new(Mutex::new(state))))
    }

    /// The reactor of a worker joins, before it has opened a topic.
    pub(crate) fn add(&self, worker: usize, reactor: &mut Reactor) {
        let audiences = reactor.audiences();
        let state = &mut *self.lock();
        state.audiences = Some(audiences);
        let queue = Queue::new(worker, reactor.shared_mailbox(), Arc::downgrade(&self.0));
        let hub = state.numbering.hub_mut();
        let index = hub.add_reactor(queue);
        hub.inbox(index).set_index(index);
        let (generations, position) = (hub.generations().clone(), hub.position());
        state.reactors.push((worker, index));
        let outlet = Arc::new(WayOut { namespace: self.clone(), reactor: index });
        reactor.join_namespace(outlet, generations, position);
        if worker == 0 {
            // Topics that were published on, and that nobody has used.
            let namespace = self.clone();
            reactor.context().every(FORGET_EVERY, move |_cx| namespace.forget_unused());
        }
    }

    /// From here on, events get their places from a store.
    ///
    /// # Errors
    /// When some have got theirs already, or the namespace has a store.
    pub(super) fn move_to_store(
        &self,
        settings: MemberSettings,
        bell: Arc<dyn Bell>,
    ) -> Result<(), BackplaneError> {
        let state = &mut *self.lock();
        let status = Status::new(state.now_ms());
        let Numbering::Here(sequencer) = &mut state.numbering else {
            return Err(BackplaneError::JoinedAlready);
        };
        let hub = sequencer.take_hub().ok_or(BackplaneError::TooLate)?;
        let mut member = Member::new(hub, settings);
        state.audiences.iter().for_each(|it| member.count_with(Arc::clone(it)));
        let in_store = InStore { member, bell, status, thread: None };
        state.numbering = Numbering::InStore(Box::new(in_store));
        Ok(())
    }

    /// The thread that connects this process with the store.
    #[cfg(feature = "redis")]
    pub(super) fn set_thread(&self, thread: JoinHandle<()>) {
        if let Some((in_store, _)) = self.lock().in_store() {
            in_store.thread = Some(thread);
        }
    }

    /// The worker has ended. With the last one, the process may end: this waits a moment for what was
    /// published.
    pub(crate) fn remove(&self, worker: usize) {
        let mut state = self.lock();
        let now_ms = state.now_ms();
        if let Some(index) = state.reactor(worker) {
            let hub = state.numbering.hub_mut();
            hub.remove_reactor(index, now_ms);
            hub.inbox(index).let_go();
        }
        let bell = state.numbering.bell();
        let thread = state.in_store().and_then(|(in_store, _)| in_store.take_last_thread());
        drop(state);
        bell.into_iter().for_each(|bell| bell.ring_for_the_end());
        let until = Instant::now() + GRACE;
        // It may be blocked by a lookup of a name, so this must not join it.
        while thread.as_ref().is_some_and(|it| !it.is_finished()) && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn forget_unused(&self) {
        let state = &mut *self.lock();
        let now_ms = state.now_ms();
        state.numbering.hub_mut().forget_unused(now_ms);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under it is a fault of ours; the others should still be able to end.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn now_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    /// The numbers of workers that have been left out since the last call; hardly ever any.
    fn take_left_out(&self) -> Vec<usize> {
        let queues = self.numbering.hub().inboxes().map(|(_, queue)| queue);
        queues.filter(|queue| queue.is_to_be_logged.take()).map(|queue| queue.worker).collect()
    }

    fn reactor(&self, worker: usize) -> Option<ReactorIndex> {
        self.reactors.iter().find(|(number, _)| *number == worker).map(|(_, index)| *index)
    }

    fn in_store(&mut self) -> Option<(&mut InStore, u64)> {
        let now_ms = self.now_ms();
        match &mut self.numbering {
            Numbering::InStore(in_store) => Some((in_store, now_ms)),
            Numbering::Here(_) => None,
        }
    }
}

impl InStore {
    /// If it is needed after the last reactor.
    fn take_last_thread(&mut self) -> Option<JoinHandle<()>> {
        let is_needed = self.member.hub().is_empty() && !self.member.has_sent_all();
        self.thread.take_if(|_| is_needed)
    }
}

impl Numbering {
    fn hub(&self) -> &Hub<Queue> {
        match self {
            Self::Here(sequencer) => sequencer.hub(),
            Self::InStore(in_store) => in_store.member.hub(),
        }
    }

    fn hub_mut(&mut self) -> &mut Hub<Queue> {
        match self {
            Self::Here(sequencer) => sequencer.hub_mut(),
            Self::InStore(in_store) => in_store.member.hub_mut(),
        }
    }

    fn bell(&self) -> Option<Arc<dyn Bell>> {
        match self {
            Self::Here(_) => None,
            Self::InStore(in_store) => Some(Arc::clone(&in_store.bell)),
        }
    }
}

/// The namespace, as one reactor sees it.
struct WayOut {
    namespace: Namespace,
    reactor: ReactorIndex,
}

impl Outlet for WayOut {
    fn publish(&self, publication: Publication<'_>) -> Result<(), Refused> {
        let topic = publication.topic;
        let mut state = self.namespace.lock();
        let now_ms = state.now_ms();
        let published = match &mut state.numbering {
            Numbering::Here(sequencer) => sequencer.publish(publication, now_ms),
            Numbering::InStore(in_store) => in_store.member.publish(publication, now_ms),
        };
        let (left_out, bell) = (state.take_left_out(), state.numbering.bell());
        drop(state);
        // Without the lock: a logger is code of the program, and may publish.
        left_out.into_iter().for_each(log_left_out);
        bell.into_iter().for_each(|bell| bell.ring());
        if published == Err(Refused::TooLarge) {
            let name = Logged(topic.name());
            log::error!(
                "an event on \"{name}\" is refused: it is larger than {PUBLISHED_BYTES_MAX} bytes"
            );
        }
        published
    }

    fn begin_use(&self, topic: &Topic) -> (u64, Topic) {
        let mut state = self.namespace.lock();
        let now_ms = state.now_ms();
        let begun = state.numbering.hub_mut().begin_use(self.reactor, topic, now_ms);
        let bell = state.numbering.bell();
        drop(state);
        bell.into_iter().for_each(|bell| bell.ring());
        begun
    }

    fn end_of(&self, topic: &Topic) -> Option<u64> {
        let state = self.namespace.lock();
        state.numbering.hub().end_of(topic, state.now_ms())
    }

    fn is_in_use(&self, topic: &Topic) -> bool {
        self.namespace.lock().numbering.hub().is_in_use(topic)
    }

    fn end_use(&self, topic: &Topic) {
        let state = &mut *self.namespace.lock();
        let now_ms = state.now_ms();
        state.numbering.hub_mut().end_use(self.reactor, topic, now_ms);
    }

    fn ask_for_generations(&self) -> Option<u64> {
        let mut state = self.namespace.lock();
        let (in_store, _) = state.in_store()?;
        let question = in_store.member.ask_for_generations();
        let bell = Arc::clone(&in_store.bell);
        drop(state);
        bell.ring();
        Some(question)
    }

    fn subscribers_elsewhere(&self, topic: &Topic) -> usize {
        let mut state = self.namespace.lock();
        let Some((in_store, now_ms)) = state.in_store() else { return 0 };
        let (subscribers, is_new) = in_store.member.subscribers_elsewhere(topic, now_ms);
        let bell = is_new.then(|| Arc::clone(&in_store.bell));
        drop(state);
        bell.into_iter().for_each(|bell| bell.ring());
        subscribers
    }

    fn reaches_others(&self) -> bool {
        self.namespace.lock().in_store().is_some()
    }

    fn backplane(&self) -> Option<BackplaneStats> {
        let mut state = self.namespace.lock();
        let (in_store, now_ms) = state.in_store()?;
        Some(in_store.status.describe(&in_store.member, now_ms))
    }
}

/// For the thread that connects this process with the store. It holds no lock.
impl Namespace {
    /// Both connections are ready, and lead to the same server.
    pub(super) fn connected(&self) {
        self.with_member((), |in_store, _now_ms| in_store.member.connected());
    }

    /// There is no connection, or none anymore. What has not been answered is lost.
    #[cfg(feature = "redis")]
    pub(super) fn disconnected(&self, why: &dyn std::fmt::Display) {
        let news = self.with_member(None, |in_store, now_ms| {
            in_store.member.disconnected();
            in_store.status.went_down(why, now_ms)
        });
        news.iter().for_each(News::log);
    }

    /// What was read at once was too large.
    #[cfg(feature = "redis")]
    pub(super) fn read_less(&self) {
        self.with_member((), |in_store, _now_ms| in_store.member.read_less());
    }

    /// The next request for the connection that writes; several may be on their way.
    pub(super) fn next_request(&self) -> Option<Request> {
        self.with_member(None, |in_store, now_ms| in_store.member.next_request(now_ms))
    }

    /// The next `Read`, for the connection that reads; one may be on its way.
    pub(super) fn next_read(&self) -> Option<Request> {
        self.with_member(None, |in_store, now_ms| in_store.member.next_read(now_ms))
    }

    pub(super) fn answered(&self, reply: Reply) {
        let news = self.with_member(None, |in_store, now_ms| {
            in_store.member.answered(reply, now_ms);
            let is_up = in_store.member.is_up();
            is_up.then(|| in_store.status.came_up(now_ms)).flatten()
        });
        news.iter().for_each(News::log);
    }

    /// When there may be requests though nothing has happened.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.with_member(None, |in_store, now_ms| {
            let deadline_ms = in_store.member.next_deadline(now_ms)?;
            Some(Duration::from_millis(deadline_ms.saturating_sub(now_ms)))
        })
    }

    /// All reactors have ended.
    pub(super) fn is_over(&self) -> bool {
        self.with_member(true, |in_store, _now_ms| in_store.member.hub().is_empty())
    }

    /// Everything that was published has been stored.
    #[cfg(feature = "redis")]
    pub(super) fn is_drained(&self) -> bool {
        self.with_member(true, |in_store, _now_ms| in_store.member.has_sent_all())
    }

    /// Runs this under the lock, and logs what it has found without it.
    fn with_member<T>(&self, otherwise: T, call: impl FnOnce(&mut InStore, u64) -> T) -> T {
        let mut state = self.lock();
        let Some((in_store, now_ms)) = state.in_store() else { return otherwise };
        let result = call(in_store, now_ms);
        let left_out = state.take_left_out();
        drop(state);
        left_out.into_iter().for_each(log_left_out);
        result
    }
}

/// The queue of one worker, as the hub sees it.
struct Queue {
    worker: usize,
    /// `None` once the worker has ended: the queue leads to the namespace, and this is the way back.
    mailbox: RefCell<Option<Arc<Mailbox>>>,
    namespace: Weak<Mutex<State>>,
    index: Cell<ReactorIndex>,
    /// While it is full: how much the worker had taken, and since when that has not changed.
    standstill: Cell<Option<(u64, Instant)>>,
    is_left_out: Cell<bool>,
    /// It was left out, and nobody has logged that yet.
    is_to_be_logged: Cell<bool>,
}

impl Queue {
    fn new(worker: usize, mailbox: Arc<Mailbox>, namespace: Weak<Mutex<State>>) -> Self {
        Self {
            worker,
            mailbox: RefCell::new(Some(mailbox)),
            namespace,
            index: Cell::new(ReactorIndex(0)),
            standstill: Cell::new(None),
            is_left_out: Cell::new(false),
            is_to_be_logged: Cell::new(false),
        }
    }

    fn set_index(&self, index: ReactorIndex) {
        self.index.set(index);
    }

    fn let_go(&self) {
        self.mailbox.take();
    }

    /// Whether a worker whose queue is full takes nothing from it anymore.
    fn stalls(&self, mailbox: &Mailbox) -> bool {
        let (taken, now) = (mailbox.taken(), Instant::now());
        let since = match self.standstill.get() {
            Some((before, since)) if before == taken => since,
            _ => now,
        };
        self.standstill.set(Some((taken, since)));
        now - since >= STALL_TIMEOUT
    }

    /// When the worker comes to the end of its queue, it hears what it has missed.
    fn leave_out(&self, mailbox: &Mailbox) {
        if self.is_left_out.replace(true) {
            return;
        }
        self.is_to_be_logged.set(true);
        let (namespace, reactor) = (self.namespace.clone(), self.index.get());
        let catch_up = move |_cx: &mut Context<'_>| {
            if let Some(namespace) = namespace.upgrade() {
                let namespace = Namespace(namespace);
                let state = &mut *namespace.lock();
                let hub = state.numbering.hub_mut();
                // The next time needs a closure of its own.
                hub.inbox(reactor).is_left_out.set(false);
                hub.catch_up(reactor);
            }
        };
        let _stopped = mailbox.push_reserved(catch_up, |call| Command::Run(Box::new(call)));
    }
}

impl Inbox for Queue {
    fn room(&self) -> Room {
        let mailbox = self.mailbox.borrow();
        let Some(mailbox) = &*mailbox else { return Room::Gone };
        match mailbox.would_take() {
            Ok(()) => {
                self.standstill.set(None);
                self.is_left_out.set(false);
                Room::Free
            }
            Err(TrySendError::Closed(())) => Room::Gone,
            Err(TrySendError::Full(())) if self.stalls(mailbox) => {
                self.leave_out(mailbox);
                Room::Stalled
            }
            Err(TrySendError::Full(())) => Room::Full,
        }
    }

    fn place(&self, placed: Arc<Placed>) {
        if let Some(mailbox) = &*self.mailbox.borrow() {
            mailbox.place(placed);
        }
    }

    fn arrive(&self, arrival: Arrival) {
        if let Some(mailbox) = &*self.mailbox.borrow() {
            mailbox.arrive(arrival);
        }
    }
}

fn log_left_out(worker: usize) {
    log::warn!(
        "worker {worker} has taken nothing for {STALL_TIMEOUT:?} and its queue is full: it misses \
         events, and publishers do not wait for it"
    );
}

/// A worker that has taken nothing for so long does not hold up the others.
const STALL_TIMEOUT: Duration = Duration::from_secs(1);
/// How long what was published may take to leave when all reactors have ended.
pub(super) const GRACE: Duration = Duration::from_secs(2);
const FORGET_EVERY: Duration = Duration::from_secs(60);
