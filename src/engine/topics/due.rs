//! What a stream is due of its topics: frames in the order of publishing, as many as fit one write,
//! each in the form that the stream's client understands.

use std::{iter, slice, sync::Arc};

use super::Topics;
use crate::{
    conn::{Conn, Ending, Subscription, TopicIndex},
    engine::coding::Coding,
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
    /// True if the stream on this connection takes these frames, going by how it ends.
    pub(in crate::engine) fn are_for(self, conn: &Conn) -> bool {
        match conn.ending() {
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

/// A frame that a stream has not been given, as that stream gets it.
#[derive(Debug)]
pub(in crate::engine) struct DueFrame<'a> {
    pub(in crate::engine) topic: TopicIndex,
    pub(in crate::engine) frame: &'a Frame,
    form: Form<'a>,
}

#[derive(Debug)]
enum Form<'a> {
    /// As it is in the log.
    Whole(&'a Arc<[u8]>),
    /// Without its chunk header, for HTTP/1.0.
    Bare(&'a [u8]),
    /// Compressed, mostly as other subscribers get it too.
    Coded(Arc<[u8]>),
}

impl DueFrame<'_> {
    pub(in crate::engine) fn bytes(&self) -> &[u8] {
        match &self.form {
            Form::Whole(bytes) => bytes,
            Form::Bare(bytes) => bytes,
            Form::Coded(bytes) => bytes,
        }
    }

    /// The same as memory that may be shared, where it is.
    pub(in crate::engine) fn shared(&self) -> Option<&Arc<[u8]>> {
        match &self.form {
            Form::Whole(bytes) => Some(bytes),
            Form::Coded(bytes) => Some(bytes),
            Form::Bare(_) => None,
        }
    }
}

/// Frames for one stream in the order in which they were published, whatever their topic; as many
/// as fit one write.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it lives on the stack, for one write")]
pub(in crate::engine) enum DueFrames<'a> {
    /// By far the most frequent, with none or one; no array is filled for it.
    One(Option<DueFrame<'a>>),
    Many([Option<DueFrame<'a>>; FRAMES_PER_WRITE]),
}

impl<'a> DueFrames<'a> {
    /// Compresses what no other subscriber has needed before. Nothing of the stream's state
    /// changes: what the socket then refuses is gathered again, and made of the same pieces.
    pub(in crate::engine) fn gather(
        topics: &'a Topics,
        conn: &Conn,
        frames: Frames,
        coding: &mut Coding,
    ) -> Self {
        let mut after = None;
        let mut in_form = |(frame, topic): (&'a Frame, TopicIndex)| {
            let form = match (conn.coding(), conn.framing()) {
                (Some(stream), _) => Form::Coded(coding.shared(stream, frame, topic, after)),
                (None, StreamFraming::Chunked) => Form::Whole(&frame.bytes),
                (None, framing @ StreamFraming::UntilClose) => Form::Bare(frame.framed(framing)),
            };
            after = Some((topic, frame.sequence));
            DueFrame { topic, frame, form }
        };
        let last = frames.last();
        if let [only] = conn.subscriptions() {
            let (log, cursor) = topics.position(*only);
            let frames = log.after(cursor).take_while(|frame| frame.sequence <= last);
            return Self::collect(frames.map(|frame| in_form((frame, only.topic))));
        }
        Self::collect(merge(topics, conn.subscriptions(), last).map(in_form))
    }

    fn collect(mut due: impl Iterator<Item = DueFrame<'a>>) -> Self {
        let Some(first) = due.next() else { return Self::One(None) };
        let Some(second) = due.next() else { return Self::One(Some(first)) };
        let mut many = [const { None }; FRAMES_PER_WRITE];
        let rest = due.take(FRAMES_PER_WRITE - 2);
        for (place, frame) in many.iter_mut().zip([first, second].into_iter().chain(rest)) {
            *place = Some(frame);
        }
        Self::Many(many)
    }

    pub(in crate::engine) fn iter(&self) -> impl Iterator<Item = &DueFrame<'a>> {
        let places = match self {
            Self::One(frame) => slice::from_ref(frame),
            Self::Many(frames) => frames.as_slice(),
        };
        places.iter().map_while(Option::as_ref)
    }

    /// True when there is no room for more; there may be some.
    pub(in crate::engine) fn is_full(&self) -> bool {
        matches!(self, Self::Many([.., Some(_)]))
    }
}

/// The frames of several topics by their sequences, up to `last`.
fn merge<'a>(
    topics: &'a Topics,
    subscriptions: &[Subscription],
    last: u64,
) -> impl Iterator<Item = (&'a Frame, TopicIndex)> {
    // What was taken last is a lower bound for all topics alike.
    let mut taken = 0;
    iter::from_fn(move || {
        let next = subscriptions.iter().filter_map(|&subscription| {
            let (log, cursor) = topics.position(subscription);
            Some((log.after(cursor.max(taken)).next()?, subscription.topic))
        });
        let next = next.min_by_key(|(frame, _)| frame.sequence);
        let due = next.filter(|(frame, _)| frame.sequence <= last)?;
        taken = due.0.sequence;
        Some(due)
    })
}

/// Frames that leave in one vectored write; what one costs does not depend on their number.
pub(in crate::engine) const FRAMES_PER_WRITE: usize = 16;
