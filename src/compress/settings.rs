use super::Encoding;

/// What the compression of streams and replies may cost.
///
/// A topic's event is compressed once per coding and the same bytes go to every subscriber, so
/// these costs are per event, not per client. A stream with events of its own additionally keeps
/// the last [`history_bytes`](Self::history_bytes) it has sent.
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
/// Whoever can put text of his choice into a stream, and sees how long the compressed bytes are,
/// can guess what else is in its history (BREACH). Keep one user's secrets out of topics, and
/// secrets and foreign text out of the same stream, or do not compress it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compression {
    /// What to use among what a client accepts equally, best first. Entries behind
    /// [`Encoding::Identity`] count only for clients that refuse identity; entries that are not
    /// built in are skipped. [`Encoding::BUILT_IN`].
    pub preference: Vec<Encoding>,
    /// -7 to 19, more is smaller and slower. A page of 23 KB with a few changes takes 270 bytes and
    /// 17 us at level 1, 210 bytes and 71 us at level 6; the one context per reactor some 200 KiB
    /// at level 1, 800 KiB at level 6, and 80 MiB at level 19. 1.
    pub zstd_level: i32,
    /// 1 to 9. The one context per reactor takes some 370 KiB at any level. 6.
    pub gzip_level: u32,
    /// 2 to 4. Some 2 MiB are allocated for each event and freed again. 4.
    pub brotli_quality: u32,
    /// How much of its last output a stream with events of its own keeps, from its first event on;
    /// at most 4 MiB. Gzip looks back 32 KiB at most. More than the size of an event, with some
    /// room, brings little. 32 KiB.
    pub history_bytes: usize,
    /// Replies with a smaller body are sent as they are. 1 KiB: below it, a response fits one packet
    /// anyhow.
    pub reply_bytes_min: usize,
    /// The largest window a response may declare, 128 KiB to 8 MiB, which is what it may cost its
    /// reader. An event is a delta only if it and the one before it fit into the window together;
    /// otherwise it is compressed on its own. 8 MiB.
    pub window_bytes_max: usize,
}

impl Compression {
    /// Nothing is compressed.
    #[must_use]
    pub fn off() -> Self {
        Self { preference: vec![Encoding::Identity], ..Self::default() }
    }

    /// Whether anything but identity may be chosen.
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
            reply_bytes_min: 1024,
            window_bytes_max: 8 * 1024 * 1024,
        }
    }
}
