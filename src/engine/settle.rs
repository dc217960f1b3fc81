//! Births and deaths: the moments at which closures move in and out, with no user code running.

use std::{
    fmt::Display,
    time::{Duration, SystemTime},
};

use super::{
    Engine, Transport,
    calls::{Calls, Panicked, guard},
    codec::Source,
    context::Context,
    core::{Birth, Core, Death, Remembered, Slot},
    fanout::LastFrames,
    next::Ending as AskedEnding,
    sse::{Alignment, FirstTick, KeepAlive, Sse},
    stream::StreamId,
    watchdog::Call,
};
use crate::{
    conn::{
        Afterwards, Conn, Ending, Farewell, Goodbye, Input, NEVER, OFF, Phase, Standing, Streaming,
        Subscriptions, millis,
    },
    error::{CloseReason, Logged},
    http::{Connection, LAST_CHUNK, StreamFraming, encode_stream_head},
};

impl<T: Transport> Engine<T> {
    /// Births before deaths, so that a stream that is opened and closed in one turn gets its
    /// hooks; until there are none of either, because hooks may cause more.
    pub(super) fn settle(&mut self) {
        let mut rounds_left = HOOK_ROUNDS_MAX;
        loop {
            while let Some(birth) = self.core.births.pop_front() {
                match birth {
                    Birth::Stream { index, sse, request } => {
                        self.open_stream(index, *sse, &request);
                    }
                    Birth::Render { topic, timer } => self.render_now(topic, timer),
                    Birth::Timer { index, call } => {
                        self.timers.insert(index, call);
                    }
                }
            }
            match self.core.deaths.pop_front() {
                Some(Death::Stream { id, reason, last_sequence }) => {
                    self.close_stream(id, reason, last_sequence);
                }
                Some(Death::Timer(index)) => {
                    let call = self.timers.remove(&index);
                    self.core.slots.remove(index as usize);
                    self.core.drop_guarded(call);
                }
                None => return,
            }
            rounds_left -= 1;
            assert!(rounds_left > 0, "hooks open and close streams without end");
        }
    }

    fn open_stream(&mut self, index: u32, sse: Sse, request: &Remembered) {
        let core = &mut self.core;
        let generation = core.next_generation();
        let (now, stopping) = (core.now, core.stopping);
        let (keep_alive, time) = (core.config.keep_alive, core.system_time());
        let Some(Slot::Conn(conn)) = core.slots.get_mut(index as usize) else { return };
        if !matches!(conn.phase, Phase::Answering) {
            // Lost between its request and now: never a stream, so no hooks.
            return core.drop_guarded(sse);
        }
        if let Some(asker) = request.asker
            && core.is_one_too_many(&sse)
        {
            let reply = core.no_room_for_tag().with_lines(&sse.header_lines);
            core.answer_busy(index, reply, asker);
            return core.drop_guarded(sse);
        }
        let Some(Slot::Conn(conn)) = core.slots.get_mut(index as usize) else { return };
        conn.generation = generation;
        conn.route = request.route;
        let leaves = stopping.departure(now, generation);
        conn.phase = Phase::Streaming(sse.state(now, time, keep_alive, leaves));
        let has_comments =
            conn.streaming().is_some_and(|it| it.keep_alive_ms <= COMMENTS_SUFFICE_MS);
        core.stats.streams += 1;
        core.stats.opened += 1;

        let framing = conn.framing;
        let connection = match (framing, conn.afterwards) {
            (StreamFraming::Chunked, Afterwards::ReadOn) => Connection::KeepAlive,
            _ => Connection::Close,
        };
        self.head_buffer.clear();
        let [vary, coding] = core.coding_lines(request.encoding);
        let lines = [sse.header_lines.as_bytes(), vary, coding];
        encode_stream_head(&mut self.head_buffer, &core.date, framing, connection, lines);

        core.coded.begin();
        core.open_codec(index, request.encoding);
        core.scratch.begin();
        core.scratch.push_all(&sse.first_events);
        core.lent = Some(index);
        let id = StreamId { index, generation };
        if let Some(last_event_id) = &request.last_event_id {
            core.topics.remember(index, last_event_id, &sse.subscriptions);
        }
        for (topic, join_at) in &sse.subscriptions {
            core.subscribe(id, topic, *join_at);
        }
        core.lent = None;
        if let Some(tag) = sse.tag {
            core.tags.add(id, tag);
        }
        let ticks_now = sse.updater.is_some() && sse.first_tick == FirstTick::Now;
        let mut hooks = sse.hooks;
        let on_connect = hooks.on_connect.take();
        self.calls[index as usize] =
            Calls { updater: sse.updater, hooks: (!hooks.is_empty()).then(|| Box::new(hooks)) };
        if let Some(hook) = on_connect
            && core.lend(index, "on_connect", hook).is_err()
        {
            core.end_stream_at(index, CloseReason::Panicked);
        }
        if ticks_now && core.conn(index).is_some_and(|conn| conn.is_live_stream()) {
            self.tick(index);
        }
        if let Some(ending) = sse.ending {
            self.core.end_stream_at(index, ending.into());
        }
        self.core.mark_birth(index);
        let head = std::mem::take(&mut self.head_buffer);
        self.write_scratch(index, &head);
        self.head_buffer = head;
        if !has_comments {
            self.send_keep_alive_probes(index);
        }
        self.after_birth(index);
    }

    /// Probes of clients that came together must not leave together: the queues of some network
    /// devices are short. So they begin up to half as late again, in steps of a second.
    fn send_keep_alive_probes(&mut self, index: u32) {
        let mut tcp = self.core.config.tcp;
        tcp.keep_alive_idle = tcp.keep_alive_idle.map(|idle| {
            let steps = (idle.as_secs() / 2).max(1);
            idle.saturating_add(Duration::from_secs(self.core.stats.opened % steps))
        });
        if let Some(transport) = &mut self.transports[index as usize] {
            transport.send_keep_alive_probes(&tcp);
        }
    }

    /// Catches up on what happened to the connection while its stream was being born.
    fn after_birth(&mut self, index: u32) {
        let Some(conn) = self.core.conn(index) else { return };
        match conn.input {
            Input::Drained => {}
            Input::Waiting => self.core.put_off(index),
            Input::Ended => self.core.end_stream_at(index, CloseReason::Disconnected),
        }
        self.core.rearm(index);
    }

    fn close_stream(&mut self, id: StreamId, reason: CloseReason, last_sequence: u64) {
        let index = id.index;
        let reason = match self.give_last_frames(index, last_sequence) {
            LastFrames::Given => reason,
            LastFrames::TooMany => CloseReason::Slow,
        };
        self.core.stats.streams -= 1;
        self.core.stats.closed.count(&reason);
        if reason.is_expected() {
            log::debug!("{id} of {}: {reason}", self.core.peer(index));
        } else {
            let reason = self.core.text_of(&reason);
            log::warn!("{id} of {}: {}", self.core.peer(index), Logged(&reason));
        }
        self.core.leave_topics(index);
        self.core.end_codec(index);
        self.core.close_codec(index);
        let mut calls = std::mem::take(&mut self.calls[index as usize]);
        let hook = calls.hooks.as_mut().and_then(|hooks| hooks.on_disconnect.take());
        let core = &mut self.core;
        match hook {
            Some(hook) => {
                let what = Call::Stream("on_disconnect", index);
                let _panicked = core.call(what, |core| hook(&mut Context::new(core), id, reason));
            }
            None => core.drop_guarded(reason),
        }
        core.drop_guarded(calls);
        core.tags.remove(id);
        core.leave_stream(index);
    }
}

impl Core {
    /// True when there are as many streams of this one's tag as there may be.
    fn is_one_too_many(&self, sse: &Sse) -> bool {
        let max = self.config.limits.streams_per_tag.unwrap_or(usize::MAX);
        sse.tag.as_deref().is_some_and(|tag| self.tags.with(tag).len() >= max)
    }

    /// Ends a stream's first events with its bookmark, if it needs one. With an id of a sender's
    /// among them, it gets one anyway.
    fn mark_birth(&mut self, index: u32) {
        let streaming = self.conn(index).and_then(Conn::streaming);
        let is_unmarked =
            streaming.is_some_and(|it| it.subscriptions.standing() == Standing::Unmarked);
        if is_unmarked && !self.scratch.has_id() {
            self.push_bookmark(index, Source::Scratch);
        }
    }

    /// Ends the bytes of a stream whose hooks have run, and moves its connection on.
    fn leave_stream(&mut self, index: u32) {
        let Some(Slot::Conn(conn)) = self.slots.get_mut(index as usize) else { return };
        let Phase::Streaming(Streaming { ending: Some(ending), .. }) = conn.phase else { return };
        let chunked = conn.framing == StreamFraming::Chunked;
        if ending == Ending::Finish && chunked {
            conn.outbox.push(LAST_CHUNK, &mut self.pool);
        }
        match ending {
            Ending::Abort => self.release(index),
            Ending::Finish | Ending::Finished
                if chunked && conn.afterwards == Afterwards::ReadOn =>
            {
                conn.phase = Phase::reading(self.now);
                self.rearm(index);
                self.mark_dirty(index);
            }
            Ending::Drop if !chunked => self.start_draining(index, Goodbye::Reset),
            Ending::Finish | Ending::Finished | Ending::Drop => {
                self.start_draining(index, Goodbye::Fin);
            }
        }
    }

    /// What an error of the user's says, unless it panics instead.
    pub(super) fn text_of(&mut self, error: &dyn Display) -> String {
        guard("the Display of an error", || error.to_string()).unwrap_or_else(|Panicked| {
            self.stats.panics += 1;
            "(an error that cannot be shown)".to_owned()
        })
    }

    /// Drops closures, whose captured values may have destructors that panic.
    pub(super) fn drop_guarded<V>(&mut self, value: V) {
        if guard("a destructor", || drop(value)).is_err() {
            self.stats.panics += 1;
        }
    }
}

impl Sse {
    /// The hot state of a stream that is born now.
    fn state(
        &self,
        now: u64,
        time: SystemTime,
        default: Option<Duration>,
        leaves: Option<u64>,
    ) -> Streaming {
        let interval_ms = self.interval_ms();
        let keep_alive = match self.keep_alive {
            KeepAlive::Default => default,
            KeepAlive::Every(quiet) => Some(quiet),
            KeepAlive::Off => None,
        };
        let lifetime = self.lifetime(time).map_or(NEVER, |age| now.saturating_add(millis(age)));
        let next_tick = match (self.updater.is_some(), self.alignment) {
            (false, _) => NEVER,
            (true, Alignment::Own) => now + u64::from(interval_ms),
            (true, Alignment::Shared) => (now + 1).next_multiple_of(u64::from(interval_ms)),
        };
        Streaming {
            next_tick,
            last_write: now,
            expires: leaves.map_or(lifetime, |departure| lifetime.min(departure)),
            farewell: if leaves.is_some() { Farewell::Due } else { Farewell::NotDue },
            interval_ms,
            born_s: (now / 1000) as u32,
            subscriptions: Subscriptions::None,
            keep_alive_ms: keep_alive
                .map_or(OFF, |quiet| u32::try_from(millis(quiet).max(1)).unwrap_or(OFF)),
            slack_ms: u16::try_from(millis(self.slack)).unwrap_or(u16::MAX),
            ending: None,
        }
    }
}

impl From<AskedEnding> for Ending {
    fn from(ending: AskedEnding) -> Self {
        match ending {
            AskedEnding::Finish => Self::Finish,
            AskedEnding::Drop => Self::Drop,
        }
    }
}

/// With a comment this often, the user timeout finds a vanished client within a minute.
const COMMENTS_SUFFICE_MS: u32 = 40_000;
/// Hooks that keep opening and closing streams for one another are a mistake of the program.
const HOOK_ROUNDS_MAX: u32 = 10_000_000;
