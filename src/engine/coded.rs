//! Fan-out to compressed streams: the same frames in the form that each decoder understands, most
//! of them shared with all other subscribers.

use std::io::ErrorKind;

use super::{
    Engine, Transport,
    batch::{Batch, FRAMES_PER_WRITE, Frames, Given, io_slices},
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
        if batch.length == 0 {
            return Written::Nothing;
        }
        let Some(transport) = &mut self.transports[index as usize] else { return Written::Nothing };
        let only = match &batch.frames {
            [Some(only), None, ..] => only.bytes.contiguous(0..only.bytes.len()),
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
        for CodedFrame { subscription, sequence, bytes } in batch.frames.iter().flatten() {
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
        let is_all = given.frames == batch.length
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
        for CodedFrame { subscription, sequence, bytes } in batch.frames.iter().flatten() {
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
#[derive(Default)]
struct CodedBatch {
    frames: [Option<CodedFrame>; FRAMES_PER_WRITE],
    length: usize,
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
        let mut coded = Self::default();
        let mut after = None;
        let batch = Batch::gather(topics, subscriptions, frames);
        for (frame, subscription) in batch.as_slice() {
            let bytes = codec.shared(compressor, frame, after, subscription.topic);
            let (subscription, sequence) = (*subscription, frame.sequence);
            after = Some((subscription.topic, sequence));
            coded.frames[coded.length] = Some(CodedFrame { subscription, sequence, bytes });
            coded.length += 1;
        }
        coded
    }

    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.frames.iter().flatten().flat_map(|frame| frame.bytes.iter().map(|piece| &**piece))
    }
}
