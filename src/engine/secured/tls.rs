//! The state of TLS on one transport.

use std::{
    cell::RefCell,
    error::Error,
    io::{self, ErrorKind, IoSlice},
    mem,
};

use crate::{
    engine::{
        handshake_share::Step,
        ledger::{HandshakeEnd, Holding},
        stats::TlsStats,
        transport::Transport,
    },
    tls::{
        Beginning, Established, Fault, Handshake, HandshakeError, ReceiveError, Received, Session,
        Stage, TlsConfig,
    },
};

/// The state of TLS on one transport.
#[derive(Debug)]
pub(super) enum Tls {
    /// A PROXY protocol header comes first, in the clear.
    Header(TlsConfig),
    Handshake {
        handshake: Box<Handshake>,
        /// What was received before the handshake began.
        early: Vec<u8>,
    },
    /// The handshake is complete; the session begins when that is settled.
    Established(Box<Established>),
    Session(Session),
    /// The handshake has ended without a session.
    Failed,
}

impl Tls {
    fn is_in_handshake(&self) -> bool {
        matches!(self, Self::Handshake { .. })
    }

    pub(super) fn handshake_step(&self) -> Option<Step> {
        match self {
            Self::Handshake { handshake, .. } if handshake.has_answered() => Some(Step::End),
            Self::Handshake { .. } => Some(Step::Answer),
            Self::Header(_) | Self::Established(_) | Self::Session(_) | Self::Failed => None,
        }
    }

    pub(super) fn holding(&self) -> Holding {
        match self {
            Self::Handshake { handshake, early } => Holding {
                partial_bytes: handshake.kept_bytes() + early.len(),
                early_bytes: early.len(),
                unsent_bytes: handshake.unsent().len(),
                ..Holding::default()
            },
            Self::Session(session) => Holding {
                partial_bytes: session.unread_bytes(),
                unsent_bytes: session.unsent_bytes(),
                early_bytes: 0,
                opened: session.opened_records(),
                key_updates: session.key_updates(),
                until: session.record_expected_by(),
                is_established: true,
            },
            Self::Header(_) | Self::Established(_) | Self::Failed => Holding::default(),
        }
    }

    /// A handshake has a time limit as a whole.
    pub(super) fn expect_record_by(&mut self, until: u64) {
        if let Self::Session(session) = self {
            session.expect_record_by(until);
        }
    }

    pub(super) fn refuse_record<T: Transport>(
        &mut self,
        transport: &mut T,
        stats: &mut TlsStats,
    ) -> io::Error {
        match self {
            Self::Handshake { handshake, .. } => {
                handshake.refuse(&HandshakeError::Overload);
                // It is closed in any case.
                let _ = write_flight(handshake, transport);
                self.fail(stats, HandshakeError::Overload)
            }
            Self::Session(session) => {
                session.refuse(Fault::Overload);
                let _ = session.flush(|bytes| transport.write(bytes));
                stats.records_refused += 1;
                stats.alerts_sent += 1;
                io::Error::new(ErrorKind::OutOfMemory, Fault::Overload)
            }
            Self::Header(_) | Self::Established(_) | Self::Failed => ErrorKind::NotConnected.into(),
        }
    }

    pub(super) fn give_up_record(&mut self, stats: &mut TlsStats) -> io::Error {
        stats.records_timed_out += 1;
        if let Self::Session(session) = self {
            session.refuse(Fault::Unfinished);
        }
        io::Error::new(ErrorKind::TimedOut, Fault::Unfinished)
    }

    pub(super) fn end_handshake(&mut self, stats: &mut TlsStats, end: HandshakeEnd) {
        if self.is_in_handshake() {
            *self = Self::Failed;
            stats.handshaking -= 1;
            match end {
                HandshakeEnd::TimedOut => stats.failed.timed_out += 1,
                HandshakeEnd::Closed => stats.failed.closed += 1,
            }
        }
    }

    fn fail(&mut self, stats: &mut TlsStats, error: HandshakeError) -> io::Error {
        *self = Self::Failed;
        stats.handshaking -= 1;
        count(stats, &error);
        of_client(error)
    }

    pub(super) fn read<T: Transport>(
        &mut self,
        transport: &mut T,
        buffer: &mut [u8],
        stats: &mut TlsStats,
    ) -> io::Result<usize> {
        while let Self::Handshake { handshake, early } = self {
            let received_bytes = match take_from(early, buffer) {
                0 => transport.read(buffer)?,
                early_bytes => early_bytes,
            };
            if received_bytes == 0 {
                return Ok(0);
            }
            let mut input = &buffer[..received_bytes];
            let stage = handshake.receive(&mut input);
            let written = write_flight(handshake, transport);
            match stage {
                Ok(Stage::Complete) => {
                    written?;
                    self.establish(input, stats)?;
                    // What it has agreed on is settled before anything is read.
                    return Err(ErrorKind::Interrupted.into());
                }
                Ok(_) => written?,
                Err(error) => return Err(self.fail(stats, error)),
            }
        }
        let session = match self {
            Self::Session(session) => session,
            Self::Header(_) => return transport.read(buffer),
            Self::Handshake { .. } | Self::Established(_) | Self::Failed => {
                return Err(ErrorKind::NotConnected.into());
            }
        };
        match session.receive(buffer, |room| transport.read(room)) {
            Ok(Received::Data(bytes)) => Ok(bytes),
            Ok(Received::Nothing) => Err(ErrorKind::WouldBlock.into()),
            // A request says itself where it ends, so a cut is not worse than an end.
            Ok(Received::Closed) | Err(ReceiveError::Fault(Fault::Cut)) => Ok(0),
            Err(ReceiveError::Fault(fault)) => {
                match fault {
                    Fault::Reported(_) => stats.alerts_received += 1,
                    _ => {
                        (stats.faults, stats.alerts_sent) =
                            (stats.faults + 1, stats.alerts_sent + 1)
                    }
                }
                self.write_queued(transport)?;
                Err(of_client(fault))
            }
            Err(ReceiveError::Io(error)) => Err(error),
        }
    }

    /// The handshake is complete. `unread` are the bytes after it.
    fn establish(&mut self, unread: &[u8], stats: &mut TlsStats) -> io::Result<()> {
        let Self::Handshake { handshake, .. } = mem::replace(self, Self::Failed) else {
            return Ok(());
        };
        let established = match handshake.finish(unread) {
            Ok(established) => established,
            Err(error) => return Err(self.fail(stats, error)),
        };
        stats.handshaking -= 1;
        stats.handshakes += 1;
        stats.resumed += u64::from(established.beginning == Beginning::Resumed);
        *self = Self::Established(Box::new(established));
        Ok(())
    }

    pub(super) fn write<T: Transport>(
        &mut self,
        transport: &mut T,
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        let session = match self {
            Self::Session(session) => session,
            // A balancer that is not trusted.
            Self::Header(_) => return transport.write_vectored(slices),
            // Nothing is answered before a request.
            Self::Handshake { .. } | Self::Established(_) | Self::Failed => {
                return Err(ErrorKind::WouldBlock.into());
            }
        };
        SCRATCH.with_borrow_mut(|scratch| {
            session.send(slices, scratch, |bytes| transport.write(bytes))
        })
    }

    pub(super) fn write_queued<T: Transport>(&mut self, transport: &mut T) -> io::Result<()> {
        match self {
            Self::Handshake { handshake, .. } => write_flight(handshake, transport),
            Self::Session(session) if session.has_unsent() => {
                match session.flush(|bytes| transport.write(bytes)) {
                    Ok(()) if session.is_closed() => transport.shutdown_write(),
                    Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
                    _ => Ok(()),
                }
            }
            Self::Header(_) | Self::Established(_) | Self::Session(_) | Self::Failed => Ok(()),
        }
    }

    pub(super) fn shutdown_write<T: Transport>(&mut self, transport: &mut T) -> io::Result<()> {
        match self {
            Self::Header(_) | Self::Handshake { .. } | Self::Established(_) | Self::Failed => {
                transport.shutdown_write()
            }
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

/// Moves the first bytes to the start of `buffer`, as many as it has room for.
fn take_from(early: &mut Vec<u8>, buffer: &mut [u8]) -> usize {
    let count = early.len().min(buffer.len());
    buffer[..count].copy_from_slice(&early[..count]);
    early.drain(..count);
    count
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

/// Counts a failed handshake.
fn count(stats: &mut TlsStats, error: &HandshakeError) {
    let failed = &mut stats.failed;
    *match error {
        HandshakeError::NotTls => &mut failed.not_tls,
        HandshakeError::TooLong => &mut failed.too_long,
        _ if error.is_old_version() => &mut failed.old_version,
        HandshakeError::Closed => &mut failed.closed,
        HandshakeError::Overload => &mut failed.overload,
        _ => &mut failed.refused,
    } += 1;
    match error {
        HandshakeError::Closed => {}
        _ if error.is_reported() => stats.alerts_received += 1,
        _ => stats.alerts_sent += 1,
    }
}

fn of_client(error: impl Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

thread_local! {
    /// Three records of one write: 49,218 bytes.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}
