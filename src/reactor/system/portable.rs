//! Any other Unix: only what mio and the standard library offer.

use std::{
    fs::File,
    io::{self, Read},
    time::Duration,
};

use mio::{Interest, Registry, Token};
use socket2::SockRef;

use super::DescriptorLimits;

/// No timer in the poll: its own timeout is used, rounded up to whole milliseconds.
#[derive(Debug)]
pub(in crate::reactor) struct Alarm;

impl Alarm {
    pub(in crate::reactor) fn new(_registry: &Registry, _token: Token) -> io::Result<Self> {
        Ok(Self)
    }

    pub(in crate::reactor) fn set(&mut self, _deadline_ms: u64, _left: Duration) -> io::Result<()> {
        Ok(())
    }

    pub(in crate::reactor) fn rang(&mut self) {}

    pub(in crate::reactor) fn poll_timeout(
        left: impl FnOnce() -> Option<Duration>,
    ) -> Option<Duration> {
        left()
    }
}

/// Unknown.
pub(in crate::reactor) fn descriptor_limits() -> Option<DescriptorLimits> {
    None
}

pub(in crate::reactor) fn raise_descriptors() -> io::Result<u64> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(in crate::reactor) fn random_bits() -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Not available.
pub(in crate::reactor) fn set_user_timeout(
    _socket: &SockRef<'_>,
    _timeout: Option<Duration>,
) -> io::Result<()> {
    Ok(())
}

pub(in crate::reactor) const COARSE_NANOS: Option<fn() -> u64> = None;
pub(in crate::reactor) const PRIORITY: Option<Interest> = None;
pub(in crate::reactor) const ACCEPT_LOSSES: &[i32] = &[];
