//! Sockets as the engine wants them.

use std::{
    io::{self, IoSlice, Read, Write},
    net::Shutdown,
    os::fd::OwnedFd,
    time::Duration,
};

use mio::{
    Interest, Poll, Registry, Token,
    event::Event,
    event::Source,
    net::{TcpStream, UnixStream},
};
use socket2::{SockRef, TcpKeepalive};

use super::system::{PRIORITY, set_user_timeout};
use crate::{
    engine::{ConnIndex, Engine, Entrance, Opening, Readiness, ShortRead, TcpOptions, Transport},
    http::Peer,
};

/// A connected socket: eight bytes.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream, Writability),
    Unix(UnixStream, Writability),
}

/// Whether the poller reports when the socket takes bytes again.
///
/// Most sockets never refuse any. If the poller reported writability from the start, it would report
/// each new socket once before its request has come: a wake-up for nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Writability {
    #[default]
    NotReported,
    /// The socket has refused bytes.
    ToBeReported,
    /// The reactor has been asked to register it.
    Asked,
    Reported,
}

impl Transport for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream, _) => stream.read(buffer),
            Self::Unix(stream, _) => stream.read(buffer),
        }
    }

    /// On Unix sockets a read ends after bytes that carry descriptors (`SCM_RIGHTS`), and before
    /// those of a sender with other credentials. On TCP it ends before an urgent byte, which Linux
    /// reports as priority.
    fn splits_reads(&self) -> bool {
        match self {
            Self::Tcp(..) => PRIORITY.is_none(),
            Self::Unix(..) => true,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = match self {
            Self::Tcp(stream, _) => stream.write(bytes), // A send of that kind.
            Self::Unix(stream, _) => SockRef::from(&*stream).send_with_flags(bytes, NO_SIGNAL),
        };
        self.offered(bytes.len(), &result);
        result
    }

    /// Neither `writev` nor `write`: a program whose `main` is not Rust's may leave SIGPIPE at its
    /// default, and only a send has a flag that suppresses it.
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let result = self.as_socket().send_vectored_with_flags(slices, NO_SIGNAL);
        self.offered(slices.iter().map(|slice| slice.len()).sum(), &result);
        result
    }

    fn asks_for_writability(&mut self) -> bool {
        let writability = self.writability();
        let asks = *writability == Writability::ToBeReported;
        if asks {
            *writability = Writability::Asked;
        }
        asks
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream, _) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream, _) => stream.shutdown(Shutdown::Write),
        }
    }

    fn send_keep_alive_probes(&mut self, tcp: &TcpOptions) {
        // Peers of Unix sockets do not vanish.
        if let (Self::Tcp(stream, _), Some(idle)) = (self, tcp.keep_alive_idle)
            && let Err(error) = set_keep_alive(&SockRef::from(&*stream), idle, tcp)
        {
            log::debug!("cannot set TCP keep-alive options: {error}");
        }
    }

    fn reset_on_close(&mut self) {
        // Unix sockets have no reset; their peers see an ordinary end.
        if let Self::Tcp(stream, _) = self
            && let Err(error) = SockRef::from(&*stream).set_linger(Some(Duration::ZERO))
        {
            log::debug!("cannot reset a connection: {error}");
        }
    }
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> Self {
        match socket {
            Socket::Tcp(stream, _) => stream.into(),
            Socket::Unix(stream, _) => stream.into(),
        }
    }
}

impl Socket {
    pub(super) fn tcp(stream: TcpStream) -> Self {
        Self::Tcp(stream, Writability::default())
    }

    pub(super) fn unix(stream: UnixStream) -> Self {
        Self::Unix(stream, Writability::default())
    }

    fn as_socket(&self) -> SockRef<'_> {
        match self {
            Self::Tcp(stream, _) => SockRef::from(stream),
            Self::Unix(stream, _) => SockRef::from(stream),
        }
    }

    fn writability(&mut self) -> &mut Writability {
        match self {
            Self::Tcp(_, writability) | Self::Unix(_, writability) => writability,
        }
    }

    /// Notes whether the socket has refused some of the bytes. Whoever has offered them may wait for
    /// the rest without another attempt.
    fn offered(&mut self, bytes: usize, result: &io::Result<usize>) {
        let has_refused = match result {
            Ok(taken) => *taken < bytes,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        let writability = self.writability();
        if has_refused && *writability == Writability::NotReported {
            *writability = Writability::ToBeReported;
        }
    }

    /// Registers for reading: edge-triggered, never re-armed, so a connection whose socket refuses
    /// nothing costs one `epoll_ctl` in its life.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        #[cfg(target_vendor = "apple")]
        self.as_socket().set_nosigpipe(true)?;
        let interest = READING;
        match self {
            Self::Tcp(stream, _) => stream.register(registry, token, interest),
            Self::Unix(stream, _) => stream.register(registry, token, interest),
        }
    }

    /// Registers for writing too, if that was asked for. A poller reports at once what is so already,
    /// so nothing is missed that has happened since the refusal.
    pub(super) fn report_writability(
        &mut self,
        registry: &Registry,
        token: Token,
    ) -> io::Result<()> {
        if *self.writability() != Writability::Asked {
            return Ok(());
        }
        let interest = READING | Interest::WRITABLE;
        match self {
            Self::Tcp(stream, _) => stream.reregister(registry, token, interest)?,
            Self::Unix(stream, _) => stream.reregister(registry, token, interest)?,
        }
        *self.writability() = Writability::Reported;
        Ok(())
    }
}

/// Socket options for event streams over TCP. Connections inherit all of them from their listener.
pub(super) fn set_tcp_options(socket: &SockRef<'_>, tcp: &TcpOptions) -> io::Result<()> {
    // Small events must not wait for the acknowledgement of the previous one.
    socket.set_tcp_nodelay(true)?;
    set_user_timeout(socket, tcp.user_timeout)?;
    // Probes are set per stream; see `TcpOptions`. The option may have been inherited.
    socket.set_keepalive(false)
}

fn set_keep_alive(socket: &SockRef<'_>, idle: Duration, tcp: &TcpOptions) -> io::Result<()> {
    let [idle, interval] = [idle, tcp.keep_alive_interval].map(at_least_a_second);
    let probes = tcp.keep_alive_probes.max(1);
    // With a user timeout, Linux does not count probes: after it, the first one that is not
    // answered within an interval is the last.
    if let Some(user_timeout) = tcp.user_timeout {
        let all_probes = idle.saturating_add(interval.saturating_mul(probes));
        set_user_timeout(socket, Some(user_timeout.max(all_probes)))?;
    }
    let keep_alive = TcpKeepalive::new().with_time(idle);
    #[cfg(not(any(
        target_os = "haiku",
        target_os = "openbsd",
        target_os = "redox",
        target_os = "solaris"
    )))]
    let keep_alive = keep_alive.with_interval(interval).with_retries(probes);
    socket.set_tcp_keepalive(&keep_alive)
}

/// Keep-alive times are in seconds; zero is not allowed.
fn at_least_a_second(time: Duration) -> Duration {
    time.max(Duration::from_secs(1))
}

/// Urgent bytes are reported where the system tells them from others.
const READING: Interest = match PRIORITY {
    Some(priority) => Interest::READABLE.add(priority),
    None => Interest::READABLE,
};
#[cfg(not(target_vendor = "apple"))]
const NO_SIGNAL: i32 = libc::MSG_NOSIGNAL;
/// On these systems, sockets get this option once, in `register`.
#[cfg(target_vendor = "apple")]
const NO_SIGNAL: i32 = 0;

/// Translates a poller event.
pub(super) fn readiness(event: &Event) -> Readiness {
    Readiness {
        readable: event.is_readable() || event.is_read_closed() || event.is_error(),
        // A waiting writer must notice a failure too.
        writable: event.is_writable() || event.is_write_closed() || event.is_error(),
        short_read: match event.is_priority() || event.is_read_closed() || event.is_error() {
            true => ShortRead::MayBeFollowed,
            false => ShortRead::IsLast,
        },
    }
}

/// Registers a new socket with the engine and the poller.
pub(super) fn take(
    engine: &mut Engine<Socket>,
    poll: &Poll,
    socket: Socket,
    peer: Peer,
    opening: Opening,
    entrance: &Entrance,
) -> Option<ConnIndex> {
    let index = engine.accept_through(entrance, socket, peer, opening)?;
    let token = Token(index.token() as usize);
    if let Err(error) = engine.transport(index).register(poll.registry(), token) {
        engine.abandon(index, &error);
        return None;
    }
    Some(index)
}
