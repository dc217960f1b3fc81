//! One of several workers: what is counted and looked up over all of them.

use std::sync::Arc;

use super::Core;
#[cfg(feature = "dashboard")]
use crate::engine::remote::{Handle, Mailbox};
use crate::{
    engine::{api::Ending, keys::StreamId, registry::Registry, remote::Crew},
    error::CloseReason,
    topic::Topic,
};

impl Core {
    pub(in crate::engine) fn enlist(&mut self, crew: Arc<Crew>) {
        let registry = crew.registry();
        self.occupancy.join(registry, &self.config.limits);
        self.tags.join(registry);
        self.topics.join_registry(registry);
        self.mailbox.set_registry(Arc::clone(registry));
        #[cfg(feature = "tls")]
        self.mailbox.set_tls_listeners(Arc::clone(crew.tls_listeners()));
        self.crew = Some(crew);
    }

    /// Ends a stream whose place another one has taken, on whichever worker it is.
    #[cold]
    pub(in crate::engine) fn replace(&mut self, id: StreamId) {
        match &self.crew {
            Some(crew) if id.reactor != self.conns.reactor() => {
                crew.close(&[id], &CloseReason::Replaced);
            }
            _ => _ = self.close(id, CloseReason::Replaced),
        }
    }

    pub(in crate::engine) fn tagged_on_all(&self, tag: &str) -> Vec<StreamId> {
        match &self.crew {
            None => self.tags.with(tag).collect(),
            Some(crew) => crew.registry().tags().with(tag).collect(),
        }
    }

    /// Returns how many streams it ends.
    pub(in crate::engine) fn close_tagged_on_all(&mut self, tag: &str, ending: Ending) -> usize {
        // Each stream is taken from the list of all once, by the one call that ends it.
        let (own, others): (Vec<_>, Vec<_>) = match &self.crew {
            None => (self.tags.with(tag).collect(), Vec::new()),
            Some(crew) => {
                let ids = crew.registry().tags().take(tag);
                ids.into_iter().partition(|id| id.reactor == self.conns.reactor())
            }
        };
        for &id in &own {
            self.close(id, ending.into());
        }
        if let Some(crew) = &self.crew {
            crew.close(&others, &ending.into());
        }
        own.len() + others.len()
    }

    /// A handle of all workers; on a single reactor, that of this one.
    #[cfg(feature = "dashboard")]
    pub(in crate::engine) fn handle_of_all(&self) -> Handle {
        match &self.crew {
            None => Handle::new(Arc::clone(&self.mailbox)),
            Some(crew) => Handle::of_all(Arc::clone(crew)),
        }
    }

    /// The number of this worker, from zero.
    #[cfg(feature = "dashboard")]
    pub(in crate::engine) fn worker_number(&self) -> usize {
        let is_this = |mailbox: &Arc<Mailbox>| Arc::ptr_eq(mailbox, &self.mailbox);
        self.crew.as_ref().and_then(|crew| crew.all().position(is_this)).unwrap_or(0)
    }

    /// From here on, other threads can see how many subscribers topics have.
    pub(in crate::engine) fn audiences(&mut self) -> Arc<Registry> {
        if let Some(registry) = self.mailbox.registry() {
            return Arc::clone(registry);
        }
        let registry = Arc::<Registry>::default();
        self.topics.join_registry(&registry);
        self.mailbox.set_registry(Arc::clone(&registry));
        registry
    }

    pub(in crate::engine) fn subscribers_on_machines(&self, topic: &Topic) -> usize {
        let elsewhere = self.mailbox.outlet().map_or(0, |it| it.subscribers_elsewhere(topic));
        self.subscribers_on_all(topic).saturating_add(elsewhere)
    }

    pub(in crate::engine) fn subscribers_on_all(&self, topic: &Topic) -> usize {
        match &self.crew {
            None => self.topics.subscribers(topic),
            Some(crew) => crew.registry().subscribers(topic.name()),
        }
    }
}
