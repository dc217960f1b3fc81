//! The users' own names for streams, such as a session key. Streams without one cost nothing.

use std::{collections::HashMap, sync::Arc};

use super::keys::StreamId;

#[derive(Debug, Default)]
pub(super) struct Tags {
    by_tag: HashMap<Arc<str>, Vec<StreamId>>,
    of_stream: HashMap<StreamId, Arc<str>>,
}

impl Tags {
    pub(super) fn add(&mut self, id: StreamId, tag: Arc<str>) {
        self.by_tag.entry(Arc::clone(&tag)).or_default().push(id);
        self.of_stream.insert(id, tag);
    }

    pub(super) fn remove(&mut self, id: StreamId) {
        let Some(tag) = self.of_stream.remove(&id) else { return };
        if let Some(ids) = self.by_tag.get_mut(&tag) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_tag.remove(&tag);
            }
        }
    }

    pub(super) fn of(&self, id: StreamId) -> Option<&str> {
        self.of_stream.get(&id).map(|tag| &**tag)
    }

    pub(super) fn with(&self, tag: &str) -> &[StreamId] {
        self.by_tag.get(tag).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::keys::ConnIndex;

    #[test]
    fn a_tag_names_several_streams_and_goes_with_the_last() {
        let [one, two] = [1, 2].map(|slot| StreamId { conn: ConnIndex::new(slot), generation: 7 });
        let mut tags = Tags::default();
        tags.add(one, "anna".into());
        tags.add(two, "anna".into());
        assert_eq!(tags.with("anna"), [one, two]);
        assert_eq!(tags.of(two), Some("anna"));
        tags.remove(one);
        tags.remove(one);
        tags.remove(two);
        assert!(tags.by_tag.is_empty() && tags.of_stream.is_empty());
    }
}
