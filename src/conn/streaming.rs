//! The state of an open stream: its schedule, its topics, and how it ends.

use super::{Output, Standing, Subscription, Subscriptions, TopicIndex, stall_due};
use crate::{
    limits::Limits,
    time::{NEVER, next_period},
};

/// The state of an open stream; everything rarely used lives with its closures instead.
#[derive(Debug)]
pub(crate) struct Streaming {
    /// Nominal time of the next tick; [`NEVER`] without an updater.
    next_tick: u64,
    /// When bytes were last given to the socket, or since when it refuses them.
    last_write: u64,
    /// When the stream ends by age; [`NEVER`] if it does not.
    expires: u64,
    interval_ms: u32,
    /// [`OFF`] without keep-alive.
    keep_alive_ms: u32,
    /// When the stream was born, in seconds.
    born_s: u32,
    subscriptions: Subscriptions,
    /// Ticks may be put off to the next multiple of this.
    slack_ms: u16,
    /// Set once the stream's end is decided; nothing is sent to it any more.
    ending: Option<Ending>,
    /// What is said ahead of the drop when the server leaves.
    farewell: Farewell,
}

/// When things are to happen to a stream that begins.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// [`NEVER`] without an updater.
    pub(crate) next_tick: u64,
    pub(crate) interval_ms: u32,
    pub(crate) slack_ms: u16,
    /// [`OFF`] without keep-alive.
    pub(crate) keep_alive_ms: u32,
    /// [`NEVER`] if it does not end by age.
    pub(crate) expires: u64,
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

/// How long before its drop a stream is told of it: enough for a browser to hand the last bytes to
/// the page, across any network.
pub(crate) const FAREWELL_MS: u64 = 500;
/// No keep-alive.
pub(crate) const OFF: u32 = u32::MAX;

impl Streaming {
    pub(crate) fn new(now: u64, schedule: &Schedule) -> Self {
        Self {
            next_tick: schedule.next_tick,
            last_write: now,
            expires: schedule.expires,
            interval_ms: schedule.interval_ms,
            keep_alive_ms: schedule.keep_alive_ms,
            born_s: (now / 1000) as u32,
            subscriptions: Subscriptions::None,
            slack_ms: schedule.slack_ms,
            ending: None,
            farewell: schedule.farewell,
        }
    }

    /// How the stream ends, once that is decided.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// When bytes were last given to the socket, or since when it refuses them.
    pub(super) fn last_write(&self) -> u64 {
        self.last_write
    }

    pub(crate) fn expires(&self) -> u64 {
        self.expires
    }

    pub(crate) fn subscriptions(&self) -> &[Subscription] {
        self.subscriptions.as_slice()
    }

    pub(crate) fn subscription(&self, topic: TopicIndex) -> Option<Subscription> {
        self.subscriptions.find(topic)
    }

    /// Whether the ids of shared frames say how far the stream has come.
    pub(crate) fn standing(&self) -> Standing {
        self.subscriptions.standing()
    }

    /// How long the stream has been open, in seconds.
    pub(crate) fn age_s(&self, now: u64) -> u64 {
        (now / 1000).saturating_sub(self.born_s.into())
    }

    pub(super) fn deadline(&self, limits: &Limits, output: Output) -> u64 {
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

    /// Moves on to the next tick, and tells how many whole periods were missed.
    pub(super) fn schedule_next(&mut self, now: u64) -> u64 {
        let next = next_period(self.next_tick, self.interval_ms, now);
        self.next_tick = next.deadline;
        next.missed
    }

    pub(super) fn end(&mut self, ending: Ending) {
        self.ending = Some(ending);
    }

    pub(super) fn wrote(&mut self, now: u64) {
        self.last_write = now;
    }

    pub(super) fn tick_at(&mut self, deadline: u64) {
        self.next_tick = deadline;
    }

    pub(super) fn leave_by(&mut self, departure: u64) {
        self.expires = self.expires.min(departure);
        self.farewell = Farewell::Due;
    }

    pub(super) fn said_farewell(&mut self) {
        self.farewell = Farewell::Said;
    }

    pub(super) fn subscriptions_mut(&mut self) -> &mut Subscriptions {
        &mut self.subscriptions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticking(next_tick: u64, interval_ms: u32, slack_ms: u16) -> Streaming {
        let (keep_alive_ms, expires, farewell) = (OFF, NEVER, Farewell::NotDue);
        let schedule =
            Schedule { next_tick, interval_ms, slack_ms, keep_alive_ms, expires, farewell };
        Streaming::new(0, &schedule)
    }

    #[test]
    fn slack_rounds_up_and_never_drifts() {
        let mut stream = ticking(1_003, 100, 10);
        assert_eq!(stream.tick_due(), 1_010);
        stream.schedule_next(1_010);
        assert_eq!((stream.next_tick, stream.tick_due()), (1_103, 1_110));
    }
}
