//! Several machines, whose topics span all of them, in one simulation.

use std::{
    fmt,
    ops::{Index, IndexMut},
    time::Duration,
};

use super::{
    GivenPlace, LinkFaults, Simulation, StoreFaults, links::Link, machine::Machine,
    store_server::Server,
};
use crate::{
    engine::{Config, Handle, Handler},
    span::{Key, MemberSettings, ReactorIndex, RoomLeft, Survives},
    time::millis,
    topic::Topic,
};

/// Several machines that share a [`Backplane`](crate::Backplane), with one store and one clock.
///
/// A machine is one process with one or more workers, and a worker is a [`Simulation`]:
/// [`machines[1]`](Index::index) is the first worker of the second machine, and `machines[(1, 2)]` its
/// third. Events published on any of them reach the subscribers of all, in one order and with the same
/// ids, when the store has given them places.
///
/// [`turn`](Self::turn) and [`advance`](Self::advance) run all machines. Do not move the clock of a
/// single worker.
///
/// ```
/// use starwheel::{Method, Router, Sse, Topic, testing::SimulatedMachines};
/// use std::time::Duration;
///
/// let chat = Topic::new("chat").history(100, 64 * 1024);
/// let mut machines = SimulatedMachines::new(2, |_machine| {
///     let chat = Topic::new("chat").history(100, 64 * 1024);
///     Router::new().get("/chat", move |_req, _cx| Sse::new().subscribe(&chat))
/// });
/// let anna = machines[0].get("/chat");
/// machines.turn(); // Her machine asks the store for the past of the topic.
/// machines.handle(1).publish(&chat, "one").unwrap();
/// machines.turn();
/// assert_eq!(machines[0].events(anna)[0].data, "one");
///
/// // Her machine is killed. On the other one, she misses nothing.
/// let id = machines[0].last_event_id(anna);
/// machines.kill(0);
/// machines.handle(1).publish(&chat, "two").unwrap();
/// machines.turn();
/// let anna = machines[1].connect();
/// machines[1].request(anna, Method::Get, "/chat", &[("Last-Event-ID", &id)], b"");
/// machines.advance(Duration::from_millis(100));
/// let events = machines[1].events(anna);
/// assert_eq!((events.len(), events[0].data.as_str()), (1, "two"));
/// ```
pub struct SimulatedMachines {
    machines: Vec<Machine>,
    server: Server,
    settings: MemberSettings,
    /// Makes a worker: with this seed, for a machine and a worker.
    make: Box<dyn FnMut(u64, usize, usize) -> Simulation>,
    seed: u64,
    processes: u64,
    now_ms: u64,
}

/// What the store of [`SimulatedMachines`] still has when it starts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreRestart {
    /// Everything.
    Complete,
    /// All but what this many last calls have changed, at most 256. A call appends a batch, or greets.
    WithoutLast(usize),
    /// Nothing.
    Empty,
}

/// What the store of [`SimulatedMachines`] can lose alone, as Redis does when it evicts keys.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum StoreKey {
    /// Which place comes next, and what was sent.
    Meta,
    /// The entries that machines read.
    Log,
    /// The list of generations.
    Generations,
    /// The last places of topics.
    LastPlaces,
    /// The last places of topics that were used earlier.
    EarlierPlaces,
    /// What one topic keeps.
    History(Topic),
    /// That an event with this key was [published once](crate::Handle::publish_once) on the topic.
    Once(Topic, String),
    /// The topics of which somebody wants to know the number of subscribers.
    Watched,
    /// The numbers of subscribers of one topic on each machine.
    Count(Topic),
}

impl SimulatedMachines {
    /// Machines of one worker with default settings and no faults. `handler` makes that of each, which
    /// it gets as a number from zero; also for a process that replaces another.
    pub fn new<H: Handler + 'static>(
        count: usize,
        mut handler: impl FnMut(usize) -> H + 'static,
    ) -> Self {
        Self::with_config(&Config::default(), 0, &vec![1; count], move |machine, _| {
            handler(machine)
        })
    }

    /// Machines with your own settings, each with so many workers. `seed` decides about faults; for
    /// event ids, different seeds are different stores. `handler` gets the numbers of a machine and of a
    /// worker.
    pub fn with_config<H: Handler + 'static>(
        config: &Config,
        seed: u64,
        workers: &[usize],
        mut handler: impl FnMut(usize, usize) -> H + 'static,
    ) -> Self {
        let config = config.clone();
        let make = Box::new(move |seed, machine, worker| {
            Simulation::with_config(config.clone(), seed, handler(machine, worker))
        });
        let settings = MemberSettings {
            outbox_bytes: 16 * 1024 * 1024,
            log_bytes: 64 * 1024 * 1024,
            history_s: 24 * 60 * 60,
        };
        let server = Server::new(&format!("sim{seed:x}"));
        let machines = Vec::new();
        let mut all = Self { machines, server, settings, make, seed, processes: 0, now_ms: 0 };
        for (machine, workers) in workers.iter().enumerate() {
            let started = all.start(machine, *workers);
            all.machines.push(started);
        }
        all.turn();
        all
    }

    fn start(&mut self, machine: usize, workers: usize) -> Machine {
        // Seeds differ, because local ids and names of processes must.
        let seed = self.seed.wrapping_mul(0x1_0000_0000).wrapping_add(self.processes << 8);
        self.processes += 1;
        let reactors = (0..workers).map(|it| (self.make)(seed + it as u64, machine, it)).collect();
        Machine::new(reactors, self.settings, seed, self.now_ms)
    }

    /// Number of machines.
    #[must_use]
    pub fn count(&self) -> usize {
        self.machines.len()
    }

    /// Number of workers of a machine.
    #[must_use]
    pub fn workers(&self, machine: usize) -> usize {
        self.machines[machine].workers.len()
    }

    /// A handle of all workers of a machine. Events published with it reach the subscribers of all
    /// machines.
    #[must_use]
    pub fn handle(&self, machine: usize) -> Handle {
        self.machines[machine].handle_of_all()
    }
}

/// Faults of machines.
impl SimulatedMachines {
    /// Sets how much may wait in processes that are started from now on, as
    /// [`Backplane::outbox_bytes`](crate::Backplane::outbox_bytes).
    pub fn set_outbox_bytes(&mut self, bytes: usize) {
        self.settings = MemberSettings { outbox_bytes: bytes, ..self.settings };
    }

    /// Sets how much of the log the store keeps for processes that are started from now on, as
    /// [`Backplane::log_bytes`](crate::Backplane::log_bytes).
    pub fn set_log_bytes(&mut self, bytes: u64) {
        self.settings = MemberSettings { log_bytes: bytes, ..self.settings };
    }

    /// Sets how long the store keeps histories for processes that are started from now on, as
    /// [`Backplane::history_for`](crate::Backplane::history_for).
    pub fn set_history_for(&mut self, time: Duration) {
        let history_s = u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1);
        self.settings = MemberSettings { history_s, ..self.settings };
    }

    /// Sets the faults on the way to one worker from now on.
    pub fn set_link_faults(&mut self, (machine, worker): (usize, usize), faults: LinkFaults) {
        self.machines[machine].with_link(worker, |link| link.set_faults(faults));
    }

    /// Sets the faults between a machine and the store from now on.
    pub fn set_store_faults(&mut self, machine: usize, faults: StoreFaults) {
        self.machines[machine].connection.set_faults(faults);
    }

    /// Cuts the connection between a machine and the store.
    pub fn cut(&mut self, machine: usize) {
        self.machines[machine].cut(&mut self.server);
    }

    /// A machine stops completely, until it [continues](Self::resume).
    pub fn stop(&mut self, machine: usize) {
        self.machines[machine].stop();
    }

    /// A stopped machine continues.
    pub fn resume(&mut self, machine: usize) {
        self.machines[machine].resume();
    }

    /// One worker of a machine is held up: it runs no turns and takes no events.
    pub fn stop_worker(&mut self, (machine, worker): (usize, usize)) {
        self.machines[machine].with_link(worker, |link| link.set_stopped(true));
    }

    /// A worker that was held up continues.
    pub fn resume_worker(&mut self, (machine, worker): (usize, usize)) {
        self.machines[machine].with_link(worker, |link| link.set_stopped(false));
    }

    /// A process is killed and replaced by a new one without faults. Its clients are gone, and what
    /// waited in its outbox is lost. What it has sent may still arrive.
    pub fn kill(&mut self, machine: usize) {
        self.machines[machine].kill(&mut self.server);
        self.machines[machine] = self.start(machine, self.machines[machine].workers.len());
    }
}

/// Faults of the store.
impl SimulatedMachines {
    /// The store starts again, and all connections to it end.
    ///
    /// ```
    /// use starwheel::{Backpressure, Router, Sse, Topic};
    /// use starwheel::testing::{SimulatedMachines, StoreRestart};
    /// use std::time::Duration;
    ///
    /// let mut machines = SimulatedMachines::new(2, |_machine| {
    ///     let chat = Topic::new("chat").history(9, 1024).backpressure(Backpressure::DropOldest);
    ///     Router::new().get("/chat", move |_req, _cx| Sse::new().subscribe(&chat))
    /// });
    /// let anna = machines[0].get("/chat");
    /// machines.handle(1).publish(&Topic::new("chat").history(9, 1024), "soon lost").unwrap();
    /// machines.turn();
    /// machines.kill(1); // Otherwise it would publish the event again.
    /// machines.restart_store(StoreRestart::Empty);
    /// machines.advance(Duration::from_secs(1));
    /// let events = machines[0].events(anna);
    /// assert_eq!((events[0].data.as_str(), events[1].name.as_str()), ("soon lost", "gap"));
    /// assert!(machines.places()[0].is_lost());
    /// ```
    pub fn restart_store(&mut self, restart: StoreRestart) {
        self.server.restart(match restart {
            StoreRestart::Complete => Survives::All,
            StoreRestart::WithoutLast(calls) => Survives::WithoutLast(calls),
            StoreRestart::Empty => Survives::Nothing,
        });
    }

    /// The store takes no events until it has [room](Self::make_room) again.
    pub fn fill_store(&mut self) {
        self.server.set_room(RoomLeft::None);
    }

    /// The store has room again.
    pub fn make_room(&mut self) {
        self.server.set_room(RoomLeft::Some);
    }

    /// The store stops, until it [continues](Self::resume_store). Machines take their connections for
    /// dead after two seconds.
    pub fn stop_store(&mut self) {
        self.server.set_stopped(true);
    }

    /// The stopped store continues.
    pub fn resume_store(&mut self) {
        self.server.set_stopped(false);
    }

    /// The log loses its oldest entries except for this many.
    pub fn trim_log(&mut self, kept: usize) {
        self.server.trim_log(kept);
    }

    /// A key is lost.
    pub fn delete_key(&mut self, key: &StoreKey) {
        self.server.delete(&match key {
            StoreKey::Meta => Key::Meta,
            StoreKey::Log => Key::Log,
            StoreKey::Generations => Key::Generations,
            StoreKey::LastPlaces => Key::Recent,
            StoreKey::EarlierPlaces => Key::Earlier,
            StoreKey::History(topic) => Key::History(topic.shared_name().clone()),
            StoreKey::Once(topic, key) => {
                Key::Once(topic.shared_name().clone(), key.as_str().into())
            }
            StoreKey::Watched => Key::Watched,
            StoreKey::Count(topic) => Key::Count(topic.shared_name().clone()),
        });
    }

    /// The clock of the store is so far ahead of 1970 when this simulation begins; 56 years by default.
    pub fn set_store_clock(&mut self, ahead: Duration) {
        self.server.set_clock_ahead(millis(ahead));
    }
}

/// What a test may want to know.
impl SimulatedMachines {
    /// Every place that the store has given to an event, in the order in which they were given.
    #[must_use]
    pub fn places(&self) -> &[GivenPlace] {
        self.server.given()
    }

    /// The names of all generations of the store, as in ids, in their order.
    #[must_use]
    pub fn generations(&self) -> &[String] {
        self.server.generations()
    }

    /// Bytes that wait in the outbox of a machine, or are not acknowledged.
    #[must_use]
    pub fn outbox_bytes(&self, machine: usize) -> usize {
        self.machines[machine].with_member(|member| member.outbox_bytes()).unwrap_or_default()
    }

    /// Number of topics that a machine uses, or has used in the last minute.
    #[must_use]
    pub fn topics(&self, machine: usize) -> usize {
        self.machines[machine].with_member(|member| member.hub().topics()).unwrap_or_default()
    }

    /// True if a machine is connected, and nothing that it has published waits.
    #[must_use]
    pub fn has_sent_all(&self, machine: usize) -> bool {
        let has_sent = |member: &mut _| has_sent_all(member);
        self.machines[machine].with_member(has_sent).unwrap_or_default()
    }

    /// Number of times that the connection between a machine and the store has ended.
    #[must_use]
    pub fn cuts(&self, machine: usize) -> u64 {
        self.machines[machine].connection.cuts
    }

    /// Number of times that a machine has found places missing in the log.
    #[must_use]
    pub fn holes(&self, machine: usize) -> u64 {
        self.machines[machine].with_member(|member| member.figures().holes).unwrap_or_default()
    }

    /// Number of topics whose history the store keeps.
    #[must_use]
    pub fn kept_histories(&self) -> usize {
        self.server.kept_histories()
    }

    /// Number of times that a worker was left out because its queue was full for too long.
    #[must_use]
    pub fn losses(&self, (machine, worker): (usize, usize)) -> u64 {
        let losses =
            |member: &mut crate::span::Member<Link>| member.hub().losses(ReactorIndex(worker));
        self.machines[machine].with_member(losses).unwrap_or_default()
    }
}

fn has_sent_all(member: &mut crate::span::Member<Link>) -> bool {
    member.is_up() && member.has_sent_all()
}

/// Time.
impl SimulatedMachines {
    /// Runs everything without moving the clock, until there is no work left.
    ///
    /// # Panics
    /// When the work never ends.
    pub fn turn(&mut self) {
        for _ in 0..ROUNDS_AT_ONE_TIME_MAX {
            if !self.turn_once() {
                return;
            }
        }
        panic!("the machines spin at {:?}", self.now());
    }

    /// What is due arrives, and each worker runs one turn; true if there is more work.
    pub fn turn_once(&mut self) -> bool {
        let mut has_more = self.server.take_ghosts();
        for machine in &mut self.machines {
            has_more |= machine.serve(&mut self.server);
            has_more |= machine.connection.exchange(&mut self.server);
        }
        for machine in &mut self.machines {
            has_more |= machine.turn_once();
        }
        has_more || self.next_deadline_but_timers().is_some_and(|due_ms| due_ms <= self.now_ms)
    }

    /// Moves the clock of everything, and runs turns at every deadline on the way.
    ///
    /// # Panics
    /// When something is due again and again at one time.
    pub fn advance(&mut self, by: Duration) {
        let until_ms = self.now_ms + millis(by);
        self.turn();
        let mut rounds = 0;
        while let Some(deadline_ms) = self.next_deadline()
            && deadline_ms <= until_ms
        {
            rounds = if deadline_ms <= self.now_ms { rounds + 1 } else { 0 };
            assert!(rounds < 100, "something is always due at {:?}", self.now());
            self.set_now(deadline_ms.max(self.now_ms));
            self.turn();
        }
        self.set_now(until_ms);
        self.turn();
    }

    /// Time since the start.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_millis(self.now_ms)
    }

    fn set_now(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.server.set_now(now_ms);
        self.machines.iter_mut().for_each(|machine| machine.set_now(now_ms));
    }

    fn next_deadline(&self) -> Option<u64> {
        let of_machines = self.machines.iter();
        let of_machines = of_machines.filter_map(|it| it.next_deadline(self.now_ms, &self.server));
        of_machines.chain(self.next_deadline_but_timers()).min()
    }

    /// When something arrives at the store.
    fn next_deadline_but_timers(&self) -> Option<u64> {
        let there = |machine: &Machine| machine.connection.next_due_there(&self.server);
        self.machines.iter().filter_map(there).chain(self.server.next_due()).min()
    }
}

/// The first worker of a machine.
impl Index<usize> for SimulatedMachines {
    type Output = Simulation;

    fn index(&self, machine: usize) -> &Simulation {
        &self.machines[machine].workers[0]
    }
}

impl IndexMut<usize> for SimulatedMachines {
    fn index_mut(&mut self, machine: usize) -> &mut Simulation {
        &mut self.machines[machine].workers[0]
    }
}

/// A worker of a machine.
impl Index<(usize, usize)> for SimulatedMachines {
    type Output = Simulation;

    fn index(&self, (machine, worker): (usize, usize)) -> &Simulation {
        &self.machines[machine].workers[worker]
    }
}

impl IndexMut<(usize, usize)> for SimulatedMachines {
    fn index_mut(&mut self, (machine, worker): (usize, usize)) -> &mut Simulation {
        &mut self.machines[machine].workers[worker]
    }
}

impl fmt::Debug for SimulatedMachines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedMachines")
            .field("machines", &self.machines.len())
            .field("now_ms", &self.now_ms)
            .finish_non_exhaustive()
    }
}

/// More than any test needs, and few enough to fail quickly.
const ROUNDS_AT_ONE_TIME_MAX: u32 = 100_000;
