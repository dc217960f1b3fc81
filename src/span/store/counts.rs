//! Numbers of subscribers, as members of a store in memory have said them.

use std::{collections::HashMap, sync::Arc};

use crate::span::protocol::{Reply, WATCHED_MS, WATCHED_TOPICS_MAX};

#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    /// With the times at which they expire.
    watched: HashMap<Arc<str>, u64>,
    told: HashMap<Arc<str>, Told>,
}

/// What members have said of a topic, and when.
#[derive(Debug, Clone, Default)]
struct Told {
    by_member: HashMap<String, (u64, u64)>,
    expires_ms: u64,
}

/// The member that says or asks something.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller<'a> {
    pub(super) member: &'a str,
    pub(super) now_ms: u64,
    pub(super) has_room: bool,
}

impl Counts {
    /// Those that are watched the shortest time come first.
    pub(super) fn watched(&self, now_ms: u64) -> Vec<Arc<str>> {
        let watched = self.watched.iter().filter(|(_, expires_ms)| **expires_ms > now_ms);
        let mut watched: Vec<_> = watched.map(|(topic, expires_ms)| (*expires_ms, topic)).collect();
        watched.sort();
        let watched = watched.into_iter().take(WATCHED_TOPICS_MAX);
        watched.map(|(_, topic)| Arc::clone(topic)).collect()
    }

    pub(super) fn count(
        &mut self,
        watch: &[Arc<str>],
        tell: &[(Arc<str>, u64)],
        caller: &Caller<'_>,
    ) -> Reply {
        let now_ms = caller.now_ms;
        self.told.retain(|_, told| told.expires_ms > now_ms);
        self.watched.retain(|_, expires_ms| *expires_ms > now_ms);
        let room = WATCHED_TOPICS_MAX - self.watched.len();
        let is_new = |topic: &&Arc<str>| !self.watched.contains_key(*topic);
        let new: Vec<_> = watch.iter().filter(is_new).take(room).cloned().collect();
        let known: Vec<_> = watch.iter().filter(|topic| !is_new(topic)).cloned().collect();
        let watched: Vec<_> = new.into_iter().chain(known).collect();
        // Only the first write can be refused.
        let needs_room = !watched.is_empty() || tell.first().is_some_and(|(_, number)| *number > 0);
        if needs_room && !caller.has_room {
            return Reply::Counted(Vec::new());
        }
        self.watched.extend(watched.into_iter().map(|topic| (topic, now_ms + WATCHED_MS)));
        for (topic, number) in tell {
            self.tell(topic, *number, caller);
        }
        let sums = watch.iter().map(|topic| (Arc::clone(topic), self.sum_of_others(topic, caller)));
        Reply::Counted(sums.collect())
    }

    fn tell(&mut self, topic: &Arc<str>, number: u64, caller: &Caller<'_>) {
        if number == 0 {
            if let Some(told) = self.told.get_mut(topic) {
                told.by_member.remove(caller.member);
            }
            return;
        }
        let told = self.told.entry(Arc::clone(topic)).or_default();
        told.by_member.insert(caller.member.into(), (number, caller.now_ms));
        told.expires_ms = caller.now_ms + TOLD_EXPIRES_MS;
    }

    fn sum_of_others(&self, topic: &Arc<str>, caller: &Caller<'_>) -> u64 {
        let told = self.told.get(topic).into_iter().flat_map(|told| &told.by_member);
        let is_fresh = |time_ms: u64| caller.now_ms.abs_diff(time_ms) <= FRESH_MS;
        let others =
            told.filter(|(member, (_, time))| **member != caller.member && is_fresh(*time));
        others.map(|(_, (number, _))| number).sum()
    }

    pub(super) fn forget_watched(&mut self) {
        self.watched.clear();
    }

    pub(super) fn forget(&mut self, topic: &Arc<str>) {
        self.told.remove(topic);
    }
}

/// A member that has said nothing for longer has ended.
const FRESH_MS: u64 = 15_000;
const TOLD_EXPIRES_MS: u64 = 30_000;
