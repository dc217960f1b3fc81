//! Random scenarios: which seeds are tried, and how one that fails is seen again.

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

/// Runs scenarios with the seeds from 0, `count` of them unless `STARWHEEL_SEEDS` says how many; only the
/// one that `STARWHEEL_SEED` names, if it is set. The first that fails prints how to repeat it. True
/// if all have run, so that together they must have tried everything.
pub(crate) fn try_all(test: &str, count: u64, mut scenario: impl FnMut(u64)) -> bool {
    let number = |name| -> Option<u64> { Some(env::var(name).ok()?.parse().expect("a number")) };
    let only = number("STARWHEEL_SEED");
    let seeds = match only {
        Some(seed) => seed..seed + 1,
        None => 0..number("STARWHEEL_SEEDS").unwrap_or(count),
    };
    for seed in seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| scenario(seed))) {
            eprintln!(
                "to see it again: STARWHEEL_SEED={seed} cargo test -p starwheel-tests --test {test}"
            );
            resume_unwind(panic);
        }
    }
    only.is_none()
}
