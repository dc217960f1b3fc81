//! [`Crew`]: the workers that one handle stands for.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::{
    command::{Batch, Command},
    mailbox::Mailbox,
    try_send::TrySendError,
};
#[cfg(feature = "tls")]
use crate::tls::TlsListeners;
use crate::{
    engine::{
        api::Ending,
        keys::{ReactorNumber, StreamId},
        registry::Registry,
        stats::Stats,
    },
    error::CloseReason,
    span::Audiences,
    topic::Topic,
};

/// The reactors of one process that share their topics. Empty until all of them have been made.
#[derive(Debug, Default)]
pub(crate) struct Crew {
    workers: OnceLock<Vec<(ReactorNumber, Arc<Mailbox>)>>,
    /// The worker that gets the next command that one of them runs.
    next: AtomicUsize,
    /// A drain or shutdown of all has been asked for.
    is_ending: AtomicBool,
    registry: Arc<Registry>,
    #[cfg(feature = "tls")]
    tls: Arc<TlsListeners>,
}

impl Crew {
    /// All workers, in their order. Only the first call counts.
    pub(crate) fn complete(&self, workers: Vec<(ReactorNumber, Arc<Mailbox>)>) {
        _ = self.workers.set(workers);
    }

    /// True once all are to end.
    pub(crate) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::SeqCst)
    }

    pub(in crate::engine) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The listeners with TLS of all workers.
    #[cfg(feature = "tls")]
    pub(in crate::engine) fn tls_listeners(&self) -> &Arc<TlsListeners> {
        &self.tls
    }

    /// Where the subscribers of all workers are counted.
    pub(crate) fn audiences(&self) -> Arc<dyn Audiences> {
        Arc::clone(&self.registry) as Arc<dyn Audiences>
    }

    /// Ends streams that the registry no longer lists, on their workers. Never refused: their number
    /// is that of open streams, because each is asked to end once.
    pub(in crate::engine) fn close(&self, ids: &[StreamId], reason: &CloseReason) {
        for (number, mailbox) in self.workers.get().into_iter().flatten() {
            let of_it: Vec<_> = ids.iter().copied().filter(|id| id.reactor == *number).collect();
            if !of_it.is_empty() {
                let _stopped =
                    mailbox.push_reserved(of_it, |ids| Command::Close(ids, reason.clone()));
            }
        }
    }

    /// Ends all streams with a tag. From here on they count no more.
    pub(super) fn close_tagged(&self, tag: &str, ending: Ending) {
        let ids = self.registry.tags().take(tag);
        self.close(&ids, &ending.into());
    }

    pub(in crate::engine) fn all(&self) -> impl Iterator<Item = &Arc<Mailbox>> {
        self.workers.get().into_iter().flatten().map(|(_, mailbox)| mailbox)
    }

    fn open(&self) -> impl Iterator<Item = &Arc<Mailbox>> {
        self.all().filter(|mailbox| mailbox.is_open())
    }

    /// Passes a command to one worker: the next in turn that takes it.
    pub(super) fn push_to_one<T>(
        &self,
        mut value: T,
        command: impl Fn(T) -> Command,
    ) -> Result<(), TrySendError<T>> {
        let workers = self.workers.get().map_or(&[][..], Vec::as_slice);
        let first = self.next.fetch_add(1, Ordering::Relaxed) % workers.len().max(1);
        let mut is_full = false;
        for (_, mailbox) in workers[first..].iter().chain(&workers[..first]) {
            match mailbox.push_with(value, &command) {
                Ok(()) => return Ok(()),
                Err(refused) => {
                    is_full |= refused.is_full();
                    value = refused.into_inner();
                }
            }
        }
        // Before all have been made, there will be room soon.
        Err(match is_full || self.workers.get().is_none() {
            true => TrySendError::Full(value),
            false => TrySendError::Closed(value),
        })
    }

    /// Passes a command to every worker that has not stopped, or to none.
    pub(super) fn push_to_all(
        &self,
        command: impl Fn() -> Command,
    ) -> Result<(), TrySendError<()>> {
        let mut has_open = self.workers.get().is_none();
        for mailbox in self.open() {
            has_open = true;
            mailbox.would_take()?;
        }
        if !has_open {
            return Err(TrySendError::Closed(()));
        }
        for mailbox in self.open() {
            let _stopped = mailbox.push_reserved((), |()| command());
        }
        Ok(())
    }

    /// Events on a topic that every worker has for itself.
    pub(super) fn publish_batch_locally(
        &self,
        topic: &Topic,
        batch: &Batch,
    ) -> Result<(), TrySendError<()>> {
        self.push_to_all(|| Command::PublishBatch(topic.clone(), batch.clone()))
    }

    /// Never refused; all are about to end.
    pub(super) fn push_ending(&self, command: impl Fn() -> Command) {
        self.is_ending.store(true, Ordering::SeqCst);
        self.all().for_each(|mailbox| mailbox.push_ending(command()));
    }

    /// False before all have been made.
    pub(super) fn has_stopped(&self) -> bool {
        self.workers.get().is_some() && self.open().next().is_none()
    }

    pub(super) fn stats(&self) -> Stats {
        let mut sum = Stats::default();
        self.all().for_each(|mailbox| sum.add(&mailbox.stats()));
        sum
    }

    pub(super) fn of(&self, reactor: ReactorNumber) -> Option<&Arc<Mailbox>> {
        let mut workers = self.workers.get()?.iter();
        workers.find(|(number, _)| *number == reactor).map(|(_, mailbox)| mailbox)
    }
}
