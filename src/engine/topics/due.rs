//! The frames a stream has not been given of its topics, in the order of publishing, as many as fit
//! one write.

use std::iter;

use super::Topics;
use crate::{
    conn::{Conn, SLICES_PER_WRITE, StreamEnd, Subscription, TopicIndex},
    topic::Frame,
};

/// Which frames to give to a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Frames {
    /// Everything, unless its end is decided.
    All,
    /// A stream that finishes gets everything up to this sequence.
    UpTo(u64),
}

impl Frames {
    /// True if the stream on this connection takes these frames, given how it ends.
    pub(in crate::engine) fn are_for(self, conn: &Conn) -> bool {
        match conn.ending() {
            None => true,
            Some(StreamEnd::Finish | StreamEnd::Drop) => self != Self::All,
            Some(StreamEnd::Finished | StreamEnd::Abort) => false,
        }
    }

    pub(in crate::engine) fn last(self) -> u64 {
        match self {
            Self::All => u64::MAX,
            Self::UpTo(last) => last,
        }
    }
}

/// A frame that a stream has not been given, and its topic.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct DueFrame<'a> {
    pub(in crate::engine) frame: &'a Frame,
    pub(in crate::engine) topic: TopicIndex,
}

/// Frames for one stream in the order in which they were published, whatever their topic; as many
/// as fit one write.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it lives on the stack, for one write")]
pub(in crate::engine) enum DueFrames<'a> {
    /// Some of them are gone; the topic's policy decides what to do.
    Lost,
    /// By far the most frequent case, with one frame or none; needs no array.
    One(Option<DueFrame<'a>>),
    Many {
        frames: [DueFrame<'a>; FRAMES_PER_WRITE],
        length: usize,
    },
}

impl<'a> DueFrames<'a> {
    #[inline]
    pub(in crate::engine) fn gather(
        topics: &'a Topics,
        subscriptions: &[Subscription],
        frames: Frames,
    ) -> Self {
        let last = frames.last();
        if let &[Subscription { topic, place }] = subscriptions {
            let (log, cursor) = topics.position(Subscription { topic, place });
            if log.has_passed_by(cursor) {
                return Self::Lost;
            }
            if let Some(frame) = log.only_after(cursor) {
                let due = DueFrame { frame, topic };
                return Self::One((frame.sequence <= last).then_some(due));
            }
            let frames = log.after(cursor).take_while(|frame| frame.sequence <= last);
            return Self::collect(frames.map(|frame| DueFrame { frame, topic }));
        }
        if subscriptions.iter().any(|&subscription| topics.has_passed_by(subscription)) {
            return Self::Lost;
        }
        // A merge by sequence: the last one taken is a lower bound for all topics.
        let mut taken = 0;
        Self::collect(iter::from_fn(|| {
            let next = next_due(topics, subscriptions, taken);
            let (frame, subscription) = next.filter(|(frame, _)| frame.sequence <= last)?;
            taken = frame.sequence;
            Some(DueFrame { frame, topic: subscription.topic })
        }))
    }

    fn collect(mut due: impl Iterator<Item = DueFrame<'a>>) -> Self {
        let Some(first) = due.next() else { return Self::One(None) };
        let Some(second) = due.next() else { return Self::One(Some(first)) };
        let (mut frames, mut length) = ([first; FRAMES_PER_WRITE], 1);
        for next in iter::once(second).chain(due.take(FRAMES_PER_WRITE - 2)) {
            frames[length] = next;
            length += 1;
        }
        Self::Many { frames, length }
    }

    pub(in crate::engine) fn as_slice(&self) -> &[DueFrame<'a>] {
        match self {
            Self::Lost => &[],
            Self::One(frame) => frame.as_slice(),
            Self::Many { frames, length } => &frames[..*length],
        }
    }
}

/// The first frame after `taken` that a stream has not been given.
pub(in crate::engine) fn next_due<'a>(
    topics: &'a Topics,
    subscriptions: &[Subscription],
    taken: u64,
) -> Option<(&'a Frame, Subscription)> {
    let next = subscriptions.iter().filter_map(|&subscription| {
        let (log, cursor) = topics.position(subscription);
        Some((log.after(cursor.max(taken)).next()?, subscription))
    });
    next.min_by_key(|(frame, _)| frame.sequence)
}

/// Frames per vectored write; its cost does not depend on their number. Large frames have several
/// pieces: those that do not fit leave with the next write.
pub(in crate::engine) const FRAMES_PER_WRITE: usize = SLICES_PER_WRITE;
