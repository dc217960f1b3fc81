//! Queued bytes to sockets, and what follows when a socket has taken them, or takes no more.

use std::{io::ErrorKind, mem};

use super::{
    Engine, Transport,
    batch::Frames,
    core::{Core, Slot},
    fanout::Written,
};
use crate::conn::{Goodbye, Input, Output, Phase};

impl<T: Transport> Engine<T> {
    pub(super) fn writable(&mut self, index: u32) {
        if self.core.conn(index).is_some_and(|conn| conn.output == Output::Blocked) {
            self.flush_one(index);
        }
    }

    /// One write for every connection that has something queued.
    pub(super) fn flush(&mut self) {
        let mut dirty = mem::take(&mut self.core.dirty);
        for index in dirty.drain(..) {
            self.flush_one(index);
        }
        debug_assert!(self.core.dirty.is_empty(), "flushing queues nothing");
        self.core.dirty = dirty;
    }

    pub(super) fn flush_one(&mut self, index: u32) {
        self.flush_frames(index, Frames::All);
    }

    /// Writes what is queued, and of the stream's topics what `frames` says.
    pub(super) fn flush_frames(&mut self, index: u32, frames: Frames) {
        let bytes_out = self.core.stats.bytes_out;
        let was_blocked = self.core.conn(index).is_some_and(|conn| conn.output == Output::Blocked);
        loop {
            let Some(Slot::Conn(conn)) = self.core.slots.get_mut(index as usize) else { return };
            if matches!(conn.phase, Phase::Closed { .. }) {
                return;
            }
            conn.output = Output::Quiet;
            if conn.outbox.is_empty() {
                match self.write_frames(index, frames) {
                    Written::Some => continue,
                    Written::Nothing => {
                        self.flushed(index);
                        if was_blocked {
                            self.core.end_stall(index);
                        }
                        return;
                    }
                    Written::Blocked => break,
                }
            }
            let Some(transport) = &mut self.transports[index as usize] else { return };
            let result = match conn.outbox.only_slice() {
                Some(bytes) => transport.write(bytes),
                None => {
                    let (slices, count) = conn.outbox.slices();
                    transport.write_vectored(&slices[..count])
                }
            };
            match result {
                Ok(count) => {
                    self.core.stats.bytes_out += count as u64;
                    conn.outbox.advance(count, &mut self.core.pool);
                    if let Phase::Streaming(streaming) = &mut conn.phase {
                        streaming.last_write = self.core.now;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.lose(index, &error),
            }
        }
        let Some(conn) = self.core.conn(index) else { return };
        conn.output = Output::Blocked;
        // A blocked socket that was tried in vain has been blocked all the time.
        if !was_blocked || self.core.stats.bytes_out > bytes_out {
            self.core.begin_stall(index);
        }
    }

    /// Everything queued has been taken by the socket: on to what waited for that.
    fn flushed(&mut self, index: u32) {
        let now = self.core.now;
        let Some(conn) = self.core.conn(index) else { return };
        match &mut conn.phase {
            Phase::Reading { reader, since } => {
                let more = reader.has_kept() || conn.input == Input::Waiting;
                *since = now;
                if more {
                    self.core.put_off(index);
                }
                self.core.rearm(index);
            }
            Phase::Draining { goodbye: Goodbye::Later, .. } => {}
            Phase::Draining { goodbye, .. } => {
                let said = mem::replace(goodbye, Goodbye::Said);
                let input = conn.input;
                let Some(transport) = &mut self.transports[index as usize] else { return };
                match said {
                    Goodbye::Said | Goodbye::Later => {}
                    Goodbye::Reset => {
                        transport.reset_on_close();
                        self.core.release(index);
                    }
                    Goodbye::Fin if input == Input::Ended => self.core.release(index),
                    Goodbye::Fin => match transport.shutdown_write() {
                        Ok(()) if input == Input::Waiting => self.core.put_off(index),
                        Ok(()) => {}
                        Err(error) => self.lose(index, &error),
                    },
                }
            }
            Phase::Answering | Phase::Streaming(_) | Phase::Closed { .. } => {}
        }
    }
}

impl Core {
    /// The socket takes nothing any more, for now.
    fn begin_stall(&mut self, index: u32) {
        if let Some(Slot::Conn(conn)) = self.slots.get_mut(index as usize) {
            conn.begin_stall(self.now, &self.config.limits);
            self.rearm(index);
        }
    }

    /// The socket has taken everything at last.
    fn end_stall(&mut self, index: u32) {
        if let Some(Slot::Conn(conn)) = self.slots.get_mut(index as usize) {
            conn.end_stall(self.now, &self.config.limits);
            self.rearm(index);
        }
    }
}
