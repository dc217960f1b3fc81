//! What a stream is due of its topics: frames in the order of publishing, as many as fit one write.

use std::{io::IoSlice, iter, slice};

use super::topics::Topics;
use crate::{
    conn::{Ending, SLICES_PER_WRITE, Streaming, Subscription},
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

    pub(super) fn as_slice(&self) -> &[Due<'a>] {
        match self {
            Self::None => &[],
            Self::One(due) => slice::from_ref(due),
            Self::Many { frames, length } => &frames[..*length],
        }
    }

    pub(super) fn bytes(&self, framing: StreamFraming) -> usize {
        self.as_slice().iter().map(|(frame, _)| frame.len(framing)).sum()
    }

    /// The bytes, as far as they fit one write, and in how many slices they are.
    pub(super) fn slices(
        &self,
        framing: StreamFraming,
    ) -> ([IoSlice<'_>; SLICES_PER_WRITE], usize) {
        io_slices(self.as_slice().iter().flat_map(|(frame, _)| frame.slices(framing, 0)))
    }
}

/// As many slices as one write takes, and their number.
pub(super) fn io_slices<'a>(
    bytes: impl Iterator<Item = &'a [u8]>,
) -> ([IoSlice<'a>; SLICES_PER_WRITE], usize) {
    let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
    let mut count = 0;
    for (slice, bytes) in slices.iter_mut().zip(bytes) {
        *slice = IoSlice::new(bytes);
        count += 1;
    }
    (slices, count)
}

/// What a stream has been given of its topics in one go: so many frames, up to this sequence.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Given {
    pub(super) frames: usize,
    pub(super) last_sequence: u64,
}

impl Given {
    pub(super) fn one(sequence: u64) -> Self {
        Self { frames: 1, last_sequence: sequence }
    }

    pub(super) fn add(&mut self, sequence: u64) {
        self.frames += 1;
        self.last_sequence = sequence;
    }
}

/// Frames that leave in one vectored write; what one costs does not depend on their number. Large
/// frames are of several pieces: those that do not fit leave with the next.
pub(super) const FRAMES_PER_WRITE: usize = SLICES_PER_WRITE;
