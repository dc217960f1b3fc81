//! The clients: one thread with very many sockets, which do what the server's orders say.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::SocketAddr,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, event::Event, net::TcpStream};
use socket2::SockRef;

/// Ends when the server has ended.
pub(crate) fn run(server: SocketAddr, stars: usize) -> io::Result<()> {
    starwheel::raise_descriptor_limit()?;
    let mut crowd = Crowd::new(server, stars)?;
    let mut events = Events::with_capacity(1_024);
    while !crowd.is_over() {
        crowd.poll.poll(&mut events, Some(PAUSE)).or_else(ignore_interrupts)?;
        for event in &events {
            crowd.ready(event);
        }
        crowd.connect_some();
        crowd.wake_sleepers();
    }
    Ok(())
}

struct Crowd {
    server: SocketAddr,
    poll: Poll,
    /// One per star, and after them the one that hears orders.
    clients: Vec<Client>,
    /// Clients that do not read, and until when.
    asleep: (usize, usize, Instant),
    scratch: Vec<u8>,
    order: Vec<u8>,
    refused: u32,
    turn: usize,
}

enum Client {
    /// It comes back then.
    Away(Instant),
    Connecting(TcpStream),
    Reading(TcpStream),
}

impl Crowd {
    fn new(server: SocketAddr, stars: usize) -> io::Result<Self> {
        let now = Instant::now();
        Ok(Self {
            server,
            poll: Poll::new()?,
            clients: (0..=stars).map(|_| Client::Away(now)).collect(),
            asleep: (0, 0, now),
            scratch: vec![0; 64 * 1024],
            order: Vec::new(),
            refused: 0,
            turn: 0,
        })
    }

    /// Nobody has listened for a while.
    fn is_over(&self) -> bool {
        self.refused > 50
    }

    /// Connects clients that are due; not too many at once for the queue of the listener. They come in
    /// an order that looks like none.
    fn connect_some(&mut self) {
        let (now, count) = (Instant::now(), self.clients.len());
        let mut left = CONNECTS_PER_PAUSE;
        for _ in 0..count {
            self.turn = (self.turn + STRIDE) % count;
            let client = self.turn;
            if matches!(self.clients[client], Client::Away(due) if due <= now) {
                self.connect(client);
                left -= 1;
                if left == 0 {
                    return;
                }
            }
        }
    }

    fn connect(&mut self, client: usize) {
        let opened = TcpStream::connect(self.server).and_then(|mut socket| {
            // Small, so that a client which does not read is soon noticed.
            SockRef::from(&socket).set_recv_buffer_size(4_096)?;
            self.poll.registry().register(&mut socket, Token(client), Interest::WRITABLE)?;
            Ok(socket)
        });
        self.clients[client] = match opened {
            Ok(socket) => Client::Connecting(socket),
            Err(_) => Client::Away(Instant::now() + RETRY),
        };
    }

    fn ready(&mut self, event: &Event) {
        let Token(client) = event.token();
        let (stars, is_asleep) = (self.clients.len() - 1, self.is_asleep(client));
        let result = match &mut self.clients[client] {
            Client::Away(_) => Ok(()),
            Client::Connecting(socket) if event.is_writable() => {
                let path =
                    if client == stars { "/orders".into() } else { format!("/star/{client}") };
                let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.server);
                let result = ask(socket, &request).and_then(|()| {
                    self.poll.registry().reregister(socket, Token(client), Interest::READABLE)
                });
                if result.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
                {
                    self.refused += 1;
                }
                result.map(|()| self.begin_reading(client))
            }
            Client::Connecting(_) => Ok(()),
            Client::Reading(_) if is_asleep => Ok(()),
            Client::Reading(_) => self.read(client),
        };
        if result.is_err() {
            self.clients[client] = Client::Away(Instant::now() + RETRY);
        }
    }

    fn begin_reading(&mut self, client: usize) {
        self.refused = 0;
        let former = std::mem::replace(&mut self.clients[client], Client::Away(Instant::now()));
        if let Client::Connecting(socket) = former {
            self.clients[client] = Client::Reading(socket);
        }
    }

    fn read(&mut self, client: usize) -> io::Result<()> {
        let hears_orders = client + 1 == self.clients.len();
        let Client::Reading(socket) = &mut self.clients[client] else { return Ok(()) };
        loop {
            match socket.read(&mut self.scratch) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) if hears_orders => {
                    self.order.extend_from_slice(&self.scratch[..count]);
                    self.obey();
                    return Ok(());
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Does what complete lines `data: WHAT FROM TO` say.
    fn obey(&mut self) {
        while let Some(end) = self.order.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.order.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let words: Vec<_> = line.trim_end().split(' ').collect();
            let ["data:", what, from, to] = words[..] else { continue };
            let (Ok(from), Ok(to)) = (from.parse(), to.parse()) else { continue };
            match what {
                "kill" => self.leave(from, to, AWAY),
                "storm" => self.leave(from, to, Duration::ZERO),
                "stall" => self.asleep = (from, to, Instant::now() + STALL),
                _ => {}
            }
        }
    }

    /// These clients are gone, without a farewell.
    fn leave(&mut self, from: usize, to: usize, away: Duration) {
        let stars = self.clients.len() - 1;
        for client in &mut self.clients[from.min(stars)..to.min(stars)] {
            if let Client::Connecting(socket) | Client::Reading(socket) = client {
                _ = SockRef::from(&*socket).set_linger(Some(Duration::ZERO));
            }
            *client = Client::Away(Instant::now() + away);
        }
    }

    fn is_asleep(&self, client: usize) -> bool {
        let (from, to, until) = self.asleep;
        (from..to).contains(&client) && Instant::now() < until
    }

    /// What has come while they slept is reported once, so they read it now.
    fn wake_sleepers(&mut self) {
        let (from, to, until) = self.asleep;
        if from < to && until <= Instant::now() {
            self.asleep = (0, 0, until);
            for client in from..to {
                if self.read(client).is_err() {
                    self.clients[client] = Client::Away(Instant::now() + RETRY);
                }
            }
        }
    }
}

fn ask(socket: &mut TcpStream, request: &str) -> io::Result<()> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    // A new socket has room for it.
    socket.write_all(request.as_bytes())
}

fn ignore_interrupts(error: io::Error) -> io::Result<()> {
    if error.kind() == ErrorKind::Interrupted { Ok(()) } else { Err(error) }
}

const PAUSE: Duration = Duration::from_millis(20);
const CONNECTS_PER_PAUSE: usize = 200;
/// A prime number, so that every client has its turn.
const STRIDE: usize = 7_919;
const RETRY: Duration = Duration::from_millis(200);
/// After they were killed.
const AWAY: Duration = Duration::from_secs(4);
/// As long as the server floods them.
const STALL: Duration = Duration::from_secs(10);
