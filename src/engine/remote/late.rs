//! [`Late`]: events that were published on topics after their end.

use std::sync::atomic::{AtomicU64, Ordering};

use super::try_send::TrySendError;
use crate::{
    error::Logged,
    span::{Publication, Refused},
};

/// How many there were. They are dropped.
#[derive(Debug, Default)]
pub(in crate::engine) struct Late(AtomicU64);

impl Late {
    /// Counts them, and warns: rarely, if there are many.
    pub(in crate::engine) fn note(&self, topic: &str, events: u64) {
        let before = self.0.fetch_add(events, Ordering::Relaxed);
        let total = before + events;
        if before == 0 || before.ilog2() < total.ilog2() {
            log::warn!(
                "an event on \"{}\" was dropped, because the topic has been finished ({total} such \
                 events so far)",
                Logged(topic)
            );
        }
    }

    pub(in crate::engine) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// What has become of events that left for the namespace.
    pub(in crate::engine) fn settle(
        &self,
        publication: Publication<'_>,
        published: Result<(), Refused>,
    ) -> Result<(), TrySendError<()>> {
        match published {
            Err(Refused::Finished) => {
                self.note(publication.topic.name(), publication.events.len() as u64);
                Ok(())
            }
            other => other.map_err(Into::into),
        }
    }
}
