//! A transport with or without TLS. The engine sees bytes of HTTP in both cases.
//!
//! Without TLS, or without the feature `tls`, it does nothing. With TLS it holds the handshake, and
//! then the session, in one box.

use std::io::{self, IoSlice};

use super::{api::config::TcpOptions, transport::Transport};
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

    /// Whether a read is expensive: it may be a part of a handshake.
    #[inline]
    pub(super) fn is_in_handshake(&self) -> bool {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return tls.is_in_handshake();
        }
        false
    }
}

impl<T: Transport> Transport for Secured<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            return tls.read(&mut self.transport, buffer);
        }
        self.transport.read(buffer)
    }

    /// A read may end with a record, and a part of a record is nothing.
    fn splits_reads(&self) -> bool {
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return true;
        }
        self.transport.splits_reads()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            return tls.write(&mut self.transport, &[IoSlice::new(bytes)]);
        }
        self.transport.write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            return tls.write(&mut self.transport, slices);
        }
        self.transport.write_vectored(slices)
    }

    fn write_queued(&mut self) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            return tls.write_queued(&mut self.transport);
        }
        self.transport.write_queued()
    }

    /// A `close_notify`, and then the FIN, as soon as the socket takes both.
    fn shutdown_write(&mut self) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            return tls.shutdown_write(&mut self.transport);
        }
        self.transport.shutdown_write()
    }

    fn send_keep_alive_probes(&mut self, tcp: &TcpOptions) {
        self.transport.send_keep_alive_probes(tcp);
    }

    fn end_on_close(&mut self) {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            tls.end(&mut self.transport);
        }
        self.transport.end_on_close();
    }

    fn reset_on_close(&mut self) {
        self.transport.reset_on_close();
    }
}

#[cfg(feature = "tls")]
mod tls {
    use std::{
        cell::RefCell,
        error::Error,
        io::{self, ErrorKind, IoSlice},
        mem,
    };

    use super::Secured;
    use crate::{
        engine::transport::Transport,
        tls::{
            Fault, Handshake, HandshakeError, ReceiveError, Received, Session, Stage, TlsConfig,
        },
    };

    /// The state of TLS on one transport.
    #[derive(Debug)]
    pub(super) enum Tls {
        Handshake(Box<Handshake>),
        Session(Session),
        /// The handshake was complete, and gave no session.
        Failed,
    }

    impl<T> Secured<T> {
        /// The client begins a handshake. Nothing has been received yet.
        ///
        /// # Errors
        /// If a configuration of the application does not work.
        pub(in crate::engine) fn begin_tls(
            &mut self,
            config: &TlsConfig,
        ) -> Result<(), HandshakeError> {
            let handshake = Box::new(Handshake::new(config)?);
            self.tls = Some(Box::new(Tls::Handshake(handshake)));
            Ok(())
        }
    }

    impl Tls {
        pub(super) fn is_in_handshake(&self) -> bool {
            matches!(self, Self::Handshake(_))
        }

        pub(super) fn read<T: Transport>(
            &mut self,
            transport: &mut T,
            buffer: &mut [u8],
        ) -> io::Result<usize> {
            while let Self::Handshake(handshake) = self {
                let received_bytes = transport.read(buffer)?;
                if received_bytes == 0 {
                    return Ok(0);
                }
                let mut input = &buffer[..received_bytes];
                let stage = handshake.receive(&mut input);
                write_flight(handshake, transport)?;
                if stage.map_err(of_client)? == Stage::Complete
                    && let Self::Handshake(handshake) = mem::replace(self, Self::Failed)
                {
                    let established = handshake.finish(input).map_err(of_client)?;
                    *self = Self::Session(established.session);
                }
            }
            let Self::Session(session) = self else { return Err(ErrorKind::NotConnected.into()) };
            match session.receive(buffer, |room| transport.read(room)) {
                Ok(Received::Data(bytes)) => Ok(bytes),
                Ok(Received::Nothing) => Err(ErrorKind::WouldBlock.into()),
                // A request says itself where it ends, so a cut is not worse than an end.
                Ok(Received::Closed) | Err(ReceiveError::Fault(Fault::Cut)) => Ok(0),
                Err(ReceiveError::Fault(fault)) => {
                    self.write_queued(transport)?;
                    Err(of_client(fault))
                }
                Err(ReceiveError::Io(error)) => Err(error),
            }
        }

        pub(super) fn write<T: Transport>(
            &mut self,
            transport: &mut T,
            slices: &[IoSlice<'_>],
        ) -> io::Result<usize> {
            // Nothing is answered before a request.
            let Self::Session(session) = self else { return Err(ErrorKind::WouldBlock.into()) };
            SCRATCH.with_borrow_mut(|scratch| {
                session.send(slices, scratch, |bytes| transport.write(bytes))
            })
        }

        pub(super) fn write_queued<T: Transport>(&mut self, transport: &mut T) -> io::Result<()> {
            match self {
                Self::Handshake(handshake) => write_flight(handshake, transport),
                Self::Session(session) if session.has_unsent() => {
                    match session.flush(|bytes| transport.write(bytes)) {
                        Ok(()) if session.is_closed() => transport.shutdown_write(),
                        Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
                        _ => Ok(()),
                    }
                }
                Self::Session(_) | Self::Failed => Ok(()),
            }
        }

        pub(super) fn shutdown_write<T: Transport>(&mut self, transport: &mut T) -> io::Result<()> {
            match self {
                Self::Handshake(_) | Self::Failed => transport.shutdown_write(),
                Self::Session(session) => {
                    session.close();
                    self.write_queued(transport)
                }
            }
        }

        /// The last chance for a `close_notify`.
        pub(super) fn end<T: Transport>(&mut self, transport: &mut T) {
            if let Self::Session(session) = self {
                session.close();
                // It is closed in any case.
                let _ = session.flush(|bytes| transport.write(bytes));
            }
        }
    }

    /// Writes what the handshake has to say. What the socket does not take follows when it is
    /// writable.
    fn write_flight<T: Transport>(handshake: &mut Handshake, transport: &mut T) -> io::Result<()> {
        while !handshake.unsent().is_empty() {
            match transport.write(handshake.unsent()) {
                Ok(bytes) => handshake.sent(bytes),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn of_client(error: impl Error + Send + Sync + 'static) -> io::Error {
        io::Error::new(ErrorKind::InvalidData, error)
    }

    thread_local! {
        /// Three records of one write: 49,218 bytes.
        static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }

    /// With the eight bytes that point to it, this is what TLS costs an idle stream.
    #[test]
    fn a_connection_with_tls_takes_168_bytes_more() {
        assert_eq!(size_of::<Tls>(), 168);
        assert_eq!(size_of::<Secured<u64>>(), 16);
    }
}
