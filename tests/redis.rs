//! Machines that share their topics over a real Redis, while it or they fail: clients hop between two
//! processes with `Last-Event-ID`, and each must get every event once, or a gap event.
//!
//! `cargo test --package starwheel-tests --test redis -- --nocapture` prints the figures of each drill.
//! They need `redis-server` and `redis-cli`, and are skipped without them, unless `STARWHEEL_REDIS` is set.
#![cfg(target_os = "linux")]

#[path = "support/client.rs"]
mod client;
#[path = "redis/drill.rs"]
mod drill;
#[path = "redis/failures.rs"]
mod failures;
#[path = "redis/hopper.rs"]
mod hopper;
#[path = "redis/large.rs"]
mod large;
#[path = "redis/operation.rs"]
mod operation;
#[path = "support/random.rs"]
mod random;
#[path = "redis/server.rs"]
mod server;
#[path = "redis/soak.rs"]
mod soak;
