//! [`Memory`]: a store in this process, and the thread that connects its members.

use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{BackplaneError, Namespace, namespace::Bell};
use crate::{
    reactor::draw_epoch,
    span::{
        Store,
        protocol::{Reply, Request},
    },
};

/// A store of this process. Its thread runs while there are members.
#[derive(Default)]
pub(super) struct Memory {
    state: Mutex<State>,
    alarm: Arc<Alarm>,
}

#[derive(Default)]
struct State {
    /// And since when there is one.
    store: Option<(Store, Instant)>,
    /// Members that there have been: each has a name of its own, because its batches count from 1.
    members: u64,
    /// Members that the thread has not seen yet.
    new: Vec<Namespace>,
    is_running: bool,
}

/// Wakes the thread.
#[derive(Debug, Default)]
struct Alarm {
    has_rung: Mutex<bool>,
    condition: Condvar,
}

/// A process, as the thread sees it.
struct Connection {
    name: String,
    member: Namespace,
    /// A `Read` for which there was nothing yet.
    read: Option<Request>,
}

impl Memory {
    pub(super) fn bell(&self) -> Arc<dyn Bell> {
        Arc::clone(&self.alarm) as Arc<dyn Bell>
    }

    /// A further member.
    pub(super) fn add(self: Arc<Self>, member: Namespace) -> Result<(), BackplaneError> {
        let mut state = self.lock();
        if state.store.is_none() {
            state.store = Some((Store::new(&draw_epoch()?), Instant::now()));
        }
        state.new.push(member);
        if !state.is_running {
            let memory = Arc::clone(&self);
            let builder = thread::Builder::new().name("starwheel backplane".into());
            builder.spawn(move || memory.run())?;
            state.is_running = true;
        }
        drop(state);
        self.alarm.ring();
        Ok(())
    }

    fn run(&self) {
        let mut connections = Vec::new();
        loop {
            let mut guard = self.lock();
            let state = &mut *guard;
            for member in state.new.drain(..) {
                member.connected();
                state.members += 1;
                let name = format!("m{}", state.members);
                connections.push(Connection { name, member, read: None });
            }
            connections.retain(|connection| !connection.member.is_over());
            if connections.is_empty() {
                state.is_running = false;
                return;
            }
            if let Some((store, start)) = &mut state.store {
                let now_ms = start.elapsed().as_millis() as u64;
                while connections.iter_mut().any(|connection| connection.exchange(store, now_ms)) {}
            }
            drop(guard);
            let deadlines = connections.iter().filter_map(|it| it.member.next_deadline());
            self.alarm.wait(deadlines.min());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Passes on what there is; false if there is nothing.
    fn exchange(&mut self, store: &mut Store, now_ms: u64) -> bool {
        let mut has_any = false;
        while let Some(request) = self.member.next_request() {
            has_any = true;
            // It always has room, so it refuses nothing.
            if let Ok(reply) = store.apply(&self.name, &request, now_ms) {
                self.member.answered(reply);
            }
        }
        self.read = self.read.take().or_else(|| self.member.next_read());
        if let Some(read) = &self.read
            && let Ok(reply) = store.apply(&self.name, read, now_ms)
            && reply != Reply::Entries(Vec::new())
        {
            has_any = true;
            self.read = None;
            self.member.answered(reply);
        }
        has_any
    }
}

impl Alarm {
    fn wait(&self, timeout: Option<Duration>) {
        let has_rung = self.has_rung.lock().unwrap_or_else(PoisonError::into_inner);
        let timeout = timeout.unwrap_or(Duration::MAX);
        let waited = self.condition.wait_timeout_while(has_rung, timeout, |has_rung| !*has_rung);
        let (mut has_rung, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *has_rung = false;
    }
}

impl Bell for Alarm {
    fn ring(&self) {
        *self.has_rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.condition.notify_one();
    }

    fn ring_for_the_end(&self) {
        self.ring();
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}
