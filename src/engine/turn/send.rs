//! Bytes to sockets: what there is to write, and what comes of a write.
//!
//! Every write of the engine is one of three, and each ends in [`Engine::wrote`]: a tick's events
//! ([`write_events`](Engine::write_events)), frames of topics ([`write_frames`](Engine::write_frames))
//! and what is left of earlier ones ([`write_queued`](Engine::write_queued)).

use std::io::IoSlice;

use crate::{
    conn::{Conn, Ending, Pool},
    engine::{
        Engine, Transport,
        coding::Coding,
        core::Core,
        keys::ConnIndex,
        links::Outcome,
        topics::{DueFrame, DueFrames, FRAMES_PER_WRITE, Frames},
    },
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

/// What a stream has been given of its topics in one go: so many frames, up to this sequence.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Given {
    frames: usize,
    last_sequence: u64,
}

impl<T: Transport> Engine<T> {
    /// Writes the scratch buffer, compressed if the stream is, after `head` if it has just begun.
    pub(super) fn write_scratch(&mut self, index: ConnIndex, head: &[u8]) {
        let core = &mut self.core;
        if let Some(coding) = core.conns[index].coding() {
            // When a stream begins, the opening bytes of its coding are there already.
            if head.is_empty() {
                core.coding.begin();
            }
            core.coding.add(coding, &core.scratch);
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

    /// Writes what the stream has not been given of its topics, as much as fits one write. Called
    /// with an empty outbox.
    pub(super) fn write_frames(&mut self, index: ConnIndex, frames: Frames) -> Written {
        let core = &mut self.core;
        let conn = &core.conns[index];
        if conn.subscriptions().is_empty() || !frames.are_for(conn) {
            return Written::Nothing;
        }
        if conn.subscriptions().iter().any(|&subscription| core.topics.has_passed_by(subscription))
        {
            return match core.skip_what_is_lost(index, frames) {
                true => Written::Some,
                false => Written::Nothing,
            };
        }
        let due = DueFrames::gather(&core.topics, conn, frames, &mut core.coding);
        let outcome = match &due {
            DueFrames::One(None) => return Written::Nothing,
            DueFrames::One(Some(only)) => self.links.write(index, &[IoSlice::new(only.bytes())]),
            DueFrames::Many(_) => {
                let mut slices = [IoSlice::new(&[]); FRAMES_PER_WRITE];
                let count = slices.iter_mut().zip(due.iter()).map(|(slice, frame)| {
                    *slice = IoSlice::new(frame.bytes());
                });
                let count = count.count();
                self.links.write(index, &slices[..count])
            }
        };
        let conn = &mut core.conns[index];
        let (given, is_all) = take(&due, outcome.taken(), conn, &mut core.coding, &mut core.pool);
        core.note_given(index, given);
        match self.wrote(index, outcome) {
            // Mostly so: it spares a second look at the logs.
            Written::Some if is_all => Written::Nothing,
            written => written,
        }
    }

    /// Writes what waits in the outbox.
    pub(super) fn write_queued(&mut self, index: ConnIndex) -> Written {
        let core = &mut self.core;
        let conn = &mut core.conns[index];
        let outcome = match conn.outbox.slices() {
            [bytes, body] if body.is_empty() => self.links.write(index, &[bytes]),
            slices => self.links.write(index, &slices),
        };
        conn.outbox.advance(outcome.taken(), &mut core.pool);
        self.wrote(index, outcome)
    }

    /// What follows from a write, for all of them alike.
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

/// Notes which frames were taken with the first `left` bytes, and whether these were all there are.
///
/// What was written in part becomes the outbox: the frame is shared, not copied, and stays alive
/// for this stream even if the log lets it go.
fn take(
    due: &DueFrames<'_>,
    mut left: usize,
    conn: &mut Conn,
    coding: &mut Coding,
    pool: &mut Pool,
) -> (Given, bool) {
    let mut given = Given::default();
    let mut is_all = !due.is_full();
    for frame in due.iter() {
        if left == 0 {
            is_all = false;
            break;
        }
        let bytes = frame.bytes();
        if left < bytes.len() {
            match frame.shared() {
                Some(shared) => conn.outbox.push_shared(shared, left, pool),
                None => conn.outbox.push(&bytes[left..], pool),
            }
            is_all = false;
        }
        left = left.saturating_sub(bytes.len());
        given.add(frame, conn, coding);
    }
    (given, is_all)
}

impl Given {
    fn add(&mut self, due: &DueFrame<'_>, conn: &Conn, coding: &mut Coding) {
        self.frames += 1;
        self.last_sequence = due.frame.sequence;
        if let Some(stream) = conn.coding() {
            coding.synced(stream, due.topic, due.frame);
        }
    }
}

impl Core {
    /// Moves the stream's cursors. Frames are given in the order of their sequences, whatever their
    /// topic, so the last one says how far all of them have come.
    fn note_given(&mut self, index: ConnIndex, given: Given) {
        if given.frames == 0 {
            return;
        }
        self.stats.delivered += given.frames as u64;
        for &subscription in self.conns[index].subscriptions() {
            self.topics.advance(subscription, given.last_sequence, self.now);
        }
    }

    /// Queues what a stream is due of its topics instead of writing it; true if there was some.
    pub(super) fn queue_frames(&mut self, index: ConnIndex, frames: Frames) -> bool {
        let conn = &self.conns[index];
        let due = DueFrames::gather(&self.topics, conn, frames, &mut self.coding);
        let conn = &mut self.conns[index];
        let mut given = Given::default();
        for frame in due.iter() {
            conn.outbox.push(frame.bytes(), &mut self.pool);
            given.add(frame, conn, &mut self.coding);
        }
        self.note_given(index, given);
        given.frames > 0
    }

    /// How many bytes [`queue_frames`](Self::queue_frames) would queue.
    pub(super) fn due_bytes(&mut self, index: ConnIndex, frames: Frames) -> usize {
        let conn = &self.conns[index];
        let due = DueFrames::gather(&self.topics, conn, frames, &mut self.coding);
        due.iter().map(|frame| frame.bytes().len()).sum()
    }
}
