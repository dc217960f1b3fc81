//! What a second worker brings: how many deliveries a second a server makes when every core is its own.
//!
//! A generator that reads needs a core of its own, and a server with two workers needs two. So nobody
//! reads here while an event is on its way: the bytes wait in the clients' sockets, and the generator
//! sleeps and looks at every sixteenth socket how many there are. It reads between events.

use std::{
    fmt::Write as _,
    io::{Read, Write as _},
    net::TcpStream,
    os::fd::OwnedFd,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use starwheel_load::{
    clients::unix_ns,
    connect_from,
    publisher::Publisher,
    server::{Cores, Program, Server, raise_descriptor_limit},
};

use crate::{
    Result, machine,
    results::{Results, Spread},
    servers,
    table::{rounded, thousands},
};

pub(crate) struct Throughput {
    pub(crate) results: PathBuf,
    pub(crate) streams: usize,
    pub(crate) events: usize,
    pub(crate) rounds: usize,
}

impl Default for Throughput {
    fn default() -> Self {
        Self { results: PathBuf::new(), streams: 9000, events: 40, rounds: 5 }
    }
}

impl Throughput {
    pub(crate) fn run(self) -> Result<()> {
        let mut results = Results::append_to(&self.results)?;
        machine::describe_once(&mut results)?;
        raise_descriptor_limit()?;
        let cores = Cores::shared()?;
        for round in 1..=self.rounds {
            for (name, _) in SERVERS {
                let Some(server) = servers::find_built(name)? else { continue };
                let mut line = self.measure(&server.program, cores)?;
                line["server"] = name.into();
                line["round"] = round.into();
                line["cores"] = cores.of_servers().into();
                eprintln!("{name}: {line}");
                results.add(json!({ "throughput": line }))?;
            }
        }
        Ok(())
    }

    fn measure(&self, program: &Program, cores: Cores) -> Result<Value> {
        let server = Server::start(program, cores)?;
        let mut crowd = Crowd::open(&server, self.streams)?;
        let mut publisher = Publisher::connect(server.address(), 0)?;
        // The first one tells how many bytes an event has on the wire.
        publisher.publish_text(&text())?;
        publisher.take_answers(1)?;
        thread::sleep(WARM_UP);
        let bytes = crowd.waiting(0)?;
        crowd.expect(bytes)?;
        crowd.drain()?;
        let (mut seconds, mut cpu_ns) = (Vec::with_capacity(self.events), 0);
        for _ in 0..self.events {
            thread::sleep(FALL_ASLEEP);
            let before_ns = server.cpu_ns()?;
            let start = Instant::now();
            publisher.publish_text(&text())?;
            crowd.wait_for_sample(bytes)?;
            seconds.push(start.elapsed().as_secs_f64());
            crowd.expect(bytes)?;
            publisher.take_answers(1)?;
            thread::sleep(FALL_ASLEEP);
            cpu_ns += server.cpu_ns()? - before_ns;
            crowd.drain()?;
        }
        let typical = Spread::of(seconds).ok_or("no events")?.median;
        let deliveries = (self.streams * self.events) as f64;
        Ok(json!({
            "streams": self.streams, "events": self.events, "bytes": bytes,
            "deliveries_per_s": self.streams as f64 / typical,
            "cpu_ns": cpu_ns as f64 / deliveries,
        }))
    }
}

/// Clients that let their bytes wait.
struct Crowd {
    sockets: Vec<TcpStream>,
    buffer: Vec<u8>,
}

impl Crowd {
    fn open(server: &Server, streams: usize) -> Result<Self> {
        let address = server.address();
        let request = format!("GET /topic HTTP/1.1\r\nHost: {address}\r\n\r\n");
        let mut crowd = Self { sockets: Vec::with_capacity(streams), buffer: vec![0; 1 << 16] };
        for index in 0..streams {
            let mut socket = TcpStream::from(OwnedFd::from(connect_from(index, address)?));
            socket.set_nonblocking(false)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.write_all(request.as_bytes())?;
            if socket.read(&mut crowd.buffer)? == 0 {
                return Err(format!("stream {index} got no head").into());
            }
            socket.set_nonblocking(true)?;
            crowd.sockets.push(socket);
        }
        thread::sleep(WARM_UP);
        crowd.drain()?;
        Ok(crowd)
    }

    fn waiting(&self, index: usize) -> Result<u64> {
        Ok(rustix::io::ioctl_fionread(&self.sockets[index])?)
    }

    /// Until the sample has got so many bytes.
    fn wait_for_sample(&self, bytes: u64) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        for index in (0..self.sockets.len()).step_by(SAMPLE) {
            while self.waiting(index)? < bytes {
                if Instant::now() > deadline {
                    return Err(format!("stream {index} did not get its event").into());
                }
                thread::sleep(LOOK_AGAIN);
            }
        }
        Ok(())
    }

    /// Every client gets exactly so many bytes.
    fn expect(&self, bytes: u64) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        for index in 0..self.sockets.len() {
            while self.waiting(index)? < bytes && Instant::now() < deadline {
                thread::sleep(LOOK_AGAIN);
            }
            let waiting = self.waiting(index)?;
            if waiting != bytes || bytes == 0 {
                return Err(format!("stream {index} has {waiting} bytes of {bytes}").into());
            }
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<()> {
        for socket in &mut self.sockets {
            match socket.read(&mut self.buffer) {
                Ok(0) => return Err("the server ended a stream".into()),
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => {
                    return Err(error.into());
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn text() -> String {
    format!("{:019} {}", unix_ns(), "x".repeat(72))
}

/// What workers cost and bring; the costs are of the matrix.
pub(crate) fn write_table(out: &mut String, results: &Results) {
    let of = |server: &str, figure: &str| {
        let lines = results.throughput().filter(|line| line["server"] == server);
        Spread::of(lines.filter_map(|line| line[figure].as_f64()).collect())
    };
    if !SERVERS.iter().any(|(name, _)| of(name, "deliveries_per_s").is_some()) {
        return;
    }
    let _ = writeln!(
        out,
        "\n### Workers\n\n| | idle stream | CPU per tick | CPU per delivery | \
         deliveries per second, all cores | to one reactor | CPU per delivery there |\n\
         |---|---|---|---|---|---|---|"
    );
    let alone = of("starwheel", "deliveries_per_s").map(|spread| spread.median);
    for (name, title) in SERVERS {
        let matrix = |workload, pointer, divisor: f64, unit| {
            let figure = results.figure(workload, name, pointer);
            figure.map(|it| format!("{} {unit}", rounded(it.median / divisor)))
        };
        let speed = of(name, "deliveries_per_s");
        let cells = [
            matrix("idle", "/private_dirty_bytes_per_stream", 1.0, "B"),
            matrix("tick-1000", "/cpu_ns", 1e3, "us"),
            matrix("broadcast-10000", "/cpu_ns", 1e3, "us"),
            speed.map(|it| {
                let [median, min, max] = [it.median, it.min, it.max].map(thousands);
                format!("{median} ({min} to {max})")
            }),
            speed.zip(alone).map(|(it, alone)| format!("{:.2}x", it.median / alone)),
            of(name, "cpu_ns").map(|it| format!("{} us", rounded(it.median / 1e3))),
        ];
        let cells: Vec<String> =
            cells.into_iter().map(|cell| cell.unwrap_or_else(|| "-".into())).collect();
        let _ = writeln!(out, "| {title} | {} |", cells.join(" | "));
    }
}

/// The bare loop has one thread; it shows what the method can see.
const SERVERS: [(&str, &str); 4] = [
    ("starwheel", "one reactor"),
    ("workers-1", "`Workers`, one"),
    ("workers-2", "`Workers`, two"),
    ("floor", "floor, one thread"),
];
const SAMPLE: usize = 16;
const LOOK_AGAIN: Duration = Duration::from_micros(100);
const FALL_ASLEEP: Duration = Duration::from_millis(5);
const WARM_UP: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(10);
