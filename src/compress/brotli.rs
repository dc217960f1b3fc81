//! Brotli (RFC 7932): one stream without end, made of byte-aligned meta-blocks.
//!
//! Each piece comes from its own encoder in "catable" mode: no static dictionary, no use of last
//! distances it has not set itself, and the first two bytes stored, because the context of later
//! literals depends on them. An encoder cannot be reused: each piece allocates and frees about 0.9
//! MiB in twenty allocations.

use std::fmt;

use brotli::enc::{
    BrotliEncoderParams, StandardAlloc,
    backward_references::UnionHasher,
    encode::{BrotliEncoderOperation, BrotliEncoderStateStruct},
};

use memchr::memmem;

use super::{Codec, WINDOW_LOG_MIN, window_for, window_log, worthwhile};

pub(super) struct Brotli {
    quality: i32,
    window_log_max: u32,
    buffer: Vec<u8>,
}

impl Brotli {
    pub(super) fn new(quality: u32, window_log_max: u32) -> Self {
        let quality = quality.clamp(QUALITY_MIN, QUALITY_MAX) as i32;
        Self { quality, window_log_max, buffer: Vec::new() }
    }

    /// For complete bodies only, which have no dictionary.
    pub(super) fn for_all(window_log_max: u32) -> Self {
        Self { quality: QUALITY_FOR_ALL, window_log_max, buffer: Vec::new() }
    }

    fn piece(&mut self, history: &[u8], message: &[u8], out: &mut Vec<u8>) {
        let mut encoder = BrotliEncoderStateStruct::new(StandardAlloc::default());
        encoder.params = BrotliEncoderParams {
            quality: self.quality,
            lgwin: self.window_log(history.len(), message.len()),
            size_hint: message.len(),
            catable: true,
            appendable: true,
            use_dictionary: false,
            byte_align: true,
            bare_stream: true,
            ..BrotliEncoderParams::default()
        };
        let start = out.len();
        let mut is_fine = true;
        if let Some(end) = dictionary_end(history, message) {
            let (dictionary, rest) = history.split_at(end);
            let no_hasher = UnionHasher::Uninit;
            encoder.set_custom_dictionary_with_optional_precomputed_hasher(
                end, dictionary, no_hasher, true,
            );
            // The decoder has the rest as well. It supplies the stored bytes that the encoder
            // starts with, and is too short for anything the encoder would remember.
            is_fine = self.run(&mut encoder, rest, FLUSH, out);
            out.truncate(start);
        }
        if !(is_fine && self.run(&mut encoder, message, FLUSH, out)) {
            out.truncate(start);
            append_uncompressed(message, out);
        }
    }

    /// Returns whether the encoder succeeded.
    fn run(
        &mut self,
        encoder: &mut BrotliEncoderStateStruct<StandardAlloc>,
        message: &[u8],
        operation: BrotliEncoderOperation,
        out: &mut Vec<u8>,
    ) -> bool {
        self.buffer.resize(BUFFER_BYTES, 0);
        let (mut left, mut taken) = (message.len(), 0);
        loop {
            let (mut room, mut written) = (self.buffer.len(), 0);
            let is_fine = encoder.compress_stream(
                operation,
                &mut left,
                message,
                &mut taken,
                &mut room,
                &mut self.buffer,
                &mut written,
                &mut None,
                &mut |_, _, _, _| (),
            );
            out.extend_from_slice(&self.buffer[..written]);
            if !is_fine || (left == 0 && !encoder.has_more_output()) {
                return is_fine;
            }
        }
    }

    fn window_log(&self, history_bytes: usize, message_bytes: usize) -> i32 {
        window_log(window_for(history_bytes, message_bytes), self.window_log_max) as i32
    }
}

impl Codec for Brotli {
    fn open(&self, window_log: u32, out: &mut Vec<u8>) {
        // RFC 7932, section 9.1: 17 takes seven bits, 18 and more take four. An empty meta-block
        // fills the rest of the byte.
        let (header, bits) = match window_log {
            ..=WINDOW_LOG_MIN => (1, 7),
            log => (((log - 17) << 1 | 1) as u16, 4),
        };
        out.extend_from_slice(&(header | EMPTY_METADATA_BLOCK << bits).to_le_bytes());
    }

    fn reset(&self) -> &'static [u8] {
        &[]
    }

    fn key(&mut self, message: &[u8], out: &mut Vec<u8>) {
        self.piece(&[], message, out);
    }

    fn delta(&mut self, history: &[u8], message: &[u8], out: &mut Vec<u8>) -> &'static [u8] {
        let fits = window_for(history.len(), message.len()) <= 1 << self.window_log_max;
        let history = if fits { worthwhile(history, message.len()) } else { &[] };
        self.piece(history, message, out);
        &[]
    }

    fn raw(&self, bytes: &[u8], out: &mut Vec<u8>) {
        append_uncompressed(bytes, out);
    }

    fn whole(&mut self, body: &[u8], out: &mut Vec<u8>) {
        let mut encoder = BrotliEncoderStateStruct::new(StandardAlloc::default());
        encoder.params = BrotliEncoderParams {
            quality: self.quality,
            lgwin: self.window_log(0, body.len()),
            size_hint: body.len(),
            ..BrotliEncoderParams::default()
        };
        let start = out.len();
        let operation = BrotliEncoderOperation::BROTLI_OPERATION_FINISH;
        if !self.run(&mut encoder, body, operation, out) {
            out.truncate(start);
            self.open(WINDOW_LOG_MIN, out);
            append_uncompressed(body, out);
            out.push(LAST_EMPTY_BLOCK);
        }
    }
}

impl fmt::Debug for Brotli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Brotli")
            .field("quality", &self.quality)
            .field("window_log_max", &self.window_log_max)
            .finish_non_exhaustive()
    }
}

/// Where the encoder's dictionary may end: shortly before the end of the history; `None` if
/// nowhere, which only hostile input causes.
///
/// The encoder cuts matches at the end of its dictionary. A match that starts at the last byte is
/// cut to one byte, which the format cannot express: the encoder panics, or writes invalid output
/// in release builds. Its matches have at least four bytes, so the end is chosen such that the four
/// bytes from the last one on do not occur again.
fn dictionary_end(history: &[u8], message: &[u8]) -> Option<usize> {
    (ENDS_BEFORE_MIN..=ENDS_BEFORE_MAX).find_map(|before| {
        let end = history.len().checked_sub(before).filter(|&end| end >= DICTIONARY_BYTES_MIN)?;
        let mut around = [0; 2 * ENDS_BEFORE_MAX];
        let near = message.len().min(MATCH_BYTES_MIN - 1);
        let around = &mut around[..1 + before + near];
        around[..1 + before].copy_from_slice(&history[end - 1..]);
        around[1 + before..].copy_from_slice(&message[..near]);
        let (last, behind) = (&around[..MATCH_BYTES_MIN], &around[1..]);
        let comes_again = behind.windows(MATCH_BYTES_MIN).any(|bytes| bytes == last)
            || memmem::find(&message[..message.len().saturating_sub(UNMATCHED_BYTES)], last)
                .is_some();
        (!comes_again).then_some(end)
    })
}

/// RFC 7932, section 9.2. Every piece ends at a byte boundary, so the meta-block starts with one:
/// not last, four nibbles of length, uncompressed.
fn append_uncompressed(bytes: &[u8], out: &mut Vec<u8>) {
    for block in bytes.chunks(1 << 16) {
        let header = ((block.len() - 1) as u32) << 3 | IS_UNCOMPRESSED;
        out.extend_from_slice(&header.to_le_bytes()[..3]);
        out.extend_from_slice(block);
    }
}

const FLUSH: BrotliEncoderOperation = BrotliEncoderOperation::BROTLI_OPERATION_FLUSH;
/// The encoder stores the first two bytes of its input.
const ENDS_BEFORE_MIN: usize = 2;
/// Below what the encoder's hashes cover, so that it finds no match there.
const ENDS_BEFORE_MAX: usize = 7;
/// Smaller ones do not pay off; the encoder needs at least two bytes.
const DICTIONARY_BYTES_MIN: usize = 8;
const MATCH_BYTES_MIN: usize = 4;
/// The encoder starts no match in the last eight bytes; of one before them, these follow.
const UNMATCHED_BYTES: usize = 5;
const IS_UNCOMPRESSED: u32 = 1 << 19;
/// Six bits: not last, metadata, no length.
const EMPTY_METADATA_BLOCK: u16 = 0b00_0110;
const LAST_EMPTY_BLOCK: u8 = 0b11;
const BUFFER_BYTES: usize = 16 * 1024;
/// Below this the encoder uses no history.
const QUALITY_MIN: u32 = 2;
/// Above this the encoder looks for matches of two bytes; see [`dictionary_end`].
const QUALITY_MAX: u32 = 4;
/// Of bodies that are compressed once. The next one takes twice the time for 2 % fewer bytes.
const QUALITY_FOR_ALL: i32 = 5;
