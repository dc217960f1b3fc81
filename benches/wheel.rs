//! What a timer costs: insert, re-arm, cancel and fire among 10,000 to 1,000,000 timers whose
//! deadlines are spread at random over 60 s.
//!
//! One iteration treats all timers once, so the time per timer is one over the throughput. Keys come
//! in random order, as in a server that has run for a while: what costs is the memory that is not in
//! the caches. `insert, ascending` shows the difference: there the ends of the lists stay in L1.
//! Fire is what the reactor does: sleep until the next deadline, drain, repeat; cascades included.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

#[allow(
    dead_code,
    unused_imports,
    reason = "the wheel is private to the crate; a benchmark calls only a part of it, and not its tests"
)]
#[path = "../src/wheel.rs"]
mod wheel;

use wheel::{Due, Wheel};

const SPREAD_MS: u64 = 60_000;

fn timers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wheel");
    group.sample_size(10);
    for count in [10_000_u32, 100_000, 1_000_000] {
        let deadlines = random_deadlines(count, 1);
        let later = random_deadlines(count, 2);
        let shuffled = shuffled_keys(count, 3);
        let victims = shuffled_keys(count, 4);
        group.throughput(Throughput::Elements(u64::from(count)));

        let ascending: Vec<u32> = (0..count).collect();
        for (name, keys) in [("insert", &shuffled), ("insert, ascending", &ascending)] {
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter_batched_ref(
                    || {
                        // Armed once before, so that no page faults of fresh memory are counted.
                        let mut wheel = armed(&shuffled, &deadlines);
                        (0..count).for_each(|key| assert!(wheel.cancel(key)));
                        wheel
                    },
                    |wheel| {
                        for (&key, &deadline) in keys.iter().zip(&deadlines) {
                            wheel.arm(key, deadline);
                        }
                    },
                    BatchSize::PerIteration,
                );
            });
        }
        group.bench_function(BenchmarkId::new("re-arm", count), |bencher| {
            bencher.iter_batched_ref(
                || armed(&shuffled, &deadlines),
                |wheel| {
                    for (&key, &deadline) in victims.iter().zip(&later) {
                        wheel.arm(key, deadline);
                    }
                },
                BatchSize::PerIteration,
            );
        });
        group.bench_function(BenchmarkId::new("cancel", count), |bencher| {
            bencher.iter_batched_ref(
                || armed(&shuffled, &deadlines),
                |wheel| {
                    for &key in &victims {
                        black_box(wheel.cancel(key));
                    }
                },
                BatchSize::PerIteration,
            );
        });
        group.bench_function(BenchmarkId::new("fire", count), |bencher| {
            bencher.iter_batched_ref(
                || armed(&shuffled, &deadlines),
                |wheel| {
                    while let Some(now) = wheel.next_deadline() {
                        let mut moves = u32::MAX;
                        while let Due::Key(key, deadline) = wheel.pop_due(now, &mut moves) {
                            black_box((key, deadline));
                        }
                    }
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn armed(keys: &[u32], deadlines: &[u64]) -> Wheel {
    let mut wheel = Wheel::new();
    wheel.reserve(keys.len());
    for (&key, &deadline) in keys.iter().zip(deadlines) {
        wheel.arm(key, deadline);
    }
    wheel
}

fn random_deadlines(count: u32, seed: u64) -> Vec<u64> {
    let mut random = Random(seed);
    (0..count).map(|_| random.below(SPREAD_MS)).collect()
}

fn shuffled_keys(count: u32, seed: u64) -> Vec<u32> {
    let mut random = Random(seed);
    let mut keys: Vec<u32> = (0..count).collect();
    for last in (1..keys.len()).rev() {
        keys.swap(last, random.below(last as u64 + 1) as usize);
    }
    keys
}

/// SplitMix64: the same numbers on every machine.
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

criterion_group!(benches, timers);
criterion_main!(benches);
