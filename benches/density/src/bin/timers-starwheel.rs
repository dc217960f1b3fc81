//! `timers-starwheel COUNT`: what a timer of starwheel's wheel costs, as a line of JSON.
//!
//! Fire is what the reactor does: sleep until the next deadline, drain, repeat. So it includes a look
//! for the next deadline for each of up to 60,000, where the peers let all fire in one go.

// The wheel's source comes with its tests, which are run where it belongs.
#![cfg(not(test))]

use std::hint::black_box;

use starwheel_density::timer_passes::{self, Timers};

#[allow(
    dead_code,
    reason = "the wheel is private to the crate; a benchmark calls only a part of it"
)]
#[path = "../../../../src/wheel.rs"]
mod wheel;

use wheel::{Due, Wheel};

struct Starwheel {
    wheel: Wheel,
    now_ms: u64,
    fired: usize,
}

impl Starwheel {
    fn new(timers: u32) -> Self {
        let mut wheel = Wheel::new();
        wheel.reserve(timers as usize);
        Self { wheel, now_ms: 0, fired: 0 }
    }
}

impl Timers for Starwheel {
    fn insert(&mut self, key: u32, deadline_ms: u64) {
        self.wheel.arm(key, self.now_ms + deadline_ms);
    }

    fn re_arm(&mut self, key: u32, deadline_ms: u64) {
        self.wheel.arm(key, self.now_ms + deadline_ms);
    }

    fn cancel(&mut self, key: u32) {
        black_box(self.wheel.cancel(key));
    }

    fn fire_all(&mut self) {
        self.fired = 0;
        while let Some(now_ms) = self.wheel.next_deadline() {
            self.now_ms = now_ms;
            let mut moves = u32::MAX;
            while let Due::Key(key, deadline_ms) = self.wheel.pop_due(now_ms, &mut moves) {
                black_box((key, deadline_ms));
                self.fired += 1;
            }
        }
    }

    fn fired(&self) -> usize {
        self.fired
    }
}

fn main() -> Result<(), String> {
    let timers = timer_passes::timers_from_arguments()?;
    println!("{}", timer_passes::measure(timers, Starwheel::new)?);
    Ok(())
}
