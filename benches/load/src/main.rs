//! Drives a server of event streams over loopback and measures it. README.md tells what the
//! figures mean.

mod clients;
mod floor;
mod idle;
mod proc;
mod schedule;
mod server;
mod tick;
mod wire;

use std::{io::Write, path::PathBuf, process::ExitCode};

use lexopt::prelude::{Long, Short, Value, ValueExt};

use crate::{
    idle::Idle,
    server::{Cores, Program},
    tick::{Phases, Tick},
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

struct Options {
    command: Command,
    server: Option<PathBuf>,
    with_floor: bool,
    output: Output,
}

enum Command {
    Tick(Tick),
    Idle(Idle),
    Floor,
    Help,
}

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

impl Options {
    fn parse(mut parser: lexopt::Parser) -> Result<Self> {
        let (mut server, mut with_floor, mut output, mut rounds) =
            (None, false, Output::Tables, None);
        let mut tick = Tick {
            streams: 1000,
            interval_ms: 100,
            bytes: 100,
            seconds: 10,
            rounds: 1,
            phases: Phases::Even,
        };
        let mut idle = Idle { streams: 10_000, warm_up: 1000 };
        let mut command = None;
        while let Some(argument) = parser.next()? {
            match (command.as_deref(), argument) {
                (_, Short('h') | Long("help")) => command = Some("help".to_owned()),
                (None, Value(word)) => command = Some(word.string()?),
                (Some("tick" | "idle"), Long("server")) => server = Some(parser.value()?.into()),
                (Some("tick" | "idle"), Long("floor")) => with_floor = true,
                (Some("tick" | "idle"), Long("json")) => output = Output::Json,
                (Some("tick"), Long("streams")) => tick.streams = parser.value()?.parse()?,
                (Some("tick"), Long("interval-ms")) => {
                    tick.interval_ms = parser.value()?.parse()?
                }
                (Some("tick"), Long("bytes")) => tick.bytes = parser.value()?.parse()?,
                (Some("tick"), Long("seconds")) => tick.seconds = parser.value()?.parse()?,
                (Some("tick"), Long("phases")) => tick.phases = parser.value()?.parse()?,
                (Some("tick"), Long("rounds")) => rounds = Some(parser.value()?.parse()?),
                (Some("idle"), Long("streams")) => idle.streams = parser.value()?.parse()?,
                (Some("idle"), Long("warm-up")) => idle.warm_up = parser.value()?.parse()?,
                (_, argument) => return Err(argument.unexpected().into()),
            }
        }
        let command = match command.as_deref() {
            Some("tick") => {
                // One round is enough to look at a server, a comparison needs more.
                tick.rounds = rounds.unwrap_or(if with_floor && server.is_some() { 3 } else { 1 });
                Command::Tick(tick)
            }
            Some("idle") => Command::Idle(idle),
            Some("floor") => Command::Floor,
            Some("help") | None => Command::Help,
            Some(other) => return Err(format!("no command {other:?}; see --help").into()),
        };
        Ok(Self { command, server, with_floor, output })
    }

    fn run(self) -> Result<()> {
        let server = self.server.map(Program::new);
        let floor = if self.with_floor { Some(floor::build()?) } else { None };
        let streams = match &self.command {
            Command::Help => {
                print!("{HELP}");
                return Ok(());
            }
            Command::Floor => {
                println!("{}", floor::build()?.path.display());
                return Ok(());
            }
            Command::Tick(tick) => tick.streams,
            Command::Idle(idle) => idle.streams.saturating_add(idle.warm_up),
        };
        if server.is_none() && floor.is_none() {
            return Err("nothing to measure: name a --server, or --floor, or both".into());
        }
        let descriptors = server::raise_descriptor_limit()?;
        if (streams as u64).saturating_add(DESCRIPTORS_SPARE) > descriptors {
            return Err(format!(
                "{streams} streams do not fit into a limit of {descriptors} descriptors"
            )
            .into());
        }
        let cores = Cores::find()?;
        match self.command {
            Command::Tick(tick) => tick.run(floor.as_ref(), server.as_ref(), cores, self.output),
            Command::Idle(idle) => floor
                .iter()
                .chain(&server)
                .try_for_each(|program| idle.run(program, cores, self.output)),
            Command::Floor | Command::Help => Ok(()),
        }
    }
}

/// For what is not a stream: pipes, the poll, the server's own files.
const DESCRIPTORS_SPARE: u64 = 64;

const HELP: &str = "\
Drives a server of event streams over loopback and measures it.

  starwheel-load tick [--server PATH] [--floor] [--streams 1000] [--interval-ms 100] [--bytes 100]
                      [--seconds 10] [--phases even|burst] [--rounds 1, or 3 against the floor] [--json]
  starwheel-load idle [--server PATH] [--floor] [--streams 10000] [--warm-up 1000] [--json]
  starwheel-load floor        compile the floor and print its path

PATH is a program that honours PORT=0, answers /tick?ms=..&bytes=.. and /idle, and prints
`listening on http://127.0.0.1:PORT` as its first line.
";
