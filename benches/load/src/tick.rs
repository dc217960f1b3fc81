//! `tick`: streams with a timer each; CPU per event, and how late the events come.

use std::{
    fmt,
    io::Write,
    str::FromStr,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use lexopt::prelude::ValueExt;
use serde_json::json;

use crate::{
    Experiment, Result, Setting,
    clients::{Clients, unix_ns},
    figures::{
        Figures, Ratios, new_histogram, quantiles_head, quantiles_json, quantiles_row, shape_json,
    },
    schedule,
    server::{Cores, Program, Server},
};

#[derive(Debug, Clone)]
pub struct Tick {
    pub streams: usize,
    pub interval_ms: u64,
    pub bytes: usize,
    pub seconds: u64,
    pub phases: Phases,
}

/// How the streams' timers lie to each other. A timer starts when its stream is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phases {
    /// Spread evenly over the interval: every event finds an idle server.
    Even,
    /// As fast as the streams can be opened: many are due at once.
    Burst,
}

impl FromStr for Phases {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "even" => Ok(Self::Even),
            "burst" => Ok(Self::Burst),
            _ => Err("phases are even or burst"),
        }
    }
}

impl fmt::Display for Phases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Even => "even",
            Self::Burst => "burst",
        })
    }
}

impl Default for Tick {
    fn default() -> Self {
        Self { streams: 1000, interval_ms: 100, bytes: 100, seconds: 10, phases: Phases::Even }
    }
}

impl Experiment for Tick {
    fn set(&mut self, option: &str, parser: &mut lexopt::Parser) -> Result<bool> {
        match option {
            "streams" => self.streams = parser.value()?.parse()?,
            "interval-ms" => self.interval_ms = parser.value()?.parse()?,
            "bytes" => self.bytes = parser.value()?.parse()?,
            "seconds" => self.seconds = parser.value()?.parse()?,
            "phases" => self.phases = parser.value()?.parse()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn streams(&self) -> usize {
        self.streams
    }

    fn figures(&self, program: &Program, cores: Cores) -> Result<Figures> {
        self.check()?;
        let measured = self.measure(program, cores)?;
        match measured.streams_lost {
            0 => Ok(measured.figures(self)),
            lost => Err(format!("{lost} streams ended before the measurement did").into()),
        }
    }

    /// Measures the programs one after the other, and that as often as there are rounds. With a
    /// floor, each round also yields the server's CPU per event as a multiple of the floors'.
    fn run(&self, setting: &Setting) -> Result<()> {
        self.check()?;
        let floors = setting.floor.iter().flat_map(|floor| [floor.plain(), floor.whole_ms()]);
        let programs: Vec<Program> = floors.chain(setting.server.clone()).collect();
        let mut to_floor = Ratios::new("tick", "CPU per event, server / floor");
        let mut to_floor_ms = Ratios::new("tick", "CPU per event, server / floor --ms");
        let mut lost = 0;
        for round in 1..=setting.rounds {
            let mut cpu_ns = Vec::new();
            for program in &programs {
                eprintln!("round {round} of {}, {}: {self}", setting.rounds, program.name);
                let measured = self.measure(program, setting.cores)?;
                let figures = measured.figures(self);
                figures.report(round, program, setting.output)?;
                cpu_ns.push(figures.cpu_ns);
                lost += measured.streams_lost;
            }
            if let [floor, floor_ms, server] = cpu_ns[..] {
                to_floor.add(server / floor);
                to_floor_ms.add(server / floor_ms);
            }
        }
        to_floor.report(setting.output)?;
        to_floor_ms.report(setting.output)?;
        if lost > 0 {
            return Err(format!("{lost} streams ended before the measurement did").into());
        }
        Ok(())
    }
}

impl Tick {
    fn check(&self) -> Result<()> {
        if self.streams == 0 || self.interval_ms == 0 || self.seconds == 0 {
            return Err("streams, interval and seconds must not be 0".into());
        }
        let events = (self.streams as u64).saturating_mul(self.seconds).saturating_mul(1000)
            / self.interval_ms;
        if self.seconds > 3600 || events > EVENTS_MAX {
            return Err(format!("too much: at most {EVENTS_MAX} events and 3600 seconds").into());
        }
        if self.seconds * 1000 < self.interval_ms {
            return Err("the measurement must last at least one interval".into());
        }
        Ok(())
    }

    fn measure(&self, program: &Program, cores: Cores) -> Result<Measured> {
        let interval = Duration::from_millis(self.interval_ms);
        let places = (self.seconds * 1000 / self.interval_ms) as usize + 8;
        let mut arrivals: Vec<Vec<u64>> =
            (0..self.streams).map(|_| Vec::with_capacity(places)).collect();
        let mut delivery = new_histogram()?;

        let server = Server::start(program, cores)?;
        let mut clients = Clients::new(server.address())?;
        let path = format!("/tick?ms={}&bytes={}", self.interval_ms, self.bytes);
        clients.open(self.streams, &path, self.spacing(), |_| {})?;
        clients.run_until(Instant::now() + interval.max(WARM_UP), |_| {})?;

        let cpu_before_ns = server.cpu_ns()?;
        let (start, begin_ns) = (Instant::now(), unix_ns());
        for second in 1..=self.seconds {
            clients.run_until(start + Duration::from_secs(second), |arrival| {
                arrivals[arrival.stream].push(arrival.arrived_ns);
                delivery.saturating_record(arrival.arrived_ns.saturating_sub(arrival.sent_ns));
            })?;
            eprint!(".");
            std::io::stderr().flush()?;
        }
        let (wall_ns, end_ns) = (start.elapsed().as_nanos() as u64, unix_ns());
        let cpu_ns = server.cpu_ns()? - cpu_before_ns;
        eprintln!();
        let rss_bytes = server.memory()?.rss;

        let (mut jitter, mut lateness, mut missed) = (new_histogram()?, new_histogram()?, 0);
        for arrivals in &arrivals {
            let regularity =
                schedule::judge(arrivals, self.interval_ms * 1_000_000, begin_ns, end_ns);
            regularity.jitter_ns.iter().for_each(|&ns| jitter.saturating_record(ns));
            for &ns in skip_reference(&regularity.lateness_ns) {
                lateness.saturating_record(ns);
            }
            missed += regularity.missed;
        }
        let received = delivery.len();
        if received == 0 {
            return Err("no event with a time stamp arrived".into());
        }
        let streams_lost = clients.lost();
        Ok(Measured {
            delivery,
            jitter,
            lateness,
            received,
            missed,
            streams_lost,
            cpu_ns,
            wall_ns,
            rss_bytes,
        })
    }

    /// The time between two connects. For even phases it is chosen so that the streams' timers spread evenly over the
    /// interval however many streams there are: a multiple of the even distance, long enough to
    /// be kept, and coprime with the number of streams so that every phase occurs once.
    fn spacing(&self) -> Duration {
        if self.phases == Phases::Burst {
            return Duration::ZERO;
        }
        let even = Duration::from_millis(self.interval_ms) / self.streams as u32;
        let fewest = (CONNECT_SPACING.as_nanos()).div_ceil(even.as_nanos().max(1)) as usize;
        let multiple =
            (fewest.max(1)..).find(|&multiple| gcd(multiple, self.streams) == 1).unwrap_or(1);
        even * multiple as u32
    }
}

impl fmt::Display for Tick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { streams, interval_ms, bytes, seconds, phases, .. } = self;
        write!(
            f,
            "{streams} streams, {bytes} bytes every {interval_ms} ms each, {phases} phases, for {seconds} s"
        )
    }
}

struct Measured {
    delivery: Histogram<u64>,
    jitter: Histogram<u64>,
    lateness: Histogram<u64>,
    received: u64,
    missed: u64,
    streams_lost: usize,
    cpu_ns: u64,
    wall_ns: u64,
    rss_bytes: u64,
}

impl Measured {
    fn cpu_ns_per_event(&self) -> f64 {
        self.cpu_ns as f64 / self.received as f64
    }

    fn figures(&self, tick: &Tick) -> Figures {
        let cpu_percent = 100.0 * self.cpu_ns as f64 / self.wall_ns as f64;
        let expected = self.received + self.missed;
        let mut text = format!(
            "{tick}\n  events    {} of {expected}, {} missed, {} streams lost\n  \
             CPU       {:.2} us per event, {cpu_percent:.1} % of a core\n  memory    {:.1} MiB resident\n  \
             us        {}\n",
            self.received,
            self.missed,
            self.streams_lost,
            self.cpu_ns_per_event() / 1e3,
            self.rss_bytes as f64 / f64::from(1 << 20),
            quantiles_head(),
        );
        for (name, histogram) in
            [("delivery", &self.delivery), ("jitter", &self.jitter), ("schedule", &self.lateness)]
        {
            text += &format!("  {name:<10}{}\n", quantiles_row(histogram));
        }
        let json = json!({
            "streams": tick.streams, "interval_ms": tick.interval_ms, "bytes": tick.bytes,
            "seconds": tick.seconds, "phases": tick.phases.to_string(),
            "events_received": self.received, "events_expected": expected,
            "events_missed": self.missed,
            "streams_lost": self.streams_lost,
            "server_cpu_percent": cpu_percent,
            "server_rss_bytes": self.rss_bytes,
            "delivery_us": quantiles_json(&self.delivery),
            "jitter_us": quantiles_json(&self.jitter),
            "schedule_us": quantiles_json(&self.lateness),
            "schedule_shape_us": shape_json(&self.lateness),
        });
        Figures { command: "tick", cpu_ns: self.cpu_ns_per_event(), text, json }
    }
}

/// All but the most punctual event, by which the stream's schedule was found: that it was on time
/// says nothing, and with few events per stream it would be a large share of them.
fn skip_reference(lateness_ns: &[u64]) -> impl Iterator<Item = &u64> {
    let reference = lateness_ns.iter().position(|&ns| ns == 0);
    lateness_ns.iter().enumerate().filter(move |(n, _)| Some(*n) != reference).map(|(_, ns)| ns)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

const WARM_UP: Duration = Duration::from_secs(2);
const CONNECT_SPACING: Duration = Duration::from_micros(200);
/// Eight bytes are kept of each.
const EVENTS_MAX: u64 = 50_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_punctual_event_of_a_stream_is_its_reference() {
        let counted = |lateness: &[u64]| skip_reference(lateness).copied().collect::<Vec<_>>();
        assert_eq!(counted(&[3, 0, 5, 0]), [3, 5, 0]);
        assert!(counted(&[]).is_empty());
    }
}
