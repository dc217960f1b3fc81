//! Random scenarios of clients that move between machines, and of publishers on all of them, against the
//! true log of the store: whatever happens to the store, to the connections with it and to the machines,
//! each client gets every event once and in order, or a gap event in between, and each publisher's events
//! come once and in order.
//!
//! A scenario follows from its seed. One that fails prints it; `STARWHEEL_SEED=n cargo test -p
//! starwheel-tests --test backplane_chaos` runs only that one. `STARWHEEL_SEEDS=n` sets how many are
//! tried.

#[path = "support/decoders.rs"]
mod decoders;
#[path = "backplane_chaos/faults.rs"]
mod faults;
#[path = "backplane_chaos/journey.rs"]
mod journey;
#[path = "backplane_chaos/log.rs"]
mod log;
#[path = "backplane_chaos/publishers.rs"]
mod publishers;
#[path = "support/random.rs"]
mod random;
#[path = "backplane_chaos/scenario.rs"]
mod scenario;
#[path = "backplane_chaos/ticks.rs"]
mod ticks;

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use random::Random;
use scenario::{Harvest, live_through};

#[test]
fn a_client_that_moves_between_machines_gets_each_event_once_or_a_gap() {
    let only = env::var("STARWHEEL_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let seeds = match only {
        Some(seed) => seed..seed + 1,
        None => 0..env::var("STARWHEEL_SEEDS").map_or(800, |n| n.parse().expect("a number")),
    };
    let mut total = Harvest::default();
    for seed in seeds {
        let harvest = catch_unwind(AssertUnwindSafe(|| live_through(Random::new(seed), seed)))
            .unwrap_or_else(|panic| {
                eprintln!("to see it again: STARWHEEL_SEED={seed} cargo test -p starwheel-tests --test backplane_chaos");
                resume_unwind(panic)
            });
        total.add(&harvest);
    }
    eprintln!("{total:?}");
    assert!(only.is_some() || total.scarce().iter().all(|count| *count > 50), "{total:?}");
}
