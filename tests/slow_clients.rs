//! A thousand subscribers over real sockets, some of which never read, while 50 MB are published. A
//! separate program, because it measures the memory of the complete process.
#![cfg(target_os = "linux")]

#[path = "support/client.rs"]
mod client;
#[path = "support/server.rs"]
mod server;

use std::{
    fs,
    io::{ErrorKind, Read},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use server::Server;
use socket2::{Domain, Socket, Type};
use starwheel::{CloseReason, Handle, KeepAlive, Reactor, Router, Sse, Topic, TrySendError};

const SUBSCRIBERS: usize = 1_000;
const STUCK: usize = 20;
const EVENT_BYTES: usize = 16 * 1024;
const EVENTS: usize = 50 * 1024 * 1024 / EVENT_BYTES;
/// The publisher is at most two blocks ahead of the slowest reader: half of the log.
const EVENTS_PER_BLOCK: usize = 16;
const LOG_BYTES: usize = 1024 * 1024;
const OUTBOX_BYTES: usize = 256 * 1024;
/// Kernel buffer for each connection in each direction, small so that it does not affect the
/// result.
const SOCKET_BUFFER_BYTES: usize = 64 * 1024;
/// After this the test has failed; it is no measure of speed.
const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn clients_that_never_read_use_bounded_memory_and_delay_no_others() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();

    let topic = Topic::new("t").log(usize::MAX, LOG_BYTES);
    let cut = Arc::new(AtomicUsize::new(0));
    let server = serving(&topic, &cut);
    let reference = Arc::new(Reference::new());
    let progress = Arc::new(Progress::new(thread::current()));
    let mut stuck: Vec<_> = (0..STUCK).map(|_| connect(server.address)).collect();
    let readers: Vec<_> = (STUCK..SUBSCRIBERS).map(|_| connect(server.address)).collect();
    server.wait_for("all are there", |stats| stats.streams == SUBSCRIBERS as u64);
    let reading = {
        let (reference, progress) = (Arc::clone(&reference), Arc::clone(&progress));
        thread::spawn(move || read_everything(readers, &reference, &progress))
    };

    let mut memory_bytes = Vec::new();
    for block in 0..EVENTS / EVENTS_PER_BLOCK {
        for number in block * EVENTS_PER_BLOCK..(block + 1) * EVENTS_PER_BLOCK {
            publish(&server.handle, &topic, reference.event(number));
        }
        progress.wait_for_blocks(block, &reading);
        // Before the first block is read, some permanent buffers have not been allocated.
        if block > 0 {
            memory_bytes.push(private_bytes());
        }
    }
    progress.wait_for_blocks(EVENTS / EVENTS_PER_BLOCK, &reading);

    // The last pass may still be running over subscribers without news.
    server.wait_for("the log is let go of", |stats| stats.log_bytes == 0);
    let stats = server.stats();
    assert_eq!(cut.load(Ordering::Relaxed), STUCK, "closed as slow");
    assert_eq!((stats.closed.slow, stats.closed.total()), (STUCK as u64, STUCK as u64));
    assert_eq!(stats.passed_by, STUCK as u64);
    assert_eq!(stats.streams, (SUBSCRIBERS - STUCK) as u64);
    assert_eq!(stats.published, EVENTS as u64);
    server.handle.shutdown();
    reading.join().unwrap();
    for stuck in &mut stuck {
        reference.assert_begins(&rest_of(stuck));
    }

    let growth = memory_bytes.iter().max().unwrap() - memory_bytes[0];
    let bound = LOG_BYTES + STUCK * OUTBOX_BYTES;
    eprintln!("memory grew by {} KiB of {} KiB", growth / 1024, bound / 1024);
    // The address sanitizer keeps freed memory.
    let is_sanitized = std::env::var_os("ASAN_OPTIONS").is_some();
    assert!(is_sanitized || growth <= bound, "{growth} of {bound} bytes");
}

/// Every stream has the topic; `cut` counts those closed as too slow.
fn serving(topic: &Topic, cut: &Arc<AtomicUsize>) -> Server {
    let (topic, cut) = (topic.clone(), Arc::clone(cut));
    Server::start(move || {
        let router = Router::new().get("/", move |_, _| {
            let cut = Arc::clone(&cut);
            let sse = Sse::new().subscribe(&topic).keep_alive(KeepAlive::Off);
            sse.on_disconnect(move |_, _, reason| {
                let is_slow = matches!(reason, CloseReason::Slow);
                cut.fetch_add(usize::from(is_slow), Ordering::Relaxed);
            })
        });
        let mut reactor = Reactor::new(router).unwrap();
        let listener = listener();
        let address = listener.local_addr().unwrap();
        reactor.listen_on(listener).unwrap();
        (reactor, address)
    })
}

/// A listener whose connections have small buffers.
fn listener() -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(1024).unwrap();
    socket.into()
}

/// A client with small buffers that has requested the stream.
fn connect(address: SocketAddr) -> std::net::TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut socket = std::net::TcpStream::from(socket);
    std::io::Write::write_all(&mut socket, client::get("/").as_bytes()).unwrap();
    socket
}

/// Waits for room in the queue.
fn publish(handle: &Handle, topic: &Topic, event: &str) {
    let start = Instant::now();
    let mut event = event;
    while let Err(TrySendError::Full(back)) = handle.publish(topic, event) {
        assert!(start.elapsed() < PATIENCE, "the queue stays full");
        event = back;
        thread::yield_now();
    }
}

/// What every client must get, to the byte.
struct Reference {
    bytes: Vec<u8>,
    frame_bytes: usize,
}

impl Reference {
    fn new() -> Self {
        let filler = "x".repeat(EVENT_BYTES - 9);
        let frame = |number| {
            let event = format!("data: {number:08} {filler}\n\n");
            format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()
        };
        let frame_bytes = frame(0).len();
        Self { bytes: (0..EVENTS).flat_map(frame).collect(), frame_bytes }
    }

    /// The data of an event.
    fn event(&self, number: usize) -> &str {
        let frame = &self.bytes[number * self.frame_bytes..(number + 1) * self.frame_bytes];
        let data = &frame[frame.len() - EVENT_BYTES - 4..frame.len() - 4];
        std::str::from_utf8(data).unwrap()
    }

    fn blocks(&self, bytes: usize) -> usize {
        bytes / (self.frame_bytes * EVENTS_PER_BLOCK)
    }

    /// The head of an answer, then the stream up to somewhere.
    fn assert_begins(&self, received: &[u8]) {
        let head = end_of_head(received).expect("a head");
        assert!(self.bytes.starts_with(&received[head..]), "something else was sent");
    }
}

/// Number of clients that have read each block; the publisher waits for the slowest.
struct Progress {
    readers_of_block: Vec<AtomicUsize>,
    publisher: Thread,
}

impl Progress {
    fn new(publisher: Thread) -> Self {
        let readers_of_block = (0..EVENTS / EVENTS_PER_BLOCK).map(|_| AtomicUsize::new(0));
        Self { readers_of_block: readers_of_block.collect(), publisher }
    }

    fn has_read(&self, block: usize) {
        let readers = self.readers_of_block[block].fetch_add(1, Ordering::Release) + 1;
        if readers == SUBSCRIBERS - STUCK {
            self.publisher.unpark();
        }
    }

    /// Waits until all readers have read this many blocks.
    fn wait_for_blocks(&self, blocks: usize, reading: &thread::JoinHandle<()>) {
        let Some(last) = blocks.checked_sub(1) else { return };
        let start = Instant::now();
        while self.readers_of_block[last].load(Ordering::Acquire) < SUBSCRIBERS - STUCK {
            assert!(
                start.elapsed() < PATIENCE && !reading.is_finished(),
                "block {last} is missing"
            );
            thread::park_timeout(Duration::from_secs(1));
        }
    }
}

/// A reading client.
struct Reader {
    socket: TcpStream,
    head: Vec<u8>,
    is_past_head: bool,
    read_bytes: usize,
}

/// Reads all streams to their ends and compares every byte.
fn read_everything(sockets: Vec<std::net::TcpStream>, reference: &Reference, progress: &Progress) {
    let mut poll = Poll::new().unwrap();
    let mut readers: Vec<_> = sockets
        .into_iter()
        .map(|socket| {
            socket.set_nonblocking(true).unwrap();
            let socket = TcpStream::from_std(socket);
            Reader { socket, head: Vec::new(), is_past_head: false, read_bytes: 0 }
        })
        .collect();
    for (number, reader) in readers.iter_mut().enumerate() {
        let registry = poll.registry();
        registry.register(&mut reader.socket, Token(number), Interest::READABLE).unwrap();
    }
    let (mut events, mut open) = (Events::with_capacity(1024), readers.len());
    let mut buffer = vec![0; SOCKET_BUFFER_BYTES];
    while open > 0 {
        poll.poll(&mut events, Some(PATIENCE)).unwrap();
        assert!(!events.is_empty(), "nothing arrived");
        for event in &events {
            let reader = &mut readers[event.token().0];
            if reader.read(&mut buffer, reference, progress) == Took::End {
                // A FIN that came while the bytes before it were read has an event of its own.
                poll.registry().deregister(&mut reader.socket).unwrap();
                open -= 1;
            }
        }
    }
    for reader in readers {
        assert_eq!(reader.read_bytes, reference.bytes.len(), "every event, to the last");
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Took {
    More,
    End,
}

impl Reader {
    fn read(&mut self, buffer: &mut [u8], reference: &Reference, progress: &Progress) -> Took {
        loop {
            match self.socket.read(buffer) {
                Ok(0) => return Took::End,
                Ok(count) => self.take(&buffer[..count], reference, progress),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Took::More,
                Err(error) => panic!("lost at {} bytes: {error}", self.read_bytes),
            }
        }
    }

    fn take(&mut self, mut bytes: &[u8], reference: &Reference, progress: &Progress) {
        if !self.is_past_head {
            self.head.extend_from_slice(bytes);
            let Some(end) = end_of_head(&self.head) else { return };
            self.is_past_head = true;
            bytes = &bytes[bytes.len() - (self.head.len() - end)..];
            self.head = Vec::new();
        }
        let expected = &reference.bytes[self.read_bytes..];
        assert!(expected.starts_with(bytes), "unexpected bytes after {}", self.read_bytes);
        let blocks_before = reference.blocks(self.read_bytes);
        self.read_bytes += bytes.len();
        for block in blocks_before..reference.blocks(self.read_bytes) {
            progress.has_read(block);
        }
    }
}

/// Where the head ends, and the comment that comes with it.
fn end_of_head(received: &[u8]) -> Option<usize> {
    let end = b"\r\n\r\n2\r\n:\n\r\n";
    Some(received.windows(end.len()).position(|window| window == end)? + end.len())
}

/// Bytes that the kernel still holds for a client that never read.
fn rest_of(socket: &mut std::net::TcpStream) -> Vec<u8> {
    let (mut received, mut buffer) = (Vec::new(), vec![0; SOCKET_BUFFER_BYTES]);
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => panic!("an orderly end would pass for a whole stream"),
            Ok(count) => received.extend_from_slice(&buffer[..count]),
            Err(error) => {
                assert!(client::is_reset(&error), "{error}");
                return received;
            }
        }
    }
}

/// Memory that this process alone has written to.
fn private_bytes() -> usize {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = rollup.lines().find(|line| line.starts_with("Private_Dirty:")).unwrap();
    let kibibytes = line.split_whitespace().nth(1).unwrap();
    kibibytes.parse::<usize>().unwrap() * 1024
}
