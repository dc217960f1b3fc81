//! `pages`: a dashboard, compressed on its way or not; what it costs a server, per event and stream.

use std::{
    str::FromStr,
    time::{Duration, Instant},
};

use lexopt::prelude::ValueExt;
use serde_json::json;

use crate::{
    Experiment, Result,
    clients::{Accept, Clients},
    figures::Figures,
    server::{Cores, Program, Server},
    witness::Witness,
};

#[derive(Debug, Clone)]
pub struct Pages {
    pub streams: usize,
    /// `/page?ms=..`, rendered once for all, or `/private?ms=..`, rendered for each.
    pub path: String,
    pub seconds: u64,
    pub coding: Coding,
}

/// What the streams ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    Zstd,
    Identity,
}

impl Coding {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Identity => "identity",
        }
    }
}

impl FromStr for Coding {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = [Self::Zstd, Self::Identity].into_iter().find(|coding| coding.name() == name);
        known.ok_or_else(|| format!("{name:?} is neither zstd nor identity"))
    }
}

impl Default for Pages {
    fn default() -> Self {
        Self { streams: 1000, path: "/page?ms=100".into(), seconds: 5, coding: Coding::Zstd }
    }
}

impl Experiment for Pages {
    fn set(&mut self, option: &str, parser: &mut lexopt::Parser) -> Result<bool> {
        match option {
            "streams" => self.streams = parser.value()?.parse()?,
            "path" => self.path = parser.value()?.string()?,
            "seconds" => self.seconds = parser.value()?.parse()?,
            "coding" => self.coding = parser.value()?.parse()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn streams(&self) -> usize {
        self.streams + self.streams / WARM_UP_SHARE
    }

    /// What one stream decodes is taken for what all have got: where a server cannot keep up, the
    /// others may have got less, and bytes per event show it.
    fn figures(&self, program: &Program, cores: Cores) -> Result<Figures> {
        let server = Server::start(program, cores)?;
        let mut clients =
            Clients::new(server.address())?.accepting(Accept::Coding(self.coding.name()));
        let mut witness = Witness::connect(server.address(), &self.path, self.coding)?;
        // What the first streams cost once is not counted.
        clients.open(self.streams / WARM_UP_SHARE, &self.path, Duration::ZERO, |_| {})?;
        watch(&mut clients, &mut witness, SETTLE)?;
        let memory_before = server.memory()?;
        clients.open(self.streams, &self.path, Duration::ZERO, |_| {})?;
        watch(&mut clients, &mut witness, 2 * SETTLE)?;
        let memory = server.memory()?;

        let (events_before, decoded_before) = witness.count()?;
        let (cpu_before_ns, received_before) = (server.cpu_ns()?, clients.received_bytes());
        watch(&mut clients, &mut witness, Duration::from_secs(self.seconds))?;
        let cpu_ns = server.cpu_ns()? - cpu_before_ns;
        let (events, decoded) = witness.count()?;
        let (events, decoded) = (events - events_before, decoded - decoded_before);
        if events == 0 || clients.lost() > 0 {
            return Err(format!("{events} events, {} streams lost", clients.lost()).into());
        }

        let deliveries = (events * self.streams() as u64) as f64;
        let cpu_ns = cpu_ns as f64 / deliveries;
        let wire_bytes = (clients.received_bytes() - received_before) as f64 / deliveries;
        let memory_bytes = (memory.private_dirty as f64 - memory_before.private_dirty as f64)
            / self.streams as f64;
        let event_bytes = decoded as f64 / events as f64;
        let text = format!(
            "{} streams of {}, {}, {events} events\n  CPU       {:.2} us per delivery\n  \
             wire      {wire_bytes:.0} bytes per event of {event_bytes:.0}\n  \
             memory    {memory_bytes:.0} bytes per stream",
            self.streams(),
            self.path,
            self.coding.name(),
            cpu_ns / 1e3,
        );
        let json = json!({
            "streams": self.streams, "path": self.path, "coding": self.coding.name(), "seconds": self.seconds, "events": events,
            "wire_bytes_per_event": wire_bytes, "event_bytes": event_bytes,
            "private_dirty_bytes_per_stream": memory_bytes,
        });
        Ok(Figures { command: "pages", cpu_ns, text, json })
    }
}

fn watch(clients: &mut Clients, witness: &mut Witness, time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        clients.run_until(end.min(Instant::now() + WITNESS_INTERVAL), |_| {})?;
        witness.count()?;
    }
    Ok(())
}

const WARM_UP_SHARE: usize = 10;
const SETTLE: Duration = Duration::from_secs(1);
/// Often enough that the witness's socket never fills.
const WITNESS_INTERVAL: Duration = Duration::from_millis(100);
