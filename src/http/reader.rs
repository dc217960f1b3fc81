//! Reads the requests of one connection, one after the other.
//!
//! It knows no socket and no clock: bytes come in any pieces, and [`Stage`] says which timeout
//! applies. Between requests it holds no heap memory, so an idle connection costs only its own
//! size.

use std::mem;

use super::{
    Method, Refusal, Request,
    body::{BodyReader, Fill},
    head::Expectation,
    scan::{HeadScan, head_limit_bytes},
};
use crate::Limits;

/// Reads the requests of one connection from bytes that come in any pieces.
#[derive(Debug)]
pub(crate) struct Reader {
    state: State,
    /// No request has been completed yet.
    is_fresh: bool,
}

/// The result of [`Reader::advance`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// All input was taken; call again with more.
    NeedMore,
    /// Like `NeedMore`, but send `HTTP/1.1 100 Continue` first, because the client waits for it. At
    /// most once per request.
    ExpectContinue,
    /// The request is complete.
    Complete,
}

/// The stage of the current request; each has its own timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// No byte of the first request has arrived.
    Fresh,
    /// No byte of a further request has arrived. Also after a refusal.
    Idle,
    /// The head has begun, or kept bytes wait for the next `advance`.
    Head,
    /// The head is complete, the body is not.
    Body,
}

impl Stage {
    /// True while no byte of a request has arrived.
    pub(crate) const fn is_between_requests(self) -> bool {
        matches!(self, Self::Fresh | Self::Idle)
    }
}

impl Reader {
    /// For a connection that has just been accepted.
    pub(crate) const fn new() -> Self {
        Self { state: State::IDLE, is_fresh: true }
    }

    /// For a connection that continues after a response.
    pub(crate) const fn between_requests() -> Self {
        Self { state: State::IDLE, is_fresh: false }
    }

    /// Takes what it needs from the kept bytes, then from the start of `input`.
    ///
    /// With `NeedMore` and `ExpectContinue` all input was taken. With `Complete`, `request` holds
    /// the request and `input` starts at the first byte after it. If kept bytes are left,
    /// [`has_kept`](Self::has_kept) is true and they come before `input`. The previous content of
    /// `request` is always lost. An unneeded call with empty input costs nothing.
    ///
    /// A request that is complete in `input` is copied once. The work is linear in the number of
    /// bytes, for pieces of any size.
    ///
    /// # Errors
    /// A [`Refusal`]: send it, then close. Never call this again, not even with the rest of
    /// `input`: where the next request starts is unknown.
    pub(crate) fn advance(
        &mut self,
        input: &mut &[u8],
        limits: &Limits,
        request: &mut Request,
    ) -> Result<Progress, Refusal> {
        let (all, head_bytes_max) = (*input, head_limit_bytes(limits));
        let (outcome, method) = match mem::replace(&mut self.state, State::REFUSED) {
            State::Idle { skipped_bytes } => {
                let mut work = Work::Head(HeadScan::new(skipped_bytes));
                match work.take(input, limits, request) {
                    // The usual case: nothing is held, so parse the bytes where they are.
                    Ok(Step::Complete) => return Ok(self.complete(State::IDLE)),
                    Ok(Step::Open) => (Ok(begun(work, input)), None),
                    Err(refusal) => {
                        let room_bytes = head_bytes_max.saturating_sub(skipped_bytes);
                        (Err(refusal), method_at_the_front(all.iter(), room_bytes))
                    }
                }
            }
            State::Held(held) => {
                let method = held.method(all, head_bytes_max);
                (held.go_on(input, limits, request), method)
            }
            State::Refused { .. } => {
                debug_assert!(false, "advance was called after a refusal");
                return Err(Refusal::ALREADY_REFUSED);
            }
        };
        match outcome {
            Ok((Progress::Complete, state)) => Ok(self.complete(state)),
            Ok((progress, state)) => {
                self.state = state;
                Ok(progress)
            }
            Err(refusal) => {
                self.state = State::Refused { method };
                Err(refusal)
            }
        }
    }

    fn complete(&mut self, state: State) -> Progress {
        self.state = state;
        self.is_fresh = false;
        Progress::Complete
    }

    /// The method of the request being read or refused, once it is known. Whether a response may
    /// have a body depends on it, even if the request is incomplete or malformed.
    pub(crate) fn method(&self) -> Option<Method> {
        match &self.state {
            State::Idle { .. } => None,
            State::Held(held) => held.method(&[], usize::MAX),
            State::Refused { method } => *method,
        }
    }

    /// Keeps the bytes after a complete request for a later `advance(&mut &[][..], ..)`.
    pub(crate) fn keep(&mut self, rest: &[u8]) {
        if rest.is_empty() {
            return;
        }
        match &mut self.state {
            State::Idle { skipped_bytes } => {
                let work = Work::Head(HeadScan::new(*skipped_bytes));
                let held = Held { bytes: rest.to_vec(), start: 0, news: News::Unseen, work };
                self.state = State::Held(Box::new(held));
            }
            State::Held(held) => {
                held.bytes.extend_from_slice(rest);
                held.news = News::Unseen;
            }
            State::Refused { .. } => {}
        }
    }

    /// Whether kept bytes can be processed by `advance` without further input.
    pub(crate) fn has_kept(&self) -> bool {
        matches!(&self.state, State::Held(held) if held.news == News::Unseen)
    }

    pub(crate) fn stage(&self) -> Stage {
        match &self.state {
            State::Held(held) if !held.is_half_an_empty_line() => match held.work {
                Work::Head(_) => Stage::Head,
                Work::Body(_) => Stage::Body,
            },
            State::Idle { .. } | State::Held(_) if self.is_fresh => Stage::Fresh,
            State::Idle { .. } | State::Held(_) | State::Refused { .. } => Stage::Idle,
        }
    }
}

/// The state after the first bytes of an incomplete request.
fn begun(work: Work, input: &mut &[u8]) -> (Progress, State) {
    match (&work, *input) {
        (Work::Head(scan), []) => (Progress::NeedMore, State::idle_after(scan)),
        _ => {
            let bytes = mem::take(input).to_vec();
            Box::new(Held { bytes, start: 0, news: News::None, work }).pause()
        }
    }
}

#[derive(Debug)]
enum State {
    /// Empty lines before the next request are dropped and counted.
    Idle {
        skipped_bytes: usize,
    },
    Held(Box<Held>),
    /// Nothing is held except the method of the request, if it had one.
    Refused {
        method: Option<Method>,
    },
}

impl State {
    const IDLE: Self = Self::Idle { skipped_bytes: 0 };
    const REFUSED: Self = Self::Refused { method: None };

    const fn idle_after(scan: &HeadScan) -> Self {
        Self::Idle { skipped_bytes: scan.skipped_bytes() }
    }
}

/// An incomplete request, or bytes of the next ones, or both.
#[derive(Debug)]
struct Held {
    /// An incomplete head, and all bytes kept after it.
    bytes: Vec<u8>,
    /// The first of `bytes` not yet taken. This index moves instead of the bytes, so that many
    /// small pipelined requests are read in linear time.
    start: usize,
    news: News,
    work: Work,
}

/// Whether there are kept bytes that have not been parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    None,
    Unseen,
}

impl Held {
    /// The method of the current request, which continues with `input`.
    fn method(&self, input: &[u8], head_bytes_max: usize) -> Option<Method> {
        match &self.work {
            Work::Head(scan) => {
                let kept = self.bytes.get(self.start..).unwrap_or_default();
                let room_bytes = head_bytes_max.saturating_sub(scan.skipped_bytes());
                method_at_the_front(kept.iter().chain(input), room_bytes)
            }
            Work::Body(unfinished) => Some(unfinished.request.method()),
        }
    }

    /// An empty line before a request does not start it, and neither does half of one. Otherwise a
    /// client could use them to restart the timeout of each stage.
    fn is_half_an_empty_line(&self) -> bool {
        self.news == News::None && matches!(self.work, Work::Head(_)) && self.bytes == b"\r"
    }

    fn go_on(
        mut self: Box<Self>,
        input: &mut &[u8],
        limits: &Limits,
        request: &mut Request,
    ) -> Result<(Progress, State), Refusal> {
        if self.news == News::Unseen {
            let mut bytes = self.bytes.get(self.start..).unwrap_or_default();
            let step = self.work.take(&mut bytes, limits, request)?;
            self.start = self.bytes.len() - bytes.len();
            if step == Step::Complete {
                return Ok((Progress::Complete, self.behind_complete()));
            }
            self.news = News::None;
            self.cut();
        }
        if matches!(self.work, Work::Head(_)) && !self.bytes.is_empty() {
            // Adds at most the longest head, usually much less; a longer head is refused.
            let room_bytes = head_limit_bytes(limits).saturating_sub(self.bytes.len()) + 1;
            let added_bytes = input.len().min(room_bytes);
            let (added, rest) = input.split_at(added_bytes);
            self.bytes.extend_from_slice(added);
            let mut bytes = &self.bytes[..];
            let step = self.work.take(&mut bytes, limits, request)?;
            let left_bytes = bytes.len();
            if step == Step::Complete {
                // The held bytes were part of the head, so everything left was just added.
                *input = &input[added_bytes.saturating_sub(left_bytes)..];
                return Ok((Progress::Complete, State::IDLE));
            }
            *input = rest;
            self.bytes.drain(..self.bytes.len() - left_bytes);
        }
        if self.bytes.is_empty() {
            // Only the state of the work is held: continue with the input in place.
            if self.work.take(input, limits, request)? == Step::Complete {
                return Ok((Progress::Complete, State::IDLE));
            }
            self.bytes = mem::take(input).to_vec();
        }
        debug_assert!(input.is_empty(), "a head beyond its limit is refused");
        Ok(self.pause())
    }

    /// The state when all input was taken and the request is incomplete.
    fn pause(mut self: Box<Self>) -> (Progress, State) {
        match &mut self.work {
            Work::Body(unfinished) => (unfinished.answer_expectation(), State::Held(self)),
            Work::Head(scan) if self.bytes.is_empty() => {
                (Progress::NeedMore, State::idle_after(scan))
            }
            Work::Head(_) => (Progress::NeedMore, State::Held(self)),
        }
    }

    /// The state after a request that was taken from the held bytes.
    fn behind_complete(mut self: Box<Self>) -> State {
        if self.start == self.bytes.len() {
            return State::IDLE;
        }
        // At half, so that each byte moves at most once.
        if self.start >= self.bytes.len() / 2 {
            self.cut();
        }
        self.work = Work::Head(HeadScan::default());
        State::Held(self)
    }

    /// Frees the taken bytes. Requests of a client that reads its responses slowly wait here.
    fn cut(&mut self) {
        self.bytes.drain(..self.start);
        self.bytes.shrink_to_fit();
        self.start = 0;
    }
}

/// What is being read.
#[derive(Debug)]
enum Work {
    Head(HeadScan),
    Body(Box<Unfinished>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The remaining bytes are the start of a head, or there are none.
    Open,
    /// The remaining bytes follow the request.
    Complete,
}

/// A request whose body is missing. It was swapped with the caller's request.
#[derive(Debug)]
struct Unfinished {
    request: Request,
    body: BodyReader,
    expectation: Expectation,
}

impl Work {
    fn take(
        &mut self,
        bytes: &mut &[u8],
        limits: &Limits,
        request: &mut Request,
    ) -> Result<Step, Refusal> {
        match self {
            Self::Head(scan) => {
                let Some(head_bytes) = scan.find_end(bytes, limits)? else {
                    return Ok(Step::Open);
                };
                request.clear();
                let (head, path, body) = request.parts();
                let (head_part, rest) = bytes.split_at(head_bytes);
                let (framing, expectation) = head.read(head_part, scan.field_count(), path)?;
                *bytes = rest;
                let mut reader = BodyReader::new(framing, limits)?;
                if reader.take(bytes, body, limits)? == Fill::Complete {
                    return Ok(Step::Complete);
                }
                // A client that has sent a part of the body does not wait (RFC 9110 section
                // 10.1.1).
                let expectation = if rest.is_empty() { expectation } else { Expectation::None };
                let request = mem::replace(request, Request::new());
                *self = Self::Body(Box::new(Unfinished { request, body: reader, expectation }));
                Ok(Step::Open)
            }
            Self::Body(unfinished) => {
                if !bytes.is_empty() {
                    unfinished.expectation = Expectation::None;
                }
                let (_, _, body) = unfinished.request.parts();
                if unfinished.body.take(bytes, body, limits)? == Fill::Open {
                    return Ok(Step::Open);
                }
                mem::swap(request, &mut unfinished.request);
                Ok(Step::Complete)
            }
        }
    }
}

impl Unfinished {
    fn answer_expectation(&mut self) -> Progress {
        match mem::replace(&mut self.expectation, Expectation::None) {
            Expectation::Continue => Progress::ExpectContinue,
            Expectation::None => Progress::NeedMore,
        }
    }
}

/// The method of the request that starts with these bytes, if it is complete and known.
pub(crate) fn method_of(bytes: &[u8]) -> Option<Method> {
    method_at_the_front(bytes.iter(), usize::MAX)
}

/// The method at the start of a request, after empty lines, if it is complete and known. Only bytes
/// within the limit of a head are examined: beyond it, a request may be refused before or after its
/// method has arrived, and the response must not depend on that.
fn method_at_the_front<'a>(
    bytes: impl Iterator<Item = &'a u8>,
    room_bytes: usize,
) -> Option<Method> {
    let mut bytes = bytes.copied().take(room_bytes);
    let mut first = bytes.next()?;
    while first == b'\r' && bytes.next()? == b'\n' {
        first = bytes.next()?;
    }
    let (mut name, mut length) = ([0; METHOD_BYTES_MAX], 0);
    for byte in std::iter::once(first).chain(bytes) {
        if byte == b' ' {
            return Method::from_name(std::str::from_utf8(&name[..length]).ok()?);
        }
        *name.get_mut(length)? = byte;
        length += 1;
    }
    None
}

/// Length of the longest supported method.
const METHOD_BYTES_MAX: usize = 7;

#[cfg(test)]
mod tests;
