//! Keys into tables that are kept outside the connection.

use std::num::{NonZeroU16, NonZeroU32};

/// A topic that is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TopicIndex(u32);

/// The engine's coding state of a compressed stream. An uncompressed stream has none; `None` takes
/// no space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CodingIndex(NonZeroU32);

/// The pattern of a route, as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RouteIndex(NonZeroU16);

impl TopicIndex {
    pub(crate) fn new(slot: usize) -> Self {
        // A topic takes some hundred bytes: memory runs out long before 2^32 of them.
        Self(u32::try_from(slot).expect("fewer than 2^32 topics"))
    }

    pub(crate) fn slot(self) -> usize {
        self.0 as usize
    }
}

impl CodingIndex {
    pub(crate) fn new(slot: usize) -> Self {
        let number =
            u32::try_from(slot).ok().and_then(|slot| NonZeroU32::new(slot.wrapping_add(1)));
        // There are no more of them than connections.
        Self(number.expect("fewer than 2^32 - 1 compressed streams"))
    }

    pub(crate) fn slot(self) -> usize {
        self.0.get() as usize - 1
    }
}

impl RouteIndex {
    /// `None` beyond 65,535 routes.
    pub(crate) fn new(number: usize) -> Option<Self> {
        u16::try_from(number + 1).ok().and_then(NonZeroU16::new).map(Self)
    }

    pub(crate) fn number(self) -> usize {
        usize::from(self.0.get()) - 1
    }
}
