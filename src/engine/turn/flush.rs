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

    /// One write for every connection that has something queued, and up to a turn's share of them
    /// for those that have nothing but what other closures sent: one closure may send to a hundred
    /// thousand streams. Those wait in the order in which they were sent to. If too much is sent
    /// while they wait, they are served at once, and ticks are late instead of memory growing.
    pub(in crate::engine) fn flush(&mut self) {
        // Those that are listed from here on have had their share of this turn.
        let listed = self.core.conns.listed_for_sends();
        let dirty = self.core.conns.take_dirty();
        for &index in &dirty {
            self.flush_one(index, Frames::All);
        }
        self.core.conns.flushed(dirty);
        let piles_up = self.core.conns.sent_meanwhile_bytes() > SENT_MEANWHILE_BYTES_MAX;
        self.flush_sent(if piles_up { usize::MAX } else { SENDS_PER_TURN }, listed);
    }

    /// Writes to so many connections at most what other closures sent to them, and looks no further
    /// than at the first `listed` of them.
    pub(super) fn flush_sent(&mut self, most: usize, mut listed: usize) {
        for _ in 0..most {
            let Some(index) = self.core.conns.next_sent(&mut listed) else { break };
            self.flush_one(index, Frames::All);
        }
        self.core.conns.end_flush_of_sent(listed);
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
                Written::Some if self.has_had_its_share(index, bytes_out) => {
                    self.core.conns.mark_sent(index, 0);
                    return self.core.end_stall(index);
                }
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

    /// True if a connection whose client reads as fast as we write has got its share of a turn, and
    /// more of a response is queued. Streams have bounds of their own: what waited for the next turn would
    /// pile up with ticks, and logs would let it go.
    fn has_had_its_share(&self, index: ConnIndex, bytes_out_before: u64) -> bool {
        let conn = &self.core.conns[index];
        self.core.stats.bytes_out - bytes_out_before >= FLUSHED_BYTES_PER_TURN
            && !conn.outbox.is_empty()
            && conn.streaming().is_none()
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

    /// The socket has taken everything at last, or its share of this turn.
    fn end_stall(&mut self, index: ConnIndex) {
        self.conns[index].end_stall(self.now, &self.config.limits);
        self.rearm(index);
    }
}

/// Connections served in one turn with what other closures sent to them: a millisecond of system
/// calls at most.
const SENDS_PER_TURN: usize = 128;
/// Written to one connection in one turn before others get theirs: some 100 us of system calls.
const FLUSHED_BYTES_PER_TURN: u64 = 1024 * 1024;
/// What may be sent while earlier sends wait.
const SENT_MEANWHILE_BYTES_MAX: usize = 16 * 1024 * 1024;
