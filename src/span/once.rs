//! [`Once`]: which events have been published, by the keys of their publishers.

use std::collections::{HashSet, VecDeque};

use super::protocol::ONCE_MS;

/// The keys of the last five minutes, at most [`KEYS_MAX`].
#[derive(Debug, Default)]
pub(crate) struct Once {
    keys: HashSet<Key>,
    /// The same, with the time when each is forgotten; in order.
    expiries: VecDeque<(u64, Key)>,
}

/// A topic's name and a key.
type Key = (Box<str>, Box<str>);

impl Once {
    /// Notes a key. False if it is known.
    pub(crate) fn is_first(&mut self, topic: &str, key: &str, now_ms: u64) -> bool {
        while self.expiries.front().is_some_and(|(expires_ms, _)| *expires_ms <= now_ms) {
            self.forget_the_oldest();
        }
        let key: Key = (topic.into(), key.into());
        if self.keys.contains(&key) {
            return false;
        }
        if self.keys.len() == KEYS_MAX {
            self.forget_the_oldest();
        }
        self.keys.insert(key.clone());
        self.expiries.push_back((now_ms + ONCE_MS, key));
        true
    }

    fn forget_the_oldest(&mut self) {
        if let Some((_, key)) = self.expiries.pop_front() {
            self.keys.remove(&key);
        }
    }
}

/// Beyond these, the oldest are forgotten early.
const KEYS_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_counts_once_on_its_topic_for_five_minutes() {
        let mut once = Once::default();
        assert!(once.is_first("a", "1", 0));
        assert!(!once.is_first("a", "1", ONCE_MS - 1));
        assert!(once.is_first("b", "1", 1));
        assert!(once.is_first("a", "1", ONCE_MS), "and not prolonged by the second");
    }

    #[test]
    fn the_oldest_keys_are_forgotten_early_if_there_are_too_many() {
        let mut once = Once::default();
        assert!((0..KEYS_MAX as u64 + 1).all(|key| once.is_first("a", &key.to_string(), 0)));
        assert!(once.is_first("a", "0", 0));
        assert!(!once.is_first("a", "2", 0));
        assert_eq!(once.keys.len(), KEYS_MAX);
    }
}
