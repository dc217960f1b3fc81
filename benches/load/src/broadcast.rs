//! `broadcast`: one event at a time to all streams; how long it takes, and what it costs.

use std::fmt;

use hdrhistogram::Histogram;
use lexopt::prelude::ValueExt;
use serde_json::json;

use crate::{
    Experiment, Result, Setting,
    audience::{Audience, EVENT_BYTES_MAX},
    figures::{Figures, Ratios, new_histogram, quantiles_head, quantiles_json, quantiles_row},
    server::{Cores, Program},
};

#[derive(Debug, Clone)]
pub struct Broadcast {
    pub streams: usize,
    pub bytes: usize,
    pub publishes: usize,
}

impl Default for Broadcast {
    fn default() -> Self {
        Self { streams: 10_000, bytes: 100, publishes: 50 }
    }
}

impl Experiment for Broadcast {
    fn set(&mut self, option: &str, parser: &mut lexopt::Parser) -> Result<bool> {
        match option {
            "streams" => self.streams = parser.value()?.parse()?,
            "bytes" => self.bytes = parser.value()?.parse()?,
            "publishes" => self.publishes = parser.value()?.parse()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn streams(&self) -> usize {
        self.streams
    }

    fn figures(&self, program: &Program, cores: Cores) -> Result<Figures> {
        let mut audience = Audience::gather(program, cores, self.streams, self.bytes)?;
        let results = self.measure(std::slice::from_mut(&mut audience))?;
        Ok(results[0].figures(self))
    }

    fn figures_beside(&self, floor: &Program, program: &Program, cores: Cores) -> Result<Figures> {
        let gather = |program| Audience::gather(program, cores, self.streams, self.bytes);
        let results = self.measure(&mut [gather(floor)?, gather(program)?])?;
        Ok(results[1].figures(self).beside(results[0].cpu.mean()))
    }

    /// Programs whose streams can all be open at a time take turns event by event, the others
    /// round by round.
    fn run(&self, setting: &Setting) -> Result<()> {
        if self.publishes == 0 || self.bytes > EVENT_BYTES_MAX {
            return Err(format!("at least one publish, of at most {EVENT_BYTES_MAX} bytes").into());
        }
        let floor = setting.floor.as_ref().map(|floor| floor.plain());
        let programs: Vec<Program> = floor.into_iter().chain(setting.server.clone()).collect();
        let gather = |program: &Program| {
            eprintln!("{}: {self}", program.name);
            Audience::gather(program, setting.cores, self.streams, self.bytes)
        };
        let together = setting.has_descriptors(self.streams.saturating_mul(programs.len()));
        let mut audiences: Vec<Audience> = match together {
            true => programs.iter().map(gather).collect::<Result<_>>()?,
            false => Vec::new(),
        };
        let mut mean = Ratios::new("broadcast", "CPU per delivery, server / floor");
        let mut median =
            Ratios::new("broadcast", "CPU per delivery, median publish, server / floor");
        let mut last = Ratios::new("broadcast", "time to the last delivery, server / floor");
        for round in 1..=setting.rounds {
            let mut results = self.measure(&mut audiences)?;
            if !together {
                for program in &programs {
                    results.extend(self.measure(&mut [gather(program)?])?);
                }
            }
            for (program, measured) in programs.iter().zip(&results) {
                measured.figures(self).report(round, program, setting.output)?;
            }
            if let [floor, server] = &results[..] {
                let of_medians = |of: fn(&Measured) -> &Histogram<u64>| {
                    of(server).value_at_quantile(0.5) as f64
                        / of(floor).value_at_quantile(0.5) as f64
                };
                mean.add(server.cpu.mean() / floor.cpu.mean());
                median.add(of_medians(|measured| &measured.cpu));
                last.add(of_medians(|measured| &measured.last));
            }
        }
        [mean, median, last].into_iter().try_for_each(|ratios| ratios.report(setting.output))
    }
}

impl Broadcast {
    fn measure(&self, audiences: &mut [Audience]) -> Result<Vec<Measured>> {
        let mut results =
            audiences.iter().map(|_| Measured::new()).collect::<Result<Vec<Measured>>>()?;
        for _ in 0..self.publishes {
            for (audience, measured) in audiences.iter_mut().zip(&mut results) {
                let cpu_before_ns = audience.cpu_ns()?;
                let mut delays_ns = audience.publish(1)?;
                let cpu_ns = audience.cpu_ns()? - cpu_before_ns;
                delays_ns.sort_unstable();
                measured.cpu.saturating_record(cpu_ns / self.streams as u64);
                measured.first.saturating_record(delays_ns[0]);
                measured.half.saturating_record(delays_ns[delays_ns.len() / 2]);
                measured.last.saturating_record(delays_ns[delays_ns.len() - 1]);
            }
        }
        Ok(results)
    }
}

impl fmt::Display for Broadcast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { streams, bytes, publishes } = self;
        write!(f, "{publishes} events of {bytes} bytes to {streams} streams")
    }
}

/// Of each publish.
struct Measured {
    /// The server's time on a CPU, per delivery.
    cpu: Histogram<u64>,
    /// From right before the request was written, as the others.
    first: Histogram<u64>,
    half: Histogram<u64>,
    last: Histogram<u64>,
}

impl Measured {
    fn new() -> Result<Self> {
        Ok(Self {
            cpu: new_histogram()?,
            first: new_histogram()?,
            half: new_histogram()?,
            last: new_histogram()?,
        })
    }

    fn figures(&self, broadcast: &Broadcast) -> Figures {
        let mut text = format!(
            "{broadcast}\n  every stream got every event once and in order\n  \
             CPU       {:.2} us per delivery\n  us        {}\n",
            self.cpu.mean() / 1e3,
            quantiles_head(),
        );
        for (name, of_publishes) in
            [("CPU", &self.cpu), ("first", &self.first), ("half", &self.half), ("last", &self.last)]
        {
            text += &format!("  {name:<10}{}\n", quantiles_row(of_publishes));
        }
        let json = json!({
            "streams": broadcast.streams, "bytes": broadcast.bytes,
            "publishes": broadcast.publishes,
            "cpu_us": quantiles_json(&self.cpu),
            "first_us": quantiles_json(&self.first),
            "half_us": quantiles_json(&self.half),
            "last_us": quantiles_json(&self.last),
        });
        Figures { command: "broadcast", cpu_ns: self.cpu.mean(), text, json }
    }
}
