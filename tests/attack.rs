//! Attacks on a real server process. Each test starts its own; while one client misbehaves, a
//! neighbour's stream must continue to tick.
//!
//! Tests that wait for the system's own timeouts are ignored; `tests/run` runs them separately, in
//! parallel: `cargo test -p starwheel-tests --test attack -- --ignored --test-threads 16`.
#![cfg(target_os = "linux")]

#[path = "support/client.rs"]
mod client;
#[path = "support/testbed.rs"]
mod testbed;

#[path = "attack/cables.rs"]
mod cables;
#[path = "attack/caps.rs"]
mod caps;
#[path = "attack/crowds.rs"]
mod crowds;
#[path = "attack/descriptors.rs"]
mod descriptors;
#[path = "attack/endings.rs"]
mod endings;
#[path = "attack/floods.rs"]
mod floods;
#[path = "attack/process.rs"]
mod process;
#[path = "attack/requests.rs"]
mod requests;
#[path = "attack/slow.rs"]
mod slow;
