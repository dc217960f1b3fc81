//! [`Status`]: whether the store is connected, and what is to be logged about that.

use std::time::Duration;

use crate::{
    engine::BackplaneStats,
    span::{Inbox, Member},
};

#[derive(Debug)]
pub(super) struct Status {
    /// Since when there is no connection.
    down_since_ms: Option<u64>,
    last_error: String,
    /// The loss of the connection has been logged.
    is_logged: bool,
}

/// What is to be logged, without any lock.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    Up {
        after: Duration,
    },
    #[cfg(feature = "redis")]
    Down {
        why: String,
    },
}

impl Status {
    pub(super) fn new(now_ms: u64) -> Self {
        Self { down_since_ms: Some(now_ms), last_error: String::new(), is_logged: false }
    }

    /// The store has answered. One line for each change.
    pub(super) fn came_up(&mut self, now_ms: u64) -> Option<News> {
        let since_ms = self.down_since_ms.take()?;
        self.is_logged = false;
        Some(News::Up { after: Duration::from_millis(now_ms - since_ms) })
    }

    /// There is no connection. A further reason while it stays away is not logged again.
    #[cfg(feature = "redis")]
    pub(super) fn went_down(&mut self, why: &dyn std::fmt::Display, now_ms: u64) -> Option<News> {
        self.down_since_ms.get_or_insert(now_ms);
        self.last_error = why.to_string();
        let is_new = !std::mem::replace(&mut self.is_logged, true);
        is_new.then(|| News::Down { why: self.last_error.clone() })
    }

    pub(super) fn describe<I: Inbox>(&self, member: &Member<I>, now_ms: u64) -> BackplaneStats {
        let figures = member.figures();
        BackplaneStats {
            connected: self.down_since_ms.is_none(),
            down_for: self.down_since_ms.map(|since| Duration::from_millis(now_ms - since)),
            last_error: self.last_error.clone(),
            position: member.hub().position(),
            lag_ms: member.lag_ms(now_ms),
            outbox_bytes: member.outbox_bytes() as u64,
            in_flight: member.in_flight() as u64,
            topics: member.hub().topics() as u64,
            published: figures.published,
            refused: figures.refused,
            received: figures.received,
            skipped: figures.skipped,
            unreadable: figures.unreadable,
            resent: figures.resent,
            duplicates: figures.duplicates,
            holes: figures.holes,
            undone: figures.undone,
            generations: figures.generations,
            connects: figures.connects,
            histories: figures.histories,
        }
    }
}

impl News {
    pub(super) fn log(&self) {
        match self {
            Self::Up { after } => log::info!("the backplane is connected, after {after:?}"),
            #[cfg(feature = "redis")]
            Self::Down { why } => log::warn!(
                "the backplane is not connected: {why}; events are kept until the outbox is full"
            ),
        }
    }
}
