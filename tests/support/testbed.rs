//! The example `testbed` as a separate process, and what the system reports about it.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustix::process::{self, Pid, Resource, Rlimit, getrlimit, kill_process, prlimit};

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

/// Resources of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Footprint {
    pub(crate) descriptors: usize,
    resident_bytes: u64,
    streams: u64,
    connections: u64,
}

impl Testbed {
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::spawn(Command::new(program()).args(flags))
    }

    pub(crate) fn with_workers(workers: u32, flags: &[&str]) -> Self {
        Self::spawn(Command::new(program()).args(flags).env("WORKERS", workers.to_string()))
    }

    /// One that starts with this limit of descriptors.
    pub(crate) fn with_descriptors(most: u32, flags: &[&str]) -> Self {
        let script = format!("ulimit -n {most} && exec \"$0\" \"$@\"");
        Self::spawn(Command::new("sh").args(["-c", &script]).arg(program()).args(flags))
    }

    fn spawn(command: &mut Command) -> Self {
        let process = command
            .env("PORT", "0")
            // Printing one for each panic would take most of the time.
            .env("RUST_BACKTRACE", "0")
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
        let signal = match signal {
            Signal::Term => process::Signal::TERM,
            Signal::Stop => process::Signal::STOP,
            Signal::Continue => process::Signal::CONT,
        };
        kill_process(self.pid(), signal).unwrap();
    }

    /// Limits the descriptors of the running process; it keeps those it has.
    pub(crate) fn may_have_descriptors(&self, most: u64) {
        let maximum = getrlimit(Resource::Nofile).maximum; // It was inherited.
        let limit = Rlimit { current: Some(most), maximum };
        prlimit(Some(self.pid()), Resource::Nofile, limit).unwrap();
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

    /// Waits until it can accept no more: all numbers below the limit are used.
    pub(crate) fn uses_all_descriptors(&self, most: usize) {
        wait_for("all descriptors are used", || {
            let entries = fs::read_dir(self.proc("fd")).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            (names.filter(|name| name.parse::<usize>().unwrap() < most).count() == most)
                .then_some(())
        });
    }

    fn resident_bytes(&self) -> u64 {
        self.status("VmRSS:").strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    /// How many sockets listen on its port.
    pub(crate) fn listeners(&self) -> usize {
        let table = fs::read_to_string(self.proc("net/tcp")).unwrap();
        let listening = format!(":{:04X} 00000000:0000 0A", self.address.port());
        table.matches(&listening).count()
    }

    /// A counter or gauge of `/metrics`.
    pub(crate) fn figure(&self, name: &str) -> u64 {
        self.figures().get(name)
    }

    fn figures(&self) -> Figures {
        Figures(Client::connect(self.address).get("/metrics").body)
    }

    /// Its current resources. Call it only while no client is disconnecting.
    pub(crate) fn footprint(&self) -> Footprint {
        let (descriptors, resident_bytes) = (self.descriptors(), self.resident_bytes());
        let figures = self.figures();
        let (streams, connections) = (figures.get("streams"), figures.get("connections"));
        Footprint { descriptors, resident_bytes, streams, connections }
    }

    /// Waits until everything but memory is as it was, and every stream that ended was closed once.
    pub(crate) fn is_back_at(&self, before: Footprint) {
        wait_for("the descriptors are back", || {
            (self.descriptors() == before.descriptors).then_some(())
        });
        let figures = wait_for("the connections are back", || {
            Some(self.figures()).filter(|figures| figures.get("connections") == before.connections)
        });
        assert_eq!(figures.get("streams"), before.streams);
        let opened = figures.get("streams_opened_total");
        let closed = figures.get("streams_closed_total");
        assert_eq!(opened, closed + before.streams, "exactly one close for each stream");
    }

    /// Its resources once temporary ones are gone, as a base for measuring memory.
    pub(crate) fn warmed_up(&self, before: Footprint) -> Footprint {
        self.is_back_at(before);
        Footprint { resident_bytes: self.resident_bytes(), ..before }
    }

    pub(crate) fn has_grown_at_most(&self, bytes: u64, before: Footprint) {
        let grown = self.resident_bytes().saturating_sub(before.resident_bytes);
        assert!(
            is_sanitized() || grown <= bytes,
            "it has grown by {grown} bytes, and may by {bytes}"
        );
    }

    /// Waits until it serves only us: nothing remains to be sent to clients that do not read.
    pub(crate) fn stands_still(&self, neighbour: &mut Neighbour) {
        let mut seen = self.figure("requests_total");
        loop {
            for _ in 0..10 {
                neighbour.tick();
            }
            let now = self.figure("requests_total");
            if now == seen + 1 {
                return;
            }
            seen = now;
        }
    }

    /// It sleeps between the ticks of the neighbour, and uses little time. Other load on the
    /// machine changes neither.
    pub(crate) fn does_not_spin(&self, neighbour: &mut Neighbour) {
        let ticks = 100;
        neighbour.ticks_on(); // Ticks from before now would tell nothing.
        let (sleeps_before, cpu_before, start) = (self.sleeps(), self.cpu_time(), Instant::now());
        for _ in 0..ticks {
            neighbour.tick();
        }
        let (sleeps, cpu) = (self.sleeps() - sleeps_before, self.cpu_time() - cpu_before);
        let wall = start.elapsed();
        // A spinning process never waits, even if the machine runs it only for moments.
        assert!(sleeps >= ticks / 10, "it slept {sleeps} times in {ticks} ticks");
        assert!(is_sanitized() || cpu * 100 < wall * 15, "it used {cpu:?} of {wall:?}");
    }

    /// How often its thread has waited for something.
    fn sleeps(&self) -> u64 {
        self.status("voluntary_ctxt_switches:").parse().unwrap()
    }

    /// User and system time so far.
    fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(self.proc("schedstat")).unwrap();
        Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
    }

    fn status(&self, name: &str) -> String {
        let status = fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().to_owned()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
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

/// The text of `/metrics`.
struct Figures(String);

impl Figures {
    /// The sum over all labels, unless `name` has a label.
    fn get(&self, name: &str) -> u64 {
        let figures = self.0.lines().filter_map(|line| line.strip_prefix("starwheel_"));
        let values = figures.filter_map(|figure| figure.strip_prefix(name));
        let values = values.filter(|rest| rest.starts_with(['{', ' ']));
        values.map(|rest| rest.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }
}

/// A well-behaved client during the attack, with a stream that must continue to tick.
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

/// The address sanitizer keeps freed memory and slows everything down: the measurements mean
/// nothing.
fn is_sanitized() -> bool {
    env::var_os("ASAN_OPTIONS").is_some()
}

/// `cargo test --workspace` builds the examples beside the tests.
fn program() -> PathBuf {
    let mut path = env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples/testbed");
    assert!(path.exists(), "run `cargo build -p testbed --example testbed` first, or all tests");
    path
}

/// Memory that an allocator may keep, and that first uses of code and tables may cost.
pub(crate) const ALLOCATOR_BYTES: u64 = 4 << 20;
