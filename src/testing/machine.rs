//! One process of a simulated namespace: its reactors, and what connects them with the store.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Simulation, links::Link, store_link::Connection, store_server::Server};
use crate::{
    engine::{Crew, Handle, Outlet, ReactorNumber},
    span::{Hub, Member, MemberSettings, Publication, ReactorIndex, Refused, Sequencer},
    topic::Topic,
};

/// A process. The next one of the same machine is a new value.
pub(super) struct Machine {
    pub(super) workers: Vec<Simulation>,
    crew: Arc<Crew>,
    process: Process,
    pub(super) connection: Connection,
    is_stopped: bool,
    /// Of each worker, how many losses it has caught up with.
    caught_up: Vec<u64>,
}

/// The reactors of a process, and the member that they share.
#[derive(Clone)]
struct Process(Arc<Mutex<State>>);

struct State {
    /// `None` when the process has ended.
    member: Option<Member<Link>>,
    now_ms: u64,
}

impl Machine {
    /// `seed` is different for each process.
    pub(super) fn new(
        mut workers: Vec<Simulation>,
        settings: MemberSettings,
        seed: u64,
        now_ms: u64,
    ) -> Self {
        let name = format!("p{seed:x}");
        let mut hub = Sequencer::new(&name).take_hub().unwrap_or_else(|| unreachable!());
        let process = Process(Arc::new(Mutex::new(State { member: None, now_ms })));
        let crew = Arc::<Crew>::default();
        for (number, worker) in workers.iter_mut().enumerate() {
            worker.engine.set_number(ReactorNumber(number as u32));
            worker.engine.enlist(Arc::clone(&crew));
            process.add(worker, &mut hub, seed.wrapping_add(number as u64));
        }
        let mut member = Member::new(hub, settings);
        member.count_with(crew.audiences());
        process.lock().member = Some(member);
        let members = workers.iter().map(|it| (it.engine.number(), it.engine.shared_mailbox()));
        crew.complete(members.collect());
        let caught_up = vec![0; workers.len()];
        let connection = Connection::new(name, seed, now_ms);
        let mut machine = Self { workers, crew, process, connection, is_stopped: false, caught_up };
        machine.set_now(now_ms);
        machine
    }

    pub(super) fn handle_of_all(&self) -> Handle {
        Handle::of_all(Arc::clone(&self.crew))
    }

    pub(super) fn with_member<T>(&self, call: impl FnOnce(&mut Member<Link>) -> T) -> Option<T> {
        self.process.lock().member.as_mut().map(call)
    }

    pub(super) fn with_link<T>(&self, worker: usize, call: impl FnOnce(&Link) -> T) -> Option<T> {
        self.with_member(|member| call(member.hub().inbox(ReactorIndex(worker))))
    }

    /// What is due arrives at the process and at its reactors. True if anything did.
    pub(super) fn serve(&mut self, server: &mut Server) -> bool {
        let state = &mut *self.process.lock();
        let Some(member) = state.member.as_mut().filter(|_| !self.is_stopped) else { return false };
        let has_any = self.connection.serve(member, server);
        for (number, worker) in self.workers.iter().enumerate() {
            if !worker.engine.mailbox().is_open() {
                member.hub_mut().remove_reactor(ReactorIndex(number), state.now_ms);
            }
        }
        deliver(member, &mut self.caught_up);
        member.hub_mut().forget_unused(state.now_ms);
        has_any
    }

    /// One turn of each reactor; true if any has more work.
    pub(super) fn turn_once(&mut self) -> bool {
        if self.is_stopped {
            return false;
        }
        let mut has_more = self.has_arrivals();
        for number in 0..self.workers.len() {
            if self.with_link(number, Link::is_stopped) == Some(false) {
                has_more |= self.workers[number].turn_once();
                has_more |= self.workers[number].engine.mailbox().depth() > 0;
            }
        }
        has_more
    }

    /// Something is due on the way to a reactor.
    fn has_arrivals(&self) -> bool {
        let state = self.process.lock();
        let links = state.member.iter().flat_map(|member| member.hub().inboxes());
        links.filter_map(|(_, link)| link.next_due()).any(|due_ms| due_ms <= state.now_ms)
    }

    pub(super) fn next_deadline(&self, now_ms: u64, server: &Server) -> Option<u64> {
        if self.is_stopped {
            return None;
        }
        let of_member = self.with_member(|member| {
            let links = member.hub().inboxes().filter_map(|(_, link)| link.next_due()).min();
            member.next_deadline(now_ms).into_iter().chain(links).min()
        });
        let running = (0..self.workers.len())
            .filter(|number| self.with_link(*number, Link::is_stopped) == Some(false));
        let of_workers = running.filter_map(|number| self.workers[number].engine.next_deadline());
        let of_connection = self.connection.next_due(server);
        of_member.flatten().into_iter().chain(of_workers).chain(of_connection).min()
    }

    /// The process stops, with all its threads.
    pub(super) fn stop(&mut self) {
        self.is_stopped = true;
    }

    pub(super) fn resume(&mut self) {
        self.is_stopped = false;
    }

    pub(super) fn set_now(&mut self, now_ms: u64) {
        let mut state = self.process.lock();
        state.now_ms = now_ms;
        for (_, link) in state.member.iter().flat_map(|member| member.hub().inboxes()) {
            link.set_now(now_ms);
        }
        drop(state);
        self.connection.set_now(now_ms);
        for worker in &mut self.workers {
            worker.jump(std::time::Duration::from_millis(now_ms - worker.now_ms));
        }
    }

    pub(super) fn cut(&mut self, server: &mut Server) {
        let state = &mut *self.process.lock();
        self.connection.cut(state.member.as_mut(), server);
    }

    /// The process ends at once; what it has sent may still arrive. Its reactors stay readable.
    pub(super) fn kill(&mut self, server: &mut Server) {
        self.connection.cut(None, server);
        self.process.lock().member = None;
    }
}

/// A reactor that was left out catches up once it has taken everything. As in a process, nothing asks a
/// second time.
fn deliver(member: &mut Member<Link>, caught_up: &mut [u64]) {
    for (number, caught_up) in caught_up.iter_mut().enumerate() {
        let worker = ReactorIndex(number);
        let is_idle = member.hub().inbox(worker).deliver();
        let losses = member.hub().losses(worker);
        if is_idle && losses > *caught_up {
            *caught_up = losses;
            member.hub_mut().catch_up(worker);
        }
    }
}

/// Each worker knows the process, and the process each worker.
impl Drop for Machine {
    fn drop(&mut self) {
        self.process.lock().member = None;
    }
}

impl Process {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, worker: &mut Simulation, hub: &mut Hub<Link>, seed: u64) {
        let reactor = hub.add_reactor(Link::new(worker.engine.shared_mailbox(), seed));
        let outlet = Arc::new(WayOut { process: self.clone(), reactor });
        worker.engine.join_namespace(outlet, hub.generations().clone(), hub.position());
    }
}

/// The process, as one of its reactors sees it.
struct WayOut {
    process: Process,
    reactor: ReactorIndex,
}

impl Outlet for WayOut {
    fn publish(&self, publication: Publication<'_>) -> Result<(), Refused> {
        let State { member, now_ms } = &mut *self.process.lock();
        let Some(member) = member else { return Err(Refused::Closed) };
        member.publish(publication, *now_ms)
    }

    fn begin_use(&self, topic: &Topic) -> (u64, Topic) {
        let State { member, now_ms } = &mut *self.process.lock();
        match member {
            Some(member) => member.hub_mut().begin_use(self.reactor, topic, *now_ms),
            None => (0, topic.detached()),
        }
    }

    fn end_of(&self, topic: &Topic) -> Option<u64> {
        let process = self.process.lock();
        process.member.as_ref()?.hub().end_of(topic, process.now_ms)
    }

    fn is_in_use(&self, topic: &Topic) -> bool {
        self.process.lock().member.as_ref().is_some_and(|member| member.hub().is_in_use(topic))
    }

    fn end_use(&self, topic: &Topic) {
        let State { member, now_ms } = &mut *self.process.lock();
        if let Some(member) = member {
            member.hub_mut().end_use(self.reactor, topic, *now_ms);
        }
    }

    fn subscribers_elsewhere(&self, topic: &Topic) -> usize {
        let State { member, now_ms } = &mut *self.process.lock();
        member.as_mut().map_or(0, |member| member.subscribers_elsewhere(topic, *now_ms).0)
    }

    fn reaches_others(&self) -> bool {
        true
    }

    fn ask_for_generations(&self) -> Option<u64> {
        let State { member, .. } = &mut *self.process.lock();
        Some(member.as_mut()?.ask_for_generations())
    }
}
