//! The whole engine by the scenarios of `tests/chaos`: the input chooses what clients, network and
//! closures do, and the model there judges every turn.

#![no_main]

#[path = "../../tests/chaos/clients.rs"]
mod clients;
#[path = "../../tests/support/random.rs"]
mod random;
#[path = "../../tests/chaos/scenario.rs"]
mod scenario;
#[path = "../../tests/support/story.rs"]
mod story;
#[path = "../../tests/chaos/world.rs"]
mod world;

use libfuzzer_sys::fuzz_target;
use random::Random;

fuzz_target!(|bytes: &[u8]| {
    let mut random = Random::chosen(bytes);
    let seed = random.below(256) as u64;
    scenario::live_through(random, seed);
});
