//! Drives a server of event streams over loopback and measures it. README.md tells what the
//! figures mean.

pub mod audience;
pub mod broadcast;
mod churn;
mod client;
pub mod clients;
mod compressed;
pub mod connect;
pub mod figures;
pub mod floor;
pub mod idle;
mod options;
pub mod pages;
mod peer;
pub mod plain;
pub mod proc;
pub mod publisher;
pub mod pump;
pub mod receipts;
pub mod schedule;
pub mod server;
mod soak;
pub mod tick;
pub mod ticks_under_broadcast;
pub mod visits;
pub mod wire;
mod witness;
mod workload;

pub use crate::client::connect_from;

use std::{io::Write, process::ExitCode};

use crate::{
    figures::{Figures, Ratios},
    floor::Floor,
    options::Options,
    server::{Cores, Program},
};

pub type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Does what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    match Options::parse(lexopt::Parser::from_env()).and_then(Options::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("starwheel-load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One kind of measurement.
pub trait Experiment {
    /// Takes an option with its value; false when it is none of this experiment's.
    fn set(&mut self, option: &str, parser: &mut lexopt::Parser) -> Result<bool>;

    /// How many streams are open at a time.
    fn streams(&self) -> usize;

    /// Starts the program, measures it once, and stops it. Not every experiment can say what it
    /// found in one figure; those that cannot have a `run` of their own.
    fn figures(&self, _program: &Program, _cores: Cores) -> Result<Figures> {
        Err("this experiment has no figures of its own".into())
    }

    /// The same beside a floor that works in turn with the program, where that is possible: then the
    /// figures have the floor's cost too, as `floor_cpu_ns`.
    fn figures_beside(&self, _floor: &Program, program: &Program, cores: Cores) -> Result<Figures> {
        self.figures(program, cores)
    }

    /// Measures the floor and then the server, as often as there are rounds; with both, the last
    /// line is the ratio of their costs.
    fn run(&self, setting: &Setting) -> Result<()> {
        let floor = setting.floor.as_ref().map(|floor| floor.plain());
        let mut ratios = None;
        for round in 1..=setting.rounds {
            let mut results = Vec::new();
            for program in floor.iter().chain(&setting.server) {
                eprintln!("round {round} of {}, {}", setting.rounds, program.name);
                let figures = self.figures(program, setting.cores)?;
                figures.report(round, program, setting.output)?;
                results.push(figures);
            }
            if let [floor, server] = &results[..] {
                ratios
                    .get_or_insert_with(|| Ratios::new(server.command, "CPU, server / floor"))
                    .add(server.cpu_ns / floor.cpu_ns);
            }
        }
        ratios.map_or(Ok(()), |ratios| ratios.report(setting.output))
    }
}

/// What is measured, where, how often, and where the results go.
#[derive(Debug)]
pub struct Setting {
    pub floor: Option<Floor>,
    pub server: Option<Program>,
    pub cores: Cores,
    pub rounds: usize,
    pub output: Output,
    /// How many this process may open.
    pub descriptors: u64,
}

impl Setting {
    /// True when so many streams may be open at a time.
    pub fn has_descriptors(&self, streams: usize) -> bool {
        (streams as u64).saturating_add(DESCRIPTORS_SPARE) <= self.descriptors
    }
}

/// For what is not a stream: pipes, the polls, the server's own files.
const DESCRIPTORS_SPARE: u64 = 64;

/// Where results go; progress always goes to stderr.
#[derive(Debug, Clone, Copy)]
pub enum Output {
    /// Tables on stdout.
    Tables,
    /// One JSON object per line on stdout, the tables on stderr.
    Json,
}

impl Output {
    pub fn print(self, table: &str, json: impl FnOnce() -> serde_json::Value) -> Result<()> {
        match self {
            Self::Tables => writeln!(std::io::stdout(), "{}", table.trim_end())?,
            Self::Json => {
                eprintln!("{}", table.trim_end());
                writeln!(std::io::stdout(), "{}", json())?;
            }
        }
        Ok(())
    }
}
