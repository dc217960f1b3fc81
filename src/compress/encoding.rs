use std::fmt;

/// A content coding of a response (RFC 9110, section 8.4.1).
///
/// All variants always exist; [`BUILT_IN`](Self::BUILT_IN) lists the ones that this build can use.
/// `Brotli` needs the feature `brotli`, `Gzip` the feature `gzip`. Browsers accept zstd and brotli
/// only on https and on localhost; on plain http they accept only gzip.
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
    /// Uncompressed.
    Identity,
    /// Zstandard (RFC 8878): the cheapest to compute.
    Zstd,
    /// Brotli (RFC 7932): small output, about five times the CPU time of zstd.
    Brotli,
    /// Gzip (RFC 1952): about five times the CPU time of zstd, history limited to 32 KiB.
    Gzip,
}

impl Encoding {
    /// The codings of this build, in the default order of preference: zstd, brotli, gzip, identity.
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

    /// The header line of a response in this coding.
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
