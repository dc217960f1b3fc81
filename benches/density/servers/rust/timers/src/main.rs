//! `peer-timers COUNT`: what a timer of tokio's wheel costs, as a line of JSON.
//!
//! There is no executor in it: no tasks, and a waker that does nothing.
//!
//! | pass | what is counted | what is not |
//! |---|---|---|
//! | insert | the first poll of a `Sleep`, which registers it: the driver's lock, the place in the wheel, the waker | making the `Sleep`, and its box |
//! | re-arm | `Sleep::reset`; a later deadline is only noted, and the timer moved when the old one comes | the poll that a task does after it |
//! | cancel | dropping the `Sleep` in place | freeing its box |
//! | fire | the clock set a minute ahead, the driver, which goes through the wheel and calls each waker | running the tasks, polling their `Sleep` to the end |
//!
//! The runtime has no sockets, so an early deadline interrupts no poll of them.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Waker},
    time::Duration,
};

use timer_passes::{SPREAD_MS, Timers};
use tokio::{
    runtime::{Builder, Runtime},
    time::{self, Instant, Sleep},
};

#[allow(dead_code, reason = "shared with programs that use all of it")]
#[path = "../../../../src/timer_passes.rs"]
mod timer_passes;

/// Each in a box of its own: a `Sleep` must not move.
struct Tokio {
    sleeps: Vec<Pin<Box<Option<Sleep>>>>,
    now: Instant,
    runtime: Runtime,
}

impl Tokio {
    fn new(timers: u32, runtime: Runtime) -> Self {
        let sleeps = (0..timers).map(|_| Box::pin(None)).collect();
        Self { sleeps, now: Instant::now(), runtime }
    }

    fn sleep(&mut self, key: u32) -> Pin<&mut Sleep> {
        self.sleeps[key as usize].as_mut().as_pin_mut().expect("it was prepared")
    }
}

impl Timers for Tokio {
    fn prepare(&mut self, key: u32, deadline_ms: u64) {
        let sleep = time::sleep_until(self.now + Duration::from_millis(deadline_ms));
        self.sleeps[key as usize].as_mut().set(Some(sleep));
    }

    fn insert(&mut self, key: u32, _deadline_ms: u64) {
        // Outside a task there is no budget of polls that would end.
        let is_ready = self.sleep(key).poll(&mut Context::from_waker(Waker::noop())).is_ready();
        assert!(!is_ready, "a deadline ahead is not due");
    }

    fn re_arm(&mut self, key: u32, deadline_ms: u64) {
        let deadline = self.now + Duration::from_millis(deadline_ms);
        self.sleep(key).reset(deadline);
    }

    fn cancel(&mut self, key: u32) {
        self.sleeps[key as usize].as_mut().set(None);
    }

    fn fire_all(&mut self) {
        self.runtime.block_on(time::advance(Duration::from_millis(SPREAD_MS + 1000)));
        self.now = Instant::now();
    }

    fn fired(&self) -> usize {
        let sleeps = self.sleeps.iter().filter_map(|sleep| sleep.as_ref().as_pin_ref());
        sleeps.filter(|sleep| sleep.is_elapsed()).count()
    }
}

fn main() -> Result<(), String> {
    let timers = timer_passes::timers_from_arguments()?;
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let handle = runtime.handle().clone();
    let _entered = handle.enter();
    println!("{}", timer_passes::measure(timers, |timers| Tokio::new(timers, runtime))?);
    Ok(())
}
