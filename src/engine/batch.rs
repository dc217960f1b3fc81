//! What a stream is due of its topics: frames in the order of publishing, as many as fit one write.

use std::{iter, slice};

use super::topics::Topics;
use crate::{
    conn::{Ending, Streaming, Subscription},
    http::StreamFraming,
    topic::Frame,
};

/// Which frames a stream is to be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frames {
    /// Everything, unless its end is decided.
    All,
    /// One that ends in order gets everything up to this sequence.
    UpTo(u64),
}

impl Frames {
    /// True if the stream takes these frames, going by how it ends.
    pub(super) fn are_for(self, streaming: &Streaming) -> bool {
        match streaming.ending {
            None => true,
            Some(Ending::Finish | Ending::Drop) => self != Self::All,
            Some(Ending::Finished | Ending::Abort) => false,
        }
    }

    pub(super) fn last(self) -> u64 {
        match self {
            Self::All => u64::MAX,
            Self::UpTo(last) => last,
        }
    }
}

/// A frame that a stream has not been given, and the subscription it is due to.
pub(super) type Due<'a> = (&'a Frame, Subscription);

/// Frames for one stream in the order in which they were published, whatever their topic; as many
/// as fit one write.
#[expect(clippy::large_enum_variant, reason = "it lives on the stack, for one write")]
pub(super) enum Batch<'a> {
    None,
    /// By far the most frequent; no array is filled for it.
    One(Due<'a>),
    Many {
        frames: [Due<'a>; FRAMES_PER_WRITE],
        length: usize,
    },
}

impl<'a> Batch<'a> {
    pub(super) fn gather(
        topics: &'a Topics,
        subscriptions: &[Subscription],
        frames: Frames,
    ) -> Self {
        let last = frames.last();
        if let [only] = subscriptions {
            let Some((log, cursor)) = topics.position_on(*only) else { return Self::None };
            let frames = log.after(cursor).take_while(|frame| frame.sequence <= last);
            return Self::collect(frames.map(|frame| (frame, *only)));
        }
        // A merge by sequence: what was taken last is a lower bound for all topics alike.
        let mut taken = 0;
        Self::collect(iter::from_fn(|| {
            let next = next_due(topics, subscriptions, taken);
            let due = next.filter(|(frame, _)| frame.sequence <= last)?;
            taken = due.0.sequence;
            Some(due)
        }))
    }

    fn collect(mut due: impl Iterator<Item = Due<'a>>) -> Self {
        let Some(first) = due.next() else { return Self::None };
        let Some(second) = due.next() else { return Self::One(first) };
        let (mut frames, mut length) = ([first; FRAMES_PER_WRITE], 1);
        for next in iter::once(second).chain(due.take(FRAMES_PER_WRITE - 2)) {
            frames[length] = next;
            length += 1;
        }
        Self::Many { frames, length }
    }

    pub(super) fn as_slice(&self) -> &[Due<'a>] {
        match self {
            Self::None => &[],
            Self::One(due) => slice::from_ref(due),
            Self::Many { frames, length } => &frames[..*length],
        }
    }

    pub(super) fn bytes(&self, framing: StreamFraming) -> usize {
        self.as_slice().iter().map(|(frame, _)| frame.framed(framing).len()).sum()
    }
}

/// The first frame after `taken` that a stream has not been given.
pub(super) fn next_due<'a>(
    topics: &'a Topics,
    subscriptions: &[Subscription],
    taken: u64,
) -> Option<Due<'a>> {
    let next = subscriptions.iter().filter_map(|&subscription| {
        let (log, cursor) = topics.position_on(subscription)?;
        Some((log.after(cursor.max(taken)).next()?, subscription))
    });
    next.min_by_key(|(frame, _)| frame.sequence)
}

/// What a stream has been given of its topics in one go: so many frames, up to this sequence.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Given {
    pub(super) frames: usize,
    pub(super) last_sequence: u64,
    /// The client may hold an id now that says nothing of the stream.
    pub(super) foreign_id: bool,
}

impl Given {
    pub(super) fn add(&mut self, sequence: u64, has_foreign_id: bool) {
        self.frames += 1;
        self.last_sequence = sequence;
        self.foreign_id |= has_foreign_id;
    }
}

/// Frames that leave in one vectored write; what one costs does not depend on their number.
pub(super) const FRAMES_PER_WRITE: usize = 16;
