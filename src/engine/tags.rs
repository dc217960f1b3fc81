//! Tags: the application's own names for streams, such as a session key. Streams without one cost
//! nothing.

use std::sync::Arc;

use super::{
    keys::StreamId,
    registry::Registry,
    tag_lists::{TagFull, TagLists},
};
use crate::limits::Limits;

/// Which streams of this reactor have which tag.
#[derive(Debug, Default)]
pub(super) struct Tags {
    own: TagLists,
    /// Where the open streams of all workers are listed.
    registry: Option<Arc<Registry>>,
}

impl Tags {
    /// From here on, before the first stream, limits are those of all workers together.
    pub(super) fn join(&mut self, registry: &Arc<Registry>) {
        self.registry = Some(Arc::clone(registry));
    }

    /// A stream with a tag starts, if there is room. Returns the stream that it replaces, which must
    /// be ended. That one no longer counts, on whichever worker it is: both happens in one step.
    pub(super) fn add(
        &mut self,
        id: StreamId,
        tag: &Arc<str>,
        limits: &Limits,
    ) -> Result<Option<StreamId>, TagFull> {
        let Some(registry) = &self.registry else {
            return self.own.add_within(id, tag, limits);
        };
        let mut all = registry.tags();
        let replaced = all.add_within(id, tag, limits)?;
        if let Some(replaced) = replaced {
            all.forget(replaced);
        }
        drop(all);
        self.own.add(id, Arc::clone(tag));
        Ok(replaced)
    }

    /// The end of a stream is decided: it is no longer found by its tag, and no longer counts.
    pub(super) fn end(&mut self, id: StreamId) {
        if self.own.end(id)
            && let Some(registry) = &self.registry
        {
            registry.tags().forget(id);
        }
    }

    /// A stream's hooks have run.
    pub(super) fn forget(&mut self, id: StreamId) {
        self.end(id);
        self.own.forget(id);
    }

    pub(super) fn of(&self, id: StreamId) -> Option<&str> {
        self.own.of(id)
    }

    /// The open streams of this reactor with a tag, the oldest first.
    pub(super) fn with(&self, tag: &str) -> impl Iterator<Item = StreamId> + '_ {
        self.own.with(tag)
    }

    /// True if a stream with this tag would be refused now.
    pub(super) fn is_full(&self, tag: &str, limits: &Limits) -> bool {
        match &self.registry {
            None => self.own.is_full(tag, limits),
            Some(registry) => registry.tags().is_full(tag, limits),
        }
    }
}

/// A worker that ends, also by a panic, leaves its places to the others.
impl Drop for Tags {
    fn drop(&mut self) {
        if let Some(registry) = &self.registry {
            let mut all = registry.tags();
            self.own.members().for_each(|id| all.forget(id));
        }
    }
}
