//! The clients of a random scenario, and the checks of what they have read.

use starwheel::{
    CloseReason, Method,
    testing::{BodyEnd, Client, ClientResponse, EventParser, ServerEnd, Simulation},
};

use crate::world::{Story, World, plain, text};

/// One client: its requests, and what was done to it.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) client: Client,
    pub(crate) asked: Vec<Asked>,
    /// The rest of a request, still to be sent.
    pub(crate) unsent: Vec<u8>,
    pub(crate) version: Version,
    /// The times in which it did not read.
    pub(crate) stalls: Vec<Stall>,
    pub(crate) was_reset: bool,
    pub(crate) was_half_closed: bool,
    /// It has sent part of a request, or nonsense: a refusal may be its last response.
    pub(crate) may_be_refused: bool,
    pub(crate) received: Vec<u8>,
}

/// A period in which a client does not read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stall {
    pub(crate) from_ms: u64,
    pub(crate) to_ms: Option<u64>,
    /// When output was first seen to wait for it.
    pub(crate) waits_since_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Http10,
    Http11,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Asked {
    Plain {
        n: usize,
        bytes: usize,
    },
    Stream {
        key: usize,
    },
    /// After an open stream, where it need not be answered.
    Behind {
        n: usize,
        bytes: usize,
    },
}

/// What the whole scenario allows.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Excuses {
    /// The network has reset connections by chance.
    pub(crate) resets: bool,
    /// The network has refused writes by chance.
    pub(crate) refused_writes: bool,
    /// The server is draining or has shut down.
    pub(crate) stopping: bool,
}

impl Visitor {
    pub(crate) fn new(client: Client, version: Version) -> Self {
        Self {
            client,
            asked: Vec::new(),
            unsent: Vec::new(),
            version,
            stalls: Vec::new(),
            was_reset: false,
            was_half_closed: false,
            may_be_refused: false,
            received: Vec::new(),
        }
    }

    pub(crate) fn is_stalled(&self) -> bool {
        self.stalls.last().is_some_and(|stall| stall.to_ms.is_none())
    }

    /// It reads again; true if it did not before.
    pub(crate) fn end_stall(&mut self, now_ms: u64) -> bool {
        let stall = self.stalls.last_mut().filter(|stall| stall.to_ms.is_none());
        stall.map(|stall| stall.to_ms = Some(now_ms)).is_some()
    }

    pub(crate) fn last_stream(&self) -> Option<usize> {
        self.asked.iter().rev().find_map(|asked| match asked {
            Asked::Stream { key } => Some(*key),
            _ => None,
        })
    }

    /// Checks everything that it has read. `settled` means that nothing is pending.
    pub(crate) fn judge(
        &self,
        world: &World,
        excuses: Excuses,
        simulation: &Simulation,
        settled: bool,
    ) {
        let mut rest = self.received.clone();
        let undisturbed = settled
            && !(self.was_reset || self.was_half_closed || self.may_be_refused || excuses.resets)
            && self.unsent.is_empty()
            && !self.is_stalled();
        let open = simulation.is_open(self.client);
        assert!(!(settled && self.was_half_closed && open), "a FIN was overlooked: {self:?}");
        let mut asked = self.asked.iter().peekable();
        while let Some(what) = asked.next() {
            let answer = ClientResponse::parse(&rest, Method::Get);
            let Some(answer) = answer else {
                let optional = matches!(what, Asked::Behind { .. });
                let ended = excuses.stopping || !open;
                assert!(!undisturbed || optional || ended, "{what:?} was not answered: {self:?}");
                // Refusals and timeouts are responses too.
                assert!(rest.is_empty() || rest.starts_with(&b"HTTP/1.1 "[..rest.len().min(9)]));
                return;
            };
            if answer.status == 400 || answer.status == 408 {
                assert!(self.may_be_refused, "{} without a reason: {self:?}", answer.status);
                assert!(asked.peek().is_none() || answer.rest.is_empty());
                return;
            }
            assert_eq!(answer.status, 200);
            match *what {
                Asked::Plain { n, bytes } | Asked::Behind { n, bytes } => {
                    let expected = plain(n, bytes);
                    match answer.end {
                        BodyEnd::Complete => assert_eq!(answer.text(), expected),
                        _ => {
                            assert!(
                                expected.starts_with(answer.text()),
                                "{n}: {:?}",
                                answer.text()
                            );
                            assert!(!(undisturbed && open), "{n} is not whole: {self:?}");
                        }
                    }
                }
                Asked::Stream { key } => {
                    let complete = settled && !self.was_reset && !excuses.resets;
                    self.judge_stream(key, &world.stories[key], &answer, complete, simulation);
                }
            }
            if answer.end == BodyEnd::Open {
                assert!(answer.rest.is_empty());
                return;
            }
            rest = answer.rest;
        }
        if let Some(answer) = ClientResponse::parse(&rest, Method::Get) {
            assert!(matches!(answer.status, 400 | 408), "a response without a request: {self:?}");
            assert!(self.may_be_refused && answer.rest.is_empty());
        }
    }

    fn judge_stream(
        &self,
        key: usize,
        story: &Story,
        answer: &ClientResponse,
        complete: bool,
        simulation: &Simulation,
    ) {
        let mut parser = EventParser::read(&answer.body);
        assert!(parser.unknown_fields.is_empty(), "torn fields: {:?}", parser.unknown_fields);
        assert!(parser.comments.drain(..).all(|comment| comment.is_empty()));
        parser.events.retain(|event| event.name != "keep-alive");
        let seen = parser.events.len();
        for (n, event) in parser.events.iter().enumerate() {
            assert_eq!(event.data, text(key, n, &story.plan), "stream {key}, event {n}");
        }
        assert!(seen <= story.sent, "stream {key} got {seen} events of {}", story.sent);

        let end = story.ends.first().map(|end| &end.reason);
        let lasts = match end {
            None => !self.is_stalled(),
            Some(
                CloseReason::Finished
                | CloseReason::Dropped
                | CloseReason::Lifetime
                | CloseReason::Failed(_)
                | CloseReason::Panicked,
            ) => self.stalls.is_empty(),
            Some(_) => false,
        };
        if complete && lasts {
            assert_eq!(seen, story.sent, "stream {key} of {self:?}");
        }
        let finished = matches!(end, Some(CloseReason::Finished));
        if answer.end == BodyEnd::Complete {
            assert!(finished, "stream {key} has a last chunk, but ended with {end:?}");
            assert_eq!(seen, story.sent, "a last chunk comes last");
        }
        if self.version == Version::Http10
            && simulation.server_end(self.client) == Some(ServerEnd::Fin)
        {
            let is_end = matches!(end, Some(CloseReason::Finished | CloseReason::Disconnected));
            assert!(
                is_end || simulation.is_open(self.client),
                "a cut passed off as an end: {end:?}"
            );
        }
        if complete && finished && lasts && self.version == Version::Http11 {
            assert_eq!(answer.end, BodyEnd::Complete, "stream {key}");
        }
    }

    /// Whether it had not read for this long at this time.
    fn has_stalled_for(&self, length_ms: u64, at_ms: u64) -> bool {
        self.stalls.iter().any(|stall| {
            let until_ms = stall.to_ms.unwrap_or(u64::MAX).min(at_ms);
            stall.from_ms + length_ms <= until_ms
        })
    }

    /// Whether `reason` can have happened to a stream of this client.
    pub(crate) fn explains(&self, story: &Story, excuses: Excuses, stall_ms: u64) -> bool {
        let Some(end) = story.ends.first() else { return true };
        let plan = format!("{:?}", story.plan);
        match end.reason {
            CloseReason::Finished => {
                plan.contains("Close") || plan.contains("Finish") || story.closed_with.is_some()
            }
            CloseReason::Dropped => plan.contains("Drop") || story.closed_with.is_some(),
            CloseReason::Lifetime => plan.contains("lifetime_ms: Some"),
            CloseReason::Shutdown => excuses.stopping,
            CloseReason::Disconnected => self.was_half_closed,
            CloseReason::Io(_) => self.was_reset || excuses.resets,
            // Output that the network refuses by chance waits only until the next attempt.
            CloseReason::Slow if story.has_stalled_out() => {
                self.has_stalled_for(stall_ms, end.at_ms)
                    || (excuses.refused_writes && end.jumped_from_ms.is_some())
            }
            CloseReason::Slow => !self.stalls.is_empty() || excuses.refused_writes,
            CloseReason::Failed(_) => plan.contains("Fail"),
            CloseReason::Panicked => plan.contains("Panic") || plan.contains("birth: true"),
            _ => false,
        }
    }
}
