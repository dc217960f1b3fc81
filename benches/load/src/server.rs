//! The server under test: a child process on a core of its own, stopped when the value is dropped.

use std::{
    error::Error,
    io::Read,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    process::{Pid, Resource, Rlimit, Signal},
    thread::CpuSet,
};

use crate::{Result, proc};

pub struct Server {
    child: Child,
    address: SocketAddr,
}

/// A program to measure and what to call it in reports.
#[derive(Debug, Clone)]
pub struct Program {
    pub name: String,
    pub path: PathBuf,
    pub argument: Option<&'static str>,
}

impl Program {
    pub fn new(path: PathBuf) -> Self {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Self { name, path, argument: None }
    }
}

impl Server {
    /// Starts the program on its core, moves this thread to the other one, and reads the address
    /// from the program's first line.
    pub fn start(program: &Program, cores: Cores) -> Result<Self> {
        pin_to(cores.server)?;
        let spawned = Command::new(&program.path)
            .args(program.argument)
            .env("PORT", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        pin_to(cores.generator)?;
        let child = spawned.map_err(|error| format!("{}: {error}", program.path.display()))?;
        let mut server = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        server.address = server.read_address()?;
        Ok(server)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn cpu_ns(&self) -> Result<u64> {
        proc::cpu_ns(self.child.id()).map_err(|error| self.explain(error))
    }

    pub fn memory(&self) -> Result<proc::Memory> {
        proc::Memory::of(self.child.id()).map_err(|error| self.explain(error))
    }

    pub(crate) fn descriptors(&self) -> Result<usize> {
        proc::descriptors(self.child.id()).map_err(|error| self.explain(error))
    }

    fn explain(&self, error: Box<dyn Error>) -> Box<dyn Error> {
        format!("the server (process {}) is gone: {error}", self.child.id()).into()
    }

    fn read_address(&mut self) -> Result<SocketAddr> {
        // The pipe stays open in `child`, so that the server can write more lines.
        let stdout = self.child.stdout.as_mut().ok_or("the server has no stdout")?;
        let deadline = Instant::now() + START_TIMEOUT;
        let (mut line, mut byte) = (Vec::new(), [0]);
        while !line.ends_with(b"\n") {
            let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now()))?;
            let ready =
                rustix::event::poll(&mut [PollFd::new(stdout, PollFlags::IN)], Some(&left))?;
            if ready == 0 || stdout.read(&mut byte)? == 0 || line.len() > 1000 {
                return Err("the server printed no address".into());
            }
            line.push(byte[0]);
        }
        let line = String::from_utf8_lossy(&line);
        let address =
            line.trim_end().strip_prefix("listening on http://").and_then(|rest| rest.parse().ok());
        match address {
            Some(address @ SocketAddr::V4(v4)) if v4.ip().is_loopback() => Ok(address),
            _ => {
                Err(format!("the server's first line names no IPv4 loopback address: {line:?}")
                    .into())
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let deadline = Instant::now() + STOP_TIMEOUT;
        // A child that is not waited for keeps its id, so the signal cannot hit a stranger.
        let _ = rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM);
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Raises the number of descriptors to the hard limit, for this process and its children, and
/// returns it.
pub fn raise_descriptor_limit() -> Result<u64> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    rustix::process::setrlimit(
        Resource::Nofile,
        Rlimit { current: limit.maximum, maximum: limit.maximum },
    )?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// Where the two sides run.
#[derive(Debug, Clone, Copy)]
pub struct Cores {
    server: CpuSet,
    generator: CpuSet,
}

impl Cores {
    /// A core for each: the first two that this process may use. Call it before anything is pinned.
    pub fn find() -> Result<Self> {
        let set = rustix::thread::sched_getaffinity(None)?;
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect();
        match cores[..] {
            [] => Err("this process may use no core".into()),
            [core] => {
                eprintln!("only one core: server and generator share it, the figures mean little");
                Ok(Self { server: only(core), generator: only(core) })
            }
            [server, generator, ..] => {
                Ok(Self { server: only(server), generator: only(generator) })
            }
        }
    }

    /// Every core for both, if the generator sleeps while the server works. Call it before anything
    /// is pinned.
    pub fn shared() -> Result<Self> {
        let all = rustix::thread::sched_getaffinity(None)?;
        Ok(Self { server: all, generator: all })
    }

    /// How many cores the servers may use.
    pub fn of_servers(self) -> u32 {
        self.server.count()
    }

    /// Moves this thread to the servers' core. Processes that it starts stay there.
    pub fn move_to_servers(self) -> Result<()> {
        pin_to(self.server)
    }

    /// Moves this thread to the generator's core.
    pub fn move_to_generator(self) -> Result<()> {
        pin_to(self.generator)
    }
}

fn only(core: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(core);
    set
}

/// Children inherit the cores of the thread that starts them.
fn pin_to(cores: CpuSet) -> Result<()> {
    Ok(rustix::thread::sched_setaffinity(None, &cores)?)
}

const START_TIMEOUT: Duration = Duration::from_secs(10);
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
