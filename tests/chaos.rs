//! Random scenarios against a model: whatever clients, network and closures do, every stream is
//! complete and in order, its `on_disconnect` runs once, and everything is released.
//!
//! A scenario follows from its seed. One that fails prints it; `STARWHEEL_SEED=n cargo test -p
//! starwheel-tests --test chaos` runs only that one. `STARWHEEL_SEEDS=n` sets how many small ones
//! are tried.

#[path = "chaos/clients.rs"]
mod clients;
#[path = "support/random.rs"]
mod random;
#[path = "chaos/scenario.rs"]
mod scenario;
#[path = "support/story.rs"]
mod story;
#[path = "chaos/world.rs"]
mod world;

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use clients::{Asked, Version, Visitor};
use random::Random;
use scenario::Chaos;
use story::{ms, secs};
use world::Plan;

/// The scenario of a seed, and its fingerprint.
fn small(seed: u64) -> u64 {
    scenario::live_through(Random::new(seed), seed)
}

/// Runs scenarios; the first that fails prints how to repeat it.
fn live_through_all(seeds: impl Iterator<Item = u64>) {
    let only = env::var("STARWHEEL_SEED").ok().map(|seed| seed.parse().expect("a number"));
    for seed in seeds {
        let seed = only.unwrap_or(seed);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| small(seed))) {
            eprintln!(
                "to see it again: STARWHEEL_SEED={seed} cargo test -p starwheel-tests --test chaos"
            );
            resume_unwind(panic);
        }
        if only.is_some() {
            return;
        }
    }
}

/// A few milliseconds each.
fn seeds() -> u64 {
    env::var("STARWHEEL_SEEDS").map_or(2_000, |count| count.parse().expect("a number"))
}

#[test]
fn small_scenarios_with_even_seeds() {
    live_through_all((0..seeds()).filter(|seed| seed % 2 == 0));
}

#[test]
fn small_scenarios_with_odd_seeds() {
    live_through_all((0..seeds()).filter(|seed| seed % 2 == 1));
}

#[test]
fn a_scenario_follows_from_its_seed() {
    for seed in 0..20 {
        assert_eq!(small(seed), small(seed));
    }
    assert_ne!(small(1), small(2));
}

#[test]
fn ten_thousand_streams_come_stall_and_go() {
    let mut chaos = Chaos::new(Random::new(10_000), 10_000);
    chaos.faults.socket_buffer_bytes = 300;
    chaos.faults.short_writes_percent = 10;
    chaos.faults.would_block_percent = 10;
    chaos.excuses.refused_writes = true;
    chaos.simulation.set_faults(chaos.faults.clone());
    for number in 0..10_000 {
        let interval_ms = chaos.random.between(500, 10_000);
        let key = chaos.world.borrow_mut().plan(Plan::ticking(interval_ms));
        let client = chaos.simulation.connect();
        let mut visitor = Visitor::new(client, Version::Http11);
        visitor.asked.push(Asked::Stream { key });
        chaos.visitors.push(visitor);
        let request = format!("GET /stream?key={key} HTTP/1.1\r\nHost: test\r\n\r\n");
        chaos.simulation.send(client, request.as_bytes());
        if number % 100 == 99 {
            chaos.simulation.advance(ms(7));
        }
    }
    chaos.check();
    assert_eq!(chaos.simulation.stats().streams, 10_000);
    for _ in 0..200 {
        for _ in 0..10 {
            match chaos.random.below(10) {
                0..2 => chaos.stall(),
                2..4 => chaos.resume(),
                4 => chaos.go(),
                5 => chaos.close_stream(),
                _ => chaos.send_events(),
            }
        }
        chaos.simulation.advance(ms(100));
    }
    chaos.simulation.advance(secs(10));
    chaos.check();
    chaos.finish();
}
