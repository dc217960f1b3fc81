//! `pump`: several publishes in flight at once, against as many single ones.

use std::fmt;

use lexopt::prelude::ValueExt;
use serde_json::json;

use crate::{
    Experiment, Result, Setting,
    broadcast::{Audience, EVENT_BYTES_MAX},
    figures::Ratios,
    server::{Cores, Program, Server},
};

#[derive(Debug, Clone)]
pub(crate) struct Pump {
    streams: usize,
    bytes: usize,
    publishes: usize,
    in_flight: usize,
}

impl Default for Pump {
    fn default() -> Self {
        Self { streams: 1000, bytes: 100, publishes: 400, in_flight: 8 }
    }
}

impl Experiment for Pump {
    fn set(&mut self, option: &str, parser: &mut lexopt::Parser) -> Result<bool> {
        match option {
            "streams" => self.streams = parser.value()?.parse()?,
            "bytes" => self.bytes = parser.value()?.parse()?,
            "publishes" => self.publishes = parser.value()?.parse()?,
            "in-flight" => self.in_flight = parser.value()?.parse()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn streams(&self) -> usize {
        self.streams
    }

    fn run(&self, setting: &Setting) -> Result<()> {
        if self.in_flight == 0 || self.publishes < self.in_flight {
            return Err("at least one publish must be in flight, and fit into all of them".into());
        }
        if self.in_flight.saturating_mul(self.bytes) > EVENT_BYTES_MAX {
            return Err(format!("at most {EVENT_BYTES_MAX} bytes may be in flight").into());
        }
        let floors = setting.floor.iter().flat_map(|floor| [floor.plain(), floor.batch()]);
        let programs: Vec<Program> = floors.chain(setting.server.clone()).collect();
        let ratio = |what| Ratios::new("pump", format!("CPU per delivery, {what}"));
        let mut own = ratio("server: in flight / single");
        let mut single = ratio("server single / floor single");
        let mut in_flight = ratio("server in flight / floor single");
        let mut batch = ratio("floor --batch in flight / floor single");
        for round in 1..=setting.rounds {
            let mut results = Vec::new();
            for program in &programs {
                eprintln!("round {round} of {}, {}: {self}", setting.rounds, program.name);
                let measured = self.measure(program, setting.cores)?;
                measured.report(self, round, program, setting)?;
                results.push(measured);
            }
            if let ([floor, floor_batch, ..], Some(_)) = (&results[..], &setting.floor) {
                batch.add(floor_batch.in_flight_ns / floor.single_ns);
            }
            if let ([floor, _, server], _) = (&results[..], ()) {
                single.add(server.single_ns / floor.single_ns);
                in_flight.add(server.in_flight_ns / floor.single_ns);
            }
            if let (Some(server), Some(_)) = (results.last(), &setting.server) {
                own.add(server.in_flight_ns / server.single_ns);
            }
        }
        [own, single, in_flight, batch]
            .into_iter()
            .try_for_each(|ratios| ratios.report(setting.output))
    }
}

impl Pump {
    /// Both ways in turn on the same streams, so that both see the same machine.
    fn measure(&self, program: &Program, cores: Cores) -> Result<Measured> {
        let server = Server::start(program, cores)?;
        let mut audience = Audience::gather(&server, self.streams, self.bytes)?;
        let bursts = (self.publishes / self.in_flight).max(1);
        let (mut single_ns, mut in_flight_ns) = (0, 0);
        self.publish_one_by_one(&mut audience, self.in_flight)?;
        for block in 0..BLOCKS {
            let bursts = bursts * (block + 1) / BLOCKS - bursts * block / BLOCKS;
            let start_ns = audience.cpu_ns(&server)?;
            self.publish_one_by_one(&mut audience, bursts * self.in_flight)?;
            let between_ns = audience.cpu_ns(&server)?;
            for _ in 0..bursts {
                audience.publish(self.in_flight, &mut Vec::new())?;
            }
            let end_ns = audience.cpu_ns(&server)?;
            single_ns += between_ns - start_ns;
            in_flight_ns += end_ns - between_ns;
        }
        let deliveries = (bursts * self.in_flight * self.streams) as f64;
        Ok(Measured {
            single_ns: single_ns as f64 / deliveries,
            in_flight_ns: in_flight_ns as f64 / deliveries,
        })
    }

    fn publish_one_by_one(&self, audience: &mut Audience, count: usize) -> Result<()> {
        (0..count).try_for_each(|_| audience.publish(1, &mut Vec::new()))
    }
}

impl fmt::Display for Pump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { streams, bytes, publishes, in_flight } = self;
        write!(
            f,
            "{publishes} events of {bytes} bytes to {streams} streams, singly and {in_flight} in flight"
        )
    }
}

/// CPU time per delivery.
struct Measured {
    single_ns: f64,
    in_flight_ns: f64,
}

impl Measured {
    fn report(
        &self,
        pump: &Pump,
        round: usize,
        program: &Program,
        setting: &Setting,
    ) -> Result<()> {
        let Self { single_ns, in_flight_ns } = self;
        let text = format!(
            "round {round}, {}: {pump}\n  every stream got every event once and in order\n  \
             CPU       {:.2} us per delivery singly, {:.2} us in flight: {:.3}\n",
            program.name,
            single_ns / 1e3,
            in_flight_ns / 1e3,
            in_flight_ns / single_ns,
        );
        setting.output.print(&text, || {
            json!({
                "command": "pump", "server": program.name, "round": round,
                "streams": pump.streams, "bytes": pump.bytes, "publishes": pump.publishes,
                "in_flight": pump.in_flight,
                "server_cpu_ns_per_delivery_single": single_ns,
                "server_cpu_ns_per_delivery_in_flight": in_flight_ns,
            })
        })
    }
}

/// How often the two ways alternate.
const BLOCKS: usize = 5;
