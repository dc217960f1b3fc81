//! The phases of a connection, and the deadline each of them lives under.

use super::{Output, Subscriptions};
use crate::{
    http::{Reader, Stage},
    limits::Limits,
};

/// What a connection is doing. The data of a phase lives in its variant and dies with it.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Waiting for a request, or in the middle of one. `since` is when the present stage of the
    /// reader (fresh, idle, head, body) began; while output is blocked, when the socket last took some.
    Reading { reader: Reader, since: u64 },
    /// The handler asked for a stream that has not been born yet; lasts until the turn settles.
    Answering,
    /// An SSE stream is open.
    Streaming(Streaming),
    /// Nothing is asked of the peer any more: what is queued goes out, then our FIN, then we wait
    /// for the peer's. Closing at once would send a reset for unread input, and a reset may take
    /// the answer away from a client that has not read it yet.
    Draining { until: u64, goodbye: Goodbye },
    /// To be released at the end of this turn; `goodbye` is what a draining one still had to say.
    Closed { goodbye: Goodbye },
}

/// How a draining connection takes leave once everything queued is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goodbye {
    /// Our FIN, then waiting for the peer's.
    Fin,
    /// A reset: the only way to tell a client of HTTP/1.0, whose streams end with the
    /// connection, that the stream was cut and not finished.
    Reset,
    /// A cut, but not before the deadline: until then the client can read what is queued, which a
    /// cut may take away from it.
    Later,
    /// The FIN is sent.
    Said,
}

/// The state of an open stream; everything rarely used lives with its closures instead.
#[derive(Debug)]
pub(crate) struct Streaming {
    /// Nominal time of the next tick; [`NEVER`] without an updater.
    pub(crate) next_tick: u64,
    /// When bytes were last given to the socket, or since when it refuses them.
    pub(crate) last_write: u64,
    /// When the stream ends by age; [`NEVER`] if it does not.
    pub(crate) expires: u64,
    pub(crate) interval_ms: u32,
    /// [`OFF`] without keep-alive.
    pub(crate) keep_alive_ms: u32,
    /// When the stream was born, in seconds.
    pub(crate) born_s: u32,
    pub(crate) subscriptions: Subscriptions,
    /// Ticks may be put off to the next multiple of this.
    pub(crate) slack_ms: u16,
    /// Set once the stream's end is decided; nothing is sent to it any more.
    pub(crate) ending: Option<Ending>,
    /// What is said ahead of the drop when the server leaves.
    pub(crate) farewell: Farewell,
}

/// Whether a stream is told that it will be dropped, and when to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Farewell {
    NotDue,
    /// [`FAREWELL_MS`] before it expires.
    Due,
    Said,
}

/// How the bytes of a stream end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With the last chunk, which is still to be queued.
    Finish,
    /// With the last chunk, which left together with the last events.
    Finished,
    /// Behind the last whole event, without a last chunk.
    Drop,
    /// At once; what is queued is forgotten.
    Abort,
}

/// No deadline.
pub(crate) const NEVER: u64 = u64::MAX;
/// How long before its drop a stream is told of it: enough for a browser to hand the last bytes to
/// the page, across any network.
pub(crate) const FAREWELL_MS: u64 = 500;
/// No keep-alive.
pub(crate) const OFF: u32 = u32::MAX;

impl Phase {
    /// Just accepted.
    pub(crate) const fn fresh(now: u64) -> Self {
        Self::Reading { reader: Reader::new(), since: now }
    }

    /// Waiting for the next request.
    pub(crate) const fn idle(now: u64) -> Self {
        Self::Reading { reader: Reader::between_requests(), since: now }
    }

    pub(super) fn deadline(&self, limits: &Limits, output: Output) -> Option<u64> {
        let at = match self {
            Self::Reading { since, .. } if output == Output::Blocked => stall_due(*since, limits),
            Self::Reading { reader, since } => since.saturating_add(millis(match reader.stage() {
                Stage::Fresh => limits.first_request_timeout,
                Stage::Idle => limits.idle_timeout,
                Stage::Head => limits.head_timeout,
                Stage::Body => limits.body_timeout,
            })),
            Self::Streaming(streaming) => streaming.deadline(limits, output),
            Self::Draining { until, .. } => *until,
            Self::Answering | Self::Closed { .. } => NEVER,
        };
        (at != NEVER).then_some(at)
    }
}

impl Streaming {
    fn deadline(&self, limits: &Limits, output: Output) -> u64 {
        // While output waits for the client, a comment behind it would prove nothing.
        let quiet_until = match output {
            Output::Blocked => self.stall_due(limits),
            Output::Quiet | Output::Dirty => self.keep_alive_due(),
        };
        self.tick_due().min(quiet_until).min(self.leave_due())
    }

    /// When the stream ends by age, or is told that it will.
    fn leave_due(&self) -> u64 {
        match self.farewell {
            Farewell::Due => self.expires.saturating_sub(FAREWELL_MS),
            Farewell::NotDue | Farewell::Said => self.expires,
        }
    }

    pub(crate) fn is_farewell_due(&self, now: u64) -> bool {
        self.farewell == Farewell::Due && self.leave_due() <= now
    }

    /// When a stream that is blocked has been so for too long.
    pub(super) fn stall_due(&self, limits: &Limits) -> u64 {
        stall_due(self.last_write, limits)
    }

    /// When the next tick runs: its nominal time, rounded up by the slack that it was given.
    pub(crate) fn tick_due(&self) -> u64 {
        match self.slack_ms {
            0 | 1 => self.next_tick,
            slack => self.next_tick.checked_next_multiple_of(u64::from(slack)).unwrap_or(NEVER),
        }
    }

    pub(crate) fn keep_alive_due(&self) -> u64 {
        match self.keep_alive_ms {
            OFF => NEVER,
            keep_alive_ms => self.last_write + u64::from(keep_alive_ms),
        }
    }

    /// Moves on to the next period and tells how many whole periods were missed.
    ///
    /// The next tick is at `deadline + interval`, whenever this one really ran: no drift. Periods
    /// that have passed meanwhile (the process was stopped, a turn was long) are dropped, so there
    /// is one late tick instead of a storm, and the phase is kept.
    pub(crate) fn schedule_next(&mut self, now: u64) -> u64 {
        let interval = u64::from(self.interval_ms).max(1);
        let missed = now.saturating_sub(self.next_tick) / interval;
        self.next_tick = self.next_tick.saturating_add((missed + 1).saturating_mul(interval));
        missed
    }
}

/// When a client that has taken nothing since then is given up.
pub(crate) fn stall_due(since: u64, limits: &Limits) -> u64 {
    since.saturating_add(millis(limits.stall_timeout))
}

/// When a client that has been told everything then, and goodbye, is waited for no longer.
pub(crate) fn linger_due(since: u64, limits: &Limits) -> u64 {
    since.saturating_add(millis(limits.linger_timeout))
}

/// A duration in ticks of the wheel, rounded up: nothing ever fires early.
pub(crate) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticking(next_tick: u64, interval_ms: u32) -> Streaming {
        Streaming {
            next_tick,
            last_write: 0,
            expires: NEVER,
            interval_ms,
            keep_alive_ms: OFF,
            born_s: 0,
            subscriptions: Subscriptions::None,
            slack_ms: 0,
            ending: None,
            farewell: Farewell::NotDue,
        }
    }

    #[test]
    fn a_late_tick_does_not_move_the_ones_behind_it() {
        let mut stream = ticking(1_000, 100);
        assert_eq!(stream.schedule_next(1_030), 0);
        assert_eq!(stream.next_tick, 1_100);
    }

    #[test]
    fn missed_periods_are_dropped_and_the_phase_is_kept() {
        let mut stream = ticking(1_007, 100);
        assert_eq!(stream.schedule_next(3_601_007), 36_000);
        assert_eq!(stream.next_tick, 3_601_107);
    }

    #[test]
    fn slack_rounds_up_and_never_drifts() {
        let mut stream = ticking(1_003, 100);
        stream.slack_ms = 10;
        assert_eq!(stream.tick_due(), 1_010);
        stream.schedule_next(1_010);
        assert_eq!((stream.next_tick, stream.tick_due()), (1_103, 1_110));
    }

    #[test]
    fn durations_round_up_and_saturate() {
        use std::time::Duration;
        assert_eq!(millis(Duration::from_micros(1)), 1);
        assert_eq!(millis(Duration::from_millis(5)), 5);
        assert_eq!(millis(Duration::MAX), NEVER);
    }
}
