//! What a [`Handle`](super::Handle) has the reactor do.

use std::{net::TcpStream, time::Duration};

use crate::{
    engine::Context,
    topic::{Allowed, Topic},
};

/// A closure to run on the reactor thread.
type Job = Box<dyn FnOnce(&mut Context<'_>) + Send>;

pub(super) enum Command {
    Run(Job),
    Publish(Topic, Vec<u8>, Allowed),
    PublishBatch(Topic, Batch),
    Adopt(TcpStream, Vec<u8>),
    Drain(Duration),
    Shutdown,
}

/// Events that are published one right behind the other.
pub(super) struct Batch {
    pub(super) events: Vec<u8>,
    /// Where each of them ends.
    pub(super) ends: Vec<usize>,
}

impl Batch {
    /// Each of the events, encoded.
    pub(super) fn events(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.events[start..end])
    }
}

impl Command {
    /// Of the events in it.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Publish(_, events, _) => events.len(),
            Self::PublishBatch(_, batch) => batch.events.len(),
            Self::Adopt(_, read_already) => read_already.len(),
            Self::Run(_) | Self::Drain(_) | Self::Shutdown => 0,
        }
    }

    /// True if the reactor is to be drained or shut down.
    pub(super) fn is_ending(&self) -> bool {
        matches!(self, Self::Drain(_) | Self::Shutdown)
    }
}
