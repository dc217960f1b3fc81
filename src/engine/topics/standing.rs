//! How far a stream has come in all its topics: bookmarks, and frames that are older than others
//! that it has been given.
//!
//! An id of a client's speaks for all topics of its stream. The id in a shared frame does so as
//! long as frames are given in the order of their sequences. Where a topic begins before the others
//! (its retained event, its oldest one, what a client has missed of it), its frames are copied
//! for the stream, and the copies carry ids that say how far each topic has come.

use super::Topics;
use crate::{
    conn::{Phase, Standing, Subscription},
    engine::{
        batch::{Frames, Given, next_due},
        codec::Source,
        core::{Core, Slot},
    },
    topic::{Frame, History, IdOf, Point, Position, TopicKey},
};

/// What [`Core::even_out`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Evened {
    /// The stream can have shared frames.
    Out,
    /// Something was queued; there may be more.
    Further,
    /// What is due next is not for it to have.
    NotYet,
}

impl Topics {
    /// How far a stream has come in its topics with history; `None` if it has none.
    fn position(&self, conn: u32, subscriptions: &[Subscription]) -> Option<Position> {
        let kept =
            || subscriptions.iter().filter(|subscription| self.keeps_history(**subscription));
        let cursors = kept().filter_map(|subscription| Some(self.position_on(*subscription)?.1));
        let up_to = cursors.max()?.max(self.left_at(conn));
        let mut position = Position::at(Point::whole(up_to));
        for subscription in kept() {
            let Some(state) = self.states.get(subscription.topic as usize) else { continue };
            let Some((log, cursor)) = self.position_on(*subscription) else { continue };
            let key = TopicKey::of(state.topic.name());
            let next = log.after(cursor).next();
            let half_seen = next.and_then(|frame| self.half_seen_frame(conn, key, cursor, frame));
            let has_older = next.is_some_and(|frame| frame.sequence <= up_to);
            // Of what is lost it is told later, or when it comes back.
            if has_older || (log.has_passed_by(cursor) && cursor < up_to) {
                position.lags(key, half_seen.unwrap_or_else(|| Point::whole(cursor)));
            } else if let Some(point) = half_seen {
                position.up_to = point;
            }
        }
        Some(position)
    }

    /// The same, with all that was published counted as seen if the stream has been given its part
    /// of it.
    fn latest_position(&mut self, conn: u32, subscriptions: &[Subscription]) -> Option<Position> {
        let kept =
            || subscriptions.iter().filter(|subscription| self.keeps_history(**subscription));
        let is_behind = |subscription: &Subscription| {
            self.position_on(*subscription).is_none_or(|(log, cursor)| log.last_sequence() > cursor)
        };
        if !kept().any(is_behind)
            && let Some(&first) = kept().next()
            && let Some(state) = self.states.get_mut(first.topic as usize)
            && let Some(subscriber) = state.subscribers.get_mut(first.place as usize)
        {
            subscriber.cursor = self.sequence;
        }
        self.position(conn, subscriptions)
    }

    pub(in crate::engine) fn keeps_history(&self, subscription: Subscription) -> bool {
        let state = self.states.get(subscription.topic as usize);
        state.is_some_and(|state| state.topic.options().history == History::On)
    }

    /// How much the client has seen of this frame, if it was cut in the middle of it.
    fn half_seen_frame(
        &self,
        conn: u32,
        topic: TopicKey,
        cursor: u64,
        frame: &Frame,
    ) -> Option<Point> {
        let half_seen = self.half_seen(conn, topic, cursor)?;
        Some(half_seen).filter(|point| point.sequence == frame.sequence)
    }

    /// Copies the next frame of an uneven stream for it alone, into `out`. A frame that is older
    /// than `position` gets ids that say so.
    fn copy_frame(
        &self,
        conn: u32,
        mut position: Position,
        (frame, subscription): (&Frame, Subscription),
        out: &mut Vec<u8>,
    ) {
        let Some(state) = self.states.get(subscription.topic as usize) else { return };
        let Some((log, cursor)) = self.position_on(subscription) else { return };
        let key = TopicKey::of(state.topic.name());
        let half_seen = self.half_seen_frame(conn, key, cursor, frame);
        let seen = half_seen.map_or(0, |point| point.events);
        let up_to = position.up_to.sequence;
        if !self.keeps_history(subscription)
            || frame.sequence > up_to
            || half_seen == Some(position.up_to)
        {
            return frame.copy_events(seen, out);
        }
        position.has_caught_up(key);
        let next = log.after(frame.sequence).next();
        let has_more = next.is_some_and(|next| next.sequence <= up_to);
        let id_at = |point: Point| {
            let mut position = position.clone();
            if point.events > 0 || has_more {
                position.lags(key, point);
            }
            IdOf { position: &position, epoch: &self.epoch }.to_string()
        };
        frame.copy_events_with(seen, id_at, out);
    }
}

impl Core {
    /// Appends the bookmark of a stream to the events that are about to leave: the id that says how
    /// far it has come, without an event. False if it has no topic with history.
    ///
    /// An id without data dispatches nothing: WHATWG HTML, 9.2.6.
    pub(in crate::engine) fn push_bookmark(&mut self, index: u32, to: Source) -> bool {
        let Some(Slot::Conn(conn)) = self.slots.get_mut(index as usize) else { return false };
        let Phase::Streaming(streaming) = &mut conn.phase else { return false };
        let subscriptions = streaming.subscriptions.as_slice();
        let Some(position) = self.topics.latest_position(index, subscriptions) else {
            streaming.subscriptions.set_standing(Standing::Even);
            return false;
        };
        streaming.subscriptions.set_standing(match position.is_even() {
            true => Standing::Even,
            false => Standing::Uneven,
        });
        let output = match to {
            Source::Scratch => &mut self.scratch,
            Source::Aside => &mut self.aside,
        };
        let id = IdOf { position: &position, epoch: &self.topics.epoch };
        output.push_bookmark(id, self.config.bookmark_event.as_ref());
        true
    }

    /// Queues what a stream needs before it can have shared frames again: its bookmark, or the next
    /// of the frames that are copied for it. One at a time, so that no more than that is queued.
    pub(in crate::engine) fn even_out(&mut self, index: u32, frames: Frames) -> Evened {
        let Some(Slot::Conn(conn)) = self.slots.get_mut(index as usize) else { return Evened::Out };
        let Phase::Streaming(streaming) = &mut conn.phase else { return Evened::Out };
        match streaming.subscriptions.standing() {
            Standing::Even => return Evened::Out,
            Standing::Unmarked => {
                self.aside.begin();
                if self.push_bookmark(index, Source::Aside) {
                    self.queue_aside(index);
                }
                return Evened::Further;
            }
            Standing::Uneven => {}
        }
        let subscriptions = streaming.subscriptions.as_slice();
        let position = self.topics.position(index, subscriptions).filter(|it| !it.is_even());
        let Some(position) = position else {
            streaming.subscriptions.set_standing(Standing::Even);
            return Evened::Out;
        };
        let due = next_due(&self.topics, subscriptions, 0);
        let Some(due) = due.filter(|(frame, _)| frame.sequence <= frames.last()) else {
            return Evened::NotYet;
        };
        let mut given = Given::default();
        given.add(due.0.sequence, due.0.has_foreign_id());
        let copy = |out: &mut Vec<u8>| self.topics.copy_frame(index, position, due, out);
        self.aside.begin();
        self.aside.push_copied(due.0.compression(), copy);
        self.queue_aside(index);
        self.note_given(index, given);
        Evened::Further
    }
}
