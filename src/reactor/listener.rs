//! Listening sockets, and accepting in slices.

#[cfg(feature = "tls")]
use std::sync::Arc;
use std::{
    io::{self, ErrorKind},
    mem,
    net::{self, SocketAddr},
    os::unix::net as unix,
};

use mio::{
    Interest, Registry, Token,
    event::Source,
    net::{TcpListener, UnixListener},
};
use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, Type};

use super::{
    listen_options::ReusePort,
    socket::{Socket, set_tcp_options},
    system::ACCEPT_LOSSES,
};
#[cfg(feature = "tls")]
use crate::tls::{TlsConfig, TlsListener, TlsListeners};
use crate::{
    engine::{Entrance, Opening, TcpOptions},
    http::{Peer, TrustedPeers},
};

/// A bound socket that was opened elsewhere, for [`Reactor::listen_on`](crate::Reactor::listen_on):
/// a descriptor from systemd, say, or a Unix socket.
///
/// ```
/// use starwheel::Listener;
/// let listener = Listener::from(std::net::TcpListener::bind("127.0.0.1:0")?);
/// # let _ = listener;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Listener {
    /// TCP over IPv4 or IPv6.
    Tcp(net::TcpListener),
    /// A Unix domain socket of type stream.
    Unix(unix::UnixListener),
}

impl From<net::TcpListener> for Listener {
    fn from(listener: net::TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl From<unix::UnixListener> for Listener {
    fn from(listener: unix::UnixListener) -> Self {
        Self::Unix(listener)
    }
}

/// A listener registered with the poller.
#[derive(Debug)]
pub(super) struct Acceptor {
    listener: Kind,
    /// The peers that send a PROXY protocol header; `None` without it.
    announcers: Option<TrustedPeers>,
    /// Edge-triggered: there is no new event until `accept` has returned `WouldBlock`.
    pub(super) more: bool,
    /// Accepting has failed; when to try again.
    pub(super) again_ms: Option<u64>,
    /// It has failed since its last success.
    starved: bool,
    /// All workers serve its connections, not this one alone.
    is_for_all: bool,
    /// Its clients begin with a TLS handshake.
    #[cfg(feature = "tls")]
    tls: Option<Arc<TlsListener>>,
    /// Its requests are redirected to this port.
    #[cfg(feature = "tls")]
    https_port: Option<u16>,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Acceptor {
    pub(super) fn bind(address: SocketAddr, reuse_port: ReusePort) -> io::Result<net::TcpListener> {
        let socket =
            RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if reuse_port == ReusePort::Shared {
            socket.set_reuse_port(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    }

    pub(super) fn new(
        listener: Listener,
        announcers: Option<TrustedPeers>,
        tcp: &TcpOptions,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let mut listener = match listener {
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                // Accepted sockets inherit them: no system call per connection.
                set_tcp_options(&SockRef::from(&listener), tcp)?;
                Kind::Tcp(TcpListener::from_std(listener))
            }
            Listener::Unix(listener) => {
                listener.set_nonblocking(true)?;
                Kind::Unix(UnixListener::from_std(listener))
            }
        };
        match &mut listener {
            Kind::Tcp(listener) => listener.register(registry, token, Interest::READABLE)?,
            Kind::Unix(listener) => listener.register(registry, token, Interest::READABLE)?,
        }
        Ok(Self {
            listener,
            announcers,
            more: true,
            again_ms: None,
            starved: false,
            is_for_all: false,
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "tls")]
            https_port: None,
        })
    }

    /// Deregisters the listener. Closing it is not enough while a parent or child process holds it
    /// too: the poller watches the open file, and would continue to report new connections.
    pub(super) fn deregister(&mut self, registry: &Registry) {
        let ended = match &mut self.listener {
            Kind::Tcp(listener) => listener.deregister(registry),
            Kind::Unix(listener) => listener.deregister(registry),
        };
        if let Err(error) = ended {
            log::debug!("cannot deregister a listener: {error}");
        }
    }

    /// Expects TLS handshakes of those that connect from here on. `all` find the configuration, to
    /// replace it.
    #[cfg(feature = "tls")]
    pub(super) fn secure(&mut self, config: TlsConfig, all: &TlsListeners) -> io::Result<()> {
        let address = match &self.listener {
            Kind::Tcp(listener) => Some(listener.local_addr()?),
            Kind::Unix(_) => None,
        };
        self.tls = Some(all.add(address, config));
        Ok(())
    }

    #[cfg(feature = "tls")]
    pub(super) fn redirect_to_https(&mut self, port: Option<u16>) {
        self.https_port = port;
    }

    /// What happens to those that are accepted now.
    pub(super) fn entrance(&self) -> Entrance {
        #[cfg(feature = "tls")]
        return Entrance::new(self.tls.as_ref().map(|listener| listener.config()), self.https_port);
        #[cfg(not(feature = "tls"))]
        Entrance::default()
    }

    /// All workers serve its connections.
    pub(super) fn serve_all(&mut self) {
        self.is_for_all = true;
    }

    pub(super) fn is_for_all(&self) -> bool {
        self.is_for_all
    }

    /// The poller has reported connections.
    pub(super) fn arrived(&mut self) {
        self.more = true;
    }

    /// True if there may be a connection to accept, and no pause to wait for.
    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        self.more && self.again_ms.is_none_or(|again_ms| again_ms <= now_ms)
    }

    /// Accepts up to a slice of connections. If the system has no descriptor or memory, this
    /// listener pauses, because it will not be reported again; other listeners continue.
    pub(super) fn accept(
        &mut self,
        now_ms: u64,
        mut take: impl FnMut(Socket, Peer, Opening),
    ) -> Result<(), Paused> {
        self.again_ms = None;
        let (listener, announcers) = (&self.listener, self.announcers.as_ref());
        let take = |socket, peer| take(socket, peer, Opening::of(peer, announcers));
        match accept_some(|| listener.accept(), take) {
            Ok(AcceptQueue { is_empty }) => {
                self.more = !is_empty;
                self.starved = false;
                Ok(())
            }
            Err(error) => {
                self.again_ms = Some(now_ms + PAUSE_MS);
                // Logged once, not ten times a second while it lasts.
                if !mem::replace(&mut self.starved, true) {
                    log::warn!("cannot accept connections for now: {error}");
                }
                Err(Paused)
            }
        }
    }

    /// A descriptor has become free.
    pub(super) fn end_pause(&mut self, now_ms: u64) {
        self.again_ms = self.again_ms.map(|_| now_ms);
    }
}

impl Kind {
    fn accept(&self) -> io::Result<(Socket, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept()?;
                Ok((Socket::tcp(stream), Peer::Ip(address)))
            }
            Self::Unix(listener) => {
                let (stream, _unnamed) = listener.accept()?;
                Ok((Socket::unix(stream), Peer::Unix))
            }
        }
    }
}

/// State of the accept backlog.
#[derive(Debug)]
struct AcceptQueue {
    is_empty: bool,
}

/// Accepts up to a turn's share of connections, and skips those that fail. If all of the share
/// fails, the error is the listener's, not the connections'.
fn accept_some<C>(
    mut accept: impl FnMut() -> io::Result<(C, Peer)>,
    mut take: impl FnMut(C, Peer),
) -> io::Result<AcceptQueue> {
    let (mut has_taken, mut last_loss) = (false, None);
    for _ in 0..ACCEPTS_PER_TURN {
        match accept() {
            Ok((connection, peer)) => {
                take(connection, peer);
                has_taken = true;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Ok(AcceptQueue { is_empty: true });
            }
            Err(error) if is_of_one_connection(&error) => {
                log::debug!("a connection failed before it was accepted: {error}");
                last_loss = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    match last_loss {
        Some(error) if !has_taken => Err(error),
        _ => Ok(AcceptQueue { is_empty: false }),
    }
}

/// True for errors of the connection to be accepted, not of the listener: the client closed it
/// while it waited, or the network or a firewall cut it off. Linux passes them on (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    error.kind() == ErrorKind::Interrupted
        || error
            .raw_os_error()
            .is_some_and(|code| OF_ONE_CONNECTION.contains(&code) || ACCEPT_LOSSES.contains(&code))
}

/// Accepting has failed for now.
#[derive(Debug)]
pub(super) struct Paused;

const OF_ONE_CONNECTION: &[i32] = &[
    libc::ECONNABORTED,
    libc::ECONNRESET,
    libc::EHOSTDOWN,
    libc::EHOSTUNREACH,
    libc::ENETDOWN,
    libc::ENETUNREACH,
    libc::ENOPROTOOPT,
    libc::EOPNOTSUPP,
    libc::EPERM,
    libc::EPROTO,
    libc::ETIMEDOUT,
];
/// Accept backlog; the kernel limits it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// Accepts per turn, so that a burst of connections does not delay ticks.
const ACCEPTS_PER_TURN: u32 = 128;
/// Pause before the next attempt to accept when the system has no more descriptors.
const PAUSE_MS: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    use std::{net::TcpStream, time::Duration};

    use mio::{Events, Poll};

    /// The result of `accept_some` for these attempts, and the number of accepted connections.
    fn accept_all(
        attempts: impl IntoIterator<Item = Result<(), i32>>,
    ) -> (io::Result<AcceptQueue>, u32) {
        let (mut attempts, mut taken) = (attempts.into_iter(), 0);
        let accept = || match attempts.next().unwrap_or(Err(libc::EAGAIN)) {
            Ok(()) => Ok(((), Peer::Unix)),
            Err(code) => Err(io::Error::from_raw_os_error(code)),
        };
        let outcome = accept_some(accept, |(), _peer| taken += 1);
        (outcome, taken)
    }

    #[test]
    fn failed_connections_do_not_delay_those_after_them() {
        for &code in OF_ONE_CONNECTION.iter().chain(ACCEPT_LOSSES).chain(&[libc::EINTR]) {
            let (outcome, taken) = accept_all([Ok(()), Err(code), Err(code), Ok(()), Err(code)]);
            assert!(outcome.unwrap().is_empty, "{code}");
            assert_eq!(taken, 2, "{code}");
        }
    }

    #[test]
    fn for_want_of_means_or_of_a_listener_there_is_a_pause() {
        for code in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EINVAL] {
            let (outcome, taken) = accept_all([Ok(()), Err(code), Ok(())]);
            assert_eq!((outcome.unwrap_err().raw_os_error(), taken), (Some(code), 1));
        }
    }

    #[test]
    fn a_turn_accepts_its_share_and_does_not_spin_on_losses() {
        let share = ACCEPTS_PER_TURN as usize;
        let (outcome, taken) = accept_all(vec![Ok(()); share + 10]);
        assert!(!outcome.unwrap().is_empty);
        assert_eq!(taken, ACCEPTS_PER_TURN);
        // A listener whose accepts all fail, for example because a policy forbids them, pauses.
        let (outcome, taken) = accept_all(vec![Err(libc::EPERM); share + 10]);
        assert_eq!((outcome.unwrap_err().raw_os_error(), taken), (Some(libc::EPERM), 0));
        let losses = vec![Err(libc::EPROTO); share - 1];
        for mixed in [[losses.clone(), vec![Ok(())]], [vec![Ok(())], losses.clone()]] {
            let (outcome, taken) = accept_all(mixed.concat());
            assert!(!outcome.unwrap().is_empty);
            assert_eq!(taken, 1);
        }
    }

    #[test]
    fn accepted_sockets_inherit_the_options_of_the_listener() {
        let mut poll = Poll::new().unwrap();
        let listener = Acceptor::bind(([127, 0, 0, 1], 0).into(), ReusePort::Exclusive).unwrap();
        let address = listener.local_addr().unwrap();
        let mut acceptor =
            Acceptor::new(listener.into(), None, &TcpOptions::default(), poll.registry(), Token(0))
                .unwrap();
        let _client = TcpStream::connect(address).unwrap();
        poll.poll(&mut Events::with_capacity(1), Some(Duration::from_secs(20))).unwrap();
        let mut accepted = Vec::new();
        acceptor.accept(0, |socket, _peer, _opening| accepted.push(socket)).unwrap();
        let [Socket::Tcp(socket, _)] = &accepted[..] else { panic!("{accepted:?}") };
        assert!(socket.nodelay().unwrap(), "small events leave at once");
        #[cfg(all(target_os = "linux", not(starwheel_portable)))]
        {
            let user_timeout = SockRef::from(socket).tcp_user_timeout().unwrap();
            assert_eq!(user_timeout, TcpOptions::default().user_timeout);
        }
    }
}
