//! The steps of a turn, one file each. Their order is in [`Engine`](super::Engine)'s module.

mod accepting;
mod answer;
mod birth;
mod commands;
mod death;
mod drain;
mod fan_out;
mod flush;
mod input;
mod later;
#[cfg(feature = "tls")]
mod redirect;
mod retry_later;
mod send;
mod settle;
mod tick;
mod timers;
