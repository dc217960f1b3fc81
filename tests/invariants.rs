//! The invariants of the design, each with tests that fail when it is broken.
//!
//! The numbers are those of ARCHITECTURE.md. The tests of topics are with them.

#[path = "invariants/bytes.rs"]
mod bytes;
#[path = "invariants/encoding.rs"]
mod encoding;
#[path = "invariants/ends.rs"]
mod ends;
#[path = "invariants/slices.rs"]
mod slices;
#[path = "support/story.rs"]
mod story;
#[path = "invariants/timers.rs"]
mod timers;
#[path = "invariants/turn.rs"]
mod turn;

use starwheel::{
    Sse,
    testing::{Client, Simulation},
};
use story::{ms, numbers};

/// A stream that counts its ticks.
fn counter(interval_ms: u64) -> Sse {
    let mut count = 0_u64;
    Sse::every(ms(interval_ms), move |stream| {
        stream.send(format_args!("{count}"));
        count += 1;
    })
}

#[track_caller]
fn assert_counts_from_zero(simulation: &Simulation, client: Client, length: usize) {
    let expected: Vec<u64> = (0..length as u64).collect();
    assert_eq!(numbers(simulation, client), expected);
}
