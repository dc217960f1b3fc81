//! Several workers, whose topics span all of them, in one simulation.

use std::{
    fmt,
    ops::{Index, IndexMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    Simulation,
    links::{Link, LinkFaults},
};
use crate::{
    engine::{Config, Crew, Handle, Handler, Outlet, ReactorNumber},
    span::{Publication, ReactorIndex, Refused, Sequencer},
    time::millis,
    topic::Topic,
};

/// Several workers of one process, with one clock: simulations whose topics span all of them.
///
/// Each worker is a [`Simulation`]: clients connect to one of them, and
/// [`workers[1]`](Index::index) is the second. Events published in any of them reach the
/// subscribers of all, in one order and with the same ids, so a client that reconnects to another
/// worker gets exactly what it has missed.
///
/// [`turn`](Self::turn) and [`advance`](Self::advance) run all workers. Do not move the clock of a
/// single one.
///
/// ```
/// use starwheel::{Method, Router, Sse, Topic, testing::SimulatedWorkers};
///
/// let chat = Topic::new("chat").history(100, 64 * 1024);
/// let mut workers = SimulatedWorkers::new(2, |_worker| {
///     let chat = chat.clone();
///     Router::new().get("/chat", move |_req, _cx| Sse::new().subscribe(&chat))
/// });
/// let anna = workers[0].get("/chat");
/// workers[1].run(|cx| cx.publish(&Topic::new("chat").history(100, 64 * 1024), "one").unwrap());
/// workers.turn();
/// assert_eq!(workers[0].events(anna)[0].data, "one");
///
/// // She reconnects to the other worker, and misses nothing.
/// let id = workers[0].last_event_id(anna);
/// workers[0].reset(anna);
/// workers[0].run(|cx| cx.publish(&Topic::new("chat").history(100, 64 * 1024), "two").unwrap());
/// let anna = workers[1].connect();
/// workers[1].request(anna, Method::Get, "/chat", &[("Last-Event-ID", &id)], b"");
/// workers.turn();
/// let events = workers[1].events(anna);
/// assert_eq!((events.len(), events[0].data.as_str()), (1, "two"));
/// ```
pub struct SimulatedWorkers {
    workers: Vec<Simulation>,
    crew: Arc<Crew>,
    sequencer: Shared,
    seed: u64,
    generations: u32,
}

/// The sequencer and the ways to its members.
#[derive(Clone)]
struct Shared(Arc<Mutex<State>>);

struct State {
    sequencer: Sequencer<Link>,
    now_ms: u64,
}

impl SimulatedWorkers {
    /// Workers with default settings and no faults. `handler` makes that of each, which it gets as a
    /// number from zero.
    pub fn new<H: Handler + 'static>(count: usize, handler: impl FnMut(usize) -> H) -> Self {
        Self::with_config(&Config::default(), 0, count, handler)
    }

    /// Workers with your own settings. `seed` decides about faults; for event ids, different seeds
    /// are different processes.
    pub fn with_config<H: Handler + 'static>(
        config: &Config,
        seed: u64,
        count: usize,
        mut handler: impl FnMut(usize) -> H,
    ) -> Self {
        let sequencer = Sequencer::new(&format!("sim{seed:x}g0"));
        let sequencer = Shared(Arc::new(Mutex::new(State { sequencer, now_ms: 0 })));
        let crew = Arc::<Crew>::default();
        let workers: Vec<_> = (0..count)
            .map(|number| {
                // Seeds of workers differ, because their ids must.
                let own_seed = seed.wrapping_mul(0x1_0000).wrapping_add(number as u64);
                let mut worker = Simulation::with_config(config.clone(), own_seed, handler(number));
                worker.engine.set_number(ReactorNumber(number as u32));
                worker.engine.enlist(Arc::clone(&crew));
                sequencer.add(&mut worker, own_seed);
                worker
            })
            .collect();
        let members = workers.iter().map(|it| (it.engine.number(), it.engine.shared_mailbox()));
        crew.complete(members.collect());
        Self { workers, crew, sequencer, seed, generations: 1 }
    }

    /// Number of workers.
    #[must_use]
    pub fn count(&self) -> usize {
        self.workers.len()
    }

    /// A handle of one of the workers. Events published with it reach the subscribers of all.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.workers[0].handle()
    }

    /// A handle of all workers, as [`Workers::handle`](crate::Workers::handle).
    #[must_use]
    pub fn handle_of_all(&self) -> Handle {
        Handle::of_all(Arc::clone(&self.crew))
    }

    /// Sets the faults on the way to one worker from now on.
    pub fn set_link_faults(&mut self, worker: usize, faults: LinkFaults) {
        self.sequencer.lock().sequencer.hub().inbox(ReactorIndex(worker)).set_faults(faults);
    }

    /// A worker is held up: it runs no turns and takes no events until it [continues](Self::resume).
    /// When its queue has been full for a second, publishers do not wait for it anymore.
    ///
    /// ```
    /// use starwheel::{Router, Topic, testing::{LinkFaults, SimulatedWorkers}};
    /// use std::time::Duration;
    /// let news = Topic::new("news");
    /// let mut workers = SimulatedWorkers::new(2, |_worker| {
    ///     let news = news.clone();
    ///     Router::new().get("/", move |_req, _cx| starwheel::Sse::new().subscribe(&news))
    /// });
    /// workers[1].get("/");
    /// let mut faults = LinkFaults::default();
    /// faults.queue_events = 10;
    /// workers.set_link_faults(1, faults);
    /// workers.stop(1);
    /// while workers.handle().publish(&news, "more").is_ok() {}
    /// workers.advance(Duration::from_secs(2));
    /// assert!(workers.handle().publish(&news, "without it").is_ok());
    /// assert_eq!(workers.losses(1), 1);
    /// ```
    pub fn stop(&mut self, worker: usize) {
        self.sequencer.lock().sequencer.hub().inbox(ReactorIndex(worker)).set_stopped(true);
    }

    /// A stopped worker continues.
    pub fn resume(&mut self, worker: usize) {
        self.sequencer.lock().sequencer.hub().inbox(ReactorIndex(worker)).set_stopped(false);
    }

    /// The sequencer restarts without the last `lost_events`, as a server does that had not stored
    /// them. Subscribers of all topics are notified of the loss, by the policies of their topics.
    /// Without a loss, there is no effect that clients can see.
    ///
    /// ```
    /// use starwheel::{Backpressure, Router, Sse, Topic, testing::SimulatedWorkers};
    ///
    /// let chat = Topic::new("chat").history(10, 1024).backpressure(Backpressure::DropOldest);
    /// let mut workers = SimulatedWorkers::new(2, |_worker| {
    ///     let chat = chat.clone();
    ///     Router::new().get("/chat", move |_req, _cx| Sse::new().subscribe(&chat))
    /// });
    /// let anna = workers[0].get("/chat");
    /// workers.handle().publish(&chat, "soon lost").unwrap();
    /// workers.turn();
    /// workers.restart_sequencer(1);
    /// workers.turn();
    /// let events = workers[0].events(anna);
    /// assert_eq!((events[0].data.as_str(), events[1].name.as_str()), ("soon lost", "gap"));
    /// ```
    pub fn restart_sequencer(&mut self, lost_events: u64) {
        let name = format!("sim{:x}g{}", self.seed, self.generations);
        self.generations += 1;
        let sequencer = &mut self.sequencer.lock().sequencer;
        sequencer.begin_generation(&name, sequencer.hub().position().saturating_sub(lost_events));
    }

    /// Number of times that a worker was left out because its queue was full for too long.
    #[must_use]
    pub fn losses(&self, worker: usize) -> u64 {
        self.sequencer.lock().sequencer.hub().losses(ReactorIndex(worker))
    }

    /// The place of the last event, which is the number in its id; 1 at the start. A refused event
    /// gets no place.
    #[must_use]
    pub fn last_place(&self) -> u64 {
        self.sequencer.lock().sequencer.hub().position()
    }

    /// Number of topics that are in use or keep events.
    #[must_use]
    pub fn topics(&self) -> usize {
        self.sequencer.lock().sequencer.hub().topics()
    }

    /// Runs turns of all workers without moving the clock, until there is no work left.
    ///
    /// # Panics
    /// When the work never ends.
    pub fn turn(&mut self) {
        for _ in 0..ROUNDS_AT_ONE_TIME_MAX {
            if !self.turn_once() {
                return;
            }
        }
        panic!("the workers spin at {:?}", self.now());
    }

    /// Runs one turn of each worker; true if any has more work.
    pub fn turn_once(&mut self) -> bool {
        self.deliver();
        let mut has_more = false;
        for worker in 0..self.workers.len() {
            if !self.is_stopped(worker) {
                has_more |= self.workers[worker].turn_once();
            }
        }
        has_more |= (0..self.workers.len()).any(|worker| {
            !self.is_stopped(worker) && self.workers[worker].engine.mailbox().depth() > 0
        });
        has_more | self.has_due()
    }

    /// Moves the clock of all workers, and runs turns at every deadline on the way.
    pub fn advance(&mut self, by: Duration) {
        let until_ms = self.now_ms() + millis(by);
        self.turn();
        while let Some(deadline_ms) = self.next_deadline()
            && deadline_ms <= until_ms
        {
            self.set_now(deadline_ms.max(self.now_ms()));
            self.turn();
        }
        self.set_now(until_ms);
        self.turn();
    }

    /// Time since the start.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_millis(self.now_ms())
    }

    fn now_ms(&self) -> u64 {
        self.sequencer.lock().now_ms
    }

    fn set_now(&mut self, now_ms: u64) {
        self.sequencer.lock().set_now(now_ms);
        for worker in &mut self.workers {
            worker.jump(Duration::from_millis(now_ms - worker.now_ms));
        }
    }

    fn next_deadline(&self) -> Option<u64> {
        let of_links = self.sequencer.lock().next_due();
        let running = (0..self.workers.len()).filter(|worker| !self.is_stopped(*worker));
        let of_workers = running.filter_map(|worker| self.workers[worker].engine.next_deadline());
        of_workers.chain(of_links).min()
    }

    /// What is due arrives. A worker that was left out and has taken everything catches up.
    fn deliver(&mut self) {
        let mut state = self.sequencer.lock();
        let now_ms = state.now_ms;
        let has_stopped = |worker: &&Simulation| !worker.engine.mailbox().is_open();
        let stopped = self.workers.iter().enumerate().filter(|(_, worker)| has_stopped(worker));
        for (number, _) in stopped {
            state.sequencer.hub_mut().remove_reactor(ReactorIndex(number), now_ms);
        }
        let idle: Vec<_> =
            state.links().filter(|(_, link)| link.deliver()).map(|(member, _)| member).collect();
        for member in idle {
            state.sequencer.hub_mut().catch_up(member);
        }
        state.sequencer.hub_mut().forget_unused(now_ms);
    }

    fn has_due(&self) -> bool {
        let state = self.sequencer.lock();
        state.next_due().is_some_and(|due_ms| due_ms <= state.now_ms)
    }

    fn is_stopped(&self, worker: usize) -> bool {
        self.sequencer.lock().sequencer.hub().inbox(ReactorIndex(worker)).is_stopped()
    }
}

impl Index<usize> for SimulatedWorkers {
    type Output = Simulation;

    fn index(&self, worker: usize) -> &Simulation {
        &self.workers[worker]
    }
}

impl IndexMut<usize> for SimulatedWorkers {
    fn index_mut(&mut self, worker: usize) -> &mut Simulation {
        &mut self.workers[worker]
    }
}

/// Each worker knows the sequencer, and the sequencer each worker.
impl Drop for SimulatedWorkers {
    fn drop(&mut self) {
        self.sequencer.lock().sequencer = Sequencer::new("dropped");
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, worker: &mut Simulation, seed: u64) {
        let state = &mut *self.lock();
        let member =
            state.sequencer.hub_mut().add_reactor(Link::new(worker.engine.shared_mailbox(), seed));
        let outlet = Arc::new(WayOut { sequencer: self.clone(), member });
        let generations = state.sequencer.hub().generations().clone();
        worker.engine.join_namespace(outlet, generations, state.sequencer.hub().position());
    }
}

impl State {
    fn links(&self) -> impl Iterator<Item = (ReactorIndex, &Link)> {
        self.sequencer.hub().inboxes()
    }

    /// When the next item arrives at a worker.
    fn next_due(&self) -> Option<u64> {
        self.links().filter_map(|(_, link)| link.next_due()).min()
    }

    fn set_now(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.links().for_each(|(_, link)| link.set_now(now_ms));
    }
}

/// The sequencer, as one worker sees it.
struct WayOut {
    sequencer: Shared,
    member: ReactorIndex,
}

impl Outlet for WayOut {
    fn publish(&self, publication: Publication<'_>) -> Result<(), Refused> {
        let state = &mut *self.sequencer.lock();
        state.sequencer.publish(publication, state.now_ms)
    }

    fn begin_use(&self, topic: &Topic) -> (u64, Topic) {
        let state = &mut *self.sequencer.lock();
        state.sequencer.hub_mut().begin_use(self.member, topic, state.now_ms)
    }

    fn end_of(&self, topic: &Topic) -> Option<u64> {
        let state = self.sequencer.lock();
        state.sequencer.hub().end_of(topic, state.now_ms)
    }

    fn is_in_use(&self, topic: &Topic) -> bool {
        self.sequencer.lock().sequencer.hub().is_in_use(topic)
    }

    fn end_use(&self, topic: &Topic) {
        let state = &mut *self.sequencer.lock();
        state.sequencer.hub_mut().end_use(self.member, topic, state.now_ms);
    }
}

impl fmt::Debug for SimulatedWorkers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedWorkers").field("workers", &self.workers).finish_non_exhaustive()
    }
}

/// More than any test needs, and few enough to fail quickly.
const ROUNDS_AT_ONE_TIME_MAX: u32 = 1_000_000;
