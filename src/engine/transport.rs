//! What the engine needs of a socket.

use std::io::{self, IoSlice};

use super::api::config::TcpOptions;

/// A non-blocking byte stream to one client.
///
/// The contract is that of a non-blocking socket: [`io::ErrorKind::WouldBlock`] means "not now",
/// and whoever drives the engine reports when that changes; a read of zero bytes is the peer's
/// FIN; any other error is the end of the connection. Dropping it closes it.
pub(crate) trait Transport {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// True if a read may give less than there is without the poller's having said so. Then only
    /// [`io::ErrorKind::WouldBlock`] says that the socket is empty.
    fn splits_reads(&self) -> bool;

    /// Writes a prefix of `bytes`.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Writes a prefix of the slices as one piece.
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Sends our FIN behind what was written; reading goes on.
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// Has the system ask the client whether it is there, whenever it was quiet for a while; for a
    /// stream to which nothing may be sent for very long.
    fn send_keep_alive_probes(&mut self, tcp: &TcpOptions);

    /// Makes the close that follows a reset instead of an orderly end.
    fn reset_on_close(&mut self);
}
