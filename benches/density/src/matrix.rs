//! Runs every workload on every server that can do it, in rounds.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use starwheel_load::server::{Cores, Program, raise_descriptor_limit};

use crate::{
    Result, machine,
    results::Results,
    servers::{self, Kind, Server},
    workloads::{self, Length, Rounds, Workload},
};

pub(crate) struct Matrix {
    pub(crate) results: PathBuf,
    pub(crate) length: Length,
    pub(crate) rounds: Option<usize>,
    pub(crate) workloads: Option<Vec<String>>,
    pub(crate) servers: Option<Vec<String>>,
}

impl Default for Matrix {
    fn default() -> Self {
        Self {
            results: PathBuf::new(),
            length: Length::Full,
            rounds: None,
            workloads: None,
            servers: None,
        }
    }
}

/// One server doing one workload once.
struct Job<'a> {
    workload: &'a Workload,
    round: usize,
    server: &'a Server,
}

impl Matrix {
    /// What stands in the results already is not measured again, so that a run that was stopped
    /// goes on where it was. A server that fails at a workload is noted, and the others go on.
    pub(crate) fn run(self) -> Result<()> {
        let servers = servers::built()?;
        let workloads = workloads::all(self.length);
        self.check_names(&servers, &workloads)?;
        let mut results = Results::append_to(&self.results)?;
        let mut jobs = self.jobs(&workloads, &servers);
        jobs.retain(|job| !results.has(job.workload.id, &job.server.program.name, job.round));

        raise_descriptor_limit()?;
        let cores = Cores::find()?;
        if !jobs.is_empty() {
            results.add(machine::describe())?;
            for server in &servers {
                results.add(json!({ "server": server.program.name, "version": server.version }))?;
            }
        }

        let floor = servers.iter().find(|server| server.program.name == "floor");
        let mut left_s: f64 = jobs.iter().map(|job| job.workload.seconds).sum();
        let (start, count) = (Instant::now(), jobs.len());
        let mut failures = 0;
        for (number, job) in jobs.iter().enumerate() {
            eprintln!(
                "\n[{}/{count}, {:.0} s so far, about {left_s:.0} s left] {}, round {}, {}",
                number + 1,
                start.elapsed().as_secs_f64(),
                job.workload.title,
                job.round,
                job.server.program.name,
            );
            let line = job.run(floor.map(|floor| &floor.program), cores);
            failures += usize::from(line.get("error").is_some());
            results.add(line)?;
            left_s -= job.workload.seconds;
            // Sockets of the server that was stopped are still being taken down.
            std::thread::sleep(BETWEEN_JOBS);
        }
        eprintln!("\n{count} measured, {failures} failed: {}", self.results.display());
        Ok(())
    }

    /// Rounds of a workload follow each other, and within a round one server the other, so that
    /// what is compared was measured close together.
    fn jobs<'a>(&self, workloads: &'a [Workload], servers: &'a [Server]) -> Vec<Job<'a>> {
        let rounds = self.rounds.unwrap_or(match self.length {
            Length::Full => 3,
            Length::Quick => 1,
        });
        let mut jobs = Vec::new();
        for workload in workloads.iter().filter(|work| is_named(&self.workloads, work.id)) {
            let rounds = if workload.rounds == Rounds::One { 1 } else { rounds };
            for round in 1..=rounds {
                for server in servers {
                    let known = servers::known(&server.program.name);
                    let wanted = known.is_some_and(|known| workload.wants(known));
                    if wanted && is_named(&self.servers, &server.program.name) {
                        jobs.push(Job { workload, round, server });
                    }
                }
            }
        }
        jobs
    }

    fn check_names(&self, servers: &[Server], workloads: &[Workload]) -> Result<()> {
        for name in self.servers.iter().flatten() {
            if !servers.iter().any(|server| server.program.name == *name) {
                return Err(format!("no server {name:?} was built").into());
            }
        }
        for name in self.workloads.iter().flatten() {
            if !workloads.iter().any(|workload| workload.id == name) {
                let known: Vec<&str> = workloads.iter().map(|workload| workload.id).collect();
                return Err(format!("no workload {name:?} among {}", known.join(", ")).into());
            }
        }
        Ok(())
    }
}

impl Job<'_> {
    fn run(&self, floor: Option<&Program>, cores: Cores) -> Value {
        let (program, experiment) = (&self.server.program, &self.workload.experiment);
        let is_floor = servers::known(&program.name).is_some_and(|it| it.kind == Kind::Floor);
        let figures = match floor {
            Some(floor) if !is_floor => experiment.figures_beside(floor, program, cores),
            _ => experiment.figures(program, cores),
        };
        let mut line = match figures {
            Ok(figures) => {
                eprintln!("{}", figures.text.trim_end());
                figures.line(self.round, program)
            }
            Err(error) => {
                eprintln!("failed: {error}");
                json!({ "server": program.name, "round": self.round, "error": error.to_string() })
            }
        };
        line["workload"] = self.workload.id.into();
        line
    }
}

fn is_named(names: &Option<Vec<String>>, name: &str) -> bool {
    names.as_ref().is_none_or(|names| names.iter().any(|named| named == name))
}

const BETWEEN_JOBS: Duration = Duration::from_millis(100);
