//! `connect`: accepting a stream and sending its head.

use std::time::{Duration, Instant};

use lexopt::prelude::ValueExt;
use serde_json::json;

use crate::{
    Experiment, Result,
    clients::Clients,
    figures::Figures,
    server::{Cores, Program, Server},
};

#[derive(Debug, Clone)]
pub struct Connect {
    pub streams: usize,
    pub warm_up: usize,
}

impl Default for Connect {
    fn default() -> Self {
        Self { streams: 8000, warm_up: 1000 }
    }
}

impl Experiment for Connect {
    fn set(&mut self, option: &str, parser: &mut lexopt::Parser) -> Result<bool> {
        match option {
            "streams" => self.streams = parser.value()?.parse()?,
            "warm-up" => self.warm_up = parser.value()?.parse()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn streams(&self) -> usize {
        self.streams.saturating_add(self.warm_up)
    }

    fn figures(&self, program: &Program, cores: Cores) -> Result<Figures> {
        let server = Server::start(program, cores)?;
        let mut clients = Clients::new(server.address())?;
        clients.open(self.warm_up, "/idle", Duration::ZERO, |_| {})?;
        clients.run_until(Instant::now() + FALL_ASLEEP, |_| {})?;
        let cpu_before_ns = server.cpu_ns()?;
        clients.open(self.streams, "/idle", Duration::ZERO, |_| {})?;
        clients.run_until(Instant::now() + FALL_ASLEEP, |_| {})?;
        let cpu_ns = (server.cpu_ns()? - cpu_before_ns) as f64 / self.streams as f64;
        Ok(Figures {
            command: "connect",
            cpu_ns,
            text: format!(
                "{} streams on top of {}\n  CPU       {:.2} us per stream",
                self.streams,
                self.warm_up,
                cpu_ns / 1e3
            ),
            json: json!({ "streams": self.streams, "warm_up": self.warm_up }),
        })
    }
}

const FALL_ASLEEP: Duration = Duration::from_millis(50);
