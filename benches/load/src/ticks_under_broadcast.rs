//! `ticks-under-broadcast`: how late streams tick while others are being broadcast to.

use std::{
    fmt,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use lexopt::prelude::ValueExt;
use serde_json::json;

use crate::{
    Experiment, Result, Setting,
    clients::{Arrival, Clients, unix_ns},
    figures::{Figures, new_histogram, quantiles_head, quantiles_json, quantiles_row},
    publisher::Publisher,
    receipts::Receipts,
    schedule,
    server::{Cores, Program, Server},
};

#[derive(Debug, Clone)]
pub struct TicksUnderBroadcast {
    pub subscribers: usize,
    pub tickers: usize,
    pub interval_ms: u64,
    pub bytes: usize,
    pub seconds: u64,
}

impl Default for TicksUnderBroadcast {
    fn default() -> Self {
        Self { subscribers: 10_000, tickers: 100, interval_ms: 100, bytes: 100, seconds: 10 }
    }
}

impl Experiment for TicksUnderBroadcast {
    fn set(&mut self, option: &str, parser: &mut lexopt::Parser) -> Result<bool> {
        match option {
            "subscribers" => self.subscribers = parser.value()?.parse()?,
            "tickers" => self.tickers = parser.value()?.parse()?,
            "interval-ms" => self.interval_ms = parser.value()?.parse()?,
            "bytes" => self.bytes = parser.value()?.parse()?,
            "seconds" => self.seconds = parser.value()?.parse()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn streams(&self) -> usize {
        self.subscribers.saturating_add(self.tickers)
    }

    fn figures(&self, program: &Program, cores: Cores) -> Result<Figures> {
        let interval_fits = self.interval_ms > 0 && self.seconds * 1000 >= self.interval_ms;
        if self.tickers == 0 || self.subscribers == 0 || !interval_fits || self.seconds > 600 {
            return Err("tickers, subscribers, and 1 interval to 600 seconds are needed".into());
        }
        let [quiet, busy] = self.measure(program, cores)?;
        Ok(self.judge(&quiet, &busy))
    }

    fn run(&self, setting: &Setting) -> Result<()> {
        let floor = setting.floor.as_ref().map(|floor| floor.plain());
        for round in 1..=setting.rounds {
            for program in floor.iter().chain(&setting.server) {
                eprintln!("round {round} of {}, {}: {self}", setting.rounds, program.name);
                self.figures(program, setting.cores)?.report(round, program, setting.output)?;
            }
        }
        Ok(())
    }
}

impl TicksUnderBroadcast {
    /// The same streams without broadcasts and then with one after the other.
    fn measure(&self, program: &Program, cores: Cores) -> Result<[Measured; 2]> {
        let server = Server::start(program, cores)?;
        let mut clients = Clients::new(server.address())?;
        clients.open(self.subscribers, "/topic", Duration::ZERO, |_| {})?;
        let path = format!("/tick?ms={}&bytes={}", self.interval_ms, self.bytes);
        // Prime to the interval, so that ticks are due at any time.
        let spacing = Duration::from_micros(self.interval_ms * 1000 / self.tickers as u64 + 7);
        clients.open(self.tickers, &path, spacing, |_| {})?;
        clients.run_until(Instant::now() + WARM_UP, |_| {})?;

        let quiet = self.watch(&mut clients, |clients, end, ticks| {
            clients.run_until(end, |arrival| ticks.push(arrival))?;
            Ok(0)
        })?;
        let mut publisher = Publisher::connect(server.address(), self.bytes)?;
        let busy = self.watch(&mut clients, |clients, end, ticks| {
            let mut receipts = Receipts::new(self.subscribers);
            let mut publishes = 0;
            while Instant::now() < end {
                publisher.publish(1, &mut receipts)?;
                clients.run_while(Instant::now() + DELIVERY_TIMEOUT, |arrival| {
                    if arrival.stream < self.subscribers {
                        return receipts.enter(arrival);
                    }
                    ticks.push(arrival);
                    true
                })?;
                receipts.check()?;
                publisher.take_answers(1)?;
                publishes += 1;
            }
            Ok(publishes)
        })?;
        Ok([quiet, busy])
    }

    /// Collects ticks for the time asked for, and judges them.
    fn watch(
        &self,
        clients: &mut Clients,
        collect: impl FnOnce(&mut Clients, Instant, &mut Vec<Arrival>) -> Result<usize>,
    ) -> Result<Measured> {
        let mut ticks = Vec::new();
        let begin_ns = unix_ns();
        let end = Instant::now() + Duration::from_secs(self.seconds);
        let publishes = collect(clients, end, &mut ticks)?;
        let end_ns = unix_ns();

        let mut measured = Measured {
            publishes,
            received: ticks.len(),
            missed: 0,
            sent: new_histogram()?,
            arrived: new_histogram()?,
        };
        for ticker in 0..self.tickers {
            let stream = self.subscribers + ticker;
            let of_stream = || ticks.iter().filter(|arrival| arrival.stream == stream);
            let sent: Vec<u64> = of_stream()
                .map(|arrival| arrival.sent_ns)
                .filter(|sent_ns| (begin_ns..end_ns).contains(sent_ns))
                .collect();
            let arrived: Vec<u64> = of_stream().map(|arrival| arrival.arrived_ns).collect();
            let interval_ns = self.interval_ms * 1_000_000;
            let of_server = schedule::judge(&sent, interval_ns, begin_ns, end_ns);
            let of_client = schedule::judge(&arrived, interval_ns, begin_ns, end_ns);
            measured.missed += of_server.missed;
            for (histogram, lateness_ns) in [
                (&mut measured.sent, of_server.lateness_ns),
                (&mut measured.arrived, of_client.lateness_ns),
            ] {
                lateness_ns.iter().for_each(|&ns| histogram.saturating_record(ns));
            }
        }
        Ok(measured)
    }

    fn judge(&self, quiet: &Measured, busy: &Measured) -> Figures {
        let mut text = format!("{self}\n  lateness, us           {}\n", quantiles_head());
        for (when, measured) in [("quiet", quiet), ("broadcasts", busy)] {
            for (what, histogram) in [("sent", &measured.sent), ("arrived", &measured.arrived)] {
                text += &format!("  {when:<12}{what:<11}{}\n", quantiles_row(histogram));
            }
            text += &format!(
                "  {when:<12}{} broadcasts, {} ticks, {} missed\n",
                measured.publishes, measured.received, measured.missed
            );
        }
        let json_of = |measured: &Measured| {
            json!({
                "broadcasts": measured.publishes, "ticks": measured.received,
                "ticks_missed": measured.missed,
                "lateness_sent_us": quantiles_json(&measured.sent),
                "lateness_arrived_us": quantiles_json(&measured.arrived),
            })
        };
        let json = json!({
            "subscribers": self.subscribers, "tickers": self.tickers,
            "interval_ms": self.interval_ms, "bytes": self.bytes, "seconds": self.seconds,
            "quiet": json_of(quiet), "under_broadcasts": json_of(busy),
        });
        Figures { command: "ticks-under-broadcast", cpu_ns: 0.0, text, json }
    }
}

impl fmt::Display for TicksUnderBroadcast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subscribers, tickers, interval_ms, bytes, seconds } = self;
        write!(
            f,
            "{tickers} streams tick every {interval_ms} ms beside broadcasts of {bytes} bytes to \
             {subscribers} others, for {seconds} s"
        )
    }
}

struct Measured {
    publishes: usize,
    received: usize,
    missed: u64,
    /// By the server's clock, in the event.
    sent: Histogram<u64>,
    /// By ours, when the event was read.
    arrived: Histogram<u64>,
}

const WARM_UP: Duration = Duration::from_secs(1);
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(20);
