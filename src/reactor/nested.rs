//! The reactor's poller inside the poller of an outer loop.

use std::{io, os::fd::AsFd, os::fd::OwnedFd, time::Duration};

use super::{Reactor, system::Alarm};

impl Reactor {
    /// A second descriptor of the poller. The outer loop owns it, so that it stays valid as long as
    /// it is registered there.
    pub(crate) fn duplicate_fd(&self) -> io::Result<OwnedFd> {
        self.as_fd().try_clone_to_owned()
    }

    /// Longest time the outer loop may wait for the descriptor; `None` if the descriptor becomes
    /// readable at the deadline, as on Linux, or if there is no deadline.
    pub(crate) fn outer_timeout(&self) -> Option<Duration> {
        Alarm::poll_timeout(|| self.next_deadline())
    }
}
