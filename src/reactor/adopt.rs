//! Connections that other servers have accepted.

use std::{io, net::TcpStream};

use mio::Poll;
use socket2::SockRef;

use super::socket::{Socket, set_tcp_options, take};
use crate::{
    engine::{Adoption, Command, Engine, Handle, Opening, TcpOptions, TrySendError},
    http::Peer,
};

impl Handle {
    /// Passes on a connected socket that was accepted elsewhere, with the bytes of the request that
    /// have already been read from it. It is served as if the reactor had accepted it.
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
    pub fn adopt(
        &self,
        socket: TcpStream,
        read_already: Vec<u8>,
    ) -> Result<(), TrySendError<(TcpStream, Vec<u8>)>> {
        self.mailbox().push_with((socket, read_already), |(socket, bytes)| {
            Command::Adopt(Adoption { socket: socket.into(), read_already: bytes })
        })
    }
}

/// Takes over the socket on the reactor's thread.
pub(super) fn adopt(
    engine: &mut Engine<Socket>,
    poll: &Poll,
    tcp: &TcpOptions,
    adoption: Adoption,
) {
    let Adoption { socket, read_already } = adoption;
    match prepare(socket.into(), tcp) {
        Ok((socket, peer)) => {
            if let Some(index) = take(engine, poll, socket, peer, Opening::Request) {
                engine.feed(index, &read_already);
            }
        }
        Err(error) => log::debug!("cannot register an adopted connection: {error}"),
    }
}

fn prepare(stream: TcpStream, tcp: &TcpOptions) -> io::Result<(Socket, Peer)> {
    stream.set_nonblocking(true)?;
    set_tcp_options(&SockRef::from(&stream), tcp)?;
    let peer = stream.peer_addr()?;
    Ok((Socket::Tcp(mio::net::TcpStream::from_std(stream)), Peer::Ip(peer)))
}
