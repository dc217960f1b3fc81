//! The processes of a set-up: started together, measured together, stopped together.

use std::{
    env, fs,
    fs::File,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};
use rustls::ClientConfig;
use starwheel_load::{
    proc::{self, Memory},
    server::Cores,
};

use crate::{
    Result, certificate,
    clients::Target,
    setups::{self, Front, Kind, Setup},
};

/// A starwheel server, and the proxy in front of it if there is one.
pub(crate) struct Processes {
    // The first is stopped first.
    front: Option<Running>,
    server: Running,
    plain: SocketAddr,
    tls: SocketAddr,
    trust: Arc<ClientConfig>,
    port: u16,
    folder: Folder,
}

/// What belongs to all processes of the box.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) front_pss: u64,
    pub(crate) server_pss: u64,
    pub(crate) sockets: Sockets,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sockets {
    pub(crate) tcp: usize,
    pub(crate) unix: usize,
}

impl Processes {
    /// Starts the server and its proxy on the servers' core.
    pub(crate) fn start(setup: &Setup, cores: Cores) -> Result<Self> {
        cores.move_to_servers()?;
        let started = Self::start_here(setup);
        cores.move_to_generator()?;
        started
    }

    fn start_here(setup: &Setup) -> Result<Self> {
        let folder = Folder::new()?;
        let trust = certificate::write_to(&folder.0)?;
        let mut server = Command::new(env::current_exe()?);
        server.arg("serve").arg(&folder.0).stdout(Stdio::piped());
        let mut server = Running(server.spawn()?);
        let mut line = String::new();
        let stdout = server.0.stdout.take().ok_or("the server has no stdout")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let (plain, tls) = line.trim().split_once(' ').ok_or("the server did not start")?;
        let (plain, tls) = (plain.parse()?, tls.parse()?);
        let mut processes = Self { front: None, server, plain, tls, trust, port: 0, folder };
        if let Kind::Front(front) = &setup.kind {
            processes.start_front(front)?;
        }
        Ok(processes)
    }

    /// Proxies cannot choose a free port, so another process may take it first.
    fn start_front(&mut self, front: &Front) -> Result<()> {
        let mut last = "no attempt".to_owned();
        for _ in 0..FRONT_ATTEMPTS {
            self.port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            let (file, log) = (self.folder.0.join("front.conf"), self.folder.0.join("front.log"));
            fs::write(&file, front.configuration(&self.folder.0, self.port, self.plain))?;
            let child = Command::new(front.program)
                .args(front.arguments)
                .arg(&file)
                .env("PATH", setups::search_path())
                .env("XDG_DATA_HOME", &self.folder.0)
                .env("XDG_CONFIG_HOME", &self.folder.0)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(File::create(&log)?)
                .spawn()?;
            let mut running = Running(child);
            if running.answers(self.port)? {
                self.front = Some(running);
                return Ok(());
            }
            drop(running);
            last = fs::read_to_string(&log)?;
        }
        Err(format!("{} did not start: {last}", front.program).into())
    }

    /// Where clients of this set-up connect to.
    pub(crate) fn target(&self, setup: &Setup) -> Target {
        match setup.kind {
            Kind::Plain => Target { address: self.plain, tls: None },
            Kind::Tls => Target { address: self.tls, tls: Some(Arc::clone(&self.trust)) },
            Kind::Front(_) => Target {
                address: (Ipv4Addr::LOCALHOST, self.port).into(),
                tls: Some(Arc::clone(&self.trust)),
            },
        }
    }

    /// The server's plain listener, for publishing.
    pub(crate) fn plain(&self) -> SocketAddr {
        self.plain
    }

    /// Time on a CPU of all processes. What runs at this moment is not complete.
    pub(crate) fn cpu_ns(&self) -> Result<u64> {
        let mut sum = proc::cpu_ns(self.server.0.id())?;
        for pid in self.front_pids()? {
            sum += proc::cpu_ns(pid)?;
        }
        Ok(sum)
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        let server = self.server.0.id();
        let mut usage = Usage {
            front_pss: 0,
            server_pss: Memory::of(server)?.pss,
            sockets: Sockets::of(server)?,
        };
        for pid in self.front_pids()? {
            usage.front_pss += Memory::of(pid)?.pss;
            let Sockets { tcp, unix } = Sockets::of(pid)?;
            usage.sockets.tcp += tcp;
            usage.sockets.unix += unix;
        }
        Ok(usage)
    }

    /// The proxy and its workers.
    fn front_pids(&self) -> Result<Vec<u32>> {
        let mut pids: Vec<u32> = self.front.iter().map(|front| front.0.id()).collect();
        let Some(&front) = pids.first() else { return Ok(pids) };
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            if let Some(pid) = name.to_str().and_then(|name| name.parse().ok())
                && parent(pid) == Some(front)
            {
                pids.push(pid);
            }
        }
        Ok(pids)
    }
}

/// `None` for a process that has ended since it was listed.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may have spaces.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

impl Sockets {
    fn of(pid: u32) -> Result<Self> {
        let unix = fs::read_to_string("/proc/net/unix")?;
        let unix: std::collections::HashSet<&str> =
            unix.lines().filter_map(|line| line.split_whitespace().nth(6)).collect();
        let mut sockets = Self::default();
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
            // A descriptor may be closed between the listing and the reading.
            let Ok(link) = fs::read_link(entry?.path()) else { continue };
            let link = link.to_string_lossy();
            let inode = link.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
            match inode {
                Some(inode) if unix.contains(inode) => sockets.unix += 1,
                Some(_) => sockets.tcp += 1,
                None => {}
            }
        }
        Ok(sockets)
    }
}

/// A child that is stopped when the value is dropped.
struct Running(Child);

impl Running {
    /// Waits until something listens; false if the process has ended before.
    fn answers(&mut self, port: u16) -> Result<bool> {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if self.0.try_wait()?.is_some() {
                return Ok(false);
            }
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(true);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(false)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let deadline = Instant::now() + STOP_TIMEOUT;
        // A child that is not waited for keeps its id, so the signal cannot hit a stranger.
        let _ = rustix::process::kill_process(Pid::from_child(&self.0), Signal::TERM);
        while let Ok(None) = self.0.try_wait() {
            if Instant::now() > deadline {
                let _ = self.0.kill();
                let _ = self.0.wait();
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// For certificates, sockets and configurations; removed when the value is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        static FOLDERS: AtomicUsize = AtomicUsize::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("starwheel-edge-{}-{number}", std::process::id());
        let folder = env::temp_dir().join(name);
        fs::create_dir(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const FRONT_ATTEMPTS: usize = 3;
const START_TIMEOUT: Duration = Duration::from_secs(10);
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
