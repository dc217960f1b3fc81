//! Topics by the scenarios of `tests/topic_chaos`: publishing, replay, policies, codings and slow
//! clients as the input chooses, judged by the model there.

#![no_main]

#[path = "../../tests/support/decoders.rs"]
mod decoders;
#[path = "../../tests/topic_chaos/lineage.rs"]
mod lineage;
#[path = "../../tests/topic_chaos/model.rs"]
mod model;
#[path = "../../tests/support/random.rs"]
mod random;
#[path = "../../tests/topic_chaos/scenario.rs"]
mod scenario;

use libfuzzer_sys::fuzz_target;
use random::Random;

fuzz_target!(|bytes: &[u8]| {
    let mut random = Random::chosen(bytes);
    let seed = random.below(256) as u64;
    scenario::live_through(random, seed);
});
