//! The start of a stream: from what a handler returned to an open stream, whose head and first
//! events leave in one write.

use std::time::Duration;

use crate::{
    compress::Encoding,
    conn::{self, Afterwards, Farewell, InputState, Phase, Schedule, Standing, Streaming},
    engine::{
        Engine, Transport,
        api::{Alignment, Ending, FirstTick, KeepAlive, Sse},
        calls::Closures,
        client::Requester,
        core::{Buffer, Core},
        keys::ConnIndex,
        pending::Remembered,
        tag_lists::TagFull,
    },
    error::CloseReason,
    http::{Connection, Response, StreamFraming, encode_stream_head},
    sse::Heartbeat,
    time::{NEVER, millis},
};

impl<T: Transport> Engine<T> {
    pub(super) fn open_stream(&mut self, index: ConnIndex, sse: Sse, request: &Remembered) {
        let core = &mut self.core;
        if !matches!(core.conns[index].phase(), Phase::Answering { .. }) {
            // The connection was lost after the request: never a stream, so no hooks.
            return core.drop_sse(sse);
        }
        if (sse.tag.is_some() || request.network.is_some())
            && let Some(response) = core.take_places(index, &sse, request)
        {
            let client = request.client.unwrap_or_else(|| Requester::unread(None));
            core.answer_busy(index, response.with_lines(&sse.header_lines), client);
            return core.drop_sse(sse);
        }
        let is_kept_alive = core.begin_stream(index, &sse, request);
        self.head_buffer.clear();
        core.encode_head(index, &sse, request.encoding, &mut self.head_buffer);
        core.begin_events(index, &sse, request);
        let ticks_now = sse.updater.is_some() && sse.first_tick == FirstTick::Now;
        let mut hooks = sse.hooks;
        let on_connect = hooks.on_connect.take();
        self.closures[index.slot()] = Closures::new(sse.updater, hooks);
        if let Some(hook) = on_connect
            && core.lend(index, "on_connect", hook).is_err()
        {
            core.end_stream(index, CloseReason::Panicked);
        }
        if ticks_now && core.conns[index].is_live_stream() {
            self.tick(index);
        }
        self.core.mark_birth(index);
        if let Some(ending) = sse.ending {
            self.core.end_with_birth(index, ending);
        }
        let head = std::mem::take(&mut self.head_buffer);
        match self.core.is_silent(index) {
            true => self.write_quiet_head(index, &head),
            false => self.write_scratch(index, &head),
        }
        self.head_buffer = head;
        if !is_kept_alive {
            self.begin_probes(index);
        }
        self.core.catch_up(index);
    }

    /// Probes of clients that connected together must not be sent together, because the queues of
    /// some network devices are short. They start up to half as late again, in steps of a second.
    fn begin_probes(&mut self, index: ConnIndex) {
        let mut tcp = self.core.config.tcp;
        tcp.keep_alive_idle = tcp.keep_alive_idle.map(|idle| {
            let steps = (idle.as_secs() / 2).max(1);
            idle.saturating_add(Duration::from_secs(self.core.stats.opened % steps))
        });
        self.links.send_keep_alive_probes(index, &tcp);
    }
}

impl Core {
    /// Takes the places that a new stream needs; the response if it is over a limit.
    #[inline(never)]
    fn take_places(
        &mut self,
        index: ConnIndex,
        sse: &Sse,
        request: &Remembered,
    ) -> Option<Response> {
        let limits = &self.config.limits;
        if let Some(network) = request.network
            && !self.occupancy.enter_proxied(index, network, limits)
        {
            let is_full = sse.tag.as_ref().is_some_and(|tag| self.tags.is_full(tag, limits));
            return Some(if is_full { self.no_room_for_tag() } else { self.no_room_for_address() });
        }
        // Streams whose end is decided do not count, so a new one can replace an old one within a
        // turn.
        match self.tags.add(self.conns.next_stream_id(index), sse.tag.as_ref()?, limits) {
            Ok(None) => None,
            Ok(Some(oldest)) => {
                self.replace(oldest);
                None
            }
            Err(TagFull) => {
                self.occupancy.leave_proxied(index);
                Some(self.no_room_for_tag())
            }
        }
    }

    /// From here on the connection is a stream. True if keep-alives are frequent enough to detect a
    /// vanished client.
    fn begin_stream(&mut self, index: ConnIndex, sse: &Sse, request: &Remembered) -> bool {
        let generation = self.conns.next_generation();
        let leaves = self.stopping.departure(self.now, generation);
        let lifetime_ms = sse.lifetime_ms(self.system_time(), self.aging);
        self.aging = self.aging.wrapping_add(u64::from(sse.max_lifetime.is_some()));
        let schedule = sse.schedule(self.now, lifetime_ms, self.config.keep_alive, leaves);
        let streaming = Streaming::new(self.now, &schedule);
        self.conns[index].begin_streaming(generation, request.route, streaming);
        self.count_opened(index);
        match schedule.keep_alive {
            conn::KeepAlive::Off => false,
            conn::KeepAlive::Comment { quiet_ms: ms } | conn::KeepAlive::Event { every_ms: ms } => {
                ms <= KEEP_ALIVES_SUFFICE_MS
            }
        }
    }

    fn encode_head(&self, index: ConnIndex, sse: &Sse, encoding: Encoding, out: &mut Vec<u8>) {
        let conn = &self.conns[index];
        let connection = match (conn.framing(), conn.afterwards()) {
            (StreamFraming::Chunked, Afterwards::ReadOn) => Connection::KeepAlive,
            _ => Connection::Close,
        };
        let [vary, coding] = self.coding_lines(encoding);
        let lines = [sse.header_lines.as_bytes(), vary, coding];
        encode_stream_head(out, &self.date, conn.framing(), connection, lines);
    }

    /// Writes the first events of the stream to the buffer, and subscribes it to its topics.
    fn begin_events(&mut self, index: ConnIndex, sse: &Sse, request: &Remembered) {
        if request.encoding != Encoding::Identity {
            let heartbeat = self.conns[index].streaming().map(Streaming::heartbeat);
            let heartbeat = heartbeat.unwrap_or(Heartbeat::Comment);
            let coding = self.coding.open(request.encoding, heartbeat);
            self.conns[index].begin_coding(coding);
        }
        self.scratch.begin();
        self.scratch.push_all(&sse.first_events);
        self.lent = Some(index);
        let id = self.conns.stream_id(index);
        let last_event_id = request.last_event_id.as_deref();
        if self.topics.has_namespace() {
            self.subscribe_all(id, &sse.subscriptions, last_event_id);
        } else {
            if let Some(last_event_id) = last_event_id {
                self.topics.remember(index, last_event_id, &sse.subscriptions);
            }
            for (topic, join_at) in &sse.subscriptions {
                self.subscribe(id, topic, *join_at);
            }
        }
        self.lent = None;
    }

    /// Ends a stream's first events with its bookmark, if it needs one; always if a sender's own id
    /// is among them.
    fn mark_birth(&mut self, index: ConnIndex) {
        let is_unmarked = self.conns[index].standing() == Standing::Unmarked;
        if is_unmarked && !self.scratch.has_id() {
            self.push_bookmark(index, Buffer::Scratch);
        }
    }

    /// A stream that is to end when it has started. If it has to wait for its topics, it ends then.
    fn end_with_birth(&mut self, index: ConnIndex, ending: Ending) {
        if !self.topics.end_after_waiting(index, ending) {
            self.end_stream(index, ending.into());
        }
    }

    /// True if nothing follows the head of a new stream in this turn.
    fn is_silent(&self, index: ConnIndex) -> bool {
        let conn = &self.conns[index];
        let has_news = || conn.subscriptions().iter().any(|&it| self.topics.has_news(it));
        self.scratch.events().is_empty() && conn.is_live_stream() && !has_news()
    }

    /// Handles what happened to the connection while its stream was starting.
    fn catch_up(&mut self, index: ConnIndex) {
        match self.conns[index].input() {
            InputState::Drained => {}
            InputState::Waiting => self.conns.put_off(index),
            InputState::Ended => {
                self.end_stream(index, CloseReason::Disconnected);
            }
        }
        self.rearm(index);
    }
}

impl Sse {
    /// The first deadlines of a stream that starts now.
    fn schedule(
        &self,
        now: u64,
        lifetime_ms: Option<u64>,
        default: Option<Duration>,
        leaves: Option<u64>,
    ) -> Schedule {
        let interval_ms = self.interval_ms();
        let comment = |quiet| conn::KeepAlive::Comment { quiet_ms: millis(quiet) };
        let keep_alive = match self.keep_alive {
            KeepAlive::Default => default.map_or(conn::KeepAlive::Off, comment),
            KeepAlive::Every(quiet) => comment(quiet),
            KeepAlive::Event(every) => conn::KeepAlive::Event { every_ms: millis(every) },
            KeepAlive::Off => conn::KeepAlive::Off,
        };
        let lifetime = lifetime_ms.map_or(NEVER, |age_ms| now.saturating_add(age_ms));
        let next_tick = match (self.updater.is_some(), self.alignment) {
            (false, _) => NEVER,
            (true, Alignment::Own) => now + u64::from(interval_ms),
            (true, Alignment::Shared) => (now + 1).next_multiple_of(u64::from(interval_ms)),
        };
        Schedule {
            next_tick,
            expires: leaves.map_or(lifetime, |departure| lifetime.min(departure)),
            farewell: if leaves.is_some() { Farewell::Due } else { Farewell::NotDue },
            interval_ms,
            keep_alive,
            slack_ms: u16::try_from(millis(self.slack)).unwrap_or(u16::MAX),
        }
    }
}

/// With keep-alives this frequent, the user timeout detects a vanished client within a minute.
const KEEP_ALIVES_SUFFICE_MS: u64 = 40_000;
