//! What a sequencer sends to the reactors of its namespace.

use std::{cell::OnceCell, sync::Arc};

use super::{Compressible, Frame};
use crate::topic::{Continues, Generations, Pieces, Point, Series, Topic};

/// An event with its place in the log of a namespace. It is encoded once, and shared by all
/// reactors of a process: a frame has compressed forms besides, which each reactor makes itself.
#[derive(Debug)]
pub(crate) struct Placed {
    topic: Topic,
    sequence: u64,
    bytes: Pieces,
    header_bytes: u8,
    own_ids: Box<[(Point, Box<str>)]>,
    has_foreign_id: bool,
    compression: Compressible,
    continues: Continues,
}

/// What a topic had before a reactor began to use it.
#[derive(Debug)]
pub(crate) struct Backlog {
    /// Everything up to here is gone.
    pub(crate) lost_up_to: u64,
    /// Everything after that and up to here is in `events`, in order.
    pub(crate) complete_up_to: u64,
    pub(crate) events: Vec<Arc<Placed>>,
    /// The place of the last event, if the topic has been finished.
    pub(crate) end: Option<u64>,
}

/// Why places are missing in what a reactor gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Everything up to this place was skipped on the way here. It exists, and other reactors may
    /// have it.
    Skipped { up_to: u64 },
    /// What was placed after `after` and up to `up_to` does not exist anymore. Later places are of the
    /// next generation.
    Undone { after: u64, up_to: u64 },
}

/// What changes in a namespace besides its events.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// The answer to the first use of a topic. The reactor has got everything of the topic that was
    /// placed from then on and up to [`Backlog::complete_up_to`].
    Hydrate(Topic, Backlog),
    /// A hole.
    Lost(Loss),
    /// This process has come to the store of its namespace, where this is the last place. What comes
    /// one by one comes after it.
    Joined(Generations, u64),
    /// A generation has begun, perhaps with a loss. The two arrive together, because no id of the new
    /// generation may speak of what it has lost.
    Generations(Generations, Option<Loss>),
    /// They were asked for, and are still the same: the answer to all questions up to this one.
    SameGenerations(u64),
}

/// A hole, with the past of each topic in use that keeps events: what is in there is not lost.
#[derive(Debug)]
pub(crate) struct Loss {
    pub(crate) lost: Lost,
    pub(crate) pasts: Vec<(Topic, Backlog)>,
}

impl Placed {
    /// Encodes events at this place. `generation` is what ids of the current
    /// [generation](Generations::current) begin with.
    pub(crate) fn new(
        topic: &Topic,
        (generation, sequence): (&str, u64),
        events: &[u8],
        (compression, continues): (Compressible, Continues),
        scratch: &mut Vec<u8>,
    ) -> Self {
        let options = topic.options();
        let ids = options.gives_id(continues).then_some(generation);
        let frame = Frame::new(sequence, events, ids, scratch).continuing(continues, options);
        Self {
            topic: topic.clone(),
            sequence,
            bytes: frame.bytes,
            header_bytes: frame.header_bytes,
            own_ids: frame.own_ids,
            has_foreign_id: frame.has_foreign_id,
            compression,
            continues,
        }
    }

    pub(crate) fn topic(&self) -> &Topic {
        &self.topic
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Bytes of its chunk.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn compression(&self) -> Compressible {
        self.compression
    }

    pub(crate) fn continues(&self) -> Continues {
        self.continues
    }

    /// True for the last event of its topic.
    pub(crate) fn is_last(&self) -> bool {
        self.continues == Continues::No
    }

    /// The frame for the log of one reactor.
    pub(crate) fn frame(&self) -> Frame {
        Frame {
            sequence: self.sequence,
            series: Series::Spanning,
            bytes: self.bytes.clone(),
            header_bytes: self.header_bytes,
            own_ids: self.own_ids.clone(),
            has_foreign_id: self.has_foreign_id,
            previous: None,
            compression: self.compression,
            continues: self.continues,
            forms: OnceCell::new(),
        }
    }
}
