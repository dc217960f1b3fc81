//! The example `testbed` as a process of its own, and what the system says about it.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::client::{Client, wait_for};

/// Killed when dropped, also by a panic.
pub(crate) struct Testbed {
    process: Child,
    pub(crate) address: SocketAddr,
}

/// What happens to a process.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Signal {
    Term,
    Stop,
    Continue,
}

impl Testbed {
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::spawn(Command::new(program()).args(flags))
    }

    pub(crate) fn with_workers(workers: u32, flags: &[&str]) -> Self {
        Self::spawn(Command::new(program()).args(flags).env("WORKERS", workers.to_string()))
    }

    /// One that may have no more than so many descriptors.
    pub(crate) fn with_descriptors(most: u32, flags: &[&str]) -> Self {
        let script = format!("ulimit -n {most} && exec \"$0\" \"$@\"");
        Self::spawn(Command::new("sh").args(["-c", &script]).arg(program()).args(flags))
    }

    fn spawn(command: &mut Command) -> Self {
        let process = command
            .env("PORT", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the testbed starts");
        let mut testbed = Self { process, address: ([127, 0, 0, 1], 0).into() };
        let mut line = String::new();
        let stdout = testbed.process.stdout.as_mut().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on http://");
        testbed.address = address.and_then(|it| it.parse().ok()).expect("it says where it listens");
        testbed
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let name = match signal {
            Signal::Term => "-TERM",
            Signal::Stop => "-STOP",
            Signal::Continue => "-CONT",
        };
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    /// Waits for its end; `None` for a process that was killed by a signal.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        wait_for("the testbed ends", || self.process.try_wait().unwrap()).code()
    }

    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(self.proc("fd")).unwrap().count()
    }

    /// Waits until it can accept no more. What it inherited may have numbers beyond the limit.
    pub(crate) fn uses_all_descriptors(&self, most: usize) {
        wait_for("all descriptors are used", || (self.descriptors() >= most).then_some(()));
    }

    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    /// How many sockets listen on its port.
    pub(crate) fn listeners(&self) -> usize {
        let table = fs::read_to_string(self.proc("net/tcp")).unwrap();
        let listening = format!(":{:04X} 00000000:0000 0A", self.address.port());
        table.matches(&listening).count()
    }

    /// User and system time so far.
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(self.proc("stat")).unwrap();
        // Behind the name, which may contain anything but ends with the last parenthesis.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks = |at: usize| fields[at].parse::<u64>().unwrap();
        Duration::from_millis((ticks(11) + ticks(12)) * 1000 / CLOCK_TICKS_PER_SECOND)
    }

    fn proc(&self, file: &str) -> PathBuf {
        format!("/proc/{}/{file}", self.process.id()).into()
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A well-behaved client beside the attack, with a stream that must tick on.
pub(crate) struct Neighbour(Client);

impl Neighbour {
    pub(crate) fn of(testbed: &Testbed) -> Self {
        Self(Client::streaming(testbed.address, "/tick?ms=20"))
    }

    /// Sees events that were made after now.
    pub(crate) fn ticks_on(&mut self) {
        let asked = since_1970();
        while self.tick() < asked {}
        self.tick();
    }

    /// When the next event was made.
    fn tick(&mut self) -> Duration {
        tick_time(&self.0.data())
    }
}

/// The time in an event of `/tick`.
pub(crate) fn tick_time(data: &str) -> Duration {
    Duration::from_nanos(data.split(' ').next().unwrap().parse().expect("nanoseconds"))
}

pub(crate) fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// `cargo test` builds the examples beside the tests.
fn program() -> PathBuf {
    let mut path = env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples/testbed");
    assert!(path.exists(), "run `cargo build --example testbed` first, or all tests");
    path
}

/// As Linux tells it to programs, whatever it uses inside.
const CLOCK_TICKS_PER_SECOND: u64 = 100;
