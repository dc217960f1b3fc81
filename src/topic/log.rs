//! The log of one topic: frames in order, a size limit, and the meaning of cursors.

mod counts;
mod end;
mod forms;
mod past;
mod placed;

pub(crate) use placed::{Arrival, Backlog, Loss, Lost, Placed};

use std::{borrow::Cow, cell::OnceCell, collections::VecDeque, fmt::Display, ops::Range};

use forms::Forms;

use super::{
    Continues, History, Pieces, Point, Retain, Series, TopicOptions,
    ids::{copy_with_ids, points},
};
use crate::http::{CHUNK_END, StreamFraming, chunk_header};
use crate::sse::{each_event, has_id, replace_id};

/// One published event, encoded and framed; the bytes are shared by all subscribers.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// Its sequence number, in the series of its topic. A cursor is the sequence of the last frame
    /// seen.
    pub(crate) sequence: u64,
    pub(crate) series: Series,
    /// Chunk header, event, CR LF.
    pub(crate) bytes: Pieces,
    header_bytes: u8,
    /// Ids chosen by the publisher, and the part of the frame that each one covers.
    own_ids: Box<[(Point, Box<str>)]>,
    /// It has ids that are not tracked, because its topic has no history.
    has_foreign_id: bool,
    /// The previous event of its topic, kept as long as a delta may be made against it.
    previous: Option<Previous>,
    compression: Compressible,
    continues: Continues,
    /// Compressed forms, made when the first subscriber needs them, then shared.
    forms: OnceCell<Box<Forms>>,
}

/// An earlier frame's bytes.
#[derive(Debug, Clone)]
pub(crate) struct Previous {
    identity: u64,
    bytes: Pieces,
    header_bytes: u8,
}

/// Whether an event may be compressed, and used as the base of a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compressible {
    Yes,
    No,
}

/// The frames of one topic that may still be needed, oldest first.
#[derive(Debug)]
pub(crate) struct Log {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// Number of frames with the publisher's own ids.
    with_own_ids: usize,
    /// Everything up to this sequence is gone, or older than the topic.
    lost_up_to: u64,
    /// The sequence of the last event of a finished topic.
    end: Option<u64>,
}

/// What a client has seen, according to its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastSeen {
    /// Everything up to this sequence, in all topics.
    Sequence(u64),
    /// An id that is unknown here, or no longer known.
    Unknown,
}

/// Where a client that has seen events before resumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resume {
    /// Right after what it has seen.
    At(u64),
    /// What it has missed is no longer known; it resumes at this cursor, after a gap event.
    Gap(u64),
}

impl Frame {
    /// Frames the encoded `events`. With `epoch`, each event without its own id gets one made of
    /// the epoch and the sequence.
    pub(crate) fn new(
        sequence: u64,
        events: &[u8],
        epoch: Option<&str>,
        scratch: &mut Vec<u8>,
    ) -> Self {
        scratch.clear();
        let (mut own_ids, mut has_foreign_id) = (Vec::new(), false);
        match epoch {
            Some(epoch) => copy_with_ids(sequence, events, epoch, &mut own_ids, scratch),
            None => {
                has_foreign_id = has_id(events);
                scratch.extend_from_slice(events);
            }
        }
        let (bytes, header_bytes) = chunk(scratch);
        Self {
            sequence,
            series: Series::Local,
            bytes,
            header_bytes,
            own_ids: own_ids.into(),
            has_foreign_id,
            previous: None,
            compression: Compressible::Yes,
            continues: Continues::Yes,
            forms: OnceCell::new(),
        }
    }

    /// Allows a delta against the previous event.
    pub(crate) fn with_previous(mut self, previous: Option<Previous>) -> Self {
        self.previous = previous;
        self
    }

    /// Sends this event uncompressed, and lets no other refer to it.
    pub(crate) fn uncompressed(mut self) -> Self {
        self.compression = Compressible::No;
        self
    }

    /// This event as the base of the next delta; `None` if nothing may refer to it, or if it is too
    /// large.
    pub(crate) fn as_previous(&self, window_bytes: usize) -> Option<Previous> {
        let may_be = self.compression == Compressible::Yes && self.bytes.len() < window_bytes;
        may_be.then(|| Previous {
            identity: self.identity(),
            bytes: self.bytes.clone(),
            header_bytes: self.header_bytes,
        })
    }

    /// A number that no frame of another topic has, and none of this topic before or after. Never
    /// zero.
    pub(crate) fn identity(&self) -> u64 {
        match self.series {
            Series::Local => self.sequence,
            Series::Spanning => self.sequence | 1 << 63,
        }
    }

    /// True if a delta of this event refers to the event with this identity.
    pub(crate) fn follows(&self, identity: u64) -> bool {
        self.previous.as_ref().is_some_and(|previous| previous.identity == identity)
    }

    /// Its events, encoded.
    pub(crate) fn events(&self) -> Cow<'_, [u8]> {
        self.bytes.joined(events_in(&self.bytes, self.header_bytes))
    }

    /// Number of bytes for a stream of this framing.
    pub(crate) fn len(&self, framing: StreamFraming) -> usize {
        self.range(framing).len()
    }

    /// These bytes, if they are in one piece, which is nearly always the case.
    pub(crate) fn contiguous(&self, framing: StreamFraming) -> Option<&[u8]> {
        let bytes = self.bytes.only()?;
        match framing {
            StreamFraming::Chunked => Some(bytes),
            StreamFraming::UntilClose => Some(&bytes[self.range(framing)]),
        }
    }

    /// These bytes after the first `skipped_bytes`, piece by piece.
    pub(crate) fn slices(
        &self,
        framing: StreamFraming,
        skipped_bytes: usize,
    ) -> impl Iterator<Item = &[u8]> {
        let range = self.range(framing);
        self.bytes.slices(range.start + skipped_bytes..range.end)
    }

    /// Copies the events after the first `seen`, for one stream alone.
    pub(crate) fn copy_events(&self, seen: u32, out: &mut Vec<u8>) {
        each_event(&self.events()).skip(seen as usize).for_each(|it| out.extend_from_slice(it));
    }

    /// The same with other ids: `id_at` makes one from the part of the frame that a client has
    /// seen.
    pub(crate) fn copy_events_with<I: Display>(
        &self,
        seen: u32,
        mut id_at: impl FnMut(Point) -> I,
        out: &mut Vec<u8>,
    ) {
        for (point, event) in points(self.sequence, &self.events()).skip(seen as usize) {
            match point {
                Some(point) => replace_id(event, id_at(point), out),
                None => out.extend_from_slice(event),
            }
        }
    }

    pub(crate) fn compression(&self) -> Compressible {
        self.compression
    }

    /// True if the id of this event gives no position to a reconnecting client.
    pub(crate) fn has_foreign_id(&self) -> bool {
        self.has_foreign_id
    }

    fn range(&self, framing: StreamFraming) -> Range<usize> {
        match framing {
            StreamFraming::Chunked => 0..self.bytes.len(),
            StreamFraming::UntilClose => events_in(&self.bytes, self.header_bytes),
        }
    }
}

impl Previous {
    fn events(&self) -> Cow<'_, [u8]> {
        self.bytes.joined(events_in(&self.bytes, self.header_bytes))
    }
}

/// Frames bytes as one chunk, and returns the length of its header. Never called with empty bytes:
/// an empty chunk would end the stream.
fn chunk(bytes: &[u8]) -> (Pieces, u8) {
    let mut header = [0; 18];
    let header_bytes = chunk_header(bytes.len(), &mut header);
    let framed = [&header[..header_bytes], bytes, CHUNK_END].concat();
    (framed.into(), header_bytes as u8)
}

/// The range of the events in a chunk with a header of this length.
fn events_in(chunk: &Pieces, header_bytes: u8) -> Range<usize> {
    header_bytes.into()..chunk.len() - CHUNK_END.len()
}

impl Log {
    /// An empty log that starts after `sequence`.
    pub(crate) fn new(sequence: u64) -> Self {
        let (frames, lost_up_to) = (VecDeque::new(), sequence);
        Self { frames, bytes: 0, with_own_ids: 0, lost_up_to, end: None }
    }

    /// Bytes of all frames.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn push(&mut self, frame: Frame) {
        debug_assert!(frame.sequence > self.last_sequence(), "sequences grow");
        self.bytes += frame.bytes.len();
        self.with_own_ids += usize::from(!frame.own_ids.is_empty());
        self.end = frame.is_last().then_some(frame.sequence);
        self.frames.push_back(frame);
    }

    /// The newest frame, as the base of the next delta.
    pub(crate) fn newest(&self, window_bytes: usize) -> Option<Previous> {
        self.frames.back().and_then(|frame| frame.as_previous(window_bytes))
    }

    /// The sequence of the newest frame; while the log is empty, of its start.
    pub(crate) fn last_sequence(&self) -> u64 {
        self.frames.back().map_or(self.lost_up_to, |frame| frame.sequence)
    }

    /// True when frames after `cursor` are gone.
    pub(crate) fn has_passed_by(&self, cursor: u64) -> bool {
        cursor < self.lost_up_to
    }

    /// The cursor before the oldest kept frame.
    pub(crate) fn oldest_cursor(&self) -> u64 {
        self.lost_up_to
    }

    /// The cursor before the newest of the frames up to `last`.
    pub(crate) fn newest_cursor(&self, last: u64) -> u64 {
        let known = self.frames.partition_point(|frame| frame.sequence <= last);
        let newest = known.checked_sub(1).map(|place| self.frames[place].sequence);
        newest.map_or(self.lost_up_to, |sequence| (sequence - 1).max(self.lost_up_to))
    }

    /// The newest frame, if it is the only one after `cursor`, which is nearly always the case.
    pub(crate) fn only_after(&self, cursor: u64) -> Option<&Frame> {
        let newest = self.frames.back().filter(|frame| frame.sequence > cursor)?;
        let before = self.frames.len().checked_sub(2).map(|place| self.frames[place].sequence);
        before.is_none_or(|before| before <= cursor).then_some(newest)
    }

    /// The frames after `cursor`, oldest first.
    pub(crate) fn after(&self, cursor: u64) -> impl Iterator<Item = &Frame> {
        // Nearly all cursors are at the end, or one before it.
        let seen = match self.frames.len() {
            0 | 1 => 0,
            length if self.frames[length - 2].sequence <= cursor => length - 1,
            _ => self.frames.partition_point(|frame| frame.sequence <= cursor),
        };
        self.frames.range(seen..).filter(move |frame| frame.sequence > cursor)
    }

    /// Discards the oldest frames while the log exceeds its limits, but none after `offered`: those
    /// have not been offered to every subscriber yet.
    pub(crate) fn evict(&mut self, options: &TopicOptions, offered: u64) {
        while self.frames.len() > 1
            && (self.frames.len() > options.log_events || self.bytes > options.log_bytes)
            && self.frames[0].sequence <= offered
        {
            self.pop_front();
        }
        self.shrink_after_a_burst();
    }

    /// True when frames are kept only for slow subscribers.
    pub(crate) fn waits_for_slow_subscribers(&self, options: &TopicOptions) -> bool {
        options.history == History::Off && self.frames.len() > self.frames_kept_anyway(options)
    }

    /// Discards frames that every subscriber has seen, unless they are history or retained.
    pub(crate) fn trim(&mut self, seen_by_all: u64, options: &TopicOptions) {
        if options.history == History::On {
            return;
        }
        let kept = self.frames_kept_anyway(options);
        while self.frames.len() > kept && self.frames[0].sequence <= seen_by_all {
            self.pop_front();
        }
        self.shrink_after_a_burst();
    }

    /// Frees room for frames once three quarters of it are unused. The cost is a few moves per
    /// frame added or removed.
    fn shrink_after_a_burst(&mut self) {
        if self.frames.capacity() > IDLE_FRAMES.max(4 * self.frames.len()) {
            self.frames.shrink_to(IDLE_FRAMES.max(2 * self.frames.len()));
        }
    }

    /// Where a client that has seen events before resumes.
    pub(crate) fn resume(&self, last_seen: LastSeen) -> Resume {
        match last_seen {
            LastSeen::Unknown => Resume::Gap(self.last_sequence()),
            LastSeen::Sequence(sequence) if self.has_passed_by(sequence) => {
                Resume::Gap(self.lost_up_to)
            }
            // It may belong to an event of another topic, and be ahead of this log.
            LastSeen::Sequence(sequence) => Resume::At(sequence),
        }
    }

    /// The position of a client whose last event had this publisher's id, for each such event.
    pub(crate) fn with_own_id<'a>(&'a self, id: &'a str) -> impl Iterator<Item = Point> + 'a {
        // Clients may send any id: if there are none of this kind, nothing is searched.
        let frames = if self.with_own_ids > 0 { self.frames.len() } else { 0 };
        let own_ids = self.frames.range(..frames).flat_map(|frame| &frame.own_ids);
        own_ids.filter(move |(_, own)| **own == *id).map(|(point, _)| *point)
    }

    fn frames_kept_anyway(&self, options: &TopicOptions) -> usize {
        usize::from(options.retain == Retain::Last)
    }

    fn pop_front(&mut self) {
        if let Some(frame) = self.frames.pop_front() {
            self.bytes -= frame.bytes.len();
            self.with_own_ids -= usize::from(!frame.own_ids.is_empty());
            self.lost_up_to = frame.sequence;
        }
    }
}

impl TopicOptions {
    /// True when events are kept for later subscribers.
    pub(crate) fn keeps_events(&self) -> bool {
        self.history == History::On || self.retain == Retain::Last
    }
}

/// Frames for which an empty log keeps room.
const IDLE_FRAMES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn log_of(sequences: &[u64]) -> Log {
        let mut log = Log::new(sequences[0] - 1);
        for &sequence in sequences {
            log.push(frame(sequence, "data: x\n\n"));
        }
        log
    }

    fn frame(sequence: u64, events: &str) -> Frame {
        Frame::new(sequence, events.as_bytes(), Some("e"), &mut Vec::new())
    }

    fn after(log: &Log, cursor: u64) -> Vec<u64> {
        log.after(cursor).map(|frame| frame.sequence).collect()
    }

    fn text(frame: &Frame) -> &str {
        std::str::from_utf8(frame.contiguous(StreamFraming::UntilClose).unwrap()).unwrap()
    }

    #[test]
    fn a_frame_is_a_chunk_and_carries_its_id_last() {
        let named = frame(7, ": hello\nevent: add\ndata: x\n\n");
        assert_eq!(text(&named), ": hello\nevent: add\ndata: x\nid: e-7\n\n");
        let length = named.len(StreamFraming::UntilClose);
        let chunk = named.contiguous(StreamFraming::Chunked).unwrap();
        assert!(chunk.starts_with(format!("{length:x}\r\n: hello\n").as_bytes()));
        assert!(chunk.ends_with(b"\n\n\r\n"));
    }

    #[test]
    fn an_id_of_the_publishers_own_stays() {
        let own = frame(7, "id: mine\ndata: x\n\n");
        assert_eq!(text(&own), "data: x\nid: mine\n\n");
        assert_eq!(*own.own_ids, [(Point::whole(7), "mine".into())]);
    }

    #[test]
    fn each_event_of_a_frame_has_its_own_position() {
        let frame = frame(7, "data: a\n\nid: b\ndata: b\n\nid: \ndata: c\n\n: end\n");
        let c = "data: c\nid: e-7\n\n: end\n";
        assert_eq!(text(&frame), format!("data: a\nid: e-7.1\n\ndata: b\nid: b\n\n{c}"));
        assert_eq!(*frame.own_ids, [(Point { sequence: 7, events: 2 }, "b".into())]);
        let mut rest = Vec::new();
        frame.copy_events(2, &mut rest);
        assert_eq!(rest, c.as_bytes());
        rest.clear();
        frame.copy_events_with(1, |point| format!("new {point}"), &mut rest);
        let b = "data: b\nid: new 7.2\n\n";
        assert_eq!(rest, format!("{b}data: c\nid: new 7\n\n: end\n").as_bytes());
    }

    #[test]
    fn a_cursor_sees_all_later_frames_despite_gaps_in_the_sequence() {
        let log = log_of(&[3, 7, 20]);
        assert_eq!(after(&log, 2), [3, 7, 20]);
        assert_eq!(after(&log, 3), [7, 20]);
        assert_eq!(after(&log, 12), [20]);
        assert_eq!(after(&log, 20), [0; 0]);
        assert_eq!(after(&log, log.newest_cursor(u64::MAX)), [20]);
        assert_eq!(after(&log, log.newest_cursor(19)), [7, 20]);
        assert_eq!(after(&log, log.newest_cursor(1)), [3, 7, 20]);
    }

    #[test]
    fn eviction_keeps_the_bound_but_never_what_was_not_offered() {
        let options = TopicOptions { log_events: 2, ..TopicOptions::default() };
        let mut log = log_of(&[1, 2, 3, 4]);
        log.evict(&options, 1);
        assert_eq!(after(&log, 0), [2, 3, 4]);
        log.evict(&options, 4);
        assert_eq!(after(&log, 0), [3, 4]);
        assert!(log.has_passed_by(1));
        assert!(!log.has_passed_by(2));
    }

    #[test]
    fn frames_seen_by_all_are_discarded_except_the_retained_one() {
        let mut log = log_of(&[1, 2, 3]);
        let retaining = TopicOptions { retain: Retain::Last, ..TopicOptions::default() };
        log.trim(3, &retaining);
        assert_eq!(after(&log, 0), [3]);
        log.trim(3, &TopicOptions::default());
        assert!(log.frames.is_empty());
        assert_eq!((log.bytes, log.last_sequence()), (0, 3));
    }

    #[test]
    fn resuming_is_exact_or_an_honest_gap() {
        let options = TopicOptions { log_events: 2, ..TopicOptions::default() };
        let mut log = log_of(&[1, 2, 3, 4]);
        log.push(frame(9, "id: mine\ndata: x\n\n"));
        log.evict(&options, 9);
        let resume = |sequence| log.resume(LastSeen::Sequence(sequence));
        assert_eq!(resume(4), Resume::At(4));
        assert_eq!(resume(3), Resume::At(3));
        assert_eq!(resume(2), Resume::Gap(3), "3 is gone, 4 and 9 are still new");
        assert_eq!(resume(1000), Resume::At(1000), "that of another topic");
        assert_eq!(log.resume(LastSeen::Unknown), Resume::Gap(9));
        assert_eq!(log.with_own_id("mine").collect::<Vec<_>>(), [Point::whole(9)]);
        assert_eq!(log.with_own_id("e-4").next(), None);
    }
}
