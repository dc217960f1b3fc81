//! The state of an open stream: its schedule, its topics, and how it ends.

use std::time::Duration;

use super::{
    KeepAlive, Output, Standing, Subscription, Subscriptions, TopicIndex,
    keep_alive::KeepAliveClock, stall_due,
};
use crate::{
    limits::Limits,
    sse::Heartbeat,
    time::{NEVER, next_period},
};

/// The state of an open stream; rarely used state is kept with its closures.
#[derive(Debug)]
pub(crate) struct Streaming {
    /// Nominal time of the next tick; [`NEVER`] without an updater.
    next_tick: u64,
    /// When bytes were last written to the socket, or since when it refuses them.
    last_write: u64,
    /// When the stream ends by age; [`NEVER`] if it does not.
    expires: u64,
    interval_ms: u32,
    keep_alive: KeepAliveClock,
    /// Start time of the stream, in tenths of a second: enough for 13 years.
    born_tenths: u32,
    subscriptions: Subscriptions,
    /// Ticks may be delayed to the next multiple of this.
    slack_ms: u16,
    /// Set once the stream's end is decided; nothing more is sent to it.
    ending: Option<StreamEnd>,
    /// The message before the drop when the server drains.
    farewell: Farewell,
}

/// Deadlines of a new stream.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// [`NEVER`] without an updater.
    pub(crate) next_tick: u64,
    pub(crate) interval_ms: u32,
    pub(crate) slack_ms: u16,
    pub(crate) keep_alive: KeepAlive,
    /// [`NEVER`] if it does not end by age.
    pub(crate) expires: u64,
    pub(crate) farewell: Farewell,
}

/// Whether a stream is sent a reconnect delay before it is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Farewell {
    NotDue,
    /// [`FAREWELL_MS`] before it expires.
    Due,
    Said,
}

/// How the bytes of a stream end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamEnd {
    /// With the last chunk, which is still to be queued.
    Finish,
    /// With the last chunk, which left together with the last events.
    Finished,
    /// After the last complete event, without a last chunk.
    Drop,
    /// Immediately; queued bytes are discarded.
    Abort,
}

/// Time between the reconnect delay and the drop of a stream: enough for a browser to pass the last
/// bytes to the page, across any network.
pub(crate) const FAREWELL_MS: u64 = 500;

const TENTH_MS: u64 = 100;

impl Streaming {
    pub(crate) fn new(now: u64, schedule: &Schedule) -> Self {
        Self {
            next_tick: schedule.next_tick,
            last_write: now,
            expires: schedule.expires,
            interval_ms: schedule.interval_ms,
            keep_alive: KeepAliveClock::new(schedule.keep_alive, now),
            born_tenths: (now / TENTH_MS) as u32,
            subscriptions: Subscriptions::None,
            slack_ms: schedule.slack_ms,
            ending: None,
            farewell: schedule.farewell,
        }
    }

    /// How the stream ends, once that is decided.
    pub(crate) fn ending(&self) -> Option<StreamEnd> {
        self.ending
    }

    /// When bytes were last written to the socket, or since when it refuses them.
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

    /// Whether the ids of shared frames give the stream's position.
    pub(crate) fn standing(&self) -> Standing {
        self.subscriptions.standing()
    }

    /// True for a stream with an updater.
    pub(crate) fn has_updater(&self) -> bool {
        self.next_tick != NEVER
    }

    /// How long the stream has been open, to a tenth of a second.
    pub(crate) fn age(&self, now: u64) -> Duration {
        let tenths = (now / TENTH_MS).saturating_sub(self.born_tenths.into());
        Duration::from_millis(tenths * TENTH_MS)
    }

    pub(super) fn deadline(&self, limits: &Limits, output: Output) -> u64 {
        // While output waits for the client, a further comment would prove nothing.
        let quiet_until = match output {
            Output::Blocked => self.stall_due(limits),
            Output::Quiet | Output::Dirty | Output::Sent => self.keep_alive_due(),
        };
        self.tick_due().min(quiet_until).min(self.leave_due())
    }

    /// When the stream ends by age, or is sent its reconnect delay.
    fn leave_due(&self) -> u64 {
        match self.farewell {
            Farewell::Due => self.expires.saturating_sub(FAREWELL_MS),
            Farewell::NotDue | Farewell::Said => self.expires,
        }
    }

    pub(crate) fn is_farewell_due(&self, now: u64) -> bool {
        self.farewell == Farewell::Due && self.leave_due() <= now
    }

    /// When a blocked stream reaches the stall timeout.
    pub(super) fn stall_due(&self, limits: &Limits) -> u64 {
        stall_due(self.last_write, limits)
    }

    /// When the next tick runs: its nominal time, rounded up by the slack.
    pub(crate) fn tick_due(&self) -> u64 {
        match self.slack_ms {
            0 | 1 => self.next_tick,
            slack => self.next_tick.checked_next_multiple_of(u64::from(slack)).unwrap_or(NEVER),
        }
    }

    pub(crate) fn keep_alive_due(&self) -> u64 {
        self.keep_alive.due(self.last_write)
    }

    /// What keeps it alive.
    pub(crate) fn heartbeat(&self) -> Heartbeat {
        self.keep_alive.heartbeat()
    }

    /// Moves on to the next tick, and returns how many were missed: those whose time has passed
    /// too, slack included. Periods that slack combines are one tick.
    pub(super) fn schedule_next(&mut self, now: u64) -> u64 {
        // Ticks run at multiples of the slack; one that is rounded up to a later multiple is not
        // late.
        let (reached, missed_max) = match u64::from(self.slack_ms) {
            0 | 1 => (now, u64::MAX),
            slack => {
                let reached = now - now % slack;
                (reached, reached.saturating_sub(self.tick_due()) / slack)
            }
        };
        let next = next_period(self.next_tick, self.interval_ms, reached);
        self.next_tick = next.deadline;
        next.missed.min(missed_max)
    }

    pub(super) fn end(&mut self, ending: StreamEnd) {
        self.ending = Some(ending);
    }

    pub(super) fn wrote(&mut self, now: u64) {
        self.last_write = now;
    }

    pub(super) fn kept_alive(&mut self, now: u64) {
        self.keep_alive.sent(now);
        self.wrote(now);
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
        let (keep_alive, expires, farewell) = (KeepAlive::Off, NEVER, Farewell::NotDue);
        let schedule = Schedule { next_tick, interval_ms, slack_ms, keep_alive, expires, farewell };
        Streaming::new(0, &schedule)
    }

    #[test]
    fn slack_rounds_up_and_never_drifts() {
        let mut stream = ticking(1_003, 100, 10);
        assert_eq!(stream.tick_due(), 1_010);
        stream.schedule_next(1_010);
        assert_eq!((stream.next_tick, stream.tick_due()), (1_103, 1_110));
    }

    #[test]
    fn a_keep_alive_is_due_an_interval_after_the_last_and_only_comments_wait_for_quiet() {
        for (keep_alive, after_a_write) in [
            (KeepAlive::Event { every_ms: 10_000 }, 10_000),
            (KeepAlive::Comment { quiet_ms: 10_000 }, 13_000),
        ] {
            let (next_tick, expires, farewell) = (NEVER, NEVER, Farewell::NotDue);
            let (interval_ms, slack_ms) = (0, 0);
            let schedule =
                Schedule { next_tick, interval_ms, slack_ms, keep_alive, expires, farewell };
            let mut stream = Streaming::new(0, &schedule);
            assert_eq!(stream.keep_alive_due(), 10_000);
            stream.wrote(3_000);
            assert_eq!(stream.keep_alive_due(), after_a_write);
            stream.kept_alive(after_a_write);
            assert_eq!(stream.keep_alive_due(), after_a_write + 10_000);
        }
    }

    /// The times of undelayed ticks, starting with the nominal time of the next one: periods that
    /// slack combines are one.
    fn dues(next_tick: u64, interval_ms: u32, slack_ms: u16) -> impl Iterator<Item = u64> {
        let slack = u64::from(slack_ms.max(1));
        let nominal = (0..).map(move |period| next_tick + period * u64::from(interval_ms));
        let mut last = None;
        nominal
            .map(move |time| time.next_multiple_of(slack))
            .filter(move |&due| last.replace(due) != Some(due))
    }

    #[test]
    fn a_tick_is_missed_only_if_the_time_at_which_it_would_have_run_has_passed() {
        for (interval_ms, slack_ms) in [1, 7, 10, 90, 100, 101, 250, 1_000]
            .into_iter()
            .flat_map(|interval_ms| [0, 1, 3, 10, 100, 1_000].map(|slack| (interval_ms, slack)))
        {
            for next_tick in [1_000, 1_001, 1_099] {
                for late_ms in (0..40).chain([95, 100, 101, 1_000, 2_345]) {
                    let mut stream = ticking(next_tick, interval_ms, slack_ms);
                    let now = stream.tick_due() + late_ms;
                    let missed = stream.schedule_next(now);
                    let passed =
                        dues(next_tick, interval_ms, slack_ms).take_while(|&due| due <= now);
                    let mut to_come =
                        dues(next_tick, interval_ms, slack_ms).skip_while(|&due| due <= now);
                    assert_eq!(
                        (missed, stream.tick_due()),
                        (passed.count() as u64 - 1, to_come.next().unwrap()),
                        "{interval_ms} ms with {slack_ms} ms of slack from {next_tick}, at {now}"
                    );
                }
            }
        }
    }
}
