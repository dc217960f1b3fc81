//! One client: connects, asks for one path, reads what comes.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
};

use mio::{Interest, Registry, Token, net::TcpStream};
use socket2::{Domain, Socket, Type};

use crate::{
    Result,
    clients::{Arrival, unix_ns},
    wire::Response,
};

pub(crate) struct Client {
    socket: TcpStream,
    response: Response,
    pub(crate) phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Connecting,
    Waiting,
    Open,
    Lost,
}

impl Client {
    /// Begins to connect, from the source address with this number.
    pub(crate) fn connect(
        address: usize,
        server: SocketAddr,
        registry: &Registry,
        token: Token,
        response: Response,
    ) -> Result<Self> {
        let mut socket = connect_from(address, server)?;
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { socket, response, phase: Phase::Connecting })
    }

    /// See [`Response::body`].
    pub(crate) fn body(&self) -> &[u8] {
        self.response.body()
    }

    /// The request is far smaller than the buffer of a new socket, so it goes in one write.
    pub(crate) fn send(&mut self, request: &[u8]) -> Result<()> {
        if let Some(error) = self.socket.take_error()? {
            return Err(error.into());
        }
        if self.socket.write(request)? < request.len() {
            return Err("the request was not taken whole".into());
        }
        self.phase = Phase::Waiting;
        Ok(())
    }

    /// Reads all that has arrived; returns how many bytes that were.
    pub(crate) fn read(
        &mut self,
        stream: usize,
        buffer: &mut [u8],
        on_arrival: &mut impl FnMut(Arrival),
    ) -> Result<u64> {
        let mut bytes = 0;
        while self.phase != Phase::Lost {
            match self.socket.read(buffer) {
                Ok(0) if self.phase == Phase::Waiting => {
                    return Err("closed without an answer".into());
                }
                Ok(0) => self.phase = Phase::Lost,
                Ok(length) => {
                    let arrived_ns = unix_ns();
                    bytes += length as u64;
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
        Ok(bytes)
    }
}

/// A socket that is connecting, from the source address of stream `index`.
pub fn connect_from(index: usize, server: SocketAddr) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None)?;
    socket.bind(&SocketAddr::V4(SocketAddrV4::new(source_address(index), 0)).into())?;
    match socket.connect(&server.into()) {
        Err(error)
            if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) =>
        {
            Err(format!("connecting stream {index}: {error}").into())
        }
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

/// Each stream comes from an address of its own, as real clients do: no pair of addresses runs
/// out of ports, and a cap per address is not in the way.
fn source_address(stream: usize) -> Ipv4Addr {
    let octet = |divisor: usize| (stream / divisor % 250) as u8;
    Ipv4Addr::new(127, 10 + octet(62_500), octet(250), 1 + octet(1))
}
