//! The bytes of a response: static, owned or shared.

use std::sync::Arc;

/// The body of a [`Response`](crate::Response).
///
/// Bodies up to 8 KiB are copied into the send queue. Larger ones are queued without a copy, and
/// their memory is freed as the client reads: at most twice the unread bytes plus 64 KiB are kept
/// for a client. Static and shared bytes are not copied, with one exception: the rest of a shared
/// body is copied when it is small compared to this client's share of the body.
///
/// ```
/// use std::sync::Arc;
/// use starwheel::Body;
/// let page: Arc<[u8]> = Arc::from(&b"<p>one copy for all clients</p>"[..]);
/// assert_eq!(Body::from(page.clone()).as_slice(), &page[..]);
/// assert_eq!(Body::from("static").as_slice(), b"static");
/// assert_eq!(Body::from(b"from include_bytes!").as_slice().len(), 19);
/// assert_eq!(Body::from(String::from("owned")).as_slice(), b"owned");
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Body {
    /// Part of the program.
    Static(&'static [u8]),
    /// Created for one response.
    Owned(Vec<u8>),
    /// Shared between responses. Its size counts in equal parts for all holders each time the
    /// client reads.
    Shared(Arc<[u8]>),
}

impl Body {
    /// An empty body.
    ///
    /// ```
    /// assert_eq!(starwheel::Body::EMPTY.as_slice(), b"");
    /// ```
    pub const EMPTY: Self = Self::Static(b"");

    /// The bytes.
    ///
    /// ```
    /// assert_eq!(starwheel::Body::from("hi").as_slice().len(), 2);
    /// ```
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Static(bytes) => bytes,
            Self::Owned(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::Static(text.as_bytes())
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Self {
        Self::Static(bytes)
    }
}

/// For `include_bytes!`.
impl<const N: usize> From<&'static [u8; N]> for Body {
    fn from(bytes: &'static [u8; N]) -> Self {
        Self::Static(bytes)
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::Owned(text.into_bytes())
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Owned(bytes)
    }
}

impl From<Arc<[u8]>> for Body {
    fn from(bytes: Arc<[u8]>) -> Self {
        Self::Shared(bytes)
    }
}
