//! Clients that come and go in every way a client may, well or badly behaved, on a thread of their own.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use socket2::SockRef;

use crate::Result;

/// A crowd that changes until it is stopped.
pub(crate) struct Churn {
    thread: thread::JoinHandle<Result<Counts, String>>,
    stop: Arc<AtomicBool>,
}

/// What the crowd did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) connections: u64,
    /// Of these, how many saw the head of a stream.
    pub(crate) streams: u64,
}

impl Churn {
    /// Starts the crowd: `per_second` connections, fewer where the server takes longer for them.
    pub(crate) fn start(server: SocketAddr, per_second: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut crowd = Crowd { server, counts: Counts::default(), stuck: VecDeque::new() };
            let start = Instant::now();
            while !stopping.load(Ordering::Relaxed) {
                let number = crowd.counts.connections;
                let manner = MANNERS[number as usize % MANNERS.len()];
                crowd.visit(manner).map_err(|error| format!("{manner:?}: {error}"))?;
                let next = Duration::from_secs(number + 1) / per_second;
                thread::sleep(next.saturating_sub(start.elapsed()));
            }
            Ok(crowd.counts)
        });
        Self { thread, stop }
    }

    /// False when it came to an end by itself, which is a failure that `stop` tells.
    pub(crate) fn goes_on(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Ends all its connections.
    pub(crate) fn stop(self) -> Result<Counts> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.thread.join().map_err(|_| "the crowd panicked")??)
    }
}

/// How a client behaves, and how it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Asks, reads the answer, leaves.
    Asks,
    /// Reads some ticks and leaves without a word.
    Watches,
    /// Leaves a topic with a reset.
    Resets,
    /// Reads some of a compressed stream with an updater, and leaves.
    WatchesCompressed,
    /// Leaves a compressed topic.
    LeavesCompressed,
    /// Sends half a request, then a reset.
    Aborts,
    /// Ends its half of the connection after its request, and reads the response.
    HalfCloses,
    /// Sends something that is not HTTP, and reads the rejection.
    Babbles,
    /// Leaves before it has said anything.
    LooksIn,
    /// Never reads its stream, and leaves much later.
    Sticks,
}

const MANNERS: [Manner; 10] = [
    Manner::Asks,
    Manner::Watches,
    Manner::Resets,
    Manner::WatchesCompressed,
    Manner::LeavesCompressed,
    Manner::Aborts,
    Manner::HalfCloses,
    Manner::Babbles,
    Manner::LooksIn,
    Manner::Sticks,
];

struct Crowd {
    server: SocketAddr,
    counts: Counts,
    stuck: VecDeque<TcpStream>,
}

impl Crowd {
    fn visit(&mut self, manner: Manner) -> io::Result<()> {
        let mut socket = TcpStream::connect(self.server)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        self.counts.connections += 1;
        match manner {
            Manner::Asks => {
                socket.write_all(&get("/hello"))?;
                read_until(&mut socket, b"Hello, World!")?;
            }
            Manner::Watches => {
                socket.write_all(&get("/tick?ms=10"))?;
                read_until(&mut socket, b"\n\n\r\n")?;
                self.counts.streams += 1;
                read_until(&mut socket, b"\n\n\r\n")?;
            }
            Manner::Resets => {
                socket.write_all(&get("/topic"))?;
                read_until(&mut socket, b"\r\n\r\n")?;
                self.counts.streams += 1;
                reset(&socket)?;
            }
            Manner::WatchesCompressed => {
                socket.write_all(&get_compressed("/tick?ms=10"))?;
                read_until(&mut socket, b"\r\n\r\n")?;
                self.counts.streams += 1;
                socket.read_exact(&mut [0; 16])?;
            }
            Manner::LeavesCompressed => {
                socket.write_all(&get_compressed("/topic"))?;
                read_until(&mut socket, b"\r\n\r\n")?;
                self.counts.streams += 1;
            }
            Manner::Aborts => {
                let request = get("/tick");
                socket.write_all(&request[..request.len() / 2])?;
                reset(&socket)?;
            }
            Manner::HalfCloses => {
                socket.write_all(&get("/hello"))?;
                socket.shutdown(Shutdown::Write)?;
                read_until(&mut socket, b"Hello, World!")?;
                read_to_end(&mut socket)?;
            }
            Manner::Babbles => {
                socket.write_all(b"\x16\x03\x01\x02\0 what is this?\r\n\r\n")?;
                read_until(&mut socket, b" 400 ")?;
                read_to_end(&mut socket)?;
            }
            Manner::LooksIn => {}
            Manner::Sticks => {
                socket.write_all(&get("/tick?ms=1&bytes=20000"))?;
                read_until(&mut socket, b"\r\n\r\n")?;
                self.counts.streams += 1;
                self.stuck.push_back(socket);
                if self.stuck.len() > STUCK_MAX {
                    self.stuck.pop_front();
                }
            }
        }
        Ok(())
    }
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

/// In any coding that the server has.
fn get_compressed(path: &str) -> Vec<u8> {
    let encodings = "Accept-Encoding: zstd, br, gzip";
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{encodings}\r\n\r\n").into_bytes()
}

/// Reads a few hundred bytes at a time until `mark` has come.
fn read_until(socket: &mut TcpStream, mark: &[u8]) -> io::Result<()> {
    let (mut read, mut buffer) = (Vec::new(), [0; 512]);
    while !read.windows(mark.len()).any(|window| window == mark) {
        match socket.read(&mut buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => read.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(())
}

/// Fails unless the connection ends in order.
fn read_to_end(socket: &mut TcpStream) -> io::Result<()> {
    while socket.read(&mut [0; 512])? > 0 {}
    Ok(())
}

/// The close that follows will be a reset instead of a FIN.
fn reset(socket: &TcpStream) -> io::Result<()> {
    SockRef::from(socket).set_linger(Some(Duration::ZERO))
}

/// Streams that nobody reads, at a time.
pub(crate) const STUCK_MAX: usize = 20;
const PATIENCE: Duration = Duration::from_secs(20);
