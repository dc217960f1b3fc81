//! From sockets to requests: reading in slices, and handling the end of input.

use std::{io::Error, ops::Range};

use crate::{
    conn::{Announcer, Goodbye, Phase},
    engine::{
        Engine, ShortRead, Transport,
        client::{RequestLine, Requester},
        keys::ConnIndex,
        links::Received,
    },
    error::CloseReason,
    http::{Progress, Refusal, Stage, method_of},
    proxy_protocol::Fault,
};

impl<T: Transport> Engine<T> {
    /// Takes bytes of a connection that were read elsewhere.
    pub(crate) fn feed(&mut self, index: ConnIndex, bytes: &[u8]) {
        if self.links.take_early(index, bytes) {
            self.core.conns[index].input_waits();
            return self.core.conns.put_off(index);
        }
        let mut share = Share::of_a_turn();
        for piece in bytes.chunks(self.read_buffer.len()) {
            self.read_buffer[..piece.len()].copy_from_slice(piece);
            self.receive(index, piece.len(), &mut share);
        }
    }

    /// Reads in slices, so that a client that sends without end gets only its share of the turn.
    pub(in crate::engine) fn readable(&mut self, index: ConnIndex, short_read: ShortRead) {
        // Its share of this turn comes with those that were put off.
        if self.core.conns[index].is_put_off() {
            self.core.conns[index].input_waits();
        } else if self.core.conns.has_handshakes() && self.links.is_before_answer(index) {
            self.wait_for_handshake(index);
        } else {
            self.read_on(index, short_read, &mut Share::of_a_turn());
        }
    }

    /// Others have waited longer, or the turn has had its share of handshakes.
    fn wait_for_handshake(&mut self, index: ConnIndex) {
        self.core.conns[index].input_waits();
        self.core.conns.put_off_handshake(index);
    }

    fn read_on(&mut self, index: ConnIndex, short_read: ShortRead, share: &mut Share) {
        while share.bytes > 0 && share.requests > 0 {
            let conn = &mut self.core.conns[index];
            if !conn.takes_input(self.core.config.limits.pipelined_bytes) {
                return conn.input_waits();
            }
            let received = self.links.read(index, &mut self.read_buffer);
            self.end_handshake(index);
            match received {
                Received::Bytes { count, cost_bytes } => {
                    self.core.stats.bytes_in += count as u64;
                    share.bytes = share.bytes.saturating_sub(cost_bytes);
                    self.receive(index, count, share);
                    if count < self.read_buffer.len() && short_read == ShortRead::IsLast {
                        return self.core.conns[index].input_drained();
                    }
                }
                Received::Nothing => return self.core.conns[index].input_drained(),
                Received::Later => return self.wait_for_handshake(index),
                Received::End => return self.end_of_input(index),
                Received::Failed(error) => return self.lose(index, &error),
            }
        }
        self.core.conns[index].input_waits();
        self.core.conns.put_off(index);
    }

    /// Requests follow if the TLS handshake is complete now.
    fn end_handshake(&mut self, index: ConnIndex) {
        let conn = &mut self.core.conns[index];
        if let Some(took_ms) = conn.in_handshake_for(self.core.now)
            && self.links.is_established(index)
        {
            self.links.add_handshake_time(took_ms);
            conn.begin_requests(self.core.now);
            self.core.rearm(index);
        }
    }

    /// Continues with connections whose input exceeded their share in an earlier turn.
    pub(crate) fn run_put_off_input(&mut self) {
        while let Some(index) = self.core.conns.take_up() {
            let mut share = Share::of_a_turn();
            self.receive(index, 0, &mut share);
            // What follows what is read now was reported in an earlier turn.
            if self.core.conns[index].has_waiting_input() {
                self.read_on(index, ShortRead::MayBeFollowed, &mut share);
            }
        }
        while self.links.may_answer_handshake()
            && let Some(index) = self.core.conns.take_up_handshake()
        {
            self.read_on(index, ShortRead::MayBeFollowed, &mut Share::of_a_turn());
            if self.core.conns[index].is_put_off() {
                return; // There was no time for it.
            }
        }
    }

    /// Parses requests from the kept bytes and the first `count` bytes of the read buffer.
    fn receive(&mut self, index: ConnIndex, count: usize, share: &mut Share) {
        let mut taken = 0;
        loop {
            let (now, limits) = (self.core.now, &self.core.config.limits);
            let conn = &mut self.core.conns[index];
            let mut input = &self.read_buffer[taken..count];
            let is_full = conn.outbox.len() > limits.pipelined_bytes;
            let turned_away = !conn.is_admitted();
            let Some(reader) = conn.reader() else {
                match self.take_other_input(index, taken..count) {
                    Some(header_bytes) => taken += header_bytes,
                    None => return,
                }
                continue;
            };
            if is_full || share.requests == 0 {
                reader.keep(input);
                if share.requests == 0 {
                    self.core.conns.put_off(index);
                }
                return;
            }
            let stage = reader.stage();
            let progress = reader.advance(&mut input, limits, &mut self.request);
            let new_stage = reader.stage();
            taken = count - input.len();
            match progress {
                Ok(progress) if turned_away && is_enough(progress, new_stage) => {
                    let client = match progress {
                        Progress::Complete => Requester::of(&self.request),
                        _ => Requester::unread(reader.method()),
                    };
                    return self.core.turn_away(index, client);
                }
                Ok(Progress::NeedMore) => {
                    if new_stage != stage {
                        conn.begin_stage(now);
                        self.core.rearm(index);
                    }
                    return;
                }
                Ok(Progress::ExpectContinue) => {
                    conn.outbox.push(b"HTTP/1.1 100 Continue\r\n\r\n", &mut self.core.pool);
                    self.core.conns.mark_dirty(index);
                }
                Ok(Progress::Complete) => {
                    conn.begin_stage(now);
                    share.requests -= 1;
                    self.answer_request(index);
                }
                Err(refusal) => return self.core.refuse(index, refusal),
            }
        }
    }

    /// Takes the bytes that are not part of requests from this part of the read buffer: those of a
    /// PROXY protocol header. `Some(n)` when it is complete: requests follow after `n` bytes. With
    /// TLS they do not, because what follows is a handshake.
    fn take_other_input(&mut self, index: ConnIndex, bytes: Range<usize>) -> Option<usize> {
        let mut input = &self.read_buffer[bytes];
        let count = input.len();
        if input.is_empty() {
            return None;
        }
        let conn = &mut self.core.conns[index];
        if conn.keep_while_waiting(input) {
            return None;
        }
        let Some(announcer) = conn.announcer() else {
            // After a request that opened a stream, and after a refused one, no further request is
            // answered; RFC 9112, 9.6 tells clients to expect that.
            conn.close_afterwards();
            return None;
        };
        let refusal = match announcer {
            Announcer::Untrusted => Refusal::PROXY_UNTRUSTED,
            Announcer::Trusted(reader) => match reader.advance(&mut input) {
                Ok(source) => {
                    let taken = count - input.len();
                    self.core.announce(index, source?);
                    // Far too many clients of this address are here already.
                    self.core.conns[index].reader()?;
                    return match self.links.end_header(index, input) {
                        Ok(true) => {
                            self.core.conns[index].begin_handshake();
                            self.core.rearm(index);
                            None
                        }
                        Ok(false) => Some(taken),
                        Err(error) => {
                            self.lose(index, &error);
                            None
                        }
                    };
                }
                Err(Fault::Missing) => Refusal::PROXY_MISSING,
                Err(Fault::Malformed) => Refusal::PROXY_MALFORMED,
            },
        };
        // If the header is missing, these are the first bytes of the request.
        let line = RequestLine::unread(method_of(&self.read_buffer[..count]));
        self.core.refuse_as(index, refusal, line);
        None
    }

    /// The peer has sent its FIN. Pending responses still reach it; streams end.
    fn end_of_input(&mut self, index: ConnIndex) {
        let core = &mut self.core;
        let conn = &mut core.conns[index];
        conn.input_ended();
        let nothing_queued = conn.outbox.is_empty();
        match conn.phase() {
            Phase::Streaming(_) => {
                core.end_stream(index, CloseReason::Disconnected);
            }
            // A health check, or a balancer that closed early: no client waits for a response.
            Phase::ProxyHeader { .. } | Phase::Handshake { .. } => core.close_conn(index),
            // The end of requests is not the end of the client, which reads on.
            Phase::Waiting(_) => {}
            // Born and finished in this turn, it still reaches the client; otherwise it ends then.
            Phase::Answering { .. } | Phase::Closed { .. } => {}
            Phase::Draining { goodbye: Goodbye::Said, .. } => core.close_conn(index),
            Phase::Draining { goodbye: Goodbye::Later, .. } if nothing_queued => {
                core.close_conn(index);
            }
            Phase::Draining { .. } => {}
            Phase::Reading { .. } if nothing_queued => core.close_conn(index),
            Phase::Reading { .. } => core.start_draining(index, Goodbye::Fin),
        }
    }

    /// Reading or writing failed permanently.
    pub(in crate::engine) fn lose(&mut self, index: ConnIndex, error: &Error) {
        let core = &mut self.core;
        let conn = &mut core.conns[index];
        log::debug!("{}: {error}", conn.peer());
        if conn.streaming().is_none() {
            return core.close_conn(index);
        }
        // If its end is already being settled, nothing needs to be flushed.
        if !core.end_stream(index, CloseReason::Io(error.kind())) {
            core.conns[index].abort_stream();
        }
    }
}

/// What remains of one connection's share of a turn.
#[derive(Debug)]
struct Share {
    bytes: usize,
    requests: u32,
}

impl Share {
    fn of_a_turn() -> Self {
        Self { bytes: READ_BYTES_PER_TURN, requests: REQUESTS_PER_TURN }
    }
}

/// True when a rejected connection has sent enough of its request; the body is not awaited.
fn is_enough(progress: Progress, stage: Stage) -> bool {
    progress == Progress::Complete || stage == Stage::Body
}

/// Share of one turn for a client that sends without end.
const READ_BYTES_PER_TURN: usize = 256 * 1024;
/// Share of one turn for a client that pipelines.
const REQUESTS_PER_TURN: u32 = 64;
