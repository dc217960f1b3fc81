//! Many clients on one thread: each holds one open stream.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};
use socket2::{Domain, Socket, Type};

use crate::{Result, wire::Response};

pub(crate) struct Clients {
    poll: Poll,
    events: Events,
    server: SocketAddr,
    clients: Vec<Client>,
    opening: usize,
    lost: usize,
    buffer: Vec<u8>,
    accept: Accept,
    received_bytes: u64,
}

/// What the clients ask for, and what they see of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accept {
    /// Streams as they are, of stamped events.
    Stamps,
    /// Streams in this coding, of events that are counted; the first client keeps its own.
    Coding(&'static str),
}

/// One event as a client saw it; both times are Unix time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) stream: usize,
    pub(crate) sent_ns: u64,
    pub(crate) arrived_ns: u64,
}

struct Client {
    socket: TcpStream,
    response: Response,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Waiting,
    Open,
    Lost,
}

impl Clients {
    pub(crate) fn new(server: SocketAddr) -> Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            server,
            clients: Vec::new(),
            opening: 0,
            lost: 0,
            buffer: vec![0; 64 * 1024],
            accept: Accept::Stamps,
            received_bytes: 0,
        })
    }

    pub(crate) fn accepting(self, accept: Accept) -> Self {
        Self { accept, ..self }
    }

    /// Bytes of all responses, framing included.
    pub(crate) fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// What the first client was sent; see [`Accept::Coding`].
    pub(crate) fn first_body(&self) -> &[u8] {
        self.clients.first().map_or(&[], |client| client.response.body())
    }

    /// Streams that ended although nobody wanted it.
    pub(crate) fn lost(&self) -> usize {
        self.lost
    }

    /// Opens `count` more streams on `path` and returns when all their heads have arrived.
    ///
    /// Stream `n` connects `n * spacing` after the first one, later if the server is slow: at
    /// most [`OPENING_MAX`] requests wait for their answer at a time.
    pub(crate) fn open(
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
    pub(crate) fn run_until(
        &mut self,
        end: Instant,
        mut on_arrival: impl FnMut(Arrival),
    ) -> Result<()> {
        self.run_while(end, |arrival| {
            on_arrival(arrival);
            true
        })
    }

    /// Reads what arrives while `on_arrival` says that there is more to come, until `end`.
    pub(crate) fn run_while(
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
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None)?;
        socket.bind(&SocketAddr::V4(SocketAddrV4::new(source_address(index), 0)).into())?;
        match socket.connect(&self.server.into()) {
            Err(error)
                if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) =>
            {
                return Err(format!("connecting stream {index}: {error}").into());
            }
            _ => {}
        }
        let mut socket = TcpStream::from_std(socket.into());
        self.poll.registry().register(
            &mut socket,
            Token(index),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        let response = match self.accept {
            Accept::Stamps => Response::new(),
            Accept::Coding(_) if index == 0 => Response::of_kept_chunks(),
            Accept::Coding(_) => Response::of_chunks(),
        };
        self.clients.push(Client { socket, response, phase: Phase::Connecting });
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

impl Client {
    /// The request is far smaller than the buffer of a new socket, so it goes in one write.
    fn send(&mut self, request: &[u8]) -> Result<()> {
        if let Some(error) = self.socket.take_error()? {
            return Err(error.into());
        }
        if self.socket.write(request)? < request.len() {
            return Err("the request was not taken whole".into());
        }
        self.phase = Phase::Waiting;
        Ok(())
    }

    /// Returns how many bytes there were.
    fn read(
        &mut self,
        stream: usize,
        buffer: &mut [u8],
        on_arrival: &mut impl FnMut(Arrival),
    ) -> Result<u64> {
        let mut received_bytes = 0;
        while self.phase != Phase::Lost {
            match self.socket.read(buffer) {
                Ok(0) if self.phase == Phase::Waiting => {
                    return Err("closed without an answer".into());
                }
                Ok(0) => self.phase = Phase::Lost,
                Ok(length) => {
                    received_bytes += length as u64;
                    let arrived_ns = unix_ns();
                    self.response
                        .feed(&buffer[..length], |sent_ns| {
                            on_arrival(Arrival { stream, sent_ns, arrived_ns })
                        })
                        .map_err(|error| format!("unexpected answer: {error:?}"))?;
                    self.phase = match &self.response {
                        response if response.has_ended() => Phase::Lost,
                        response if response.has_head() => Phase::Open,
                        _ => self.phase,
                    };
                    // epoll raises a new edge for bytes that come after a short read.
                    if length < buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.phase = Phase::Lost,
            }
        }
        Ok(received_bytes)
    }
}

pub(crate) fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// Each stream comes from an address of its own, as real clients do: no pair of addresses runs
/// out of ports, and a cap per address is not in the way.
fn source_address(stream: usize) -> Ipv4Addr {
    let octet = |divisor: usize| (stream / divisor % 250) as u8;
    Ipv4Addr::new(127, 10 + octet(62_500), octet(250), 1 + octet(1))
}

/// Below the listen queue of any server.
const OPENING_MAX: usize = 64;
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
