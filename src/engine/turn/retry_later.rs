//! Answers that ask the client to come back later, in the form that it understands.
//!
//! An error that passes must not end a page for good, and that is what an error status does: an
//! `EventSource` never comes back from one (WHATWG HTML section 9.2.3), and Datastar's `@get` does
//! so only if told to. Both obey `retry:`, so they get a stream that says nothing else.

use std::time::Duration;

use crate::{
    conn::{Admission, Goodbye},
    engine::{
        client::{Client, Reconnects, RequestLine},
        core::Core,
        keys::ConnIndex,
    },
    http::{Connection, Response, StatusCode, StreamFraming, encode_stream_head},
    sse::Event,
    time::spread,
};

impl Core {
    /// Tells a connection that was not admitted to come back later.
    pub(super) fn turn_away(&mut self, index: ConnIndex, client: Client) {
        if let Some(response) = self.no_room_for(index) {
            self.answer_busy(index, response, client);
        }
    }

    /// What a connection without admission is told; `None` for all others.
    fn no_room_for(&self, index: ConnIndex) -> Option<Response> {
        match self.conns[index].admission() {
            Admission::Admitted | Admission::Unannounced | Admission::Leaving => None,
            Admission::NoRoom => Some(
                Response::error(StatusCode::SERVICE_UNAVAILABLE, NO_ROOM)
                    .with_retry_after(self.config.limits.retry_after),
            ),
            Admission::NoRoomForAddress => Some(self.no_room_for_address()),
        }
    }

    /// What a connection or stream that is one too many of its address is told.
    pub(super) fn no_room_for_address(&self) -> Response {
        Response::error(StatusCode::TOO_MANY_REQUESTS, NO_ROOM_FOR_ADDRESS)
            .with_retry_after(self.config.limits.retry_after)
    }

    /// What the stream that is one too many of its tag is told.
    pub(super) fn no_room_for_tag(&self) -> Response {
        Response::error(StatusCode::TOO_MANY_REQUESTS, NO_ROOM_FOR_TAG)
            .with_retry_after(self.config.limits.retry_after)
    }

    /// Answers with a response that has a [`Response::with_retry_after`], and closes the connection.
    pub(super) fn answer_busy(&mut self, index: ConnIndex, response: Response, client: Client) {
        self.stats.refused.count(response.status());
        let least_ms = u64::from(response.wait_ms().unwrap_or(1));
        let delay_ms = least_ms + spread(least_ms, self.told_to_wait);
        self.told_to_wait = self.told_to_wait.wrapping_add(1);
        log::debug!("{}: told to come back in {delay_ms} ms", self.conns[index].peer());
        match client.reconnects {
            Reconnects::Never => {
                let seconds = delay_ms.div_ceil(1000).max(1).to_string();
                let response = response.with_header("Retry-After", seconds);
                self.answer(index, response, client.request.closing());
            }
            reconnects => {
                self.stream_busy(
                    index,
                    &response,
                    Duration::from_millis(delay_ms),
                    client.request,
                    reconnects,
                );
            }
        }
    }

    fn stream_busy(
        &mut self,
        index: ConnIndex,
        response: &Response,
        delay: Duration,
        line: RequestLine,
        reconnects: Reconnects,
    ) {
        let framing = line.framing();
        self.aside.begin();
        self.aside
            .push(&Event::retry_only(delay).comment(String::from_utf8_lossy(response.body())));
        let conn = &mut self.conns[index];
        let lines = response.header_lines();
        conn.outbox.push_with(&mut self.pool, |out| {
            encode_stream_head(out, &self.date, framing, Connection::Close, [lines]);
        });
        let events = match reconnects {
            Reconnects::AfterCut => self.aside.seal(framing),
            _ => self.aside.seal_last(framing),
        };
        conn.outbox.push(events, &mut self.pool);
        conn.answer_with_stub(framing);
        match reconnects {
            Reconnects::AfterCut => {
                let cut_due = self.now + CUT_DELAY_MS;
                let stall_due = self.conns[index].stall_due(&self.config.limits);
                let until = stall_due.map_or(cut_due, |due| due.min(cut_due));
                self.drain_until(index, until, Goodbye::Later);
            }
            _ => self.start_draining(index, Goodbye::Fin),
        }
    }

    /// The time to read what came before a cut is over.
    pub(super) fn cut(&mut self, index: ConnIndex) {
        match self.conns[index].framing() {
            StreamFraming::Chunked => self.start_draining(index, Goodbye::Fin),
            StreamFraming::UntilClose => self.start_draining(index, Goodbye::Reset),
        }
    }
}

/// Between what a client should know and the cut that may take it away: Chromium forgets what the
/// page has not read when a body is cut.
const CUT_DELAY_MS: u64 = 1_000;

const NO_ROOM: &str = "the server has as many connections as it takes; come back later";
const NO_ROOM_FOR_ADDRESS: &str =
    "your address has as many connections as one may have; close some, or come back later";
const NO_ROOM_FOR_TAG: &str =
    "there are as many of these streams as one may have; close one, or come back later";
