//! What is measured of a set-up: memory of idle streams, and CPU time.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use starwheel_load::{publisher::Publisher, receipts::Receipts, server::Cores};

use crate::{
    Result,
    clients::Clients,
    processes::{Processes, Sockets},
    serve::KEEP_ALIVE,
    setups::{self, Kind, Setup},
    storm,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workload {
    Idle,
    IdleUpdater,
    Broadcast,
    Tick,
    Connect,
    /// One server, plain and TLS connections in turn.
    Storm,
}

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) warm_up: usize,
    pub(crate) streams: usize,
    pub(crate) publishes: usize,
    pub(crate) tick_seconds: u64,
    pub(crate) storm: storm::Sizes,
}

pub(crate) const FULL: Sizes = Sizes {
    warm_up: 1000,
    streams: 5000,
    publishes: 20,
    tick_seconds: 5,
    storm: storm::Sizes { waves: 30, handshakes: 1000, tickers: 50 },
};

pub(crate) const QUICK: Sizes = Sizes {
    warm_up: 200,
    streams: 500,
    publishes: 10,
    tick_seconds: 2,
    storm: storm::Sizes { waves: 4, handshakes: 200, tickers: 20 },
};

impl Workload {
    pub(crate) const ALL: [Self; 6] =
        [Self::Idle, Self::IdleUpdater, Self::Broadcast, Self::Tick, Self::Connect, Self::Storm];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::IdleUpdater => "idle-updater",
            Self::Broadcast => "broadcast",
            Self::Tick => "tick",
            Self::Connect => "connect",
            Self::Storm => "storm",
        }
    }

    pub(crate) fn wants(self, setup: &Setup) -> bool {
        match self {
            Self::IdleUpdater | Self::Storm => !matches!(setup.kind, Kind::Front(_)),
            Self::Idle | Self::Broadcast | Self::Tick | Self::Connect => true,
        }
    }

    pub(crate) fn measure(self, setup: &Setup, cores: Cores, sizes: Sizes) -> Result<Value> {
        let start = || Processes::start(setup, cores);
        match self {
            Self::Idle => memory(&start()?, setup, sizes, "/idle"),
            Self::IdleUpdater => memory(&start()?, setup, sizes, "/tick?ms=86400000"),
            Self::Broadcast => broadcast(setup, cores, sizes),
            Self::Tick => tick(&start()?, setup, sizes),
            Self::Connect => connect(&start()?, setup, sizes),
            Self::Storm => storm::measure(&start()?, setup, sizes.storm),
        }
    }
}

/// A first batch pays for what is touched once: code, tables, first buffers.
fn memory(processes: &Processes, setup: &Setup, sizes: Sizes, path: &str) -> Result<Value> {
    let mut clients = Clients::new(&processes.target(setup))?;
    let settle = |clients: &mut Clients| clients.run_until(Instant::now() + SETTLE, |_| {});
    clients.open(sizes.warm_up, path, Duration::ZERO)?;
    settle(&mut clients)?;
    let before = processes.usage()?;
    clients.open(sizes.streams, path, Duration::ZERO)?;
    settle(&mut clients)?;
    let after = processes.usage()?;

    let streams = sizes.streams as f64;
    let growth = |before: u64, after: u64| (after as f64 - before as f64) / streams;
    let front = growth(before.front_pss, after.front_pss);
    let server = growth(before.server_pss, after.server_pss);
    let count =
        |of: fn(Sockets) -> usize| growth(of(before.sockets) as u64, of(after.sockets) as u64);
    let (tcp, unix) = (count(|it| it.tcp), count(|it| it.unix));
    let kernel = tcp * TCP_SOCKET_BYTES + unix * UNIX_SOCKET_BYTES;
    Ok(json!({
        "streams": sizes.streams, "warm_up": sizes.warm_up, "path": path,
        "front_bytes_per_stream": front, "server_bytes_per_stream": server,
        "tcp_sockets_per_stream": tcp, "unix_sockets_per_stream": unix,
        "sockets_per_stream": tcp + unix,
        "kernel_bytes_per_stream": kernel, "box_bytes_per_stream": front + server + kernel,
    }))
}

/// One event at a time to all streams of a server. The set-up and a plain one take turns event by
/// event, so that what else the machine does affects both.
fn broadcast(setup: &Setup, cores: Cores, sizes: Sizes) -> Result<Value> {
    let mut plain = Audience::gather(&setups::ALL[0], cores, sizes)?;
    let mut audience = Audience::gather(setup, cores, sizes)?;
    let (mut plain_ns, mut cpu_ns) = (0, 0);
    for _ in 0..sizes.publishes {
        plain_ns += plain.publish()?;
        cpu_ns += audience.publish()?;
    }
    let deliveries = (sizes.streams * sizes.publishes) as f64;
    Ok(json!({
        "streams": sizes.streams, "publishes": sizes.publishes, "bytes": EVENT_BYTES,
        "cpu_ns": cpu_ns as f64 / deliveries, "floor_cpu_ns": plain_ns as f64 / deliveries,
    }))
}

/// A set-up with subscribers. Its server is published to directly.
struct Audience {
    processes: Processes,
    clients: Clients,
    publisher: Publisher,
    receipts: Receipts,
}

impl Audience {
    fn gather(setup: &Setup, cores: Cores, sizes: Sizes) -> Result<Self> {
        let processes = Processes::start(setup, cores)?;
        let mut clients = Clients::new(&processes.target(setup))?;
        clients.open(sizes.streams, "/topic", Duration::ZERO)?;
        let publisher = Publisher::connect(processes.plain(), EVENT_BYTES)?;
        let receipts = Receipts::new(sizes.streams);
        let mut audience = Self { processes, clients, publisher, receipts };
        for _ in 0..WARM_UP_PUBLISHES {
            audience.publish()?;
        }
        Ok(audience)
    }

    /// Returns the CPU time of all its processes.
    fn publish(&mut self) -> Result<u64> {
        let Self { processes, clients, publisher, receipts } = self;
        let before_ns = processes.cpu_ns()?;
        publisher.publish(1, receipts)?;
        let end = Instant::now() + DELIVERY_TIMEOUT;
        clients.run_while(end, |arrival| receipts.enter(arrival))?;
        receipts.check()?;
        publisher.take_answers(1)?;
        fall_asleep(clients)?;
        Ok(processes.cpu_ns()? - before_ns)
    }
}

/// Streams that tick ten times a second each, spread over the interval.
fn tick(processes: &Processes, setup: &Setup, sizes: Sizes) -> Result<Value> {
    let streams = sizes.warm_up;
    let mut clients = Clients::new(&processes.target(setup))?;
    // Prime to the interval, so that ticks are due at any time.
    clients.open(streams, "/tick?ms=100", Duration::from_micros(701))?;
    clients.run_until(Instant::now() + Duration::from_secs(1), |_| {})?;
    let before_ns = processes.cpu_ns()?;
    let mut events = 0_u64;
    let end = Instant::now() + Duration::from_secs(sizes.tick_seconds);
    clients.run_until(end, |_| events += 1)?;
    let cpu_ns = processes.cpu_ns()? - before_ns;
    if events == 0 {
        return Err("no events".into());
    }
    Ok(json!({
        "streams": streams, "seconds": sizes.tick_seconds, "events": events,
        "cpu_ns": cpu_ns as f64 / events as f64,
    }))
}

/// From the connect to the response head, in addition to streams that stay open.
fn connect(processes: &Processes, setup: &Setup, sizes: Sizes) -> Result<Value> {
    let streams = sizes.streams / 2;
    let mut clients = Clients::new(&processes.target(setup))?;
    clients.open(sizes.warm_up, "/silent", Duration::ZERO)?;
    fall_asleep(&mut clients)?;
    let (before_ns, start) = (processes.cpu_ns()?, Instant::now());
    clients.open(streams, "/silent", Duration::ZERO)?;
    let seconds = start.elapsed().as_secs_f64();
    fall_asleep(&mut clients)?;
    let cpu_ns = processes.cpu_ns()? - before_ns;
    Ok(json!({
        "streams": streams, "warm_up": sizes.warm_up, "seconds": seconds,
        "cpu_ns": cpu_ns as f64 / streams as f64,
    }))
}

/// The kernel does not count the present slice of a thread that runs.
fn fall_asleep(clients: &mut Clients) -> Result<()> {
    clients.run_until(Instant::now() + FALL_ASLEEP, |_| {})
}

/// Long enough for every stream to have sent a comment.
const SETTLE: Duration = KEEP_ALIVE.saturating_add(Duration::from_secs(2));
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(20);
const FALL_ASLEEP: Duration = Duration::from_millis(10);
const WARM_UP_PUBLISHES: usize = 3;
const EVENT_BYTES: usize = 100;
/// What Linux 6.18 keeps of a socket that epoll watches: the socket, its inode, file and dentry, and
/// the entry of epoll. Of caches that other programs use too, the growth would say nothing.
const TCP_SOCKET_BYTES: f64 = 4030.0;
const UNIX_SOCKET_BYTES: f64 = 2650.0;
