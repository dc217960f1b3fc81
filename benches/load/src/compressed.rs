//! `compressed`: one event at a time to all subscribers, as it is, compressed once for all, and by a
//! context for each stream; what each way costs in bytes, time and memory.

use std::{
    env,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use lexopt::prelude::ValueExt;
use serde_json::json;
use zstd_safe::{DCtx, InBuffer, OutBuffer};

use crate::{
    Experiment, Output, Result, Setting,
    clients::{Accept, Clients},
    figures::new_histogram,
    peer,
    publisher::Publisher,
    server::{Program, Server},
    workload::{Events, Workload},
};

#[derive(Debug, Clone)]
pub(crate) struct Compressed {
    subscribers: Vec<usize>,
    publishes: usize,
    workloads: Vec<Workload>,
}

impl Default for Compressed {
    fn default() -> Self {
        let workloads = Workload::ALL.to_vec();
        Self { subscribers: vec![1, 100, 1000, 10_000], publishes: 30, workloads }
    }
}

impl Experiment for Compressed {
    fn set(&mut self, option: &str, parser: &mut lexopt::Parser) -> Result<bool> {
        match option {
            "subscribers" => {
                let counts = parser.value()?.string()?;
                self.subscribers = counts.split(',').map(str::parse).collect::<Result<_, _>>()?;
            }
            "publishes" => self.publishes = parser.value()?.parse()?,
            "workload" => {
                let name = parser.value()?.string()?;
                self.workloads.retain(|workload| workload.name() == name);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn streams(&self) -> usize {
        self.subscribers.iter().copied().max().unwrap_or(0)
    }

    fn run(&self, setting: &Setting) -> Result<()> {
        if self.publishes == 0 || self.workloads.is_empty() || self.subscribers.contains(&0) {
            return Err("there must be publishes, subscribers and a workload".into());
        }
        let server = setting.server.as_ref().ok_or("--server is missing")?;
        let ways = Way::all(server)?;
        let names = ways.each_ref().map(|way| way.name).join(" | ");
        setting.output.print(
            &format!("| event | subscribers | {names} |\n|---|---|---|---|---|"),
            || json!({ "command": "compressed", "ways": names }),
        )?;
        for &workload in &self.workloads {
            for &subscribers in &self.subscribers {
                self.compare(&ways, workload, subscribers, setting)?;
            }
        }
        Ok(())
    }
}

impl Compressed {
    /// Ways whose streams can all be open at a time take turns event by event, the others round by
    /// round.
    fn compare(
        &self,
        ways: &[Way],
        workload: Workload,
        subscribers: usize,
        setting: &Setting,
    ) -> Result<()> {
        let gather = |way| Crowd::gather(way, workload, subscribers, setting);
        let together = setting.has_descriptors(subscribers.saturating_mul(ways.len()));
        let mut crowds: Vec<Crowd> = match together {
            true => ways.iter().map(gather).collect::<Result<_>>()?,
            false => Vec::new(),
        };
        let mut rounds = Vec::new();
        for round in 1..=setting.rounds {
            eprintln!("round {round}: {} to {subscribers} subscribers", workload.name());
            let mut results = self.measure(&mut crowds)?;
            if !together {
                for way in ways {
                    results.extend(self.measure(&mut [gather(way)?])?);
                }
            }
            rounds.push(results);
        }
        report(ways, workload, subscribers, &rounds, setting.output)
    }

    fn measure(&self, crowds: &mut [Crowd]) -> Result<Vec<Measured>> {
        let mut results = crowds.iter().map(Measured::new).collect::<Result<Vec<_>>>()?;
        for _ in 0..self.publishes {
            for (crowd, measured) in crowds.iter_mut().zip(&mut results) {
                let (bytes_before, cpu_before_ns) =
                    (crowd.clients.received_bytes(), crowd.cpu_ns()?);
                measured.event_bytes += crowd.publish()? as u64;
                let cpu_ns = crowd.cpu_ns()? - cpu_before_ns;
                measured.cpu.saturating_record(cpu_ns / crowd.subscribers as u64);
                let bytes = crowd.clients.received_bytes() - bytes_before;
                measured.wire_bytes += bytes / crowd.subscribers as u64;
            }
        }
        crowds.iter().try_for_each(Crowd::check)?;
        Ok(results)
    }
}

/// A server and what is asked of it.
struct Way {
    name: &'static str,
    program: Program,
    coding: &'static str,
}

impl Way {
    fn all(server: &Program) -> Result<[Self; 3]> {
        let peer = Program { argument: Some(peer::COMMAND), ..Program::new(env::current_exe()?) };
        Ok([
            Self { name: "compressed once", program: server.clone(), coding: "zstd" },
            Self { name: "a context each", program: peer, coding: "zstd" },
            Self { name: "not compressed", program: server.clone(), coding: "identity" },
        ])
    }
}

/// A server with its subscribers and the one who publishes to them.
struct Crowd {
    server: Server,
    clients: Clients,
    publisher: Publisher,
    subscribers: usize,
    events: Events,
    /// What the first subscriber must have got.
    sent: String,
    coding: &'static str,
    /// In the server's own memory, all but the first; `None` for a single one.
    bytes_per_stream: Option<f64>,
}

impl Crowd {
    /// Opens a first stream, so that what is paid once is paid, and then the others.
    fn gather(
        way: &Way,
        workload: Workload,
        subscribers: usize,
        setting: &Setting,
    ) -> Result<Self> {
        let server = Server::start(&way.program, setting.cores)?;
        let clients = Clients::new(server.address())?.accepting(Accept::Coding(way.coding));
        let publisher = Publisher::connect(server.address(), 0)?;
        let events = workload.events();
        let (sent, coding) = (String::new(), way.coding);
        let mut crowd = Self {
            server,
            clients,
            publisher,
            subscribers: 0,
            events,
            sent,
            coding,
            bytes_per_stream: None,
        };
        crowd.join(1)?;
        if subscribers > 1 {
            let before = crowd.server.memory()?.private_dirty as f64;
            crowd.join(subscribers - 1)?;
            let after = crowd.server.memory()?.private_dirty as f64;
            crowd.bytes_per_stream = Some((after - before) / (subscribers - 1) as f64);
        }
        Ok(crowd)
    }

    fn join(&mut self, count: usize) -> Result<()> {
        self.clients.open(count, "/topic", Duration::ZERO, |_| {})?;
        self.subscribers += count;
        // Chunks that open a stream of a coding are no events.
        self.clients.run_until(Instant::now() + SETTLING, |_| {})?;
        for _ in 0..WARM_UP_PUBLISHES {
            self.publish()?;
        }
        Ok(())
    }

    /// Publishes the next event and waits until everybody has got it; the bytes that it has.
    fn publish(&mut self) -> Result<usize> {
        let text = self.events.next().unwrap_or_default();
        let event = format!("data: {text}\n\n");
        self.publisher.publish_text(&text)?;
        self.sent += &event;
        let mut missing = self.subscribers;
        self.clients.run_while(Instant::now() + DELIVERY_TIMEOUT, |_| {
            missing -= 1;
            missing > 0
        })?;
        if missing > 0 || self.clients.lost() > 0 {
            return Err(format!("{missing} events did not arrive").into());
        }
        self.publisher.take_answers(1)?;
        Ok(event.len())
    }

    /// The server's time on a CPU, once it has gone to sleep.
    fn cpu_ns(&mut self) -> Result<u64> {
        let mut surplus = 0;
        self.clients.run_until(Instant::now() + FALL_ASLEEP, |_| surplus += 1)?;
        if surplus > 0 {
            return Err(format!("{surplus} events too many").into());
        }
        self.server.cpu_ns()
    }

    /// Whether the first subscriber has got what was sent, comments aside.
    fn check(&self) -> Result<()> {
        let body = match self.coding {
            "zstd" => decoded(self.clients.first_body())?,
            _ => self.clients.first_body().to_vec(),
        };
        let lines = body.split_inclusive(|&byte| byte == b'\n');
        let got: Vec<u8> =
            lines.filter(|line| !line.starts_with(b":")).flatten().copied().collect();
        match got == self.sent.as_bytes() {
            true => Ok(()),
            false => Err("the first subscriber got something else than was sent".into()),
        }
    }
}

/// Of all publishes of one round.
struct Measured {
    event_bytes: u64,
    wire_bytes: u64,
    /// The server's time on a CPU, per delivery.
    cpu: Histogram<u64>,
    bytes_per_stream: Option<f64>,
}

impl Measured {
    fn new(crowd: &Crowd) -> Result<Self> {
        let bytes_per_stream = crowd.bytes_per_stream;
        Ok(Self { event_bytes: 0, wire_bytes: 0, cpu: new_histogram()?, bytes_per_stream })
    }

    fn cpu_us(&self) -> f64 {
        self.cpu.value_at_quantile(0.5) as f64 / 1e3
    }
}

/// One row of a Markdown table: the figures of each way over all rounds.
fn report(
    ways: &[Way],
    workload: Workload,
    subscribers: usize,
    rounds: &[Vec<Measured>],
    output: Output,
) -> Result<()> {
    let range = |of: &dyn Fn(&[Measured]) -> f64| Range::of(rounds.iter().map(|round| of(round)));
    let mut row = format!("| {} | {subscribers} |", workload.name());
    let mut json_ways = Vec::new();
    for (place, way) in ways.iter().enumerate() {
        let first = &rounds[0][place];
        let wire_bytes = first.wire_bytes as f64 / first.cpu.len() as f64;
        let cpu_us = range(&|round| round[place].cpu_us());
        let ratio = range(&|round| round[place].cpu_us() / round[0].cpu_us());
        row += &format!(" {wire_bytes:.0} B, {cpu_us} us");
        match first.bytes_per_stream {
            Some(bytes) if bytes >= 10_000.0 => row += &format!(", {:.0} KB", bytes / 1e3),
            Some(bytes) => row += &format!(", {bytes:.0} B"),
            None => {}
        }
        row += &if place == 0 { " |".into() } else { format!("; x {ratio:.2} |") };
        json_ways.push(json!({
            "way": way.name, "server": way.program.name, "wire_bytes_per_event": wire_bytes,
            "cpu_us_per_delivery": cpu_us.json(), "cpu_ratio_to_first": ratio.json(),
            "private_dirty_bytes_per_stream": first.bytes_per_stream,
        }));
    }
    let event_bytes = rounds[0][0].event_bytes as f64 / rounds[0][0].cpu.len() as f64;
    output.print(&row, || {
        json!({
            "command": "compressed", "workload": workload.name(), "subscribers": subscribers,
            "event_bytes": event_bytes, "rounds": rounds.len(), "ways": json_ways,
        })
    })
}

/// What one figure was in several rounds.
struct Range {
    sorted: Vec<f64>,
}

impl Range {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        Self { sorted }
    }

    fn bounds(&self) -> [f64; 3] {
        [0, self.sorted.len() / 2, self.sorted.len() - 1].map(|place| self.sorted[place])
    }

    fn json(&self) -> serde_json::Value {
        let [min, median, max] = self.bounds();
        json!({ "min": min, "median": median, "max": max })
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [min, median, max] = self.bounds();
        let digits = f.precision().unwrap_or(1);
        write!(f, "{median:.digits$} ({min:.digits$}-{max:.digits$})")
    }
}

/// Of a frame that has no end.
fn decoded(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut context = DCtx::try_create().ok_or("no memory for a decoder")?;
    let (mut decoded, mut piece) = (Vec::new(), vec![0; DCtx::out_size()]);
    let mut input = InBuffer::around(bytes);
    loop {
        let mut output = OutBuffer::around(&mut piece[..]);
        context.decompress_stream(&mut output, &mut input).map_err(zstd_safe::get_error_name)?;
        let length = output.pos();
        decoded.extend_from_slice(&piece[..length]);
        if length < piece.len() && input.pos() == bytes.len() {
            return Ok(decoded);
        }
    }
}

const WARM_UP_PUBLISHES: usize = 5;
const SETTLING: Duration = Duration::from_millis(50);
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);
const FALL_ASLEEP: Duration = Duration::from_millis(3);
