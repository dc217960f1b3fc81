//! Two machines and a Redis in one command: both serve the same address, and each publishes a number
//! five times a second. Kill a machine or Redis with the buttons of the page: it reconnects to what is left,
//! and no number is missing or comes twice.
//!
//! `cargo run --features redis --example cluster`, then open <http://127.0.0.1:8080>. It needs the
//! program `redis-server`, or the address of a Redis in `REDIS_URL`.

mod machine;
mod supervisor;

use std::{env, error::Error};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    match &arguments[..] {
        [] => supervisor::run(),
        [name, address, redis] => machine::run(name, address, redis),
        _ => Err("usage: cluster".into()),
    }
}
