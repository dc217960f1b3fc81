//! Connections that other servers have accepted.

use std::{io, os::fd::OwnedFd};

use mio::Poll;
use socket2::{SockRef, Type};

use super::socket::{Socket, set_tcp_options, take};
#[cfg(feature = "tls")]
use crate::tls::TlsConfig;
use crate::{
    engine::{
        Adoption, Answer, Command, Context, Engine, Entrance, First, Handle, Opening, TcpOptions,
        TrySendError,
    },
    http::{Peer, Request},
};

impl Handle {
    /// Passes on a connected socket that was accepted elsewhere, with the bytes of the request that
    /// have already been read from it. It is served as if the reactor had accepted it. Anything but a
    /// connected stream socket (TCP or Unix) is closed, and the reason is logged at the level debug.
    ///
    /// ```
    /// # use starwheel::Handle;
    /// # use std::net::TcpStream;
    /// /// After an upgrade check, say, in a server of another kind.
    /// fn hand_over(handle: &Handle, socket: TcpStream, request_so_far: Vec<u8>) {
    ///     if let Err(error) = handle.adopt(socket, request_so_far) {
    ///         log::warn!("a connection was not handed over: {error}");
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// Returns socket and bytes: [`TrySendError::Full`] when the queue is full,
    /// [`TrySendError::Closed`] when the reactor has stopped or was dropped.
    pub fn adopt<S: Into<OwnedFd> + Send + 'static>(
        &self,
        socket: S,
        read_already: Vec<u8>,
    ) -> Result<(), TrySendError<(S, Vec<u8>)>> {
        self.push_with((socket, read_already), |(socket, bytes)| {
            Command::Adopt(Adoption::new(socket, First::Bytes(bytes, Entrance::default())))
        })
    }

    /// The same for a connection on which the client begins a TLS handshake: `read_already` has its
    /// first bytes, if any were read. For a server that looks at the server name of the first record
    /// to decide who serves the client. Feature `tls`.
    ///
    /// ```
    /// # use starwheel::{Handle, TlsConfig};
    /// # use std::net::TcpStream;
    /// fn hand_over(handle: &Handle, socket: TcpStream, hello: Vec<u8>, config: &TlsConfig) {
    ///     if let Err(error) = handle.adopt_tls(socket, hello, config.clone()) {
    ///         log::warn!("a connection was not handed over: {error}");
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`adopt`](Self::adopt).
    #[cfg(feature = "tls")]
    pub fn adopt_tls<S: Into<OwnedFd> + Send + 'static>(
        &self,
        socket: S,
        read_already: Vec<u8>,
        config: TlsConfig,
    ) -> Result<(), TrySendError<(S, Vec<u8>)>> {
        self.push_with((socket, read_already), |(socket, bytes)| {
            let entrance = Entrance::secured(config.clone());
            Command::Adopt(Adoption::new(socket, First::Bytes(bytes, entrance)))
        })
    }

    /// Passes on a connection whose request another server has read, and parsed, and perhaps
    /// authenticated. `answer` runs on the reactor's thread and returns what a handler may return;
    /// no other handler sees the request. What that server has found out travels in the closure.
    ///
    /// ```
    /// use starwheel::{Handle, Request, Sse, TrySendError};
    /// use std::os::unix::net::UnixStream;
    /// /// The other server has checked who the user is.
    /// fn hand_over(handle: &Handle, socket: UnixStream, request: Request, user: String) {
    ///     let watch = move |_req: &mut Request, _cx: &mut starwheel::Context<'_>| {
    ///         Sse::new().tag(&*user).send(format!("hello {user}"))
    ///     };
    ///     if let Err(error) = handle.adopt_request(socket, request, watch) {
    ///         log::warn!("the server is busy: {error}");
    ///         let (_socket, _request, _watch) = error.into_inner(); // Answer it there.
    ///     }
    /// }
    /// ```
    ///
    /// - The request's body must have been read. Bytes after the request may be dropped, because the
    ///   answer says `Connection: close`; a browser sends them again on another connection.
    /// - The socket is a connected stream socket, TCP or Unix. Another one, or one whose client has
    ///   reset it, is closed on the reactor's thread without a call of `answer`, and the reason is
    ///   logged at the level debug. The connection counts toward
    ///   [`Limits::connections`](crate::Limits) and the others, a drain ends its stream, and the
    ///   addresses in forwarding fields are used if the peer is
    ///   [trusted](crate::Config::trusted_proxies), all as for accepted connections.
    ///   [`Config::hosts`](crate::Config::hosts) is not checked again.
    /// - Nothing of the other server may stay with the socket: no task that reads it, no duplicate of
    ///   its descriptor. Otherwise the end of the stream does not reach the client.
    ///
    /// # Errors
    /// Returns all three: [`TrySendError::Full`] when the queue is full, [`TrySendError::Closed`]
    /// when the reactor has stopped or was dropped.
    #[expect(
        clippy::result_large_err,
        reason = "a hand-over is rare, and boxing hinders its caller"
    )]
    pub fn adopt_request<S, F, R>(
        &self,
        socket: S,
        request: Request,
        answer: F,
    ) -> Result<(), TrySendError<(S, Request, F)>>
    where
        S: Into<OwnedFd> + Send + 'static,
        F: FnOnce(&mut Request, &mut Context<'_>) -> R + Send + 'static,
        R: Into<Answer>,
    {
        self.adopt_on_behalf_of(None, socket, request, answer)
    }

    /// As [`adopt_request`](Self::adopt_request), for a client whose address the other server knows
    /// better than the socket; `None` if it does not.
    #[expect(clippy::result_large_err, reason = "as for `adopt_request`")]
    pub(crate) fn adopt_on_behalf_of<S, F, R>(
        &self,
        client: Option<Peer>,
        socket: S,
        request: Request,
        answer: F,
    ) -> Result<(), TrySendError<(S, Request, F)>>
    where
        S: Into<OwnedFd> + Send + 'static,
        F: FnOnce(&mut Request, &mut Context<'_>) -> R + Send + 'static,
        R: Into<Answer>,
    {
        self.push_with((socket, request, answer), |(socket, request, answer)| {
            let adoption = Adoption::new(socket, answered_by(request, answer));
            Command::Adopt(adoption.on_behalf_of(client))
        })
    }
}

fn answered_by<F, R>(request: Request, answer: F) -> First
where
    F: FnOnce(&mut Request, &mut Context<'_>) -> R + Send + 'static,
    R: Into<Answer>,
{
    let build = |request: &mut Request, cx: &mut Context<'_>| answer(request, cx).into();
    First::Request(Box::new(request), Box::new(build))
}

/// Takes over the socket on the reactor's thread.
pub(super) fn adopt(
    engine: &mut Engine<Socket>,
    poll: &Poll,
    tcp: &TcpOptions,
    adoption: Adoption,
) {
    let (socket, client, first) = engine.take_apart(adoption);
    if let First::Accepted(peer, opening, entrance) = first {
        if let Some(socket) = socket {
            take(engine, poll, accepted(socket, peer), peer, opening, &entrance);
        }
        return;
    }
    let (socket, peer) = match socket.map(|socket| prepare(socket, tcp)) {
        Some(Ok(prepared)) => prepared,
        failed => {
            if let Some(Err(error)) = failed {
                log::debug!("cannot adopt a connection: {error}");
            }
            return engine.discard(first);
        }
    };
    let peer = client.unwrap_or(peer);
    let index = match &first {
        First::Bytes(_, entrance) => take(engine, poll, socket, peer, Opening::Request, entrance),
        _ => take(engine, poll, socket, peer, Opening::Request, &Entrance::default()),
    };
    match (index, first) {
        (Some(index), First::Bytes(bytes, _)) => engine.feed(index, &bytes),
        (Some(index), First::Request(request, build)) => {
            engine.answer_adopted(index, *request, build);
        }
        (Some(_), First::Accepted(..)) => {}
        (None, first) => engine.discard(first),
    }
}

/// Hands a connection that this worker has accepted over to one of all, in turn. If none has room,
/// it stays here.
pub(super) fn hand_over(
    all: &Handle,
    engine: &mut Engine<Socket>,
    poll: &Poll,
    socket: Socket,
    peer: Peer,
    opening: Opening,
    entrance: &Entrance,
) {
    let handed_over = all.push_with(socket, |socket| {
        let first = First::Accepted(peer, opening, entrance.clone());
        Command::Adopt(Adoption::new(socket, first))
    });
    if let Err(refused) = handed_over {
        take(engine, poll, refused.into_inner(), peer, opening, entrance);
    }
}

/// A socket that another worker has accepted: without a system call.
fn accepted(socket: OwnedFd, peer: Peer) -> Socket {
    match peer {
        Peer::Ip(_) => Socket::tcp(mio::net::TcpStream::from_std(socket.into())),
        Peer::Unix => Socket::unix(mio::net::UnixStream::from_std(socket.into())),
    }
}

fn prepare(socket: OwnedFd, tcp: &TcpOptions) -> io::Result<(Socket, Peer)> {
    let unfit = |reason| io::Error::new(io::ErrorKind::InvalidInput, reason);
    let socket = socket2::Socket::from(socket);
    if socket.r#type()? != Type::STREAM {
        return Err(unfit("it is no stream socket"));
    }
    let peer = socket.peer_addr()?;
    // Last, because a duplicate of the descriptor would become non-blocking too.
    if peer.is_unix() {
        socket.set_nonblocking(true)?;
        let stream = mio::net::UnixStream::from_std(OwnedFd::from(socket).into());
        return Ok((Socket::unix(stream), Peer::Unix));
    }
    let peer = peer.as_socket().ok_or_else(|| unfit("it is neither a TCP nor a Unix socket"))?;
    set_tcp_options(&SockRef::from(&socket), tcp)?;
    socket.set_nonblocking(true)?;
    let stream = mio::net::TcpStream::from_std(OwnedFd::from(socket).into());
    Ok((Socket::tcp(stream), Peer::Ip(peer)))
}
