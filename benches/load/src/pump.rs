//! `pump`: several publishes in flight at once, against as many single ones.

use std::fmt;

use lexopt::prelude::ValueExt;
use serde_json::json;

use crate::{
    Experiment, Result, Setting,
    audience::{Audience, EVENT_BYTES_MAX},
    figures::{Figures, Ratios},
    server::{Cores, Program},
};

#[derive(Debug, Clone)]
pub struct Pump {
    pub streams: usize,
    pub bytes: usize,
    pub publishes: usize,
    pub in_flight: usize,
}

impl Default for Pump {
    fn default() -> Self {
        Self { streams: 1000, bytes: 100, publishes: 80, in_flight: 8 }
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

    fn figures(&self, program: &Program, cores: Cores) -> Result<Figures> {
        let mut audience = Audience::gather(program, cores, self.streams, self.bytes)?;
        Ok(self.measure(&mut audience)?.figures(self))
    }

    /// The floor is the plain one with one publish at a time.
    fn figures_beside(&self, floor: &Program, program: &Program, cores: Cores) -> Result<Figures> {
        let gather = |program| Audience::gather(program, cores, self.streams, self.bytes);
        let (mut beside, mut audience) = (gather(floor)?, gather(program)?);
        let floor_ns = self.measure(&mut beside)?.single_ns;
        Ok(self.measure(&mut audience)?.figures(self).beside(floor_ns))
    }

    /// The programs, and the two ways of each, take turns round by round.
    fn run(&self, setting: &Setting) -> Result<()> {
        if self.in_flight == 0 || self.publishes < self.in_flight {
            return Err("at least one publish must be in flight, and fit into all of them".into());
        }
        if self.in_flight.saturating_mul(self.bytes) > EVENT_BYTES_MAX {
            return Err(format!("at most {EVENT_BYTES_MAX} bytes may be in flight").into());
        }
        let floors = setting.floor.iter().flat_map(|floor| [floor.plain(), floor.batch()]);
        let programs: Vec<Program> = floors.chain(setting.server.clone()).collect();
        if !setting.has_descriptors(self.streams.saturating_mul(programs.len())) {
            return Err("the streams of all programs together do not fit".into());
        }
        let gather = |program| Audience::gather(program, setting.cores, self.streams, self.bytes);
        let mut audiences: Vec<Audience> = programs.iter().map(gather).collect::<Result<_>>()?;
        let ratio = |what| Ratios::new("pump", format!("CPU per delivery, {what}"));
        let mut own = ratio("server: in flight / single");
        let mut single = ratio("server single / floor single");
        let mut in_flight = ratio("server in flight / floor single");
        let mut batch = ratio("floor --batch in flight / floor single");
        for round in 1..=setting.rounds {
            let mut results = Vec::new();
            for (program, audience) in programs.iter().zip(&mut audiences) {
                eprintln!("round {round} of {}, {}: {self}", setting.rounds, program.name);
                let measured = self.measure(audience)?;
                measured.figures(self).report(round, program, setting.output)?;
                results.push(measured);
            }
            if let [floor, floor_batch, ..] = &results[..] {
                batch.add(floor_batch.in_flight_ns / floor.single_ns);
            }
            if let [floor, _, server] = &results[..] {
                single.add(server.single_ns / floor.single_ns);
                in_flight.add(server.in_flight_ns / floor.single_ns);
            }
            if let [.., server] = &results[..]
                && setting.server.is_some()
            {
                own.add(server.in_flight_ns / server.single_ns);
            }
        }
        [own, single, in_flight, batch]
            .into_iter()
            .try_for_each(|ratios| ratios.report(setting.output))
    }
}

impl Pump {
    fn measure(&self, audience: &mut Audience) -> Result<Measured> {
        let bursts = self.publishes / self.in_flight;
        let publishes = bursts * self.in_flight;
        let start_ns = audience.cpu_ns()?;
        for _ in 0..publishes {
            audience.publish(1)?;
        }
        let between_ns = audience.cpu_ns()?;
        for _ in 0..bursts {
            audience.publish(self.in_flight)?;
        }
        let end_ns = audience.cpu_ns()?;
        let deliveries = (publishes * self.streams) as f64;
        Ok(Measured {
            single_ns: (between_ns - start_ns) as f64 / deliveries,
            in_flight_ns: (end_ns - between_ns) as f64 / deliveries,
        })
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
    fn figures(&self, pump: &Pump) -> Figures {
        let Self { single_ns, in_flight_ns } = *self;
        let text = format!(
            "{pump}\n  every stream got every event once and in order\n  \
             CPU       {:.2} us per delivery singly, {:.2} us in flight: {:.3}\n",
            single_ns / 1e3,
            in_flight_ns / 1e3,
            in_flight_ns / single_ns,
        );
        let json = json!({
            "streams": pump.streams, "bytes": pump.bytes, "publishes": pump.publishes,
            "in_flight": pump.in_flight, "single_cpu_ns": single_ns,
        });
        Figures { command: "pump", cpu_ns: in_flight_ns, text, json }
    }
}
