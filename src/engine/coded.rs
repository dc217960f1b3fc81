//! Fan-out to compressed streams: the same frames in the form that each decoder understands, most
//! of them shared with all other subscribers.

use std::{
    io::{ErrorKind, IoSlice},
    sync::Arc,
};

use super::{
    Engine, Transport,
    batch::{Batch, FRAMES_PER_WRITE, Frames, Given},
    codec::Codec,
    core::{Core, Slot},
    fanout::Written,
    topics::Topics,
};
use crate::{
    compress::Compressor,
    conn::{Output, Phase, Standing, Subscription},
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
        let result = match &batch.frames {
            [Some(only), None, ..] => transport.write(&only.bytes),
            _ => transport.write_vectored(&batch.slices()[..batch.length]),
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
        for CodedFrame { subscription, sequence, has_foreign_id, bytes } in
            batch.frames.iter().flatten()
        {
            if left == 0 {
                break;
            }
            if left < bytes.len() {
                conn.outbox.push_shared(bytes, left, &mut core.pool);
            }
            left = left.saturating_sub(bytes.len());
            codec.synced(subscription.topic, *sequence);
            given.add(*sequence, *has_foreign_id);
        }
        let is_all = given.frames == batch.length
            && given.frames < FRAMES_PER_WRITE
            && conn.outbox.is_empty();
        let standing = core.note_given(index, given);
        if is_all && standing == Standing::Even { Written::Nothing } else { Written::Some }
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
        for CodedFrame { subscription, sequence, has_foreign_id, bytes } in
            batch.frames.iter().flatten()
        {
            conn.outbox.push(bytes, &mut self.pool);
            codec.synced(subscription.topic, *sequence);
            given.add(*sequence, *has_foreign_id);
        }
        self.note_given(index, given);
        given.frames > 0
    }
}

/// A frame as one stream gets it.
struct CodedFrame {
    subscription: Subscription,
    sequence: u64,
    has_foreign_id: bool,
    bytes: Arc<[u8]>,
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
            let has_foreign_id = frame.has_foreign_id();
            coded.frames[coded.length] =
                Some(CodedFrame { subscription, sequence, has_foreign_id, bytes });
            coded.length += 1;
        }
        coded
    }

    fn slices(&self) -> [IoSlice<'_>; FRAMES_PER_WRITE] {
        self.frames
            .each_ref()
            .map(|frame| IoSlice::new(frame.as_ref().map_or(&[], |frame| &frame.bytes)))
    }
}
