//! Attacks on a real server process. Each test starts its own; while one client misbehaves, a
//! neighbour's stream has to tick on.
#![cfg(target_os = "linux")]

#[path = "support/client.rs"]
mod client;
#[path = "support/testbed.rs"]
mod testbed;

#[path = "attack/caps.rs"]
mod caps;
#[path = "attack/crowds.rs"]
mod crowds;
#[path = "attack/floods.rs"]
mod floods;
#[path = "attack/process.rs"]
mod process;
#[path = "attack/requests.rs"]
mod requests;
#[path = "attack/slow.rs"]
mod slow;
