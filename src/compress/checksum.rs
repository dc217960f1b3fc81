//! Computes the checksum of a complete stream from those of its pieces (RFC 1952, section 2.3.1).
//!
//! A gzip member ends with the CRC-32 and the length of its complete decoded content, which differs
//! from stream to stream. But a CRC is linear: appending a text of n bytes multiplies the checksum
//! so far by x^8n modulo the CRC's polynomial and adds the checksum of the text. Both are computed
//! once per text, so a stream costs one multiplication for each text it is sent.

/// CRC-32 and length of everything a stream has decoded to so far. Only gzip needs it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Checksum {
    crc32: u32,
    /// Modulo 2^32, as the trailer has it.
    length_bytes: u32,
}

/// A text, prepared for appending to the checksum of any stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TextSum {
    sum: Checksum,
    /// x^8n modulo the polynomial, where n is the length of the text.
    shift: u32,
}

impl Checksum {
    /// Appends a text. Takes the same time for any length.
    pub(crate) fn append(&mut self, text: &TextSum) {
        self.crc32 = product(text.shift, self.crc32) ^ text.sum.crc32;
        self.length_bytes = self.length_bytes.wrapping_add(text.sum.length_bytes);
    }

    /// The trailer: CRC32 and ISIZE.
    pub(super) fn trailer(self) -> [u8; 8] {
        let trailer = (u64::from(self.length_bytes) << 32) | u64::from(self.crc32);
        trailer.to_le_bytes()
    }
}

impl TextSum {
    /// Reads all of `text`.
    pub(crate) fn of(text: &[u8]) -> Self {
        let sum = Checksum { crc32: crc32(text), length_bytes: text.len() as u32 };
        Self { sum, shift: power(X_TO_THE_8TH, text.len()) }
    }
}

#[cfg(feature = "gzip")]
fn crc32(text: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(text);
    crc.sum()
}

/// No stream is gzip, so this is never called.
#[cfg(not(feature = "gzip"))]
const fn crc32(_text: &[u8]) -> u32 {
    0
}

/// `base` to the power of `exponent`, modulo the polynomial.
const fn power(base: u32, mut exponent: usize) -> u32 {
    let (mut result, mut square) = (ONE, base);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = product(result, square);
        }
        square = product(square, square);
        exponent >>= 1;
    }
    result
}

/// The product of two polynomials over GF(2), modulo that of the CRC. Coefficients are in reflected
/// order: the most significant bit is that of x^0.
const fn product(a: u32, mut b: u32) -> u32 {
    let (mut result, mut bit) = (0, 0);
    while bit < u32::BITS {
        result ^= b & ((a << bit) >> 31).wrapping_neg();
        b = (b >> 1) ^ (POLYNOMIAL & (b & 1).wrapping_neg());
        bit += 1;
    }
    result
}

/// That of RFC 1952, section 8, reflected and without x^32.
const POLYNOMIAL: u32 = 0xedb8_8320;
const ONE: u32 = 1 << 31;
const X_TO_THE_8TH: u32 = ONE >> 8;

#[cfg(all(test, feature = "gzip"))]
mod tests {
    use super::*;

    fn sum_of(pieces: &[&[u8]]) -> Checksum {
        let mut sum = Checksum::default();
        for piece in pieces {
            sum.append(&TextSum::of(piece));
        }
        sum
    }

    /// The check value of the CRC catalogue.
    #[test]
    fn a_trailer_is_crc32_and_length() {
        let trailer = sum_of(&[b"123456789"]).trailer();
        assert_eq!(trailer, [0x26, 0x39, 0xf4, 0xcb, 9, 0, 0, 0]);
        assert_eq!(sum_of(&[]).trailer(), [0; 8]);
    }

    #[test]
    fn a_checksum_does_not_depend_on_where_the_text_was_cut() {
        let text: Vec<u8> = (0..100_000_u32).map(|at| (at.wrapping_mul(at) >> 9) as u8).collect();
        let whole = sum_of(&[&text]);
        for cut in [0, 1, 2, 255, 256, 65_535, 65_536, 99_999, 100_000] {
            let (front, back) = text.split_at(cut);
            assert_eq!(sum_of(&[front, back]), whole, "{cut}");
            assert_eq!(sum_of(&[b"", front, b"", back, b""]), whole, "{cut}");
        }
        let bytes: Vec<&[u8]> = text.chunks(7).collect();
        assert_eq!(sum_of(&bytes), whole);
    }

    #[test]
    fn a_length_is_counted_modulo_4_gib() {
        let mut sum = Checksum { crc32: 0, length_bytes: u32::MAX };
        sum.append(&TextSum::of(b"ab"));
        assert_eq!(sum.length_bytes, 1);
    }
}
