//! A sleep that ends on time.
//!
//! mio's poll rounds a timeout up to whole milliseconds, so half a millisecond becomes one, and a
//! tick is late by 0.5 ms on average before anything has been done. On Linux a timerfd in the
//! poll ends the sleep within some 10 us of the deadline. It is never read: registered
//! edge-triggered, each expiry is one event.

use std::{io, time::Duration};

use mio::{Registry, Token};

#[cfg(target_os = "linux")]
pub(super) use linux::Alarm;
#[cfg(not(target_os = "linux"))]
pub(super) use portable::Alarm;

#[cfg(target_os = "linux")]
mod linux {
    use super::{Duration, Registry, Token, io};

    use std::os::fd::{AsRawFd, OwnedFd};

    use mio::{Interest, event::Source, unix::SourceFd};
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };

    #[derive(Debug)]
    pub(in super::super) struct Alarm {
        timer: OwnedFd,
        /// What it is set to, so that an unchanged deadline costs no system call.
        set_to_ms: Option<u64>,
    }

    impl Alarm {
        pub(in super::super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            SourceFd(&timer.as_raw_fd()).register(registry, token, Interest::READABLE)?;
            Ok(Self { timer, set_to_ms: None })
        }

        /// Makes the poll return at `deadline_ms`, which is `left` from now.
        pub(in super::super) fn set(&mut self, deadline_ms: u64, left: Duration) -> io::Result<()> {
            if self.set_to_ms == Some(deadline_ms) {
                return Ok(());
            }
            // Zero would disarm.
            let left = left.max(Duration::from_nanos(1));
            let once = Timespec { tv_sec: 0, tv_nsec: 0 };
            let at = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            let spec = Itimerspec { it_interval: once, it_value: at };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec)?;
            self.set_to_ms = Some(deadline_ms);
            Ok(())
        }

        /// It rang; the same deadline has to be set again if it is wanted again.
        pub(in super::super) fn rang(&mut self) {
            self.set_to_ms = None;
        }

        /// The timeout that the poll itself needs in order to keep the alarm: none, and no look at
        /// the clock to find one.
        pub(in super::super) fn poll_timeout(
            _left: impl FnOnce() -> Option<Duration>,
        ) -> Option<Duration> {
            None
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod portable {
    use super::{Duration, Registry, Token, io};

    /// Without a timer in the poll, its timeout has to do, with its rounding.
    #[derive(Debug)]
    pub(in super::super) struct Alarm;

    impl Alarm {
        pub(in super::super) fn new(_registry: &Registry, _token: Token) -> io::Result<Self> {
            Ok(Self)
        }

        pub(in super::super) fn set(
            &mut self,
            _deadline_ms: u64,
            _left: Duration,
        ) -> io::Result<()> {
            Ok(())
        }

        pub(in super::super) fn rang(&mut self) {}

        pub(in super::super) fn poll_timeout(
            left: impl FnOnce() -> Option<Duration>,
        ) -> Option<Duration> {
            left()
        }
    }
}
