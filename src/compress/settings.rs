use super::Encoding;

/// Settings for the compression of streams and responses, and its costs.
///
/// A topic's event is compressed once per coding and the same bytes go to every subscriber, so
/// these costs are per event, not per client. A stream with its own events also keeps the last
/// [`history_bytes`](Self::history_bytes) it has sent.
///
/// ```
/// use starwheel::{Compression, Encoding};
/// let mut compression = Compression::default();
/// compression.zstd_level = 3;
/// compression.history_bytes = 8 * 1024;
/// assert_eq!(compression.preference, Encoding::BUILT_IN);
/// assert_eq!(Compression::off().preference, [Encoding::Identity]);
/// ```
///
/// # Secrets
/// An attacker who can put chosen text into a stream, and sees the length of the compressed bytes,
/// can guess what else is in its history (BREACH). Keep one user's secrets out of topics. Do not
/// mix secrets and untrusted text in one stream, or do not compress the stream, or at least not the
/// secret ([`Stream::send_uncompressed`](crate::Stream::send_uncompressed)).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compression {
    /// Codings in order of preference, used when a client accepts several equally. Entries after
    /// [`Encoding::Identity`] count only for clients that refuse identity; entries that are not
    /// built in are skipped. [`Encoding::BUILT_IN`].
    pub preference: Vec<Encoding>,
    /// -7 to 19, more is smaller and slower. For a page of 22 KB with ten changes:
    ///
    /// | level | bytes | time | the one context per reactor | ... once it saw 300 KB |
    /// |---|---|---|---|---|
    /// | 1 | 225 | 8 us | 140 KB | 0.6 MB |
    /// | 3 | 229 | 17 us | 0.5 MB | 1.3 MB |
    /// | 6 | 206 | 40 us | 0.8 MB | 3 MB |
    /// | 9 | 148 | 45 us | 0.8 MB | 11 MB |
    /// | 19 | 151 | 2 ms | 1.6 MB | 18 MB |
    ///
    /// 1.
    pub zstd_level: i32,
    /// 1 to 9. The same page takes 330 bytes and 75 us at level 6; the one context per reactor
    /// takes about 370 KB at any level. 6.
    pub gzip_level: u32,
    /// 2 to 4. The same page takes 140 bytes and 65 us at quality 4; about 0.9 MB are allocated for
    /// each event and freed again. 4.
    pub brotli_quality: u32,
    /// How much of its last output a stream with its own events keeps, from its first event on; at
    /// most 4 MiB. Gzip refers back 32 KiB at most. More than the size of an event, with some room,
    /// gains little. 32 KiB.
    pub history_bytes: usize,
    /// Responses with a smaller body are not compressed. 1 KiB: a smaller response fits one packet
    /// anyway.
    pub response_bytes_min: usize,
    /// The largest window a response may declare, 128 KiB to 8 MiB, which is its memory cost in the
    /// client. An event is sent as a delta only if it and the previous one fit the window together;
    /// otherwise it is compressed independently. 8 MiB.
    pub window_bytes_max: usize,
}

impl Compression {
    /// No compression.
    #[must_use]
    pub fn off() -> Self {
        Self { preference: vec![Encoding::Identity], ..Self::default() }
    }

    /// Whether any coding other than identity may be chosen.
    pub(crate) fn is_on(&self) -> bool {
        self.preference.iter().any(|encoding| *encoding != Encoding::Identity)
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self {
            preference: Encoding::BUILT_IN.to_vec(),
            zstd_level: 1,
            gzip_level: 6,
            brotli_quality: 4,
            history_bytes: 32 * 1024,
            response_bytes_min: 1024,
            window_bytes_max: 8 * 1024 * 1024,
        }
    }
}
