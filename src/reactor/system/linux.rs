//! The Linux kernel: a timer in the poll, a coarse clock, the user timeout of TCP.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    time::Duration,
};

use mio::{Interest, Registry, Token, event::Source, unix::SourceFd};
use rustix::{
    io::retry_on_intr,
    process::{Resource, Rlimit, getrlimit, setrlimit},
    rand::{GetRandomFlags, getrandom},
    time::{
        ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec,
        clock_gettime, timerfd_create, timerfd_settime,
    },
};
use socket2::SockRef;

use super::DescriptorLimits;

/// A timerfd that ends the poll's sleep some 10 us after a deadline. The poll's own timeout is
/// rounded up to whole milliseconds, which makes a tick late by half a millisecond on average. The
/// timerfd is never read: it is registered edge-triggered, so each expiry is one event.
#[derive(Debug)]
pub(in crate::reactor) struct Alarm {
    timer: OwnedFd,
    /// The deadline it is set to, so that an unchanged one costs no system call.
    set_to_ms: Option<u64>,
}

impl Alarm {
    pub(in crate::reactor) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        SourceFd(&timer.as_raw_fd()).register(registry, token, Interest::READABLE)?;
        Ok(Self { timer, set_to_ms: None })
    }

    /// Makes the poll return at `deadline_ms`, which is `left` from now.
    pub(in crate::reactor) fn set(&mut self, deadline_ms: u64, left: Duration) -> io::Result<()> {
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

    /// It has fired; to use the same deadline again, set it again.
    pub(in crate::reactor) fn rang(&mut self) {
        self.set_to_ms = None;
    }

    /// The poll itself needs no timeout, and no clock is read to compute one.
    pub(in crate::reactor) fn poll_timeout(
        _left: impl FnOnce() -> Option<Duration>,
    ) -> Option<Duration> {
        None
    }
}

/// Nanoseconds since some epoch, at the kernel's last tick (1 to 10 ms); read without accessing any
/// hardware.
fn coarse_nanos() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64)
}

pub(in crate::reactor) fn descriptor_limits() -> Option<DescriptorLimits> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let [soft, hard] = [current, maximum].map(|limit| limit.unwrap_or(u64::MAX));
    Some(DescriptorLimits { soft, hard })
}

pub(in crate::reactor) fn raise_descriptors() -> io::Result<u64> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(maximum.unwrap_or(u64::MAX))
}

/// Waits until the system has enough entropy, which happens once, when the machine starts. Before
/// that, two machines could draw the same bits.
pub(in crate::reactor) fn random_bits() -> io::Result<u64> {
    let mut bytes = [0; 8];
    let count = retry_on_intr(|| getrandom(&mut bytes, GetRandomFlags::empty()))?;
    match count == bytes.len() {
        true => Ok(u64::from_ne_bytes(bytes)),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

pub(in crate::reactor) fn set_user_timeout(
    socket: &SockRef<'_>,
    timeout: Option<Duration>,
) -> io::Result<()> {
    socket.set_tcp_user_timeout(timeout)
}

pub(in crate::reactor) const COARSE_NANOS: Option<fn() -> u64> = Some(coarse_nanos);
pub(in crate::reactor) const PRIORITY: Option<Interest> = Some(Interest::PRIORITY);
/// The network of the peer is gone.
pub(in crate::reactor) const ACCEPT_LOSSES: &[i32] = &[libc::ENONET];
