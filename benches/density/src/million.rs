//! One engine and no sockets: what a stream, a tick and a delivery cost as streams grow in number.
//!
//! Each size runs in a process of its own, because memory that was freed would be used again and
//! not counted.

use std::{
    env,
    path::PathBuf,
    process::{self, Command},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use starwheel::{Router, Sse, Topic, testing::Simulation};
use starwheel_density::paths;
use starwheel_load::proc::Memory;

use crate::{Result, machine, results::Results};

pub(crate) struct Million {
    pub(crate) results: PathBuf,
    pub(crate) streams_max: usize,
}

impl Default for Million {
    fn default() -> Self {
        Self { results: PathBuf::new(), streams_max: 1_000_000 }
    }
}

impl Million {
    pub(crate) fn run(self) -> Result<()> {
        let mut results = Results::append_to(&self.results)?;
        machine::describe_once(&mut results)?;
        for streams in SIZES.into_iter().filter(|&streams| streams <= self.streams_max) {
            for kind in KINDS {
                let output = Command::new(env::current_exe()?)
                    .args(["engine", kind, &streams.to_string()])
                    .stderr(process::Stdio::inherit())
                    .output()?;
                if !output.status.success() {
                    return Err(format!("{kind} with {streams} streams: {}", output.status).into());
                }
                let line: Value = serde_json::from_slice(&output.stdout)?;
                eprintln!(
                    "{kind:<10}{streams:>9} streams {:>7.1} bytes each {:>8.1} ns each time",
                    line["engine"]["bytes_per_stream"].as_f64().unwrap_or(f64::NAN),
                    line["engine"]["ns"].as_f64().unwrap_or(f64::NAN),
                );
                results.add(line)?;
            }
        }
        Ok(())
    }
}

/// One kind of work at one size, in this process: a line of results on stdout.
pub(crate) fn measure(kind: &str, streams: usize) -> Result<()> {
    let before = Memory::of(process::id())?;
    let topic = Topic::new("news");
    let mut simulation = match kind {
        "idle" => idle(streams),
        "tick" => paths::ticking(streams),
        "delivery" => paths::subscribed(streams, &topic, "GET /topic HTTP/1.1"),
        _ => return Err(format!("no kind {kind:?}").into()),
    };
    let memory = Memory::of(process::id())?;
    if simulation.stats().streams != streams as u64 {
        return Err("not all streams are open".into());
    }
    let ns = match kind {
        "tick" => fastest_ns(&mut simulation, |simulation| simulation.advance(SECOND)),
        "delivery" => fastest_ns(&mut simulation, |simulation| {
            simulation.run(|cx| {
                cx.publish(&topic, EVENT).unwrap();
            });
        }),
        _ => f64::NAN,
    };
    let bytes = memory.anonymous.saturating_sub(before.anonymous) as f64 / streams as f64;
    println!(
        "{}",
        json!({ "engine": {
            "kind": kind, "streams": streams, "ns": ns,
            // A socket takes 8 bytes where a member of the crowd takes 24.
            "bytes_per_stream": bytes - 16.0,
        }})
    );
    Ok(())
}

fn idle(streams: usize) -> Simulation {
    let router = Router::new().get("/idle", |_req, _cx| Sse::new());
    let mut simulation = paths::simulation(streams, router);
    simulation.crowd(streams, "GET /idle HTTP/1.1");
    simulation
}

/// Of several runs, each of which writes once to each stream: nanoseconds for one.
fn fastest_ns(simulation: &mut Simulation, mut run: impl FnMut(&mut Simulation)) -> f64 {
    let end = Instant::now() + MEASUREMENT;
    let mut fastest = f64::INFINITY;
    for runs in 0.. {
        if runs >= RUNS_MIN && Instant::now() > end {
            break;
        }
        let (start, writes) = (Instant::now(), simulation.crowd_writes());
        run(simulation);
        let took = start.elapsed().as_nanos() as f64;
        fastest = fastest.min(took / (simulation.crowd_writes() - writes) as f64);
    }
    fastest
}

const SIZES: [usize; 7] = [1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000];
const KINDS: [&str; 3] = ["idle", "tick", "delivery"];
const RUNS_MIN: usize = 5;
const MEASUREMENT: Duration = Duration::from_millis(700);
const SECOND: Duration = Duration::from_secs(1);
const EVENT: &str = "an event of about a hundred bytes: enough for a few numbers, as a dashboard sends them every second";
