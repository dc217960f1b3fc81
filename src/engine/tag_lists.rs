//! [`TagLists`]: the streams of each tag, in order of their start.

use std::{
    collections::{HashMap, hash_map::Entry},
    iter,
    sync::Arc,
};

use super::keys::StreamId;
use crate::limits::{Limits, TagOverflow};

/// Which streams have which tag.
///
/// The open streams of a tag form a list linked through `members`. It keeps them in order of their
/// start, and a stream leaves it in constant time.
#[derive(Debug, Default)]
pub(super) struct TagLists {
    lists: HashMap<Arc<str>, List>,
    /// Every stream with a tag, from its start until its hooks have run.
    members: HashMap<StreamId, Member>,
}

/// The ends of a list, and the number of streams in it.
#[derive(Debug)]
struct List {
    oldest: StreamId,
    newest: StreamId,
    length: usize,
}

#[derive(Debug)]
struct Member {
    tag: Arc<str>,
    /// `None` once the stream's end is decided: its hooks may still ask for its tag.
    links: Option<Neighbors>,
}

/// The neighbours in the list.
#[derive(Debug, Default)]
struct Neighbors {
    older: Option<StreamId>,
    newer: Option<StreamId>,
}

/// The limit of a tag is reached, and no stream is replaced.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TagFull;

impl TagLists {
    /// Adds a stream, if there is room or it replaces the oldest. Returns that one.
    pub(super) fn add_within(
        &mut self,
        id: StreamId,
        tag: &Arc<str>,
        limits: &Limits,
    ) -> Result<Option<StreamId>, TagFull> {
        if self.is_full(tag, limits) {
            return Err(TagFull);
        }
        let has_room = self.count(tag) < limits.streams_per_tag.unwrap_or(usize::MAX);
        let oldest = if has_room { None } else { self.with(tag).next() };
        if let Some(oldest) = oldest {
            self.end(oldest);
        }
        self.add(id, Arc::clone(tag));
        Ok(oldest)
    }

    /// True if a stream with this tag would be refused. A limit of zero leaves nothing to replace.
    pub(super) fn is_full(&self, tag: &str, limits: &Limits) -> bool {
        match (limits.streams_per_tag, limits.tag_overflow) {
            (None, _) => false,
            (Some(max), TagOverflow::Refuse) => self.count(tag) >= max,
            (Some(max), TagOverflow::ReplaceOldest) => max == 0,
        }
    }

    /// A stream with a tag has started.
    pub(super) fn add(&mut self, id: StreamId, tag: Arc<str>) {
        let mut links = Neighbors::default();
        match self.lists.entry(Arc::clone(&tag)) {
            Entry::Vacant(none) => {
                none.insert(List { oldest: id, newest: id, length: 1 });
            }
            Entry::Occupied(mut list) => {
                let list = list.get_mut();
                links.older = Some(list.newest);
                list.newest = id;
                list.length += 1;
            }
        }
        if let Some(older) = links.older {
            self.links(older).newer = Some(id);
        }
        self.members.insert(id, Member { tag, links: Some(links) });
    }

    /// The stream is no longer found by its tag; false if it was not before.
    pub(super) fn end(&mut self, id: StreamId) -> bool {
        let Some(member) = self.members.get_mut(&id) else { return false };
        let Some(Neighbors { older, newer }) = member.links.take() else { return false };
        let tag = Arc::clone(&member.tag);
        if let Some(older) = older {
            self.links(older).newer = newer;
        }
        if let Some(newer) = newer {
            self.links(newer).older = older;
        }
        let Some(list) = self.lists.get_mut(&tag) else { return false };
        list.length -= 1;
        match (older, newer) {
            (Some(_), Some(_)) => {}
            (None, Some(newer)) => list.oldest = newer,
            (Some(older), None) => list.newest = older,
            (None, None) => drop(self.lists.remove(&tag)),
        }
        true
    }

    pub(super) fn forget(&mut self, id: StreamId) {
        self.end(id);
        self.members.remove(&id);
    }

    /// Removes all streams with a tag.
    pub(super) fn take(&mut self, tag: &str) -> Vec<StreamId> {
        let ids: Vec<_> = self.with(tag).collect();
        ids.iter().for_each(|id| self.forget(*id));
        ids
    }

    pub(super) fn of(&self, id: StreamId) -> Option<&str> {
        self.members.get(&id).map(|member| &*member.tag)
    }

    /// Number of open streams with a tag.
    fn count(&self, tag: &str) -> usize {
        self.lists.get(tag).map_or(0, |list| list.length)
    }

    /// The open streams with a tag, the oldest first.
    pub(super) fn with(&self, tag: &str) -> impl Iterator<Item = StreamId> + '_ {
        let newer = |id: &StreamId| self.members.get(id)?.links.as_ref()?.newer;
        iter::successors(self.lists.get(tag).map(|list| list.oldest), newer)
    }

    /// All streams whose tags are known.
    pub(super) fn members(&self) -> impl Iterator<Item = StreamId> + '_ {
        self.members.keys().copied()
    }

    /// The links of a stream that is in a list.
    fn links(&mut self, id: StreamId) -> &mut Neighbors {
        let member = self.members.get_mut(&id).expect("neighbours in a list are members");
        member.links.as_mut().expect("neighbours in a list are linked")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::keys::{ConnIndex, ReactorNumber};

    fn id(slot: usize) -> StreamId {
        StreamId { reactor: ReactorNumber::default(), conn: ConnIndex::new(slot), generation: 7 }
    }

    fn tagged(streams: usize) -> TagLists {
        let mut tags = TagLists::default();
        (0..streams).for_each(|index| tags.add(id(index), "anna".into()));
        tags
    }

    #[track_caller]
    fn assert_lists(tags: &TagLists, expected: &[usize]) {
        let expected: Vec<_> = expected.iter().map(|index| id(*index)).collect();
        assert_eq!(tags.with("anna").collect::<Vec<_>>(), expected);
        assert_eq!(tags.count("anna"), expected.len());
        let backwards: Vec<_> =
            iter::successors(tags.lists.get("anna").map(|list| list.newest), |id| {
                tags.members[id].links.as_ref()?.older
            })
            .collect();
        assert!(backwards.iter().rev().eq(&expected), "{backwards:?}");
    }

    #[test]
    fn a_tag_names_several_streams_and_goes_with_the_last() {
        let mut tags = tagged(2);
        assert_lists(&tags, &[0, 1]);
        assert_eq!(tags.of(id(1)), Some("anna"));
        tags.forget(id(0));
        tags.forget(id(0));
        tags.forget(id(1));
        assert!(tags.lists.is_empty() && tags.members.is_empty());
    }

    #[test]
    fn a_stream_that_ends_leaves_the_list_and_keeps_its_tag_for_its_hooks() {
        let mut tags = tagged(2);
        tags.end(id(1));
        tags.end(id(1));
        assert_lists(&tags, &[0]);
        assert_eq!(tags.of(id(1)), Some("anna"));
        tags.add(id(2), "anna".into());
        assert_lists(&tags, &[0, 2]);
        tags.forget(id(1));
        assert_eq!(tags.of(id(1)), None);
        assert_lists(&tags, &[0, 2]);
        tags.end(id(0));
        tags.end(id(2));
        assert!(tags.lists.is_empty(), "no stream is listed, though names are kept");
        assert_eq!(tags.of(id(2)), Some("anna"));
    }

    #[test]
    fn the_order_of_birth_is_kept_when_any_of_them_end() {
        for first in 0..4 {
            for second in (0..4).filter(|second| *second != first) {
                let mut tags = tagged(4);
                tags.end(id(first));
                tags.end(id(second));
                let left: Vec<_> =
                    (0..4).filter(|index| ![first, second].contains(index)).collect();
                assert_lists(&tags, &left);
                tags.add(id(9), "anna".into());
                assert_lists(&tags, &[left[0], left[1], 9]);
            }
        }
    }
}
