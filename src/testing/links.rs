//! The simulated way from a sequencer to its workers, with faults.

use std::{cell::RefCell, collections::VecDeque, sync::Arc, time::Duration};

use super::network::Random;
use crate::{
    engine::Mailbox,
    span::{Inbox, Room},
    time::millis,
    topic::{Arrival, Placed},
};

/// Faults of the way from the sequencer to one worker of a
/// [`SimulatedWorkers`](super::SimulatedWorkers); none by default.
///
/// ```
/// use starwheel::testing::LinkFaults;
/// use std::time::Duration;
/// let mut faults = LinkFaults::default();
/// faults.delay_max = Duration::from_millis(20);
/// faults.queue_events = 100;
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LinkFaults {
    /// Each event arrives up to this much later than the one before could have. Their order stays.
    pub delay_max: Duration,
    /// The past of a topic arrives up to this much later than the events after it, and pasts of
    /// several topics in any order.
    pub history_delay_max: Duration,
    /// Events on the way after which publishers get
    /// [`TrySendError::Full`](crate::TrySendError::Full). 65,536 by default, as in a reactor.
    pub queue_events: usize,
    /// A worker whose queue has been full for so long is left out: publishers do not wait for it,
    /// and it loses what they publish. 1 s by default.
    pub stall_timeout: Duration,
}

impl Default for LinkFaults {
    fn default() -> Self {
        Self {
            delay_max: Duration::ZERO,
            history_delay_max: Duration::ZERO,
            queue_events: 65_536,
            stall_timeout: Duration::from_secs(1),
        }
    }
}

/// The way to one worker.
#[derive(Debug)]
pub(super) struct Link(RefCell<State>);

#[derive(Debug)]
struct State {
    worker: Arc<Mailbox>,
    faults: LinkFaults,
    random: Random,
    now_ms: u64,
    on_the_way: VecDeque<(u64, Item)>,
    /// Pasts of topics.
    pasts: Vec<(u64, Arrival)>,
    full_since_ms: Option<u64>,
    /// The worker takes nothing.
    is_stopped: bool,
}

#[derive(Debug)]
enum Item {
    Place(Arc<Placed>),
    Arrive(Arrival),
}

impl Link {
    pub(super) fn new(worker: Arc<Mailbox>, seed: u64) -> Self {
        Self(RefCell::new(State {
            worker,
            faults: LinkFaults::default(),
            random: Random(seed),
            now_ms: 0,
            on_the_way: VecDeque::new(),
            pasts: Vec::new(),
            full_since_ms: None,
            is_stopped: false,
        }))
    }

    pub(super) fn set_faults(&self, faults: LinkFaults) {
        self.0.borrow_mut().faults = faults;
    }

    pub(super) fn set_stopped(&self, is_stopped: bool) {
        self.0.borrow_mut().is_stopped = is_stopped;
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.0.borrow().is_stopped
    }

    pub(super) fn set_now(&self, now_ms: u64) {
        self.0.borrow_mut().now_ms = now_ms;
    }

    /// When the next item arrives, if the worker takes any.
    pub(super) fn next_due(&self) -> Option<u64> {
        let state = self.0.borrow();
        let first = state.on_the_way.front().map(|(due_ms, _)| *due_ms);
        let past = state.pasts.iter().map(|(due_ms, _)| *due_ms).min();
        first.into_iter().chain(past).min().filter(|_| !state.is_stopped)
    }

    /// What is due arrives. True if nothing is left on the way.
    pub(super) fn deliver(&self) -> bool {
        let state = &mut *self.0.borrow_mut();
        if state.is_stopped {
            return false;
        }
        let now_ms = state.now_ms;
        let due = state.on_the_way.partition_point(|(due_ms, _)| *due_ms <= now_ms);
        for (_, item) in state.on_the_way.drain(..due) {
            item.arrive(&state.worker);
        }
        for (_, past) in state.pasts.extract_if(.., |(due_ms, _)| *due_ms <= now_ms) {
            state.worker.arrive(past);
        }
        state.on_the_way.is_empty() && state.pasts.is_empty()
    }
}

impl Inbox for Link {
    fn room(&self) -> Room {
        let state = &mut *self.0.borrow_mut();
        if !state.worker.is_open() {
            return Room::Gone;
        }
        let is_free =
            state.on_the_way.len() < state.faults.queue_events && state.worker.would_take().is_ok();
        if is_free {
            state.full_since_ms = None;
            return Room::Free;
        }
        let since_ms = *state.full_since_ms.get_or_insert(state.now_ms);
        match state.now_ms - since_ms >= millis(state.faults.stall_timeout) {
            true => Room::Stalled,
            false => Room::Full,
        }
    }

    fn place(&self, placed: Arc<Placed>) {
        self.0.borrow_mut().send(Item::Place(placed));
    }

    fn arrive(&self, arrival: Arrival) {
        self.0.borrow_mut().send(Item::Arrive(arrival));
    }
}

impl State {
    fn send(&mut self, item: Item) {
        let last_due_ms = self.on_the_way.back().map_or(0, |(due_ms, _)| *due_ms);
        let delay_ms = self.random.up_to(millis(self.faults.delay_max));
        let due_ms = last_due_ms.max(self.now_ms + delay_ms);
        let is_direct = due_ms <= self.now_ms && self.on_the_way.is_empty() && !self.is_stopped;
        match item {
            Item::Arrive(past @ Arrival::Hydrate(..)) if self.has_late_pasts() => {
                let late_ms = self.random.up_to(millis(self.faults.history_delay_max));
                self.pasts.push((due_ms + late_ms, past));
            }
            item if is_direct => item.arrive(&self.worker),
            item => self.on_the_way.push_back((due_ms, item)),
        }
    }

    fn has_late_pasts(&self) -> bool {
        self.faults.history_delay_max > Duration::ZERO
    }
}

impl Item {
    fn arrive(self, at: &Mailbox) {
        match self {
            Self::Place(placed) => _ = at.place(placed),
            Self::Arrive(arrival) => _ = at.arrive(arrival),
        }
    }
}
