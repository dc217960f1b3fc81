#[cfg(feature = "brotli")]
use super::brotli::Brotli;
#[cfg(feature = "gzip")]
use super::gzip::Gzip;
use super::zstd::Zstd;
use super::{
    Checksum, Codec, Compression, Encoding, WINDOW_LOG_MAX, WINDOW_LOG_MIN, tail, window_log,
};

/// All codings of one reactor. Contexts are created when first needed, one for each coding.
///
/// Output is appended to `out`. Nothing else is allocated once all sizes have occurred, except by
/// brotli. The same calls give the same bytes, no matter what came before. An empty message becomes
/// no bytes. With [`Encoding::Identity`], and codings that are not built in, messages are appended
/// unchanged and everything else is empty.
#[derive(Debug)]
pub(crate) struct Compressor {
    zstd: Zstd,
    #[cfg(feature = "brotli")]
    brotli: Brotli,
    #[cfg(feature = "gzip")]
    gzip: Gzip,
    window_log_max: u32,
    history_bytes: usize,
    counts: CompressionCounts,
    /// Nanoseconds since some moment. This layer has no clock; the caller may provide one.
    stopwatch: fn() -> u64,
}

/// Compression statistics. A piece that many streams share counts once.
///
/// ```
/// let counts = starwheel::Stats::default().compression;
/// assert_eq!((counts.bytes_in, counts.bytes_out), (0, 0));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompressionCounts {
    /// Bytes of keys, deltas and complete bodies before compression.
    pub bytes_in: u64,
    /// The same after compression, reset blocks included.
    pub bytes_out: u64,
    /// Events compressed without reference to another: for new subscribers and those that skipped
    /// events.
    pub keys: u64,
    /// Events compressed as deltas, including those of private streams and those that became keys
    /// because of their size.
    pub deltas: u64,
    /// Bodies of responses.
    pub wholes: u64,
    /// Time spent compressing, in nanoseconds; zero without a clock, as in a simulation.
    pub nanos: u64,
}

impl Compressor {
    /// Allocates nothing. Settings outside their range are clamped.
    pub(crate) fn new(settings: &Compression) -> Self {
        let window_log_max = settings.window_bytes_max.max(1).ilog2();
        let window_log_max = window_log_max.clamp(WINDOW_LOG_MIN, WINDOW_LOG_MAX);
        Self {
            zstd: Zstd::new(settings.zstd_level, window_log_max),
            #[cfg(feature = "brotli")]
            brotli: Brotli::new(settings.brotli_quality, window_log_max),
            #[cfg(feature = "gzip")]
            gzip: Gzip::new(settings.gzip_level),
            window_log_max,
            history_bytes: settings.history_bytes.min(HISTORY_BYTES_MAX),
            counts: CompressionCounts::default(),
            stopwatch: || 0,
        }
    }

    /// Measures the time spent with a nanosecond clock. Two readings per piece.
    pub(crate) fn set_stopwatch(&mut self, stopwatch: fn() -> u64) {
        self.stopwatch = stopwatch;
    }

    /// The start of a response: a header that declares a window of at least `window_bytes`, between
    /// 128 KiB and the maximum of the settings.
    pub(crate) fn open(&mut self, encoding: Encoding, window_bytes: usize, out: &mut Vec<u8>) {
        let window_log = window_log(window_bytes, self.window_log_max);
        if let Some(codec) = self.codec(encoding) {
            codec.open(window_log, out);
        }
    }

    /// What must precede a key in mid-stream. May be empty.
    pub(crate) fn reset(&self, encoding: Encoding) -> &'static [u8] {
        self.codec_ref(encoding).map_or(&[], Codec::reset)
    }

    /// `message` without reference to anything before. Must directly follow [`open`](Self::open),
    /// or [`reset`](Self::reset) at any place.
    pub(crate) fn key(&mut self, encoding: Encoding, message: &[u8], out: &mut Vec<u8>) {
        let (start, began) = (out.len(), (self.stopwatch)());
        match self.codec(encoding) {
            Some(_) if message.is_empty() => return,
            Some(codec) => codec.key(message, out),
            None => return out.extend_from_slice(message),
        }
        self.counts.keys += 1;
        self.count(message.len(), out.len() - start, began);
    }

    /// `message` for all decoders whose last output is `history`: the previous message, or several.
    /// Includes the reset block where needed. Without a history, and if both do not fit a window,
    /// it is a reset block and a key.
    pub(crate) fn delta(
        &mut self,
        encoding: Encoding,
        history: &[u8],
        message: &[u8],
        out: &mut Vec<u8>,
    ) {
        self.splice(encoding, history, message, out);
    }

    /// The same for a stream with its own history, which is updated: afterwards it ends like the
    /// decoder's output and has as many bytes as the settings allow, without spare capacity for
    /// more. For the first event it is empty, and it stays without memory under `Identity`.
    pub(crate) fn delta_private(
        &mut self,
        encoding: Encoding,
        history: &mut Vec<u8>,
        message: &[u8],
        out: &mut Vec<u8>,
    ) {
        let is_first = history.is_empty() && self.history_bytes > 0;
        let comment: &[u8] = if is_first {
            self.key(encoding, message, out); // Directly after `open`: no reset needed.
            &[]
        } else {
            self.splice(encoding, history, message, out)
        };
        if self.codec_ref(encoding).is_some() {
            remember(history, comment, message, self.history_bytes);
        }
    }

    /// Stores `bytes` such that they refer to nothing and change no state that later pieces rely
    /// on. For the next delta they are part of the history.
    pub(crate) fn raw(&mut self, encoding: Encoding, bytes: &[u8], out: &mut Vec<u8>) {
        match self.codec(encoding) {
            Some(codec) => codec.raw(bytes, out),
            None => out.extend_from_slice(bytes),
        }
    }

    /// Records that `text` was stored `count` times in a row on a stream with its own history, so
    /// that later pieces account for it. Before the first piece there is nothing to do.
    pub(crate) fn note_stored(&self, history: &mut Vec<u8>, text: &[u8], count: usize) {
        if count > 0 && !history.is_empty() {
            let fill = self.history_bytes / text.len() + 1;
            remember(history, &[], &text.repeat(count.min(fill)), self.history_bytes);
        }
    }

    /// Stores text on a stream with its own history, such that no later piece refers to it.
    pub(crate) fn secret_private(
        &mut self,
        encoding: Encoding,
        history: &mut Vec<u8>,
        text: &[u8],
        out: &mut Vec<u8>,
    ) {
        self.raw(encoding, text, out);
        if self.codec_ref(encoding).is_some() {
            remember(history, &[], &concealed(text), self.history_bytes);
        }
    }

    /// The end of a finished stream; `checksum` covers everything it decodes to. Strict decoders
    /// treat a stream without it as cut, so a stream that is cut must not have it.
    pub(crate) fn end(encoding: Encoding, checksum: Checksum, out: &mut Vec<u8>) {
        match encoding {
            Encoding::Zstd => out.extend_from_slice(ZSTD_EMPTY_LAST_BLOCK),
            Encoding::Brotli => out.extend_from_slice(BROTLI_EMPTY_LAST_BLOCK),
            Encoding::Gzip => {
                out.extend_from_slice(DEFLATE_EMPTY_LAST_BLOCK);
                out.extend_from_slice(&checksum.trailer());
            }
            Encoding::Identity => {}
        }
    }

    /// A complete body, for responses. An empty body is encoded too.
    pub(crate) fn whole(&mut self, encoding: Encoding, body: &[u8], out: &mut Vec<u8>) {
        let (start, began) = (out.len(), (self.stopwatch)());
        match self.codec(encoding) {
            Some(codec) => codec.whole(body, out),
            None => return out.extend_from_slice(body),
        }
        self.counts.wholes += 1;
        self.count(body.len(), out.len() - start, began);
    }

    /// The same for a body that is compressed once and sent often.
    pub(crate) fn whole_for_all(&mut self, encoding: Encoding, body: &[u8]) -> Vec<u8> {
        let settings = Compression {
            zstd_level: LEVEL_FOR_ALL,
            gzip_level: LEVEL_FOR_ALL as u32,
            window_bytes_max: 1 << self.window_log_max,
            ..Compression::default()
        };
        let (counts, stopwatch) = (self.counts, self.stopwatch);
        let mut thorough = Self {
            #[cfg(feature = "brotli")]
            brotli: Brotli::for_all(self.window_log_max),
            counts,
            stopwatch,
            ..Self::new(&settings)
        };
        let mut out = Vec::new();
        thorough.whole(encoding, body, &mut out);
        self.counts = thorough.counts;
        out
    }

    /// The counts since creation.
    pub(crate) fn stats(&self) -> CompressionCounts {
        self.counts
    }

    /// Returns what is decoded before the message.
    fn splice(
        &mut self,
        encoding: Encoding,
        history: &[u8],
        message: &[u8],
        out: &mut Vec<u8>,
    ) -> &'static [u8] {
        let (start, began) = (out.len(), (self.stopwatch)());
        let comment = match self.codec(encoding) {
            Some(_) if message.is_empty() => return &[],
            Some(codec) => codec.delta(history, message, out),
            None => {
                out.extend_from_slice(message);
                return &[];
            }
        };
        self.counts.deltas += 1;
        self.count(message.len(), out.len() - start, began);
        comment
    }

    fn count(&mut self, bytes_in: usize, bytes_out: usize, began: u64) {
        self.counts.bytes_in += bytes_in as u64;
        self.counts.bytes_out += bytes_out as u64;
        self.counts.nanos += (self.stopwatch)().saturating_sub(began);
    }

    fn codec(&mut self, encoding: Encoding) -> Option<&mut dyn Codec> {
        match encoding {
            Encoding::Zstd => Some(&mut self.zstd),
            #[cfg(feature = "brotli")]
            Encoding::Brotli => Some(&mut self.brotli),
            #[cfg(feature = "gzip")]
            Encoding::Gzip => Some(&mut self.gzip),
            _ => None,
        }
    }

    fn codec_ref(&self, encoding: Encoding) -> Option<&dyn Codec> {
        match encoding {
            Encoding::Zstd => Some(&self.zstd),
            #[cfg(feature = "brotli")]
            Encoding::Brotli => Some(&self.brotli),
            #[cfg(feature = "gzip")]
            Encoding::Gzip => Some(&self.gzip),
            _ => None,
        }
    }
}

/// The replacement for a text in the histories of later pieces, which must be texts and so have
/// nothing in common with it. The last bytes stay, because in brotli literals may depend on them
/// (not at our qualities); for an event, they are line ends.
pub(crate) fn concealed(text: &[u8]) -> Vec<u8> {
    let mut concealed = vec![IN_NO_TEXT; text.len().saturating_sub(CONTEXT_BYTES)];
    concealed.extend_from_slice(tail(text, CONTEXT_BYTES));
    concealed
}

/// Appends to a history and cuts its beginning.
fn remember(history: &mut Vec<u8>, comment: &[u8], message: &[u8], bytes_max: usize) {
    let message = tail(message, bytes_max);
    let comment = tail(comment, bytes_max - message.len());
    let new_bytes = comment.len() + message.len();
    let kept = history.len().min(bytes_max - new_bytes);
    history.drain(..history.len() - kept);
    let needed = kept + new_bytes;
    if history.capacity() < needed {
        // A quarter of headroom, so that many small events do not each move the history.
        history.reserve_exact(bytes_max.min(needed + needed / 4) - kept);
    }
    history.extend_from_slice(comment);
    history.extend_from_slice(message);
    history.shrink_to(bytes_max);
}

/// RFC 3629, section 1: this octet never appears in UTF-8, and all events are UTF-8.
const IN_NO_TEXT: u8 = 0xff;
/// RFC 7932, section 7.1.
const CONTEXT_BYTES: usize = 2;
/// RFC 8878, section 3.1.1.2: last, raw, no bytes.
const ZSTD_EMPTY_LAST_BLOCK: &[u8] = &[1, 0, 0];
/// RFC 7932, section 9.2: ISLAST and ISLASTEMPTY; every piece ends on a full byte.
const BROTLI_EMPTY_LAST_BLOCK: &[u8] = &[0b11];
/// RFC 1951, section 3.2.6: last, fixed codes, the end of the block.
const DEFLATE_EMPTY_LAST_BLOCK: &[u8] = &[0b011, 0];
/// Of zstd and gzip, for bodies that are compressed once. Further levels take twice the time for 3 %
/// fewer bytes.
const LEVEL_FOR_ALL: i32 = 9;
/// Half the largest window.
const HISTORY_BYTES_MAX: usize = 4 * 1024 * 1024;
