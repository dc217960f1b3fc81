//! The transports of the connections. Only this file touches a [`Transport`]; the rest of the
//! engine decides what to write.

use std::io::{Error, ErrorKind, IoSlice};

use super::{api::config::TcpOptions, keys::ConnIndex, secured::Secured, transport::Transport};
#[cfg(feature = "tls")]
use crate::tls::TlsConfig;

/// Sockets, by connection.
///
/// They are not part of the connection because applications name the types
/// [`Stream`](super::Stream) and [`Context`](super::Context): a type parameter for the transport
/// would appear in the signature of every closure.
#[derive(Debug)]
pub(super) struct Links<T> {
    transports: Vec<Option<Secured<T>>>,
    /// Reads in TLS handshakes that this turn may still do.
    handshake_reads: u32,
}

/// The result of a write.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The socket took this many bytes, a prefix of what was offered.
    Took(usize),
    /// It takes nothing now; the poller will report when it does.
    Refused,
    /// The connection is broken.
    Failed(Error),
}

/// The result of a read.
#[derive(Debug)]
pub(super) enum Received {
    Bytes {
        /// So many are in the buffer.
        count: usize,
        /// What the read takes of a share of bytes.
        cost_bytes: usize,
    },
    /// Nothing is there now; the poller will report when there is.
    Nothing,
    /// Not in this turn: it has had its share of handshakes.
    Later,
    /// The peer's FIN.
    End,
    /// The connection is broken.
    Failed(Error),
}

impl Outcome {
    pub(super) fn taken(&self) -> usize {
        match self {
            Self::Took(bytes) => *bytes,
            Self::Refused | Self::Failed(_) => 0,
        }
    }
}

impl<T: Transport> Links<T> {
    pub(super) fn with_capacity(connections: usize) -> Self {
        Self { transports: Vec::with_capacity(connections), handshake_reads: 0 }
    }

    pub(super) fn begin_turn(&mut self) {
        self.handshake_reads = HANDSHAKE_READS_PER_TURN;
    }

    /// Closes a connection that gets no slot, with a reset: after an orderly close the kernel would
    /// keep its state for a minute.
    pub(super) fn refuse(mut transport: T) {
        transport.reset_on_close();
    }

    pub(super) fn open(&mut self, index: ConnIndex, transport: T) {
        if self.transports.len() <= index.slot() {
            self.transports.resize_with(index.slot() + 1, || None);
        }
        self.transports[index.slot()] = Some(Secured::plain(transport));
    }

    /// Expects a TLS handshake on a connection that has just been opened.
    #[cfg(feature = "tls")]
    pub(super) fn begin_tls(&mut self, index: ConnIndex, config: &TlsConfig) -> Result<(), Error> {
        self.secured(index).begin_tls(config).map_err(Error::other)
    }

    /// Closes the connection's socket.
    pub(super) fn close(&mut self, index: ConnIndex, close: Close) {
        let Some(mut transport) = self.transports[index.slot()].take() else { return };
        match close {
            Close::InOrder => transport.end_on_close(),
            Close::Reset => transport.reset_on_close(),
        }
    }

    /// Borrows the transport, to register it with a poller.
    pub(super) fn get(&mut self, index: ConnIndex) -> &mut T {
        self.secured(index).transport()
    }

    fn secured(&mut self, index: ConnIndex) -> &mut Secured<T> {
        self.transports[index.slot()]
            .as_mut()
            .expect("a connection has its transport until it is released")
    }

    /// Offers the slices to the socket in one write.
    #[inline]
    pub(super) fn write(&mut self, index: ConnIndex, slices: &[IoSlice<'_>]) -> Outcome {
        let transport = self.secured(index);
        loop {
            let result = match slices {
                // A plain send costs the kernel less than a vectored one.
                [bytes] => transport.write(bytes),
                slices => transport.write_vectored(slices),
            };
            return match result {
                Ok(bytes) => Outcome::Took(bytes),
                Err(error) if error.kind() == ErrorKind::WouldBlock => Outcome::Refused,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => Outcome::Failed(error),
            };
        }
    }

    pub(super) fn read(&mut self, index: ConnIndex, buffer: &mut [u8]) -> Received {
        if self.secured(index).is_in_handshake() {
            match self.handshake_reads.checked_sub(1) {
                Some(left) => self.handshake_reads = left,
                None => return Received::Later,
            }
        }
        let transport = self.secured(index);
        loop {
            return match transport.read(buffer) {
                Ok(0) => Received::End,
                Ok(count) => {
                    let cost_bytes = transport.read_cost_bytes(count, buffer.len());
                    Received::Bytes { count, cost_bytes }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => Received::Nothing,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => Received::Failed(error),
            };
        }
    }

    /// Whether a TLS handshake is in progress.
    pub(super) fn is_in_handshake(&mut self, index: ConnIndex) -> bool {
        self.secured(index).is_in_handshake()
    }

    /// See [`Transport::write_queued`].
    pub(super) fn write_queued(&mut self, index: ConnIndex) -> Result<(), Error> {
        self.secured(index).write_queued()
    }

    /// See [`Transport::splits_reads`].
    pub(super) fn splits_reads(&mut self, index: ConnIndex) -> bool {
        self.secured(index).splits_reads()
    }

    /// Sends our FIN after the written bytes; reading continues.
    pub(super) fn shutdown_write(&mut self, index: ConnIndex) -> Result<(), Error> {
        self.secured(index).shutdown_write()
    }

    pub(super) fn send_keep_alive_probes(&mut self, index: ConnIndex, tcp: &TcpOptions) {
        self.secured(index).send_keep_alive_probes(tcp);
    }
}

/// How a socket is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Close {
    InOrder,
    /// Where the end of the connection is the end of the response, an orderly close would make a
    /// partial response look complete. It would also leave the kernel sending.
    Reset,
}

/// A handshake takes two reads. The first costs most of it: with ECDSA 100 to 200 us in all, see
/// `tls/tests/figures.rs`. So handshakes make ticks late by some milliseconds. Connections that
/// wait for their share are looked at once per turn.
const HANDSHAKE_READS_PER_TURN: u32 = 16;
