//! [`Feed`]: a topic, as its updater sees it.

use crate::engine::{api::context::Context, core::Core};
use crate::{conn::TopicIndex, sse::Encode};

/// A topic, lent to its updater. Events sent here go to all subscribers.
///
/// ```
/// use starwheel::{Reactor, Router, Sse, Topic};
/// use std::time::Duration;
///
/// let load = Topic::new("load").retain();
/// let watched = load.clone();
/// let router = Router::new().get("/load", move |_req, _cx| Sse::new().subscribe(&watched));
/// let mut reactor = Reactor::new(router)?;
/// reactor.context().drive(&load, Duration::from_secs(1), |feed| {
///     feed.send(std::fs::read_to_string("/proc/loadavg")?);
///     Ok(())
/// });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Feed<'a> {
    core: &'a mut Core,
    topic: TopicIndex,
}

impl<'a> Feed<'a> {
    pub(in crate::engine) fn new(core: &'a mut Core, topic: TopicIndex) -> Self {
        Self { core, topic }
    }

    /// Sends an event to all subscribers. All events of one run are published together, unless they
    /// equal those of the previous run (which may have sent none).
    pub fn send(&mut self, event: impl Encode) {
        self.core.scratch.push(&event);
    }

    /// Number of streams that will get it.
    #[must_use]
    pub fn subscribers(&mut self) -> usize {
        self.core.topics.subscribers_at(self.topic)
    }

    /// The reactor: other streams, timers, statistics.
    pub fn context(&mut self) -> Context<'_> {
        Context::new(self.core)
    }
}
