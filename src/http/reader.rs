//! Reads the requests of one connection, one after the other.
//!
//! It knows no socket and no clock: bytes come in any pieces, and [`Stage`] tells the owner which
//! time limit applies. Between requests it holds no heap memory, so an idle connection costs its
//! own size only.

use std::mem;

use super::{
    Method, Refusal, Request,
    body::{BodyReader, Fill},
    head::Expectation,
    scan::{HeadScan, head_limit_bytes},
};
use crate::Limits;

/// The requests of one connection, out of bytes that come in any pieces.
#[derive(Debug)]
pub(crate) struct Reader {
    state: State,
    /// No request has been completed yet.
    is_fresh: bool,
}

/// What a call of [`Reader::advance`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// All input was taken; call again with more.
    NeedMore,
    /// As `NeedMore`, but send `HTTP/1.1 100 Continue` first: the client waits for it. At most once
    /// per request.
    ExpectContinue,
    /// The request is whole.
    Complete,
}

/// How far the present request is; each has its own time limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not one byte of the first request is here.
    Fresh,
    /// Not one byte of a further request is here. Also after a refusal.
    Idle,
    /// The head has begun, or kept bytes wait for the next `advance`.
    Head,
    /// The head is whole, the body is not.
    Body,
}

impl Stage {
    /// True while no byte of a request is here.
    pub(crate) const fn is_between_requests(self) -> bool {
        matches!(self, Self::Fresh | Self::Idle)
    }
}

impl Reader {
    /// For a connection that has just been accepted.
    pub(crate) const fn new() -> Self {
        Self { state: State::IDLE, is_fresh: true }
    }

    /// For a connection that goes on after an answer.
    pub(crate) const fn between_requests() -> Self {
        Self { state: State::IDLE, is_fresh: false }
    }

    /// Takes what it needs from the front of `input`, after what was kept.
    ///
    /// With `NeedMore` and `ExpectContinue` all input was taken. With `Complete`, `request` holds
    /// the request and `input` starts at the first byte behind it; if kept bytes are left,
    /// [`has_kept`](Self::has_kept) is true and they come before `input`. Whatever `request` held
    /// before is lost in any case. A spurious call with empty input costs nothing.
    ///
    /// A request that lies in `input` as a whole is copied once. Work is linear in the bytes,
    /// whatever pieces they come in.
    ///
    /// # Errors
    /// A [`Refusal`]: answer it, then close. Never call again, not even for what is in `input`:
    /// where the next request starts is not known.
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
                    // The way of nearly all requests: nothing is held, so read where the bytes lie.
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

    /// The method of the request that is being read or was refused, once it is known: whether an
    /// answer may have a body depends on it, however much of the request is missing or malformed.
    pub(crate) fn method(&self) -> Option<Method> {
        match &self.state {
            State::Idle { .. } => None,
            State::Held(held) => held.method(&[], usize::MAX),
            State::Refused { method } => *method,
        }
    }

    /// Keeps what lies behind a complete request for a later `advance(&mut &[][..], ..)`.
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

    /// Whether kept bytes wait for an `advance`, which then need not wait for input.
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

/// The state after the first bytes of a request, which is not whole.
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
    /// Empty lines that came before the next request are dropped and counted.
    Idle {
        skipped_bytes: usize,
    },
    Held(Box<Held>),
    /// Nothing is held. Of the request, only its method is remembered, if it had one.
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

/// An unfinished request, or bytes of the next ones, or both.
#[derive(Debug)]
struct Held {
    /// An unfinished head, and all that was kept behind it.
    bytes: Vec<u8>,
    /// The first of `bytes` that was not taken yet. Moved instead of the bytes, so that many small
    /// pipelined requests are read in linear time.
    start: usize,
    news: News,
    work: Work,
}

/// Whether there are kept bytes that nobody has looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    None,
    Unseen,
}

impl Held {
    /// The method of the request under way, which goes on with `input`.
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

    /// An empty line before a request does not begin it, and neither does half of one. Otherwise a
    /// client could go from stage to stage with them, and have the time of each again.
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
            // No more than the longest head is added, most often much less; a longer one is refused.
            let room_bytes = head_limit_bytes(limits).saturating_sub(self.bytes.len()) + 1;
            let added_bytes = input.len().min(room_bytes);
            let (added, rest) = input.split_at(added_bytes);
            self.bytes.extend_from_slice(added);
            let mut bytes = &self.bytes[..];
            let step = self.work.take(&mut bytes, limits, request)?;
            let left_bytes = bytes.len();
            if step == Step::Complete {
                // What was held before was a part of the head, so all that is left was just added.
                *input = &input[added_bytes.saturating_sub(left_bytes)..];
                return Ok((Progress::Complete, State::IDLE));
            }
            *input = rest;
            self.bytes.drain(..self.bytes.len() - left_bytes);
        }
        if self.bytes.is_empty() {
            // Nothing is held but the state of the work: on with the input where it lies.
            if self.work.take(input, limits, request)? == Step::Complete {
                return Ok((Progress::Complete, State::IDLE));
            }
            self.bytes = mem::take(input).to_vec();
        }
        debug_assert!(input.is_empty(), "a head beyond its limit is refused");
        Ok(self.pause())
    }

    /// The state when all input was taken and the request is not whole.
    fn pause(mut self: Box<Self>) -> (Progress, State) {
        match &mut self.work {
            Work::Body(unfinished) => (unfinished.answer_expectation(), State::Held(self)),
            Work::Head(scan) if self.bytes.is_empty() => {
                (Progress::NeedMore, State::idle_after(scan))
            }
            Work::Head(_) => (Progress::NeedMore, State::Held(self)),
        }
    }

    /// The state behind a request that was taken from the held bytes.
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

    /// Frees what was taken. The requests of a client that reads its answers slowly wait here.
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
    /// What is left of the bytes is the beginning of a head, or nothing.
    Open,
    /// What is left of the bytes lies behind the request.
    Complete,
}

/// A request whose body is outstanding. It was swapped out of the caller's hands.
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
                // Who has sent a part of the body does not wait (RFC 9110 section 10.1.1).
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

/// The method of the request that begins with these bytes, if it is whole and known.
pub(crate) fn method_of(bytes: &[u8]) -> Option<Method> {
    method_at_the_front(bytes.iter(), usize::MAX)
}

/// The method at the front of a request, after empty lines, if it is whole and known. Only the room
/// for a head is looked at: beyond it a request may be refused before or after its method has come,
/// and the answer must not depend on which.
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

/// Of the longest method that is served.
const METHOD_BYTES_MAX: usize = 7;

#[cfg(test)]
mod tests;
