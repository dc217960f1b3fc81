//! Measures what HTTPS costs: in starwheel, and in proxies in front of it. ../README.md tells what is
//! measured and how.

mod certificate;
mod clients;
mod processes;
mod serve;
mod setups;
mod storm;
mod table;
mod workloads;

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use lexopt::prelude::{Long, Short, Value, ValueExt};
use serde_json::json;
use starwheel_density::{Result, machine, results::Results};
use starwheel_load::server::{Cores, raise_descriptor_limit};

use crate::{
    setups::Setup,
    workloads::{FULL, QUICK, Sizes, Workload},
};

fn main() -> ExitCode {
    match Options::parse(lexopt::Parser::from_env()).and_then(Options::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("edge: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Options {
    words: Vec<String>,
    sizes: Sizes,
    rounds: usize,
    workloads: Option<Vec<String>>,
    setups: Option<Vec<String>>,
    wants_help: bool,
}

impl Options {
    fn parse(mut parser: lexopt::Parser) -> Result<Self> {
        let mut options = Self {
            words: Vec::new(),
            sizes: FULL,
            rounds: 5,
            workloads: None,
            setups: None,
            wants_help: false,
        };
        let names = |list: String| Some(list.split(',').map(str::to_owned).collect());
        while let Some(argument) = parser.next()? {
            match argument {
                Short('h') | Long("help") => options.wants_help = true,
                Value(word) => options.words.push(word.string()?),
                Long("quick") => (options.sizes, options.rounds) = (QUICK, 1),
                Long("rounds") => options.rounds = parser.value()?.parse()?,
                Long("only") => options.workloads = names(parser.value()?.string()?),
                Long("setups") => options.setups = names(parser.value()?.string()?),
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(options)
    }

    fn run(self) -> Result<()> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        match words[..] {
            _ if self.wants_help => print!("{HELP}"),
            ["run", file] => self.measure(Path::new(file))?,
            ["table", file] => print!("{}", table::markdown(&Results::read(Path::new(file))?)),
            ["serve", folder] => serve::serve(&PathBuf::from(folder))?,
            _ => return Err("a command and a file are needed; see --help".into()),
        }
        Ok(())
    }

    /// The set-ups take turns within a workload and a round. What is in the results already is left
    /// out.
    fn measure(&self, file: &Path) -> Result<()> {
        let setups = self.setups()?;
        raise_descriptor_limit()?;
        let cores = Cores::find()?;
        let mut results = Results::append_to(file)?;
        machine::describe_once(&mut results)?;
        for setup in &setups {
            results.add(json!({ "server": setup.name, "version": version(setup) }))?;
        }
        let mut failures = 0;
        for round in 1..=self.rounds {
            for workload in self.workloads()? {
                for setup in setups.iter().filter(|setup| workload.wants(setup)) {
                    if results.has(workload.name(), setup.name, round) {
                        continue;
                    }
                    let mut line = match workload.measure(setup, cores, self.sizes) {
                        Ok(figures) => figures,
                        Err(error) => json!({ "error": error.to_string() }),
                    };
                    line["workload"] = workload.name().into();
                    line["server"] = setup.name.into();
                    line["round"] = round.into();
                    failures += usize::from(line.get("error").is_some());
                    eprintln!("{line}");
                    results.add(line)?;
                }
            }
        }
        match failures {
            0 => Ok(()),
            _ => Err(format!("{failures} measurements failed").into()),
        }
    }

    /// Those that this machine can run.
    fn setups(&self) -> Result<Vec<&'static Setup>> {
        let known: Vec<&str> = setups::ALL.iter().map(|setup| setup.name).collect();
        check_names(&self.setups, &known)?;
        let mut chosen = Vec::new();
        for setup in setups::ALL.iter().filter(|setup| is_named(&self.setups, setup.name)) {
            match setup.missing() {
                None => chosen.push(setup),
                Some(reason) => println!("SKIP {}: {reason}", setup.name),
            }
        }
        Ok(chosen)
    }

    fn workloads(&self) -> Result<Vec<Workload>> {
        let known = Workload::ALL.map(Workload::name);
        check_names(&self.workloads, &known)?;
        let named = |workload: &Workload| is_named(&self.workloads, workload.name());
        Ok(Workload::ALL.into_iter().filter(named).collect())
    }
}

fn check_names(names: &Option<Vec<String>>, known: &[&str]) -> Result<()> {
    match names.iter().flatten().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(format!("no {name:?} among {}", known.join(", ")).into()),
        None => Ok(()),
    }
}

fn is_named(names: &Option<Vec<String>>, name: &str) -> bool {
    names.as_ref().is_none_or(|names| names.iter().any(|named| named == name))
}

/// What a proxy says about itself.
fn version(setup: &Setup) -> String {
    let Some(front) = setup.front() else { return "starwheel".into() };
    let output = Command::new(front.program)
        .arg(if front.program == "caddy" { "version" } else { "-v" })
        .env("PATH", setups::search_path())
        .output();
    let said = output.map_or_else(|_| Vec::new(), |it| [it.stdout, it.stderr].concat());
    let said = String::from_utf8_lossy(&said);
    let number = said.split(|it: char| it.is_whitespace() || it == '/');
    let mut number = number.filter(|word| word.starts_with(|it: char| it.is_ascii_digit()));
    format!("{} {}", front.program, number.next().unwrap_or("of unknown version"))
}

const HELP: &str = "\
Measures what HTTPS costs, in starwheel and in proxies in front of it.

  starwheel-edge run FILE    appends JSON lines, and leaves out what is there already
      --quick                  4 minutes instead of 40
      --rounds N               how often everything is measured  [5, quick: 1]
      --only A,B               these of idle, idle-updater, broadcast, tick, connect, storm
      --setups A,B             these of plain, tls, nginx-stream, haproxy-tcp, haproxy, nginx-lean,
                               nginx, caddy-lean, caddy
  starwheel-edge table FILE  the results as Markdown
";
