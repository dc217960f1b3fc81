//! What a timer costs, whoever keeps it: the same passes over the same random keys and deadlines
//! for every library.
//!
//! It knows no library and needs nothing but `std`, because the programs of the peers, which have
//! other dependencies, take this file in as it is. Deadlines are milliseconds from the library's own
//! now, at random within a minute; keys come in random order, as in a server that has run for a
//! while: what costs is the memory that is not in the caches.

use std::{
    fmt::{self, Display},
    fs,
    time::{Duration, Instant},
};

/// The timers of one library, each with a key below their number.
pub trait Timers {
    /// Whatever a timer must be given before it can be inserted; it is not counted.
    fn prepare(&mut self, _key: u32, _deadline_ms: u64) {}

    /// Arms a timer that is not armed.
    fn insert(&mut self, key: u32, deadline_ms: u64);

    /// Gives an armed timer another deadline.
    fn re_arm(&mut self, key: u32, deadline_ms: u64);

    fn cancel(&mut self, key: u32);

    /// Lets more than [`SPREAD_MS`] pass, so that all timers fire, in the order of their deadlines.
    fn fire_all(&mut self);

    /// How many timers have fired since they were inserted last.
    fn fired(&self) -> usize;
}

/// Nanoseconds for one timer: of several runs, the fastest at each operation.
#[derive(Debug, Clone, Copy)]
pub struct Costs {
    pub timers: u32,
    pub insert_ns: f64,
    pub re_arm_ns: f64,
    pub cancel_ns: f64,
    pub fire_ns: f64,
    /// Growth of the process's memory, from no timer to all of them armed.
    pub bytes_each: f64,
}

/// Runs at least [`RUNS_MIN`] times, and small sizes for [`MEASUREMENT`].
///
/// All timers are armed and cancelled once before, so that no page faults of fresh memory are counted.
pub fn measure<T: Timers>(timers: u32, new: impl FnOnce(u32) -> T) -> Result<Costs, String> {
    let deadlines = random_deadlines(timers, 1);
    let later = random_deadlines(timers, 2);
    // Three orders: a neighbour that the pass before left in the caches would be no random one.
    let inserted = shuffled_keys(timers, 3);
    let re_armed = shuffled_keys(timers, 4);
    let cancelled = shuffled_keys(timers, 5);
    let prepare = |library: &mut T| {
        inserted.iter().zip(&deadlines).for_each(|(&key, &at)| library.prepare(key, at));
    };
    let insert = |library: &mut T| {
        inserted.iter().zip(&deadlines).for_each(|(&key, &at)| library.insert(key, at));
    };
    let re_arm = |library: &mut T| {
        re_armed.iter().zip(&later).for_each(|(&key, &at)| library.re_arm(key, at));
    };
    let cancel = |library: &mut T| cancelled.iter().for_each(|&key| library.cancel(key));

    let before_bytes = anonymous_bytes()?;
    let mut library = new(timers);
    prepare(&mut library);
    insert(&mut library);
    let bytes = anonymous_bytes()?.saturating_sub(before_bytes);
    cancel(&mut library);

    let mut costs = Costs {
        timers,
        insert_ns: f64::INFINITY,
        re_arm_ns: f64::INFINITY,
        cancel_ns: f64::INFINITY,
        fire_ns: f64::INFINITY,
        bytes_each: bytes as f64 / f64::from(timers),
    };
    let ns_each = |start: Instant| start.elapsed().as_nanos() as f64 / f64::from(timers);
    let end = Instant::now() + MEASUREMENT;
    for runs in 0.. {
        if runs >= RUNS_MIN && Instant::now() > end {
            break;
        }
        prepare(&mut library);
        let start = Instant::now();
        insert(&mut library);
        costs.insert_ns = costs.insert_ns.min(ns_each(start));
        let start = Instant::now();
        re_arm(&mut library);
        costs.re_arm_ns = costs.re_arm_ns.min(ns_each(start));
        let start = Instant::now();
        cancel(&mut library);
        costs.cancel_ns = costs.cancel_ns.min(ns_each(start));

        prepare(&mut library);
        insert(&mut library);
        let start = Instant::now();
        library.fire_all();
        costs.fire_ns = costs.fire_ns.min(ns_each(start));
        if library.fired() != timers as usize {
            return Err(format!("of {timers} timers, {} fired", library.fired()));
        }
    }
    Ok(costs)
}

/// One JSON object: what a program of timers prints.
impl Display for Costs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { timers, insert_ns, re_arm_ns, cancel_ns, fire_ns, bytes_each } = self;
        write!(
            f,
            "{{\"timers\": {timers}, \"insert_ns\": {insert_ns:.2}, \"re_arm_ns\": {re_arm_ns:.2}, \
             \"cancel_ns\": {cancel_ns:.2}, \"fire_ns\": {fire_ns:.2}, \"bytes_each\": {bytes_each:.2}}}"
        )
    }
}

/// From the arguments of a program of timers: how many of them.
pub fn timers_from_arguments() -> Result<u32, String> {
    let timers = std::env::args().nth(1).and_then(|word| word.parse().ok());
    timers.filter(|&timers| timers > 0).ok_or_else(|| "say how many timers".into())
}

fn anonymous_bytes() -> Result<u64, String> {
    let text = fs::read_to_string("/proc/self/smaps_rollup").map_err(|error| error.to_string())?;
    let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:"));
    let kibibytes: Option<u64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    Ok(kibibytes.ok_or("smaps_rollup has no Anonymous")? * 1024)
}

/// From 1 on, because 0 would be now.
fn random_deadlines(count: u32, seed: u64) -> Vec<u64> {
    let mut random = Random(seed);
    (0..count).map(|_| 1 + random.below(SPREAD_MS)).collect()
}

fn shuffled_keys(count: u32, seed: u64) -> Vec<u32> {
    let mut random = Random(seed);
    let mut keys: Vec<u32> = (0..count).collect();
    for last in (1..keys.len()).rev() {
        keys.swap(last, random.below(last as u64 + 1) as usize);
    }
    keys
}

/// SplitMix64: the same numbers on every machine and in every language.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

pub const SPREAD_MS: u64 = 60_000;
const RUNS_MIN: usize = 5;
const MEASUREMENT: Duration = Duration::from_millis(700);

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps deadlines in a plain array, and may forget one when all are to fire.
    struct Plain {
        armed: Vec<Option<u64>>,
        fired: usize,
        forgets: usize,
    }

    impl Timers for Plain {
        fn insert(&mut self, key: u32, deadline_ms: u64) {
            assert_eq!(self.armed[key as usize].replace(deadline_ms), None);
            self.fired = 0;
        }

        fn re_arm(&mut self, key: u32, deadline_ms: u64) {
            assert!((1..=SPREAD_MS).contains(&deadline_ms));
            assert!(self.armed[key as usize].replace(deadline_ms).is_some());
        }

        fn cancel(&mut self, key: u32) {
            assert!(self.armed[key as usize].take().is_some());
        }

        fn fire_all(&mut self) {
            self.fired = self.armed.iter_mut().filter_map(Option::take).count() - self.forgets;
        }

        fn fired(&self) -> usize {
            self.fired
        }
    }

    fn plain(forgets: usize) -> impl FnOnce(u32) -> Plain {
        move |timers| Plain { armed: vec![None; timers as usize], fired: 0, forgets }
    }

    #[test]
    fn every_timer_is_inserted_re_armed_cancelled_and_fired() {
        let costs = measure(100, plain(0)).unwrap();
        for ns in [costs.insert_ns, costs.re_arm_ns, costs.cancel_ns, costs.fire_ns] {
            assert!(ns.is_finite());
        }
    }

    #[test]
    fn a_timer_that_does_not_fire_is_an_error() {
        assert_eq!(measure(100, plain(1)).unwrap_err(), "of 100 timers, 99 fired");
    }

    #[test]
    fn keys_are_shuffled_and_complete() {
        let mut keys = shuffled_keys(1000, 3);
        assert_ne!(keys[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        keys.sort_unstable();
        assert!(keys.into_iter().eq(0..1000));
    }
}
