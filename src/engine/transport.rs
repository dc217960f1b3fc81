//! The engine's view of a socket.

use std::io::{self, IoSlice};

use super::api::config::TcpOptions;

/// A non-blocking byte stream to one client.
///
/// The contract is that of a non-blocking socket. [`io::ErrorKind::WouldBlock`] means "not now";
/// the driver of the engine reports when that changes. A read of zero bytes is the peer's FIN. Any
/// other error ends the connection. Dropping it closes it.
pub(crate) trait Transport {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// True if a read may return less than is available without a poller report. Then only
    /// [`io::ErrorKind::WouldBlock`] means that the socket is empty.
    fn splits_reads(&self) -> bool;

    /// Writes a prefix of `bytes`.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Writes a prefix of the slices as one piece.
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// True once, after it has refused bytes for the first time, if the driver has to ask its poller to
    /// report when it takes some again.
    fn asks_for_writability(&mut self) -> bool {
        false
    }

    /// The socket is writable: continues what the transport itself has to write, if anything, such
    /// as a handshake.
    fn write_queued(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Sends our FIN after the written bytes; reading continues.
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// Enables the system's keep-alive probes; for a stream that may have nothing to send for a
    /// long time.
    fn send_keep_alive_probes(&mut self, tcp: &TcpOptions);

    /// Makes the following close an orderly end for protocols that tell it from a cut.
    fn end_on_close(&mut self) {}

    /// Makes the following close a reset instead of an orderly end.
    fn reset_on_close(&mut self);
}
