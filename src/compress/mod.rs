//! Content codings of event streams: compressed once per event, not once per client.
//!
//! A compressed response is one endless stream of its coding, *spliced* from pieces. Each piece
//! belongs to one event and has the same bytes for all clients:
//!
//! ```text
//!   open          key(1)  delta(1→2)  delta(2→3)  delta(3→4)     who was there from the start
//!                             │           │           │
//!   open                  key(2)      delta(2→3)  delta(3→4)     who joined at 2
//!   open          key(1)      -       reset key(3) delta(3→4)    who missed 2
//!   open          key(1)  delta(1→2)  raw(p) delta(2p→3)  ...    who got p in private
//! ```
//!
//! * [`Compressor::open`] is the start of every response in a coding.
//! * A *key* refers to nothing before it. It can directly follow `open`; elsewhere
//!   [`Compressor::reset`] must precede it.
//! * A *delta* refers to the last bytes that its decoder has output, its *history*, and to no other
//!   state of the decoder. One delta therefore serves all clients with the same history.
//! * *raw* carries bytes without changing any other state.
//! * A *secret* is raw. In the history for later deltas it is replaced by bytes that occur in no
//!   text. So nothing refers to it, and later pieces are compressed as if it were not there.
//!
//! Each piece ends at a byte boundary and is decoded as soon as it has arrived.
//!
//! # What a decoder remembers, and why splicing is correct
//! | coding | besides the history | how pieces handle it |
//! |---|---|---|
//! | deflate (`gzip`) | nothing | nothing |
//! | `zstd` | three repeat offsets; entropy tables | the reset block; every piece is compressed as its own frame, and the first blocks of a frame use no older tables |
//! | `br` | four last distances; the last two bytes as context | never used; the first two bytes of a piece are stored |
//!
//! # Contract for callers
//! * No decoded output may come between a piece and the delta that has it as history, unless it is
//!   made part of that history, as keep-alive comments are.
//! * The decoder of a key or delta must have been opened with a window of at least
//!   [`window_for`]`(history, message)` bytes. `usize::MAX` is always correct; less saves memory in
//!   clients.
//! * A reset block and the delta after it decode to a comment and the message. So pieces may only
//!   be placed between events, not inside one.
//!
//! This layer knows no events, streams, topics or clock: bytes come in and bytes go out.

#[cfg(feature = "brotli")]
mod brotli;
mod checksum;
mod compressor;
mod encoding;
#[cfg(feature = "gzip")]
mod gzip;
mod negotiate;
mod settings;
#[cfg(test)]
mod tests;
mod zstd;

pub use compressor::CompressionCounts;
pub use encoding::Encoding;
pub use settings::Compression;

pub(crate) use checksum::{Checksum, TextSum};
pub(crate) use compressor::{Compressor, concealed};
pub(crate) use negotiate::negotiate;
#[cfg(any(test, feature = "brotli"))]
pub(crate) use zstd::window_for;

/// One coding. All methods append complete pieces and none can fail: what cannot be compressed,
/// because there is no memory for a context, is stored.
trait Codec: std::fmt::Debug {
    /// The beginning of a response whose window has `1 << window_log` bytes.
    fn open(&self, window_log: u32, out: &mut Vec<u8>);
    /// What makes a key decodable in mid-stream.
    fn reset(&self) -> &'static [u8];
    /// `message` is not empty.
    fn key(&mut self, message: &[u8], out: &mut Vec<u8>);
    /// Neither is empty. Returns what is decoded before the message: the output of a reset block,
    /// or nothing.
    fn delta(&mut self, history: &[u8], message: &[u8], out: &mut Vec<u8>) -> &'static [u8];
    fn raw(&self, bytes: &[u8], out: &mut Vec<u8>);
    /// A complete body.
    fn whole(&mut self, body: &[u8], out: &mut Vec<u8>);
}

/// The smallest power of two that is a window for this many bytes.
fn window_log(bytes: usize, log_max: u32) -> u32 {
    let log = bytes.checked_next_power_of_two().map_or(usize::BITS, usize::trailing_zeros);
    log.clamp(WINDOW_LOG_MIN, log_max.max(WINDOW_LOG_MIN))
}

/// The end of `history` that is worth searching.
///
/// The complete history is loaded into the match finder for each message, which is nearly all of
/// the work for a message of 100 bytes: 10 us for 32 KiB against 2 us for 4 KiB. A small message
/// usually resembles the ones shortly before it.
fn worthwhile(history: &[u8], message_bytes: usize) -> &[u8] {
    tail(history, message_bytes.saturating_mul(HISTORY_PER_MESSAGE).max(HISTORY_BYTES_MIN))
}

fn tail(bytes: &[u8], bytes_max: usize) -> &[u8] {
    &bytes[bytes.len().saturating_sub(bytes_max)..]
}

/// 128 KiB: below it, zstd's blocks would have to be smaller.
const WINDOW_LOG_MIN: u32 = 17;
/// 8 MiB: browsers refuse zstd frames that declare more (RFC 9659).
const WINDOW_LOG_MAX: u32 = 23;
const HISTORY_BYTES_MIN: usize = 4 * 1024;
const HISTORY_PER_MESSAGE: usize = 16;
