//! Many clients on one thread: each holds one open stream.

use std::{
    io::ErrorKind,
    net::SocketAddr,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use mio::{Events, Poll, Token};

use crate::{
    Result,
    client::{Client, Phase},
    wire::Response,
};

pub struct Clients {
    poll: Poll,
    events: Events,
    server: SocketAddr,
    first_address: usize,
    clients: Vec<Client>,
    opening: usize,
    lost: usize,
    received_bytes: u64,
    accept: Accept,
    buffer: Vec<u8>,
}

/// What the clients ask for, and what they see of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    /// Streams as they are, of stamped events.
    Stamps,
    /// Streams in this coding, of events that are counted; the first client keeps its own.
    Coding(&'static str),
}

/// One event as a client saw it; both times are Unix time.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    pub stream: usize,
    pub sent_ns: u64,
    pub arrived_ns: u64,
}

impl Clients {
    pub fn new(server: SocketAddr) -> Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            server,
            first_address: 0,
            clients: Vec::new(),
            opening: 0,
            lost: 0,
            received_bytes: 0,
            accept: Accept::Stamps,
            buffer: vec![0; 64 * 1024],
        })
    }

    #[must_use]
    pub fn accepting(self, accept: Accept) -> Self {
        Self { accept, ..self }
    }

    /// Leaves out the first so many source addresses: other processes come from those.
    #[must_use]
    pub fn from_address(self, first_address: usize) -> Self {
        Self { first_address, ..self }
    }

    /// What the first client was sent; see [`Accept::Coding`].
    pub fn first_body(&self) -> &[u8] {
        self.clients.first().map_or(&[], Client::body)
    }

    /// All that has arrived, heads and framing included.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// Streams that ended although nobody wanted it.
    pub fn lost(&self) -> usize {
        self.lost
    }

    /// Opens `count` more streams on `path` and returns when all their heads have arrived.
    ///
    /// Stream `n` connects `n * spacing` after the first one, later if the server is slow: at
    /// most [`OPENING_MAX`] requests wait for their answer at a time.
    pub fn open(
        &mut self,
        count: usize,
        path: &str,
        spacing: Duration,
        mut on_arrival: impl FnMut(Arrival),
    ) -> Result<()> {
        let accept = match self.accept {
            Accept::Stamps => String::new(),
            Accept::Coding(coding) => format!("Accept-Encoding: {coding}\r\n"),
        };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n{accept}\r\n",
            self.server
        );
        let start = Instant::now();
        let (mut opened, mut progress) = (0_usize, start);
        while opened < count || self.opening > 0 {
            while opened < count
                && self.opening < OPENING_MAX
                && start.elapsed() >= spacing * opened as u32
            {
                self.connect()?;
                opened += 1;
                progress = Instant::now();
            }
            if progress.elapsed() > OPEN_TIMEOUT {
                return Err(format!(
                    "{} of {count} streams got no head from the server",
                    self.opening
                )
                .into());
            }
            // Sleeping would round the spacing up to whole milliseconds.
            let wait = if opened < count { Duration::ZERO } else { Duration::from_millis(10) };
            self.turn(wait, request.as_bytes(), &mut on_arrival)?;
            if self.lost > 0 {
                return Err("the server ended a stream while others were being opened".into());
            }
        }
        Ok(())
    }

    /// Reads what arrives until `end`.
    pub fn run_until(&mut self, end: Instant, mut on_arrival: impl FnMut(Arrival)) -> Result<()> {
        self.run_while(end, |arrival| {
            on_arrival(arrival);
            true
        })
    }

    /// Reads what arrives while `on_arrival` says that there is more to come, until `end`.
    pub fn run_while(
        &mut self,
        end: Instant,
        mut on_arrival: impl FnMut(Arrival) -> bool,
    ) -> Result<()> {
        let mut more = true;
        while more {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.turn(left, b"", &mut |arrival| more &= on_arrival(arrival))?;
        }
        Ok(())
    }

    fn connect(&mut self) -> Result<()> {
        let index = self.clients.len();
        let response = match self.accept {
            Accept::Stamps => Response::default(),
            Accept::Coding(_) if index == 0 => Response::of_kept_chunks(),
            Accept::Coding(_) => Response::of_chunks(),
        };
        let registry = self.poll.registry();
        let address = self.first_address + index;
        let client = Client::connect(address, self.server, registry, Token(index), response)?;
        self.clients.push(client);
        self.opening += 1;
        Ok(())
    }

    fn turn(
        &mut self,
        wait: Duration,
        request: &[u8],
        on_arrival: &mut impl FnMut(Arrival),
    ) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in &self.events {
            let index = event.token().0;
            let client = &mut self.clients[index];
            let before = client.phase;
            if before == Phase::Connecting {
                if !event.is_writable() {
                    continue;
                }
                client.send(request).map_err(|error| format!("stream {index}: {error}"))?;
            }
            self.received_bytes += client
                .read(index, &mut self.buffer, on_arrival)
                .map_err(|error| format!("stream {index}: {error}"))?;
            let opens = matches!(before, Phase::Connecting | Phase::Waiting);
            if opens && matches!(client.phase, Phase::Open | Phase::Lost) {
                self.opening -= 1;
            }
            if before != Phase::Lost && client.phase == Phase::Lost {
                self.lost += 1;
            }
        }
        Ok(())
    }
}

pub fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// Below the listen queue of any server.
const OPENING_MAX: usize = 64;
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
