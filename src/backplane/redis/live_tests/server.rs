//! Servers of a test, and what it asks them itself.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use redis_protocol::resp2::{decode::decode, types::OwnedFrame};

use crate::backplane::redis::{frames::write_command, handshake::frame_text};

/// A server with a Unix socket in a folder of its own.
pub(super) struct Server {
    pub(super) child: Child,
    pub(super) folder: Folder,
}

pub(super) struct Folder(pub(super) PathBuf);

impl Server {
    pub(super) fn start(options: &[&str]) -> Option<Self> {
        is_installed("redis-server").then(|| Self::start_in(Folder::new(), options))
    }

    pub(super) fn start_in(folder: Folder, options: &[&str]) -> Self {
        let mut server = Self::spawn("redis-server", folder, options);
        server.wait_for_log(READY);
        server
    }

    pub(super) fn spawn(program: &str, folder: Folder, options: &[&str]) -> Self {
        let socket = folder.0.join("r");
        let child = Command::new(program)
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--dir"])
            .arg(&folder.0)
            .arg("--unixsocket")
            .arg(&socket)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        Self { child, folder }
    }

    /// Reads what it logs up to these words; the rest is read by a thread, so that it never waits.
    pub(super) fn wait_for_log(&mut self, words: &str) {
        let log = self.child.stdout.take().expect("it is waited for once");
        let mut lines = BufReader::new(log).lines();
        let mut read = String::new();
        loop {
            let Some(line) = lines.next() else { panic!("the server has ended:\n{read}") };
            read += &(line.unwrap() + "\n");
            if read.contains(words) {
                break;
            }
        }
        thread::spawn(move || lines.for_each(drop));
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.0.join("r")
    }

    pub(super) fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub(super) fn admin(&self) -> Admin {
        Admin(UnixStream::connect(self.socket()).expect("the server is there"))
    }

    pub(super) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &id]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Kills it, and keeps its folder.
    pub(super) fn kill(mut self) -> Folder {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        Folder(std::mem::take(&mut self.folder.0))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _it_has_ended = self.child.kill();
        let _it_has_ended = self.child.wait();
    }
}

impl Folder {
    pub(super) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("starwheel-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            let _left_behind = fs::remove_dir_all(&self.0);
        }
    }
}

/// A blocking connection of the test.
pub(super) struct Admin(UnixStream);

impl Admin {
    pub(super) fn ask(&mut self, command: &str) -> OwnedFrame {
        let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
        write_command(&mut bytes, &words);
        self.0.write_all(&bytes).unwrap();
        bytes.clear();
        loop {
            let count = self.0.read(&mut buffer).unwrap();
            assert!(count > 0, "the server has ended the connection");
            bytes.extend_from_slice(&buffer[..count]);
            if let Some((frame, _)) = decode(&bytes).unwrap() {
                return frame;
            }
        }
    }

    pub(super) fn text(&mut self, command: &str) -> String {
        let frame = self.ask(command);
        frame_text(&frame).unwrap_or_else(|| panic!("{command}: {frame:?}")).to_owned()
    }
}

pub(super) fn is_installed(program: &str) -> bool {
    let paths = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&paths).any(|folder| folder.join(program).is_file());
    if !found {
        let is_required = env::var("STARWHEEL_REDIS").is_ok_and(|it| it == "required");
        assert!(!is_required, "{program} is not installed");
        // Not `eprintln!`, which a test that passes does not show.
        _ = writeln!(io::stderr(), "SKIPPED: {program} is not installed");
    }
    found
}

/// Ports that were free a moment ago.
pub(super) fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// A server on a port of its own. Another program may have taken a port that was free.
pub(super) fn start_on_port(options: impl Fn(u16) -> Vec<String>) -> Option<(Server, u16)> {
    if !is_installed("redis-server") {
        return None;
    }
    for _ in 0..20 {
        let [port] = free_ports();
        let options = options(port);
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        let mut server = Server::spawn("redis-server", Folder::new(), &options);
        let log = server.child.stdout.take().unwrap();
        let mut lines = BufReader::new(log).lines().map_while(Result::ok);
        if lines.any(|line| line.contains(READY)) {
            thread::spawn(move || lines.for_each(drop));
            return Some((server, port));
        }
    }
    panic!("no port could be had");
}

/// "Ready to accept connections" on a port, "The server is now ready to accept connections at" on a
/// Unix socket.
pub(super) const READY: &str = "eady to accept connections";
