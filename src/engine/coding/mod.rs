//! The compressed side of streams: what each decoder has seen last, and so what the next bytes may
//! refer to. Nothing is written here.
//!
//! No stream has a compressor. Events of topics are compressed once, for all, as a delta against
//! the event before; a stream only remembers which event that was. Events of a stream's own
//! updater refer to the last bytes of that stream, which are kept as they are.

use std::mem;

use slab::Slab;

use super::scratch::Scratch;
use crate::{
    compress::{Compression, CompressionCounts, Compressor, Encoding, concealed},
    conn::{CodingIndex, TopicIndex},
    topic::{Allowed, Frame, Pieces},
};

/// The compressor that all streams share, and what is remembered of each compressed one.
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

    /// From now on, a stream is remembered.
    pub(super) fn open(&mut self, encoding: Encoding) -> CodingIndex {
        CodingIndex::new(self.streams.insert(StreamCoding::new(encoding)))
    }

    /// Forgets a stream.
    pub(super) fn close(&mut self, index: CodingIndex) {
        self.streams.remove(index.slot());
    }

    /// From now on, events come to the stream from topics too.
    pub(super) fn share(&mut self, index: CodingIndex) {
        self.streams[index.slot()].share();
    }

    /// Compresses a whole body.
    pub(super) fn whole(&mut self, encoding: Encoding, body: &[u8], out: &mut Vec<u8>) {
        self.compressor.whole(encoding, body, out);
    }

    /// The stream has left its last topic.
    pub(super) fn unshare(&mut self, index: CodingIndex) {
        self.streams[index.slot()].unshare();
    }

    /// Empties the buffer of compressed events.
    pub(super) fn begin(&mut self) {
        self.out.begin();
    }

    /// The same, and puts into it what every decoder needs first. Not before the hooks of the new
    /// stream have run: what they send to other streams goes through this buffer too.
    pub(super) fn begin_response(&mut self, index: CodingIndex) {
        let encoding = self.streams[index.slot()].encoding;
        self.compressor.open(encoding, self.window_bytes_max, self.out.begin_bytes());
        self.out.mark_whole();
    }

    /// The buffer of compressed events.
    pub(super) fn out(&mut self) -> &mut Scratch {
        &mut self.out
    }

    /// Compresses events of this stream alone, after what the buffer holds already.
    pub(super) fn add(&mut self, index: CodingIndex, events: &Scratch) -> &mut Scratch {
        let stream = &mut self.streams[index.slot()];
        for (compression, events) in events.parts().filter(|(_, events)| !events.is_empty()) {
            stream.private(&mut self.compressor, events, compression, self.out.bytes_mut());
        }
        self.out.mark_whole();
        &mut self.out
    }

    /// Puts the sign of life of a quiet stream into the buffer: a block that decodes to nothing,
    /// because a comment would move what later deltas refer to.
    pub(super) fn keep_alive(&mut self, index: CodingIndex) {
        let idle = self.compressor.idle(self.streams[index.slot()].encoding);
        self.out.begin_bytes().extend_from_slice(idle);
        self.out.mark_whole();
    }

    /// Appends what ends the coded bytes of a stream that has finished.
    pub(super) fn end(&mut self, index: CodingIndex) -> &mut Scratch {
        self.out.push_encoded(Compressor::end(self.streams[index.slot()].encoding));
        &mut self.out
    }

    /// The bytes of a topic's event for this stream, with `after` as the event before it. Nothing
    /// of the stream's state changes: what the socket then refuses is made again of the same pieces.
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
    pub(super) fn synced(&mut self, index: CodingIndex, topic: TopicIndex, sequence: u64) {
        self.streams[index.slot()].synced(topic, sequence);
    }
}

/// What is remembered of a compressed stream.
#[derive(Debug)]
struct StreamCoding {
    encoding: Encoding,
    state: State,
}

#[derive(Debug)]
enum State {
    /// A stream without topics: the last bytes its decoder has put out.
    Private { history: Vec<u8>, start: Start },
    /// A stream with topics.
    Shared {
        /// Topic and sequence of the last shared event.
        synced: Option<(TopicIndex, u64)>,
        /// What was sent to this stream alone since then.
        tail: Vec<u8>,
    },
}

/// Where the first event of a stream without history stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// Right after the opening bytes, or after an earlier event of this kind.
    Opened,
    /// After events of topics. What the decoder remembers of them must be reset first.
    AfterTopics,
}

impl StreamCoding {
    fn new(encoding: Encoding) -> Self {
        let start = Start::Opened;
        Self { encoding, state: State::Private { history: Vec::new(), start } }
    }

    /// From now on, events come from topics too.
    fn share(&mut self) {
        if matches!(self.state, State::Private { .. }) {
            self.state = State::Shared { synced: None, tail: Vec::new() };
        }
    }

    /// The stream has left its last topic. From now on its events are compressed against each other
    /// again. The events sent to it alone since the last shared one are the last output of its
    /// decoder, so its history starts with them.
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
        compression: Allowed,
        out: &mut Vec<u8>,
    ) {
        match &mut self.state {
            State::Private { history, start } => match compression {
                Allowed::Yes => {
                    if history.is_empty() && *start == Start::AfterTopics {
                        out.extend_from_slice(compressor.reset(self.encoding));
                    }
                    *start = Start::Opened;
                    compressor.delta_private(self.encoding, history, events, out);
                }
                Allowed::No => compressor.secret_private(self.encoding, history, events, out),
            },
            State::Shared { synced, tail } => {
                compressor.raw(self.encoding, events, out);
                if synced.is_some() && tail.len() + events.len() <= TAIL_BYTES_MAX {
                    match compression {
                        Allowed::Yes => tail.extend_from_slice(events),
                        Allowed::No => tail.extend_from_slice(&concealed(events)),
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
        let synced = after.or(*synced);
        let tail: &[u8] = if after.is_some() { &[] } else { tail };
        match synced {
            Some((same, sequence)) if same == topic && frame.follows(sequence) => {
                frame.delta(self.encoding, compressor, tail)
            }
            _ => frame.key(self.encoding, compressor),
        }
    }

    /// This topic's event has been given to the stream.
    fn synced(&mut self, topic: TopicIndex, frame: u64) {
        self.state = State::Shared { synced: Some((topic, frame)), tail: Vec::new() };
    }
}

/// Above this, the next shared event is sent as a key instead of as a delta of the stream's own.
const TAIL_BYTES_MAX: usize = 4 * 1024;
