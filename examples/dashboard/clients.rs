//! Clients: they read, come and go, ask for what is refused, and some do not read at all.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

/// Begins with so many clients. They end with the process.
pub(crate) fn start(server: SocketAddr, count: usize) {
    thread::spawn(move || Crowd::new(server, count).run());
}

struct Crowd {
    server: SocketAddr,
    /// Where each of them is, and until when.
    clients: Vec<Option<(TcpStream, Instant)>>,
    dice: u64,
}

impl Crowd {
    fn new(server: SocketAddr, count: usize) -> Self {
        Self { server, clients: (0..count).map(|_| None).collect(), dice: 0x5EED }
    }

    fn run(mut self) {
        let mut scratch = vec![0; 64 * 1024];
        let mut rounds = 0;
        loop {
            for number in 0..self.clients.len() {
                self.visit(number, &mut scratch);
            }
            rounds += 1;
            if rounds % 200 == 0 {
                // Refused, and the connection is closed.
                drop(self.request("/report"));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// A client reads, leaves, or comes back.
    fn visit(&mut self, number: usize, scratch: &mut [u8]) {
        let now = Instant::now();
        let target = TARGETS[number % TARGETS.len()];
        match &mut self.clients[number] {
            Some((_, until)) if *until <= now => self.clients[number] = None,
            Some(_) if target.starts_with("/video") => {}
            Some((stream, _)) => match stream.read(scratch) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Ok(1..) => {}
                Ok(0) | Err(_) => self.clients[number] = None,
            },
            None => {
                let stay = Duration::from_millis(20_000 + self.roll() % 100_000);
                self.clients[number] = self.request(target).map(|stream| (stream, now + stay));
            }
        }
    }

    fn request(&self, target: &str) -> Option<TcpStream> {
        let mut stream = TcpStream::connect(self.server).ok()?;
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\nAccept-Encoding: zstd\r\n\r\n",
            self.server
        );
        stream.write_all(head.as_bytes()).ok()?;
        stream.set_nonblocking(true).ok()?;
        Some(stream)
    }

    /// Xorshift.
    fn roll(&mut self) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice
    }
}

/// In turn.
const TARGETS: [&str; 12] = [
    "/prices",
    "/news",
    "/prices",
    "/rooms/garden",
    "/prices",
    "/news",
    "/rooms/kitchen",
    "/prices",
    "/video?user=anna",
    "/prices",
    "/news",
    "/rooms/attic",
];
