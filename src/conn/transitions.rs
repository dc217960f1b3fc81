//! All state changes of a connection.
//!
//! A method is named after what happened, takes `now` where it matters, and returns what the caller
//! must do, if anything. It knows no list, no wheel and no socket.

use super::{
    Admission, Afterwards, Announcer, CodingIndex, Conn, Goodbye, InputState, Output, Paused,
    Phase, RouteIndex, Standing, StreamEnd, Streaming, Subscription, Subscriptions, TopicIndex,
    linger_due, stall_due,
};
use crate::{
    http::{Peer, Reader, StreamFraming},
    limits::Limits,
};

/// What comes before requests: the PROXY protocol header, the TLS handshake.
impl Conn {
    /// The expected announcer, while a PROXY protocol header is awaited.
    pub(crate) fn announcer(&mut self) -> Option<&mut Announcer> {
        match &mut self.phase {
            Phase::ProxyHeader { announcer, .. } => Some(announcer),
            _ => None,
        }
    }

    /// The header names this client; the connection is admitted or not.
    pub(crate) fn announced(&mut self, peer: Peer, admission: Admission) {
        self.peer = peer.into();
        self.admission = admission;
    }

    /// A TLS handshake is expected before the first request.
    pub(crate) fn begin_handshake(&mut self) {
        if let Phase::Reading { since, .. } = self.phase {
            self.phase = Phase::Handshake { since };
        }
    }

    /// True until the TLS handshake is complete, if one is required.
    pub(crate) fn is_in_handshake(&self) -> bool {
        matches!(self.phase, Phase::Handshake { .. })
    }

    /// For how long the TLS handshake has been in progress, if there is one.
    pub(crate) fn in_handshake_for(&self, now: u64) -> Option<u64> {
        match self.phase {
            Phase::Handshake { since } => Some(now.saturating_sub(since)),
            _ => None,
        }
    }

    /// The header or the handshake is complete, and requests follow. A rejected connection has one
    /// timeout for everything.
    pub(crate) fn begin_requests(&mut self, now: u64) {
        if let Phase::ProxyHeader { since, .. } | Phase::Handshake { since } = self.phase {
            self.phase = Phase::fresh(if self.is_admitted() { now } else { since });
        }
    }
}

/// Requests and answers.
impl Conn {
    /// The reader of requests, while requests are read.
    pub(crate) fn reader(&mut self) -> Option<&mut Reader> {
        match &mut self.phase {
            Phase::Reading { reader, .. } => Some(reader),
            _ => None,
        }
    }

    /// A request has reached its next stage, whose timeout starts now. A client that does not read
    /// its responses gains no time by sending more requests, and a rejected one has one timeout for
    /// everything.
    pub(crate) fn begin_stage(&mut self, now: u64) {
        let waits = self.is_blocked() || !self.is_admitted();
        if let Phase::Reading { since, .. } = &mut self.phase
            && !waits
        {
            *since = now;
        }
    }

    /// All responses are out, and the connection waits for the next request.
    pub(crate) fn begin_idle(&mut self, now: u64) {
        if let Phase::Reading { since, .. } = &mut self.phase {
            *since = now;
        }
    }

    /// The connection closes after the current response.
    pub(crate) fn close_afterwards(&mut self) {
        self.afterwards = Afterwards::Close;
    }

    /// The answer comes later, until this time at the latest. Requests wait.
    pub(crate) fn begin_waiting(&mut self, until: u64) {
        let Phase::Reading { reader, since } = &mut self.phase else {
            return debug_assert!(false, "a request was read");
        };
        let reader = std::mem::replace(reader, Reader::new());
        self.phase = Phase::Waiting(Box::new(Paused::new(reader, *since, until)));
    }

    /// The answer has come, and the next request may follow.
    pub(crate) fn end_waiting(&mut self, now: u64) {
        let since = self.blocked_since().unwrap_or(now);
        if let Phase::Waiting(paused) = &mut self.phase {
            self.phase = Phase::Reading { reader: paused.resume(), since };
        }
    }

    /// Keeps bytes that come while the answer is awaited. False if it is not.
    pub(crate) fn keep_while_waiting(&mut self, bytes: &[u8]) -> bool {
        let Phase::Waiting(paused) = &mut self.phase else { return false };
        paused.keep(bytes);
        true
    }

    /// The answer is a stream, which begins when the turn settles.
    pub(crate) fn begin_answering(&mut self, framing: StreamFraming) {
        let Phase::Reading { since, .. } = self.phase else {
            return debug_assert!(false, "a request was read");
        };
        self.framing = framing;
        self.phase = Phase::Answering { since };
    }

    /// The response is only the head of a stream, with what a client needs to reconnect.
    pub(crate) fn answer_with_stub(&mut self, framing: StreamFraming) {
        self.framing = framing;
    }
}

/// Stream events.
impl Conn {
    /// The requested stream is open. If an earlier response blocks the socket, its stall timeout
    /// continues.
    pub(crate) fn begin_streaming(
        &mut self,
        generation: u32,
        route: Option<RouteIndex>,
        mut streaming: Streaming,
    ) {
        debug_assert!(matches!(self.phase, Phase::Answering { .. }));
        if let Some(since) = self.blocked_since() {
            streaming.wrote(since);
        }
        self.generation = generation;
        self.route = route;
        self.phase = Phase::Streaming(streaming);
    }

    /// The end of the stream is decided; nothing more is sent to it. True if it was open.
    pub(crate) fn end_stream(&mut self, ending: StreamEnd) -> bool {
        let is_live = self.is_live_stream();
        if is_live && let Phase::Streaming(streaming) = &mut self.phase {
            streaming.end(ending);
        }
        is_live
    }

    /// The client is gone: nothing more is sent, however the stream was to end.
    pub(crate) fn abort_stream(&mut self) {
        if let Phase::Streaming(streaming) = &mut self.phase {
            streaming.end(StreamEnd::Abort);
        }
    }

    /// The last chunk is among the bytes that leave now.
    pub(crate) fn finish_now(&mut self) {
        if let Phase::Streaming(streaming) = &mut self.phase {
            debug_assert_eq!(streaming.ending(), Some(StreamEnd::Finish));
            streaming.end(StreamEnd::Finished);
        }
    }

    /// A stream has finished, and the connection reads its next request.
    pub(crate) fn begin_reading(&mut self, now: u64) {
        debug_assert!(matches!(self.phase, Phase::Streaming(_)));
        self.phase = Phase::idle(self.blocked_since().unwrap_or(now));
    }

    /// Moves on to the next tick; see [`Streaming::schedule_next`].
    pub(crate) fn schedule_next_tick(&mut self, now: u64) -> u64 {
        self.streaming_mut().map_or(0, |streaming| streaming.schedule_next(now))
    }

    /// Moves the next tick to this time, once.
    pub(crate) fn tick_at(&mut self, deadline: u64) {
        if let Some(streaming) = self.streaming_mut() {
            streaming.tick_at(deadline);
        }
    }

    /// The stream leaves at this time at the latest; its client is sent a reconnect delay before.
    pub(crate) fn leave_by(&mut self, departure: u64) {
        if let Some(streaming) = self.streaming_mut() {
            streaming.leave_by(departure);
        }
    }

    /// The client has been sent its reconnect delay.
    pub(crate) fn say_farewell(&mut self) {
        if let Some(streaming) = self.streaming_mut() {
            streaming.said_farewell();
        }
    }

    /// The stream is compressed; the engine keeps its coding state under this index.
    pub(crate) fn begin_coding(&mut self, coding: CodingIndex) {
        self.coding = Some(coding);
    }

    /// The stream is no longer compressed.
    pub(crate) fn end_coding(&mut self) -> Option<CodingIndex> {
        self.coding.take()
    }

    pub(crate) fn subscribe(&mut self, subscription: Subscription) {
        if let Some(streaming) = self.streaming_mut() {
            streaming.subscriptions_mut().add(subscription);
        }
    }

    pub(crate) fn unsubscribe(&mut self, topic: TopicIndex) -> Option<Subscription> {
        self.streaming_mut()?.subscriptions_mut().remove(topic)
    }

    /// The next frames need at least this check.
    pub(crate) fn doubt_standing(&mut self, standing: Standing) {
        if let Some(streaming) = self.streaming_mut() {
            streaming.subscriptions_mut().doubt(standing);
        }
    }

    /// The client holds an id for the stream's position, or has everything.
    pub(crate) fn set_standing(&mut self, standing: Standing) {
        if let Some(streaming) = self.streaming_mut() {
            streaming.subscriptions_mut().set_standing(standing);
        }
    }

    /// Ends all subscriptions and returns them.
    pub(crate) fn take_subscriptions(&mut self) -> Subscriptions {
        self.streaming_mut()
            .map_or(Subscriptions::None, |streaming| std::mem::take(streaming.subscriptions_mut()))
    }

    /// A topic has moved this stream in its list.
    pub(crate) fn subscription_moved(&mut self, topic: TopicIndex, place: u32) {
        if let Some(streaming) = self.streaming_mut() {
            streaming.subscriptions_mut().moved(topic, place);
        }
    }

    fn streaming_mut(&mut self) -> Option<&mut Streaming> {
        match &mut self.phase {
            Phase::Streaming(streaming) => Some(streaming),
            _ => None,
        }
    }
}

/// Bytes out.
impl Conn {
    /// Something is queued. True if the caller must list the connection for the flush at the end of
    /// the turn: it is not listed yet, and its socket takes bytes.
    pub(crate) fn queued(&mut self) -> bool {
        let is_new = matches!(self.output, Output::Quiet | Output::Sent);
        if is_new {
            self.output = Output::Dirty;
        }
        is_new
    }

    /// Another closure has queued something. True if the caller must list the connection for one of
    /// the next flushes.
    pub(crate) fn queued_by_other(&mut self) -> bool {
        let is_new = self.output == Output::Quiet;
        if is_new {
            self.output = Output::Sent;
        }
        is_new
    }

    /// A flush starts; true if the socket has refused bytes so far.
    pub(crate) fn begin_flush(&mut self) -> bool {
        std::mem::replace(&mut self.output, Output::Quiet) == Output::Blocked
    }

    /// The socket has taken bytes.
    pub(crate) fn wrote(&mut self, now: u64) {
        if let Phase::Streaming(streaming) = &mut self.phase {
            streaming.wrote(now);
        }
    }

    /// The stream is sent its keep-alive.
    pub(crate) fn kept_alive(&mut self, now: u64) {
        if let Some(streaming) = self.streaming_mut() {
            streaming.kept_alive(now);
        }
    }

    /// The socket refuses bytes.
    pub(crate) fn blocked(&mut self) {
        self.output = Output::Blocked;
    }

    /// The socket refuses more after the last bytes it took: the stall timeout starts. A rejected
    /// connection has its own timeout.
    pub(crate) fn begin_stall(&mut self, now: u64, limits: &Limits) {
        if !self.is_admitted() {
            return;
        }
        match &mut self.phase {
            Phase::Streaming(streaming) => streaming.wrote(now),
            Phase::Reading { since, .. } => *since = now,
            Phase::Waiting(paused) => paused.begin_stall(now),
            Phase::Draining { goodbye: Goodbye::Later, since, .. } => *since = now,
            Phase::Draining { until, since, .. } => {
                *since = now;
                *until = stall_due(now, limits);
            }
            Phase::ProxyHeader { .. }
            | Phase::Handshake { .. }
            | Phase::Answering { .. }
            | Phase::Closed { .. } => {}
        }
    }

    /// The socket of a blocked connection has taken everything, or takes all it is given.
    pub(crate) fn end_stall(&mut self, now: u64, limits: &Limits) {
        let is_admitted = self.is_admitted();
        match &mut self.phase {
            Phase::Reading { since, .. } if is_admitted => *since = now,
            Phase::Draining { goodbye: Goodbye::Later, .. } => {}
            Phase::Draining { until, .. } if is_admitted => {
                *until = linger_due(now, limits);
            }
            _ => {}
        }
    }
}

/// Bytes in.
impl Conn {
    /// The socket has nothing more for now.
    pub(crate) fn input_drained(&mut self) {
        if self.input == InputState::Waiting {
            self.input = InputState::Drained;
        }
    }

    /// Bytes remain in the socket, and the poller will not report them again.
    pub(crate) fn input_waits(&mut self) {
        self.input = InputState::Waiting;
    }

    /// The peer has sent its FIN.
    pub(crate) fn input_ended(&mut self) {
        self.input = InputState::Ended;
        self.afterwards = Afterwards::Close;
    }

    /// True while reported bytes wait in the socket.
    pub(crate) fn has_waiting_input(&self) -> bool {
        self.input == InputState::Waiting
    }

    /// True while the connection is listed for further reading in a later turn.
    pub(crate) fn is_put_off(&self) -> bool {
        self.is_put_off
    }

    /// Reading continues in a later turn. True if the caller must list the connection.
    pub(crate) fn put_off(&mut self) -> bool {
        !std::mem::replace(&mut self.is_put_off, true)
    }

    /// Reading continues now; false if it was not deferred.
    pub(crate) fn take_up(&mut self) -> bool {
        std::mem::take(&mut self.is_put_off)
    }
}

/// The end.
impl Conn {
    /// From here on the connection only sends what is queued and then its goodbye, until `until`.
    /// False if it was closed before.
    pub(crate) fn begin_draining(&mut self, until: u64, goodbye: Goodbye) -> bool {
        let is_open = !self.is_closed();
        if is_open {
            let since = self.blocked_since().unwrap_or_default();
            self.phase = Phase::Draining { until, goodbye, since };
        }
        is_open
    }

    /// Everything queued is out: the next step for a draining connection. A FIN is returned once;
    /// after a reset the connection must be closed.
    pub(crate) fn take_goodbye(&mut self) -> Option<Goodbye> {
        let Phase::Draining { goodbye, .. } = &mut self.phase else { return None };
        let now = *goodbye;
        if now == Goodbye::Fin {
            *goodbye = Goodbye::Said;
        }
        matches!(now, Goodbye::Fin | Goodbye::Reset).then_some(now)
    }

    /// Frees the connection's place for another one. Returns how it was admitted.
    pub(crate) fn leave_place(&mut self) -> Admission {
        std::mem::replace(&mut self.admission, Admission::Leaving)
    }

    /// The connection is finished; its slot is released at the end of the turn. False if it was
    /// closed before.
    pub(crate) fn close(&mut self) -> bool {
        let goodbye = match self.phase {
            Phase::Closed { .. } => return false,
            // Aborted, or closed before its cut, where the end of the connection is the end of the
            // stream.
            Phase::Streaming(_) | Phase::Draining { goodbye: Goodbye::Later, .. }
                if self.framing == StreamFraming::UntilClose =>
            {
                Goodbye::Reset
            }
            Phase::Draining { goodbye, .. } => goodbye,
            _ => Goodbye::Fin,
        };
        self.phase = Phase::Closed { goodbye };
        true
    }

    /// True if the connection must be reset instead of closed in order: its end would look like the
    /// end of a stream, or unread bytes are left.
    pub(crate) fn ends_with_a_reset(&self) -> bool {
        let is_cut = matches!(self.phase, Phase::Closed { goodbye: Goodbye::Reset });
        is_cut || !self.outbox.is_empty()
    }
}
