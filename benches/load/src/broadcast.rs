//! `broadcast`: one event at a time to all streams; how long it takes, and what it costs.

use std::{
    fmt,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use lexopt::prelude::ValueExt;
use serde_json::json;

use crate::{
    Experiment, Result, Setting,
    clients::Clients,
    figures::{Ratios, new_histogram, quantiles_head, quantiles_json, quantiles_row},
    publisher::Publisher,
    receipts::Receipts,
    server::{Cores, Program, Server},
};

#[derive(Debug, Clone)]
pub(crate) struct Broadcast {
    streams: usize,
    bytes: usize,
    publishes: usize,
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

    /// Measures the programs one after the other, and that as often as there are rounds.
    fn run(&self, setting: &Setting) -> Result<()> {
        if self.publishes == 0 || self.bytes > EVENT_BYTES_MAX {
            return Err(format!("at least one publish, of at most {EVENT_BYTES_MAX} bytes").into());
        }
        let floor = setting.floor.as_ref().map(|floor| floor.plain());
        let mut cpu = Ratios::new("broadcast", "CPU per delivery, server / floor");
        let mut last = Ratios::new("broadcast", "median time to the last delivery, server / floor");
        for round in 1..=setting.rounds {
            let mut results = Vec::new();
            for program in floor.iter().chain(&setting.server) {
                eprintln!("round {round} of {}, {}: {self}", setting.rounds, program.name);
                let measured = self.measure(program, setting.cores)?;
                measured.report(self, round, program, setting)?;
                results.push((measured.cpu_ns_per_delivery, measured.last.value_at_quantile(0.5)));
            }
            if let [floor, server] = results[..] {
                cpu.add(server.0 / floor.0);
                last.add(server.1 as f64 / floor.1 as f64);
            }
        }
        cpu.report(setting.output)?;
        last.report(setting.output)
    }
}

impl Broadcast {
    fn measure(&self, program: &Program, cores: Cores) -> Result<Measured> {
        let server = Server::start(program, cores)?;
        let mut audience = Audience::gather(&server, self.streams, self.bytes)?;
        let mut delays_ns = Vec::with_capacity(self.streams);
        for _ in 0..WARM_UP_PUBLISHES {
            audience.publish(1, &mut delays_ns)?;
        }
        let (mut first, mut half, mut last) =
            (new_histogram()?, new_histogram()?, new_histogram()?);
        let cpu_before_ns = audience.cpu_ns(&server)?;
        for _ in 0..self.publishes {
            delays_ns.clear();
            audience.publish(1, &mut delays_ns)?;
            delays_ns.sort_unstable();
            first.saturating_record(delays_ns[0]);
            half.saturating_record(delays_ns[delays_ns.len() / 2]);
            last.saturating_record(delays_ns[delays_ns.len() - 1]);
        }
        let cpu_ns = audience.cpu_ns(&server)? - cpu_before_ns;
        let cpu_ns_per_delivery = cpu_ns as f64 / (self.streams * self.publishes) as f64;
        Ok(Measured { first, half, last, cpu_ns_per_delivery })
    }
}

impl fmt::Display for Broadcast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { streams, bytes, publishes } = self;
        write!(f, "{publishes} events of {bytes} bytes to {streams} streams")
    }
}

/// All times are from right before the request was written.
struct Measured {
    first: Histogram<u64>,
    half: Histogram<u64>,
    last: Histogram<u64>,
    cpu_ns_per_delivery: f64,
}

impl Measured {
    fn report(
        &self,
        broadcast: &Broadcast,
        round: usize,
        program: &Program,
        setting: &Setting,
    ) -> Result<()> {
        let mut text = format!(
            "round {round}, {}: {broadcast}\n  every stream got every event once and in order\n  \
             CPU       {:.2} us per delivery\n  us        {}\n",
            program.name,
            self.cpu_ns_per_delivery / 1e3,
            quantiles_head(),
        );
        for (name, times) in [("first", &self.first), ("half", &self.half), ("last", &self.last)] {
            text += &format!("  {name:<10}{}\n", quantiles_row(times));
        }
        setting.output.print(&text, || {
            json!({
                "command": "broadcast", "server": program.name, "round": round,
                "streams": broadcast.streams, "bytes": broadcast.bytes,
                "publishes": broadcast.publishes,
                "server_cpu_ns_per_delivery": self.cpu_ns_per_delivery,
                "first_us": quantiles_json(&self.first),
                "half_us": quantiles_json(&self.half),
                "last_us": quantiles_json(&self.last),
            })
        })
    }
}

/// Subscribers, and the one who publishes to them.
pub(crate) struct Audience {
    clients: Clients,
    publisher: Publisher,
    receipts: Receipts,
}

impl Audience {
    pub(crate) fn gather(server: &Server, streams: usize, bytes: usize) -> Result<Self> {
        let mut clients = Clients::new(server.address())?;
        clients.open(streams, "/topic", Duration::ZERO, |_| {})?;
        let publisher = Publisher::connect(server.address(), bytes)?;
        Ok(Self { clients, publisher, receipts: Receipts::new(streams) })
    }

    /// Publishes `count` events in one write, waits until everybody has got them, and appends how
    /// long each delivery took.
    pub(crate) fn publish(&mut self, count: usize, delays_ns: &mut Vec<u64>) -> Result<()> {
        self.publisher.publish(count, &mut self.receipts)?;
        self.clients.run_while(Instant::now() + DELIVERY_TIMEOUT, |arrival| {
            delays_ns.push(arrival.arrived_ns.saturating_sub(arrival.sent_ns));
            self.receipts.enter(arrival)
        })?;
        self.receipts.check()?;
        self.publisher.take_answers(count)
    }

    /// The server's time on a CPU, once it has gone to sleep: the kernel does not count the
    /// present slice of a thread that runs. Whatever comes meanwhile comes too often.
    pub(crate) fn cpu_ns(&mut self, server: &Server) -> Result<u64> {
        self.clients.run_until(Instant::now() + FALL_ASLEEP, |arrival| {
            self.receipts.enter(arrival);
        })?;
        self.receipts.check()?;
        server.cpu_ns()
    }
}

const WARM_UP_PUBLISHES: usize = 3;
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(20);
const FALL_ASLEEP: Duration = Duration::from_millis(20);
/// What the floor takes.
pub(crate) const EVENT_BYTES_MAX: usize = 100_000;
