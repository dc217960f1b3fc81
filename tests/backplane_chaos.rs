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
#[path = "backplane_chaos/ends.rs"]
mod ends;
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
#[path = "support/seeds.rs"]
mod seeds;
#[path = "backplane_chaos/ticks.rs"]
mod ticks;

use random::Random;
use scenario::{Harvest, live_through};

#[test]
fn a_client_that_moves_between_machines_gets_each_event_once_or_a_gap() {
    let mut total = Harvest::default();
    let all = seeds::try_all("backplane_chaos", 800, |seed| {
        total.add(&live_through(Random::new(seed), seed));
    });
    eprintln!("{total:?}");
    assert!(!all || total.scarce().iter().all(|count| *count > 50), "{total:?}");
}
