//! The requests that wait for their answer. Connections that do not wait pay nothing for them.

use std::{collections::HashMap, sync::Arc};

use super::oneshot::Oneshot;
use crate::{
    engine::keys::ConnIndex,
    http::{HeaderLines, Request},
};

/// A request that waits for its answer.
#[derive(Debug)]
pub(in crate::engine) struct Promise {
    pub(in crate::engine) request: Request,
    pub(in crate::engine) oneshot: Arc<Oneshot>,
    /// What the layers around the handler have added to the answer.
    pub(in crate::engine) header_lines: HeaderLines,
}

/// The waiting requests, by connection: at most one for each.
#[derive(Debug, Default)]
pub(in crate::engine) struct Waiting(HashMap<ConnIndex, Box<Promise>>);

impl Waiting {
    pub(in crate::engine) fn add(&mut self, index: ConnIndex, promise: Promise) {
        self.0.insert(index, Box::new(promise));
    }

    /// The reactor ends.
    pub(in crate::engine) fn take_all(&mut self) -> impl Iterator<Item = Box<Promise>> + use<> {
        std::mem::take(&mut self.0).into_values()
    }

    /// The connection no longer waits.
    #[inline]
    pub(in crate::engine) fn take(&mut self, index: ConnIndex) -> Option<Box<Promise>> {
        // Usually empty, and then nothing is hashed.
        if self.0.is_empty() { None } else { self.remove(index) }
    }

    #[cold]
    fn remove(&mut self, index: ConnIndex) -> Option<Box<Promise>> {
        let promise = self.0.remove(&index);
        if self.0.capacity() > KEPT && self.0.len() < self.0.capacity() / 4 {
            self.0.shrink_to(2 * self.0.len());
        }
        promise
    }
}

/// Places that are kept after a rush.
const KEPT: usize = 64;
