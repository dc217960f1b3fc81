//! Queued bytes to sockets, and what follows when a socket has taken them, or takes no more.

use crate::{
    conn::{Goodbye, Input, Phase},
    engine::{Engine, Transport, core::Core, keys::ConnIndex, topics::Frames, turn::send::Written},
};

impl<T: Transport> Engine<T> {
    /// The socket takes bytes again.
    pub(in crate::engine) fn writable(&mut self, index: ConnIndex) {
        if self.core.conns[index].is_blocked() {
            self.flush_one(index, Frames::All);
        }
    }

    /// One write for every connection that has something queued.
    pub(in crate::engine) fn flush(&mut self) {
        let dirty = self.core.conns.take_dirty();
        for &index in &dirty {
            self.flush_one(index, Frames::All);
        }
        self.core.conns.flushed(dirty);
    }

    /// Writes what is queued, and of the stream's topics what `frames` says.
    pub(super) fn flush_one(&mut self, index: ConnIndex, frames: Frames) {
        let bytes_out = self.core.stats.bytes_out;
        let conn = &mut self.core.conns[index];
        if conn.is_closed() {
            return;
        }
        let was_blocked = conn.begin_flush();
        loop {
            match self.write_next(index, frames) {
                Written::Some => {}
                Written::Blocked => break,
                Written::Nothing => {
                    self.flushed(index);
                    if was_blocked {
                        self.core.end_stall(index);
                    }
                    return;
                }
            }
        }
        // A blocked socket that was tried in vain has been blocked all the time.
        if !was_blocked || self.core.stats.bytes_out > bytes_out {
            self.core.begin_stall(index);
        }
    }

    /// Everything queued has been taken by the socket: on to what waited for that.
    fn flushed(&mut self, index: ConnIndex) {
        let conn = &mut self.core.conns[index];
        if let Phase::Reading { reader, .. } = conn.phase() {
            let has_more = reader.has_kept() || conn.input() == Input::Waiting;
            conn.begin_idle(self.core.now);
            if has_more {
                self.core.conns.put_off(index);
            }
            return self.core.rearm(index);
        }
        match conn.take_goodbye() {
            None => {}
            Some(Goodbye::Fin) if conn.input() != Input::Ended => {
                match self.links.shutdown_write(index) {
                    Ok(()) if conn.input() == Input::Waiting => self.core.conns.put_off(index),
                    Ok(()) => {}
                    Err(error) => self.lose(index, &error),
                }
            }
            Some(_) => self.core.close_conn(index),
        }
    }
}

impl Core {
    /// The socket takes nothing any more, for now.
    pub(super) fn begin_stall(&mut self, index: ConnIndex) {
        self.conns[index].begin_stall(self.now, &self.config.limits);
        self.rearm(index);
    }

    /// The socket has taken everything at last.
    fn end_stall(&mut self, index: ConnIndex) {
        self.conns[index].end_stall(self.now, &self.config.limits);
        self.rearm(index);
    }
}
