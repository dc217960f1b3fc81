//! Random scenarios around topics against a model: whatever network and closures do, each
//! subscriber that stays gets every event of its topics in order and exactly once, and one that
//! misses events gets a gap.
//!
//! A scenario follows from its seed. One that fails prints it; `STARWHEEL_SEED=n cargo test -p
//! starwheel-tests --test topic_chaos` runs only that one. `STARWHEEL_SEEDS=n` sets how many are
//! tried.

#[path = "support/decoders.rs"]
mod decoders;
#[path = "topic_chaos/lineage.rs"]
mod lineage;
#[path = "topic_chaos/model.rs"]
mod model;
#[path = "support/random.rs"]
mod random;
#[path = "topic_chaos/scenario.rs"]
mod scenario;

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use random::Random;
use scenario::{Harvest, live_through};

#[test]
fn every_subscriber_gets_each_event_once_or_a_gap() {
    let only = env::var("STARWHEEL_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let seeds = match only {
        Some(seed) => seed..seed + 1,
        None => 0..env::var("STARWHEEL_SEEDS").map_or(2_000, |n| n.parse().expect("a number")),
    };
    let mut total = Harvest::default();
    for seed in seeds {
        let harvest = catch_unwind(AssertUnwindSafe(|| live_through(Random::new(seed), seed)))
            .unwrap_or_else(|panic| {
                eprintln!("to see it again: STARWHEEL_SEED={seed} cargo test -p starwheel-tests --test topic_chaos");
                resume_unwind(panic)
            });
        total.delivered += harvest.delivered;
        total.passed_by += harvest.passed_by;
        total.gaps += harvest.gaps;
        total.slow += harvest.slow;
        total.resumed += harvest.resumed;
        total.skips += harvest.skips;
        total.exact += harvest.exact;
        total.ids += harvest.ids;
    }
    eprintln!("{total:?}");
    let Harvest { delivered, passed_by, gaps, slow, resumed, skips, exact, ids } = total;
    let scarce = [delivered, passed_by, gaps, slow, resumed, skips, exact, ids];
    assert!(only.is_some() || scarce.iter().all(|count| *count > 100), "{total:?}");
}
