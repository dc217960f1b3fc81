//! What a member is told, and what it counts.

/// What a member is told by the program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MemberSettings {
    /// Of events that wait for the store.
    pub(crate) outbox_bytes: usize,
    /// Of the log that the store keeps, approximately.
    pub(crate) log_bytes: u64,
    pub(crate) history_s: u32,
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MemberFigures {
    pub(crate) published: u64,
    pub(crate) refused: u64,
    pub(crate) received: u64,
    pub(crate) skipped: u64,
    pub(crate) unreadable: u64,
    pub(crate) resent: u64,
    pub(crate) duplicates: u64,
    pub(crate) holes: u64,
    pub(crate) undone: u64,
    pub(crate) generations: u64,
    pub(crate) connects: u64,
    pub(crate) histories: u64,
}
