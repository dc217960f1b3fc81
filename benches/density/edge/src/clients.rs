//! Many clients on one thread, with or without TLS: each holds one open stream.

use std::{
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Registry, Token, net::TcpStream};
use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};
use starwheel_load::{
    clients::{Arrival, unix_ns},
    connect_from,
    wire::Response,
};

use crate::{Result, certificate};

/// Where clients connect to, and how.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// Without it, they speak plain HTTP.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

pub(crate) struct Clients {
    poll: Poll,
    events: Events,
    target: Target,
    clients: Vec<Client>,
    opening: usize,
    buffer: Vec<u8>,
}

/// One connection, which asks for one path.
pub(crate) struct Client {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    request: Vec<u8>,
    response: Response,
}

impl Clients {
    pub(crate) fn new(target: &Target) -> Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            target: target.clone(),
            clients: Vec::new(),
            opening: 0,
            buffer: vec![0; 64 * 1024],
        })
    }

    /// Opens `count` more streams on `path`, at most [`OPENING_MAX`] at a time, and returns when all
    /// their heads have arrived. Stream `n` connects `n * spacing` after the first, or later.
    pub(crate) fn open(&mut self, count: usize, path: &str, spacing: Duration) -> Result<()> {
        let (start, mut opened) = (Instant::now(), 0);
        let mut progress = start;
        while opened < count || self.opening > 0 {
            while opened < count
                && self.opening < OPENING_MAX
                && start.elapsed() >= spacing * u32::try_from(opened)?
            {
                let index = self.clients.len();
                let mut client = Client::connect(&self.target, index, path)?;
                client.register(self.poll.registry(), Token(index))?;
                self.clients.push(client);
                self.opening += 1;
                opened += 1;
                progress = Instant::now();
            }
            if progress.elapsed() > OPEN_TIMEOUT {
                return Err(format!("{} of {count} streams have no head", self.opening).into());
            }
            // Sleeping would round the spacing up to whole milliseconds.
            let wait = if opened < count { Duration::ZERO } else { Duration::from_millis(10) };
            self.turn(wait, &mut |_| {})?;
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
            self.turn(left, &mut |arrival| more &= on_arrival(arrival))?;
        }
        Ok(())
    }

    fn turn(&mut self, wait: Duration, on_arrival: &mut impl FnMut(Arrival)) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in &self.events {
            let stream = event.token().0;
            let client = &mut self.clients[stream];
            let was_open = client.is_open();
            client
                .progress(&mut self.buffer, &mut |sent_ns| {
                    on_arrival(Arrival { stream, sent_ns, arrived_ns: unix_ns() });
                })
                .map_err(|error| format!("stream {stream}: {error}"))?;
            self.opening -= usize::from(!was_open && client.is_open());
        }
        Ok(())
    }
}

impl Client {
    /// Begins to connect, from the source address with this number. Over TLS, the first flight is
    /// made here.
    pub(crate) fn connect(target: &Target, address: usize, path: &str) -> Result<Self> {
        let name = certificate::NAME;
        let mut request =
            format!("GET {path} HTTP/1.1\r\nHost: {name}\r\nAccept: text/event-stream\r\n\r\n")
                .into_bytes();
        let tls = match &target.tls {
            None => None,
            Some(config) => {
                let name = ServerName::try_from(name)?;
                let mut tls = Box::new(ClientConnection::new(Arc::clone(config), name)?);
                tls.writer().write_all(&request)?;
                request.clear();
                Some(tls)
            }
        };
        let socket = connect_from(address, target.address)?;
        Ok(Self { socket, tls, request, response: Response::default() })
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        Ok(registry.register(&mut self.socket, token, interest)?)
    }

    /// True if the connection stands.
    pub(crate) fn is_connected(&self) -> Result<bool> {
        if let Some(error) = self.socket.take_error()? {
            return Err(error.into());
        }
        Ok(self.socket.peer_addr().is_ok())
    }

    /// True once the response head has arrived.
    pub(crate) fn is_open(&self) -> bool {
        self.response.has_head()
    }

    /// Writes and reads as much as is possible, and calls `on_event` with the stamp of each event.
    pub(crate) fn progress(
        &mut self,
        buffer: &mut [u8],
        on_event: &mut impl FnMut(u64),
    ) -> Result<()> {
        if !self.is_open() && !self.is_connected()? {
            return Ok(());
        }
        self.write()?;
        loop {
            match self.socket_read(buffer)? {
                Some(0) => return Err("the server ended the stream".into()),
                Some(length) => self
                    .response
                    .feed(&buffer[..length], &mut *on_event)
                    .map_err(|error| format!("unexpected response: {error:?}"))?,
                None => break,
            }
        }
        self.write()
    }

    /// Plaintext; `None` if there is no more for now.
    fn socket_read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>> {
        let Some(tls) = &mut self.tls else { return unless_blocked(self.socket.read(buffer)) };
        loop {
            if let Some(length) = unless_blocked(tls.reader().read(buffer))? {
                return Ok(Some(length));
            }
            match unless_blocked(tls.read_tls(&mut self.socket))? {
                None => return Ok(None),
                Some(0) => return Ok(Some(0)),
                Some(_) => _ = tls.process_new_packets()?,
            }
        }
    }

    fn write(&mut self) -> Result<()> {
        match &mut self.tls {
            Some(tls) => {
                while tls.wants_write()
                    && unless_blocked(tls.write_tls(&mut self.socket))?.is_some()
                {}
            }
            // It is far smaller than the buffer of a new socket.
            None if !self.request.is_empty() => {
                self.socket.write_all(&std::mem::take(&mut self.request))?;
            }
            None => {}
        }
        Ok(())
    }
}

fn unless_blocked(result: std::io::Result<usize>) -> Result<Option<usize>> {
    match result {
        Ok(length) => Ok(Some(length)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Below the accept backlog of any server.
const OPENING_MAX: usize = 64;
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
