//! Zstandard (RFC 8878): one frame without end, content size or checksum.
//!
//! Every piece is compressed as its own frame (a delta with its history as raw dictionary). Only
//! the blocks of that frame are used, and none is marked as the last. Such blocks assume one thing
//! that a decoder in mid-stream does not have: the repeat offsets at the start of a frame.

use std::fmt;

use zstd_safe::{CCtx, CParameter, SafeResult, zstd_sys::ZSTD_MAGIC_DICTIONARY};

use super::{Codec, WINDOW_LOG_MAX, tail, worthwhile};

/// The window that a decoder needs for a delta of these sizes, or a key (`history_bytes` is 0).
pub(crate) const fn window_for(history_bytes: usize, message_bytes: usize) -> usize {
    history_bytes.saturating_add(RESET_OUTPUT.len()).saturating_add(message_bytes)
}

/// The zstd state of one reactor: a context and two buffers, created when first needed.
pub(super) struct Zstd {
    level: i32,
    window_log_max: u32,
    context: Option<CCtx<'static>>,
    /// The frame as the context produces it; initialized up to its length.
    frame: Vec<u8>,
    /// History and the output of the reset block in one piece.
    prefix: Vec<u8>,
}

impl Zstd {
    pub(super) fn new(level: i32, window_log_max: u32) -> Self {
        let level = level.clamp(LEVEL_MIN, LEVEL_MAX);
        Self { level, window_log_max, context: None, frame: Vec::new(), prefix: Vec::new() }
    }

    /// Appends the blocks of `message`, which may refer to `prefix`.
    pub(super) fn blocks(&mut self, prefix: &[u8], message: &[u8], out: &mut Vec<u8>) {
        match self.compress(prefix, message) {
            Ok(length) => append_blocks(&self.frame[..length], out),
            Err(_) => append_raw_blocks(message, out),
        }
        self.release_large_buffers();
    }

    /// Compresses one frame into `self.frame`; returns its length.
    fn compress(&mut self, prefix: &[u8], message: &[u8]) -> SafeResult {
        let bound = zstd_safe::compress_bound(message.len());
        if self.frame.len() < bound {
            self.frame.resize(bound, 0);
        }
        let context = match &mut self.context {
            Some(context) => context,
            empty => empty.insert(new_context(self.level, self.window_log_max)?),
        };
        if prefix.is_empty() {
            return context.compress2(self.frame.as_mut_slice(), message);
        }
        // The context lives longer than any prefix, which `ref_prefix` does not allow. This call
        // borrows the prefix only while it runs, and does the same work.
        context.compress_using_dict(self.frame.as_mut_slice(), message, prefix, self.level)
    }

    fn release_large_buffers(&mut self) {
        for buffer in [&mut self.frame, &mut self.prefix] {
            if buffer.capacity() > BUFFER_BYTES_KEPT {
                *buffer = Vec::new();
            }
        }
    }
}

impl Codec for Zstd {
    fn open(&self, window_log: u32, out: &mut Vec<u8>) {
        let no_size_no_checksum = 0;
        let window = ((window_log - 10) << 3) as u8;
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[no_size_no_checksum, window]);
    }

    fn reset(&self) -> &'static [u8] {
        &RESET_BLOCK
    }

    fn key(&mut self, message: &[u8], out: &mut Vec<u8>) {
        self.blocks(&[], message, out);
    }

    fn delta(&mut self, history: &[u8], message: &[u8], out: &mut Vec<u8>) -> &'static [u8] {
        let comment: &[u8] = match could_use_initial_offsets(history, message) {
            true => RESET_OUTPUT,
            false => &[],
        };
        if !comment.is_empty() {
            out.extend_from_slice(&RESET_BLOCK);
        }
        let window_bytes = 1_usize << self.window_log_max;
        if window_for(history.len(), message.len()) > window_bytes {
            self.blocks(&[], message, out);
            return comment;
        }
        let history = without_dictionary_magic(worthwhile(history, message.len()));
        if comment.is_empty() {
            self.blocks(history, message, out);
            return comment;
        }
        let mut prefix = std::mem::take(&mut self.prefix);
        prefix.clear();
        prefix.extend_from_slice(history);
        prefix.extend_from_slice(comment);
        self.blocks(&prefix, message, out);
        self.prefix = prefix;
        self.release_large_buffers();
        comment
    }

    fn raw(&self, bytes: &[u8], out: &mut Vec<u8>) {
        append_raw_blocks(bytes, out);
    }

    fn whole(&mut self, body: &[u8], out: &mut Vec<u8>) {
        match self.compress(&[], body) {
            Ok(length) => out.extend_from_slice(&self.frame[..length]),
            Err(_) => {
                self.open(WINDOW_LOG_MAX, out);
                append_raw_blocks(body, out);
                out.extend_from_slice(&EMPTY_LAST_BLOCK);
            }
        }
        self.release_large_buffers();
    }
}

impl fmt::Debug for Zstd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let context_bytes = self.context.as_ref().map_or(0, CCtx::sizeof);
        f.debug_struct("Zstd")
            .field("level", &self.level)
            .field("window_log_max", &self.window_log_max)
            .field("context_bytes", &context_bytes)
            .field("buffer_bytes", &(self.frame.capacity() + self.prefix.capacity()))
            .finish()
    }
}

fn new_context(level: i32, window_log_max: u32) -> Result<CCtx<'static>, usize> {
    let mut context = CCtx::try_create().ok_or(0_usize)?;
    context.set_parameter(CParameter::CompressionLevel(level))?;
    // Limits how far back a key larger than the window refers.
    context.set_parameter(CParameter::WindowLog(window_log_max))?;
    Ok(context)
}

/// Whether the first sequences of `message`, compressed with a history that ends like this, might
/// use one of the offsets at the start of a frame. They mean matches of three bytes or more at
/// these distances. If there are none, the reset block can be omitted.
///
/// Only small messages are checked: a large one always has such a match, and 22 more bytes do not
/// matter to it.
fn could_use_initial_offsets(history: &[u8], message: &[u8]) -> bool {
    if message.len() > SCAN_BYTES_MAX {
        return true;
    }
    let before = tail(history, INITIAL_OFFSETS[2]);
    let mut bytes = [0; INITIAL_OFFSETS[2] + SCAN_BYTES_MAX];
    let bytes = &mut bytes[..before.len() + message.len()];
    bytes[..before.len()].copy_from_slice(before);
    bytes[before.len()..].copy_from_slice(message);
    INITIAL_OFFSETS.iter().any(|&offset| {
        let mut run = 0;
        let start = before.len().max(offset).min(bytes.len());
        bytes[start..].iter().zip(&bytes[start.saturating_sub(offset)..]).any(|(byte, earlier)| {
            run = if byte == earlier { run + 1 } else { 0 };
            run == MATCH_BYTES_MIN
        })
    })
}

/// Extracts the blocks of a frame that we have just made.
fn append_blocks(frame: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&frame[frame_header_bytes(frame)..]);
    let blocks = &mut out[start..];
    let mut at = 0;
    loop {
        let header = u32::from_le_bytes([blocks[at], blocks[at + 1], blocks[at + 2], 0]);
        if header & LAST_BLOCK != 0 {
            blocks[at] &= !(LAST_BLOCK as u8);
            return;
        }
        let is_run = (header >> 1) & 3 == 1;
        at += BLOCK_HEADER_BYTES + if is_run { 1 } else { (header >> 3) as usize };
    }
}

/// RFC 8878, section 3.1.1.1. Our frames have no checksum and no dictionary id.
fn frame_header_bytes(frame: &[u8]) -> usize {
    let descriptor = frame[MAGIC.len()];
    let is_single_segment = descriptor & 0x20 != 0;
    let content_size_bytes = match descriptor >> 6 {
        0 => usize::from(is_single_segment),
        log => 1 << log,
    };
    MAGIC.len() + 1 + usize::from(!is_single_segment) + content_size_bytes
}

fn append_raw_blocks(bytes: &[u8], out: &mut Vec<u8>) {
    for block in bytes.chunks(BLOCK_BYTES_MAX) {
        let header = (block.len() as u32) << 3;
        out.extend_from_slice(&header.to_le_bytes()[..BLOCK_HEADER_BYTES]);
        out.extend_from_slice(block);
    }
}

/// A raw dictionary must not look like a trained one. Bytes are cut at the far end, so that
/// distances do not change.
fn without_dictionary_magic(history: &[u8]) -> &[u8] {
    match history.starts_with(&ZSTD_MAGIC_DICTIONARY.to_le_bytes()) {
        true => &history[1..],
        false => history,
    }
}

/// What [`RESET_BLOCK`] decodes to: a comment line of SSE.
pub(super) const RESET_OUTPUT: &[u8; 46] = b":............................................\n";

/// A compressed block that sets the repeat offsets to those at the start of a frame: literals
/// `:........`, matches of twelve bytes with the explicit offsets 8, 4 and 1, literal `\n`. Made
/// with `ZSTD_compressSequences`; with shorter matches zstd prefers a raw block, which sets no
/// offsets.
pub(super) const RESET_BLOCK: [u8; 22] = [
    0x9c, 0x00, 0x00, 0x50, 0x3a, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x0a, 0x03, 0x04,
    0x09, 0x38, 0xd8, 0x81, 0x95, 0x23,
];

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const EMPTY_LAST_BLOCK: [u8; 3] = [1, 0, 0];
const BLOCK_HEADER_BYTES: usize = 3;
const BLOCK_BYTES_MAX: usize = 128 * 1024;
const LAST_BLOCK: u32 = 1;
/// The repeat offsets at the start of a frame.
const INITIAL_OFFSETS: [usize; 3] = [1, 4, 8];
const MATCH_BYTES_MIN: usize = 3;
/// Messages up to this size are scanned for uses of the initial offsets.
const SCAN_BYTES_MAX: usize = 1024;
/// Larger buffers are freed after a large message.
const BUFFER_BYTES_KEPT: usize = 1024 * 1024;
const LEVEL_MIN: i32 = -7;
/// Higher levels refer further back than the 8 MiB that browsers accept.
const LEVEL_MAX: i32 = 19;
