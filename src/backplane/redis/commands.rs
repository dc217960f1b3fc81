//! Requests of a member, as commands of RESP2.
//!
//! Everything is an array of bulk strings, written into the output directly. What the keys and
//! arguments of the script mean is said in `namespace.lua`.

use std::{collections::HashMap, sync::Arc};

use super::codec::Server;
use crate::{
    span::protocol::{Batch, Keeps, ONCE_MS, Post, Request, Retention, generation_leap},
    topic::{Compressible, Continues},
};

/// The script that a connection loads before it writes; its hash names it.
pub(super) const SCRIPT: &str = include_str!("namespace.lua");

/// Places are below this, because Lua's numbers are exact up to here.
pub(super) const PLACE_MAX: u64 = 1 << 53;

/// What the commands of one member have in common.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// What all keys begin with: the namespace in braces, so that they share a slot.
    prefix: String,
    member: String,
    seed: String,
}

impl Session {
    /// * `namespace`: a name without braces.
    /// * `member`: no other has had the same name, nor the same process in an earlier life.
    /// * `seed`: letters and digits, random. The names of generations end in it.
    pub(super) fn new(namespace: &str, member: &str, seed: &str) -> Self {
        debug_assert!(!namespace.contains(['{', '}']));
        debug_assert!(seed.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        Self { prefix: format!("{{{namespace}}}:"), member: member.into(), seed: seed.into() }
    }

    /// Appends the command of this request.
    pub(super) fn encode(&self, request: &Request, server: &Server, out: &mut Vec<u8>) {
        match request {
            Request::Greet { floor } => {
                self.call(server, Extra { keys: 1, arguments: 5 }, out);
                self.write_watched(out);
                write_bulks(&["greet", &server.run_id], out);
                write_number(*floor, out);
                write_bulks(&[&self.seed], out);
                write_number(generation_leap(&self.member), out);
            }
            Request::Append { batch, base, retention } => {
                self.encode_append(server, batch, (*base, *retention), out);
            }
            Request::Recall(topics) => {
                self.call(server, Extra { keys: topics.len(), arguments: 1 }, out);
                topics.iter().for_each(|topic| self.write_history(topic, out));
                write_bulks(&["recall"], out);
            }
            Request::Count { watch, tell } => self.encode_count(server, watch, tell, out),
            Request::Read { after, most } => {
                write_array(8, out);
                write_bulks(&["XREAD", "COUNT"], out);
                write_number((*most).max(1) as u64, out);
                write_bulks(&["BLOCK", READ_BLOCKS_MS, "STREAMS"], out);
                write_bulk(&[&self.prefix, "log"], out);
                // After foreign entries with the same place too, which would be read again and again.
                write_bulk(&[itoa::Buffer::new().format(*after), "-18446744073709551615"], out);
            }
        }
    }

    fn encode_append(
        &self,
        server: &Server,
        batch: &Batch,
        (base, retention): (u64, Retention),
        out: &mut Vec<u8>,
    ) {
        let histories = Histories::of(&batch.posts);
        let keyed = || {
            let numbered = (1..).zip(&batch.posts);
            numbered.filter_map(|(number, post)| Some((number, post, post.once.as_deref()?)))
        };
        let lasts = || {
            let numbered = (1..).zip(&batch.posts);
            numbered.filter(|(_, post)| post.continues == Continues::No).map(|(number, _)| number)
        };
        let (keyed_count, histories_count) = (keyed().count(), histories.in_order.len());
        let (keys, lasts_count) = (histories_count + keyed_count, lasts().count());
        let arguments =
            10 + 2 * histories_count + keyed_count + lasts_count + 2 * batch.posts.len();
        self.call(server, Extra { keys, arguments }, out);
        histories.in_order.iter().for_each(|(topic, _)| self.write_history(topic, out));
        for (_, post, key) in keyed() {
            let length = itoa::Buffer::new().format(post.topic.len()).to_owned();
            write_bulk(&[&self.prefix, "once:", &length, ":", &post.topic, ":", key], out);
        }
        write_bulks(&["append", &self.member], out);
        for number in [
            batch.number,
            base,
            retention.log_entries.clamp(1, i64::MAX as u64),
            retention.history_s.max(1).into(),
            ONCE_MS,
            histories_count as u64,
            keyed_count as u64,
            lasts_count as u64,
        ] {
            write_number(number, out);
        }
        for (_, keeps) in &histories.in_order {
            write_number((keeps.events as u64).min(u32::MAX.into()), out);
            write_number((keeps.bytes as u64).min(PLACE_MAX), out);
        }
        keyed().for_each(|(number, ..)| write_number(number, out));
        lasts().for_each(|number| write_number(number, out));
        for post in &batch.posts {
            write_number(histories.number_of(post), out);
            write_entry(post, out);
        }
    }

    fn encode_count(
        &self,
        server: &Server,
        watch: &[Arc<str>],
        tell: &[(Arc<str>, u64)],
        out: &mut Vec<u8>,
    ) {
        let topics = watch.len() + tell.len();
        self.call(server, Extra { keys: 1 + topics, arguments: 3 + topics }, out);
        self.write_watched(out);
        for topic in watch.iter().chain(tell.iter().map(|(topic, _)| topic)) {
            write_bulk(&[&self.prefix, "count:", topic], out);
        }
        write_bulks(&["count", &self.member], out);
        write_number(watch.len() as u64, out);
        watch.iter().for_each(|topic| write_bulk(&[topic], out));
        tell.iter().for_each(|(_, number)| write_number(*number, out));
    }

    /// A call of the script, up to the keys that all calls have.
    fn call(&self, server: &Server, extra: Extra, out: &mut Vec<u8>) {
        let keys = KEYS.len() + extra.keys;
        write_array(3 + keys + extra.arguments, out);
        write_bulks(&["EVALSHA", &server.script], out);
        write_number(keys as u64, out);
        KEYS.iter().for_each(|key| write_bulk(&[&self.prefix, key], out));
    }

    fn write_watched(&self, out: &mut Vec<u8>) {
        write_bulk(&[&self.prefix, "watched"], out);
    }

    fn write_history(&self, topic: &str, out: &mut Vec<u8>) {
        write_bulk(&[&self.prefix, "h:", topic], out);
    }
}

/// What a call of the script has besides the keys of all calls.
struct Extra {
    keys: usize,
    arguments: usize,
}

/// The topics of a batch that keep events.
struct Histories<'a> {
    /// The limits are those of the last event.
    in_order: Vec<(&'a str, Keeps)>,
    /// From 1.
    numbers: HashMap<&'a str, usize>,
}

impl<'a> Histories<'a> {
    fn of(posts: &'a [Post]) -> Self {
        let mut histories = Self { in_order: Vec::new(), numbers: HashMap::new() };
        let Self { in_order, numbers } = &mut histories;
        for post in posts.iter().filter(|post| post.keeps.events > 0) {
            let number = *numbers.entry(&post.topic).or_insert_with(|| {
                in_order.push((&post.topic, post.keeps));
                in_order.len()
            });
            in_order[number - 1].1 = post.keeps;
        }
        histories
    }

    /// 0 if the topic keeps nothing.
    fn number_of(&self, post: &Post) -> u64 {
        match post.keeps.events {
            0 => 0,
            _ => self.numbers.get(&*post.topic).map_or(0, |number| *number as u64),
        }
    }
}

/// What is stored of an event, in the log and in its history.
fn write_entry(post: &Post, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    let length = digits.format(post.topic.len()).as_bytes();
    let uncompressed: &[u8] = match post.compression {
        Compressible::Yes => b"",
        Compressible::No => b" u",
    };
    let last: &[u8] = match post.continues {
        Continues::Yes => b"\n",
        Continues::No => b" last\n",
    };
    let parts = [length, uncompressed, last, post.topic.as_bytes(), &post.events];
    write_length(b'$', parts.iter().map(|part| part.len()).sum(), out);
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out.extend_from_slice(b"\r\n");
}

fn write_array(length: usize, out: &mut Vec<u8>) {
    write_length(b'*', length, out);
}

fn write_bulks(texts: &[&str], out: &mut Vec<u8>) {
    texts.iter().for_each(|text| write_bulk(&[text], out));
}

/// One bulk string of several parts.
fn write_bulk(parts: &[&str], out: &mut Vec<u8>) {
    write_length(b'$', parts.iter().map(|part| part.len()).sum(), out);
    parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    out.extend_from_slice(b"\r\n");
}

fn write_number(number: u64, out: &mut Vec<u8>) {
    write_bulk(&[itoa::Buffer::new().format(number)], out);
}

fn write_length(kind: u8, length: usize, out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The keys that each call of the script has, in the script's order.
const KEYS: [&str; 5] = ["meta", "log", "generations", "recent", "earlier"];

/// How long a read waits for something. Its answer shows that the server lives.
const READ_BLOCKS_MS: &str = "1000";

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(request: &Request) -> String {
        let mut out = Vec::new();
        let server = Server { run_id: "run".into(), script: "sha".into() };
        Session::new("shop", "anna", "seed").encode(request, &server, &mut out);
        String::from_utf8(out).expect("text")
    }

    /// Only the words, and their number.
    fn words(request: &Request) -> Vec<String> {
        let encoded = encoded(request);
        let mut lines = encoded.split("\r\n");
        let count: usize = lines.next().unwrap().strip_prefix('*').unwrap().parse().unwrap();
        let mut words = Vec::new();
        while let (Some(length), Some(word)) = (lines.next(), lines.next()) {
            assert_eq!(length, format!("${}", word.len()));
            words.push(word.to_owned());
        }
        assert_eq!(words.len(), count);
        words
    }

    fn post(topic: &str, events_max: usize, once: Option<&str>) -> Post {
        Post {
            topic: topic.into(),
            keeps: Keeps { events: events_max, bytes: 9 },
            compression: Compressible::Yes,
            continues: Continues::Yes,
            once: once.map(Into::into),
            events: b"data: 1\n\n"[..].into(),
        }
    }

    const FIXED: [&str; 5] =
        ["{shop}:meta", "{shop}:log", "{shop}:generations", "{shop}:recent", "{shop}:earlier"];

    #[test]
    fn commands_are_arrays_of_bulk_strings() {
        assert_eq!(
            encoded(&Request::Read { after: 17, most: 100 }),
            "*8\r\n$5\r\nXREAD\r\n$5\r\nCOUNT\r\n$3\r\n100\r\n$5\r\nBLOCK\r\n$4\r\n1000\r\n\
             $7\r\nSTREAMS\r\n$10\r\n{shop}:log\r\n$23\r\n17-18446744073709551615\r\n"
        );
        let greet = words(&Request::Greet { floor: 7 });
        assert_eq!(greet[..3], ["EVALSHA", "sha", "6"]);
        assert_eq!(greet[3..8], FIXED);
        assert_eq!(greet[8..13], ["{shop}:watched", "greet", "run", "7", "seed"]);
        assert_eq!(greet[13..], [generation_leap("anna").to_string()]);
        let (watch, tell) = (vec!["a".into()], vec![("b".into(), 3), ("a".into(), 0)]);
        let count = words(&Request::Count { watch, tell });
        assert_eq!(count[2..8], [&["9"], &FIXED[..]].concat());
        let keys = ["{shop}:watched", "{shop}:count:a", "{shop}:count:b", "{shop}:count:a"];
        assert_eq!(count[8..12], keys);
        assert_eq!(count[12..], ["count", "anna", "1", "a", "3", "0"]);
    }

    #[test]
    fn a_topic_without_history_has_no_key() {
        let posts = vec![post("log", 0, None), post("kept", 3, Some("k")), post("kept", 5, None)];
        let batch = Arc::new(Batch { number: 4, posts, bytes: 27 });
        let retention = Retention { log_entries: 100, history_s: 60 };
        let words = words(&Request::Append { batch, base: 2, retention });
        assert_eq!(words[..3], ["EVALSHA", "sha", "7"]);
        assert_eq!(words[8..10], ["{shop}:h:kept", "{shop}:once:4:kept:k"]);
        let numbers = ["append", "anna", "4", "2", "100", "60", "300000", "1", "1", "0"];
        assert_eq!(words[10..20], numbers);
        assert_eq!(words[20..23], ["5", "9", "2"], "the last limits, and the event with a key");
        let entry = |topic| format!("{}\n{topic}data: 1\n\n", str::len(topic));
        let (log, kept) = (entry("log"), entry("kept"));
        assert_eq!(words[23..], ["0", &log, "1", &kept, "1", &kept]);
    }

    #[test]
    fn the_last_event_of_a_topic_is_numbered_and_says_so() {
        let mut posts = vec![post("kept", 3, None), post("kept", 3, None)];
        posts[1].continues = Continues::No;
        posts[1].compression = Compressible::No;
        let batch = Arc::new(Batch { number: 4, posts, bytes: 18 });
        let retention = Retention { log_entries: 100, history_s: 60 };
        let words = words(&Request::Append { batch, base: 2, retention });
        assert_eq!(words[16..22], ["1", "0", "1", "3", "9", "2"]);
        assert_eq!(words[22..], ["1", "4\nkeptdata: 1\n\n", "1", "4 u last\nkeptdata: 1\n\n"]);
    }

    /// The script would fail in its midst.
    #[test]
    fn limits_are_those_that_redis_understands() {
        let mut huge = post("kept", usize::MAX, None);
        huge.keeps.bytes = usize::MAX;
        let batch = Arc::new(Batch { number: 1, posts: vec![huge], bytes: 9 });
        let retention = Retention { log_entries: 0, history_s: 0 };
        let words = words(&Request::Append { batch, base: 1, retention });
        assert_eq!(words[13..15], ["1", "1"]);
        assert_eq!(words[19..21], ["4294967295", "9007199254740992"]);
    }
}
