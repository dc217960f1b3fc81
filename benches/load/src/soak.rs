//! `soak`: minutes of streams, publishes and clients that come and go; nothing may grow or be lost.

use std::{
    collections::BTreeMap,
    fmt,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use lexopt::prelude::ValueExt;
use serde_json::json;

use crate::{
    Experiment, Output, Result, Setting,
    churn::{Churn, Counts, STUCK_MAX},
    clients::Clients,
    publisher::Publisher,
    receipts::Receipts,
    server::{Cores, Program, Server},
};

#[derive(Debug, Clone)]
pub(crate) struct Soak {
    minutes: u64,
    /// Of each kind: ticking, subscribed to a topic, idle.
    streams: usize,
    /// Connections that come and go in a second.
    churn: u32,
}

impl Default for Soak {
    fn default() -> Self {
        Self { minutes: 10, streams: 200, churn: 200 }
    }
}

impl Experiment for Soak {
    fn set(&mut self, option: &str, parser: &mut lexopt::Parser) -> Result<bool> {
        match option {
            "minutes" => self.minutes = parser.value()?.parse()?,
            "streams" => self.streams = parser.value()?.parse()?,
            "churn" => self.churn = parser.value()?.parse()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn streams(&self) -> usize {
        self.streams.saturating_mul(3).saturating_add(STUCK_MAX)
    }

    fn run(&self, setting: &Setting) -> Result<()> {
        let Some(program) = &setting.server else { return Err("soak needs a --server".into()) };
        if !(1..=24 * 60).contains(&self.minutes) || self.churn == 0 {
            return Err("a soak takes 1 minute to a day, and somebody must come and go".into());
        }
        for _ in 0..setting.rounds {
            eprintln!("{}: {self}", program.name);
            let measured = self.measure(program, setting.cores)?;
            measured.report(self, program, setting.output)?;
            measured.check()?;
        }
        Ok(())
    }
}

impl Soak {
    fn measure(&self, program: &Program, cores: Cores) -> Result<Measured> {
        let server = Server::start(program, cores)?;
        let address = server.address();
        let mut idle = Clients::new(address)?;
        idle.open(self.streams, "/idle", Duration::ZERO, |_| {})?;
        let publisher = Publisher::connect(address, EVENT_BYTES)?;
        let mut watched = Watched::open(self.streams, address, publisher)?;
        let descriptors_at_first = server.descriptors()? - 2 * self.streams;

        let churn = Churn::start(address, self.churn);
        let mut samples = Vec::new();
        let start = Instant::now();
        for second in 1..=self.minutes * 60 {
            watched.run_until(start + Duration::from_secs(second))?;
            samples.push(Sample::of(&server)?);
            if !churn.goes_on() {
                break;
            }
            if second % 60 == 0 {
                eprintln!(
                    "minute {} of {}: {}",
                    second / 60,
                    self.minutes,
                    samples[samples.len() - 1]
                );
            }
        }
        let wall = start.elapsed();
        let churned = churn.stop()?;
        let (ticks, published) = (watched.ticks.iter().sum(), watched.published);
        let publisher = watched.close()?;

        wait_until_gone(&server, descriptors_at_first)?;
        let descriptors_at_last = server.descriptors()?;
        let cpu_before_ns = server.cpu_ns()?;
        idle.run_until(Instant::now() + REST, |_| {})?;
        let cpu_at_rest = (server.cpu_ns()? - cpu_before_ns) as f64 / REST.as_nanos() as f64;
        drop(publisher);
        let figures = Figures::ask(address)?;
        if idle.lost() > 0 {
            return Err(format!("{} idle streams ended", idle.lost()).into());
        }
        Ok(Measured {
            samples,
            wall,
            churned,
            ticks,
            published,
            descriptors_at_first,
            descriptors_at_last,
            cpu_at_rest,
            figures,
            opened: 3 * self.streams as u64 + churned.streams,
            left_open: self.streams as u64,
        })
    }
}

impl fmt::Display for Soak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { minutes, streams, churn } = self;
        write!(
            f,
            "{minutes} min, {streams} streams each that tick, subscribe and idle; \
             {churn} connections a second come and go"
        )
    }
}

/// The streams that must lose nothing meanwhile.
struct Watched {
    tickers: Clients,
    subscribers: Clients,
    publisher: Publisher,
    receipts: Receipts,
    /// Of each ticker.
    ticks: Vec<u64>,
    published: u64,
}

impl Watched {
    fn open(streams: usize, server: SocketAddr, publisher: Publisher) -> Result<Self> {
        let mut watched = Self {
            tickers: Clients::new(server)?,
            subscribers: Clients::new(server)?,
            publisher,
            receipts: Receipts::new(streams),
            ticks: vec![0; streams],
            published: 0,
        };
        watched.tickers.open(streams, "/tick?ms=100", Duration::ZERO, |_| {})?;
        watched.subscribers.open(streams, "/topic", Duration::ZERO, |_| {})?;
        Ok(watched)
    }

    /// Publishes now and then and watches the ticks in between. Every subscriber has to get every
    /// event, and every ticker something.
    fn run_until(&mut self, end: Instant) -> Result<()> {
        let ticks_before = self.ticks.clone();
        let deadline = end + PATIENCE;
        while Instant::now() < end {
            self.publisher.publish(1, &mut self.receipts)?;
            self.published += 1;
            self.subscribers.run_while(deadline, |arrival| self.receipts.enter(arrival))?;
            self.receipts.check()?;
            self.publisher.take_answers(1)?;
            let pause = end.min(Instant::now() + BETWEEN_PUBLISHES);
            self.tickers.run_until(pause, |arrival| self.ticks[arrival.stream] += 1)?;
        }
        // On a machine that is busy with other things a second may be too short.
        let mut silent =
            self.ticks.iter().zip(&ticks_before).filter(|(now, then)| now == then).count();
        let ticks = &mut self.ticks;
        if silent > 0 {
            self.tickers.run_while(deadline, |arrival| {
                silent -= usize::from(ticks[arrival.stream] == ticks_before[arrival.stream]);
                ticks[arrival.stream] += 1;
                silent > 0
            })?;
        }
        match (silent, self.tickers.lost() + self.subscribers.lost()) {
            (0, 0) => Ok(()),
            (0, lost) => Err(format!("{lost} streams ended").into()),
            (silent, _) => Err(format!("{silent} streams do not tick").into()),
        }
    }

    fn close(self) -> Result<Publisher> {
        self.receipts.check()?;
        Ok(self.publisher)
    }
}

/// What the server was at one moment.
#[derive(Debug, Clone, Copy)]
struct Sample {
    rss_bytes: u64,
    descriptors: usize,
}

impl Sample {
    fn of(server: &Server) -> Result<Self> {
        Ok(Self { rss_bytes: server.memory()?.rss, descriptors: server.descriptors()? })
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} KiB resident, {} descriptors", self.rss_bytes / 1024, self.descriptors)
    }
}

/// The server's own figures, of `/metrics`; those with labels are summed up.
struct Figures(BTreeMap<String, f64>);

impl Figures {
    fn ask(server: SocketAddr) -> Result<Self> {
        let mut socket = TcpStream::connect(server)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        write!(socket, "GET /metrics HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(Self::read(answer.split_once("\r\n\r\n").ok_or("/metrics has no head")?.1))
    }

    fn read(text: &str) -> Self {
        let mut figures = BTreeMap::new();
        for (name, value) in text.lines().filter_map(|line| line.rsplit_once(' ')) {
            if let Ok(value) = value.parse::<f64>() {
                let name = name.split('{').next().unwrap_or(name);
                *figures.entry(name.to_owned()).or_default() += value;
            }
        }
        Self(figures)
    }

    fn get(&self, name: &str) -> u64 {
        self.0.get(&format!("starwheel_{name}")).map_or(0, |value| *value as u64)
    }
}

struct Measured {
    /// One a second.
    samples: Vec<Sample>,
    wall: Duration,
    churned: Counts,
    ticks: u64,
    published: u64,
    descriptors_at_first: usize,
    descriptors_at_last: usize,
    /// As a share of a core.
    cpu_at_rest: f64,
    figures: Figures,
    /// Streams that the clients opened, and left open.
    opened: u64,
    left_open: u64,
}

impl Measured {
    /// The samples after the first quarter, when tables and pools have their size.
    fn warm(&self) -> &[Sample] {
        &self.samples[self.samples.len() / 4..]
    }

    fn closed(&self) -> u64 {
        self.figures.get("streams_closed_total")
    }

    /// Of the resident set, by least squares.
    fn slope_bytes_per_minute(&self) -> f64 {
        let rss: Vec<f64> = self.warm().iter().map(|sample| sample.rss_bytes as f64).collect();
        slope(&rss) * 60.0
    }

    /// What the slope makes of the whole time that was looked at.
    fn growth_bytes(&self) -> f64 {
        self.slope_bytes_per_minute() * self.warm().len() as f64 / 60.0
    }

    fn report(&self, soak: &Soak, program: &Program, output: Output) -> Result<()> {
        let rss_kib = |sample: Option<&Sample>| sample.map_or(0, |sample| sample.rss_bytes / 1024);
        let descriptors_max = self.samples.iter().map(|sample| sample.descriptors).max();
        let warm = self.warm();
        let text = format!(
            "{}: {soak}\n  \
             clients      {} connections came and went, {} of them streams; {} events published, {} ticks seen\n  \
             memory       {} KiB resident when warm, {} KiB at the end; slope {:.1} KiB per minute\n  \
             descriptors  {} at first, {} at most, {} at last\n  \
             streams      {} opened by clients; {} opened, {} closed, {} open by the server's count\n  \
             CPU at rest  {:.2} % of a core, with {} idle streams\n",
            program.name,
            self.churned.connections,
            self.churned.streams,
            self.published,
            self.ticks,
            rss_kib(warm.first()),
            rss_kib(warm.last()),
            self.slope_bytes_per_minute() / 1024.0,
            self.descriptors_at_first,
            descriptors_max.unwrap_or(0),
            self.descriptors_at_last,
            self.opened,
            self.figures.get("streams_opened_total"),
            self.closed(),
            self.figures.get("streams"),
            self.cpu_at_rest * 100.0,
            self.left_open,
        );
        output.print(&text, || {
            json!({
                "command": "soak", "server": program.name, "seconds": self.wall.as_secs_f64(),
                "streams": soak.streams, "churn_per_second": soak.churn,
                "connections": self.churned.connections, "published": self.published,
                "ticks": self.ticks,
                "rss_kib": self.samples.iter().map(|it| it.rss_bytes / 1024).collect::<Vec<_>>(),
                "rss_slope_bytes_per_minute": self.slope_bytes_per_minute(),
                "descriptors_at_first": self.descriptors_at_first,
                "descriptors_max": descriptors_max,
                "descriptors_at_last": self.descriptors_at_last,
                "streams_opened": self.figures.get("streams_opened_total"),
                "streams_closed": self.closed(),
                "cpu_at_rest": self.cpu_at_rest,
            })
        })
    }

    /// Fails for the first bound that was broken.
    fn check(&self) -> Result<()> {
        let opened = self.figures.get("streams_opened_total");
        let bounds = [
            (self.growth_bytes() <= GROWTH_BYTES_MAX, "memory grows"),
            (self.descriptors_at_first == self.descriptors_at_last, "descriptors are lost"),
            (self.cpu_at_rest < CPU_AT_REST_MAX, "it does not come to rest"),
            (opened == self.opened, "the streams it opened are not those that clients opened"),
            (opened == self.closed() + self.left_open, "not every stream was closed once"),
            (self.figures.get("streams") == self.left_open, "it believes in other streams"),
            // One is the connection that asks.
            (self.figures.get("connections") == self.left_open + 1, "connections are left"),
            (self.figures.get("panics_total") == 0, "something panicked"),
        ];
        match bounds.iter().find(|(holds, _)| !holds) {
            Some((_, broken)) => Err((*broken).into()),
            None => Ok(()),
        }
    }
}

/// By how much the values rise from one to the next, by least squares.
fn slope(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let (mean_at, mean) = ((count - 1.0) / 2.0, values.iter().sum::<f64>() / count);
    let (mut covariance, mut variance) = (0.0, 0.0);
    for (at, value) in values.iter().enumerate() {
        let from_mean = at as f64 - mean_at;
        covariance += from_mean * (value - mean);
        variance += from_mean * from_mean;
    }
    if variance > 0.0 { covariance / variance } else { 0.0 }
}

fn wait_until_gone(server: &Server, descriptors: usize) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while server.descriptors()? != descriptors && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

const EVENT_BYTES: usize = 100;
const BETWEEN_PUBLISHES: Duration = Duration::from_millis(100);
/// After this something is wrong; it is no measure of speed.
const PATIENCE: Duration = Duration::from_secs(20);
const REST: Duration = Duration::from_secs(10);
/// Over the whole time. A leak of 64 bytes per connection makes twice that in ten minutes.
const GROWTH_BYTES_MAX: f64 = 512.0 * 1024.0;
const CPU_AT_REST_MAX: f64 = 0.02;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_of_a_line_is_found_also_beside_noise() {
        assert_eq!(slope(&[5.0; 7]), 0.0);
        assert_eq!(slope(&[1.0, 3.0, 5.0, 7.0]), 2.0);
        assert_eq!(slope(&[]), 0.0);
        let noisy: Vec<f64> = (0..1000).map(|at| f64::from(at) + f64::from(at * 7 % 3)).collect();
        assert!((slope(&noisy) - 1.0).abs() < 0.01);
    }

    #[test]
    fn figures_are_summed_over_their_labels() {
        let text = "# TYPE x gauge\nstarwheel_streams 3\n\
                    starwheel_streams_closed_total{reason=\"slow\"} 2\n\
                    starwheel_streams_closed_total{reason=\"io\"} 5\n";
        let figures = Figures::read(text);
        assert_eq!(figures.get("streams"), 3);
        assert_eq!(figures.get("streams_closed_total"), 7);
        assert_eq!(figures.get("nothing"), 0);
    }
}
