//! Drain and shutdown: streams leave over a window, or everything closes immediately.
//!
//! ```text
//! drain                          a stream's farewell    its drop            until
//!   │ what waits to be accepted is         │ `retry:`       │ reason Shutdown  │ whatever is left
//!   │ answered, idle ones are closed       │                │                  │ is given up
//!   ├──────────────────────────────────────┴── FAREWELL_MS ─┴──────────────────┤
//! ```
//!
//! A connection without a request is not closed immediately: a client that has just connected, or
//! that polls, is about to send one. The response says `Connection: close`.
//!
//! A dropped client reconnects on its own: `EventSource` and Datastar wait as long as the last
//! `retry:` said. With default delays, the clients of a restarting server would reconnect before
//! the next one listens, repeatedly and together. Each client is therefore sent its own delay, past
//! the end of this server. The line is sent before the drop, because a browser whose connection is
//! cut discards what it has not yet passed to the page.

use std::time::Duration;

use crate::{
    conn::FAREWELL_MS,
    engine::{
        Accepting, Engine, Transport,
        core::{Core, Stopping},
        keys::ConnIndex,
        pending::TimerCall,
    },
    error::CloseReason,
    time::{millis, spread},
};

impl<T: Transport> Engine<T> {
    /// Ends all streams, spread evenly over `window`, and everything else at its end.
    ///
    /// This is the crate's only walk over all connections; it happens once per process.
    pub(crate) fn drain(&mut self, window: Duration) {
        if self.is_stopping() {
            return;
        }
        let now = self.core.now;
        let window_ms = millis(window);
        let until = now.saturating_add(window_ms);
        let accept_ms = millis(self.core.config.drain_accept_for).min(window_ms);
        let accepts_until = now.saturating_add(accept_ms);
        self.core.begin_drain(Stopping::Draining { until, window_ms, accepts_until });
        let streams = self.core.stats.streams.max(1);
        let mut leaving = 0_u64;
        for index in self.core.conns.indices() {
            let conn = &mut self.core.conns[index];
            conn.close_afterwards();
            if conn.is_live_stream() {
                let place = |window_ms: u64| {
                    let later_ms =
                        u128::from(window_ms) * u128::from(leaving) / u128::from(streams);
                    later_ms as u64 // Below `window_ms`.
                };
                conn.leave_by(departure(now, until, place));
                leaving += 1;
            }
            self.core.rearm(index);
        }
        if accept_ms > 0 {
            // Wakes the turn in which accepting ends.
            self.core.add_timer(accept_ms, 0, TimerCall::Once(Box::new(|_cx| {})));
        }
        let goodbye = TimerCall::Once(Box::new(|cx| cx.shutdown()));
        self.core.add_timer(window_ms, 0, goodbye);
    }

    /// What to do with new connections and with listeners.
    pub(crate) fn accepting(&self) -> Accepting {
        match self.core.stopping {
            Stopping::No => Accepting::On,
            Stopping::Draining { accepts_until, .. } if self.core.now < accepts_until => {
                Accepting::On
            }
            Stopping::Draining { .. } => Accepting::WhatWaits,
            Stopping::Now => Accepting::Nothing,
        }
    }

    pub(in crate::engine) fn end_everything(&mut self) {
        for index in self.core.conns.indices() {
            self.core.end_stream(index, CloseReason::Shutdown);
        }
        self.settle_all();
        self.flush();
        self.flush_sent(usize::MAX, usize::MAX);
        for index in self.core.conns.indices() {
            self.core.close_conn(index);
        }
        self.settle_all();
    }
}

impl Core {
    /// Sends a stream that will be dropped its reconnect delay. No blank line follows: every client
    /// obeys the line alone, and some would treat the blank line as an event.
    pub(super) fn say_farewell(&mut self, index: ConnIndex) {
        let Stopping::Draining { until, window_ms, .. } = self.stopping else { return };
        let conn = &mut self.conns[index];
        conn.say_farewell();
        let Some(streaming) = conn.streaming() else { return };
        let left_ms = until.saturating_sub(streaming.expires());
        let retry_ms = retry_ms(left_ms, window_ms, conn.generation());
        self.aside.begin();
        self.aside.push_encoded(format!("retry: {retry_ms}\n").as_bytes());
        self.queue_aside(index);
        self.conns.mark_dirty(index);
    }
}

impl Stopping {
    /// When a stream that starts now must leave, if a drain is running.
    pub(super) fn departure(self, now: u64, generation: u32) -> Option<u64> {
        match self {
            Self::Draining { until, .. } => {
                Some(departure(now, until, |window_ms| spread(window_ms, generation.into())))
            }
            Self::No | Self::Now => None,
        }
    }
}

/// The time at `place` in the rest of the window, after the farewell.
fn departure(now: u64, until: u64, place: impl FnOnce(u64) -> u64) -> u64 {
    let left_ms = until.saturating_sub(now);
    let ahead_ms = FAREWELL_MS.min(left_ms / 2);
    now + ahead_ms + place(left_ms - ahead_ms)
}

/// The reconnect delay of a client that is dropped this long before the end of this server: past
/// that end, and spread like the drops.
///
/// `EventSource` keeps the delay permanently and waits as long after every later disconnect; hence
/// the bounds. Zero would make it reconnect without a pause.
fn retry_ms(until_end_ms: u64, window_ms: u64, generation: u32) -> u64 {
    let spread_ms = window_ms.clamp(RETRY_SPREAD_MS_MIN, RETRY_MS_MAX);
    RETRY_MS_MIN + until_end_ms.min(RETRY_MS_MAX) + spread(spread_ms, generation.into())
}

/// Also Datastar's default delay.
const RETRY_MS_MIN: u64 = 1_000;
const RETRY_SPREAD_MS_MIN: u64 = 2_000;
/// For each of the two parts: half a minute in total.
const RETRY_MS_MAX: u64 = 15_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn departures_fill_the_window_after_the_first_farewell() {
        let leave = |nth| departure(1_000, 11_000, |window_ms| window_ms * nth / 4);
        assert_eq!([0, 1, 2, 3].map(leave), [1_500, 3_875, 6_250, 8_625]);
        assert_eq!(departure(5, 5, |window_ms| window_ms), 5);
        assert_eq!(departure(0, 100, |window_ms| window_ms / 2), 75);
        assert_eq!(departure(7, u64::MAX, |_| 0), 507);
    }

    #[test]
    fn no_client_reconnects_before_the_end_or_immediately() {
        for (until_end_ms, window_ms) in [(0, 0), (10_000, 10_000), (3, 5_000), (1, u64::MAX)] {
            let times: Vec<u64> =
                (0..1_000).map(|number| retry_ms(until_end_ms, window_ms, number)).collect();
            let (first, last) = (times.iter().min().unwrap(), times.iter().max().unwrap());
            assert!(*first >= 1_000 + until_end_ms);
            assert!(last - first >= 1_900.max(window_ms.min(15_000) * 9 / 10), "{first} to {last}");
            // And in between, a tenth of them in each tenth.
            for tenth in 0..10 {
                let (from, to) = (tenth * (last - first) / 10, (tenth + 1) * (last - first) / 10);
                let count = times.iter().filter(|time| (from..to).contains(&(*time - first)));
                assert!((80..=120).contains(&count.count()));
            }
        }
        assert!(retry_ms(u64::MAX, u64::MAX, u32::MAX) <= 31_000);
    }
}
