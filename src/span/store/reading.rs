//! Histories and entries of a store in memory.

use std::{collections::HashSet, sync::Arc};

use super::{Kept, Keys, Meta};
use crate::{
    span::protocol::{Batch, History, RECALLED_BYTES, Reply},
    topic::Continues,
};

impl Keys {
    pub(super) fn recall(&self, topics: &[Arc<str>]) -> Reply {
        let Some(Meta { n: up_to, .. }) = self.meta else { return Reply::Strange };
        let history = |topic: &Arc<str>| {
            let topic = Arc::clone(topic);
            let Some(kept) = self.histories.get(&topic) else {
                let lost_up_to = self.lost_up_to(&topic, up_to);
                return History { topic, lost_up_to, events: vec![] };
            };
            if kept.is_foreign(up_to) {
                return History { topic, lost_up_to: up_to, events: vec![] };
            }
            let lost_up_to = kept.elements.front().map_or(up_to, |oldest| oldest.before);
            let events = kept.elements.iter().map(|it| it.recorded.clone()).collect();
            History { topic, lost_up_to, events }
        };
        let mut bytes = 0;
        let histories = topics.iter().map_while(|topic| {
            let recalled = (bytes < RECALLED_BYTES).then(|| history(topic))?;
            bytes += recalled.events.iter().map(|it| it.events.len()).sum::<usize>();
            Some(recalled)
        });
        Reply::Recalled { up_to, histories: histories.collect() }
    }

    pub(super) fn read(&self, after: u64, most: usize) -> Reply {
        let entries = self.log.iter().flat_map(|log| &log.entries);
        let new = entries.filter(|entry| entry.place > after).take(most);
        Reply::Entries(new.cloned().collect())
    }
}

/// Append.
impl Keys {
    /// The topics of a batch whose history ends with a last event.
    pub(super) fn finished_among(&self, batch: &Batch, n: u64) -> HashSet<Arc<str>> {
        let keeping = batch.posts.iter().filter(|post| post.keeps.events > 0);
        let is_over = |topic: &&Arc<str>| {
            let kept = self.histories.get(*topic).filter(|kept| !kept.is_foreign(n));
            let newest = kept.and_then(|kept| kept.elements.back());
            newest.is_some_and(|newest| newest.recorded.continues == Continues::No)
        };
        keeping.map(|post| &post.topic).filter(is_over).cloned().collect()
    }
}

impl Kept {
    /// It was kept before everything else was lost.
    pub(super) fn is_foreign(&self, n: u64) -> bool {
        self.elements.back().is_none_or(|newest| newest.recorded.place > n)
    }
}
