//! Bytes to sockets: what there is to write, and what comes of a write.
//!
//! There are two ways to write, and both end in [`Engine::wrote`]: a tick's events leave at once
//! ([`write_events`](Engine::write_events)); what waits in an outbox, and after that frames of topics,
//! leave when the connection is flushed ([`write_next`](Engine::write_next)).

use std::io::IoSlice;

use crate::{
    conn::{CodingIndex, Conn, Ending, Pool, SLICES_PER_WRITE, Standing},
    engine::{
        Engine, Transport,
        coding::Coding,
        core::{Buffer, Core, Evened},
        keys::ConnIndex,
        links::Outcome,
        topics::{DueFrame, DueFrames, FRAMES_PER_WRITE, Frames},
    },
    http::StreamFraming,
    topic::Pieces,
};

/// What came of trying to write something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// Nothing is left to write, or nobody to write to.
    Nothing,
    /// Something was; there may be more, also in the outbox.
    Some,
    /// The socket takes nothing now.
    Blocked,
}

/// What a stream has been given of its topics in one go: so many frames, up to this sequence. Frames
/// are given in the order of their sequences, whatever their topic, so the last one says how far all
/// of them have come.
#[derive(Debug, Clone, Copy, Default)]
struct Given {
    frames: usize,
    last_sequence: u64,
    /// The client may hold an id now that says nothing of its stream.
    has_foreign_id: bool,
}

impl<T: Transport> Engine<T> {
    /// Writes the scratch buffer, compressed if the stream is, after `head` if it has just begun.
    pub(super) fn write_scratch(&mut self, index: ConnIndex, head: &[u8]) {
        let core = &mut self.core;
        // What a client comes back with has to be the position of the stream.
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

    /// Writes the head of a stream with a comment: nginx with HTTP/2 to the client, for one, keeps a
    /// head until there is a byte of the body.
    pub(super) fn write_comment(&mut self, index: ConnIndex, head: &[u8]) {
        let core = &mut self.core;
        match core.conns[index].coding() {
            Some(coding) => {
                core.coding.begin_response(coding);
                core.coding.keep_alive(coding);
            }
            None => core.scratch.push_keep_alive(),
        }
        self.write_events(index, head);
    }

    /// Writes the events in the buffer that fits the stream, plain or compressed. What the socket
    /// does not take waits in the outbox; an end that has been decided meanwhile leaves in the same
    /// write.
    pub(super) fn write_events(&mut self, index: ConnIndex, head: &[u8]) {
        let core = &mut self.core;
        let conn = &mut core.conns[index];
        if conn.streaming().is_none() || conn.ending() == Some(Ending::Abort) {
            return;
        }
        // After its last frames, if it has topics; see `give_last_frames`.
        let finishes = conn.ending() == Some(Ending::Finish) && conn.subscriptions().is_empty();
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

    /// Writes what waits in the outbox or else, as much as fits one write, what the stream has not
    /// been given of its topics.
    pub(super) fn write_next(&mut self, index: ConnIndex, frames: Frames) -> Written {
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

    fn write_frames(&mut self, index: ConnIndex, frames: Frames) -> Written {
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
        for &subscription in conn.subscriptions() {
            core.topics.advance(subscription, given.last_sequence, core.now);
        }
        if given.has_foreign_id {
            core.doubt_after_foreign_id(index);
        }
        match self.wrote(index, outcome) {
            // Mostly so: it spares a second look at the logs.
            Written::Some if is_all => Written::Nothing,
            written => written,
        }
    }

    /// What follows from a write, for all of them alike.
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

/// In which form a stream gets its frames.
#[expect(clippy::large_enum_variant, reason = "it lives on the stack, for one write")]
enum Form {
    /// As they are in the log.
    Plain(StreamFraming),
    /// Compressed, mostly as other subscribers get it too; no array is filled for a single frame.
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

    /// Compresses what no other subscriber has needed before. Nothing of the stream's state changes:
    /// what the socket then refuses is gathered again, and made of the same pieces.
    #[inline(never)]
    fn coded(due: &[DueFrame<'_>], stream: CodingIndex, coding: &mut Coding) -> Self {
        let mut coded = [const { None }; FRAMES_PER_WRITE];
        let mut after = None;
        for (place, due) in coded.iter_mut().zip(due) {
            *place = Some(coding.shared(stream, due.frame, due.topic, after));
            after = Some((due.topic, due.frame.sequence));
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

    /// What is due, if it is in one piece, as nearly always.
    fn only_slice<'a>(&'a self, due: &[DueFrame<'a>]) -> Option<&'a [u8]> {
        let [only] = due else { return None };
        match self {
            Self::Plain(framing) => only.frame.contiguous(*framing),
            Self::CodedOne(pieces) => pieces.only(),
            Self::Coded(_) => None,
        }
    }

    /// What is due, as far as it fits one write, and in how many slices.
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

    /// The frame as memory that is shared with others, where it is.
    fn shared<'a>(&'a self, place: usize, due: &DueFrame<'a>) -> Option<&'a Pieces> {
        match self {
            Self::Plain(StreamFraming::Chunked) => Some(&due.frame.bytes),
            Self::Plain(StreamFraming::UntilClose) => None,
            Self::CodedOne(pieces) => Some(pieces),
            Self::Coded(coded) => coded[place].as_ref(),
        }
    }
}

/// Notes which frames were taken with the first `left` bytes.
///
/// What was written in part becomes the outbox: the frame is shared, not copied, and stays alive
/// for this stream even if the log lets it go.
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
        // By far the most frequent: there was one, and it was taken whole.
        ([only], Form::Plain(_)) if taken == form.len(0, only) => Given {
            frames: 1,
            last_sequence: only.frame.sequence,
            has_foreign_id: only.frame.has_foreign_id(),
        },
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
        self.last_sequence = due.frame.sequence;
        self.has_foreign_id |= due.frame.has_foreign_id();
        if let Some(stream) = conn.coding() {
            coding.synced(stream, due.topic, due.frame);
        }
    }
}

impl Core {
    /// Queues what a stream is due of its topics instead of writing it, unless its outbox would
    /// grow beyond `bytes_max`.
    pub(super) fn queue_frames(
        &mut self,
        index: ConnIndex,
        frames: Frames,
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
        self.note_given(index, given.last_sequence);
        if given.has_foreign_id {
            self.doubt_after_foreign_id(index);
        }
        Queued::Some
    }
}

/// What [`Core::queue_frames`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Queued {
    Nothing,
    Some,
    /// More than the outbox may hold.
    TooMany,
}
