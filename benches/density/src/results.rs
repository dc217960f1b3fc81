//! Results: one JSON object per line, in a file that only grows.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::Result;

pub struct Results {
    lines: Vec<Value>,
    file: Option<File>,
}

/// A median over the rounds and how far they lie apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
    pub rounds: usize,
}

impl Results {
    pub fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut lines = Vec::new();
        for line in BufReader::new(file).lines() {
            // The last line of a run that was killed may be half a line.
            lines.extend(serde_json::from_str::<Value>(&line?));
        }
        Ok(Self { lines, file: None })
    }

    /// What stands in all of these files, and in the files of results in these folders.
    pub fn read_all(paths: &[PathBuf]) -> Result<Self> {
        let mut files = Vec::new();
        for path in paths {
            if !path.is_dir() {
                files.push(path.clone());
                continue;
            }
            let entries = fs::read_dir(path)?.collect::<std::io::Result<Vec<_>>>()?;
            let mut inside: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
            inside.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
            inside.sort_unstable();
            files.extend(inside);
        }
        let mut lines = Vec::new();
        for file in files {
            lines.extend(Self::read(&file)?.lines);
        }
        Ok(Self { lines, file: None })
    }

    /// Reads what is there, and lets more be added.
    pub fn append_to(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { file: Some(file), ..Self::read(path)? })
    }

    pub fn add(&mut self, line: Value) -> Result<()> {
        if let Some(file) = &mut self.file {
            writeln!(file, "{line}")?;
        }
        self.lines.push(line);
        Ok(())
    }

    /// The machine and the servers' versions of the latest run.
    pub fn machine(&self) -> Option<&Value> {
        self.lines.iter().rev().find_map(|line| line.get("machine"))
    }

    pub fn version(&self, server: &str) -> Option<&str> {
        let lines = self.lines.iter().rev().filter(|line| line["server"] == server);
        lines.filter_map(|line| line["version"].as_str()).next()
    }

    /// The names of all servers, each once.
    pub fn servers(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.lines.iter().filter_map(|line| line["server"].as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// True when this was measured, and did not fail.
    pub fn has(&self, workload: &str, server: &str, round: usize) -> bool {
        self.of(workload, server).any(|line| line["round"] == round)
    }

    /// The good measurements of one server at one workload.
    pub fn of<'a>(
        &'a self,
        workload: &'a str,
        server: &'a str,
    ) -> impl DoubleEndedIterator<Item = &'a Value> {
        self.lines.iter().filter(move |line| {
            line["workload"] == workload && line["server"] == server && line.get("error").is_none()
        })
    }

    /// Why a server could not do a workload, if it never could.
    pub fn failure(&self, workload: &str, server: &str) -> Option<&str> {
        if self.of(workload, server).next().is_some() {
            return None;
        }
        let mut lines = self.lines.iter().rev();
        lines.find_map(|line| {
            let matches = line["workload"] == workload && line["server"] == server;
            matches.then(|| line["error"].as_str())?
        })
    }

    /// One figure over the rounds, named by a JSON pointer.
    pub fn figure(&self, workload: &str, server: &str, pointer: &str) -> Option<Spread> {
        let values = self.of(workload, server).filter_map(|line| line.pointer(pointer)?.as_f64());
        Spread::of(values.collect())
    }

    /// CPU as a multiple of a floor's: of what was measured beside it, else in the same round.
    pub fn ratio(&self, workload: &str, server: &str, floor: &str) -> Option<Spread> {
        let ratios = self.of(workload, server).filter_map(|line| {
            let beside = line["floor_cpu_ns"].as_f64();
            let in_round = || {
                let mut floors = self.of(workload, floor);
                floors.find(|floor| floor["round"] == line["round"])?["cpu_ns"].as_f64()
            };
            Some(line["cpu_ns"].as_f64()? / beside.or_else(in_round)?)
        });
        Spread::of(ratios.collect())
    }

    /// The measurements without sockets.
    pub fn engine(&self) -> impl Iterator<Item = &Value> {
        self.lines.iter().filter_map(|line| line.get("engine"))
    }

    /// What timers cost.
    pub fn timers(&self) -> impl Iterator<Item = &Value> {
        self.lines.iter().filter_map(|line| line.get("timer"))
    }

    /// Events over Redis.
    pub fn backplane(&self) -> impl Iterator<Item = &Value> {
        self.lines.iter().filter_map(|line| line.get("backplane"))
    }

    /// How many deliveries a server makes with every core.
    pub fn throughput(&self) -> impl Iterator<Item = &Value> {
        self.lines.iter().filter_map(|line| line.get("throughput"))
    }

    /// What was found with as many sockets as possible.
    pub fn sockets(&self) -> impl DoubleEndedIterator<Item = &Value> {
        self.lines.iter().filter_map(|line| line.get("sockets"))
    }

    #[must_use]
    pub fn of_lines(lines: Vec<Value>) -> Self {
        Self { lines, file: None }
    }
}

impl Spread {
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.retain(|value| value.is_finite());
        values.sort_by(f64::total_cmp);
        let rounds = values.len();
        Some(Self {
            median: (values.get(rounds.checked_sub(1)? / 2)? + values[rounds / 2]) / 2.0,
            min: values[0],
            max: values[rounds - 1],
            rounds,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn results(lines: &[Value]) -> Results {
        Results::of_lines(lines.to_vec())
    }

    fn line(server: &str, round: usize, cpu_ns: f64) -> Value {
        json!({ "workload": "tick", "server": server, "round": round, "cpu_ns": cpu_ns })
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let results = results(&[
            line("floor", 1, 10.0),
            line("ours", 1, 11.0),
            line("floor", 2, 100.0),
            line("ours", 2, 120.0),
        ]);
        let ratio = results.ratio("tick", "ours", "floor").unwrap();
        assert_eq!((ratio.min, ratio.max, ratio.rounds), (1.1, 1.2, 2));
    }

    #[test]
    fn a_floor_beside_it_is_the_better_one() {
        let mut ours = line("ours", 1, 30.0);
        ours["floor_cpu_ns"] = 20.0.into();
        let results = results(&[line("floor", 1, 10.0), ours]);
        assert_eq!(results.ratio("tick", "ours", "floor").unwrap().median, 1.5);
    }

    #[test]
    fn what_failed_is_measured_again() {
        let mut failed = line("ours", 1, 0.0);
        failed["error"] = "it broke".into();
        let mut results = results(&[failed]);
        assert!(!results.has("tick", "ours", 1));
        assert_eq!(results.failure("tick", "ours"), Some("it broke"));
        results.add(line("ours", 1, 5.0)).unwrap();
        assert!(results.has("tick", "ours", 1));
        assert_eq!(results.failure("tick", "ours"), None);
    }

    #[test]
    fn the_median_of_an_even_number_is_the_mean_of_the_middle_two() {
        assert_eq!(Spread::of(vec![4.0, 1.0, 3.0, 2.0]).unwrap().median, 2.5);
        assert_eq!(Spread::of(vec![]), None);
    }
}
