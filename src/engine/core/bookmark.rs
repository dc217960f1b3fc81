//! Bookmarks, and frames copied for one stream: they keep the id that a client holds correct for
//! all topics of its stream.

use super::{Buffer, Core, Evened};
use crate::{
    conn::Standing,
    engine::{
        keys::ConnIndex,
        topics::{Frames, next_due},
    },
    topic::IdOf,
};

impl Core {
    /// Appends a stream's bookmark to the events about to leave: the id of its position, without an
    /// event. False if it has no topic with history.
    ///
    /// An id without data dispatches nothing: WHATWG HTML, 9.2.6.
    pub(in crate::engine) fn push_bookmark(&mut self, index: ConnIndex, to: Buffer) -> bool {
        let conn = &mut self.conns[index];
        let Some(position) = self.topics.latest_position(index, conn.subscriptions()) else {
            conn.set_standing(Standing::Even);
            return false;
        };
        conn.set_standing(match position.is_even() {
            true => Standing::Even,
            false => Standing::Uneven,
        });
        let buffer = match to {
            Buffer::Scratch => &mut self.scratch,
            Buffer::Aside => &mut self.aside,
        };
        let id = IdOf { position: &position, epoch: self.topics.epoch() };
        buffer.push_bookmark(id, self.config.bookmark_event.as_ref());
        true
    }

    /// Queues what a stream needs before it can have shared frames again: its bookmark, or the next
    /// of the frames copied for it. One at a time, to keep the queue small.
    pub(in crate::engine) fn even_out(&mut self, index: ConnIndex, frames: Frames) -> Evened {
        match self.conns[index].standing() {
            Standing::Even => Evened::Out,
            Standing::Unmarked => {
                self.aside.begin();
                if self.push_bookmark(index, Buffer::Aside) {
                    self.queue_aside(index);
                }
                Evened::Further
            }
            Standing::Uneven => self.copy_next_frame(index, frames),
        }
    }

    fn copy_next_frame(&mut self, index: ConnIndex, frames: Frames) -> Evened {
        let conn = &mut self.conns[index];
        let position = self.topics.stream_position(index, conn.subscriptions());
        let Some(position) = position.filter(|position| !position.is_even()) else {
            conn.set_standing(Standing::Even);
            return Evened::Out;
        };
        let due = next_due(&self.topics, conn.subscriptions(), 0);
        let Some(due) = due.filter(|(frame, _)| frame.sequence <= frames.last()) else {
            return Evened::NotYet;
        };
        let (sequence, has_foreign_id) = (due.0.sequence, due.0.has_foreign_id());
        self.aside.begin();
        self.aside.push_copied(due.0.compression(), |out| {
            self.topics.copy_frame(index, position, due, out);
        });
        self.queue_aside(index);
        self.stats.delivered += 1;
        self.note_given(index, sequence);
        if has_foreign_id {
            self.doubt_after_foreign_id(index);
        }
        Evened::Further
    }

    /// Moves the stream's cursors. Frames are given in sequence order across all topics, so the
    /// last sequence is the position in all of them.
    pub(in crate::engine) fn note_given(&mut self, index: ConnIndex, last_sequence: u64) {
        for &subscription in self.conns[index].subscriptions() {
            self.topics.advance(subscription, last_sequence, self.now);
        }
    }

    /// The client may now hold an id that is not the stream's position.
    #[cold]
    pub(in crate::engine) fn doubt_after_foreign_id(&mut self, index: ConnIndex) {
        let conn = &mut self.conns[index];
        if conn.subscriptions().iter().any(|it| self.topics.keeps_history(*it)) {
            conn.doubt_standing(Standing::Unmarked);
        }
    }
}
