//! Commands from a [`Handle`](super::Handle) to the reactor.

use std::{net::TcpStream, time::Duration};

use crate::{
    engine::Context,
    topic::{Compressible, Topic},
};

/// A closure to run on the reactor thread.
type Job = Box<dyn FnOnce(&mut Context<'_>) + Send>;

pub(super) enum Command {
    Run(Job),
    Publish(Topic, Vec<u8>, Compressible),
    PublishBatch(Topic, Batch),
    Adopt(TcpStream, Vec<u8>),
    Drain(Duration),
    Shutdown,
}

/// Events that are published directly after each other.
pub(super) struct Batch {
    pub(super) events: Vec<u8>,
    /// The end of each event.
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
    /// Bytes of its events.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Publish(_, events, _) => events.len(),
            Self::PublishBatch(_, batch) => batch.events.len(),
            Self::Adopt(_, read_already) => read_already.len(),
            Self::Run(_) | Self::Drain(_) | Self::Shutdown => 0,
        }
    }

    /// True for a drain or shutdown.
    pub(super) fn is_ending(&self) -> bool {
        matches!(self, Self::Drain(_) | Self::Shutdown)
    }
}
