//! `tick`: streams with a timer each; CPU per event, and how late the events come.

use std::{
    fmt,
    io::Write,
    str::FromStr,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::{
    Output, Result,
    clients::{Clients, unix_ns},
    schedule,
    server::{Cores, Program, Server},
};

#[derive(Debug, Clone)]
pub(crate) struct Tick {
    pub(crate) streams: usize,
    pub(crate) interval_ms: u64,
    pub(crate) bytes: usize,
    pub(crate) seconds: u64,
    pub(crate) rounds: usize,
    pub(crate) phases: Phases,
}

/// How the streams' timers lie to each other. A timer starts when its stream is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phases {
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

impl Tick {
    /// Measures the programs one after the other, and that as often as there are rounds. With a
    /// floor, each round also yields the server's CPU per event as a multiple of the floor's.
    pub(crate) fn run(
        &self,
        floor: Option<&Program>,
        server: Option<&Program>,
        cores: Cores,
        output: Output,
    ) -> Result<()> {
        self.check()?;
        let (mut ratios, mut lost) = (Vec::new(), 0);
        for round in 1..=self.rounds {
            let mut cpu_ns = Vec::new();
            for program in floor.into_iter().chain(server) {
                eprintln!("round {round} of {}, {}: {self}", self.rounds, program.name);
                let measured = self.measure(program, cores)?;
                measured.report(self, round, program, output)?;
                cpu_ns.push(measured.cpu_ns_per_event());
                lost += measured.streams_lost;
            }
            if let [floor, server] = cpu_ns[..] {
                ratios.push(server / floor);
            }
        }
        self.report_ratios(&mut ratios, output)?;
        if lost > 0 {
            return Err(format!("{lost} streams ended before the measurement did").into());
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        if self.streams == 0 || self.interval_ms == 0 || self.seconds == 0 || self.rounds == 0 {
            return Err("streams, interval, seconds and rounds must not be 0".into());
        }
        let events = (self.streams as u64).saturating_mul(self.seconds).saturating_mul(1000)
            / self.interval_ms;
        if self.seconds > 3600 || self.rounds > 100 || events > EVENTS_MAX {
            return Err(format!(
                "too much: at most {EVENTS_MAX} events, 3600 seconds and 100 rounds"
            )
            .into());
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
            regularity.lateness_ns.iter().for_each(|&ns| lateness.saturating_record(ns));
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

    fn report_ratios(&self, ratios: &mut [f64], output: Output) -> Result<()> {
        ratios.sort_by(f64::total_cmp);
        let (Some(&min), Some(&max)) = (ratios.first(), ratios.last()) else {
            return Ok(());
        };
        let median = (ratios[(ratios.len() - 1) / 2] + ratios[ratios.len() / 2]) / 2.0;
        let text = format!(
            "CPU per event, server / floor: {median:.3} (median of {}, {min:.3} to {max:.3})",
            ratios.len()
        );
        output.print(&text, || {
            json!({
                "command": "tick", "summary": true, "rounds": ratios.len(),
                "cpu_ratio_median": median, "cpu_ratio_min": min, "cpu_ratio_max": max,
            })
        })
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

    fn report(&self, tick: &Tick, round: usize, program: &Program, output: Output) -> Result<()> {
        let cpu_percent = 100.0 * self.cpu_ns as f64 / self.wall_ns as f64;
        let expected = self.received + self.missed;
        let mut text = format!(
            "round {round}, {}: {tick}\n  events    {} of {expected}, {} missed, {} streams lost\n  \
             CPU       {:.2} us per event, {cpu_percent:.1} % of a core\n  memory    {:.1} MiB resident\n  \
             us        {:>10}{:>10}{:>10}{:>10}{:>10}\n",
            program.name,
            self.received,
            self.missed,
            self.streams_lost,
            self.cpu_ns_per_event() / 1e3,
            self.rss_bytes as f64 / f64::from(1 << 20),
            "p50",
            "p90",
            "p99",
            "p99.9",
            "max",
        );
        for (name, histogram) in
            [("delivery", &self.delivery), ("jitter", &self.jitter), ("schedule", &self.lateness)]
        {
            let columns: String =
                quantiles_us(histogram).iter().map(|(_, us)| format!("{us:>10.1}")).collect();
            text += &format!("  {name:<10}{columns}\n");
        }
        output.print(&text, || {
            json!({
                "command": "tick", "server": program.name, "round": round,
                "streams": tick.streams, "interval_ms": tick.interval_ms, "bytes": tick.bytes, "seconds": tick.seconds, "phases": tick.phases.to_string(),
                "events_received": self.received, "events_expected": expected, "events_missed": self.missed,
                "streams_lost": self.streams_lost,
                "server_cpu_ns_per_event": self.cpu_ns_per_event(), "server_cpu_percent": cpu_percent,
                "server_rss_bytes": self.rss_bytes,
                "delivery_us": quantiles_json(&self.delivery),
                "jitter_us": quantiles_json(&self.jitter),
                "schedule_us": quantiles_json(&self.lateness),
            })
        })
    }
}

/// Nanoseconds up to a minute, to three digits.
fn new_histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000_000, 3)?)
}

fn quantiles_us(histogram: &Histogram<u64>) -> [(&'static str, f64); 5] {
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)]
        .map(|(name, quantile)| (name, histogram.value_at_quantile(quantile) as f64 / 1e3))
}

fn quantiles_json(histogram: &Histogram<u64>) -> Value {
    quantiles_us(histogram).into_iter().map(|(name, us)| (name.to_owned(), json!(us))).collect()
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

const WARM_UP: Duration = Duration::from_secs(2);
const CONNECT_SPACING: Duration = Duration::from_micros(200);
/// Eight bytes are kept of each.
const EVENTS_MAX: u64 = 50_000_000;
