//! Reactors and workers join a backplane.

use std::sync::Arc;

use super::{Backplane, BackplaneError, Namespace, Store};
use crate::reactor::Reactor;

impl Reactor {
    /// Shares the topics of this reactor with other machines, or other reactors, that join the same
    /// [`Backplane`]. Before anything uses a topic. It does not wait for the store, and starts one thread.
    ///
    /// ```
    /// use starwheel::{Backplane, Reactor, Router};
    /// let mut reactor = Reactor::new(Router::new())?;
    /// reactor.join(&Backplane::memory())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Only for what is wrong in itself: a wrong name, a topic that was used before, a second call; and
    /// when the system gives no thread.
    pub fn join(&mut self, backplane: &Backplane) -> Result<(), BackplaneError> {
        if self.has_namespace() {
            return Err(BackplaneError::JoinedAlready);
        }
        if self.has_topics() {
            return Err(BackplaneError::TooLate);
        }
        backplane.check_name()?;
        let namespace = Namespace::new()?;
        namespace.add(0, self);
        let ended = namespace.clone();
        self.after_stop(move || ended.remove(0));
        backplane.connect(&namespace)
    }
}

impl Backplane {
    /// The reactors of a process get the places of their events from the store.
    pub(crate) fn connect(&self, namespace: &Namespace) -> Result<(), BackplaneError> {
        self.check_name()?;
        match &self.store {
            Store::Memory(memory) => {
                namespace.move_to_store(self.settings, memory.bell())?;
                Arc::clone(memory).add(namespace.clone())
            }
            #[cfg(feature = "redis")]
            Store::Redis(options) => {
                super::redis::connect(options, &self.namespace, self.settings, namespace)
            }
        }
    }

    fn check_name(&self) -> Result<(), BackplaneError> {
        let name = &self.namespace;
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/".contains(&b);
        let is_named = (1..=100).contains(&name.len()) && name.bytes().all(is_allowed);
        if is_named { Ok(()) } else { Err(BackplaneError::Namespace) }
    }
}
