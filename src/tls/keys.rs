//! Traffic secrets, and the keys that are derived from them (RFC 8446 sections 7.1 to 7.3).
//!
//! Everything here is erased when it is dropped, and `Debug` shows none of it. Two kinds of copies
//! cannot be erased, and live on the stack for one call: what a move leaves behind, and the expanded
//! keys inside [`Cipher`], which belong to ring.

use std::fmt;

use ring::{
    aead::{self, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf,
};
use zeroize::Zeroize;

/// A cipher suite of TLS 1.3 (RFC 8446 appendix B.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suite {
    Aes128GcmSha256,
    Aes256GcmSha384,
    Chacha20Poly1305Sha256,
}

/// The traffic secret of one direction. The hash of the suite determines how much of it is used.
pub(super) struct Secret([u8; SECRET_BYTES_MAX]);

/// Key and nonce of one direction: what is kept between two calls.
pub(super) struct Keys {
    key: [u8; KEY_BYTES_MAX],
    iv: [u8; NONCE_BYTES],
}

/// Keys in the form that seals and opens records. It takes more than 500 bytes and is never kept.
pub(super) struct Cipher {
    key: LessSafeKey,
    iv: [u8; NONCE_BYTES],
}

impl Suite {
    fn hash(self) -> hkdf::Algorithm {
        match self {
            Self::Aes128GcmSha256 | Self::Chacha20Poly1305Sha256 => hkdf::HKDF_SHA256,
            Self::Aes256GcmSha384 => hkdf::HKDF_SHA384,
        }
    }

    fn aead(self) -> &'static aead::Algorithm {
        match self {
            Self::Aes128GcmSha256 => &aead::AES_128_GCM,
            Self::Aes256GcmSha384 => &aead::AES_256_GCM,
            Self::Chacha20Poly1305Sha256 => &aead::CHACHA20_POLY1305,
        }
    }

    pub(super) fn secret_bytes(self) -> usize {
        hkdf::KeyType::len(&self.hash())
    }

    fn key_bytes(self) -> usize {
        self.aead().key_len()
    }
}

impl Secret {
    /// `None` if there is more than any suite has.
    pub(super) fn new(bytes: &[u8]) -> Option<Self> {
        let mut secret = Self([0; SECRET_BYTES_MAX]);
        secret.0.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(secret)
    }

    /// Moves the secret: nothing of it stays in the place where it was.
    pub(super) fn take(&mut self) -> Self {
        let taken = Self(self.0);
        self.0.zeroize();
        taken
    }

    /// Replaces the secret by the following one (RFC 8446 section 7.2). The old one is lost.
    pub(super) fn update(&mut self, suite: Suite) {
        let mut next = Self([0; SECRET_BYTES_MAX]);
        self.expand(suite, b"traffic upd", &mut next.0[..suite.secret_bytes()]);
        self.0.copy_from_slice(&next.0);
    }

    /// RFC 8446 section 7.3. It costs about a microsecond, and three with SHA-384.
    pub(super) fn keys(&self, suite: Suite) -> Keys {
        let mut keys = Keys { key: [0; KEY_BYTES_MAX], iv: [0; NONCE_BYTES] };
        self.expand(suite, b"key", &mut keys.key[..suite.key_bytes()]);
        self.expand(suite, b"iv", &mut keys.iv);
        keys
    }

    /// HKDF-Expand-Label with an empty context (RFC 8446 section 7.1).
    fn expand(&self, suite: Suite, label: &[u8], out: &mut [u8]) {
        const PREFIX: &[u8] = b"tls13 ";
        let out_bytes = (out.len() as u16).to_be_bytes();
        let label_bytes = [(PREFIX.len() + label.len()) as u8];
        let info: [&[u8]; 5] = [&out_bytes, &label_bytes, PREFIX, label, &[0]];
        hkdf::Prk::new_less_safe(suite.hash(), &self.0[..suite.secret_bytes()])
            .expand(&info, OutputBytes(out.len()))
            .and_then(|okm| okm.fill(out))
            .expect("HKDF gives up to 255 times the length of its hash");
    }
}

impl Keys {
    pub(super) fn cipher(&self, suite: Suite) -> Cipher {
        let key = UnboundKey::new(suite.aead(), &self.key[..suite.key_bytes()]);
        let key = key.expect("the key has the length of its algorithm");
        Cipher { key: LessSafeKey::new(key), iv: self.iv }
    }
}

impl Cipher {
    /// Encrypts in place. The caller never uses a number twice for bytes that leave.
    pub(super) fn seal(&self, number: u64, header: &[u8], in_out: &mut [u8]) -> [u8; TAG_BYTES] {
        let tag =
            self.key.seal_in_place_separate_tag(self.nonce(number), Aad::from(header), in_out);
        let tag = tag.expect("a record is far shorter than the limits of the algorithms");
        tag.as_ref().try_into().expect("all three algorithms have tags of 16 bytes")
    }

    /// Decrypts what begins at `from` and ends with the tag. The plaintext is at the start of
    /// `in_out`. `None` if it is not authentic; then the contents of `in_out` are undefined.
    pub(super) fn open<'a>(
        &self,
        number: u64,
        header: &[u8],
        in_out: &'a mut [u8],
        from: usize,
    ) -> Option<&'a [u8]> {
        let nonce = self.nonce(number);
        self.key.open_within(nonce, Aad::from(header), in_out, from..).ok().map(|plain| &*plain)
    }

    /// RFC 8446 section 5.3.
    fn nonce(&self, number: u64) -> Nonce {
        let mut nonce = self.iv;
        for (byte, number) in nonce[NONCE_BYTES - 8..].iter_mut().zip(number.to_be_bytes()) {
            *byte ^= number;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.key.zeroize();
        self.iv.zeroize();
    }
}

impl Drop for Cipher {
    fn drop(&mut self) {
        self.iv.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher(..)")
    }
}

/// A length, as ring wants it.
struct OutputBytes(usize);

impl hkdf::KeyType for OutputBytes {
    fn len(&self) -> usize {
        self.0
    }
}

/// SHA-384.
const SECRET_BYTES_MAX: usize = 48;
const KEY_BYTES_MAX: usize = 32;
const NONCE_BYTES: usize = aead::NONCE_LEN;
pub(super) const TAG_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pair = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(pair).collect()
    }

    /// RFC 8448 section 3: the server's application traffic secret, with its key and nonce.
    #[test]
    fn keys_are_those_of_rfc_8448() {
        let suite = Suite::Aes128GcmSha256;
        let secret = "a1 1a f9 f0 55 31 f8 56 ad 47 11 6b 45 a9 50 32 82 04 b4 f4 4b fb 6b 3a 4b 4f 1f \
                      3f cb 63 16 43";
        let secret = Secret::new(&bytes(secret)).unwrap();
        let keys = secret.keys(suite);
        assert_eq!(keys.key[..16], bytes("9f 02 28 3b 6c 9c 07 ef c2 6b b9 f2 ac 92 e3 56"));
        assert_eq!(keys.iv[..], bytes("cf 78 2b 88 dd 83 54 9a ad f1 e9 84"));
    }

    #[test]
    fn nothing_secret_is_in_debug() {
        let secret = Secret::new(&[0xab; 48]).unwrap();
        let keys = secret.keys(Suite::Aes256GcmSha384);
        let cipher = keys.cipher(Suite::Aes256GcmSha384);
        assert_eq!(format!("{secret:?} {keys:?} {cipher:?}"), "Secret(..) Keys(..) Cipher(..)");
    }

    #[test]
    fn nothing_is_left_of_a_secret_that_was_taken() {
        let mut secret = Secret::new(&[0xab; 48]).unwrap();
        assert_eq!(secret.take().0, [0xab; 48]);
        assert_eq!(secret.0, [0; 48]);
    }

    #[test]
    fn a_secret_of_no_suite_is_refused() {
        assert!(Secret::new(&[1; 49]).is_none());
    }
}
