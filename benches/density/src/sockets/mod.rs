//! As many real sockets as the machine has room for, spread over processes.
//!
//! A process may open only so many descriptors, so there are pairs of processes: a server, and a
//! crowd of clients that opens as many streams on it as the limit allows. Pairs are added until
//! something ends that; then one event is published to each server, and every stream must get it.
//! All servers share one core, all crowds another one.

mod crowd;
mod report;
mod room;

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use starwheel_load::{
    clients::unix_ns,
    proc::{KernelMemory, Memory},
    publisher::Publisher,
    server::{Cores, Program, Server, raise_descriptor_limit},
};

use crate::{
    Result, machine,
    results::Results,
    servers::{self, Route},
};
use crowd::{Answer, Crowd, Order};
use room::{Limit, Room};

pub(crate) use crowd::{COMMAND as CROWD, serve as serve_as_crowd};
pub(crate) use report::write_table;

pub(crate) struct Sockets {
    pub(crate) results: PathBuf,
    pub(crate) server: String,
    /// Pairs of processes; `None` for as many as there is room for.
    pub(crate) pairs_max: Option<usize>,
}

impl Default for Sockets {
    fn default() -> Self {
        Self { results: PathBuf::new(), server: "starwheel".into(), pairs_max: None }
    }
}

impl Sockets {
    pub(crate) fn run(self) -> Result<()> {
        let known = servers::known(&self.server).filter(|known| known.can(Route::Topic));
        known.ok_or_else(|| format!("no server {:?} that has topics", self.server))?;
        let server = servers::find_built(&self.server)?
            .ok_or_else(|| format!("no server {:?} was built", self.server))?;
        let mut results = Results::append_to(&self.results)?;
        machine::describe_once(&mut results)?;
        results.add(json!({ "server": server.program.name, "version": server.version }))?;

        let descriptors = raise_descriptor_limit()?;
        let cores = Cores::find()?;
        let (room, kernel) = (Room::read()?, KernelMemory::read());
        let mut opened = self.open(&server.program, cores, descriptors, room)?;
        let mut line = opened.figures(room, kernel)?;
        line["server"] = server.program.name.into();
        line["descriptors_per_process"] = descriptors.into();
        line["limits"] = room.limits();
        opened.rest(&mut line)?;
        opened.publish(&mut line)?;
        eprintln!("every stream got its event; closing");
        drop(opened);
        results.add(json!({ "sockets": line }))?;
        let mut table = String::new();
        write_table(&mut table, &results);
        eprintln!("{table}");
        Ok(())
    }

    /// Adds pairs until a limit is met. A pair that fails ends it and is closed again, unless it is
    /// the first.
    fn open(
        &self,
        program: &Program,
        cores: Cores,
        descriptors: u64,
        room: Room,
    ) -> Result<Opened> {
        let wanted = usize::try_from(descriptors.saturating_sub(DESCRIPTORS_SPARE))?;
        let pairs_max = self.pairs_max.unwrap_or(usize::MAX);
        let start = Instant::now();
        let mut opened =
            Opened { pairs: Vec::new(), streams: 0, seconds: 0.0, ended_by: Limit::Asked };
        while opened.pairs.len() < pairs_max {
            let now = Room::read()?;
            // The average of all streams so far is the best estimate for the next ones.
            let taken_bytes = room.memory_left_bytes.saturating_sub(now.memory_left_bytes);
            let bytes_each = taken_bytes / opened.streams.max(1) as u64;
            let streams = match now.streams(wanted, bytes_each.max(STREAM_BYTES_MIN)) {
                Ok(streams) => streams,
                Err(limit) => {
                    opened.ended_by = limit;
                    break;
                }
            };
            match Pair::open(program, cores, opened.streams, streams) {
                Ok(pair) => opened.pairs.push(pair),
                Err(error) if opened.pairs.is_empty() => return Err(error),
                Err(error) => {
                    opened.ended_by = Limit::Failure(error.to_string());
                    break;
                }
            }
            opened.streams += streams;
            opened.seconds = start.elapsed().as_secs_f64();
            eprintln!(
                "{:>3} pairs of processes, {:>9} streams, {:>6.1} s, {:>5.1} GiB of memory left",
                opened.pairs.len(),
                opened.streams,
                opened.seconds,
                Room::read()?.memory_left_bytes as f64 / f64::from(1 << 30),
            );
        }
        match opened.pairs.is_empty() {
            true => Err(format!("no room for a single pair: {}", opened.ended_by).into()),
            false => Ok(opened),
        }
    }
}

/// A server and its clients.
struct Pair {
    crowd: Crowd,
    server: Server,
    /// Of the server, when [`WARM_UP`] streams were open: pages that are touched once are paid.
    memory_before: Memory,
}

impl Pair {
    fn open(program: &Program, cores: Cores, first_address: usize, streams: usize) -> Result<Self> {
        let server = Server::start(program, cores)?;
        let mut crowd = Crowd::start(server.address(), first_address)?;
        let mut open = |count: usize, sum: usize| -> Result<()> {
            crowd.tell(Order::Open(count))?;
            match crowd.answer()? {
                Answer::Open(open) if open == sum => Ok(()),
                other => Err(format!("{sum} streams should be open, but: {other}").into()),
            }
        };
        open(WARM_UP, WARM_UP)?;
        let memory_before = server.memory()?;
        open(streams - WARM_UP, streams)?;
        Ok(Self { crowd, server, memory_before })
    }
}

/// All pairs there are.
struct Opened {
    pairs: Vec<Pair>,
    streams: usize,
    seconds: f64,
    ended_by: Limit,
}

impl Opened {
    /// What the streams cost in memory, `room` and `kernel` being from before the first.
    fn figures(&self, room: Room, kernel: Option<KernelMemory>) -> Result<Value> {
        let per_stream =
            |before: u64, after: u64| (after as f64 - before as f64) / self.streams as f64;
        let kernel = kernel.zip(KernelMemory::read());
        let left_bytes = Room::read()?.memory_left_bytes;
        let mut private_dirty_bytes = 0.0;
        for pair in &self.pairs {
            let after = pair.server.memory()?.private_dirty;
            private_dirty_bytes += after as f64 - pair.memory_before.private_dirty as f64;
        }
        let measured = self.streams - WARM_UP * self.pairs.len();
        Ok(json!({
            "streams": self.streams, "pairs": self.pairs.len(),
            "seconds_to_open": self.seconds, "ended_by": self.ended_by.to_string(),
            "private_dirty_bytes_per_stream": private_dirty_bytes / measured as f64,
            "kernel_slab_bytes_per_stream":
                kernel.map(|(before, after)| per_stream(before.slab, after.slab)),
            "kernel_tcp_buffer_bytes_per_stream":
                kernel.map(|(before, after)| per_stream(before.tcp_buffers, after.tcp_buffers)),
            "machine_bytes_per_stream": per_stream(left_bytes, room.memory_left_bytes),
        }))
    }

    /// What the servers need while nothing happens but comments that keep streams alive.
    fn rest(&self, line: &mut Value) -> Result<()> {
        eprintln!("{} streams at rest for {} s", self.streams, REST.as_secs());
        let (start, before_ns) = (Instant::now(), self.cpu_ns()?);
        thread::sleep(REST);
        let cpu_ns = self.cpu_ns()? - before_ns;
        line["rest_cpu_share"] = (cpu_ns as f64 / start.elapsed().as_nanos() as f64).into();
        Ok(())
    }

    /// One event to each server, one after the other, without waiting; every stream must get the
    /// one of its server.
    fn publish(&mut self, line: &mut Value) -> Result<()> {
        eprintln!("publishing to {} servers", self.pairs.len());
        let first_stamp_ns = unix_ns();
        for (pair, stamp_ns) in self.pairs.iter_mut().zip(first_stamp_ns..) {
            pair.crowd.tell(Order::Expect(stamp_ns))?;
        }
        for pair in &mut self.pairs {
            let answer = pair.crowd.answer()?;
            if answer != Answer::Ready {
                return Err(format!("clients that are not ready: {answer}").into());
            }
        }
        // Last of all: a server does not wait long for the request of a connection.
        let publishers = self.pairs.iter().map(|pair| Publisher::connect(pair.server.address(), 0));
        let mut publishers = publishers.collect::<Result<Vec<Publisher>>>()?;
        let cpu_before_ns = self.cpu_ns()?;
        let start_ns = unix_ns();
        for (publisher, stamp_ns) in publishers.iter_mut().zip(first_stamp_ns..) {
            publisher.publish_text(&format!("{stamp_ns:019} {PADDING}"))?;
        }
        let (mut first, mut last) = (u64::MAX, 0);
        for pair in &mut self.pairs {
            match pair.crowd.answer()? {
                Answer::Received { first_ns, last_ns } => {
                    first = first.min(first_ns);
                    last = last.max(last_ns);
                }
                other => return Err(format!("receipts were expected, but: {other}").into()),
            }
        }
        publishers.iter_mut().try_for_each(|publisher| publisher.take_answers(1))?;
        // The kernel does not count the present slice of a process that runs.
        thread::sleep(FALL_ASLEEP);
        let cpu_ns = self.cpu_ns()? - cpu_before_ns;
        line["first_ms"] = (first.saturating_sub(start_ns) as f64 / 1e6).into();
        line["last_ms"] = (last.saturating_sub(start_ns) as f64 / 1e6).into();
        line["cpu_ns"] = (cpu_ns as f64 / self.streams as f64).into();
        Ok(())
    }

    /// Of all servers.
    fn cpu_ns(&self) -> Result<u64> {
        self.pairs.iter().map(|pair| pair.server.cpu_ns()).sum()
    }
}

impl Drop for Opened {
    /// All clients leave together, so that a stopping server has no client to wait for.
    fn drop(&mut self) {
        self.pairs.iter_mut().for_each(|pair| pair.crowd.send_away());
    }
}

/// For what is not a stream: pipes, the polls, the server's own files.
const DESCRIPTORS_SPARE: u64 = 100;
const WARM_UP: usize = 1000;
/// What a stream takes at the least: some 10 KB of the kernel's, and little at both ends.
const STREAM_BYTES_MIN: u64 = 11 * 1024;
/// In which each stream of starwheel gets one comment.
const REST: Duration = Duration::from_secs(15);
const FALL_ASLEEP: Duration = Duration::from_millis(50);
/// With the stamp and the framing, an event of 100 bytes.
const PADDING: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
