//! From bytes to requests to answers, and what becomes of a connection behind them.

use std::{
    io::{self, ErrorKind},
    mem,
};

use super::{
    Engine, Transport,
    asker::{Asker, Head},
    calls::guard,
    context::Context,
    core::{Birth, Core, Remembered, Slot, Stopping},
    handler::Response,
    sse::Sse,
    watchdog::handler_of,
};
use crate::{
    conn::{
        Admission, Afterwards, Conn, Ending, Goodbye, Input, Output, Phase, linger_due, millis,
        stall_due,
    },
    error::{CloseReason, Logged},
    http::{
        Connection, Method, Progress, Refusal, Reply, Request, Stage, StreamFraming,
        encode_stream_head,
    },
};

impl<T: Transport> Engine<T> {
    /// Reads what there is, in slices: a client that never stops sending gets its turn, not ours.
    pub(super) fn readable(&mut self, index: u32, read_closed: bool) {
        let mut budget_bytes = READ_BYTES_PER_TURN;
        loop {
            let pipelined_bytes = self.core.config.limits.pipelined_bytes;
            let Some(conn) = self.core.conn(index) else { return };
            if !conn.takes_input(pipelined_bytes) {
                conn.input = Input::Waiting;
                return;
            }
            let Some(transport) = &mut self.transports[index as usize] else { return };
            match transport.read(&mut self.read_buffer) {
                Ok(0) => return self.end_of_input(index),
                Ok(count) => {
                    self.core.stats.bytes_in += count as u64;
                    self.receive(index, count);
                    budget_bytes = budget_bytes.saturating_sub(count);
                    // A short read has emptied the socket, unless a FIN lies behind it: that one
                    // was reported together with these bytes and will not be reported again.
                    if count < self.read_buffer.len() && !read_closed {
                        return self.input_drained(index);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return self.input_drained(index);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.lose(index, &error),
            }
            if budget_bytes == 0 {
                return self.put_off(index);
            }
        }
    }

    fn input_drained(&mut self, index: u32) {
        if let Some(conn) = self.core.conn(index)
            && conn.input == Input::Waiting
        {
            conn.input = Input::Drained;
        }
    }

    fn put_off(&mut self, index: u32) {
        if let Some(conn) = self.core.conn(index) {
            conn.input = Input::Waiting;
            self.core.put_off(index);
        }
    }

    /// Goes on with connections that had more to say than an earlier turn allowed.
    pub(super) fn run_put_off_input(&mut self) {
        for _ in 0..mem::take(&mut self.put_off_earlier) {
            let Some(index) = self.core.runnable.pop_front() else { return };
            if let Some(conn) = self.core.conn(index) {
                conn.is_put_off = false;
            }
            self.receive(index, 0);
            // A FIN may lie behind what is read now: only an empty read ends this one.
            if self.core.conn(index).is_some_and(|conn| conn.input == Input::Waiting) {
                self.readable(index, true);
            }
        }
    }

    /// Makes requests of the first `count` bytes of the read buffer and of what was kept.
    pub(super) fn receive(&mut self, index: u32, count: usize) {
        let mut taken = 0;
        let mut requests_left = REQUESTS_PER_TURN;
        loop {
            let Some(Slot::Conn(conn)) = self.core.slots.get_mut(index as usize) else { return };
            let mut input = &self.read_buffer[taken..count];
            let Phase::Reading { reader, since } = &mut conn.phase else {
                // Behind a request that opened a stream, and behind one that was refused, nothing
                // is answered any more; RFC 9112, 9.6 lets the client expect just that.
                if !input.is_empty() {
                    conn.afterwards = Afterwards::Close;
                }
                return;
            };
            let limits = &self.core.config.limits;
            if conn.outbox.len() > limits.pipelined_bytes || requests_left == 0 {
                reader.keep(input);
                if requests_left == 0 {
                    self.core.put_off(index);
                }
                return;
            }
            let stage = reader.stage();
            let progress = reader.advance(&mut input, limits, &mut self.request);
            taken = count - input.len();
            let turned_away = conn.admission != Admission::Admitted;
            match progress {
                // The body will not be waited for.
                Ok(Progress::NeedMore | Progress::ExpectContinue)
                    if turned_away && reader.stage() == Stage::Body =>
                {
                    return self.turn_away(index, Asker::UNKNOWN);
                }
                Ok(Progress::Complete) if turned_away => {
                    return self.turn_away(index, Asker::of(&self.request));
                }
                Ok(Progress::NeedMore) => {
                    // A client that does not read its answers buys no time by asking for more.
                    let waits = turned_away || conn.output == Output::Blocked;
                    if reader.stage() != stage && !waits {
                        *since = self.core.now;
                        self.core.rearm(index);
                    }
                    return;
                }
                Ok(Progress::ExpectContinue) => {
                    conn.outbox.push(b"HTTP/1.1 100 Continue\r\n\r\n", &mut self.core.pool);
                    self.core.mark_dirty(index);
                }
                Ok(Progress::Complete) => {
                    if conn.output != Output::Blocked {
                        *since = self.core.now;
                    }
                    requests_left -= 1;
                    self.answer_request(index);
                }
                Err(refusal) => return self.refuse(index, refusal),
            }
        }
    }

    fn answer_request(&mut self, index: u32) {
        let head = Head::of(&self.request);
        if !self.core.config.hosts.include(self.request.host()) {
            return self.refuse_as(index, Refusal::MISDIRECTED, head.closing());
        }
        self.core.stats.requests += 1;
        let peer = self.core.peer(index);
        self.request.set_peer(peer);
        let (handler, request, core) = (&mut self.handler, &mut self.request, &mut self.core);
        let began_ms = core.watchdog.begin();
        let response = guard("a handler", || handler.handle(request, &mut Context::new(core)));
        if let Some(took_ms) = core.watchdog.slow_since(began_ms) {
            core.report_slow_call(handler_of(request), took_ms);
        }
        match response {
            Ok(Response::Reply(reply)) if reply.wait_ms().is_some() => {
                self.core.answer_busy(index, reply, Asker::of(&self.request));
            }
            Ok(Response::Reply(reply)) => {
                let reply = self.core.compress_reply(reply, &self.request);
                self.core.answer(index, reply, head);
            }
            Ok(Response::Sse(sse)) => match sse.refusal(self.core.system_time()) {
                Some((status, reason)) => {
                    let path = Logged(self.request.path());
                    if status == 500 {
                        log::error!("{} {path}: {reason}", head.method);
                    } else {
                        self.core.stats.refused.count(status);
                        log::debug!("{} {path}: {reason}", head.method);
                    }
                    self.core.answer(index, Reply::error(status, reason), head);
                    self.core.drop_guarded(sse);
                }
                None if head.method == Method::Head => {
                    self.answer_stream_head(index, head, &sse);
                    self.core.drop_guarded(sse);
                }
                None => {
                    if let Some(conn) = self.core.conn(index) {
                        conn.framing = head.framing();
                        let pipelined = matches!(&conn.phase,
                            Phase::Reading { reader, .. } if reader.has_kept());
                        if pipelined || head.connection() == Connection::Close {
                            conn.afterwards = Afterwards::Close;
                        }
                        conn.phase = Phase::Answering;
                        let last_event_id = last_event_id(&self.request);
                        let encoding = self.core.encoding_of(&self.request, &sse);
                        let counts =
                            sse.tag.is_some() && self.core.config.limits.streams_per_tag.is_some();
                        let asker = counts.then(|| Asker::of(&self.request));
                        let route = self.core.routes.number(self.request.route());
                        let request = Remembered { last_event_id, encoding, asker, route };
                        self.core.births.push_back(Birth::Stream { index, sse, request });
                    }
                }
            },
            Err(_) => {
                self.core.stats.panics += 1;
                let reply = Reply::error(500, "the handler of this request panicked");
                self.core.answer(index, reply, head);
            }
        }
    }

    /// A HEAD request for a stream is told what a GET would start with.
    fn answer_stream_head(&mut self, index: u32, head: Head, sse: &Sse) {
        let connection = match head.framing() {
            StreamFraming::Chunked => self.core.connection_behind(index, head),
            StreamFraming::UntilClose => Connection::Close,
        };
        let encoding = self.core.encoding_of(&self.request, sse);
        let [vary, coding] = self.core.coding_lines(encoding);
        let lines = [sse.header_lines.as_bytes(), vary, coding];
        let Some(Slot::Conn(conn)) = self.core.slots.get_mut(index as usize) else { return };
        let out = conn.outbox.bytes(&mut self.core.pool);
        encode_stream_head(out, &self.core.date, head.framing(), connection, lines);
        self.core.finish_answer(index, connection);
    }

    /// Refuses what is not known to be a request.
    pub(super) fn refuse(&mut self, index: u32, refusal: Refusal) {
        self.refuse_as(index, refusal, Head::UNKNOWN);
    }

    fn refuse_as(&mut self, index: u32, refusal: Refusal, head: Head) {
        self.core.stats.refused.count(refusal.status());
        log::debug!("{}: refused with {refusal}", self.core.peer(index));
        self.core.answer(index, Reply::from(refusal), head);
    }

    /// Tells a connection that was not admitted to come back later.
    fn turn_away(&mut self, index: u32, asker: Asker) {
        if let Some(reply) = self.core.no_room_for(index) {
            self.core.answer_busy(index, reply, asker);
        }
    }

    /// The peer has sent its FIN. Answers that are under way still reach it; streams end.
    fn end_of_input(&mut self, index: u32) {
        let Some(conn) = self.core.conn(index) else { return };
        conn.input = Input::Ended;
        conn.afterwards = Afterwards::Close;
        let nothing_queued = conn.outbox.is_empty();
        match &mut conn.phase {
            Phase::Streaming(_) => self.core.end_stream_at(index, CloseReason::Disconnected),
            // Born and finished in this turn, it still reaches the client; otherwise it ends then.
            Phase::Answering | Phase::Closed { .. } => {}
            Phase::Draining { goodbye: Goodbye::Said, .. } => self.core.release(index),
            Phase::Draining { goodbye: Goodbye::Later, .. } if nothing_queued => {
                self.core.release(index);
            }
            Phase::Draining { .. } => {}
            Phase::Reading { .. } if nothing_queued => self.core.release(index),
            Phase::Reading { .. } => self.core.start_draining(index, Goodbye::Fin),
        }
    }

    /// Reading or writing failed for good.
    pub(super) fn lose(&mut self, index: u32, error: &io::Error) {
        let peer = self.core.peer(index);
        log::debug!("{peer}: {error}");
        let Some(conn) = self.core.conn(index) else { return };
        match conn.phase {
            Phase::Streaming(ref streaming) if streaming.ending.is_none() => {
                self.core.end_stream_at(index, CloseReason::Io(error.kind()));
            }
            // Its end is being settled; there is nobody left to flush for.
            Phase::Streaming(ref mut streaming) => {
                streaming.ending = Some(Ending::Abort);
            }
            _ => self.core.release(index),
        }
    }
}

impl Core {
    /// Queues a reply and decides what becomes of the connection.
    pub(super) fn answer(&mut self, index: u32, reply: Reply, head: Head) {
        let connection = self.connection_behind(index, head);
        let Some(Slot::Conn(conn)) = self.slots.get_mut(index as usize) else { return };
        let out = conn.outbox.bytes(&mut self.pool);
        reply.encode_head(out, &self.date, connection, head.version);
        if head.method != Method::Head {
            conn.outbox.push_body(reply.into_body(), &mut self.pool);
        }
        self.finish_answer(index, connection);
    }

    /// What becomes of the connection behind an answer, for its head to say.
    fn connection_behind(&mut self, index: u32, head: Head) -> Connection {
        let stopping = self.stopping != Stopping::No;
        match self.conn(index) {
            Some(conn) if !stopping && conn.afterwards == Afterwards::ReadOn => head.connection(),
            _ => Connection::Close,
        }
    }

    fn finish_answer(&mut self, index: u32, connection: Connection) {
        if connection == Connection::Close {
            self.start_draining(index, Goodbye::Fin);
        }
        self.mark_dirty(index);
    }

    /// From here on the connection only says what is queued, and goodbye.
    pub(super) fn start_draining(&mut self, index: u32, goodbye: Goodbye) {
        let Some(Slot::Conn(conn)) = self.slots.get(index as usize) else { return };
        let (now, limits) = (self.now, &self.config.limits);
        let until = match (conn.admission, conn.output) {
            (Admission::Admitted, Output::Blocked) => stall_due(now, limits),
            (Admission::Admitted, Output::Quiet | Output::Dirty) => linger_due(now, limits),
            // One who was not admitted is in the way of others who want to be told the same.
            _ => now + millis(limits.linger_timeout).min(TURNED_AWAY_LINGER_MS),
        };
        self.drain_until(index, until, goodbye);
    }

    pub(super) fn drain_until(&mut self, index: u32, until: u64, goodbye: Goodbye) {
        if let Some(conn) = self.conn(index)
            && !matches!(conn.phase, Phase::Closed { .. })
        {
            conn.phase = Phase::Draining { until, goodbye };
            self.rearm(index);
            self.mark_dirty(index);
        }
    }
}

impl Conn {
    /// False while answers must go out first; bytes then stay in the socket, which is the
    /// backpressure a pipelining client gets.
    fn takes_input(&self, pipelined_bytes: usize) -> bool {
        match &self.phase {
            // What is kept must be answered first, or a flood of small requests piles up, and a FIN
            // behind them would be seen too early.
            Phase::Reading { reader, .. } => {
                !reader.has_kept() && self.outbox.len() <= pipelined_bytes
            }
            Phase::Draining { .. } | Phase::Streaming(_) => true,
            Phase::Answering | Phase::Closed { .. } => false,
        }
    }
}

/// What the client has seen: by the header, or by the query of one that cannot set it. An empty
/// id is none: WHATWG HTML, 9.2.6 resets it that way.
fn last_event_id(request: &Request) -> Option<Box<str>> {
    if let Some(id) = request.last_event_id().filter(|id| !id.is_empty()) {
        return Some(id.into());
    }
    let in_query = |name| request.query_value(name).filter(|id| !id.is_empty());
    let id = ["last_event_id", "lastEventID", "lastEventId"].into_iter().find_map(in_query);
    id.map(|id| id.as_ref().into())
}

/// One turn's share of a client that sends without end.
const READ_BYTES_PER_TURN: usize = 256 * 1024;
/// What a few hundred bytes need on the slowest of ways.
const TURNED_AWAY_LINGER_MS: u64 = 3_000;
/// One turn's share of a client that pipelines.
const REQUESTS_PER_TURN: u32 = 64;
