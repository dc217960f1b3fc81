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
#[path = "support/seeds.rs"]
mod seeds;

use random::Random;
use scenario::{Harvest, live_through};

#[test]
fn every_subscriber_gets_each_event_once_or_a_gap() {
    let mut total = Harvest::default();
    let all = seeds::try_all("topic_chaos", 2_000, |seed| {
        let harvest = live_through(Random::new(seed), seed);
        total.delivered += harvest.delivered;
        total.passed_by += harvest.passed_by;
        total.gaps += harvest.gaps;
        total.slow += harvest.slow;
        total.resumed += harvest.resumed;
        total.skips += harvest.skips;
        total.exact += harvest.exact;
        total.ids += harvest.ids;
        total.ended += harvest.ended;
        total.sent_away += harvest.sent_away;
    });
    eprintln!("{total:?}");
    let Harvest { delivered, passed_by, gaps, slow, resumed, skips, exact, ids, ended, sent_away } =
        total;
    let scarce = [delivered, passed_by, gaps, slow, resumed, skips, exact, ids, ended];
    assert!(!all || scarce.iter().all(|count| *count > 100), "{total:?}");
    assert!(!all || sent_away > 10, "{total:?}");
}
