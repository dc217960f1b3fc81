//! What happens to a store, at random.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{Pair, Snapshot};
use crate::{
    span::protocol::{Batch, Content, Entry, History, Keeps, Post, Reply, Request, Retention},
    span::{Key, RoomLeft, ServerError, Survives},
    topic::{Compressible, Continues},
};

/// SplitMix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    pub(super) fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    pub(super) fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize]
    }
}

/// A sequence of requests and faults, and everything once more in the end.
pub(super) fn take(pair: &mut Pair, random: &mut Random, seen: &mut HashMap<&'static str, usize>) {
    let members = MEMBERS.map(|name| (name, 0));
    let mut steps = Steps { members, position: 0, events: BTreeMap::new(), snapshot: None };
    for _ in 0..STEPS {
        let outcome = match random.below(100) {
            0..50 => steps.append(pair, random),
            50..65 => steps.greet(pair, random),
            65..80 => steps.recall(pair, random),
            80..90 => steps.read(pair, random),
            _ => steps.happen(pair, random),
        };
        *seen.entry(outcome).or_default() += 1;
    }
    let topics = TOPICS.map(|(topic, _)| Arc::from(topic));
    let _ = pair.ask(MEMBERS[0], &Request::Recall(topics.to_vec()));
    let _ = pair.ask(MEMBERS[0], &Request::Read { after: 0, most: 1_000 });
}

struct Steps {
    /// With the numbers of their last batches.
    members: [(&'static str, u64); 3],
    position: u64,
    /// All that there are, whatever the store has lost of them.
    events: Events,
    snapshot: Option<(Snapshot, Events)>,
}

/// Topics and events, by place.
type Events = BTreeMap<u64, (Arc<str>, Arc<[u8]>)>;

impl Steps {
    fn append(&mut self, pair: &mut Pair, random: &mut Random) -> &'static str {
        let at = random.below(3) as usize;
        let (member, last) = self.members[at];
        let (number, base) = match random.below(10) {
            // An acknowledgement was lost.
            0 => (last.max(1) - random.below(last.clamp(1, 3)), last.max(1)),
            // A batch was refused, or lost.
            1 => (last + 2, last + 1),
            2 => (last + 2 + random.below(3), last + 2),
            3 => (last + 1, last.max(1)),
            _ => (last + 1, last + 1),
        };
        let posts: Vec<_> = (0..random.below(POSTS_MAX + 1)).map(|_| post(random)).collect();
        let bytes = posts.iter().map(|post| post.events.len()).sum();
        let batch = Arc::new(Batch { number, posts, bytes });
        let retention = Retention { log_entries: 40, history_s: HISTORY_S };
        let has_room = !random.one_in(20);
        if !has_room {
            pair.set_room(RoomLeft::None);
        }
        let reply = pair.ask(member, &Request::Append { batch, base, retention });
        pair.set_room(RoomLeft::Some);
        match reply.expect("a reply") {
            Reply::Appended { number, was_known, up_to } => {
                self.members[at].1 = last.max(number);
                self.note_appended(pair, up_to);
                self.position = up_to;
                if was_known { "known" } else { "appended" }
            }
            Reply::Missing { .. } => "missing",
            Reply::Strange => "strange",
            Reply::Refused { .. } => "refused",
            other => panic!("{other:?}"),
        }
    }

    /// What got a place is what the log has.
    fn note_appended(&mut self, pair: &mut Pair, up_to: u64) {
        let last = Request::Read { after: up_to.saturating_sub(POSTS_MAX), most: 100 };
        let new = pair.ask(MEMBERS[0], &last);
        let Ok(Reply::Entries(new)) = new else { panic!("{new:?}") };
        for Entry { place, content } in new {
            if let Content::Event { topic, events, .. } = content {
                self.events.insert(place, (topic, events));
            }
        }
    }

    /// A history is complete after what it says is lost, and has nothing that there is not.
    fn check_history(&self, history: &History, up_to: u64) {
        assert!(history.lost_up_to <= up_to);
        let after = self.events.range(history.lost_up_to + 1..up_to + 1);
        let of_topic = after.filter(|(_, (topic, _))| *topic == history.topic);
        let expected: Vec<_> = of_topic.map(|(place, (_, events))| (*place, events)).collect();
        let events = history.events.iter();
        let found: Vec<_> = events.map(|event| (event.place, &event.events)).collect();
        assert_eq!(found, expected, "{:?} after {}", history.topic, history.lost_up_to);
    }

    fn greet(&mut self, pair: &mut Pair, random: &mut Random) -> &'static str {
        let floor = match random.below(4) {
            0 => 0,
            1 => self.position + random.below(5),
            _ => self.position,
        };
        let has_room = !random.one_in(10);
        if !has_room {
            pair.set_room(RoomLeft::None);
        }
        let reply = pair.ask(random.of(&MEMBERS), &Request::Greet { floor });
        pair.set_room(RoomLeft::Some);
        match reply {
            Ok(Reply::Greeted(greeting)) => {
                assert!(greeting.position >= floor);
                let is_new = greeting.position != self.position;
                let follows = greeting.generations.last().expect("one").1;
                self.events.retain(|place, _| {
                    !(follows + 1..=greeting.position).contains(place) || !is_new
                });
                self.position = greeting.position;
                if is_new { "generation" } else { "greeting" }
            }
            Err(ServerError(_)) => "no room for a greeting",
            other => panic!("{other:?}"),
        }
    }

    fn recall(&mut self, pair: &mut Pair, random: &mut Random) -> &'static str {
        let topics = (0..=random.below(4)).map(|_| Arc::from(random.of(&TOPICS).0)).collect();
        match pair.ask(random.of(&MEMBERS), &Request::Recall(topics)) {
            Ok(Reply::Recalled { histories, up_to }) => {
                let kept = histories.iter().filter(|history| &*history.topic != "log only");
                kept.for_each(|history| self.check_history(history, up_to));
                let is_empty = histories.iter().all(|history| history.events.is_empty());
                if is_empty { "empty histories" } else { "histories" }
            }
            Ok(Reply::Strange) => "strange",
            other => panic!("{other:?}"),
        }
    }

    fn read(&mut self, pair: &mut Pair, random: &mut Random) -> &'static str {
        let after = random.below(self.position + 2);
        let most = 1 + random.below(50) as usize;
        match pair.ask(random.of(&MEMBERS), &Request::Read { after, most }) {
            Ok(Reply::Entries(entries)) => {
                let is_generation = |content: &_| matches!(content, Content::Generation { .. });
                match entries.iter().any(|entry| is_generation(&entry.content)) {
                    _ if entries.is_empty() => "nothing to read",
                    true => "entries with a generation",
                    false => "entries",
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn happen(&mut self, pair: &mut Pair, random: &mut Random) -> &'static str {
        match random.below(12) {
            0..5 => {
                let (topic, _) = random.of(&TOPICS);
                pair.delete(&match random.below(7) {
                    0 => Key::Meta,
                    1 => Key::Log,
                    2 => Key::Generations,
                    3 => Key::Recent,
                    4 => Key::Earlier,
                    5 => Key::Once(topic.into(), random.of(&ONCE).into()),
                    _ => Key::History(topic.into()),
                });
                "deletion"
            }
            5 => {
                pair.restart(Survives::All);
                "restart"
            }
            6 if random.one_in(4) => {
                pair.restart(Survives::Nothing);
                self.events.clear();
                "total loss"
            }
            6..8 => {
                self.snapshot = Some((Snapshot::take(pair), self.events.clone()));
                "snapshot"
            }
            8 => match self.snapshot.take() {
                Some((snapshot, events)) => {
                    snapshot.restore(pair);
                    self.events = events;
                    "lossy restart"
                }
                None => "nothing",
            },
            9 => {
                pair.trim_log(random.below(10) as usize);
                "trimmed log"
            }
            _ => {
                // The times in it are of before.
                self.snapshot = None;
                let often = random.of(&[1, 1, 11]);
                pair.pass(often * PASS_MS);
                "time"
            }
        }
    }
}

fn post(random: &mut Random) -> Post {
    let (topic, mut keeps) = random.of(&TOPICS);
    if random.one_in(10) && keeps.events > 0 {
        // Another release has other limits.
        keeps = Keeps { events: 1 + random.below(4) as usize, bytes: random.below(200) as usize };
    }
    let is_last = random.one_in(12);
    let data = "é".repeat(random.below(12) as usize);
    Post {
        topic: topic.into(),
        keeps,
        compression: random.of(&[Compressible::Yes, Compressible::No]),
        continues: if is_last { Continues::No } else { Continues::Yes },
        once: (!is_last && random.one_in(5)).then(|| random.of(&ONCE).into()),
        events: format!("data: {data}\n\n").into_bytes().into(),
    }
}

/// What must have happened in all sequences together.
pub(super) const KINDS: [&str; 18] = [
    "appended",
    "deletion",
    "empty histories",
    "entries",
    "entries with a generation",
    "generation",
    "greeting",
    "histories",
    "known",
    "lossy restart",
    "missing",
    "no room for a greeting",
    "nothing to read",
    "refused",
    "restart",
    "strange",
    "time",
    "total loss",
];

const MEMBERS: [&str; 3] = ["anna", "ben", "cleo"];

/// Ambiguous if they were not told apart by length.
const ONCE: [&str; 3] = ["1", "2:1", ""];

const TOPICS: [(&str, Keeps); 6] = [
    ("few", Keeps { events: 3, bytes: 10_000 }),
    ("short", Keeps { events: 50, bytes: 90 }),
    ("einer mit Ümlaut\n und Umbruch", Keeps { events: 12, bytes: 400 }),
    ("since", Keeps { events: 1, bytes: 0 }),
    ("", Keeps { events: 2, bytes: 100 }),
    ("log only", Keeps { events: 0, bytes: 0 }),
];

const POSTS_MAX: u64 = 8;
const STEPS: usize = 400;
const HISTORY_S: u32 = 600;
/// Sums of it are far from all limits of time, because the clock of Redis runs meanwhile.
const PASS_MS: u64 = 337_000;
