//! Gzip (RFC 1952): one member without end, made of deflate blocks.
//!
//! Deflate carries only the last 32 KiB from block to block. A delta is therefore a separate
//! deflate stream that has its history as dictionary and ends with a sync flush.

use std::fmt;

use flate2::{Compress, CompressError, Compression as Level, Crc, FlushCompress, Status};

use super::{Codec, tail, worthwhile};

pub(super) struct Gzip {
    level: u32,
    context: Option<Compress>,
    buffer: Vec<u8>,
}

impl Gzip {
    pub(super) const fn new(level: u32) -> Self {
        let level = if level < LEVEL_MIN { LEVEL_MIN } else { level };
        let level = if level > LEVEL_MAX { LEVEL_MAX } else { level };
        Self { level, context: None, buffer: Vec::new() }
    }

    fn deflate(&mut self, history: &[u8], message: &[u8], flush: FlushCompress, out: &mut Vec<u8>) {
        let start = out.len();
        if self.try_deflate(history, message, flush, out).is_err() {
            out.truncate(start);
            append_stored_blocks(message, out);
            if matches!(flush, FlushCompress::Finish) {
                out.extend_from_slice(&EMPTY_LAST_BLOCK);
            }
        }
    }

    fn try_deflate(
        &mut self,
        history: &[u8],
        message: &[u8],
        flush: FlushCompress,
        out: &mut Vec<u8>,
    ) -> Result<(), CompressError> {
        self.buffer.resize(BUFFER_BYTES, 0);
        let context = match &mut self.context {
            Some(context) => {
                context.reset();
                context
            }
            empty => empty.insert(Compress::new(Level::new(self.level), false)),
        };
        if !history.is_empty() {
            context.set_dictionary(tail(history, WINDOW_BYTES))?;
        }
        loop {
            let (bytes_in, bytes_out) = (context.total_in(), context.total_out());
            let rest = message.get(bytes_in as usize..).unwrap_or_default();
            let status = context.compress(rest, &mut self.buffer, flush)?;
            let written = (context.total_out() - bytes_out) as usize;
            out.extend_from_slice(&self.buffer[..written]);
            // Room left over means that nothing is held back.
            let is_taken = context.total_in() as usize >= message.len();
            if status == Status::StreamEnd || (is_taken && written < self.buffer.len()) {
                return Ok(());
            }
        }
    }
}

impl Codec for Gzip {
    fn open(&self, _window_log: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&HEADER);
    }

    fn reset(&self) -> &'static [u8] {
        &[]
    }

    fn key(&mut self, message: &[u8], out: &mut Vec<u8>) {
        self.deflate(&[], message, FlushCompress::Sync, out);
    }

    fn delta(&mut self, history: &[u8], message: &[u8], out: &mut Vec<u8>) -> &'static [u8] {
        let history = worthwhile(history, message.len());
        self.deflate(history, message, FlushCompress::Sync, out);
        &[]
    }

    fn raw(&self, bytes: &[u8], out: &mut Vec<u8>) {
        append_stored_blocks(bytes, out);
    }

    fn whole(&mut self, body: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&HEADER);
        self.deflate(&[], body, FlushCompress::Finish, out);
        let mut crc = Crc::new();
        crc.update(body);
        out.extend_from_slice(&crc.sum().to_le_bytes());
        out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    }
}

impl fmt::Debug for Gzip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gzip")
            .field("level", &self.level)
            .field("has_context", &self.context.is_some())
            .finish_non_exhaustive()
    }
}

/// RFC 1951, section 3.2.4. Every piece ends at a byte boundary, so the block starts with one.
fn append_stored_blocks(bytes: &[u8], out: &mut Vec<u8>) {
    for block in bytes.chunks(usize::from(u16::MAX)) {
        let length = block.len() as u16;
        out.push(0);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
}

/// Magic, deflate, no flags, no time, no hints, system unknown.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
const EMPTY_LAST_BLOCK: [u8; 5] = [1, 0, 0, 0xff, 0xff];
const WINDOW_BYTES: usize = 32 * 1024;
const BUFFER_BYTES: usize = 16 * 1024;
const LEVEL_MIN: u32 = 1;
const LEVEL_MAX: u32 = 9;
