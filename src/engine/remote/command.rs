//! Commands from a [`Handle`](super::Handle) to the reactor.

use std::{os::fd::OwnedFd, sync::Arc, time::Duration};

use crate::{
    engine::{
        api::{Context, Ending},
        keys::StreamId,
        later::{Build, LateAnswer, Oneshot},
        opening::{Entrance, Opening},
    },
    error::CloseReason,
    http::{Peer, Request},
    topic::{Arrival, Compressible, Placed, Topic},
};

/// A closure to run on the reactor thread.
type Job = Box<dyn FnOnce(&mut Context<'_>) + Send>;

pub(crate) enum Command {
    Run(Job),
    Publish(Topic, Vec<u8>, Compressible),
    /// With the key of the event.
    PublishOnce(Topic, Vec<u8>, Box<str>),
    PublishBatch(Topic, Batch),
    /// The last event of a topic.
    Finish(Topic, Vec<u8>),
    Adopt(Adoption),
    Answer(Arc<Oneshot>, LateAnswer),
    /// An event from the sequencer of the namespace.
    Place(Arc<Placed>),
    Arrive(Box<Arrival>),
    /// Another worker ends these streams.
    Close(Vec<StreamId>, CloseReason),
    /// All streams of this reactor with the tag.
    CloseTagged(Box<str>, Ending),
    Drain(Duration),
    Shutdown,
}

/// A connection that another server has accepted. The engine knows no sockets; it hands this on.
pub(crate) struct Adoption {
    /// Gives the descriptor. A conversion is user code, so it waits for the reactor's thread: under
    /// the lock of the queue, a panic would lose the command and a handle would wait for itself.
    pub(in crate::engine) socket: Box<dyn FnOnce() -> OwnedFd + Send>,
    /// The client, if the socket does not tell.
    pub(in crate::engine) peer: Option<Peer>,
    pub(crate) first: First,
}

impl Adoption {
    pub(crate) fn new(socket: impl Into<OwnedFd> + Send + 'static, first: First) -> Self {
        Self { socket: Box::new(|| socket.into()), peer: None, first }
    }

    /// The other server knows the client, which may not be at the other end of the socket.
    pub(crate) fn on_behalf_of(self, peer: Option<Peer>) -> Self {
        Self { peer, ..self }
    }
}

/// What comes first on an adopted connection.
pub(crate) enum First {
    /// Bytes that have already been read from it, and whether they are of a TLS handshake.
    Bytes(Vec<u8>, Entrance),
    /// A request that the other server has read, and what answers it.
    Request(Box<Request>, Build),
    /// Nothing: another worker has accepted it, and set its options.
    Accepted(Peer, Opening, Entrance),
}

/// Events that are published directly after each other.
#[derive(Clone)]
pub(crate) struct Batch {
    pub(super) events: Vec<u8>,
    /// The end of each event.
    pub(super) ends: Vec<usize>,
}

impl Batch {
    /// Each of the events, encoded.
    pub(in crate::engine) fn events(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.events[start..end])
    }
}

impl Command {
    /// Bytes of its events.
    pub(in crate::engine) fn bytes(&self) -> usize {
        match self {
            Self::Publish(_, events, _)
            | Self::PublishOnce(_, events, _)
            | Self::Finish(_, events) => events.len(),
            Self::PublishBatch(_, batch) => batch.events.len(),
            Self::Adopt(Adoption { first: First::Bytes(bytes, _), .. }) => bytes.len(),
            Self::Adopt(Adoption { first: First::Request(request, _), .. }) => request.body().len(),
            Self::Place(placed) => placed.len(),
            Self::Arrive(_)
            | Self::Adopt(Adoption { first: First::Accepted(..), .. })
            | Self::Run(_)
            | Self::Answer(..)
            | Self::Close(..)
            | Self::CloseTagged(..)
            | Self::Drain(_)
            | Self::Shutdown => 0,
        }
    }

    /// True for what comes from the sequencer.
    pub(in crate::engine) fn is_arrival(&self) -> bool {
        matches!(self, Self::Place(_) | Self::Arrive(_))
    }

    /// True for a drain or shutdown.
    pub(in crate::engine) fn is_ending(&self) -> bool {
        matches!(self, Self::Drain(_) | Self::Shutdown)
    }
}
