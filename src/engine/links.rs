//! The transports of the connections. Only this file touches a [`Transport`]; the rest of the
//! engine decides what to write.

use std::io::{Error, ErrorKind, IoSlice};

use super::{
    api::config::TcpOptions,
    handshake_share::{HandshakeShare, Step},
    keys::ConnIndex,
    ledger::{HandshakeEnd, Ledger, Verdict},
    secured::Secured,
    stats::TlsStats,
    transport::Transport,
};
#[cfg(feature = "tls")]
use super::{opening::Opening, tls_clients::TlsClients};
use crate::limits::Limits;
#[cfg(feature = "tls")]
use crate::{http::Security, tls::TlsConfig};

/// Sockets, by connection.
///
/// They are not part of the connection because applications name the types
/// [`Stream`](super::Stream) and [`Context`](super::Context): a type parameter for the transport
/// would appear in the signature of every closure.
#[derive(Debug)]
pub(super) struct Links<T> {
    transports: Vec<Option<Secured<T>>>,
    /// Connections whose transports ask for reports of writability.
    refusing: Vec<ConnIndex>,
    ledger: Ledger,
    share: HandshakeShare,
    #[cfg(feature = "tls")]
    tls_clients: TlsClients,
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
    pub(super) fn new(connections: usize, limits: &Limits) -> Self {
        Self {
            transports: Vec::with_capacity(connections),
            refusing: Vec::new(),
            ledger: Ledger::new(limits),
            share: HandshakeShare::new(limits.tls_handshake_share),
            #[cfg(feature = "tls")]
            tls_clients: TlsClients::default(),
        }
    }

    pub(super) fn begin_turn(&mut self, now: u64) {
        self.ledger.begin_turn(now);
        self.share.begin_turn();
    }

    /// Sets a clock in nanoseconds that times handshakes.
    pub(super) fn set_stopwatch(&mut self, stopwatch: fn() -> u64) {
        self.share.set_clock(stopwatch);
    }

    /// Whether this turn has time for the expensive part of a TLS handshake.
    pub(super) fn may_answer_handshake(&self) -> bool {
        self.share.allows(Step::Answer)
    }

    /// Whether the expensive part of the connection's TLS handshake has not been done yet.
    pub(super) fn is_before_answer(&mut self, index: ConnIndex) -> bool {
        self.secured(index).handshake_step() == Some(Step::Answer)
    }

    pub(super) fn tls_stats(&self) -> TlsStats {
        #[cfg(feature = "tls")]
        return TlsStats { client_bytes: self.tls_clients.bytes() as u64, ..*self.ledger.stats() };
        #[cfg(not(feature = "tls"))]
        *self.ledger.stats()
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

    /// Expects a TLS handshake on a connection that has just been opened, at once or after a PROXY
    /// protocol header.
    #[cfg(feature = "tls")]
    pub(super) fn begin_tls(
        &mut self,
        index: ConnIndex,
        config: &TlsConfig,
        opening: Opening,
    ) -> Result<(), Error> {
        let begun = self.with(index, |transport, stats| match opening {
            Opening::Request => transport.begin_tls(config, stats),
            Opening::ProxyHeader | Opening::UntrustedProxyHeader => {
                transport.await_header(config);
                Ok(())
            }
        });
        begun.map_err(Error::other)
    }

    /// The PROXY protocol header is complete. With TLS, the handshake begins with the bytes after it,
    /// which are taken: the result is true.
    #[cfg(feature = "tls")]
    pub(super) fn end_header(&mut self, index: ConnIndex, rest: &[u8]) -> Result<bool, Error> {
        let ended = self.with(index, |transport, stats| transport.end_header(rest, stats));
        ended.map_err(Error::other)
    }

    #[cfg(not(feature = "tls"))]
    pub(super) fn end_header(&mut self, _index: ConnIndex, _rest: &[u8]) -> Result<bool, Error> {
        Ok(false)
    }

    /// Bytes that were read elsewhere. With TLS, the handshake takes them with the next read: the
    /// result is true.
    #[cfg(feature = "tls")]
    pub(super) fn take_early(&mut self, index: ConnIndex, bytes: &[u8]) -> bool {
        self.with(index, |transport, _| transport.take_early(bytes))
    }

    #[cfg(not(feature = "tls"))]
    pub(super) fn take_early(&mut self, _index: ConnIndex, _bytes: &[u8]) -> bool {
        false
    }

    /// The TLS handshake of this connection took so long, from accept to its end.
    pub(super) fn add_handshake_time(&mut self, took_ms: u64) {
        self.ledger.stats_mut().handshake_ms.add(took_ms);
    }

    /// The TLS handshake of this connection has had its time.
    pub(super) fn give_up_handshake(&mut self, index: ConnIndex) {
        self.with(index, |it, stats| it.end_handshake(stats, HandshakeEnd::TimedOut));
    }

    /// A connection that has not completed a record of TLS in time, and that it has not.
    pub(super) fn give_up_record(&mut self) -> Option<(ConnIndex, Error)> {
        let index = self.ledger.next_overdue()?;
        let error = self.with(index, Secured::give_up_record);
        Some((index, error))
    }

    /// When [`give_up_record`](Self::give_up_record) has something to do.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.ledger.next_deadline()
    }

    /// What a request on this connection knows of TLS.
    #[cfg(feature = "tls")]
    pub(super) fn security(&mut self, index: ConnIndex) -> Security {
        match self.secured(index).is_secure() {
            true => Security::Tls(self.tls_clients.get(index).cloned()),
            false => Security::None,
        }
    }

    /// Closes the connection's socket.
    pub(super) fn close(&mut self, index: ConnIndex, close: Close) {
        let Some(mut transport) = self.transports[index.slot()].take() else { return };
        if let Some(held) = transport.holding() {
            self.ledger.forget(index, &held);
            transport.end_handshake(self.ledger.stats_mut(), HandshakeEnd::Closed);
        }
        #[cfg(feature = "tls")]
        self.tls_clients.remove(index);
        match close {
            Close::InOrder => transport.end_on_close(),
            Close::Reset => transport.reset_on_close(),
        }
    }

    /// Borrows the transport, to register it with a poller.
    pub(super) fn get(&mut self, index: ConnIndex) -> &mut T {
        self.secured(index).transport()
    }

    /// A connection whose transport has asked for reports of writability, with it. The connection may
    /// have ended since, and another one may have its place.
    pub(super) fn next_refusing(&mut self) -> Option<(ConnIndex, &mut T)> {
        loop {
            let index = self.refusing.pop()?;
            if self.transports[index.slot()].is_some() {
                return Some((index, self.get(index)));
            }
        }
    }

    fn secured(&mut self, index: ConnIndex) -> &mut Secured<T> {
        self.transports[index.slot()].as_mut().expect(RELEASED)
    }

    /// Does something with a transport. With TLS, notes what that changes.
    #[inline]
    fn with<R>(
        &mut self,
        index: ConnIndex,
        act: impl FnOnce(&mut Secured<T>, &mut TlsStats) -> R,
    ) -> R {
        self.judged(index, act).0
    }

    /// The same, and whether the connection holds too much now.
    #[inline]
    fn judged<R>(
        &mut self,
        index: ConnIndex,
        act: impl FnOnce(&mut Secured<T>, &mut TlsStats) -> R,
    ) -> (R, Verdict) {
        let transport = self.transports[index.slot()].as_mut().expect(RELEASED);
        let before = transport.holding();
        let result = act(transport, self.ledger.stats_mut());
        if transport.transport().asks_for_writability() {
            self.refusing.push(index);
        }
        let Some(before) = before else { return (result, Verdict::Fine) };
        let after = transport.holding().unwrap_or_default();
        let verdict = self.ledger.note(index, &before, &after);
        if let Verdict::Until(until) = verdict {
            transport.expect_record_by(until);
            self.ledger.expect_by(index, until);
        }
        (result, verdict)
    }

    /// Offers the slices to the socket in one write.
    #[inline]
    pub(super) fn write(&mut self, index: ConnIndex, slices: &[IoSlice<'_>]) -> Outcome {
        self.with(index, |transport, _| {
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
        })
    }

    pub(super) fn read(&mut self, index: ConnIndex, buffer: &mut [u8]) -> Received {
        let Some(step) = self.secured(index).handshake_step() else {
            return self.read_now(index, buffer);
        };
        if !self.share.allows(step) {
            let early_bytes = self.secured(index).holding().map_or(0, |held| held.early_bytes);
            return match early_bytes > 0 && self.ledger.is_exceeded() {
                true => Received::Failed(self.with(index, Secured::refuse_record)),
                false => Received::Later,
            };
        }
        let began_nanos = self.share.begin();
        let received = self.read_now(index, buffer);
        let has_answered = step == Step::Answer && !self.is_before_answer(index);
        self.share.end(step, began_nanos, has_answered);
        received
    }

    fn read_now(&mut self, index: ConnIndex, buffer: &mut [u8]) -> Received {
        #[cfg(feature = "tls")]
        let mut settled = None;
        let (received, verdict) = self.judged(index, |transport, stats| {
            loop {
                return match transport.read(buffer, stats) {
                    Ok(0) => Received::End,
                    Ok(count) => {
                        let cost_bytes = transport.read_cost_bytes(count, buffer.len());
                        Received::Bytes { count, cost_bytes }
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => Received::Nothing,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {
                        #[cfg(feature = "tls")]
                        if let Some(client) = transport.settle() {
                            settled = Some(client);
                        }
                        continue;
                    }
                    Err(error) => Received::Failed(error),
                };
            }
        });
        #[cfg(feature = "tls")]
        if let Some(client) = settled {
            self.tls_clients.add(index, client);
        }
        match verdict {
            Verdict::TooMuch => Received::Failed(self.with(index, Secured::refuse_record)),
            Verdict::Fine | Verdict::Until(_) => received,
        }
    }

    /// Whether the TLS handshake of this connection is complete.
    pub(super) fn is_established(&mut self, index: ConnIndex) -> bool {
        self.secured(index).holding().is_some_and(|held| held.is_established)
    }

    /// See [`Transport::write_queued`].
    pub(super) fn write_queued(&mut self, index: ConnIndex) -> Result<(), Error> {
        self.with(index, |transport, _| transport.write_queued())
    }

    /// See [`Transport::splits_reads`].
    pub(super) fn splits_reads(&mut self, index: ConnIndex) -> bool {
        self.secured(index).splits_reads()
    }

    /// Sends our FIN after the written bytes; reading continues.
    pub(super) fn shutdown_write(&mut self, index: ConnIndex) -> Result<(), Error> {
        self.with(index, |transport, _| transport.shutdown_write())
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

const RELEASED: &str = "a connection has its transport until it is released";
