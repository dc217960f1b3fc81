//! The steps of a turn, one file each. Their order is in [`Engine`](super::Engine)'s module.

pub(super) mod asker;
mod coded;
mod drain;
pub(super) mod fan_out;
mod flush;
mod input;
mod retry_later;
mod settle;
mod timers;
