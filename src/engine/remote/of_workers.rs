//! What a [`Handle`] of workers can do besides: reach all of them, or a certain one.

use std::sync::Arc;

use super::{command::Command, handle::Handle, try_send::TrySendError};
use crate::{
    engine::{
        api::{Context, Ending},
        core::close_elsewhere,
        keys::StreamId,
    },
    topic::Topic,
};

/// Workers: what goes to all of them, and what to a certain one.
impl Handle {
    /// One handle for each worker, in their order; for a handle of a single reactor, that handle.
    ///
    /// ```
    /// # use starwheel::{Handle, Stats};
    /// fn of_each_worker(handle: &Handle) -> Vec<Stats> {
    ///     handle.workers().iter().map(Handle::stats).collect()
    /// }
    /// ```
    #[must_use]
    pub fn workers(&self) -> Vec<Self> {
        match self.crew() {
            None => vec![self.clone()],
            Some(crew) => crew.all().map(|mailbox| Self::new(Arc::clone(mailbox))).collect(),
        }
    }

    /// Runs a closure on the thread of every worker, or on none of them. On a single reactor it is
    /// [`run`](Self::run).
    ///
    /// ```
    /// # use starwheel::Handle;
    /// /// Tells all windows of a user, on whichever worker they are.
    /// fn tell(handle: &Handle, user: String, text: String) {
    ///     let queued = handle.run_on_all(move |cx| {
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
    /// Returns the closure: [`TrySendError::Full`] if the queue of any worker is full,
    /// [`TrySendError::Closed`] when all have stopped.
    pub fn run_on_all<F>(&self, call: F) -> Result<(), TrySendError<F>>
    where
        F: Fn(&mut Context<'_>) + Send + Sync + 'static,
    {
        let Some(crew) = self.crew() else { return self.run(call) };
        // Made before the queues are asked for room, so that the call can be returned.
        let shared = Arc::new(call);
        let pushed = crew.push_to_all(|| {
            let call = Arc::clone(&shared);
            Command::Run(Box::new(move |cx| call(cx)))
        });
        match pushed {
            Ok(()) => Ok(()),
            Err(refused) => match Arc::into_inner(shared) {
                Some(call) => Err(refused.with(call)),
                // A worker has it already, and will run it.
                None => Ok(()),
            },
        }
    }

    /// Ends all streams with a [tag](crate::Sse::tag), on all workers, like
    /// [`Context::close_tagged_on_all`]. The handle of a single reactor, or of one worker, ends those
    /// of that one.
    ///
    /// ```
    /// # use starwheel::{Ending, Handle};
    /// /// Ends all streams of a user, on whichever worker they are.
    /// fn log_out(handle: &Handle, user: &str) {
    ///     if let Err(error) = handle.close_tagged(user, Ending::Drop) {
    ///         log::warn!("streams stay open: {error}");
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`TrySendError::Full`] when the queue of a single reactor is full; never with workers.
    /// [`TrySendError::Closed`] when all have stopped.
    pub fn close_tagged(&self, tag: &str, ending: Ending) -> Result<(), TrySendError<()>> {
        let Some(crew) = self.crew() else {
            let tag: Box<str> = tag.into();
            return self
                .push_with(tag, move |tag| Command::CloseTagged(tag, ending))
                .map_err(|refused| refused.with(()));
        };
        if crew.has_stopped() {
            return Err(TrySendError::Closed(()));
        }
        crew.close_tagged(tag, ending);
        Ok(())
    }

    /// Ends all streams with a [tag](crate::Sse::tag) on all machines, like
    /// [`Context::close_tagged_on_machines`]. The handle of one worker ends all of them too.
    ///
    /// ```
    /// use starwheel::{Ending, Handle, TrySendError};
    /// /// For a thread that hears of bans.
    /// fn ban(handle: &Handle, user: &str) -> Result<(), TrySendError<()>> {
    ///     handle.close_tagged_on_machines(user, Ending::Drop)
    /// }
    /// ```
    ///
    /// # Errors
    /// [`TrySendError::Full`] when the queue of a single reactor is full, or while too much waits for the
    /// store; then streams on other machines stay open. [`TrySendError::Closed`] when all have stopped.
    pub fn close_tagged_on_machines(
        &self,
        tag: &str,
        ending: Ending,
    ) -> Result<(), TrySendError<()>> {
        match self.crew() {
            Some(_) => self.close_tagged(tag, ending)?,
            None => {
                let tag = tag.to_owned();
                let close = move |cx: &mut Context<'_>| _ = cx.close_tagged_on_all(&tag, ending);
                self.run(close).map_err(|refused| refused.with(()))?;
            }
        }
        self.outlet().map_or(Ok(()), |outlet| close_elsewhere(&**outlet, tag, ending))
    }

    /// Number of open streams that are subscribed to a topic, on all workers and, approximately, all
    /// machines, like [`Context::subscribers_on_machines`]. The handle of one worker counts all of them
    /// too.
    ///
    /// Nothing is counted for other threads on a single reactor without a [`Backplane`](crate::Backplane)
    /// until the first question, which is answered with zero.
    ///
    /// ```
    /// # use starwheel::{Handle, Topic};
    /// /// For a dashboard.
    /// fn present(handle: &Handle, room: &str) -> usize {
    ///     handle.subscribers_on_machines(&Topic::new(room))
    /// }
    /// ```
    #[must_use]
    pub fn subscribers_on_machines(&self, topic: &Topic) -> usize {
        let own = match self.registry() {
            Ok(registry) => registry.subscribers(topic.name()),
            Err(mailbox) => {
                let begin = |cx: &mut Context<'_>| cx.begin_to_count();
                _ = mailbox.push_with((), |()| Command::Run(Box::new(begin)));
                0
            }
        };
        let elsewhere = self.outlet().map_or(0, |outlet| outlet.subscribers_elsewhere(topic));
        own.saturating_add(elsewhere)
    }

    /// Runs a closure on the worker that has this stream, or had it. On a single reactor it is
    /// [`run`](Self::run).
    ///
    /// ```
    /// # use starwheel::{Handle, StreamId};
    /// fn tell(handle: &Handle, id: StreamId, text: String) -> bool {
    ///     handle.run_on_worker_of(id, move |cx| _ = cx.send(id, text)).is_ok()
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`run`](Self::run); [`TrySendError::Closed`] also for a stream of another process or
    /// another set of workers.
    pub fn run_on_worker_of<F>(&self, id: StreamId, call: F) -> Result<(), TrySendError<F>>
    where
        F: FnOnce(&mut Context<'_>) + Send + 'static,
    {
        let Some(crew) = self.crew() else { return self.run(call) };
        match crew.of(id.reactor) {
            Some(mailbox) => mailbox.push_with(call, |call| Command::Run(Box::new(call))),
            None => Err(TrySendError::Closed(call)),
        }
    }
}
