//! Protected records of TLS 1.3 (RFC 8446 section 5): their form, their limits, and one of them
//! sealed or opened.
//!
//! ```text
//! header                    encrypted
//! 23  3  3  length (16 bit) content          type  zeros (padding)  tag (16)
//!                           └── 16,384 bytes and the type at most ──┘
//! ```
//! It knows no connection: keys and numbers of records come in as arguments.

use super::{
    alert::Fault,
    keys::{Cipher, TAG_BYTES},
};

/// What a record carries (RFC 8446 appendix B.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContentType {
    Alert,
    Handshake,
    ApplicationData,
}

impl ContentType {
    const fn byte(self) -> u8 {
        match self {
            Self::Alert => 21,
            Self::Handshake => 22,
            Self::ApplicationData => 23,
        }
    }

    /// A protected `change_cipher_spec` must be refused like any unknown type (section 5).
    fn of(byte: u8) -> Result<Self, Fault> {
        [Self::Alert, Self::Handshake, Self::ApplicationData]
            .into_iter()
            .find(|it| it.byte() == byte)
            .ok_or(Fault::UnexpectedRecord)
    }
}

/// A record that has been opened.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opened<'a> {
    pub(super) content_type: ContentType,
    pub(super) content: &'a [u8],
}

/// Appends one record to `out`. `push_content` appends at most [`CONTENT_BYTES_MAX`].
pub(super) fn seal(
    cipher: &Cipher,
    number: u64,
    content_type: ContentType,
    push_content: impl FnOnce(&mut Vec<u8>),
    out: &mut Vec<u8>,
) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    push_content(out);
    out.push(content_type.byte());
    let (header, inner) = out[start..].split_at_mut(HEADER_BYTES);
    debug_assert!(inner.len() <= CONTENT_BYTES_MAX + 1, "the caller splits what is longer");
    let [high, low] = ((inner.len() + TAG_BYTES) as u16).to_be_bytes();
    header.copy_from_slice(&[ContentType::ApplicationData.byte(), 3, 3, high, low]);
    let tag = cipher.seal(number, header, inner);
    out.extend_from_slice(&tag);
}

/// The length of the record at the start of `bytes`, with its header. `None`: there is too little
/// to say.
///
/// A header that cannot belong to an acceptable record is refused when its first wrong byte is
/// there. The version is ignored (section 5.1).
pub(super) fn length_bytes(bytes: &[u8]) -> Result<Option<usize>, Fault> {
    if bytes.first().is_some_and(|byte| *byte != ContentType::ApplicationData.byte()) {
        return Err(Fault::UnexpectedRecord);
    }
    let Some(&[_, _, _, high, low]) = bytes.first_chunk() else { return Ok(None) };
    match usize::from(u16::from_be_bytes([high, low])) {
        protected_bytes if protected_bytes > PROTECTED_BYTES_MAX => Err(Fault::RecordOverflow),
        protected_bytes => Ok(Some(HEADER_BYTES + protected_bytes)),
    }
}

/// Opens the record that begins at `from` and ends with `in_out`. Its content is at the start of
/// `in_out`, so that records which follow each other become one piece.
pub(super) fn open<'a>(
    cipher: &Cipher,
    number: u64,
    in_out: &'a mut [u8],
    from: usize,
) -> Result<Opened<'a>, Fault> {
    let mut header = [0; HEADER_BYTES];
    header.copy_from_slice(&in_out[from..from + HEADER_BYTES]);
    let plain = cipher.open(number, &header, in_out, from + HEADER_BYTES);
    let plain = plain.ok_or(Fault::BadRecordMac)?;
    if plain.len() > CONTENT_BYTES_MAX + 1 {
        return Err(Fault::RecordOverflow); // Section 5.4: padding counts.
    }
    let end = plain.iter().rposition(|byte| *byte != 0).ok_or(Fault::UnexpectedRecord)?;
    Ok(Opened { content_type: ContentType::of(plain[end])?, content: &plain[..end] })
}

pub(super) const HEADER_BYTES: usize = 5;
/// RFC 8446 section 5.1: 2^14.
pub(super) const CONTENT_BYTES_MAX: usize = 16_384;
/// RFC 8446 section 5.2: 2^14 + 256.
const PROTECTED_BYTES_MAX: usize = CONTENT_BYTES_MAX + 256;
/// The longest record that is accepted, with its header.
pub(crate) const RECORD_BYTES_MAX: usize = HEADER_BYTES + PROTECTED_BYTES_MAX;
