//! Flushes queued bytes to sockets, and handles sockets that have taken all or take no more.

use crate::{
    conn::{Goodbye, InputState, Phase},
    engine::{Engine, Transport, core::Core, keys::ConnIndex, topics::Frames, turn::send::Written},
};

impl<T: Transport> Engine<T> {
    /// The socket is writable again.
    pub(in crate::engine) fn writable(&mut self, index: ConnIndex) {
        if self.core.conns[index].is_blocked() {
            self.flush_one(index, Frames::All);
        }
    }

    /// One write for every connection with queued bytes. Connections that have only events from
    /// other closures are limited to a turn's share, because one closure may send to a hundred
    /// thousand streams; they wait in the order of the sends. If too much is sent while they wait,
    /// they are flushed immediately: late ticks are better than growing memory.
    pub(in crate::engine) fn flush(&mut self) {
        // Connections listed from here on have had their share of this turn.
        let listed = self.core.conns.listed_for_sends();
        let dirty = self.core.conns.take_dirty();
        for &index in &dirty {
            self.flush_one(index, Frames::All);
        }
        self.core.conns.flushed(dirty);
        let piles_up = self.core.conns.sent_meanwhile_bytes() > SENT_MEANWHILE_BYTES_MAX;
        self.flush_sent(if piles_up { usize::MAX } else { SENDS_PER_TURN }, listed);
    }

    /// Flushes up to `most` connections that have events from other closures, among the first
    /// `listed` entries.
    pub(super) fn flush_sent(&mut self, most: usize, mut listed: usize) {
        for _ in 0..most {
            let Some(index) = self.core.conns.next_sent(&mut listed) else { break };
            self.flush_one(index, Frames::All);
        }
        self.core.conns.end_flush_of_sent(listed);
    }

    /// Writes what is queued, and the frames of the stream's topics that `frames` selects.
    pub(super) fn flush_one(&mut self, index: ConnIndex, frames: Frames<'_>) {
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
        // A blocked socket that took nothing has been blocked the whole time.
        if !was_blocked || self.core.stats.bytes_out > bytes_out {
            self.core.begin_stall(index);
        }
    }

    /// True if the client reads as fast as we write, has had its share of the turn, and more of a
    /// response is queued. Streams have their own limits: for them, waiting for the next turn would
    /// pile up ticks, and topic logs would discard events.
    fn has_had_its_share(&self, index: ConnIndex, bytes_out_before: u64) -> bool {
        let conn = &self.core.conns[index];
        self.core.stats.bytes_out - bytes_out_before >= FLUSHED_BYTES_PER_TURN
            && !conn.outbox.is_empty()
            && conn.streaming().is_none()
    }

    /// The socket has taken everything queued: continue with what waited for that.
    fn flushed(&mut self, index: ConnIndex) {
        let conn = &mut self.core.conns[index];
        if let Phase::Reading { reader, .. } = conn.phase() {
            let has_more = reader.has_kept() || conn.input() == InputState::Waiting;
            conn.begin_idle(self.core.now);
            if has_more {
                self.core.conns.put_off(index);
            }
            return self.core.rearm(index);
        }
        match conn.take_goodbye() {
            None => {}
            Some(Goodbye::Fin) if conn.input() != InputState::Ended => {
                match self.links.shutdown_write(index) {
                    Ok(()) if conn.input() == InputState::Waiting => self.core.conns.put_off(index),
                    Ok(()) => {}
                    Err(error) => self.lose(index, &error),
                }
            }
            Some(_) => self.core.close_conn(index),
        }
    }
}

impl Core {
    /// The socket takes no more for now.
    pub(super) fn begin_stall(&mut self, index: ConnIndex) {
        self.conns[index].begin_stall(self.now, &self.config.limits);
        self.rearm(index);
    }

    /// The socket has taken everything, or its share of this turn.
    fn end_stall(&mut self, index: ConnIndex) {
        self.conns[index].end_stall(self.now, &self.config.limits);
        self.rearm(index);
    }
}

/// Connections flushed per turn with events from other closures: at most a millisecond of system
/// calls.
const SENDS_PER_TURN: usize = 128;
/// Bytes written to one connection per turn before others are served: about 100 us of system calls.
const FLUSHED_BYTES_PER_TURN: u64 = 1024 * 1024;
/// What may be sent while earlier sends wait.
const SENT_MEANWHILE_BYTES_MAX: usize = 16 * 1024 * 1024;
