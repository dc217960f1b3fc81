//! Fan-out to compressed streams: the same frames in the form that each decoder understands, most
//! of them shared with all other subscribers.

use std::{io::ErrorKind, slice};

use super::{
    Engine, Transport,
    batch::{Batch, Due, FRAMES_PER_WRITE, Frames, Given, io_slices},
    codec::Codec,
    core::{Core, Slot},
    fanout::Written,
    topics::Topics,
};
use crate::{
    compress::Compressor,
    conn::{Output, Phase, Subscription},
    topic::Pieces,
};

impl<T: Transport> Engine<T> {
    /// [`write_frames`](Self::write_frames) for a compressed stream.
    pub(super) fn write_coded_frames(&mut self, index: u32, frames: Frames) -> Written {
        let core = &mut self.core;
        let Some(Slot::Conn(conn)) = core.slots.get_mut(index as usize) else {
            return Written::Nothing;
        };
        let Phase::Streaming(streaming) = &mut conn.phase else { return Written::Nothing };
        let Some(codec) = core.codecs.get_mut(conn.codec as usize) else { return Written::Nothing };
        let subscriptions = streaming.subscriptions.as_slice();
        let batch =
            CodedBatch::gather(&core.topics, subscriptions, frames, codec, &mut core.compressor);
        if batch.as_slice().is_empty() {
            return Written::Nothing;
        }
        let Some(transport) = &mut self.transports[index as usize] else { return Written::Nothing };
        let only = match &batch {
            CodedBatch::One(Some(only)) => only.bytes.only(),
            _ => None,
        };
        let result = match only {
            Some(bytes) => transport.write(bytes),
            None => {
                let (slices, count) = io_slices(batch.pieces());
                transport.write_vectored(&slices[..count])
            }
        };
        let mut left = match result {
            Ok(written) => written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                conn.output = Output::Blocked;
                return Written::Blocked;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => return Written::Some,
            Err(error) => {
                self.lose(index, &error);
                return Written::Nothing;
            }
        };
        streaming.last_write = core.now;
        core.stats.bytes_out += left as u64;
        let mut given = Given::default();
        for CodedFrame { subscription, sequence, bytes } in batch.frames() {
            if left == 0 {
                break;
            }
            if left < bytes.len() {
                conn.outbox.push_shared(bytes.iter(), left, &mut core.pool);
            }
            left = left.saturating_sub(bytes.len());
            codec.synced(subscription.topic, *sequence);
            given.add(*sequence);
        }
        let is_all = given.frames == batch.as_slice().len()
            && given.frames < FRAMES_PER_WRITE
            && conn.outbox.is_empty();
        core.note_given(index, given);
        if is_all { Written::Nothing } else { Written::Some }
    }
}

impl Core {
    /// Queues frames of a compressed stream instead of writing them; true if there were any.
    pub(super) fn queue_coded_frames(&mut self, index: u32, frames: Frames) -> bool {
        let Some(Slot::Conn(conn)) = self.slots.get_mut(index as usize) else { return false };
        let Phase::Streaming(streaming) = &mut conn.phase else { return false };
        let Some(codec) = self.codecs.get_mut(conn.codec as usize) else { return false };
        let subscriptions = streaming.subscriptions.as_slice();
        let batch =
            CodedBatch::gather(&self.topics, subscriptions, frames, codec, &mut self.compressor);
        let mut given = Given::default();
        for CodedFrame { subscription, sequence, bytes } in batch.frames() {
            for piece in bytes.iter() {
                conn.outbox.push(piece, &mut self.pool);
            }
            codec.synced(subscription.topic, *sequence);
            given.add(*sequence);
        }
        self.note_given(index, given);
        given.frames > 0
    }
}

/// A frame as one stream gets it.
struct CodedFrame {
    subscription: Subscription,
    sequence: u64,
    bytes: Pieces,
}

/// A [`Batch`] in compressed form.
#[expect(clippy::large_enum_variant, reason = "it lives on the stack, for one write")]
enum CodedBatch {
    None,
    /// By far the most frequent; no array is filled for it.
    One(Option<CodedFrame>),
    Many {
        frames: [Option<CodedFrame>; FRAMES_PER_WRITE],
        length: usize,
    },
}

impl CodedBatch {
    /// Compresses what no other subscriber has needed before. Nothing of the stream's state
    /// changes: what the socket then refuses is gathered again, and made of the same pieces.
    fn gather(
        topics: &Topics,
        subscriptions: &[Subscription],
        frames: Frames,
        codec: &Codec,
        compressor: &mut Compressor,
    ) -> Self {
        let mut after = None;
        let mut coded = |(frame, subscription): Due<'_>| {
            let bytes = codec.shared(compressor, frame, after, subscription.topic);
            let sequence = frame.sequence;
            after = Some((subscription.topic, sequence));
            Some(CodedFrame { subscription, sequence, bytes })
        };
        match Batch::gather(topics, subscriptions, frames) {
            Batch::None => Self::None,
            Batch::One(due) => Self::One(coded(due)),
            Batch::Many { frames: due, length } => {
                let mut frames = [const { None }; FRAMES_PER_WRITE];
                for (frame, due) in frames.iter_mut().zip(&due[..length]) {
                    *frame = coded(*due);
                }
                Self::Many { frames, length }
            }
        }
    }

    fn as_slice(&self) -> &[Option<CodedFrame>] {
        match self {
            Self::None => &[],
            Self::One(frame) => slice::from_ref(frame),
            Self::Many { frames, length } => &frames[..*length],
        }
    }

    fn frames(&self) -> impl Iterator<Item = &CodedFrame> {
        self.as_slice().iter().flatten()
    }

    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.frames().flat_map(|frame| frame.bytes.iter().map(|piece| &**piece))
    }
}
