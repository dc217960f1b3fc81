//! What an event costs under each content coding: time, and bytes on the wire.
//!
//! Three topics: a page of 22.8 KB of which 10 or 100 of 200 rows change, and signals of 100 bytes. For
//! each coding: the key that joiners share, the delta that all others share, the delta of a stream
//! with a history of its own; against one streaming context per client, which is what others do,
//! and against a plain copy. Bytes per event are printed first, then
//! `cargo bench -p starwheel-tests --bench splice` measures the time; a delta is made once per event, what a
//! stream costs is paid per client.

use std::{hint::black_box, io::Write};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, zstd_sys::ZSTD_EndDirective};

#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "the codecs are private to the crate; a benchmark calls only a part of them"
)]
#[path = "../src/compress/mod.rs"]
mod compress;

use compress::{Compression, Compressor, Encoding};

fn events(criterion: &mut Criterion) {
    let topics = [
        ("page, few changes", page(10)),
        ("page, many changes", page(100)),
        ("signals", signals()),
    ];
    for (topic, events) in &topics {
        let size = events.iter().map(Vec::len).sum::<usize>() / events.len();
        println!("\n{topic}: {size} bytes per event");
        for (name, method) in &mut methods() {
            let bytes: usize = (1..EVENTS).map(|at| method(events, at)).sum();
            println!("  {name:30} {:8.1} bytes", bytes as f64 / (EVENTS - 1) as f64);
        }
    }
    for (topic, events) in &topics {
        let mut group = criterion.benchmark_group(*topic);
        group.sample_size(20).warm_up_time(WARM_UP).measurement_time(MEASUREMENT);
        for (name, mut method) in methods() {
            let mut at = 0;
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                bencher.iter(|| {
                    at = at % (EVENTS - 1) + 1;
                    black_box(method(events, at))
                });
            });
        }
        group.finish();
    }
}

/// Compresses the event at an index above zero; the bytes it takes.
type Method = Box<dyn FnMut(&[Vec<u8>], usize) -> usize>;

fn methods() -> Vec<(String, Method)> {
    let mut methods: Vec<(String, Method)> = vec![("copy".into(), copy())];
    for &encoding in Encoding::BUILT_IN.iter().filter(|&&it| it != Encoding::Identity) {
        methods.push((format!("{encoding} key"), key(encoding)));
        methods.push((format!("{encoding} delta"), delta(encoding, &Compression::default())));
        methods.push((format!("{encoding} private"), private(encoding)));
    }
    let level_3 = Compression { zstd_level: 3, ..Compression::default() };
    methods.push(("zstd delta, level 3".into(), delta(Encoding::Zstd, &level_3)));
    methods.push(("zstd stream, level 1 window 17".into(), zstd_stream(1, Some(17))));
    methods.push(("zstd stream, level 3".into(), zstd_stream(3, None)));
    #[cfg(feature = "gzip")]
    methods.push(("gzip stream, level 6".into(), gzip_stream()));
    #[cfg(feature = "brotli")]
    methods.push(("br stream, quality 4 window 18".into(), brotli_stream()));
    methods
}

fn copy() -> Method {
    let mut out = Vec::new();
    Box::new(move |events, at| {
        out.clear();
        out.extend_from_slice(black_box(&events[at]));
        out.len()
    })
}

fn key(encoding: Encoding) -> Method {
    let (mut compressor, mut out) = (Compressor::new(&Compression::default()), Vec::new());
    Box::new(move |events, at| {
        out.clear();
        compressor.key(encoding, &events[at], &mut out);
        out.len()
    })
}

fn delta(encoding: Encoding, settings: &Compression) -> Method {
    let (mut compressor, mut out) = (Compressor::new(settings), Vec::new());
    Box::new(move |events, at| {
        out.clear();
        compressor.delta(encoding, &events[at - 1], &events[at], &mut out);
        out.len()
    })
}

fn private(encoding: Encoding) -> Method {
    let (mut compressor, mut out) = (Compressor::new(&Compression::default()), Vec::new());
    let mut history = Vec::new();
    Box::new(move |events, at| {
        out.clear();
        compressor.delta_private(encoding, &mut history, &events[at], &mut out);
        out.len()
    })
}

fn zstd_stream(level: i32, window_log: Option<u32>) -> Method {
    let mut context = CCtx::create();
    context.set_parameter(CParameter::CompressionLevel(level)).unwrap();
    if let Some(log) = window_log {
        context.set_parameter(CParameter::WindowLog(log)).unwrap();
    }
    let mut buffer = vec![0; 64 * 1024];
    Box::new(move |events, at| {
        let mut input = InBuffer::around(&events[at]);
        let mut output = OutBuffer::around(buffer.as_mut_slice());
        let flush = ZSTD_EndDirective::ZSTD_e_flush;
        while context.compress_stream2(&mut output, &mut input, flush).unwrap() > 0 {}
        output.pos()
    })
}

#[cfg(feature = "gzip")]
fn gzip_stream() -> Method {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    Box::new(move |events, at| {
        encoder.get_mut().clear();
        encoder.write_all(&events[at]).unwrap();
        encoder.flush().unwrap();
        encoder.get_ref().len()
    })
}

#[cfg(feature = "brotli")]
fn brotli_stream() -> Method {
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), 16 * 1024, 4, 18);
    let mut before = 0;
    Box::new(move |events, at| {
        encoder.write_all(&events[at]).unwrap();
        encoder.flush().unwrap();
        let bytes = encoder.get_ref().len() - before;
        before += bytes;
        bytes
    })
}

/// A table of 200 rows, some of which get a new number with each event.
fn page(rows_changed: usize) -> Vec<Vec<u8>> {
    let mut random = Random(7);
    let mut values: Vec<u64> = (0..ROWS).map(|_| random.below(100_000)).collect();
    let render = |values: &[u64]| {
        let mut event = b"event: datastar-patch-elements\ndata: elements <tbody id=rows>".to_vec();
        for (row, value) in values.iter().enumerate() {
            let (whole, rest) = (value / 100, value % 100);
            let class = if value % 3 == 0 { "up" } else { "down" };
            write!(
                event,
                "<tr id=\"row-{row}\"><td class=\"name\">Instrument {row}</td>\
                 <td class=\"price {class}\">{whole}.{rest:02}</td><td class=curr>EUR</td></tr>"
            )
            .unwrap();
        }
        event.extend_from_slice(b"</tbody>\n\n");
        event
    };
    let mut next = || {
        for _ in 0..rows_changed {
            values[random.below(ROWS) as usize] = random.below(100_000);
        }
        render(&values)
    };
    (0..EVENTS).map(|_| next()).collect()
}

fn signals() -> Vec<Vec<u8>> {
    let mut random = Random(11);
    let mut next = || {
        let (load, users, free) = (random.below(1000), random.below(90), random.below(9_000_000));
        format!(
            "event: datastar-patch-signals\n\
             data: signals {{\"load\":0.{load:03},\"users\":{users},\"memory\":{{\"free\":{free}}}}}\n\n"
        )
        .into_bytes()
    };
    (0..EVENTS).map(|_| next()).collect()
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

const EVENTS: usize = 256;
const ROWS: u64 = 200;
const WARM_UP: std::time::Duration = std::time::Duration::from_millis(300);
const MEASUREMENT: std::time::Duration = std::time::Duration::from_secs(1);

criterion_group!(benches, events);
criterion_main!(benches);
