//! The reactor's scratch buffer: events of one tick, framed in place.

use std::{
    fmt::Display,
    hash::{DefaultHasher, Hasher},
    ops::Range,
};

use super::memory::KEPT_BYTES;
use crate::{
    http::{CHUNK_END, LAST_CHUNK, StreamFraming, chunk_header},
    sse::{Encode, EventBuffer, EventName},
    topic::Compressible,
};

/// Events that will leave as one chunk.
///
/// The chunk's header precedes bytes whose number is known only afterwards, so room is reserved for
/// the longest header. The actual one is then written right-aligned, and the complete chunk is one
/// slice for one `write`.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    buffer: EventBuffer,
    /// End of the last complete event. Bytes after it were left by a panic.
    whole_bytes: usize,
    /// Ranges of events that must not be compressed, in order; nearly always empty.
    uncompressed: Vec<Range<usize>>,
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self { buffer: EventBuffer::new(), whole_bytes: 0, uncompressed: Vec::new() }
    }

    pub(super) fn begin(&mut self) {
        self.buffer.clear();
        let bytes = self.buffer.bytes_mut();
        // One huge tick must not keep its memory while others of this turn run.
        if bytes.capacity() > KEPT_BYTES {
            bytes.shrink_to(KEPT_BYTES);
        }
        bytes.extend_from_slice(&[0; GAP_BYTES]);
        self.whole_bytes = GAP_BYTES;
        self.uncompressed.clear();
    }

    /// Frees the memory of a large turn, and forgets its events.
    pub(super) fn release_large_buffers(&mut self) {
        let ranges_bytes = self.uncompressed.capacity() * size_of::<Range<usize>>();
        if self.buffer.capacity() > KEPT_BYTES || ranges_bytes > KEPT_BYTES {
            *self = Self::new();
        }
    }

    pub(super) fn push(&mut self, event: &impl Encode) {
        self.push_with(event, Compressible::Yes);
    }

    /// The same for an event that may have to stay uncompressed.
    pub(super) fn push_with(&mut self, event: &impl Encode, compression: Compressible) {
        // A panic caught by the sender may have left an incomplete event.
        self.buffer.truncate(self.whole_bytes);
        let start = self.whole_bytes;
        self.buffer.push(event);
        self.whole_bytes = self.buffer.len();
        if compression == Compressible::No {
            self.uncompressed.push(start..self.whole_bytes);
        }
    }

    /// Appends events that were encoded elsewhere.
    pub(super) fn push_encoded(&mut self, events: &[u8]) {
        self.buffer.truncate(self.whole_bytes);
        self.buffer.bytes_mut().extend_from_slice(events);
        self.whole_bytes = self.buffer.len();
    }

    /// Appends all events of a buffer.
    pub(super) fn push_all(&mut self, events: &EventBuffer) {
        self.buffer.truncate(self.whole_bytes);
        self.buffer.push_all(events);
        self.whole_bytes = self.buffer.len();
    }

    /// Appends an id without an event, or with an event that has no data.
    pub(super) fn push_bookmark(&mut self, id: impl Display, event: Option<&EventName<'_>>) {
        self.buffer.truncate(self.whole_bytes);
        self.buffer.push_bookmark(id, event);
        self.whole_bytes = self.buffer.len();
    }

    /// Appends the bytes written by `copy`, which may have to stay uncompressed.
    pub(super) fn push_copied(
        &mut self,
        compression: Compressible,
        copy: impl FnOnce(&mut Vec<u8>),
    ) {
        self.buffer.truncate(self.whole_bytes);
        let start = self.whole_bytes;
        copy(self.buffer.bytes_mut());
        self.whole_bytes = self.buffer.len();
        if compression == Compressible::No {
            self.uncompressed.push(start..self.whole_bytes);
        }
    }

    /// True if an event may contain its sender's own id.
    pub(super) fn has_id(&self) -> bool {
        self.buffer.has_id()
    }

    /// Clears the buffer and returns the bytes, for appending compressed events.
    pub(super) fn begin_bytes(&mut self) -> &mut Vec<u8> {
        self.begin();
        self.buffer.bytes_mut()
    }

    /// The bytes, to append more. Followed by [`mark_whole`](Self::mark_whole).
    pub(super) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        self.buffer.bytes_mut()
    }

    /// Marks everything so far as complete.
    pub(super) fn mark_whole(&mut self) {
        self.whole_bytes = self.buffer.len();
    }

    /// The complete events, without framing.
    pub(super) fn events(&self) -> &[u8] {
        &self.buffer.as_bytes()[GAP_BYTES..self.whole_bytes]
    }

    /// The same in parts, each with whether it may be compressed.
    pub(super) fn parts(&self) -> impl Iterator<Item = (Compressible, &[u8])> {
        let mut at = GAP_BYTES;
        let end = self.whole_bytes..self.whole_bytes;
        self.uncompressed.iter().cloned().chain([end]).flat_map(move |uncompressed| {
            let before = at..uncompressed.start;
            at = uncompressed.end;
            [(Compressible::Yes, before), (Compressible::No, uncompressed)]
                .map(|(compression, range)| (compression, &self.buffer.as_bytes()[range]))
        })
    }

    /// A hash of the events after the first `start` bytes of [`events`](Self::events), to compare
    /// the outputs of two ticks.
    pub(super) fn hash_from(&self, start: usize) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write(self.events().get(start..).unwrap_or_default());
        hasher.finish()
    }

    /// Discards all events after the first `events_bytes` bytes of [`events`](Self::events).
    pub(super) fn cut(&mut self, events_bytes: usize) {
        self.whole_bytes = self.whole_bytes.min(GAP_BYTES + events_bytes);
        self.uncompressed.retain(|range| range.end <= self.whole_bytes);
        if self.events().is_empty() {
            self.buffer.truncate(GAP_BYTES);
            self.buffer.forget_id();
        }
    }

    /// The bytes to write: nothing when there are no events, because an empty chunk would end the
    /// body.
    pub(super) fn seal(&mut self, framing: StreamFraming) -> &[u8] {
        self.frame(framing, &[])
    }

    /// The same, with the end of the stream after the events.
    pub(super) fn seal_last(&mut self, framing: StreamFraming) -> &[u8] {
        self.frame(framing, LAST_CHUNK)
    }

    fn frame(&mut self, framing: StreamFraming, behind: &[u8]) -> &[u8] {
        let length = self.events().len();
        self.buffer.truncate(self.whole_bytes);
        let bytes = self.buffer.bytes_mut();
        if framing == StreamFraming::UntilClose {
            return &bytes[GAP_BYTES..];
        }
        let mut start = GAP_BYTES;
        if length > 0 {
            let mut header = [0; GAP_BYTES];
            let header_bytes = chunk_header(length, &mut header);
            start -= header_bytes;
            bytes[start..GAP_BYTES].copy_from_slice(&header[..header_bytes]);
            bytes.extend_from_slice(CHUNK_END);
        }
        bytes.extend_from_slice(behind);
        &bytes[start..]
    }
}

/// The longest chunk header: 16 hexadecimal digits and CR LF.
const GAP_BYTES: usize = 18;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_one_chunk_with_the_shortest_header() {
        let mut output = Scratch::new();
        output.begin();
        output.push(&"one");
        output.push(&"two");
        assert_eq!(output.seal(StreamFraming::Chunked), b"16\r\ndata: one\n\ndata: two\n\n\r\n");
        output.begin();
        output.push(&"x".repeat(300));
        assert!(output.seal(StreamFraming::Chunked).starts_with(b"134\r\ndata: xxx"));
    }

    #[test]
    fn an_event_that_panics_half_way_is_cut_off() {
        struct Broken;
        impl Encode for Broken {
            fn encode(&self, out: &mut EventBuffer) {
                out.data("half an event");
                panic!("on purpose");
            }
        }
        let mut output = Scratch::new();
        output.begin();
        output.push(&"whole");
        let broken = std::panic::AssertUnwindSafe(|| output.push_with(&Broken, Compressible::No));
        assert!(std::panic::catch_unwind(broken).is_err());
        assert_eq!(output.parts().filter(|(_, events)| !events.is_empty()).count(), 1);
        assert_eq!(output.seal(StreamFraming::UntilClose), b"data: whole\n\n");
    }

    #[test]
    fn uncompressed_ranges_are_kept_apart() {
        let mut output = Scratch::new();
        output.begin();
        for (event, compression) in
            [("a", Compressible::Yes), ("b", Compressible::No), ("c", Compressible::No)]
        {
            output.push_with(&event, compression);
        }
        let parts = |output: &Scratch| -> Vec<(Compressible, String)> {
            let parts = output.parts().filter(|(_, events)| !events.is_empty());
            parts
                .map(|(compression, events)| (compression, String::from_utf8_lossy(events).into()))
                .collect()
        };
        let [a, b, c] = ["a", "b", "c"].map(|text| format!("data: {text}\n\n"));
        let all = [(Compressible::Yes, a), (Compressible::No, b), (Compressible::No, c)];
        assert_eq!(parts(&output), all);
        output.cut("data: a\n\ndata: b\n\n".len());
        assert_eq!(parts(&output), all[..2]);
        output.push(&"a");
        assert_eq!(parts(&output)[2], all[0]);
    }

    #[test]
    fn no_events_are_no_chunk_because_an_empty_chunk_ends_the_stream() {
        let mut output = Scratch::new();
        output.begin();
        assert_eq!(output.seal(StreamFraming::Chunked), b"");
        output.begin();
        assert_eq!(output.seal_last(StreamFraming::Chunked), b"0\r\n\r\n");
    }

    #[test]
    fn http_1_0_gets_the_bare_bytes() {
        let mut output = Scratch::new();
        output.begin();
        output.push(&"one");
        assert_eq!(output.seal_last(StreamFraming::UntilClose), b"data: one\n\n");
    }
}
