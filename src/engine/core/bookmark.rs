//! Bookmarks, and frames copied for one stream: they keep the id that a client holds correct for
//! all topics of its stream.

use super::{Buffer, Core, Evened};
use crate::{
    conn::Standing,
    engine::{
        keys::ConnIndex,
        topics::{Frames, next_due},
    },
    topic::{IdOf, Position, Progress},
};

impl Core {
    /// Appends a stream's bookmark to the events about to leave: the id of its position, without an
    /// event. False if it has no topic with history.
    ///
    /// An id without data dispatches nothing: WHATWG HTML, 9.2.6.
    pub(in crate::engine) fn push_bookmark(&mut self, index: ConnIndex, to: Buffer) -> bool {
        let conn = &mut self.conns[index];
        if conn.standing() == Standing::Waiting {
            return false;
        }
        let Some(position) = self.topics.latest_position(index, conn.subscriptions()) else {
            conn.set_standing(Standing::Even);
            return false;
        };
        let shares = position.is_even() && !self.topics.needs_copies(conn.subscriptions());
        conn.set_standing(if shares { Standing::Even } else { Standing::Uneven });
        let buffer = match to {
            Buffer::Scratch => &mut self.scratch,
            Buffer::Aside => &mut self.aside,
        };
        let series = self.topics.series_of_ids(conn.subscriptions());
        let id = IdOf { position: &position, epoch: self.topics.id_prefix(series) };
        buffer.push_bookmark(id, self.config.bookmark_event.as_ref());
        true
    }

    /// Queues what a stream needs before it can have shared frames again: its bookmark, or the next
    /// of the frames copied for it. One at a time, to keep the queue small.
    pub(in crate::engine) fn even_out(&mut self, index: ConnIndex, frames: Frames<'_>) -> Evened {
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
            Standing::Waiting => Evened::NotYet,
        }
    }

    fn copy_next_frame(&mut self, index: ConnIndex, frames: Frames<'_>) -> Evened {
        let conn = &mut self.conns[index];
        let topics = conn.subscriptions();
        let position = self.topics.stream_position(index, topics);
        let is_uneven = |at: &Position| !at.is_even() || self.topics.needs_copies(topics);
        let Some(position) = position.filter(is_uneven) else {
            conn.set_standing(Standing::Even);
            return Evened::Out;
        };
        let next = next_due(&self.topics, topics, Progress::default(), frames);
        let Some((due, subscription)) = next else { return Evened::NotYet };
        let position = (self.topics.series_of_ids(topics), position);
        let (has_foreign_id, is_last) = (due.frame.has_foreign_id(), due.frame.is_last());
        let mut given = Progress::default();
        given.move_to(due.frame.series, due.frame.sequence);
        self.aside.begin();
        self.aside.push_copied(due.frame.compression(), |out| {
            self.topics.copy_frame(index, position, (due.frame, subscription), out);
        });
        self.queue_aside(index);
        self.stats.delivered += 1;
        self.note_given(index, given);
        if has_foreign_id {
            self.doubt_after_foreign_id(index);
        }
        if is_last {
            self.review_later(self.conns.stream_id(index));
        }
        Evened::Further
    }

    /// Moves the stream's cursors. Frames are given in sequence order across all topics of a
    /// series, so the last sequence is the position in all of them.
    pub(in crate::engine) fn note_given(&mut self, index: ConnIndex, given: Progress) {
        for &subscription in self.conns[index].subscriptions() {
            self.topics.advance(subscription, given, self.now);
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
