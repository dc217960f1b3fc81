//! A transport with or without TLS. The engine sees bytes of HTTP in both cases.
//!
//! Without TLS, or without the feature `tls`, it does nothing. With TLS it holds the handshake, and
//! then the session, in one box.

#[cfg(feature = "tls")]
mod tls;

use std::io::{self, IoSlice};

#[cfg(feature = "tls")]
use std::{mem, sync::Arc};

#[cfg(feature = "tls")]
use self::tls::Tls;
use super::{
    api::config::TcpOptions,
    handshake_share::Step,
    ledger::{HandshakeEnd, Holding},
    stats::TlsStats,
    transport::Transport,
};
#[cfg(feature = "tls")]
use crate::{
    http::TlsClient,
    tls::{Established, Handshake, HandshakeError, TlsConfig},
};

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

/// With TLS.
#[cfg(feature = "tls")]
impl<T> Secured<T> {
    /// The client begins a handshake. Nothing has been received yet.
    ///
    /// # Errors
    /// If a configuration of the application does not work.
    pub(super) fn begin_tls(
        &mut self,
        config: &TlsConfig,
        stats: &mut TlsStats,
    ) -> Result<(), HandshakeError> {
        let handshake = Handshake::new(config).inspect_err(|_| stats.failed.refused += 1)?;
        let (handshake, early) = (Box::new(handshake), Vec::new());
        self.tls = Some(Box::new(Tls::Handshake { handshake, early }));
        stats.handshaking += 1;
        Ok(())
    }

    /// The client begins a handshake after a PROXY protocol header, which is in the clear.
    pub(super) fn await_header(&mut self, config: &TlsConfig) {
        self.tls = Some(Box::new(Tls::Header(config.clone())));
    }

    /// The header is complete, and `rest` came after it. False without TLS.
    ///
    /// # Errors
    /// As [`begin_tls`](Self::begin_tls).
    pub(super) fn end_header(
        &mut self,
        rest: &[u8],
        stats: &mut TlsStats,
    ) -> Result<bool, HandshakeError> {
        let Some(Tls::Header(config)) = self.tls.as_deref() else { return Ok(false) };
        let config = config.clone();
        self.begin_tls(&config, stats)?;
        Ok(self.take_early(rest))
    }

    /// After a read was interrupted: whether a handshake is complete. The session begins.
    pub(super) fn settle(&mut self) -> Option<Arc<TlsClient>> {
        let tls = self.tls.as_deref_mut()?;
        if !matches!(tls, Tls::Established(_)) {
            return None;
        }
        let Tls::Established(established) = mem::replace(tls, Tls::Failed) else { return None };
        let Established { session, server_name, client_certificates, kept, .. } = *established;
        *tls = Tls::Session(session);
        let server_name = server_name.filter(|_| kept.server_name);
        let certificates = if kept.client_certificates { client_certificates } else { Vec::new() };
        TlsClient::new(server_name, certificates)
    }

    /// Bytes that come before everything else in the handshake. False without one.
    pub(super) fn take_early(&mut self, bytes: &[u8]) -> bool {
        match self.tls.as_deref_mut() {
            Some(Tls::Handshake { early, .. }) => {
                early.extend_from_slice(bytes);
                true
            }
            _ => false,
        }
    }
}

/// With the eight bytes that point to it, this is what TLS costs an idle stream.
#[cfg(feature = "tls")]
#[test]
fn a_connection_with_tls_takes_168_bytes_more() {
    assert_eq!(size_of::<Tls>(), 168);
    assert_eq!(size_of::<Secured<u64>>(), 16);
}
