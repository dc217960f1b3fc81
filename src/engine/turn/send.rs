//! Writing to sockets: what there is to write, and the result of a write.
//!
//! There are two ways to write; both end in [`Engine::wrote`]. The events of a tick are written
//! immediately ([`write_events`](Engine::write_events)). The outbox, followed by frames of topics,
//! is written when the connection is flushed ([`write_next`](Engine::write_next)).

use std::io::IoSlice;

use crate::{
    conn::{CodingIndex, Conn, Pool, SLICES_PER_WRITE, Standing, StreamEnd},
    engine::{
        Engine, Transport,
        coding::Coding,
        core::{Buffer, Core, Evened},
        keys::ConnIndex,
        links::Outcome,
        topics::{DueFrame, DueFrames, FRAMES_PER_WRITE, Frames},
    },
    http::StreamFraming,
    topic::{Pieces, Progress},
};

/// The result of trying to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// Nothing is left to write, or the connection has ended.
    Nothing,
    /// Something was written; there may be more, also in the outbox.
    Some,
    /// The socket takes nothing now.
    Blocked,
}

/// Topic frames given to a stream in one write: their number and the last sequences. Frames are
/// given in sequence order across all topics of a series, so the last sequence is the position in
/// all of them.
#[derive(Debug, Clone, Copy, Default)]
struct Given {
    frames: usize,
    last: Progress,
    /// The client may now hold an id that is not the stream's position.
    has_foreign_id: bool,
    /// One of them is the last one of its topic.
    ends_topic: bool,
}

impl<T: Transport> Engine<T> {
    /// Writes the scratch buffer, compressed if the stream is; after `head` for a new stream.
    pub(super) fn write_scratch(&mut self, index: ConnIndex, head: &[u8]) {
        let core = &mut self.core;
        // The id a client resumes from must be the position of the stream.
        if core.scratch.has_id() {
            core.push_bookmark(index, Buffer::Scratch);
        }
        if let Some(coding) = core.conns[index].coding() {
            match head {
                [] => core.coding.begin(),
                _ => core.coding.begin_response(coding),
            }
            core.coding.add(coding, &core.scratch);
        }
        self.write_events(index, head);
    }

    /// Writes the head of a stream with a keep-alive: some proxies, such as nginx with HTTP/2
    /// clients, hold a head back until the first byte of the body.
    pub(super) fn write_quiet_head(&mut self, index: ConnIndex, head: &[u8]) {
        let core = &mut self.core;
        let Some(streaming) = core.conns[index].streaming() else { return };
        let heartbeat = streaming.heartbeat();
        match core.conns[index].coding() {
            Some(coding) => {
                core.coding.begin_response(coding);
                core.coding.keep_alive(coding);
            }
            None => core.scratch.push_encoded(heartbeat.bytes()),
        }
        self.write_events(index, head);
    }

    /// Writes the events in the stream's buffer, plain or compressed. The rest goes to the outbox.
    /// If the end of the stream has been decided, it leaves in the same write.
    pub(super) fn write_events(&mut self, index: ConnIndex, head: &[u8]) {
        let core = &mut self.core;
        let conn = &mut core.conns[index];
        if conn.streaming().is_none() || conn.ending() == Some(StreamEnd::Abort) {
            return;
        }
        // A stream with topics ends after its last frames; see `give_last_frames`.
        let finishes = conn.ending() == Some(StreamEnd::Finish) && conn.subscriptions().is_empty();
        let buffer = match conn.coding() {
            None => &mut core.scratch,
            Some(coding) if finishes => core.coding.end(coding),
            Some(_) => core.coding.out(),
        };
        let bytes = if finishes {
            conn.finish_now();
            buffer.seal_last(conn.framing())
        } else {
            buffer.seal(conn.framing())
        };
        if head.is_empty() && bytes.is_empty() {
            return;
        }
        if !conn.outbox.is_empty() {
            conn.outbox.push(head, &mut core.pool);
            conn.outbox.push(bytes, &mut core.pool);
            return core.conns.mark_dirty(index);
        }
        let outcome = match (head, bytes) {
            ([], bytes) => self.links.write(index, &[IoSlice::new(bytes)]),
            (head, []) => self.links.write(index, &[IoSlice::new(head)]),
            (head, bytes) => self.links.write(index, &[IoSlice::new(head), IoSlice::new(bytes)]),
        };
        let taken = outcome.taken();
        if taken < head.len() + bytes.len() {
            let of_head = taken.min(head.len());
            conn.outbox.push(&head[of_head..], &mut core.pool);
            conn.outbox.push(&bytes[taken - of_head..], &mut core.pool);
        }
        match self.wrote(index, outcome) {
            Written::Nothing => {}
            Written::Some if self.core.conns[index].outbox.is_empty() => {}
            Written::Some => self.core.conns.mark_dirty(index),
            Written::Blocked => self.core.begin_stall(index),
        }
    }

    /// Writes the outbox or, if it is empty, as many undelivered topic frames as fit one write.
    pub(super) fn write_next(&mut self, index: ConnIndex, frames: Frames<'_>) -> Written {
        match self.core.conns[index].outbox.is_empty() {
            true => self.write_frames(index, frames),
            false => self.write_outbox(index),
        }
    }

    fn write_outbox(&mut self, index: ConnIndex) -> Written {
        let core = &mut self.core;
        let outbox = &mut core.conns[index].outbox;
        let outcome = match outbox.only_slice() {
            Some(bytes) => self.links.write(index, &[IoSlice::new(bytes)]),
            None => {
                let (slices, count) = outbox.slices();
                self.links.write(index, &slices[..count])
            }
        };
        outbox.advance(outcome.taken(), &mut core.pool);
        self.wrote(index, outcome)
    }

    fn write_frames(&mut self, index: ConnIndex, frames: Frames<'_>) -> Written {
        let core = &mut self.core;
        let conn = &mut core.conns[index];
        if conn.subscriptions().is_empty() || !frames.are_for(conn) {
            return Written::Nothing;
        }
        let due = DueFrames::gather(&core.topics, conn.subscriptions(), frames);
        if matches!(due, DueFrames::Lost) {
            return match core.skip_what_is_lost(index, frames) {
                true => Written::Some,
                false => Written::Nothing,
            };
        }
        if conn.standing() != Standing::Even {
            return match core.even_out(index, frames) {
                Evened::Out | Evened::Further => Written::Some,
                Evened::NotYet => Written::Nothing,
            };
        }
        let due = due.as_slice();
        if due.is_empty() {
            return Written::Nothing;
        }
        let form = Form::of(due, conn, &mut core.coding);
        let outcome = match form.only_slice(due) {
            Some(bytes) => self.links.write(index, &[IoSlice::new(bytes)]),
            None => {
                let (slices, count) = form.slices(due);
                self.links.write(index, &slices[..count])
            }
        };
        let given = take(due, &form, outcome.taken(), conn, &mut core.coding, &mut core.pool);
        let is_all = given.frames == due.len()
            && given.frames < FRAMES_PER_WRITE
            && !given.has_foreign_id
            && conn.outbox.is_empty();
        core.stats.delivered += given.frames as u64;
        match *conn.subscriptions() {
            [only] => core.topics.advance_by(only, given.frames, given.last, core.now),
            ref several => {
                for &subscription in several {
                    core.topics.advance(subscription, given.last, core.now);
                }
            }
        }
        if given.has_foreign_id {
            core.doubt_after_foreign_id(index);
        }
        if given.ends_topic {
            core.review_later(core.conns.stream_id(index));
        }
        match self.wrote(index, outcome) {
            // The usual case; saves a second lookup in the logs.
            Written::Some if is_all => Written::Nothing,
            written => written,
        }
    }

    /// Handles the result of any write.
    #[inline]
    fn wrote(&mut self, index: ConnIndex, outcome: Outcome) -> Written {
        let core = &mut self.core;
        match outcome {
            Outcome::Took(bytes) => {
                core.stats.bytes_out += bytes as u64;
                core.conns[index].wrote(core.now);
                Written::Some
            }
            Outcome::Refused => {
                core.conns[index].blocked();
                Written::Blocked
            }
            Outcome::Failed(error) => {
                self.lose(index, &error);
                Written::Nothing
            }
        }
    }
}

/// The form in which a stream gets its frames.
#[expect(clippy::large_enum_variant, reason = "it lives on the stack, for one write")]
enum Form {
    /// As stored in the log.
    Plain(StreamFraming),
    /// Compressed, usually the bytes that other subscribers get too; a single frame fills no array.
    CodedOne(Pieces),
    Coded([Option<Pieces>; FRAMES_PER_WRITE]),
}

impl Form {
    #[inline]
    fn of(due: &[DueFrame<'_>], conn: &Conn, coding: &mut Coding) -> Self {
        match conn.coding() {
            None => Self::Plain(conn.framing()),
            Some(stream) => match due {
                [only] => Self::CodedOne(coding.shared(stream, only.frame, only.topic, None)),
                due => Self::coded(due, stream, coding),
            },
        }
    }

    /// Compresses what no other subscriber has needed before. The stream's state does not change:
    /// if the socket refuses the bytes, they are collected again from the same pieces.
    #[inline(never)]
    fn coded(due: &[DueFrame<'_>], stream: CodingIndex, coding: &mut Coding) -> Self {
        let mut coded = [const { None }; FRAMES_PER_WRITE];
        let mut after = None;
        for (place, due) in coded.iter_mut().zip(due) {
            *place = Some(coding.shared(stream, due.frame, due.topic, after));
            after = Some((due.topic, due.frame.identity()));
        }
        Self::Coded(coded)
    }

    fn len(&self, place: usize, due: &DueFrame<'_>) -> usize {
        match self {
            Self::Plain(framing) => due.frame.len(*framing),
            Self::CodedOne(pieces) => pieces.len(),
            Self::Coded(coded) => coded[place].as_ref().map_or(0, Pieces::len),
        }
    }

    /// The due bytes, if they are in one piece, which is nearly always the case.
    fn only_slice<'a>(&'a self, due: &[DueFrame<'a>]) -> Option<&'a [u8]> {
        let [only] = due else { return None };
        match self {
            Self::Plain(framing) => only.frame.contiguous(*framing),
            Self::CodedOne(pieces) => pieces.only(),
            Self::Coded(_) => None,
        }
    }

    /// The due bytes that fit one write, and the number of slices.
    fn slices<'a>(&'a self, due: &[DueFrame<'a>]) -> ([IoSlice<'a>; SLICES_PER_WRITE], usize) {
        let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
        let mut free = slices.iter_mut();
        for (place, due) in due.iter().enumerate() {
            self.for_each_slice(place, due, 0, |bytes| {
                if let Some(slice) = free.next() {
                    *slice = IoSlice::new(bytes);
                }
            });
        }
        let left = free.len();
        (slices, SLICES_PER_WRITE - left)
    }

    /// The bytes of one frame after the first `skipped_bytes`, piece by piece.
    fn for_each_slice<'a>(
        &'a self,
        place: usize,
        due: &DueFrame<'a>,
        skipped_bytes: usize,
        each: impl FnMut(&'a [u8]),
    ) {
        match self {
            Self::Plain(framing) => due.frame.slices(*framing, skipped_bytes).for_each(each),
            Self::CodedOne(pieces) => pieces.slices(skipped_bytes..pieces.len()).for_each(each),
            Self::Coded(coded) => {
                if let Some(pieces) = &coded[place] {
                    pieces.slices(skipped_bytes..pieces.len()).for_each(each);
                }
            }
        }
    }

    /// The frame as shared memory, if it is shared.
    fn shared<'a>(&'a self, place: usize, due: &DueFrame<'a>) -> Option<&'a Pieces> {
        match self {
            Self::Plain(StreamFraming::Chunked) => Some(&due.frame.bytes),
            Self::Plain(StreamFraming::UntilClose) => None,
            Self::CodedOne(pieces) => Some(pieces),
            Self::Coded(coded) => coded[place].as_ref(),
        }
    }
}

/// Records which frames were taken with the first `left` bytes.
///
/// A frame that was written in part becomes the outbox. It is shared, not copied, and stays alive
/// for this stream even if the log discards it.
#[inline]
fn take(
    due: &[DueFrame<'_>],
    form: &Form,
    taken: usize,
    conn: &mut Conn,
    coding: &mut Coding,
    pool: &mut Pool,
) -> Given {
    match (due, form) {
        // By far the most frequent case: there was one frame, and it was taken completely.
        ([only], Form::Plain(_)) if taken == form.len(0, only) => {
            let mut given = Given { frames: 1, ..Given::default() };
            given.last.move_to(only.frame.series, only.frame.sequence);
            given.has_foreign_id = only.frame.has_foreign_id();
            given.ends_topic = only.frame.is_last();
            given
        }
        _ => take_some(due, form, taken, conn, coding, pool),
    }
}

#[inline(never)]
fn take_some(
    due: &[DueFrame<'_>],
    form: &Form,
    mut left: usize,
    conn: &mut Conn,
    coding: &mut Coding,
    pool: &mut Pool,
) -> Given {
    let mut given = Given::default();
    for (place, due) in due.iter().enumerate() {
        if left == 0 {
            break;
        }
        let length = form.len(place, due);
        if left < length {
            match form.shared(place, due) {
                Some(shared) => conn.outbox.push_shared(shared.iter(), left, pool),
                None => {
                    form.for_each_slice(place, due, left, |bytes| conn.outbox.push(bytes, pool));
                }
            }
        }
        left = left.saturating_sub(length);
        given.add(due, conn, coding);
    }
    given
}

impl Given {
    fn add(&mut self, due: &DueFrame<'_>, conn: &Conn, coding: &mut Coding) {
        self.frames += 1;
        self.last.move_to(due.frame.series, due.frame.sequence);
        self.has_foreign_id |= due.frame.has_foreign_id();
        self.ends_topic |= due.frame.is_last();
        if let Some(stream) = conn.coding() {
            coding.synced(stream, due.topic, due.frame);
        }
    }
}

impl Core {
    /// Queues the due topic frames of a stream instead of writing them, unless its outbox would
    /// exceed `bytes_max`.
    pub(super) fn queue_frames(
        &mut self,
        index: ConnIndex,
        frames: Frames<'_>,
        bytes_max: usize,
    ) -> Queued {
        let conn = &mut self.conns[index];
        let due = DueFrames::gather(&self.topics, conn.subscriptions(), frames);
        let form = Form::of(due.as_slice(), conn, &mut self.coding);
        let frames = || due.as_slice().iter().enumerate();
        let due_bytes: usize = frames().map(|(place, due)| form.len(place, due)).sum();
        if due_bytes == 0 {
            return Queued::Nothing;
        }
        if conn.outbox.len() + due_bytes > bytes_max {
            return Queued::TooMany;
        }
        let mut given = Given::default();
        for (place, due) in frames() {
            form.for_each_slice(place, due, 0, |bytes| conn.outbox.push(bytes, &mut self.pool));
            given.add(due, conn, &mut self.coding);
        }
        self.stats.delivered += given.frames as u64;
        self.note_given(index, given.last);
        if given.has_foreign_id {
            self.doubt_after_foreign_id(index);
        }
        Queued::Some
    }
}

/// The result of [`Core::queue_frames`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Queued {
    Nothing,
    Some,
    /// More than the outbox may hold.
    TooMany,
}
