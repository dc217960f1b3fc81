//! The command line.

use std::path::PathBuf;

use lexopt::prelude::{Long, Short, Value, ValueExt};

use crate::{
    Experiment, Output, Result, Setting,
    broadcast::Broadcast,
    compressed::Compressed,
    connect::Connect,
    floor,
    idle::Idle,
    pages::Pages,
    peer,
    plain::Plain,
    pump::Pump,
    server::{self, Cores, Program},
    soak::Soak,
    tick::Tick,
    ticks_under_broadcast::TicksUnderBroadcast,
    visits::Visits,
};

pub struct Options {
    command: Command,
    server: Option<PathBuf>,
    with_floor: bool,
    rounds: Option<usize>,
    output: Output,
}

enum Command {
    Measure(Box<dyn Experiment>),
    Floor,
    /// Serve as what compressed streams are compared with.
    Peer,
    Help,
}

impl Options {
    pub fn parse(mut parser: lexopt::Parser) -> Result<Self> {
        let mut options = Self {
            command: Command::Help,
            server: None,
            with_floor: false,
            rounds: None,
            output: Output::Tables,
        };
        let mut has_command = false;
        while let Some(argument) = parser.next()? {
            let option = match argument {
                Short('h') | Long("help") => {
                    options.command = Command::Help;
                    return Ok(options);
                }
                Value(word) if !has_command => {
                    options.command = Command::named(&word.string()?)?;
                    has_command = true;
                    continue;
                }
                Long(option) => option.to_owned(),
                other => return Err(other.unexpected().into()),
            };
            let Command::Measure(experiment) = &mut options.command else {
                return Err(format!("--{option} belongs to no command; see --help").into());
            };
            match option.as_str() {
                "server" => options.server = Some(parser.value()?.into()),
                "floor" => options.with_floor = true,
                "json" => options.output = Output::Json,
                "rounds" => options.rounds = Some(parser.value()?.parse()?),
                option if experiment.set(option, &mut parser)? => {}
                _ => return Err(format!("no option --{option} here; see --help").into()),
            }
        }
        Ok(options)
    }

    pub fn run(self) -> Result<()> {
        let experiment = match self.command {
            Command::Help => {
                print!("{HELP}");
                return Ok(());
            }
            Command::Floor => {
                println!("{}", floor::build()?.path().display());
                return Ok(());
            }
            Command::Peer => return peer::serve(),
            Command::Measure(experiment) => experiment,
        };
        let server = self.server.map(Program::new);
        let floor = if self.with_floor { Some(floor::build()?) } else { None };
        if server.is_none() && floor.is_none() {
            return Err("nothing to measure: name a --server, or --floor, or both".into());
        }
        let streams = experiment.streams();
        // One round is enough to look at a server, a comparison needs more.
        let compares = server.is_some() && floor.is_some();
        let rounds = self.rounds.unwrap_or(if compares { 3 } else { 1 });
        if streams == 0 || !(1..=1000).contains(&rounds) {
            return Err("there must be streams, and 1 to 1000 rounds".into());
        }
        let descriptors = server::raise_descriptor_limit()?;
        let cores = Cores::find()?;
        let setting = Setting { floor, server, cores, rounds, output: self.output, descriptors };
        if !setting.has_descriptors(streams) {
            return Err(format!(
                "{streams} streams do not fit into a limit of {descriptors} descriptors"
            )
            .into());
        }
        experiment.run(&setting)
    }
}

impl Command {
    fn named(word: &str) -> Result<Self> {
        Ok(match word {
            "tick" => Self::Measure(Box::new(Tick::default())),
            "idle" => Self::Measure(Box::new(Idle::default())),
            "broadcast" => Self::Measure(Box::new(Broadcast::default())),
            "pages" => Self::Measure(Box::new(Pages::default())),
            "connect" => Self::Measure(Box::new(Connect::default())),
            "churn" => Self::Measure(Box::new(Visits::default())),
            "plain" => Self::Measure(Box::new(Plain::default())),
            "pump" => Self::Measure(Box::new(Pump::default())),
            "ticks-under-broadcast" => Self::Measure(Box::new(TicksUnderBroadcast::default())),
            "compressed" => Self::Measure(Box::new(Compressed::default())),
            "soak" => Self::Measure(Box::new(Soak::default())),
            "floor" => Self::Floor,
            peer::COMMAND => Self::Peer,
            "help" => Self::Help,
            other => return Err(format!("no command {other:?}; see --help").into()),
        })
    }
}

const HELP: &str = "\
Drives a server of event streams over loopback and measures it.

  starwheel-load tick       [--streams 1000] [--interval-ms 100] [--bytes 100] [--seconds 10]
                            [--phases even|burst]
  starwheel-load idle       [--streams 10000] [--warm-up 1000] [--path /idle]
  starwheel-load broadcast  [--streams 10000] [--bytes 100] [--publishes 50]
  starwheel-load pump       [--streams 1000] [--bytes 100] [--publishes 80] [--in-flight 8]
  starwheel-load pages      [--streams 1000] [--path /page?ms=100] [--seconds 5]
                            [--coding zstd|identity]
  starwheel-load connect    [--streams 8000] [--warm-up 1000]
  starwheel-load churn      [--connections 20000] [--at-a-time 32]
  starwheel-load plain      [--connections 64] [--replies 100000]
  starwheel-load ticks-under-broadcast
                            [--subscribers 10000] [--tickers 100] [--interval-ms 100] [--bytes 100]
                            [--seconds 10]
  starwheel-load compressed [--subscribers 1,100,1000,10000] [--publishes 30] [--workload NAME]
  starwheel-load soak       [--minutes 10] [--streams 200] [--churn 200]
                            fails when memory grows, a descriptor or an event is lost, or a stream
                            is not closed exactly once
  starwheel-load floor      compile the floor and print its path
  starwheel-load peer       serve with a zstd context for each stream, on PORT

All but the last two also take
  --server PATH   a program that honours PORT=0, prints `listening on http://127.0.0.1:PORT` as its
                  first line, and answers /tick?ms=..&bytes=.., /idle, /topic and POST /publish,
                  for pages /page?ms=.. and /private?ms=.., for plain /hello
  --floor         measure the bare epoll loop too, or alone
  --rounds N      how often; by default 3 for a comparison, else 1
  --json          results as one JSON object per line
";
