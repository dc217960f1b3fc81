//! The frames a stream has not been given of its topics, in the order of publishing, as many as fit
//! one write.

use std::iter;

use super::Topics;
use crate::{
    conn::{Conn, SLICES_PER_WRITE, StreamEnd, Subscription, TopicIndex},
    topic::{Frame, Progress, Series},
};

/// Which frames to give to a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Frames<'a> {
    /// Everything, unless its end is decided.
    All,
    /// A stream that finishes gets everything up to these sequences.
    UpTo(&'a Progress),
}

impl Frames<'_> {
    /// True if the stream on this connection takes these frames, given how it ends.
    pub(in crate::engine) fn are_for(self, conn: &Conn) -> bool {
        match conn.ending() {
            None => true,
            Some(StreamEnd::Finish | StreamEnd::Drop) => self != Self::All,
            Some(StreamEnd::Finished | StreamEnd::Abort) => false,
        }
    }

    pub(in crate::engine) fn last(self) -> Progress {
        match self {
            Self::All => Progress::END,
            Self::UpTo(last) => *last,
        }
    }

    /// True if this frame is for the stream.
    #[inline]
    fn include(self, frame: &Frame) -> bool {
        match self {
            Self::All => true,
            Self::UpTo(last) => frame.sequence <= last.of(frame.series),
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
        frames: Frames<'_>,
    ) -> Self {
        if let &[only] = subscriptions {
            return Self::of_topic(topics, only, frames);
        }
        if subscriptions.iter().any(|&subscription| topics.has_passed_by(subscription)) {
            return Self::Lost;
        }
        // A merge by sequence: the last one taken is a lower bound for all topics of its series.
        let mut taken = Progress::default();
        Self::collect(iter::from_fn(|| {
            let (due, _) = next_due(topics, subscriptions, taken, frames)?;
            taken.move_to(due.frame.series, due.frame.sequence);
            Some(due)
        }))
    }

    #[inline]
    fn of_topic(topics: &'a Topics, subscription: Subscription, frames: Frames<'_>) -> Self {
        let Subscription { topic, place } = subscription;
        let state = &topics[topic];
        let (log, cursor) = (&state.log, state.subscribers[place as usize].cursor);
        if log.has_passed_by(cursor) {
            return Self::Lost;
        }
        if let Some(frame) = log.only_after(cursor) {
            return Self::One(frames.include(frame).then_some(DueFrame { frame, topic }));
        }
        let due = log.after(cursor).take_while(|frame| frames.include(frame));
        Self::collect(due.map(|frame| DueFrame { frame, topic }))
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

/// The first frame after `taken` that a stream has not been given, if `frames` include it.
pub(in crate::engine) fn next_due<'a>(
    topics: &'a Topics,
    subscriptions: &[Subscription],
    taken: Progress,
    frames: Frames<'_>,
) -> Option<(DueFrame<'a>, Subscription)> {
    let next = |series: Series| {
        let of_series = subscriptions.iter().filter(|it| topics[it.topic].series == series);
        let next = of_series.filter_map(|&subscription| {
            let (log, cursor) = topics.position(subscription);
            Some((log.after(cursor.max(taken.of(series))).next()?, subscription))
        });
        let next = next.min_by_key(|(frame, _)| frame.sequence);
        next.filter(|(frame, _)| frames.include(frame))
    };
    let local = next(Series::Local);
    let (frame, subscription) = match &topics.namespace {
        None => local?,
        Some(_) => topics.older(local, next(Series::Spanning))?,
    };
    Some((DueFrame { frame, topic: subscription.topic }, subscription))
}

/// Frames per vectored write; its cost does not depend on their number. Large frames have several
/// pieces: those that do not fit leave with the next write.
pub(in crate::engine) const FRAMES_PER_WRITE: usize = SLICES_PER_WRITE;
