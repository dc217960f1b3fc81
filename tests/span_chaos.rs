//! Random scenarios of clients that move between workers whose topics span all of them, against a
//! model that knows the true log: whatever happens on the way from the sequencer to the workers,
//! each client gets every event once and in order, or a gap event in between.
//!
//! A scenario follows from its seed. One that fails prints it; `STARWHEEL_SEED=n cargo test -p
//! starwheel-tests --test span_chaos` runs only that one. `STARWHEEL_SEEDS=n` sets how many are
//! tried.

#[path = "support/decoders.rs"]
mod decoders;
#[path = "span_chaos/journey.rs"]
mod journey;
#[path = "span_chaos/log.rs"]
mod log;
#[path = "support/random.rs"]
mod random;
#[path = "span_chaos/scenario.rs"]
mod scenario;
#[path = "support/seeds.rs"]
mod seeds;

use random::Random;
use scenario::{Harvest, live_through};

#[test]
fn a_client_that_moves_between_workers_gets_each_event_once_or_a_gap() {
    let mut total = Harvest::default();
    let all = seeds::try_all("span_chaos", 800, |seed| {
        total.add(&live_through(Random::new(seed), seed));
    });
    eprintln!("{total:?}");
    assert!(!all || total.scarce().iter().all(|count| *count > 100), "{total:?}");
}
