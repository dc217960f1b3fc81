//! The end of a stream: its last frames, its hook, and what happens to its connection.

use std::mem;

use crate::{
    conn::{Afterwards, Goodbye, StreamEnd},
    engine::{
        Engine, Transport,
        api::Context,
        calls::watchdog::Call,
        core::Core,
        keys::{ConnIndex, StreamId},
        turn::fan_out::LastFrames,
    },
    error::{CloseReason, Logged},
    http::{LAST_CHUNK, StreamFraming},
    limits::REPLACED_ID,
    sse::EventName,
    topic::Progress,
};

impl<T: Transport> Engine<T> {
    pub(super) fn close_stream(&mut self, id: StreamId, reason: CloseReason, published: Progress) {
        let index = id.conn;
        let reason = match reason {
            CloseReason::Replaced => {
                self.core.push_replaced(index);
                reason
            }
            reason => match self.give_last_frames(index, published) {
                LastFrames::Given => reason,
                LastFrames::TooMany => CloseReason::Slow,
            },
        };
        let core = &mut self.core;
        core.note_end(id, &reason);
        core.leave_topics(index);
        core.end_coding(index);
        let mut closures = mem::take(&mut self.closures[index.slot()]);
        let hook = closures.hooks.as_mut().and_then(|hooks| hooks.on_disconnect.take());
        if let Some(hook) = hook {
            let (what, told) = (Call::Stream("on_disconnect", index), reason.clone());
            let _panicked = core.call(what, |core| hook(&mut Context::new(core), id, told));
        }
        // Not inside the hook, where its destructor could panic during another panic.
        core.drop_guarded(reason);
        core.drop_closures(closures);
        core.tags.forget(id);
        core.leave_stream(index);
    }
}

impl Core {
    /// Counts and logs the end of a stream.
    fn note_end(&mut self, id: StreamId, reason: &CloseReason) {
        self.count_closed(id.conn, reason);
        let peer = self.conns[id.conn].peer();
        if let CloseReason::Slow = reason {
            self.report_slow_client(id);
        } else if reason.is_expected() {
            log::debug!("{id} of {} for {peer}: {reason}", self.route_of(id.conn));
        } else {
            let reason = self.text_of(reason);
            log::warn!("{id} of {} for {peer}: {}", self.route_of(id.conn), Logged(&reason));
        }
    }

    /// Queues the last event of a replaced stream, with the id by which its client is recognized if it
    /// reconnects. It also comes if the client lags, without what it has missed, so that a replaced
    /// stream is never cut.
    fn push_replaced(&mut self, index: ConnIndex) {
        self.aside.begin();
        self.aside.push_bookmark(REPLACED_ID, Some(&REPLACED_EVENT));
        self.queue_aside(index);
    }

    /// Queues the end of the compressed bytes of a finished stream, and forgets its coding state.
    fn end_coding(&mut self, index: ConnIndex) {
        let conn = &mut self.conns[index];
        let Some(coding) = conn.end_coding() else { return };
        if conn.ending() == Some(StreamEnd::Finish) {
            self.coding.begin();
            let end = self.coding.end(coding).seal(conn.framing());
            conn.outbox.push(end, &mut self.pool);
        }
        self.coding.close(coding);
    }

    /// Ends the bytes of a stream whose hooks have run, and moves its connection on.
    fn leave_stream(&mut self, index: ConnIndex) {
        let conn = &mut self.conns[index];
        let Some(ending) = conn.ending() else { return };
        let chunked = conn.framing() == StreamFraming::Chunked;
        if ending == StreamEnd::Finish && chunked {
            conn.outbox.push(LAST_CHUNK, &mut self.pool);
        }
        match ending {
            StreamEnd::Abort => self.close_conn(index),
            StreamEnd::Finish | StreamEnd::Finished
                if chunked && conn.afterwards() == Afterwards::ReadOn =>
            {
                conn.begin_reading(self.now);
                self.rearm(index);
                self.conns.mark_dirty(index);
            }
            StreamEnd::Drop if !chunked => self.start_draining(index, Goodbye::Reset),
            StreamEnd::Finish | StreamEnd::Finished | StreamEnd::Drop => {
                self.start_draining(index, Goodbye::Fin);
            }
        }
    }
}

/// A name, because Firefox and npm's `eventsource` store no id without an event.
const REPLACED_EVENT: EventName<'static> = EventName::from_static("replaced");
