//! [`Registry`]: the connections and streams of all workers of a process, as far as they count
//! together.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{places::Places, tag_lists::TagLists};
use crate::span::Audiences;

/// What the workers of a process share beside their topics. A reactor alone has one only if other
/// threads want to know its subscribers.
///
/// Each lock is held for some lookups, and no other one is taken under it.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    places: Mutex<Places>,
    tags: Mutex<TagLists>,
    /// Number of subscribers of each topic that is in use anywhere, by its name.
    audiences: Mutex<HashMap<Arc<str>, Arc<AtomicUsize>>>,
}

/// The subscribers of a topic in one reactor, which are part of those in all.
#[derive(Debug)]
pub(super) struct Audience {
    registry: Arc<Registry>,
    topic: Arc<str>,
    in_all: Arc<AtomicUsize>,
    own: usize,
}

impl Registry {
    pub(super) fn places(&self) -> MutexGuard<'_, Places> {
        unpoisoned(&self.places)
    }

    pub(super) fn tags(&self) -> MutexGuard<'_, TagLists> {
        unpoisoned(&self.tags)
    }

    /// A reactor begins to use a topic.
    pub(super) fn audience(self: &Arc<Self>, topic: &Arc<str>) -> Audience {
        let in_all = Arc::clone(unpoisoned(&self.audiences).entry(topic.clone()).or_default());
        Audience { registry: Arc::clone(self), topic: Arc::clone(topic), in_all, own: 0 }
    }

    /// Number of open streams that are subscribed to a topic.
    pub(super) fn subscribers(&self, topic: &str) -> usize {
        let audiences = unpoisoned(&self.audiences);
        audiences.get(topic).map_or(0, |in_all| in_all.load(Ordering::Relaxed))
    }
}

impl Audience {
    pub(super) fn set(&mut self, subscribers: usize) {
        // Wraps around when it becomes smaller.
        self.in_all.fetch_add(subscribers.wrapping_sub(self.own), Ordering::Relaxed);
        self.own = subscribers;
    }
}

/// The topic is forgotten in this reactor, or the reactor has ended.
impl Drop for Audience {
    fn drop(&mut self) {
        self.set(0);
        let mut audiences = unpoisoned(&self.registry.audiences);
        // The map's and this one: no other reactor uses the topic, and none can begin to meanwhile.
        if Arc::strong_count(&self.in_all) == 2 {
            audiences.remove(&self.topic);
        }
    }
}

impl Audiences for Registry {
    fn subscribers(&self, topic: &str) -> usize {
        self.subscribers(topic)
    }
}

/// Nothing that can panic runs under these locks.
fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_counted_over_all_reactors_and_forgotten_with_the_last() {
        let (registry, topic) = (Arc::<Registry>::default(), Arc::from("news"));
        let (mut here, mut there) = (registry.audience(&topic), registry.audience(&topic));
        here.set(3);
        there.set(2);
        here.set(1);
        assert_eq!(registry.subscribers("news"), 3);
        drop(here);
        assert_eq!(registry.subscribers("news"), 2);
        drop(there);
        assert_eq!(registry.subscribers("news"), 0);
        assert!(unpoisoned(&registry.audiences).is_empty());
    }
}
