use std::fmt;

/// A content coding of a response (RFC 9110, section 8.4.1).
///
/// All variants always exist; [`BUILT_IN`](Self::BUILT_IN) says which ones this build can use.
/// `Brotli` needs the feature `brotli`, `Gzip` the feature `gzip`. Browsers offer zstd and brotli
/// on https and on localhost only; on plain http they offer gzip alone.
///
/// ```
/// use starwheel::Encoding;
/// assert_eq!(Encoding::Brotli.as_str(), "br");
/// assert!(Encoding::Zstd.is_built_in());
/// assert_eq!(Encoding::BUILT_IN.last(), Some(&Encoding::Identity));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Encoding {
    /// The bytes as they are.
    Identity,
    /// Zstandard (RFC 8878): the cheapest to make.
    Zstd,
    /// Brotli (RFC 7932): small, and some five times the work of zstd.
    Brotli,
    /// Gzip (RFC 1952): some five times the work of zstd, its history ends at 32 KiB.
    Gzip,
}

impl Encoding {
    /// What this build can use, in the default order of preference: zstd, brotli, gzip, identity.
    pub const BUILT_IN: &'static [Self] = &[
        Self::Zstd,
        #[cfg(feature = "brotli")]
        Self::Brotli,
        #[cfg(feature = "gzip")]
        Self::Gzip,
        Self::Identity,
    ];

    /// The token of `Content-Encoding` and `Accept-Encoding`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// What a response in this coding says of it.
    pub(crate) const fn header_line(self) -> &'static [u8] {
        match self {
            Self::Identity => b"",
            Self::Zstd => b"Content-Encoding: zstd\r\n",
            Self::Brotli => b"Content-Encoding: br\r\n",
            Self::Gzip => b"Content-Encoding: gzip\r\n",
        }
    }

    /// Whether this build can use it.
    #[must_use]
    pub fn is_built_in(self) -> bool {
        Self::BUILT_IN.contains(&self)
    }
}

/// Writes [`as_str`](Encoding::as_str).
impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
