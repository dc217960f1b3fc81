//! Reads the body of a request from bytes that come in any pieces.
//!
//! It knows no head. Chunk extensions and trailer fields are validated, limited and dropped,
//! because nothing in this crate uses them (RFC 9112 sections 7.1.1 and 7.1.2 permit that).
//!
//! ```text
//!          size CRLF            size bytes       CRLF
//! Size ----------------> Data ------------> ------------> Size
//!   | 0 CRLF
//!   v         field CRLF              CRLF
//! Trailer ----------------> Trailer -------> complete
//! ```

use super::{
    Refusal,
    fields::{is_token_byte, is_value_byte},
    head::Framing,
};
use crate::Limits;

/// The part of a body that is still missing.
#[derive(Debug)]
pub(super) enum BodyReader {
    Length { remaining_bytes: usize },
    Chunked(ChunkedReader),
}

/// Whether a body is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fill {
    /// All input was taken and more is needed.
    Open,
    Complete,
}

impl BodyReader {
    /// Refuses a length over the limit before any byte of the body has arrived.
    pub(super) fn new(framing: Framing, limits: &Limits) -> Result<Self, Refusal> {
        let Framing::Length(length_bytes) = framing else {
            return Ok(Self::Chunked(ChunkedReader::new()));
        };
        match usize::try_from(length_bytes) {
            Ok(remaining_bytes) if remaining_bytes <= limits.body_bytes => {
                Ok(Self::Length { remaining_bytes })
            }
            _ => Err(Refusal::BODY_LENGTH),
        }
    }

    /// Moves body bytes from the start of `input` to the end of `body`.
    pub(super) fn take(
        &mut self,
        input: &mut &[u8],
        body: &mut Vec<u8>,
        limits: &Limits,
    ) -> Result<Fill, Refusal> {
        match self {
            Self::Length { remaining_bytes } => {
                take_data(remaining_bytes, input, body);
                Ok(if *remaining_bytes == 0 { Fill::Complete } else { Fill::Open })
            }
            Self::Chunked(chunked) => chunked.take(input, body, limits),
        }
    }
}

fn take_data(remaining_bytes: &mut usize, input: &mut &[u8], body: &mut Vec<u8>) {
    let (data, rest) = input.split_at(input.len().min(*remaining_bytes));
    body.extend_from_slice(data);
    *remaining_bytes -= data.len();
    *input = rest;
}

/// The decoder of the chunked transfer coding (RFC 9112 section 7.1).
#[derive(Debug)]
pub(super) struct ChunkedReader {
    state: ChunkState,
    /// For the current chunk: first its size as read so far, then the rest of its data.
    remaining: u64,
    /// Bytes of extensions and trailers so far, plus the part of size lines that exceeds their
    /// data.
    overhead_bytes: usize,
    /// Digits of the current size.
    size_digits: u8,
}

#[derive(Debug, Clone, Copy)]
enum ChunkState {
    Size {
        digits: u8,
    },
    /// White space after the size or a value: only an extension may follow.
    BeforeExtension,
    /// A name must follow a semicolon, possibly after white space.
    NameDue,
    Name,
    /// White space after a name.
    NameEnd,
    /// A token or a quoted string must follow an equals sign.
    ValueDue,
    Value,
    Quoted,
    /// After a backslash in a quoted string.
    Escaped,
    /// After the closing quote.
    QuotedEnd,
    /// LF must follow a size line.
    SizeEnd,
    Data,
    /// CR must follow the data.
    DataEnd,
    /// LF must follow that CR.
    DataEndLf,
    /// At the start of a trailer line.
    Trailer,
    TrailerName,
    TrailerValue,
    /// LF must follow a trailer field.
    TrailerEnd,
    /// LF must follow the last CR.
    LastLf,
    Complete,
}

impl ChunkedReader {
    const fn new() -> Self {
        let state = ChunkState::Size { digits: 0 };
        Self { state, remaining: 0, overhead_bytes: 0, size_digits: 0 }
    }

    fn take(
        &mut self,
        input: &mut &[u8],
        body: &mut Vec<u8>,
        limits: &Limits,
    ) -> Result<Fill, Refusal> {
        loop {
            match self.state {
                ChunkState::Complete => return Ok(Fill::Complete),
                ChunkState::Data => {
                    // The size was checked against the body's limit, so it fits.
                    let mut remaining_bytes = usize::try_from(self.remaining).unwrap_or(usize::MAX);
                    take_data(&mut remaining_bytes, input, body);
                    self.remaining = remaining_bytes as u64;
                    if self.remaining > 0 {
                        return Ok(Fill::Open);
                    }
                    self.state = ChunkState::DataEnd;
                }
                _ => {
                    let Some((&byte, rest)) = input.split_first() else {
                        return Ok(Fill::Open);
                    };
                    *input = rest;
                    self.state = self.after(byte, body.len(), limits)?;
                }
            }
        }
    }

    /// The state after one byte that is not data.
    fn after(
        &mut self,
        byte: u8,
        body_bytes: usize,
        limits: &Limits,
    ) -> Result<ChunkState, Refusal> {
        use ChunkState as S;
        Ok(match (self.state, byte) {
            (S::Size { digits }, _) if byte.is_ascii_hexdigit() => {
                // 16 digits are 64 bits: the sum cannot overflow.
                if digits == SIZE_DIGITS_MAX {
                    return Err(Refusal::CHUNK_SIZE);
                }
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                self.remaining = self.remaining << 4 | u64::from(digit);
                self.size_digits = digits + 1;
                S::Size { digits: digits + 1 }
            }
            (S::Size { digits: 0 }, _) => return Err(Refusal::CHUNK_SIZE),
            (S::Size { .. } | S::Name | S::Value | S::QuotedEnd, b'\r') => S::SizeEnd,
            (S::SizeEnd, b'\n') if self.remaining == 0 => S::Trailer,
            (S::SizeEnd, b'\n') => {
                let room_bytes = limits.body_bytes.saturating_sub(body_bytes);
                if self.remaining > room_bytes as u64 {
                    return Err(Refusal::BODY_LENGTH);
                }
                let framing_bytes = usize::from(self.size_digits) + SIZE_LINE_ENDS_BYTES;
                let excess_bytes = (framing_bytes as u64).saturating_sub(self.remaining);
                self.add_overhead(excess_bytes as usize, limits)?;
                S::Data
            }
            (S::DataEnd, b'\r') => S::DataEndLf,
            (S::DataEndLf, b'\n') => S::Size { digits: 0 },
            (S::Trailer, b'\r') => S::LastLf,
            (S::Trailer | S::TrailerName, _) if is_token_byte(byte) => {
                self.overhead(S::TrailerName, limits)?
            }
            (S::TrailerName, b':') => self.overhead(S::TrailerValue, limits)?,
            (S::TrailerValue, b'\r') => self.overhead(S::TrailerEnd, limits)?,
            (S::TrailerValue, _) if is_value_byte(byte) => {
                self.overhead(S::TrailerValue, limits)?
            }
            (S::TrailerEnd, b'\n') => self.overhead(S::Trailer, limits)?,
            (S::LastLf, b'\n') => S::Complete,
            (S::DataEnd | S::DataEndLf, _) => return Err(Refusal::CHUNK_DATA),
            (S::Trailer | S::TrailerName | S::TrailerValue | S::TrailerEnd | S::LastLf, _) => {
                return Err(Refusal::TRAILER);
            }
            (extension, _) => {
                let next = after_extension_byte(extension, byte).ok_or(Refusal::CHUNK_LINE)?;
                self.overhead(next, limits)?
            }
        })
    }

    /// Moves to `next` and counts the byte.
    fn overhead(&mut self, next: ChunkState, limits: &Limits) -> Result<ChunkState, Refusal> {
        self.add_overhead(1, limits)?;
        Ok(next)
    }

    fn add_overhead(&mut self, bytes: usize, limits: &Limits) -> Result<(), Refusal> {
        self.overhead_bytes += bytes;
        if self.overhead_bytes > limits.chunk_overhead_bytes {
            return Err(Refusal::CHUNK_OVERHEAD);
        }
        Ok(())
    }
}

/// Extensions are not used here, but a line that violates the grammar of RFC 9112 section 7.1.1 may
/// end elsewhere for another parser.
fn after_extension_byte(state: ChunkState, byte: u8) -> Option<ChunkState> {
    use ChunkState as S;
    Some(match (state, byte) {
        (S::Size { .. } | S::BeforeExtension | S::Value | S::QuotedEnd, b' ' | b'\t') => {
            S::BeforeExtension
        }
        (S::Size { .. } | S::BeforeExtension | S::Value | S::QuotedEnd, b';') => S::NameDue,
        (S::Name | S::NameEnd, b';') | (S::NameDue, b' ' | b'\t') => S::NameDue,
        (S::Name | S::NameEnd, b' ' | b'\t') => S::NameEnd,
        (S::Name | S::NameEnd, b'=') | (S::ValueDue, b' ' | b'\t') => S::ValueDue,
        (S::ValueDue, b'"') => S::Quoted,
        (S::Quoted, b'"') => S::QuotedEnd,
        (S::Quoted, b'\\') => S::Escaped,
        (S::Quoted | S::Escaped, _) if is_value_byte(byte) => S::Quoted,
        (S::NameDue | S::Name, _) if is_token_byte(byte) => S::Name,
        (S::ValueDue | S::Value, _) if is_token_byte(byte) => S::Value,
        _ => return None,
    })
}

const SIZE_DIGITS_MAX: u8 = 16;
/// Line ends of the size line and of the data.
const SIZE_LINE_ENDS_BYTES: usize = 4;
