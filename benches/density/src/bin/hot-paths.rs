//! Runs one hot path so many times, for a profiler or for a counter of instructions.
//!
//! `hot-paths NAME RUNS [STREAMS]`; without arguments it lists the names.

use std::{env, error::Error};

use starwheel_density::paths::PATHS;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [name, runs, streams @ ..] = &arguments[..] else {
        for (name, what, prepare) in PATHS {
            println!("{name} {} {what}", prepare(STREAMS).operations);
        }
        return Ok(());
    };
    let streams = streams.first().map_or(Ok(STREAMS), |streams| streams.parse())?;
    let (_, _, prepare) =
        PATHS.iter().find(|(known, ..)| known == name).ok_or_else(|| format!("no path {name}"))?;
    let mut path = prepare(streams);
    for _ in 0..runs.parse()? {
        path.run();
    }
    Ok(())
}

const STREAMS: usize = 1000;
