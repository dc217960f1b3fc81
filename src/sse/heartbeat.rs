//! What keeps a quiet stream alive.

/// Bytes without a meaning for the application. The same for all streams, because later events are
/// compressed with reference to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heartbeat {
    /// A comment, without a blank line after it, because some clients treat every blank line as an
    /// event.
    Comment,
    /// An event that pages can listen for. Without an id, so the client's position stays.
    Event,
}

impl Heartbeat {
    pub(crate) const fn bytes(self) -> &'static [u8] {
        match self {
            Self::Comment => b":\n",
            Self::Event => b"event: keep-alive\ndata:\n\n",
        }
    }
}
