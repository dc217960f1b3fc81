//! Drives a server of event streams over loopback and measures it. README.md tells what the
//! figures mean.

mod audience;
mod broadcast;
mod churn;
mod clients;
mod compressed;
mod figures;
mod floor;
mod idle;
mod options;
mod peer;
mod proc;
mod publisher;
mod pump;
mod receipts;
mod schedule;
mod server;
mod soak;
mod tick;
mod ticks_under_broadcast;
mod wire;
mod workload;

use std::{io::Write, process::ExitCode};

use crate::{
    floor::Floor,
    options::Options,
    server::{Cores, Program},
};

pub(crate) type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    match Options::parse(lexopt::Parser::from_env()).and_then(Options::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("starwheel-load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One kind of measurement.
pub(crate) trait Experiment {
    /// Takes an option with its value; false when it is none of this experiment's.
    fn set(&mut self, option: &str, parser: &mut lexopt::Parser) -> Result<bool>;

    /// How many streams are open at a time.
    fn streams(&self) -> usize;

    fn run(&self, setting: &Setting) -> Result<()>;
}

/// What is measured, where, how often, and where the results go.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) floor: Option<Floor>,
    pub(crate) server: Option<Program>,
    pub(crate) cores: Cores,
    pub(crate) rounds: usize,
    pub(crate) output: Output,
    /// How many this process may open.
    pub(crate) descriptors: u64,
}

impl Setting {
    /// True when so many streams may be open at a time.
    pub(crate) fn has_descriptors(&self, streams: usize) -> bool {
        (streams as u64).saturating_add(DESCRIPTORS_SPARE) <= self.descriptors
    }
}

/// For what is not a stream: pipes, the polls, the server's own files.
const DESCRIPTORS_SPARE: u64 = 64;

/// Where results go; progress always goes to stderr.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Output {
    /// Tables on stdout.
    Tables,
    /// One JSON object per line on stdout, the tables on stderr.
    Json,
}

impl Output {
    pub(crate) fn print(self, table: &str, json: impl FnOnce() -> serde_json::Value) -> Result<()> {
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
