//! The time that the hot paths take without sockets: `cargo bench`.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use starwheel_density::paths::PATHS;

fn paths(criterion: &mut Criterion) {
    for (name, _, prepare) in PATHS {
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10).warm_up_time(WARM_UP).measurement_time(MEASUREMENT);
        let sizes: &[usize] = match name {
            "tick" | "delivery" | "delivery-zstd" => &[1000, 100_000],
            _ => &[1],
        };
        for &streams in sizes {
            let mut path = prepare(streams);
            group.throughput(Throughput::Elements(path.operations));
            group.bench_function(BenchmarkId::from_parameter(streams), |bencher| {
                bencher.iter(|| path.run());
            });
        }
        group.finish();
    }
}

const WARM_UP: Duration = Duration::from_millis(300);
const MEASUREMENT: Duration = Duration::from_secs(1);

criterion_group!(benches, paths);
criterion_main!(benches);
