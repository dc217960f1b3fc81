//! The topics that reactors of a process share: a lock around a sequencer.

use std::{
    cell::{Cell, RefCell},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use crate::{
    engine::{Command, Context, Mailbox, Outlet, TrySendError},
    reactor::{Reactor, draw_epoch},
    span::{Member, MemberIndex, Room, Sequencer},
    topic::{Arrival, Compressible, Placed, Topic},
};

/// The one lock of publishing workers.
#[derive(Clone)]
pub(crate) struct Namespace(Arc<Mutex<State>>);

struct State {
    sequencer: Sequencer<Queue>,
    /// The members by the numbers of their workers; they join in any order.
    members: Vec<(usize, MemberIndex)>,
    start: Instant,
}

impl Namespace {
    pub(crate) fn new() -> io::Result<Self> {
        let sequencer = Sequencer::new(&draw_epoch()?);
        let state = State { sequencer, members: Vec::new(), start: Instant::now() };
        Ok(Self(Arc::new(Mutex::new(state))))
    }

    /// The reactor of a worker joins, before it has opened a topic.
    pub(crate) fn add(&self, worker: usize, reactor: &mut Reactor) {
        let state = &mut *self.lock();
        let queue = Queue::new(worker, reactor.shared_mailbox(), Arc::downgrade(&self.0));
        let member = state.sequencer.add_member(queue);
        state.sequencer.member(member).set_index(member);
        state.members.push((worker, member));
        let outlet = Arc::new(WayOut { namespace: self.clone(), member });
        let generations = state.sequencer.generations().clone();
        reactor.join(outlet, generations, state.sequencer.position());
        if worker == 0 {
            // Topics that were published on, and that nobody has used.
            let namespace = self.clone();
            reactor.context().every(FORGET_EVERY, move |_cx| namespace.forget_unused());
        }
    }

    /// The worker has ended.
    pub(crate) fn remove(&self, worker: usize) {
        let state = &mut *self.lock();
        if let Some(member) = state.member(worker) {
            state.sequencer.remove_member(member, state.now_ms());
            state.sequencer.member(member).let_go();
        }
    }

    fn forget_unused(&self) {
        let state = &mut *self.lock();
        state.sequencer.forget_unused(state.now_ms());
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
        let queues = self.sequencer.members().map(|(_, queue)| queue);
        queues.filter(|queue| queue.is_to_be_logged.take()).map(|queue| queue.worker).collect()
    }

    fn member(&self, worker: usize) -> Option<MemberIndex> {
        self.members.iter().find(|(number, _)| *number == worker).map(|(_, member)| *member)
    }
}

/// The namespace, as one worker sees it.
struct WayOut {
    namespace: Namespace,
    member: MemberIndex,
}

impl Outlet for WayOut {
    fn publish(
        &self,
        topic: &Topic,
        events: &[&[u8]],
        compression: Compressible,
    ) -> Result<(), TrySendError<()>> {
        let mut state = self.namespace.lock();
        let now_ms = state.now_ms();
        let published = state.sequencer.publish(topic, events, compression, now_ms);
        let left_out = state.take_left_out();
        drop(state);
        // Without the lock: a logger is code of the program, and may publish.
        left_out.into_iter().for_each(log_left_out);
        published.map_err(Into::into)
    }

    fn begin_use(&self, topic: &Topic) -> (u64, Topic) {
        let state = &mut *self.namespace.lock();
        let now_ms = state.now_ms();
        state.sequencer.begin_use(self.member, topic, now_ms)
    }

    fn is_in_use(&self, topic: &Topic) -> bool {
        self.namespace.lock().sequencer.is_in_use(topic)
    }

    fn end_use(&self, topic: &Topic) {
        let state = &mut *self.namespace.lock();
        let now_ms = state.now_ms();
        state.sequencer.end_use(self.member, topic, now_ms);
    }
}

/// The queue of one worker, as the sequencer sees it.
struct Queue {
    worker: usize,
    /// `None` once the worker has ended: the queue leads to the namespace, and this is the way back.
    mailbox: RefCell<Option<Arc<Mailbox>>>,
    namespace: Weak<Mutex<State>>,
    index: Cell<MemberIndex>,
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
            index: Cell::new(MemberIndex(0)),
            standstill: Cell::new(None),
            is_left_out: Cell::new(false),
            is_to_be_logged: Cell::new(false),
        }
    }

    fn set_index(&self, index: MemberIndex) {
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
        let (namespace, member) = (self.namespace.clone(), self.index.get());
        let catch_up = move |_cx: &mut Context<'_>| {
            if let Some(namespace) = namespace.upgrade() {
                let namespace = Namespace(namespace);
                let state = &mut *namespace.lock();
                // The next time needs a closure of its own.
                state.sequencer.member(member).is_left_out.set(false);
                state.sequencer.catch_up(member);
            }
        };
        let _stopped = mailbox.push_reserved(catch_up, |call| Command::Run(Box::new(call)));
    }
}

impl Member for Queue {
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
const FORGET_EVERY: Duration = Duration::from_secs(60);
