//! From requests to responses, and what happens to a connection after one.

use crate::{
    conn::{Afterwards, Goodbye, RouteIndex, linger_due},
    engine::{
        Engine, Transport,
        api::{Answer, Context, Sse},
        calls::{Caught, catch, watchdog::handler_of},
        client::{RequestLine, Requester},
        core::{Core, Stopping},
        keys::ConnIndex,
        pending::{Birth, Remembered},
    },
    error::Logged,
    http::{
        Connection, Method, Refusal, Request, Response, StatusCode, StreamFraming,
        encode_stream_head,
    },
    limits::{REPLACED_ID, TagOverflow},
    time::millis,
};

impl<T: Transport> Engine<T> {
    /// Passes the request that has been read to the handler.
    pub(super) fn answer_request(&mut self, index: ConnIndex) {
        let line = RequestLine::of(&self.request);
        if !self.core.config.hosts.contains(self.request.host()) {
            return self.core.refuse_as(index, Refusal::MISDIRECTED, line.closing());
        }
        #[cfg(feature = "tls")]
        if self.redirect_to_https(index, line) {
            return;
        }
        self.core.stats.requests += 1;
        let (peer, config) = (self.core.conns[index].peer(), &self.core.config);
        self.request.set_sender(peer, &config.trusted_proxies, config.forwarded_field);
        #[cfg(feature = "tls")]
        self.request.set_security(self.links.security(index));
        let (handler, request, core) = (&mut self.handler, &mut self.request, &mut self.core);
        let (answer, route) = core.call_handler(request, |request, cx| handler.handle(request, cx));
        core.stats.routes.requested(route);
        match answer {
            Ok(Answer::Later(later)) => self.begin_waiting(index, later),
            answer => core.deliver(index, answer, line, request),
        }
        self.core.drop_extensions(&mut self.request);
    }
}

/// Responses and streams.
impl Core {
    /// Calls what answers a request: guarded and timed. The route is known only afterwards.
    #[inline]
    pub(super) fn call_handler(
        &mut self,
        request: &mut Request,
        handle: impl FnOnce(&mut Request, &mut Context<'_>) -> Answer,
    ) -> (Result<Answer, Caught>, Option<RouteIndex>) {
        let began_nanos = self.watchdog.begin();
        let answer = catch(|| handle(request, &mut Context::new(self)));
        let took = self.end_call(began_nanos);
        let route = self.note_route(request.route());
        self.stats.routes.called(route, took.nanos);
        if let Some(took_ms) = took.slow_ms {
            self.report_slow_call(handler_of(request), took_ms);
        }
        (answer, route)
    }

    /// Sends what a handler has returned, now or later.
    pub(super) fn deliver(
        &mut self,
        index: ConnIndex,
        answer: Result<Answer, Caught>,
        line: RequestLine,
        request: &Request,
    ) {
        if let Ok(Answer::Response(response)) = &answer
            && let Some(failure) = response.failure()
        {
            log::error!("{} failed: {}", handler_of(request), Logged(failure));
        }
        match answer {
            Ok(Answer::Response(response)) if response.wait_ms().is_some() => {
                self.answer_busy(index, response, Requester::of(request));
            }
            Ok(Answer::Response(response)) => {
                let response = self.compress_response(response, request);
                self.answer(index, response, line);
            }
            Ok(Answer::Sse(sse)) => self.answer_stream(index, sse, line, request),
            Ok(Answer::Later(later)) => debug_assert!(false, "{later:?} is not an answer yet"),
            Err(caught) => {
                caught.log(handler_of(request));
                self.stats.panics += 1;
                let response = Response::error(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the handler of this request panicked",
                );
                self.answer(index, response, line);
            }
        }
    }
}

/// Streams.
impl Core {
    fn answer_stream(
        &mut self,
        index: ConnIndex,
        sse: Box<Sse>,
        line: RequestLine,
        request: &Request,
    ) {
        if let Some((status, reason)) = sse.refusal(self.system_time()) {
            let path = Logged(request.path());
            if status == StatusCode::INTERNAL_SERVER_ERROR {
                log::error!("{} {path}: {reason}", line.method);
            } else {
                self.stats.refused.count(status);
                log::debug!("{} {path}: {reason}", line.method);
            }
            let response = Response::error(status, reason).with_lines(&sse.header_lines);
            self.answer(index, response, line);
            return self.drop_sse(*sse);
        }
        if line.method == Method::Head {
            self.answer_stream_head(index, line, &sse, request);
            return self.drop_sse(*sse);
        }
        let last_event_id = last_event_id(request);
        if self.was_replaced(&sse, last_event_id.as_deref()) {
            self.answer(index, Response::no_content().with_lines(&sse.header_lines), line);
            return self.drop_sse(*sse);
        }
        if sse.updater.is_none()
            && last_event_id.as_ref().is_some_and(|id| self.has_seen_all(id, &sse.subscriptions))
        {
            self.answer(index, Response::no_content().with_lines(&sse.header_lines), line);
            return self.drop_sse(*sse);
        }
        let conn = &mut self.conns[index];
        let pipelined = conn.reader().is_some_and(|reader| reader.has_kept());
        if pipelined || line.connection() == Connection::Close {
            conn.close_afterwards();
        }
        conn.begin_answering(line.framing());
        let network = self.proxied_network(request);
        let has_tag_limit = sse.tag.is_some() && self.config.limits.streams_per_tag.is_some();
        let is_counted = has_tag_limit || network.is_some();
        let request = Remembered {
            last_event_id,
            encoding: self.encoding_of(request, &sse),
            client: is_counted.then(|| Requester::of(request)),
            network,
            route: self.note_route(request.route()),
        };
        self.pending.add_birth(Birth::Stream { index, sse, request });
    }

    /// True for the client of a stream that was replaced. With a stream it would replace the newer
    /// one, whose client would then do the same. After a 204 an `EventSource` does not reconnect
    /// (WHATWG HTML, 9.2.3).
    #[inline]
    fn was_replaced(&self, sse: &Sse, last_event_id: Option<&str>) -> bool {
        sse.tag.is_some()
            && self.config.limits.streams_per_tag.is_some()
            && self.config.limits.tag_overflow == TagOverflow::ReplaceOldest
            && last_event_id == Some(REPLACED_ID)
    }

    /// Answers a HEAD request for a stream with the head that a GET would get.
    fn answer_stream_head(
        &mut self,
        index: ConnIndex,
        line: RequestLine,
        sse: &Sse,
        request: &Request,
    ) {
        let connection = match line.framing() {
            StreamFraming::Chunked => self.connection_after(index, line),
            StreamFraming::UntilClose => Connection::Close,
        };
        let encoding = self.encoding_of(request, sse);
        let [vary, coding] = self.coding_lines(encoding);
        let lines = [sse.header_lines.as_bytes(), vary, coding];
        self.conns[index].outbox.push_with(&mut self.pool, |out| {
            encode_stream_head(out, &self.date, line.framing(), connection, lines);
        });
        self.finish_answer(index, connection);
    }
}

/// Responses.
impl Core {
    /// Refuses input that is not a valid request.
    pub(super) fn refuse(&mut self, index: ConnIndex, refusal: Refusal) {
        let method = self.conns[index].reader().and_then(|reader| reader.method());
        self.refuse_as(index, refusal, RequestLine::unread(method));
    }

    pub(super) fn refuse_as(&mut self, index: ConnIndex, refusal: Refusal, line: RequestLine) {
        self.stats.refused.count(refusal.status());
        log::debug!("{}: refused with {refusal}", self.conns[index].peer());
        self.answer(index, Response::from(refusal), line);
    }

    /// Queues a response and decides what happens to the connection.
    pub(super) fn answer(&mut self, index: ConnIndex, response: Response, line: RequestLine) {
        let connection = self.connection_after(index, line);
        let outbox = &mut self.conns[index].outbox;
        outbox.push_with(&mut self.pool, |out| {
            response.encode_head(out, &self.date, connection, line.version);
        });
        if line.method != Method::Head {
            outbox.push_body(response.into_body(), &mut self.pool);
        }
        self.finish_answer(index, connection);
    }

    /// What happens to the connection after a response; its head says so.
    fn connection_after(&self, index: ConnIndex, line: RequestLine) -> Connection {
        let is_kept =
            self.stopping == Stopping::No && self.conns[index].afterwards() == Afterwards::ReadOn;
        if is_kept { line.connection() } else { Connection::Close }
    }

    fn finish_answer(&mut self, index: ConnIndex, connection: Connection) {
        if connection == Connection::Close {
            self.start_draining(index, Goodbye::Fin);
        }
        self.conns.mark_dirty(index);
    }

    /// From here on the connection only sends what is queued, then closes.
    pub(super) fn start_draining(&mut self, index: ConnIndex, goodbye: Goodbye) {
        let (now, limits, conn) = (self.now, &self.config.limits, &self.conns[index]);
        let until = match (conn.is_admitted(), conn.stall_due(limits)) {
            (true, Some(stall_due)) => stall_due,
            (true, None) => linger_due(now, limits),
            // A rejected connection takes a place that other rejected clients need for their
            // response.
            (false, _) => now + millis(limits.linger_timeout).min(TURNED_AWAY_LINGER_MS),
        };
        self.drain_until(index, until, goodbye);
    }

    pub(super) fn drain_until(&mut self, index: ConnIndex, until: u64, goodbye: Goodbye) {
        if self.conns[index].begin_draining(until, goodbye) {
            self.rearm(index);
            self.conns.mark_dirty(index);
        }
    }
}

/// The last event id that the client has seen, from the header, or from the query if the client
/// cannot set the header. An empty id counts as none: that is how WHATWG HTML, 9.2.6 resets it.
fn last_event_id(request: &Request) -> Option<Box<str>> {
    if let Some(id) = request.last_event_id().filter(|id| !id.is_empty()) {
        return Some(id.into());
    }
    // Datastar sends its signals in the query; do not decode them needlessly.
    let mut names = request.query()?.split('&').map(|pair| pair.split('=').next().unwrap_or(pair));
    if !names.any(|name| name.starts_with("last") || name.contains('%')) {
        return None;
    }
    let in_query = |name| request.query_value(name).filter(|id| !id.is_empty());
    let id = ["last_event_id", "lastEventID", "lastEventId"].into_iter().find_map(in_query);
    id.map(|id| id.as_ref().into())
}

/// Enough for a few hundred bytes on the slowest network.
const TURNED_AWAY_LINGER_MS: u64 = 3_000;
