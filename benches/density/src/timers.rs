//! What a timer costs: starwheel's wheel beside libev's heap and tokio's wheel.
//!
//! Each library has a program that makes the passes of `timer_passes.rs` and prints one line; each
//! size runs in a process of its own, because memory that was freed would be used again and not
//! counted, and in rounds, because which pages a process gets, and whom it shares the caches with,
//! makes a million timers twice as dear or half. A peer whose program was not built is left out.

use std::{
    env,
    fmt::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    Result, machine,
    results::{Results, Spread},
    servers,
    table::{rounded, thousands},
};

pub(crate) struct Timers {
    pub(crate) results: PathBuf,
    pub(crate) timers_max: u32,
}

impl Default for Timers {
    fn default() -> Self {
        Self { results: PathBuf::new(), timers_max: SIZE_OF_AIMS }
    }
}

impl Timers {
    pub(crate) fn run(self) -> Result<()> {
        let mut results = Results::append_to(&self.results)?;
        machine::describe_once(&mut results)?;
        // Beside this program, as cargo builds both.
        let ours = env::current_exe()?.with_file_name("timers-starwheel");
        let mut programs = vec![(OURS, ours, String::new())];
        for library in PEERS {
            if let Some(peer) = servers::find_built(&format!("timers-{library}"))? {
                programs.push((library, peer.program.path, peer.version));
            }
        }
        for size in SIZES.into_iter().filter(|&size| size <= self.timers_max) {
            for round in 1..=ROUNDS {
                for (library, program, version) in &programs {
                    let mut line = measure(program, size)?;
                    eprintln!("{library:<10}{}", describe(&line));
                    line["round"] = round.into();
                    line["library"] = (*library).into();
                    line["version"] = version.as_str().into();
                    results.add(json!({ "timer": line }))?;
                }
            }
        }
        Ok(())
    }
}

fn measure(program: &Path, timers: u32) -> Result<Value> {
    let output = Command::new(program).arg(timers.to_string()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
    if !output.status.success() {
        return Err(format!("{} with {timers}: {}", program.display(), output.status).into());
    }
    let line: Value = serde_json::from_slice(&output.stdout)?;
    let is_whole = OPERATIONS.iter().all(|operation| line[operation.figure].is_f64());
    match is_whole && line["timers"] == timers {
        true => Ok(line),
        false => Err(format!("{} printed {line}", program.display()).into()),
    }
}

fn describe(line: &Value) -> String {
    let figures = OPERATIONS.iter().map(|operation| {
        let value = line[operation.figure].as_f64().map_or_else(|| "-".into(), rounded);
        format!("{} {value} {}", operation.name, operation.unit)
    });
    let timers = thousands(line["timers"].as_f64().unwrap_or(f64::NAN));
    format!("{timers:>9} timers: {}", figures.collect::<Vec<_>>().join(", "))
}

/// A row for each library at each size; with the targets below the largest.
pub(crate) fn write_table(out: &mut String, results: &Results) {
    if results.timers().next().is_none() {
        return;
    }
    let lines = |library: &'static str, size: u32| {
        results.timers().filter(move |line| line["library"] == library && line["timers"] == size)
    };
    let figure = |library, size, operation: &Operation| {
        Spread::of(lines(library, size).filter_map(|it| it[operation.figure].as_f64()).collect())
    };
    let heads = OPERATIONS.map(|operation| format!("{}, {}", operation.name, operation.unit));
    let _ = writeln!(
        out,
        "\n### Timers\n\nRandom keys, random deadlines within a minute; medians of {ROUNDS} rounds.\n\n\
         | timers | library | {} |\n|---|---|{}",
        heads.join(" | "),
        "---|".repeat(OPERATIONS.len())
    );
    for size in SIZES {
        for library in [OURS].into_iter().chain(PEERS) {
            let Some(line) = lines(library, size).next() else { continue };
            let cells = OPERATIONS.map(|operation| {
                let spread = figure(library, size, &operation);
                let spread = spread.filter(|_| size >= operation.size_min);
                spread.map_or_else(|| "-".into(), |spread| cell(spread, library))
            });
            let version = line["version"].as_str().unwrap_or_default();
            // A version begins with the name.
            let name = if version.is_empty() { library } else { version };
            let _ =
                writeln!(out, "| {} | {name} | {} |", thousands(size.into()), cells.join(" | "));
        }
    }
    if lines(OURS, SIZE_OF_AIMS).next().is_some() {
        let aims = OPERATIONS.map(|operation| format!("<= {}", operation.at_most));
        let verdicts = OPERATIONS.map(|operation| match figure(OURS, SIZE_OF_AIMS, &operation) {
            Some(ours) if ours.median <= operation.at_most => "reached",
            Some(ours) if ours.min <= operation.at_most => "within the noise",
            Some(_) => "missed",
            None => "",
        });
        let size = thousands(SIZE_OF_AIMS.into());
        let _ = writeln!(
            out,
            "| {size} | target | {} |\n| | | {} |",
            aims.join(" | "),
            verdicts.join(" | ")
        );
    }
}

fn cell(spread: Spread, library: &str) -> String {
    let Spread { median, min, max, .. } = spread;
    let [median, min, max] = [median, min, max].map(rounded);
    let median = if library == OURS { format!("**{median}**") } else { median };
    match min == max {
        true => median,
        false => format!("{median} ({min} to {max})"),
    }
}

/// A column: what is measured, and what is aimed at with [`SIZE_OF_AIMS`] timers.
struct Operation {
    name: &'static str,
    figure: &'static str,
    unit: &'static str,
    at_most: f64,
    /// With fewer timers the figure means nothing.
    size_min: u32,
}

const OPERATIONS: [Operation; 5] = [
    operation("insert", "insert_ns", 15.0),
    operation("re-arm", "re_arm_ns", 74.0),
    operation("cancel", "cancel_ns", 17.0),
    operation("fire", "fire_ns", 118.0),
    // Memory grows by pages.
    Operation {
        name: "memory each",
        figure: "bytes_each",
        unit: "B",
        at_most: 12.0,
        size_min: 100_000,
    },
];

const fn operation(name: &'static str, figure: &'static str, at_most: f64) -> Operation {
    Operation { name, figure, unit: "ns", at_most, size_min: 0 }
}

const OURS: &str = "starwheel";
const PEERS: [&str; 2] = ["libev", "tokio"];
const SIZES: [u32; 3] = [1000, 100_000, SIZE_OF_AIMS];
const SIZE_OF_AIMS: u32 = 1_000_000;
const ROUNDS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn line(library: &str, timers: u32, ns: f64) -> Value {
        json!({ "timer": {
            "library": library, "version": if library == OURS { "" } else { "theirs 1.0" }, "timers": timers,
            "insert_ns": ns, "re_arm_ns": ns, "cancel_ns": ns, "fire_ns": ns, "bytes_each": 16.01,
        }})
    }

    fn table(lines: impl IntoIterator<Item = Value>) -> String {
        let mut out = String::new();
        write_table(&mut out, &Results::of_lines(lines.into_iter().collect()));
        out
    }

    #[test]
    fn the_median_of_the_rounds_is_compared_with_the_aims() {
        let rounds = [500.0, 16.0, 15.5].map(|ns| line(OURS, SIZE_OF_AIMS, ns));
        let table = table(rounds);
        let figure = "**16.0** (15.5 to 500)";
        let ours = format!("| 1,000,000 | starwheel | {} | **16.0** |\n", [figure; 4].join(" | "));
        assert!(table.contains(&ours), "{table}");
        assert!(
            table.ends_with("| | | missed | reached | reached | reached | missed |\n"),
            "{table}"
        );
    }

    #[test]
    fn a_peer_that_was_not_built_has_no_line() {
        let table = table([line(OURS, 1000, 5.0), line("tokio", 1000, 50.0)]);
        assert!(
            table.contains("| 1,000 | theirs 1.0 | 50.0 | 50.0 | 50.0 | 50.0 | - |"),
            "{table}"
        );
        assert!(!table.contains("libev") && !table.contains("target"), "{table}");
    }

    #[test]
    fn without_timers_there_is_no_table() {
        assert_eq!(table([]), "");
    }
}
