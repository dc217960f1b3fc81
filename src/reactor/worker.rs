//! A reactor as one of several workers.

use std::{io, sync::Arc};
#[cfg(feature = "signals")]
use std::{sync::atomic::AtomicUsize, time::Duration};

use super::{ListenOptions, Listener, Reactor};
use crate::{
    engine::{Crew, Handle, Handler, Mailbox, Outlet, ReactorNumber},
    span::Audiences,
    topic::Generations,
};

impl Reactor {
    /// What tells it from other reactors of the process.
    pub(crate) fn number(&self) -> ReactorNumber {
        self.engine.number()
    }

    /// What it shares with its handles.
    pub(crate) fn shared_mailbox(&self) -> Arc<Mailbox> {
        self.engine.shared_mailbox()
    }

    /// Becomes one of several workers, before the first connection.
    pub(crate) fn enlist(&mut self, crew: Arc<Crew>) {
        self.engine.enlist(crew);
    }

    /// Where subscribers are counted for other threads.
    pub(crate) fn audiences(&mut self) -> Arc<dyn Audiences> {
        self.engine.audiences()
    }

    /// Joins a namespace, before it has opened a topic.
    pub(crate) fn join_namespace(
        &mut self,
        outlet: Arc<dyn Outlet>,
        generations: Generations,
        position: u64,
    ) {
        self.engine.join_namespace(outlet, generations, position);
    }

    /// True once it has joined a namespace.
    pub(crate) fn has_namespace(&self) -> bool {
        self.engine.has_namespace()
    }

    /// True if a topic is open.
    pub(crate) fn has_topics(&self) -> bool {
        self.engine.has_topics()
    }

    /// Calls this once the reactor has stopped, or is dropped.
    pub(crate) fn after_stop(&mut self, call: impl FnOnce() + 'static) {
        self.after_stop = Some(Box::new(call));
    }

    /// Replaces the handler, before the first connection.
    pub(crate) fn set_handler(&mut self, handler: Box<dyn Handler>) {
        self.engine.set_handler(handler);
    }

    /// Accepts connections that all workers serve, in turn.
    pub(crate) fn listen_for_all(
        &mut self,
        listener: Listener,
        options: ListenOptions,
        all: Handle,
    ) -> io::Result<()> {
        self.listen_on_with(listener, options)?;
        if let Some(acceptor) = self.acceptors.last_mut() {
            acceptor.serve_all();
        }
        self.all_workers = Some(all);
        Ok(())
    }

    /// Signals drain all workers.
    #[cfg(feature = "signals")]
    pub(crate) fn drain_all_on_signals(
        &mut self,
        window: Duration,
        all: Handle,
        obeyed: Arc<AtomicUsize>,
    ) -> io::Result<()> {
        self.drain_on_signals(window)?;
        self.signals.iter_mut().for_each(|signals| signals.share(Arc::clone(&obeyed)));
        self.all_workers = Some(all);
        Ok(())
    }
}
