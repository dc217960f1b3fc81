//! The parent of both machines and of Redis: it starts them, kills what a button asks for, and starts
//! it again after a few seconds.

use std::{
    env,
    error::Error,
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

const AWAY: Duration = Duration::from_secs(4);

pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    let address = address()?;
    let (orders, obeyed) = mpsc::channel();
    let mut cluster = Cluster::new(address.clone(), orders)?;
    let mut is_ready = false;
    for order in obeyed {
        match &*order {
            "ready" if is_ready => {}
            "ready" => {
                is_ready = true;
                println!("listening on http://{address}");
            }
            "kill a" | "kill b" | "kill redis" => cluster.kill(&order[5..]),
            "start a" | "start b" | "start redis" => cluster.start(&order[6..])?,
            _ => println!("{order}"),
        }
    }
    Ok(())
}

/// Both machines need the same port, so a free one is found first.
fn address() -> Result<String, Box<dyn Error>> {
    let port = env::var("PORT").unwrap_or_else(|_| "8080".into());
    let address = format!("127.0.0.1:{port}");
    match &*port {
        "0" => Ok(TcpListener::bind(address)?.local_addr()?.to_string()),
        _ => Ok(address),
    }
}

struct Cluster {
    address: String,
    redis_url: String,
    /// Of the Redis that is started here.
    folder: Option<PathBuf>,
    processes: Vec<(String, Child)>,
    orders: mpsc::Sender<String>,
}

impl Cluster {
    fn new(address: String, orders: mpsc::Sender<String>) -> Result<Self, Box<dyn Error>> {
        let (redis_url, folder) = match env::var("REDIS_URL") {
            Ok(url) => (url, None),
            Err(_) => {
                let folder =
                    env::temp_dir().join(format!("starwheel-cluster-{}", std::process::id()));
                fs::create_dir_all(&folder)?;
                (format!("unix://{}", folder.join("redis.sock").display()), Some(folder))
            }
        };
        let cleaner = folder.as_deref().map(remove_at_the_end).transpose()?;
        let processes = cleaner.map(|cleaner| ("cleaner".to_owned(), cleaner));
        let processes = processes.into_iter().collect();
        let mut cluster = Self { address, redis_url, folder, processes, orders };
        for name in ["redis", "a", "b"] {
            cluster.start(name)?;
        }
        Ok(cluster)
    }

    fn start(&mut self, name: &str) -> Result<(), Box<dyn Error>> {
        let child = match (name, &self.folder) {
            ("redis", None) => return Ok(()),
            ("redis", Some(folder)) => redis_server(folder)?,
            _ => self.machine(name)?,
        };
        self.processes.push((name.to_owned(), child));
        Ok(())
    }

    fn machine(&self, name: &str) -> Result<Child, Box<dyn Error>> {
        let program = env::current_exe()?;
        let mut child = guarded(program, &[name, &self.address, &self.redis_url])
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = child.stdout.take().map(|stdout| BufReader::new(stdout).lines());
        let orders = self.orders.clone();
        thread::spawn(move || {
            for line in lines.into_iter().flatten().map_while(Result::ok) {
                // The receiver is gone when the parent ends.
                _ = orders.send(line);
            }
        });
        Ok(child)
    }

    fn kill(&mut self, name: &str) {
        let Some(index) = self.processes.iter().position(|(other, _)| other == name) else {
            return;
        };
        let (name, child) = self.processes.remove(index);
        end(child);
        let orders = self.orders.clone();
        thread::spawn(move || {
            thread::sleep(AWAY);
            _ = orders.send(format!("start {name}"));
        });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.processes.drain(..).for_each(|(_, child)| end(child));
    }
}

/// One that keeps what it has acknowledged, but for the last second.
fn redis_server(folder: &Path) -> Result<Child, Box<dyn Error>> {
    let options =
        ["--port", "0", "--unixsocket", "redis.sock", "--save", "", "--appendonly", "yes"];
    if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err() {
        Err("redis-server was not found: install it (Debian: apt install redis-server, macOS: \
             brew install redis), or set REDIS_URL to the address of a Redis")?;
    }
    let mut command = guarded("redis-server", &options);
    Ok(command.args(["--loglevel", "warning"]).current_dir(folder).stdout(Stdio::null()).spawn()?)
}

/// Removes a folder when this process ends, whatever the reason, and Redis has been killed.
fn remove_at_the_end(folder: &Path) -> Result<Child, Box<dyn Error>> {
    let mut command = Command::new("sh");
    command.args(["-c", "cat >/dev/null; sleep 1; rm -rf \"$1\"", "cleaner"]).arg(folder);
    // Ctrl+C reaches all processes of the terminal, and this one must outlive it.
    Ok(command.stdin(Stdio::piped()).process_group(0).spawn()?)
}

/// A program that is killed, as by a power cut, when the standard input of its guard ends: also when
/// this process ends, whatever the reason.
fn guarded(program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "\"$@\" & cat >/dev/null; kill -9 $!", "guard"]).arg(program);
    command.args(arguments).stdin(Stdio::piped());
    command
}

fn end(mut guard: Child) {
    drop(guard.stdin.take());
    // It may have ended by itself.
    _ = guard.wait();
}
