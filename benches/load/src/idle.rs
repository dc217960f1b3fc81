//! `idle`: silent streams; the memory that each of them costs.

use std::time::{Duration, Instant};

use lexopt::prelude::ValueExt;
use serde_json::json;

use crate::{
    Experiment, Result, Setting,
    clients::Clients,
    figures::Figures,
    proc::{KernelMemory, Memory},
    server::{Cores, Program, Server},
};

#[derive(Debug, Clone)]
pub struct Idle {
    pub streams: usize,
    pub warm_up: usize,
    /// `/idle`, or a stream with an updater that has nothing to do: `/tick?ms=86400000`.
    pub path: String,
}

impl Default for Idle {
    fn default() -> Self {
        Self { streams: 10_000, warm_up: 1000, path: "/idle".into() }
    }
}

impl Experiment for Idle {
    fn set(&mut self, option: &str, parser: &mut lexopt::Parser) -> Result<bool> {
        match option {
            "streams" => self.streams = parser.value()?.parse()?,
            "warm-up" => self.warm_up = parser.value()?.parse()?,
            "path" => self.path = parser.value()?.string()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn streams(&self) -> usize {
        self.streams.saturating_add(self.warm_up)
    }

    /// Opens a first batch and keeps it, so that pages touched once (code, tables, the first
    /// buffers) are paid; then measures what the streams after it add.
    fn figures(&self, program: &Program, cores: Cores) -> Result<Figures> {
        if self.streams == 0 {
            return Err("streams must not be 0".into());
        }
        let server = Server::start(program, cores)?;
        let mut clients = Clients::new(server.address())?;

        eprintln!("{}: {} streams to warm up", program.name, self.warm_up);
        clients.open(self.warm_up, &self.path, Duration::ZERO, |_| {})?;
        wait_until_quiet(&server, &mut clients)?;
        let (before, kernel_before) = (server.memory()?, KernelMemory::read());

        eprintln!("{}: {} streams to measure", program.name, self.streams);
        clients.open(self.streams, &self.path, Duration::ZERO, |_| {})?;
        wait_until_quiet(&server, &mut clients)?;
        let (after, kernel_after) = (server.memory()?, KernelMemory::read());

        if clients.lost() > 0 {
            return Err(
                format!("{} streams ended before the measurement did", clients.lost()).into()
            );
        }
        Ok(self.judge((before, after), kernel_before.zip(kernel_after)))
    }

    fn run(&self, setting: &Setting) -> Result<()> {
        let floor = setting.floor.as_ref().map(|floor| floor.plain());
        for round in 1..=setting.rounds {
            for program in floor.iter().chain(&setting.server) {
                self.figures(program, setting.cores)?.report(round, program, setting.output)?;
            }
        }
        Ok(())
    }
}

impl Idle {
    fn judge(
        &self,
        (before, after): (Memory, Memory),
        kernel: Option<(KernelMemory, KernelMemory)>,
    ) -> Figures {
        let per_stream =
            |before: u64, after: u64| (after as f64 - before as f64) / self.streams as f64;
        let private_dirty = per_stream(before.private_dirty, after.private_dirty);
        let anonymous = per_stream(before.anonymous, after.anonymous);
        let rss = per_stream(before.rss, after.rss);
        let pss = per_stream(before.pss, after.pss);
        let slab = kernel.map(|(before, after)| per_stream(before.slab, after.slab));
        let buffers =
            kernel.map(|(before, after)| per_stream(before.tcp_buffers, after.tcp_buffers));

        let Self { streams, warm_up, path } = self;
        let mut text = format!(
            "{streams} silent streams on {path}, on top of {warm_up} others\n  bytes per stream in the server\n    \
             private dirty {private_dirty:>10.1}\n    anonymous     {anonymous:>10.1}\n    \
             Rss           {rss:>10.1}\n    Pss           {pss:>10.1}\n",
        );
        if let (Some(slab), Some(buffers)) = (slab, buffers) {
            text += &format!(
                "  bytes per stream in the kernel, server's and client's socket together\n    \
                 slab          {slab:>10.1}\n    TCP buffers   {buffers:>10.1}\n"
            );
        }
        let json = json!({
            "streams": streams, "warm_up": warm_up, "path": path,
            "private_dirty_bytes_per_stream": private_dirty, "anonymous_bytes_per_stream": anonymous,
            "rss_bytes_per_stream": rss, "pss_bytes_per_stream": pss,
            "server_rss_bytes": after.rss,
            "kernel_slab_bytes_per_pair": slab, "kernel_tcp_buffer_bytes_per_pair": buffers,
        });
        Figures { command: "idle", cpu_ns: 0.0, text, json }
    }
}

/// Returns when the server used less than 1 % of its core for a second.
fn wait_until_quiet(server: &Server, clients: &mut Clients) -> Result<()> {
    let deadline = Instant::now() + QUIET_TIMEOUT;
    let window = Duration::from_secs(1);
    while Instant::now() < deadline {
        let before_ns = server.cpu_ns()?;
        clients.run_until(Instant::now() + window, |_| {})?;
        if u128::from(server.cpu_ns()? - before_ns) < window.as_nanos() / 100 {
            return Ok(());
        }
    }
    Err("the server does not come to rest".into())
}

const QUIET_TIMEOUT: Duration = Duration::from_secs(60);
