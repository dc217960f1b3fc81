//! Compression state of streams: what each decoder has seen last, and therefore what the next bytes
//! may refer to. Nothing is written here.
//!
//! Streams have no compressor of their own. Events of topics are compressed once for all
//! subscribers, as a delta against the previous event; a stream only stores which event that was.
//! Events of a stream's own updater refer to the last bytes of that stream, which are kept
//! uncompressed.

use std::{iter, mem, num::NonZeroU64};

use slab::Slab;

use super::scratch::Scratch;
use crate::{
    compress::{
        Checksum, Compression, CompressionCounts, Compressor, Encoding, TextSum, concealed,
    },
    conn::{CodingIndex, TopicIndex},
    sse::Heartbeat,
    topic::{Compressible, Frame, Pieces},
};

/// The compressor shared by all streams, and the state of each compressed stream.
#[derive(Debug)]
pub(super) struct Coding {
    compressor: Compressor,
    streams: Slab<StreamCoding>,
    /// Compressed events on their way to a socket or outbox.
    out: Scratch,
    window_bytes_max: usize,
}

impl Coding {
    pub(super) fn new(settings: &Compression) -> Self {
        Self {
            compressor: Compressor::new(settings),
            streams: Slab::new(),
            out: Scratch::new(),
            window_bytes_max: settings.window_bytes_max,
        }
    }

    pub(super) fn set_stopwatch(&mut self, stopwatch: fn() -> u64) {
        self.compressor.set_stopwatch(stopwatch);
    }

    pub(super) fn stats(&self) -> CompressionCounts {
        self.compressor.stats()
    }

    /// Creates the state of a stream.
    pub(super) fn open(&mut self, encoding: Encoding, heartbeat: Heartbeat) -> CodingIndex {
        CodingIndex::new(self.streams.insert(StreamCoding::new(encoding, heartbeat)))
    }

    /// Forgets a stream.
    pub(super) fn close(&mut self, index: CodingIndex) {
        self.streams.remove(index.slot());
    }

    /// From now on, the stream also gets events from topics.
    pub(super) fn share(&mut self, index: CodingIndex) {
        self.streams[index.slot()].share();
    }

    /// Compresses a complete body.
    pub(super) fn whole(&mut self, encoding: Encoding, body: &[u8], out: &mut Vec<u8>) {
        self.compressor.whole(encoding, body, out);
    }

    /// The same, once for all clients: more work, fewer bytes.
    #[cold]
    pub(super) fn whole_for_all(&mut self, encoding: Encoding, body: &[u8]) -> Vec<u8> {
        self.compressor.whole_for_all(encoding, body)
    }

    /// The stream has left its last topic.
    pub(super) fn unshare(&mut self, index: CodingIndex) {
        self.streams[index.slot()].unshare();
    }

    /// Empties the buffer of compressed events.
    pub(super) fn begin(&mut self) {
        self.out.begin();
    }

    /// The same, and writes the opening bytes that every decoder needs. Call it after the hooks of
    /// the new stream have run: what they send to other streams goes through this buffer too.
    pub(super) fn begin_response(&mut self, index: CodingIndex) {
        let encoding = self.streams[index.slot()].encoding;
        self.compressor.open(encoding, self.window_bytes_max, self.out.begin_bytes());
        self.out.mark_whole();
    }

    /// The buffer of compressed events.
    pub(super) fn out(&mut self) -> &mut Scratch {
        &mut self.out
    }

    /// Compresses events of this stream alone, after what the buffer already holds.
    pub(super) fn add(&mut self, index: CodingIndex, events: &Scratch) -> &mut Scratch {
        let stream = &mut self.streams[index.slot()];
        for (compression, events) in events.parts().filter(|(_, events)| !events.is_empty()) {
            stream.private(&mut self.compressor, events, compression, self.out.bytes_mut());
        }
        self.out.mark_whole();
        &mut self.out
    }

    /// Appends a keep-alive.
    pub(super) fn keep_alive(&mut self, index: CodingIndex) {
        let stream = &mut self.streams[index.slot()];
        stream.keep_alive(&mut self.compressor, self.out.bytes_mut());
        self.out.mark_whole();
    }

    /// Appends the end of the compressed bytes of a finished stream. A dropped stream gets no such
    /// end: its decoder must detect the cut, like its HTTP client.
    pub(super) fn end(&mut self, index: CodingIndex) -> &mut Scratch {
        let StreamCoding { encoding, checksum, .. } = self.streams[index.slot()];
        Compressor::end(encoding, checksum, self.out.bytes_mut());
        self.out.mark_whole();
        &mut self.out
    }

    /// The bytes of a topic's event for this stream, with `after` as the previous event. The
    /// stream's state does not change: if the socket refuses the bytes, they are made again from
    /// the same pieces.
    pub(super) fn shared(
        &mut self,
        index: CodingIndex,
        frame: &Frame,
        topic: TopicIndex,
        after: Option<(TopicIndex, u64)>,
    ) -> Pieces {
        self.streams[index.slot()].shared(&mut self.compressor, frame, after, topic)
    }

    /// This topic's event has been given to the stream.
    pub(super) fn synced(&mut self, index: CodingIndex, topic: TopicIndex, frame: &Frame) {
        self.streams[index.slot()].synced(topic, frame);
    }
}

/// State of a compressed stream.
#[derive(Debug)]
struct StreamCoding {
    encoding: Encoding,
    heartbeat: Heartbeat,
    /// Keep-alives since the last event.
    keep_alives: u32,
    /// Checksum of the decoder's complete output; kept only for gzip.
    checksum: Checksum,
    state: State,
}

#[derive(Debug)]
enum State {
    /// A stream without topics: the last bytes of its decoder's output.
    Private { history: Vec<u8>, start: Start },
    /// A stream with topics.
    Shared {
        /// The last shared event.
        synced: Option<Synced>,
        /// What was sent to this stream alone since then.
        tail: Vec<u8>,
    },
}

/// The decoder state before the first event of a stream without history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// Right after the opening bytes, or after an earlier event of this kind.
    Opened,
    /// After events of topics. The decoder's memory of them must be reset first.
    AfterTopics,
}

/// An event of a topic, by its identity.
#[derive(Debug, Clone, Copy)]
struct Synced {
    topic: TopicIndex,
    identity: NonZeroU64,
}

impl StreamCoding {
    fn new(encoding: Encoding, heartbeat: Heartbeat) -> Self {
        let state = State::Private { history: Vec::new(), start: Start::Opened };
        Self { encoding, heartbeat, keep_alives: 0, checksum: Checksum::default(), state }
    }

    /// From now on, events come from topics too.
    fn share(&mut self) {
        if matches!(self.state, State::Private { .. }) {
            self.state = State::Shared { synced: None, tail: Vec::new() };
        }
    }

    /// The stream has left its last topic. From now on its events are compressed against each other
    /// again. Its history starts with the events sent to it alone since the last shared one, which
    /// are the last output of its decoder.
    fn unshare(&mut self) {
        if let State::Shared { tail, .. } = &mut self.state {
            let history = mem::take(tail);
            self.state = State::Private { history, start: Start::AfterTopics };
        }
    }

    /// Codes events of this stream alone.
    fn private(
        &mut self,
        compressor: &mut Compressor,
        events: &[u8],
        compression: Compressible,
        out: &mut Vec<u8>,
    ) {
        if self.has_checksum() {
            self.checksum.append(&TextSum::of(events));
        }
        let keep_alives = mem::take(&mut self.keep_alives) as usize;
        let heartbeat = self.heartbeat.bytes();
        match &mut self.state {
            State::Private { history, start } => {
                compressor.note_stored(history, heartbeat, keep_alives);
                if compression == Compressible::No {
                    return compressor.secret_private(self.encoding, history, events, out);
                }
                if history.is_empty() && *start == Start::AfterTopics {
                    out.extend_from_slice(compressor.reset(self.encoding));
                }
                *start = Start::Opened;
                compressor.delta_private(self.encoding, history, events, out);
            }
            State::Shared { synced, tail } => {
                compressor.raw(self.encoding, events, out);
                let tail_bytes = tail.len() + keep_alives * heartbeat.len() + events.len();
                if synced.is_some() && tail_bytes <= TAIL_BYTES_MAX {
                    tail.extend(iter::repeat_n(heartbeat, keep_alives).flatten());
                    match compression {
                        Compressible::Yes => tail.extend_from_slice(events),
                        Compressible::No => tail.extend_from_slice(&concealed(events)),
                    }
                } else {
                    *synced = None;
                    *tail = Vec::new();
                }
            }
        }
    }

    /// The bytes of a topic's event for this stream, with `after` as the event before it.
    fn shared(
        &self,
        compressor: &mut Compressor,
        frame: &Frame,
        after: Option<(TopicIndex, u64)>,
        topic: TopicIndex,
    ) -> Pieces {
        let State::Shared { synced, tail } = &self.state else {
            return frame.key(self.encoding, compressor);
        };
        let (last, tail, keep_alives) = match after {
            Some(last) => (Some(last), &[][..], 0),
            None => {
                let last = synced.map(|last| (last.topic, last.identity.get()));
                (last, &tail[..], self.keep_alives as usize)
            }
        };
        match last {
            Some((same, identity)) if same == topic && frame.follows(identity) => {
                frame.delta(self.encoding, compressor, tail, self.heartbeat, keep_alives)
            }
            _ => frame.key(self.encoding, compressor),
        }
    }

    /// Codes a keep-alive. It must decode to something: an empty block would reach neither a
    /// watchdog in the page nor clients of a proxy that decompresses. It is only counted here, so that a quiet stream owns no memory.
    fn keep_alive(&mut self, compressor: &mut Compressor, out: &mut Vec<u8>) {
        compressor.raw(self.encoding, self.heartbeat.bytes(), out);
        self.keep_alives = self.keep_alives.saturating_add(1);
        if self.has_checksum() {
            self.checksum.append(&TextSum::of(self.heartbeat.bytes()));
        }
    }

    /// This topic's event has been given to the stream.
    fn synced(&mut self, topic: TopicIndex, frame: &Frame) {
        let identity = NonZeroU64::new(frame.identity());
        let synced = identity.map(|identity| Synced { topic, identity });
        self.state = State::Shared { synced, tail: Vec::new() };
        self.keep_alives = 0;
        if self.has_checksum() {
            self.checksum.append(&frame.sum());
        }
    }

    fn has_checksum(&self) -> bool {
        self.encoding == Encoding::Gzip
    }
}

/// Above this, the next shared event is sent as a key instead of as a delta for this stream.
const TAIL_BYTES_MAX: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_is_part_of_the_contract() {
        assert!(size_of::<StreamCoding>() <= 56, "{} bytes", size_of::<StreamCoding>());
    }
}
