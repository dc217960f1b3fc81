//! Topics that have been finished: what is remembered of them when their events are dropped.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::Topic;

/// The ends of topics that keep no more than that. Bounded: the oldest are forgotten first.
#[derive(Debug, Default)]
pub(crate) struct Tombstones {
    by_name: HashMap<Arc<str>, Remembered>,
    /// In the order in which they were added, some of them replaced since. One that is kept for longer
    /// than those after it lets them stay when their time is over.
    in_order: VecDeque<(u64, Arc<str>)>,
}

/// The end of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Remembered {
    /// The sequence of the last event.
    pub(crate) end: u64,
    until_ms: u64,
}

impl Tombstones {
    /// Remembers the end of a topic for a day after its events were kept.
    pub(crate) fn add(&mut self, topic: &Topic, end: u64, kept_until_ms: u64, now_ms: u64) {
        self.forget_old(now_ms);
        let until_ms = kept_until_ms.saturating_add(REMEMBERED_MS);
        if until_ms <= now_ms {
            return;
        }
        // It was opened again since, for a client that came late. That does not prolong it.
        if self.get(topic.name(), now_ms).is_some() {
            return;
        }
        if self.by_name.len() == TOMBSTONES_MAX {
            self.forget_oldest();
        }
        let name: Arc<str> = Arc::clone(topic.shared_name());
        self.by_name.insert(Arc::clone(&name), Remembered { end, until_ms });
        self.in_order.push_back((until_ms, name));
    }

    /// The end of a topic of this name, while it is remembered.
    pub(crate) fn get(&self, name: &str, now_ms: u64) -> Option<Remembered> {
        self.by_name.get(name).copied().filter(|it| now_ms < it.until_ms)
    }

    /// What is after this place does not exist anymore.
    pub(crate) fn undo_after(&mut self, place: u64) {
        self.by_name.retain(|_, it| it.end <= place);
    }

    fn forget_old(&mut self, now_ms: u64) {
        while self.in_order.front().is_some_and(|(until_ms, _)| *until_ms <= now_ms) {
            self.forget_next();
        }
    }

    /// Makes room. What was undone needs none.
    fn forget_oldest(&mut self) {
        let before = self.by_name.len();
        while self.by_name.len() == before && !self.in_order.is_empty() {
            self.forget_next();
        }
    }

    fn forget_next(&mut self) {
        if let Some((until_ms, name)) = self.in_order.pop_front()
            // Otherwise it was undone, and perhaps added again.
            && self.by_name.get(&name).is_some_and(|it| it.until_ms == until_ms)
        {
            self.by_name.remove(&name);
        }
    }
}

/// How long the end of a topic is remembered after its events were dropped.
const REMEMBERED_MS: u64 = 24 * 60 * 60 * 1000;
/// How many ends are remembered.
const TOMBSTONES_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_remembered_for_a_day() {
        let mut tombstones = Tombstones::default();
        tombstones.add(&Topic::new("a"), 7, 1_000, 1_000);
        assert_eq!(tombstones.get("a", REMEMBERED_MS + 999).map(|it| it.end), Some(7));
        assert_eq!(tombstones.get("a", REMEMBERED_MS + 1_000), None);
        assert_eq!(tombstones.get("b", 1_000), None);
        tombstones.add(&Topic::new("a"), 9, REMEMBERED_MS + 1_000, REMEMBERED_MS + 1_000);
        assert_eq!(tombstones.get("a", REMEMBERED_MS + 1_000).map(|it| it.end), Some(9));
    }

    #[test]
    fn an_end_whose_time_is_over_makes_place_for_a_new_one_of_its_name() {
        let mut tombstones = Tombstones::default();
        tombstones.add(&Topic::new("kept for longer"), 1, 10 * REMEMBERED_MS, 0);
        tombstones.add(&Topic::new("a"), 7, 0, 0);
        let later = 2 * REMEMBERED_MS;
        tombstones.add(&Topic::new("a"), 9, later, later);
        assert_eq!(tombstones.get("a", later).map(|it| it.end), Some(9));
    }

    #[test]
    fn the_oldest_of_too_many_ends_is_forgotten_first() {
        let mut tombstones = Tombstones::default();
        for n in 0..=TOMBSTONES_MAX {
            tombstones.add(&Topic::new(n.to_string()), n as u64, n as u64, n as u64);
        }
        assert_eq!(tombstones.by_name.len(), TOMBSTONES_MAX);
        assert_eq!(tombstones.in_order.len(), TOMBSTONES_MAX);
        assert_eq!(tombstones.get("0", 0), None);
        assert!(tombstones.get("1", 0).is_some());
    }

    #[test]
    fn an_end_that_is_undone_is_forgotten_and_can_be_remembered_again() {
        let mut tombstones = Tombstones::default();
        tombstones.add(&Topic::new("a"), 7, 0, 0);
        tombstones.undo_after(7);
        assert!(tombstones.get("a", 0).is_some());
        tombstones.undo_after(6);
        assert!(tombstones.get("a", 0).is_none());
        tombstones.add(&Topic::new("a"), 8, 5, 5);
        tombstones.forget_old(REMEMBERED_MS);
        assert_eq!(tombstones.get("a", 5).map(|it| it.end), Some(8));
    }
}
