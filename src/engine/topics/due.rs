//! What a stream is due of its topics: frames in the order of publishing, as many as fit one write.

use std::{iter, slice};

use crate::engine::topics::Topics;
use crate::{
    conn::{Ending, Streaming, Subscription},
    http::StreamFraming,
    topic::Frame,
};

/// Which frames a stream is to be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Frames {
    /// Everything, unless its end is decided.
    All,
    /// One that ends in order gets everything up to this sequence.
    UpTo(u64),
}

impl Frames {
    /// True if the stream takes these frames, going by how it ends.
    pub(in crate::engine) fn are_for(self, streaming: &Streaming) -> bool {
        match streaming.ending {
            None => true,
            Some(Ending::Finish | Ending::Drop) => self != Self::All,
            Some(Ending::Finished | Ending::Abort) => false,
        }
    }

    pub(in crate::engine) fn last(self) -> u64 {
        match self {
            Self::All => u64::MAX,
            Self::UpTo(last) => last,
        }
    }
}

/// A frame that a stream has not been given, and the subscription it is due to.
pub(in crate::engine) type Due<'a> = (&'a Frame, Subscription);

/// Frames for one stream in the order in which they were published, whatever their topic; as many
/// as fit one write.
#[expect(clippy::large_enum_variant, reason = "it lives on the stack, for one write")]
pub(in crate::engine) enum Batch<'a> {
    None,
    /// By far the most frequent; no array is filled for it.
    One(Due<'a>),
    Many {
        frames: [Due<'a>; FRAMES_PER_WRITE],
        length: usize,
    },
}

impl<'a> Batch<'a> {
    pub(in crate::engine) fn gather(
        topics: &'a Topics,
        subscriptions: &[Subscription],
        frames: Frames,
    ) -> Self {
        let last = frames.last();
        if let [only] = subscriptions {
            let Some((log, cursor)) = topics.position(*only) else { return Self::None };
            let frames = log.after(cursor).take_while(|frame| frame.sequence <= last);
            return Self::collect(frames.map(|frame| (frame, *only)));
        }
        // A merge by sequence: what was taken last is a lower bound for all topics alike.
        let mut taken = 0;
        Self::collect(iter::from_fn(|| {
            let next = subscriptions.iter().filter_map(|&subscription| {
                let (log, cursor) = topics.position(subscription)?;
                Some((log.after(cursor.max(taken)).next()?, subscription))
            });
            let next = next.min_by_key(|(frame, _)| frame.sequence);
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

    pub(in crate::engine) fn as_slice(&self) -> &[Due<'a>] {
        match self {
            Self::None => &[],
            Self::One(due) => slice::from_ref(due),
            Self::Many { frames, length } => &frames[..*length],
        }
    }

    pub(in crate::engine) fn bytes(&self, framing: StreamFraming) -> usize {
        self.as_slice().iter().map(|(frame, _)| frame.framed(framing).len()).sum()
    }
}

/// What a stream has been given of its topics in one go: so many frames, up to this sequence.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::engine) struct Given {
    pub(in crate::engine) frames: usize,
    pub(in crate::engine) last_sequence: u64,
}

impl Given {
    pub(in crate::engine) fn add(&mut self, sequence: u64) {
        self.frames += 1;
        self.last_sequence = sequence;
    }
}

/// Frames that leave in one vectored write; what one costs does not depend on their number.
pub(in crate::engine) const FRAMES_PER_WRITE: usize = 16;
