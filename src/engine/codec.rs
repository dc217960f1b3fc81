//! The compressed side of a stream: what its decoder has seen last, and so what the next bytes
//! may refer to.
//!
//! No stream has a compressor. Events of topics are compressed once, for all, as a delta against
//! the event before; a stream only remembers which event that was. Events of a stream's own
//! updater refer to the last bytes of that stream, which are kept as they are.

use std::{borrow::Cow, iter, mem, num::NonZeroU64, sync::Arc};

use super::{
    core::{Core, Slot},
    output::Output,
    sse::{Compress, Sse},
};
use crate::{
    compress::{Checksum, Compressor, Encoding, TextSum, concealed, negotiate},
    conn::{Ending, NO_CODEC, Phase, Streaming},
    http::{Reply, Request, Version},
    sse::KEEP_ALIVE,
    topic::{Allowed, Frame},
};

/// What is remembered of a compressed stream.
#[derive(Debug)]
pub(super) struct Codec {
    pub(super) encoding: Encoding,
    /// Keep-alives since the last event.
    keep_alives: u32,
    /// Of all that the decoder has put out; kept for gzip alone.
    checksum: Checksum,
    state: State,
}

#[derive(Debug)]
enum State {
    /// A stream without topics: the last bytes its decoder has put out.
    Private { history: Vec<u8> },
    /// A stream with topics.
    Shared {
        /// The last shared event.
        synced: Option<Synced>,
        /// What was sent to this stream alone since then.
        tail: Vec<u8>,
    },
}

/// An event of a topic, by its sequence; the first one is 1.
#[derive(Debug, Clone, Copy)]
struct Synced {
    topic: u32,
    sequence: NonZeroU64,
}

impl Codec {
    pub(super) fn new(encoding: Encoding) -> Self {
        let state = State::Private { history: Vec::new() };
        Self { encoding, keep_alives: 0, checksum: Checksum::default(), state }
    }

    /// From now on, events come from topics too.
    pub(super) fn share(&mut self) {
        if matches!(self.state, State::Private { .. }) {
            self.state = State::Shared { synced: None, tail: Vec::new() };
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
        if self.has_checksum() {
            self.checksum.append(&TextSum::of(events));
        }
        let keep_alives = mem::take(&mut self.keep_alives) as usize;
        match &mut self.state {
            State::Private { history } => {
                compressor.note_stored(history, KEEP_ALIVE, keep_alives);
                match compression {
                    Allowed::Yes => compressor.delta_private(self.encoding, history, events, out),
                    Allowed::No => compressor.secret_private(self.encoding, history, events, out),
                }
            }
            State::Shared { synced, tail } => {
                compressor.raw(self.encoding, events, out);
                let tail_bytes = tail.len() + keep_alives * KEEP_ALIVE.len() + events.len();
                if synced.is_some() && tail_bytes <= TAIL_BYTES_MAX {
                    tail.extend(iter::repeat_n(KEEP_ALIVE, keep_alives).flatten());
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
    pub(super) fn shared(
        &self,
        compressor: &mut Compressor,
        frame: &Frame,
        after: Option<(u32, u64)>,
        topic: u32,
    ) -> Arc<[u8]> {
        let State::Shared { synced, tail } = &self.state else {
            return frame.key(self.encoding, compressor);
        };
        let (last, tail, keep_alives) = match after {
            Some(last) => (Some(last), &[][..], 0),
            None => {
                let last = synced.map(|last| (last.topic, last.sequence.get()));
                (last, &tail[..], self.keep_alives as usize)
            }
        };
        match last {
            Some((same, sequence)) if same == topic && frame.follows(sequence) => {
                frame.delta(self.encoding, compressor, tail, keep_alives)
            }
            _ => frame.key(self.encoding, compressor),
        }
    }

    /// Codes the comment that keeps a quiet stream alive. It is one for everybody behind the decoder
    /// too: a block that decodes to nothing would reach neither a watchdog in the page nor what is
    /// behind a proxy that decompresses. Only counted here, so that a quiet stream owns no memory.
    pub(super) fn keep_alive(&mut self, compressor: &mut Compressor, out: &mut Vec<u8>) {
        compressor.raw(self.encoding, KEEP_ALIVE, out);
        self.keep_alives = self.keep_alives.saturating_add(1);
        if self.has_checksum() {
            self.checksum.append(&TextSum::of(KEEP_ALIVE));
        }
    }

    /// What the stream has to be told of a frame once it was given it; see [`synced`](Self::synced).
    pub(super) fn sum_of(&self, frame: &Frame) -> Option<TextSum> {
        self.has_checksum().then(|| frame.sum())
    }

    /// This topic's event has been given to the stream.
    pub(super) fn synced(&mut self, topic: u32, frame: u64, sum: Option<TextSum>) {
        let synced = NonZeroU64::new(frame).map(|sequence| Synced { topic, sequence });
        self.state = State::Shared { synced, tail: Vec::new() };
        self.keep_alives = 0;
        if let Some(sum) = sum {
            self.checksum.append(&sum);
        }
    }

    /// Appends what ends the coded bytes of a stream that is finished. One that is dropped gets no
    /// such end: for its decoder it was cut, as it was for HTTP.
    pub(super) fn end(&self, output: &mut Output) {
        Compressor::end(self.encoding, self.checksum, output.bytes_mut());
        output.mark_whole();
    }

    fn has_checksum(&self) -> bool {
        self.encoding == Encoding::Gzip
    }
}

/// Which buffer holds the events to be compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Scratch,
    Aside,
}

impl Core {
    /// Begins the compressed bytes of a response: what every decoder needs first.
    pub(super) fn open_codec(&mut self, index: u32, encoding: Encoding) {
        let Some(Slot::Conn(conn)) = self.slots.get_mut(index as usize) else { return };
        if encoding == Encoding::Identity {
            return;
        }
        let codec = self.codecs.insert(Codec::new(encoding));
        conn.codec = u32::try_from(codec).unwrap_or(NO_CODEC);
        let window_bytes = self.config.compression.window_bytes_max;
        self.compressor.open(encoding, window_bytes, self.coded.begin_bytes());
        self.coded.mark_whole();
    }

    /// Puts the comment that keeps a quiet stream alive into the buffer that fits the stream.
    pub(super) fn prepare_keep_alive(&mut self, codec: u32) {
        match self.codecs.get_mut(codec as usize) {
            None => {
                self.scratch.begin();
                self.scratch.push_keep_alive();
            }
            Some(codec) => {
                codec.keep_alive(&mut self.compressor, self.coded.begin_bytes());
                self.coded.mark_whole();
            }
        }
    }

    /// Queues what ends the coded bytes of a stream that has been finished.
    pub(super) fn end_codec(&mut self, index: u32) {
        let Some(Slot::Conn(conn)) = self.slots.get_mut(index as usize) else { return };
        let Phase::Streaming(Streaming { ending: Some(Ending::Finish), .. }) = conn.phase else {
            return;
        };
        if let Some(codec) = self.codecs.get(conn.codec as usize) {
            self.coded.begin();
            codec.end(&mut self.coded);
            conn.outbox.push(self.coded.seal(conn.framing), &mut self.pool);
        }
    }

    /// Forgets what was remembered of a compressed stream.
    pub(super) fn close_codec(&mut self, index: u32) {
        if let Some(Slot::Conn(conn)) = self.slots.get_mut(index as usize)
            && conn.codec != NO_CODEC
        {
            let codec = mem::replace(&mut conn.codec, NO_CODEC);
            self.codecs.remove(codec as usize);
        }
    }

    /// What a stream will be compressed with: what the client accepts and the server prefers.
    /// HTTP/1.0 streams, which end with the connection, are left alone.
    pub(super) fn encoding_of(&self, request: &Request, sse: &Sse) -> Encoding {
        if sse.compress == Compress::Off || request.version() == Version::Http10 {
            return Encoding::Identity;
        }
        negotiate(accept_encoding(request).as_deref(), &self.config.compression.preference)
    }

    /// Compresses the body of a reply if that pays and the client accepts it.
    pub(super) fn compress_reply(&mut self, reply: Reply, request: &Request) -> Reply {
        let settings = &self.config.compression;
        if !settings.is_on() || !reply.is_worth_compressing(settings.reply_bytes_min) {
            return reply;
        }
        let encoding = negotiate(accept_encoding(request).as_deref(), &settings.preference);
        if encoding == Encoding::Identity {
            return reply.coded(None);
        }
        let mut coded = Vec::new();
        self.compressor.whole(encoding, reply.body(), &mut coded);
        reply.coded(Some((encoding.as_str(), coded)))
    }

    /// The header lines that tell of the coding: that there may be several, and which one it is.
    pub(super) fn coding_lines(&self, encoding: Encoding) -> [&'static [u8]; 2] {
        let vary: &[u8] = match self.config.compression.is_on() {
            true => b"Vary: Accept-Encoding\r\n",
            false => b"",
        };
        [vary, encoding.header_line()]
    }

    /// Compresses the events in `source` behind what `coded` holds already.
    pub(super) fn code(&mut self, codec: u32, source: Source) {
        let Some(codec) = self.codecs.get_mut(codec as usize) else { return };
        let source = match source {
            Source::Scratch => &self.scratch,
            Source::Aside => &self.aside,
        };
        for (compression, events) in source.parts() {
            if !events.is_empty() {
                codec.private(&mut self.compressor, events, compression, self.coded.bytes_mut());
            }
        }
        self.coded.mark_whole();
    }
}

/// The field's value; several fields of the name are one list (RFC 9110 section 5.3).
fn accept_encoding(request: &Request) -> Option<Cow<'_, str>> {
    let named = request.headers().filter(|(name, _)| name.eq_ignore_ascii_case("accept-encoding"));
    let texts = named.filter_map(|(_, value)| std::str::from_utf8(value).ok());
    texts.map(Cow::Borrowed).reduce(|list, field| Cow::Owned(format!("{list},{field}")))
}

/// Above this, the next shared event is sent as a key instead of as a delta of the stream's own.
const TAIL_BYTES_MAX: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_is_part_of_the_contract() {
        assert!(size_of::<Codec>() <= 56, "{} bytes", size_of::<Codec>());
    }
}
