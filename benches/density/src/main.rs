//! Compares servers of event streams with each other and with bare loops. README.md tells what is
//! measured and how to read it.

mod agreement;
mod backplane;
mod charts;
mod matrix;
mod million;
mod plots;
mod servers;
mod sockets;
mod svg;
mod table;
mod throughput;
mod timers;
mod workloads;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use lexopt::prelude::{Long, Short, Value, ValueExt};
use starwheel_density::{
    Result, machine,
    results::{self, Results},
};

use crate::{
    matrix::Matrix, million::Million, sockets::Sockets, throughput::Throughput, timers::Timers,
    workloads::Length,
};

fn main() -> ExitCode {
    match Command::parse(lexopt::Parser::from_env()).and_then(Command::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("density: {error}");
            ExitCode::FAILURE
        }
    }
}

enum Command {
    Matrix(Matrix),
    Million(Million),
    /// What `million` starts for each size.
    Engine {
        kind: String,
        streams: usize,
    },
    Timers(Timers),
    Throughput(Throughput),
    Sockets(Sockets),
    /// What `sockets` starts for each server.
    Crowd {
        server: SocketAddr,
        first_address: usize,
    },
    Table {
        results: PathBuf,
    },
    /// What events over Redis cost.
    Backplane {
        results: PathBuf,
    },
    Plot {
        results: Vec<PathBuf>,
        folder: PathBuf,
    },
    Compare {
        before: PathBuf,
        after: PathBuf,
    },
    Help,
}

impl Command {
    fn parse(mut parser: lexopt::Parser) -> Result<Self> {
        let mut words = Vec::new();
        let mut matrix = Matrix::default();
        let mut million = Million::default();
        let mut timers = Timers::default();
        let mut sockets = Sockets::default();
        let mut throughput = Throughput::default();
        while let Some(argument) = parser.next()? {
            match argument {
                Short('h') | Long("help") => return Ok(Self::Help),
                Value(word) => words.push(word.string()?),
                Long("quick") => {
                    matrix.length = Length::Quick;
                    million.streams_max = 100_000;
                    timers.timers_max = 100_000;
                    sockets.pairs_max = Some(2);
                    throughput = Throughput { streams: 2000, events: 10, rounds: 2, ..throughput };
                }
                Long("rounds") => matrix.rounds = Some(parser.value()?.parse()?),
                Long("only") => matrix.workloads = names(&parser.value()?.string()?),
                Long("servers") => matrix.servers = names(&parser.value()?.string()?),
                Long("streams-max") => million.streams_max = parser.value()?.parse()?,
                Long("server") => sockets.server = parser.value()?.string()?,
                Long("pairs") => sockets.pairs_max = Some(parser.value()?.parse()?),
                Long("timers-max") => timers.timers_max = parser.value()?.parse()?,
                other => return Err(other.unexpected().into()),
            }
        }
        let mut words = words.into_iter();
        let command = words.next().unwrap_or_default();
        let mut word = |what: &str| words.next().ok_or_else(|| format!("{command} needs {what}"));
        Ok(match command.as_str() {
            "run" => {
                matrix.results = word("a file for the results")?.into();
                Self::Matrix(matrix)
            }
            "million" => {
                million.results = word("a file for the results")?.into();
                Self::Million(million)
            }
            "engine" => Self::Engine {
                kind: word("a kind")?,
                streams: word("a number of streams")?.parse()?,
            },
            "timers" => {
                timers.results = word("a file for the results")?.into();
                Self::Timers(timers)
            }
            "workers" => {
                throughput.results = word("a file for the results")?.into();
                Self::Throughput(throughput)
            }
            "sockets" => {
                sockets.results = word("a file for the results")?.into();
                Self::Sockets(sockets)
            }
            sockets::CROWD => Self::Crowd {
                server: word("a server")?.parse()?,
                first_address: word("a number")?.parse()?,
            },
            "table" => Self::Table { results: word("a file of results")?.into() },
            "compare" => Self::Compare {
                before: word("two files of results")?.into(),
                after: word("two files of results")?.into(),
            },
            "backplane" => Self::Backplane { results: word("a file of results")?.into() },
            "plot" => {
                let mut results: Vec<PathBuf> = words.map(PathBuf::from).collect();
                let folder = results.pop().ok_or("plot needs a folder for the pictures")?;
                Self::Plot { results, folder }
            }
            "" | "help" => Self::Help,
            other => return Err(format!("no command {other:?}; see --help").into()),
        })
    }

    fn run(self) -> Result<()> {
        match self {
            Self::Matrix(matrix) => matrix.run(),
            Self::Million(million) => million.run(),
            Self::Engine { kind, streams } => million::measure(&kind, streams),
            Self::Timers(timers) => timers.run(),
            Self::Throughput(throughput) => throughput.run(),
            Self::Sockets(sockets) => sockets.run(),
            Self::Crowd { server, first_address } => sockets::serve_as_crowd(server, first_address),
            Self::Table { results } => {
                print!("{}", table::markdown(&Results::read(&results)?));
                Ok(())
            }
            Self::Compare { before, after } => {
                let read = |path| Results::read_all(&[path]);
                let (text, agree) = agreement::compare(&read(before)?, &read(after)?);
                print!("{text}");
                if agree { Ok(()) } else { Err("the runs do not agree".into()) }
            }
            Self::Backplane { results } => {
                print!("{}", backplane::markdown(&Results::read(&results)?));
                Ok(())
            }
            Self::Plot { results, folder } => plots::write(&Results::read_all(&results)?, &folder),
            Self::Help => {
                print!("{HELP}");
                Ok(())
            }
        }
    }
}

fn names(list: &str) -> Option<Vec<String>> {
    Some(list.split(',').map(str::to_owned).collect())
}

const HELP: &str = "\
Compares servers of event streams. benches/density/run does all of it.

  density run FILE       measures the matrix; appends JSON lines, and leaves out what is there already
      --quick              a tenth of the time, with fewer servers
      --rounds N           how often everything is measured  [3, quick: 1]
      --only A,B           these workloads
      --servers A,B        these servers; without `floor` there are no ratios
  density million FILE   one engine without sockets, from 1,000 to 1,000,000 streams
      --streams-max N      up to so many
  density timers FILE    a timer of starwheel, of libev and of tokio, among 1,000 to 1,000,000
      --timers-max N       up to so many
  density workers FILE   deliveries a second of one reactor and of workers, with every core
  density sockets FILE   as many streams on real sockets as the machine has room for
      --pairs N            servers, each with a process of clients, at most
      --server NAME        [starwheel]
  density table FILE     the results as Markdown
  density backplane FILE  events over Redis as Markdown; benches/backplane.rs measures them
  density compare A B    whether two runs agree, files or folders of results; fails if they do not
  density plot FILE.. DIR  the results as SVG pictures
";
