//! [`Worker`]: one of several, while it is made.

use std::sync::Arc;

use crate::{
    engine::{Context, Crew, Handle},
    reactor::Reactor,
};

/// One of the [`Workers`](crate::Workers), on its own thread, while it is made.
///
/// ```
/// use starwheel::{Response, Router, Workers};
/// use std::time::Duration;
/// let workers = Workers::new(2, |worker| {
///     if worker.number() == 0 {
///         // Once for all, not once for each.
///         worker.context().every(Duration::from_secs(60), |cx| log::info!("{:?}", cx.now()));
///     }
///     let all = worker.handle_of_all();
///     Router::new().get("/streams", move |_req, _cx| Response::text(all.stats().streams.to_string()))
/// })?;
/// # drop(workers);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Worker<'a> {
    pub(super) reactor: &'a mut Reactor,
    pub(super) number: usize,
    pub(super) crew: &'a Arc<Crew>,
}

impl Worker<'_> {
    /// The number of this worker, from 0.
    #[must_use]
    pub fn number(&self) -> usize {
        self.number
    }

    /// This worker's reactor as closures see it, to set up timers and topic updaters.
    pub fn context(&mut self) -> Context<'_> {
        self.reactor.context()
    }

    /// The handle of all workers. [`Context::handle`] is that of this one.
    #[must_use]
    pub fn handle_of_all(&self) -> Handle {
        Handle::of_all(Arc::clone(self.crew))
    }
}
