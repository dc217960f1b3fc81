//! A transport with or without TLS. The engine sees bytes of HTTP in both cases.
//!
//! Without TLS, or without the feature `tls`, it does nothing. With TLS it holds the handshake, and
//! then the session, in one box.

#[cfg(feature = "tls")]
mod tls;

use std::io::{self, IoSlice};

use super::{
    api::config::TcpOptions, handshake_share::Step, ledger::Holding, stats::TlsStats,
    transport::Transport,
};
#[cfg(feature = "tls")]
use tls::Tls;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Secured<T> {
    transport: T,
    #[cfg(feature = "tls")]
    tls: Option<Box<Tls>>,
}

impl<T> Secured<T> {
    /// Without TLS.
    pub(super) fn plain(transport: T) -> Self {
        Self {
            transport,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    pub(super) fn transport(&mut self) -> &mut T {
        &mut self.transport
    }

    /// What a read of `data_bytes` takes of a share of bytes. With TLS it is the whole buffer:
    /// records may be much longer than their data.
    #[inline]
    pub(super) fn read_cost_bytes(&self, data_bytes: usize, buffer_bytes: usize) -> usize {
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return buffer_bytes;
        }
        let _ = buffer_bytes;
        data_bytes
    }

    /// Whether everything that the connection carries is protected by TLS, from a PROXY protocol
    /// header on.
    #[cfg(feature = "tls")]
    pub(super) fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// What the next read may lead to, in a handshake.
    #[inline]
    pub(super) fn handshake_step(&self) -> Option<Step> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return tls.handshake_step();
        }
        None
    }
}

/// Without TLS, none of this happens.
impl<T: Transport> Secured<T> {
    /// What a connection with TLS holds.
    #[inline]
    pub(super) fn holding(&self) -> Option<Holding> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return Some(tls.holding());
        }
        None
    }

    /// Notes until when the incomplete record has to be complete.
    pub(super) fn expect_record_by(&mut self, until: u64) {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            return tls.expect_record_by(until);
        }
        let _ = until;
    }

    /// Gives up a client whose incomplete records take too much memory.
    pub(super) fn refuse_record(&mut self, stats: &mut TlsStats) -> io::Error {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            return tls.refuse_record(&mut self.transport, stats);
        }
        let _ = stats;
        io::ErrorKind::OutOfMemory.into()
    }

    /// Gives up a client that does not complete its record in time.
    pub(super) fn give_up_record(&mut self, stats: &mut TlsStats) -> io::Error {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            return tls.give_up_record(stats);
        }
        let _ = stats;
        io::ErrorKind::TimedOut.into()
    }

    /// Counts a handshake that has failed without an error of TLS.
    pub(super) fn end_handshake(&mut self, stats: &mut TlsStats, end: HandshakeEnd) {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            return tls.end_handshake(stats, end);
        }
        let _ = (stats, end);
    }

    /// As [`Transport::read`]. Counts what it says about TLS.
    pub(super) fn read(&mut self, buffer: &mut [u8], stats: &mut TlsStats) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            return tls.read(&mut self.transport, buffer, stats);
        }
        let _ = stats;
        self.transport.read(buffer)
    }
}

/// How a handshake ends that TLS has nothing to say about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HandshakeEnd {
    TimedOut,
    /// The connection has ended.
    Closed,
}

/// As [`Transport`], except that reads are counted.
impl<T: Transport> Secured<T> {
    /// A read may end with a record, and a part of a record is nothing.
    pub(super) fn splits_reads(&self) -> bool {
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return true;
        }
        self.transport.splits_reads()
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            return tls.write(&mut self.transport, &[IoSlice::new(bytes)]);
        }
        self.transport.write(bytes)
    }

    pub(super) fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            return tls.write(&mut self.transport, slices);
        }
        self.transport.write_vectored(slices)
    }

    pub(super) fn write_queued(&mut self) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            return tls.write_queued(&mut self.transport);
        }
        self.transport.write_queued()
    }

    /// A `close_notify`, and then the FIN, as soon as the socket takes both.
    pub(super) fn shutdown_write(&mut self) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            return tls.shutdown_write(&mut self.transport);
        }
        self.transport.shutdown_write()
    }

    pub(super) fn send_keep_alive_probes(&mut self, tcp: &TcpOptions) {
        self.transport.send_keep_alive_probes(tcp);
    }

    pub(super) fn end_on_close(&mut self) {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            tls.end(&mut self.transport);
        }
        self.transport.end_on_close();
    }

    pub(super) fn reset_on_close(&mut self) {
        self.transport.reset_on_close();
    }
}
