//! [`Socket`]: a connection of the poller, which carries the bytes of an [`Exchange`].

use std::{
    io::{self, Read, Write},
    time::Instant,
};

use mio::{
    Interest, Registry, Token,
    event::Event,
    net::{TcpStream, UnixStream},
};
use socket2::SockRef;

use super::{
    Down,
    exchange::Exchange,
    route::Place,
    tls::{Session, TlsClient},
};

/// A non-blocking socket, registered once and edge-triggered, for both directions.
#[derive(Debug)]
pub(super) struct Socket {
    token: Token,
    place: Place,
    stream: Stream,
    tls: Option<Box<Session>>,
    is_connected: bool,
    is_readable: bool,
    is_writable: bool,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Begins to connect.
    pub(super) fn open(
        place: &Place,
        tls: Option<&TlsClient>,
        registry: &Registry,
        token: Token,
    ) -> Result<Self, Down> {
        let unreachable = |error| Down::Unreachable(format!("{place}: {error}"));
        let mut stream = match place {
            Place::Tcp { address, .. } => TcpStream::connect(*address).map(Stream::Tcp),
            Place::Unix(path) => UnixStream::connect(path).map(Stream::Unix),
        }
        .map_err(unreachable)?;
        let tls = match (tls, place) {
            (Some(tls), Place::Tcp { host, .. }) => Some(Box::new(tls.session(host)?)),
            _ => None,
        };
        stream.register(registry, token).map_err(unreachable)?;
        let (is_connected, is_readable, is_writable) = (false, false, false);
        let place = place.clone();
        Ok(Self { token, place, stream, tls, is_connected, is_readable, is_writable })
    }

    /// Takes an event of the poller, if it is for this socket.
    pub(super) fn note(&mut self, event: &Event) {
        if event.token() == self.token {
            // Failures are met by reading and writing.
            self.is_readable |= event.is_readable() || event.is_read_closed() || event.is_error();
            self.is_writable |= event.is_writable() || event.is_write_closed() || event.is_error();
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.is_connected
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// There is more to read than was read.
    pub(super) fn is_readable(&self) -> bool {
        self.is_connected && self.is_readable
    }

    /// Reads until nothing is left, or a megabyte. What has come before a failure is in the exchange.
    ///
    /// # Errors
    /// The connection has ended.
    pub(super) fn receive<T>(
        &mut self,
        exchange: &mut Exchange<T>,
        buffer: &mut [u8],
        now: Instant,
    ) -> Result<(), Down> {
        self.finish_connecting()?;
        let mut left = READ_PER_TURN;
        while self.is_readable() && left > 0 {
            match self.read(buffer) {
                Ok(0) => return Err(Down::Closed("the server has closed it".into())),
                Ok(count) => {
                    exchange.receive(&buffer[..count], now);
                    left = left.saturating_sub(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.is_readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failure(&error)),
            }
        }
        Ok(())
    }

    /// Writes as much as the system takes.
    ///
    /// # Errors
    /// The connection has ended.
    pub(super) fn send<T>(&mut self, exchange: &mut Exchange<T>, now: Instant) -> Result<(), Down> {
        while self.is_connected && self.is_writable {
            let bytes = exchange.unsent();
            let written = match &mut self.tls {
                // What TLS answers by itself must leave too.
                Some(session) => session.write(&mut self.stream, bytes),
                None if bytes.is_empty() => return Ok(()),
                None => self.stream.write(bytes),
            };
            match written {
                Ok(0) => return Ok(()),
                Ok(count) => exchange.note_sent(count, now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.is_writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failure(&error)),
            }
        }
        Ok(())
    }

    /// Non-blocking connects report their outcome as writable.
    fn finish_connecting(&mut self) -> Result<(), Down> {
        if self.is_connected || !self.is_writable {
            return Ok(());
        }
        let outcome = self.stream.take_error().and_then(|error| error.map_or(Ok(()), Err));
        match outcome.and_then(|()| self.stream.set_up()) {
            Ok(()) => self.is_connected = true,
            Err(error) if error.kind() == io::ErrorKind::NotConnected => self.is_writable = false,
            Err(error) => return Err(Down::Unreachable(format!("{}: {error}", self.place))),
        }
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(session) => session.read(&mut self.stream, buffer),
            None => self.stream.read(buffer),
        }
    }

    fn failure(&self, error: &io::Error) -> Down {
        match error.kind() {
            // What rustls reports.
            io::ErrorKind::InvalidData => Down::Tls(error.to_string()),
            _ => Down::Closed(error.to_string()),
        }
    }
}

impl Stream {
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        #[cfg(target_vendor = "apple")]
        self.as_socket().set_nosigpipe(true)?;
        match self {
            Self::Tcp(stream) => registry.register(stream, token, interest),
            Self::Unix(stream) => registry.register(stream, token, interest),
        }
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        match self {
            Self::Tcp(stream) => stream.take_error(),
            Self::Unix(stream) => stream.take_error(),
        }
    }

    /// Fails with `NotConnected` while it is being connected.
    fn set_up(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                stream.peer_addr()?;
                stream.set_nodelay(true)
            }
            Self::Unix(stream) => stream.peer_addr().map(drop),
        }
    }

    fn as_socket(&self) -> SockRef<'_> {
        match self {
            Self::Tcp(stream) => SockRef::from(stream),
            Self::Unix(stream) => SockRef::from(stream),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    /// A `write` to a Unix socket could raise SIGPIPE.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.as_socket().send_with_flags(bytes, NO_SIGNAL)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(not(target_vendor = "apple"))]
const NO_SIGNAL: i32 = libc::MSG_NOSIGNAL;
/// On these systems, sockets get this option once, in `register`.
#[cfg(target_vendor = "apple")]
const NO_SIGNAL: i32 = 0;

/// Between two reads of this size, replies are handed out.
const READ_PER_TURN: usize = 1 << 20;
