//! What depends on the operating system: one module for the Linux kernel, one for all others.
//!
//! Both export the same names, so the rest of the reactor has no `cfg` for Linux. The portable
//! module also builds on Linux, with `RUSTFLAGS='--cfg starwheel_portable'`, so that it is tested.
//!
//! * `Alarm`: ends the poll at a deadline
//! * `COARSE_NANOS`: a clock that never costs a system call, if there is one
//! * `descriptor_limits`, `raise_descriptors`: `ulimit -n`
//! * `random_bits`: for epochs
//! * `set_user_timeout`: how long TCP waits for an acknowledgement
//! * `PRIORITY`: how the poller reports urgent bytes
//! * `ACCEPT_LOSSES`: further errors of accept(2) that mean one connection

#[cfg(all(any(target_os = "android", target_os = "linux"), not(starwheel_portable)))]
#[path = "linux.rs"]
mod this;
#[cfg(not(all(any(target_os = "android", target_os = "linux"), not(starwheel_portable))))]
#[path = "portable.rs"]
mod this;

pub(super) use this::{
    ACCEPT_LOSSES, Alarm, COARSE_NANOS, PRIORITY, descriptor_limits, raise_descriptors,
    random_bits, set_user_timeout,
};

/// The limits of descriptors; `u64::MAX` for none.
#[derive(Debug, Clone, Copy)]
pub(super) struct DescriptorLimits {
    pub(super) soft: u64,
    pub(super) hard: u64,
}
