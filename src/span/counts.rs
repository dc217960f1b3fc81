//! [`Counts`]: how many subscribers topics have in all processes of a namespace, approximately.
//!
//! Nobody counts what nobody asks for. A question makes a topic *watched* for a minute. Greetings tell each
//! process what is watched, and it answers with its own numbers; so an idle namespace has no extra requests.

use std::{collections::BTreeMap, fmt, mem, sync::Arc};

use super::protocol::{Request, WATCHED_MS, WATCHED_TOPICS_MAX};

/// How many subscribers topics have in this process. It must not block for longer than a lookup.
pub(crate) trait Audiences: fmt::Debug + Send + Sync {
    fn subscribers(&self, topic: &str) -> usize;
}

/// What one process knows of the others, and what it tells them.
#[derive(Debug, Default)]
pub(super) struct Counts {
    audiences: Option<Arc<dyn Audiences>>,
    /// In the order of names, so that simulations repeat.
    watched: BTreeMap<Arc<str>, Watched>,
    /// Those of them that the store does not know yet.
    new: Vec<Arc<str>>,
    /// What any process wants to know, until it is told.
    wanted: Vec<Arc<str>>,
    /// The store was greeted, so everything is due.
    is_due: bool,
}

#[derive(Debug)]
struct Watched {
    until_ms: u64,
    /// Of all other processes.
    subscribers: u64,
}

impl Counts {
    pub(super) fn count_with(&mut self, audiences: Arc<dyn Audiences>) {
        self.audiences = Some(audiences);
    }

    /// How many subscribers the others have, and whether this is the first question.
    pub(super) fn ask(&mut self, topic: &Arc<str>, now_ms: u64) -> (usize, bool) {
        let until_ms = now_ms + WATCHED_MS;
        if let Some(watched) = self.watched.get_mut(topic) {
            watched.until_ms = until_ms;
            return (usize::try_from(watched.subscribers).unwrap_or(usize::MAX), false);
        }
        if self.watched.len() == WATCHED_TOPICS_MAX || topic.len() > NAME_BYTES_MAX {
            return (0, false);
        }
        self.watched.insert(Arc::clone(topic), Watched { until_ms, subscribers: 0 });
        self.new.push(Arc::clone(topic));
        (0, true)
    }

    pub(super) fn greeted(&mut self, wanted: &[Arc<str>]) {
        self.wanted = wanted.to_vec();
        self.is_due = true;
    }

    /// What is to be asked and told now: everything after a greeting, and new topics at once.
    pub(super) fn next(&mut self, now_ms: u64) -> Option<Request> {
        let (mut watch, mut tell) = (mem::take(&mut self.new), Vec::new());
        if mem::take(&mut self.is_due) {
            self.watched.retain(|_, watched| watched.until_ms > now_ms);
            watch = self.watched.keys().cloned().collect();
            let wanted = mem::take(&mut self.wanted).into_iter();
            tell = wanted.map(|topic| (Arc::clone(&topic), self.own(&topic))).collect();
        }
        let is_empty = watch.is_empty() && tell.is_empty();
        (!is_empty).then_some(Request::Count { watch, tell })
    }

    fn own(&self, topic: &str) -> u64 {
        self.audiences.as_ref().map_or(0, |audiences| audiences.subscribers(topic) as u64)
    }

    pub(super) fn counted(&mut self, counts: &[(Arc<str>, u64)]) {
        for (topic, subscribers) in counts {
            if let Some(watched) = self.watched.get_mut(topic) {
                watched.subscribers = *subscribers;
            }
        }
    }
}

/// Topics with longer names are not watched, so that greetings stay small.
const NAME_BYTES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Seven;

    impl Audiences for Seven {
        fn subscribers(&self, _topic: &str) -> usize {
            7
        }
    }

    fn named(number: usize) -> Arc<str> {
        format!("{number:04}").into()
    }

    #[test]
    fn new_topics_are_asked_for_at_once_and_all_after_a_greeting_for_a_minute() {
        let mut counts = Counts::default();
        counts.count_with(Arc::new(Seven));
        let [one, other] = [named(1), named(2)];
        assert_eq!(counts.next(0), None);
        assert_eq!(counts.ask(&one, 0), (0, true));
        let asked = |topics: &[&Arc<str>], tell| {
            let watch = topics.iter().map(|topic| Arc::clone(topic)).collect();
            Some(Request::Count { watch, tell })
        };
        assert_eq!(counts.next(0), asked(&[&one], vec![]));
        counts.counted(&[(one.clone(), 3), (named(9), 9)]);
        assert_eq!((counts.ask(&one, 1), counts.next(1)), ((3, false), None));
        assert_eq!(counts.ask(&other, 30_000), (0, true));
        counts.greeted(&[named(5)]);
        assert_eq!(counts.next(30_000), asked(&[&one, &other], vec![(named(5), 7)]));
        counts.greeted(&[]);
        assert_eq!(counts.next(60_001), asked(&[&other], vec![]));
        counts.greeted(&[]);
        assert_eq!(counts.next(90_000), None);
    }

    #[test]
    fn no_more_topics_are_watched_than_a_greeting_holds() {
        let mut counts = Counts::default();
        assert_eq!(counts.ask(&"x".repeat(NAME_BYTES_MAX + 1).into(), 0), (0, false));
        let first = (0..=WATCHED_TOPICS_MAX).filter(|number| counts.ask(&named(*number), 0).1);
        assert_eq!(first.count(), WATCHED_TOPICS_MAX);
        counts.greeted(&[]);
        assert_eq!(counts.next(WATCHED_MS), None);
        assert_eq!(counts.ask(&named(WATCHED_TOPICS_MAX), WATCHED_MS), (0, true));
    }
}
