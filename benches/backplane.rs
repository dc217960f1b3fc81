//! Events from one process over Redis to another one: how long they take, and how many get through.
//!
//! `cargo bench --package starwheel-tests --bench backplane`. It needs `redis-server`.
//! `-- --json FILE` appends JSON lines, as `benches/density/run` wants them; `--rounds N` measures all
//! of it so often, and `--quick` for a shorter time.

#[path = "../tests/support/client.rs"]
mod client;
#[path = "../tests/redis/server.rs"]
mod server;

use std::{
    env,
    fs::{self, File},
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::symlink,
    time::{Duration, Instant, SystemTime},
};

use client::PATIENCE;
use serde_json::{Value, json};
use server::{Node, Redis, is_missing};

fn main() {
    let mut options = Options::read();
    if is_missing() {
        return;
    }
    options.add(&json!({ "server": "redis", "version": redis_version() }));
    let many: Vec<_> = (0..10_000).map(|number| format!("topic-{number}")).collect();
    for round in 1..=options.rounds {
        println!("round {round}");
        println!(
            "events/s | got events/s | p50 us | p99 us | CPU us/event: Redis, publisher, other"
        );
        for rate in [100, 1_000, 5_000, 20_000, 0] {
            measure(&mut options, round, rate, "t");
        }
        println!("10,000 topics, of which the other process wants 20:");
        measure(&mut options, round, 20_000, &many.join(","));
        start_late(&mut options, round);
    }
}

struct Options {
    /// Where JSON lines go.
    results: Option<File>,
    rounds: u32,
    time: Duration,
}

impl Options {
    /// Cargo adds words of its own.
    fn read() -> Self {
        let mut options = Self { results: None, rounds: 1, time: Duration::from_secs(5) };
        let mut arguments = env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--json" => {
                    let path = arguments.next().expect("--json needs a file");
                    let file = File::options().create(true).append(true).open(path);
                    options.results = Some(file.expect("a file that can be written"));
                }
                "--rounds" => {
                    let rounds = arguments.next().and_then(|rounds| rounds.parse().ok());
                    options.rounds = rounds.expect("--rounds needs a number");
                }
                "--quick" => options.time = Duration::from_secs(1),
                _ => {}
            }
        }
        options
    }

    fn add(&mut self, line: &Value) {
        if let Some(file) = &mut self.results {
            writeln!(file, "{line}").unwrap();
        }
    }
}

/// "7.0.15"
fn redis_version() -> String {
    let output = std::process::Command::new("redis-server").arg("--version").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split("v=").nth(1).and_then(|rest| rest.split(' ').next());
    version.unwrap_or_default().into()
}

/// `rate` events a second; zero is as fast as it goes.
fn measure(options: &mut Options, round: u32, rate: u64, topics: &str) {
    let redis = Redis::start();
    symlink(redis.socket(), redis.address()).unwrap();
    let settings = [("HISTORY", "100")];
    let publisher = Node::start(&redis.url(), &settings);
    let other = Node::start(&redis.url(), &settings);
    let wanted: Vec<_> = topics.split(',').take(20).collect();
    let mut reader = Reader::open(other.address, &wanted.join(","), None);
    publish_topics(&publisher, rate, topics);
    // The first moments are not counted.
    reader.read_until(Instant::now() + Duration::from_secs(1), &mut Vec::new());
    let pids = [redis.pid(), publisher.pid(), other.pid()];
    let before = (pids.map(cpu_ns), other.figure("received"), Instant::now());
    let mut delays = Vec::new();
    reader.read_until(Instant::now() + options.time, &mut delays);
    let elapsed = before.2.elapsed();
    let (cpu, received) = (pids.map(cpu_ns), other.figure("received") - before.1);
    publisher.post("/stop", "");
    delays.sort_unstable();
    let at = |share: f64| delays[((delays.len() - 1) as f64 * share) as usize] / 1_000;
    let us = |nth: usize| (cpu[nth] - before.0[nth]) as f64 / received as f64 / 1_000.0;
    let got = received as f64 / elapsed.as_secs_f64();
    println!(
        "{rate:>8} | {got:>12.0} | {:>6} | {:>6} | {:.1}, {:.1}, {:.1}",
        at(0.5),
        at(0.99),
        us(0),
        us(1),
        us(2),
    );
    options.add(&json!({ "backplane": {
        "round": round, "rate": rate, "topics": topics.split(',').count(), "events_per_s": got,
        "p50_us": at(0.5), "p99_us": at(0.99),
        "redis_cpu_us": us(0), "publisher_cpu_us": us(1), "other_cpu_us": us(2),
    }}));
}

fn publish_topics(publisher: &Node, rate: u64, topics: &str) {
    let answer = publisher.post(&format!("/run?rate={rate}"), topics);
    assert_eq!(answer.status, 204);
}

/// A process that has just started, and serves a history.
fn start_late(options: &mut Options, round: u32) {
    let redis = Redis::start();
    symlink(redis.socket(), redis.address()).unwrap();
    let publisher = Node::start(&redis.url(), &[("HISTORY", "100")]);
    for number in 0..100 {
        publisher.post("/publish?topic=t", &format!("t {number} 0"));
    }
    let reader = Reader::open(publisher.address, "t", None);
    let id = reader.first_id.clone();
    drop(reader);
    publisher.post("/publish?topic=t", "t 100 0");
    let mut taken: Vec<_> = (0..20)
        .map(|_| {
            let late = Node::start(&redis.url(), &[("HISTORY", "100")]);
            let start = Instant::now();
            let _reader = Reader::open(late.address, "t", Some(&id));
            start.elapsed().as_micros()
        })
        .collect();
    taken.sort_unstable();
    println!(
        "a resume at a process that has just started, us: {} median, {} most",
        taken[10], taken[19]
    );
    options.add(&json!({ "backplane": {
        "round": round, "late_start_median_us": taken[10], "late_start_most_us": taken[19],
    }}));
}

struct Reader {
    socket: TcpStream,
    bytes: Vec<u8>,
    first_id: String,
}

impl Reader {
    /// Connects, and reads up to the first id; with an id, up to the first event.
    fn open(address: SocketAddr, topics: &str, id: Option<&str>) -> Self {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let resume = id.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        write!(socket, "GET /live?topics={topics} HTTP/1.0\r\n{resume}\r\n").unwrap();
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
        let what = if id.is_some() { "data: " } else { "id: _" };
        loop {
            let count = socket.read(&mut buffer).unwrap();
            bytes.extend_from_slice(&buffer[..count]);
            let text = String::from_utf8_lossy(&bytes);
            if let Some((_, rest)) = text.split_once(what)
                && rest.contains('\n')
            {
                let first_id = format!("_{}", rest.lines().next().unwrap());
                return Self { socket, bytes: Vec::new(), first_id };
            }
        }
    }

    fn read_until(&mut self, end: Instant, delays: &mut Vec<u64>) {
        let mut buffer = vec![0; 256 * 1024];
        self.socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        while Instant::now() < end {
            let Ok(count) = self.socket.read(&mut buffer) else { continue };
            let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
            self.bytes.extend_from_slice(&buffer[..count]);
            let whole = self.bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            for line in String::from_utf8_lossy(&self.bytes[..whole]).lines() {
                let sent = line.strip_prefix("data: ").and_then(|it| it.rsplit(' ').next());
                if let Some(sent) = sent.and_then(|it| it.parse::<u64>().ok()) {
                    delays.push(now.saturating_sub(sent));
                }
            }
            self.bytes.drain(..whole);
        }
    }
}

/// The time that all threads of a process have run.
fn cpu_ns(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let ran =
        threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("schedstat")).ok());
    ran.filter_map(|text| text.split(' ').next()?.parse::<u64>().ok()).sum()
}
