//! Answers that come later: a request waits for its answer, which another thread sends.

use std::mem;

use crate::{
    engine::{
        Engine, Transport,
        api::Answer,
        calls::watchdog::handler_of,
        client::{RequestLine, Requester},
        core::Core,
        keys::ConnIndex,
        later::{Bound, Build, Gone, LateAnswer, Later, Oneshot, Promise},
    },
    http::{HeaderLines, Request, Response, StatusCode},
    time::millis,
};

impl<T: Transport> Engine<T> {
    /// The handler of the current request has promised its answer.
    #[cold]
    pub(super) fn begin_waiting(&mut self, index: ConnIndex, later: Later) {
        let request = mem::replace(&mut self.request, Request::new());
        self.wait_for_answer(index, later, request);
    }

    /// The answer of a request comes later.
    fn wait_for_answer(&mut self, index: ConnIndex, mut later: Later, request: Request) {
        let is_ours = later.belongs_to(&self.core.mailbox);
        let header_lines = later.take_lines();
        // That of another reactor is dropped here, so that its responder learns it.
        let Some(oneshot) = is_ours.then(|| later.take_oneshot()).flatten() else {
            log::error!(
                "{} returned a `Later` of another reactor; call `later` on the context that the \
                 handler gets",
                handler_of(&request)
            );
            let answer = LateAnswer::Response(not_answered());
            return self.give_answer(index, request, &header_lines, answer);
        };
        match oneshot.bind(index) {
            Bound::Answered(answer) => self.give_answer(index, request, &header_lines, answer),
            Bound::Waits => {
                let core = &mut self.core;
                let timeout_ms = millis(core.config.limits.answer_timeout);
                core.conns[index].begin_waiting(core.now.saturating_add(timeout_ms));
                core.waiting.add(index, Promise { request, oneshot, header_lines });
                core.rearm(index);
            }
        }
    }

    /// Another thread has answered.
    pub(super) fn answer_late(&mut self, oneshot: &Oneshot, answer: LateAnswer) {
        let core = &mut self.core;
        let Some((answer, index)) = oneshot.receive(answer) else { return };
        let waits = index.and_then(|index| Some((index, core.waiting.take(index)?)));
        let Some((index, promise)) = waits else { return core.drop_guarded(answer) };
        core.conns[index].end_waiting(core.now);
        let Promise { request, header_lines, oneshot: _ } = *promise;
        self.give_answer(index, request, &header_lines, answer);
        // The client may have sent its next request in the meantime. It is read even if the client
        // does not take all of this answer, as for any other.
        self.core.conns.put_off(index);
    }

    fn give_answer(
        &mut self,
        index: ConnIndex,
        mut request: Request,
        header_lines: &HeaderLines,
        answer: LateAnswer,
    ) {
        let answer = match answer {
            LateAnswer::Response(response) => Ok(Answer::Response(response)),
            LateAnswer::Build(build) => self.core.call_handler(&mut request, build).0,
            LateAnswer::None => {
                log::error!(
                    "{}: its responder was dropped without an answer",
                    handler_of(&request)
                );
                Ok(not_answered().into())
            }
        };
        let line = RequestLine::of(&request);
        match answer.map(|answer| answer.with_missing_lines(header_lines)) {
            Ok(Answer::Later(later)) => return self.wait_for_answer(index, later, request),
            answer => self.core.deliver(index, answer, line, &request),
        }
        self.core.drop_extensions(&mut request);
    }
}

fn not_answered() -> Response {
    Response::error(StatusCode::INTERNAL_SERVER_ERROR, "the server did not answer this request")
}

/// Requests that another server has read.
impl<T: Transport> Engine<T> {
    /// Answers the request for which a new connection was adopted. Bytes that follow it are not
    /// requests: where the other server stopped reading is unknown.
    pub(crate) fn answer_adopted(&mut self, index: ConnIndex, mut request: Request, build: Build) {
        let core = &mut self.core;
        let (peer, config) = (core.conns[index].peer(), &core.config);
        request.set_sender(peer, &config.trusted_proxies, config.forwarded_field);
        core.conns[index].close_afterwards();
        if !core.conns[index].is_admitted() {
            core.turn_away(index, Requester::of(&request));
            core.drop_guarded(build);
            return core.drop_extensions(&mut request);
        }
        core.stats.requests += 1;
        let route = core.note_route(request.route());
        core.stats.routes.requested(route);
        self.give_answer(index, request, &HeaderLines::new(), LateAnswer::Build(build));
    }
}

impl Core {
    /// The answer has not come in time.
    pub(super) fn give_up_waiting(&mut self, index: ConnIndex) {
        let Some(promise) = self.waiting.take(index) else { return };
        let client = Requester::of(&promise.request);
        log::warn!("{}: no answer within Limits::answer_timeout", handler_of(&promise.request));
        self.conns[index].end_waiting(self.now);
        let reason = "the server took too long to answer; try again later";
        let response = Response::error(StatusCode::SERVICE_UNAVAILABLE, reason)
            .with_retry_after(self.config.limits.retry_after)
            .with_missing_lines(&promise.header_lines);
        self.answer_busy(index, response, client);
        self.end_promise(promise, Gone::TimedOut);
    }
}
