//! Responses that ask the client to retry later, in the form that it understands.
//!
//! A temporary error must not stop a page permanently, but an error status does: an `EventSource`
//! never reconnects after one (WHATWG HTML section 9.2.3), and Datastar's `@get` does so only if
//! configured. Both obey `retry:`, so they get a stream that contains nothing else.

use std::time::Duration;

use crate::{
    conn::{Admission, Goodbye},
    engine::{
        client::{Reconnects, RequestLine, Requester},
        core::Core,
        keys::ConnIndex,
    },
    http::{Connection, Response, StatusCode, StreamFraming, encode_stream_head},
    sse::Event,
    time::spread,
};

impl Core {
    /// Asks a connection that was not admitted to retry later.
    pub(super) fn turn_away(&mut self, index: ConnIndex, client: Requester) {
        if let Some(response) = self.no_room_for(index) {
            self.answer_busy(index, response, client);
        }
    }

    /// The response to a connection without admission; `None` for all others.
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

    /// The response to a connection or stream over the limit of its address.
    pub(super) fn no_room_for_address(&self) -> Response {
        Response::error(StatusCode::TOO_MANY_REQUESTS, NO_ROOM_FOR_ADDRESS)
            .with_retry_after(self.config.limits.retry_after)
    }

    /// The response to a stream over the limit of its tag.
    pub(super) fn no_room_for_tag(&self) -> Response {
        Response::error(StatusCode::TOO_MANY_REQUESTS, NO_ROOM_FOR_TAG)
            .with_retry_after(self.config.limits.retry_after)
    }

    /// Sends a response with [`Response::with_retry_after`], and closes the connection.
    pub(super) fn answer_busy(&mut self, index: ConnIndex, response: Response, client: Requester) {
        self.stats.refused.count(response.status());
        let least_ms = u64::from(response.wait_ms().unwrap_or(1));
        let delay_ms = least_ms + spread(least_ms, self.told_to_wait);
        self.told_to_wait = self.told_to_wait.wrapping_add(1);
        log::debug!("{}: connection rejected, retry after {delay_ms} ms", self.conns[index].peer());
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

    /// The time to read what was sent before a cut has passed.
    pub(super) fn cut(&mut self, index: ConnIndex) {
        match self.conns[index].framing() {
            StreamFraming::Chunked => self.start_draining(index, Goodbye::Fin),
            StreamFraming::UntilClose => self.start_draining(index, Goodbye::Reset),
        }
    }
}

/// Time between a message for the client and the cut that may destroy it: Chromium discards what
/// the page has not read when a body is cut.
const CUT_DELAY_MS: u64 = 1_000;

const NO_ROOM: &str = "connection limit reached; try again later";
const NO_ROOM_FOR_ADDRESS: &str =
    "connection limit for your address reached; close some or try again later";
const NO_ROOM_FOR_TAG: &str = "stream limit reached; close another tab or try again later";
