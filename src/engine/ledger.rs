//! What connections with TLS hold and have done: counts, bytes of incomplete records with their
//! bound, and until when these records have to be complete.
//!
//! Everything costs the connection that causes it. Nobody walks over connections, and those without
//! TLS have no entry here. It knows no transport.

use std::collections::BTreeSet;

use super::{keys::ConnIndex, stats::TlsStats};
use crate::{
    limits::Limits,
    time::{NEVER, millis},
};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Ledger {
    stats: TlsStats,
    /// Connections with an incomplete record, by the time until which they have for it.
    incomplete: BTreeSet<(u64, ConnIndex)>,
    now: u64,
    partial_bytes_max: usize,
    record_timeout_ms: u64,
}

/// What one connection holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Holding {
    /// Received bytes of incomplete records; in a handshake, also of incomplete messages.
    pub(super) partial_bytes: usize,
    /// Those of them that the handshake has not looked at yet. They count against the bound when
    /// it has, or has to wait.
    pub(super) early_bytes: usize,
    /// Sealed bytes that the socket has not taken.
    pub(super) unsent_bytes: usize,
    /// Changes with every record that is opened.
    pub(super) opened: (u32, u16),
    pub(super) key_updates: u16,
    /// Until when the incomplete record has to be complete, as noted before.
    pub(super) until: Option<u64>,
    /// A handshake has a time limit as a whole.
    pub(super) is_established: bool,
}

/// What follows for the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Fine,
    /// Its incomplete record has until then. To be kept in [`Holding::until`].
    Until(u64),
    /// It has asked for more than there is for all. Its bytes are to be freed.
    TooMuch,
}

impl Ledger {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            stats: TlsStats::default(),
            incomplete: BTreeSet::new(),
            now: 0,
            partial_bytes_max: limits.tls_partial_bytes,
            record_timeout_ms: millis(limits.tls_record_timeout),
        }
    }

    pub(super) fn begin_turn(&mut self, now: u64) {
        self.now = now;
    }

    pub(super) fn stats(&self) -> &TlsStats {
        &self.stats
    }

    /// Where others count what they know better.
    pub(super) fn stats_mut(&mut self) -> &mut TlsStats {
        &mut self.stats
    }

    /// A connection holds something else than before.
    pub(super) fn note(&mut self, index: ConnIndex, before: &Holding, after: &Holding) -> Verdict {
        move_gauge(&mut self.stats.unsent_bytes, before.unsent_bytes, after.unsent_bytes);
        move_gauge(&mut self.stats.partial_bytes, before.partial_bytes, after.partial_bytes);
        self.stats.key_updates += u64::from(after.key_updates.wrapping_sub(before.key_updates));
        let is_another = before.partial_bytes == 0
            || before.opened != after.opened
            || before.is_established != after.is_established;
        if let Some(until) = before.until
            && (is_another || after.partial_bytes == 0)
        {
            self.incomplete.remove(&(until, index));
        }
        let bounded_bytes = |held: &Holding| held.partial_bytes - held.early_bytes;
        if bounded_bytes(after) > bounded_bytes(before) && self.is_exceeded() {
            return Verdict::TooMuch;
        }
        match self.now.saturating_add(self.record_timeout_ms) {
            NEVER => Verdict::Fine,
            until if after.is_established && after.partial_bytes > 0 && is_another => {
                Verdict::Until(until)
            }
            _ => Verdict::Fine,
        }
    }

    /// Whether connections hold more bytes of incomplete records than there is room for.
    pub(super) fn is_exceeded(&self) -> bool {
        self.stats.partial_bytes > self.partial_bytes_max as u64
    }

    /// The connection has this long for a record.
    pub(super) fn expect_by(&mut self, index: ConnIndex, until: u64) {
        self.incomplete.insert((until, index));
    }

    /// Forgets a connection that is closed.
    pub(super) fn forget(&mut self, index: ConnIndex, held: &Holding) {
        move_gauge(&mut self.stats.unsent_bytes, held.unsent_bytes, 0);
        move_gauge(&mut self.stats.partial_bytes, held.partial_bytes, 0);
        if let Some(until) = held.until {
            self.incomplete.remove(&(until, index));
        }
    }

    /// A connection whose record is overdue. It is forgotten when it is closed.
    pub(super) fn next_overdue(&self) -> Option<ConnIndex> {
        self.incomplete.first().filter(|(until, _)| *until <= self.now).map(|(_, index)| *index)
    }

    /// When the next record is overdue.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.incomplete.first().map(|(until, _)| *until)
    }
}

fn move_gauge(gauge: &mut u64, before: usize, after: usize) {
    *gauge = (*gauge + after as u64) - before as u64;
}

/// How a handshake ends that TLS has nothing to say about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HandshakeEnd {
    TimedOut,
    /// The connection has ended.
    Closed,
}
