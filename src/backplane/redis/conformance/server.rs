//! A Redis of a test's own, on a Unix socket in a folder that goes with it.

use std::{
    env, fs,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use redis_protocol::resp2::{decode::decode, types::OwnedFrame};

pub(super) struct Server {
    process: Child,
    folder: PathBuf,
}

impl Server {
    /// None if Redis is not installed. `STARWHEEL_REDIS=required` makes that a failure, any other
    /// value is the program to start.
    pub(super) fn start(arguments: &[&str]) -> Option<Self> {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let folder =
            env::temp_dir().join(format!("starwheel-store-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let setting = env::var("STARWHEEL_REDIS").ok();
        let program = setting.as_deref().filter(|it| *it != "required").unwrap_or("redis-server");
        let started = Command::new(program)
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--dir"])
            .arg(&folder)
            .arg("--unixsocket")
            .arg(folder.join("socket"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        let process = match started {
            Err(error) if error.kind() == ErrorKind::NotFound && setting.is_none() => {
                eprintln!("skipped: no {program} is installed");
                return None;
            }
            started => started.unwrap_or_else(|error| panic!("{program}: {error}")),
        };
        let mut server = Self { process, folder };
        server.wait_until_ready();
        Some(server)
    }

    fn wait_until_ready(&mut self) {
        let stdout = self.process.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        // "The server is now ready to accept connections at" the socket.
        let is_ready = lines.any(|line| line.contains("ready to accept connections at"));
        assert!(is_ready, "the server did not start");
        // A server whose log nobody reads stops in the end.
        thread::spawn(move || lines.for_each(drop));
    }

    pub(super) fn connect(&self) -> Client {
        let socket = UnixStream::connect(self.folder.join("socket")).expect("a listening server");
        // A server that hangs fails a test.
        socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket with time limits");
        Client { socket, input: Vec::new() }
    }

    pub(super) fn process_id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A blocking connection.
pub(super) struct Client {
    socket: UnixStream,
    input: Vec<u8>,
}

impl Client {
    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the server reads");
    }

    pub(super) fn receive(&mut self) -> OwnedFrame {
        loop {
            if let Some((frame, length)) = decode(&self.input).expect("RESP") {
                self.input.drain(..length);
                return frame;
            }
            let mut buffer = [0; 64 * 1024];
            let length = self.socket.read(&mut buffer).expect("the server writes");
            assert!(length > 0, "the server has closed the connection");
            self.input.extend_from_slice(&buffer[..length]);
        }
    }

    /// A command that succeeds.
    pub(super) fn call<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> OwnedFrame {
        let mut command = format!("*{}\r\n", arguments.len()).into_bytes();
        for argument in arguments.iter().map(AsRef::as_ref) {
            command.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            command.extend_from_slice(argument);
            command.extend_from_slice(b"\r\n");
        }
        self.send(&command);
        let answer = self.receive();
        assert!(!matches!(answer, OwnedFrame::Error(_)), "{answer:?}");
        answer
    }
}

/// Of an array its strings; of a string, itself.
pub(super) fn strings(frame: OwnedFrame) -> Vec<Vec<u8>> {
    match frame {
        OwnedFrame::Array(frames) => frames.into_iter().flat_map(strings).collect(),
        OwnedFrame::BulkString(bytes) | OwnedFrame::SimpleString(bytes) => vec![bytes],
        other => panic!("not a string: {other:?}"),
    }
}
