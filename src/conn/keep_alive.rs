//! When a stream is due to be kept alive, in four bytes.

use crate::{sse::Heartbeat, time::NEVER};

/// What a stream is sent to keep it alive, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeepAlive {
    Off,
    /// A comment, after this much time without a write.
    Comment {
        quiet_ms: u64,
    },
    /// An event, this often, whatever else is sent. A page sees only the types of events it
    /// listens for, so other events do not prove to it that the stream is alive.
    Event {
        every_ms: u64,
    },
}

/// The same for a stream that is open. Of comments, the quiet time in milliseconds. Of events,
/// below [`IS_EVENT`], the interval and the time of the last one modulo half a day. Both are tenths
/// of a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeepAliveClock(u32);

impl KeepAliveClock {
    pub(super) fn new(keep_alive: KeepAlive, now: u64) -> Self {
        match keep_alive {
            KeepAlive::Off => Self(OFF),
            KeepAlive::Comment { quiet_ms } => {
                let quiet_ms = u32::try_from(quiet_ms.max(1)).ok();
                Self(quiet_ms.filter(|quiet_ms| quiet_ms & IS_EVENT == 0).unwrap_or(OFF))
            }
            KeepAlive::Event { every_ms } => {
                let tenths = every_ms.div_ceil(TENTH_MS).clamp(1, EVENT_TENTHS_MAX) as u32;
                Self(IS_EVENT | tenths << LAST_BITS | last_tenths(now))
            }
        }
    }

    pub(super) fn heartbeat(self) -> Heartbeat {
        match self.0 {
            OFF => Heartbeat::Comment,
            bits if bits & IS_EVENT != 0 => Heartbeat::Event,
            _ => Heartbeat::Comment,
        }
    }

    /// When the next one is due: for events, at most an interval after `last_write`. That time is at
    /// or after the last event. If it is before it, because a stream begins on a connection that is
    /// blocked, or over half a day after it, the next one is sent with the next write.
    pub(super) fn due(self, last_write: u64) -> u64 {
        match self.0 {
            OFF => NEVER,
            bits if bits & IS_EVENT != 0 => {
                let since = last_tenths(last_write).wrapping_sub(bits) & LAST_MASK;
                let last = (last_write / TENTH_MS).saturating_sub(since.into());
                (last + u64::from(bits >> LAST_BITS & INTERVAL_MASK)) * TENTH_MS
            }
            quiet_ms => last_write + u64::from(quiet_ms),
        }
    }

    /// One is sent.
    pub(super) fn sent(&mut self, now: u64) {
        if self.heartbeat() == Heartbeat::Event {
            self.0 = self.0 & !LAST_MASK | last_tenths(now);
        }
    }
}

fn last_tenths(now: u64) -> u32 {
    (now / TENTH_MS) as u32 & LAST_MASK
}

const OFF: u32 = u32::MAX;
const IS_EVENT: u32 = 1 << 31;
const TENTH_MS: u64 = 100;
const LAST_BITS: u32 = 19;
const LAST_MASK: u32 = (1 << LAST_BITS) - 1;
const INTERVAL_MASK: u32 = (1 << (31 - LAST_BITS)) - 1;
/// Below what the bits can hold, so that no event clock looks like [`OFF`].
const EVENT_TENTHS_MAX: u64 = 4_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_follow_the_last_write() {
        let clock = KeepAliveClock::new(KeepAlive::Comment { quiet_ms: 15_000 }, 7);
        assert_eq!((clock.due(7), clock.due(1_007)), (15_007, 16_007));
        let longest = u64::from(IS_EVENT) - 1;
        let clock = KeepAliveClock::new(KeepAlive::Comment { quiet_ms: longest }, 0);
        assert_eq!((clock.due(1), clock.heartbeat()), (longest + 1, Heartbeat::Comment));
        for keep_alive in [KeepAlive::Off, KeepAlive::Comment { quiet_ms: longest + 1 }] {
            let mut clock = KeepAliveClock::new(keep_alive, 0);
            clock.sent(5);
            assert_eq!((clock.due(1), clock.heartbeat()), (NEVER, Heartbeat::Comment));
        }
    }

    #[test]
    fn events_follow_the_last_event_at_any_time() {
        let day_ms = 24 * 3_600_000;
        for start in (0..3 * day_ms).step_by(7_000_003) {
            for every_ms in [100, 1_000, 15_000, 400_000] {
                let mut clock = KeepAliveClock::new(KeepAlive::Event { every_ms }, start);
                assert_eq!(clock.heartbeat(), Heartbeat::Event);
                let exact = |sent: u64| sent / 100 * 100 + every_ms;
                for later in [0, 99, every_ms, 60_000, 12 * 3_600_000] {
                    assert_eq!(clock.due(start + later), exact(start), "{start} {later}");
                }
                for hours in 12..100 {
                    let long_after = start + hours * 3_600_000;
                    assert!(clock.due(long_after) <= long_after + every_ms, "{start} {hours} h");
                }
                for earlier in [1, 60_000, 3_600_000].into_iter().filter(|ms| *ms <= start) {
                    let before = start - earlier;
                    assert!(clock.due(before) <= before + every_ms, "{start} -{earlier}");
                }
                let next = clock.due(start);
                clock.sent(next);
                assert_eq!(clock.due(next), next + every_ms);
            }
        }
    }

    #[test]
    fn intervals_of_events_are_limited() {
        for (every_ms, expected) in [(0, 100), (101, 200), (u64::MAX, 400_000)] {
            let clock = KeepAliveClock::new(KeepAlive::Event { every_ms }, 0);
            assert_eq!(clock.due(0), expected);
        }
    }
}
