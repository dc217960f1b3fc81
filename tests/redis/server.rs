//! A Redis of a test's own, and the machines that share it.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{self, Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::client::{Client, ClientResponse, get, wait_for};

/// A server on a Unix socket in a folder of its own. It is killed when dropped.
pub(crate) struct Redis {
    process: Option<Child>,
    folder: PathBuf,
    options: Vec<String>,
}

/// True if there is no `redis-server`; then the test says so and does nothing.
pub(crate) fn is_missing() -> bool {
    let is_there =
        Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_ok();
    assert!(is_there || env::var_os("STARWHEEL_REDIS").is_none(), "redis-server is missing");
    if !is_there {
        eprintln!("SKIP: redis-server is missing");
    }
    !is_there
}

impl Redis {
    /// One that keeps nothing.
    pub(crate) fn start() -> Self {
        Self::with(&["--save", "", "--appendonly", "no"])
    }

    pub(crate) fn with(options: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("starwheel-redis-{}-{number}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        let options = options.iter().map(ToString::to_string).collect();
        let mut redis = Self { process: None, folder, options };
        redis.start_again();
        redis
    }

    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.address().display())
    }

    /// What machines connect with: a link to a socket.
    pub(crate) fn address(&self) -> PathBuf {
        self.folder.join("address.sock")
    }

    /// A replica that has everything.
    pub(crate) fn replica(&self) -> Self {
        // Another program may take a port that was free.
        let port = wait_for("the master listens", || {
            let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            (self.cli(&["config", "set", "port", &free.to_string()]) == "OK").then_some(free)
        });
        let replica = Self::with(&["--save", ""]);
        replica.cli(&["replicaof", "127.0.0.1", &port.to_string()]);
        wait_for("the replica is complete", || {
            replica.cli(&["info", "replication"]).contains("master_link_status:up").then_some(())
        });
        replica
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("redis.sock")
    }

    pub(crate) fn start_again(&mut self) {
        _ = fs::remove_file(self.socket());
        let process = Command::new("redis-server")
            .args(["--port", "0", "--unixsocket", "redis.sock", "--loglevel", "warning"])
            .args(&self.options)
            .current_dir(&self.folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server starts");
        self.process = Some(process);
        wait_for("redis answers", || (self.try_cli(&["ping"])? == "PONG").then_some(()));
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("it runs");
        kill_process(Pid::from_child(process), signal).unwrap();
    }

    /// What `redis-cli` says.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        self.try_cli(arguments).unwrap_or_else(|| panic!("redis does not answer {arguments:?}"))
    }

    fn try_cli(&self, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new("redis-cli");
        let output = command.arg("-s").arg(self.socket()).args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
        (output.status.success() && !text.is_empty() || arguments[0] != "ping").then_some(text)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
        _ = fs::remove_dir_all(&self.folder);
    }
}

/// A process of its own, killed when dropped.
pub(crate) struct Node {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Node {
    pub(crate) fn start(redis_url: &str, settings: &[(&str, &str)]) -> Self {
        let node = Self::spawn(redis_url, settings);
        node.wait_until_connected();
        node
    }

    pub(crate) fn start_without_redis(redis_url: &str) -> Self {
        Self::spawn(redis_url, &[])
    }

    fn spawn(redis_url: &str, settings: &[(&str, &str)]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_backplane-node"))
            .env("REDIS", redis_url)
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the node starts");
        let mut line = String::new();
        let stdout = process.stdout.as_mut().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let address = line.trim_end().parse().expect("it says where it listens");
        Self { process, address }
    }

    pub(crate) fn wait_until_connected(&self) {
        wait_for("the node is connected", || (self.figure("connected") == 1).then_some(()));
    }

    pub(crate) fn get(&self, path: &str) -> ClientResponse {
        Client::connect(self.address).get(path)
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> ClientResponse {
        let mut client = Client::connect(self.address);
        let length = body.len();
        let head = get(path).replacen("GET", "POST", 1);
        let head = head.replacen("Host", &format!("Content-Length: {length}\r\nHost"), 1);
        client.send(format!("{head}{body}"));
        client.answer()
    }

    /// A figure of the backplane.
    pub(crate) fn figure(&self, name: &str) -> u64 {
        let text = self.get("/metrics").body;
        let names = ["", "_total"].map(|suffix| format!("starwheel_backplane_{name}{suffix} "));
        let value =
            text.lines().find_map(|line| names.iter().find_map(|name| line.strip_prefix(name)));
        value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    /// The last number that was published on each topic, and how often the publisher was refused.
    pub(crate) fn published(&self) -> (Vec<(String, u64)>, u64) {
        let text = self.get("/published").body;
        let pair = |line: &str| {
            let (name, number) = line.split_once(' ').expect("two words");
            (name.to_owned(), number.parse().expect("a number"))
        };
        let mut lines: Vec<_> = text.lines().map(pair).collect();
        let (_, refused) = lines.pop().expect("the last line");
        (lines, refused)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end();
    }
}
