//! The script in a real Redis and its model answer the same, whatever happens to their keys.

mod cost;
mod counts;
mod foreign;
mod server;
mod steps;

use std::{collections::HashMap, sync::Arc};

use redis_protocol::resp2::types::OwnedFrame;

use self::{
    server::{Client, Server, strings},
    steps::Random,
};
use super::{
    codec::ReplyError,
    codec::Server as LoggedIn,
    commands::{SCRIPT, Session},
    replies::decode,
};
use crate::{
    span::protocol::{Content, Reply, Request},
    span::{Key, RoomLeft, ServerError, Store, Survives},
};

/// The script and its model, side by side.
struct Pair {
    client: Client,
    script: String,
    store: Store,
    now_ms: u64,
    /// Requests so far. Seeds are made of it: after a loss of all data, names of the same millisecond
    /// are told apart only by their seeds.
    requests: u64,
    /// Generations have random names: those of the script, with those of the model.
    names: HashMap<String, String>,
}

impl Pair {
    fn new(server: &Server) -> Self {
        let mut client = server.connect();
        client.call(&["FLUSHALL"]);
        let script = strings(client.call(&["SCRIPT", "LOAD", SCRIPT])).remove(0);
        let script = String::from_utf8(script).expect("a hash");
        let (store, names) = (Store::new("model"), HashMap::new());
        Self { client, script, store, now_ms: 1_700_000_000_000, requests: 0, names }
    }

    fn encode(&self, member: &str, request: &Request, out: &mut Vec<u8>) {
        let run_id = format!("life{}", self.store.life());
        let server = LoggedIn { run_id, script: self.script.clone() };
        let seed = format!("seed{}", self.requests);
        Session::new("ns", member, &seed).encode(request, &server, out);
    }

    /// Both answer the same.
    fn ask(&mut self, member: &str, request: &Request) -> Result<Reply, ServerError> {
        let mut command = Vec::new();
        self.requests += 1;
        self.encode(member, request, &mut command);
        if let Request::Read { .. } = request {
            command = replace(&command, b"BLOCK\r\n$4\r\n1000\r\n", b"BLOCK\r\n$1\r\n1\r\n");
        }
        self.client.send(&command);
        let answer = self.client.receive();
        let mut real = decode(request, &answer);
        let model = self.store.apply(member, request, self.now_ms);
        self.rename(&mut real, &model);
        match (&real, &model) {
            (Ok(real), Ok(model)) => assert_eq!(real, model, "{member}: {request:?}"),
            (Err(ReplyError::Server(text)), Err(ServerError(code))) => {
                assert!(text.contains(&code[..3]), "{text}, but {code}");
            }
            other => panic!("{member}: {request:?}: {other:?}"),
        }
        model
    }

    /// Gives what differs by nature the model's value: names of generations, and reasons.
    fn rename(&mut self, real: &mut Result<Reply, ReplyError>, model: &Result<Reply, ServerError>) {
        let mut pairs = Vec::new();
        match (real, model) {
            (Ok(Reply::Refused { reason, .. }), Ok(Reply::Refused { reason: model, .. })) => {
                assert_eq!(reason[..3], model[..3]);
                reason.clone_from(model);
            }
            (Ok(Reply::Greeted(real)), Ok(Reply::Greeted(model))) => {
                let grow = real.generations.is_sorted_by(|one, next| one.0 < next.0);
                assert!(grow, "{real:?}");
                // Topics that are watched equally long in the model are not in Redis.
                assert_eq!(sorted(&real.watched), sorted(&model.watched));
                real.watched.clone_from(&model.watched);
                let names = real.generations.iter_mut().map(|(name, _)| name);
                pairs.extend(names.zip(model.generations.iter().map(|(name, _)| name)));
            }
            (Ok(Reply::Entries(real)), Ok(Reply::Entries(model))) => {
                for (real, model) in real.iter_mut().zip(model) {
                    let names = (&mut real.content, &model.content);
                    if let (
                        Content::Generation { name: real, .. },
                        Content::Generation { name: model, .. },
                    ) = names
                    {
                        pairs.push((real, model));
                    }
                }
            }
            _ => {}
        }
        for (real, model) in pairs {
            real.clone_from(self.names.entry(real.clone()).or_insert_with(|| model.clone()));
        }
    }

    fn restart(&mut self, survives: Survives) {
        self.store.restart(survives);
        match survives {
            Survives::All => {}
            Survives::Nothing => drop(self.client.call(&["FLUSHALL"])),
            Survives::WithoutLast(_) => unreachable!("see `Snapshot`"),
        }
    }

    fn delete(&mut self, key: &Key) {
        self.store.delete(key);
        let name = match key {
            Key::Meta => "{ns}:meta".into(),
            Key::Log => "{ns}:log".into(),
            Key::Generations => "{ns}:generations".into(),
            Key::Recent => "{ns}:recent".into(),
            Key::Earlier => "{ns}:earlier".into(),
            Key::History(topic) => format!("{{ns}}:h:{topic}"),
            Key::Once(topic, key) => format!("{{ns}}:once:{}:{topic}:{key}", topic.len()),
            Key::Watched => "{ns}:watched".into(),
            Key::Count(topic) => format!("{{ns}}:count:{topic}"),
        };
        self.client.call(&["DEL", &name]);
    }

    fn trim_log(&mut self, kept: usize) {
        self.store.trim_log(kept);
        self.client.call(&["XTRIM", "{ns}:log", "MAXLEN", &kept.to_string()]);
    }

    fn set_room(&mut self, room: RoomLeft) {
        self.store.set_room(room);
        let bytes = if room == RoomLeft::None { "1" } else { "0" };
        self.client.call(&["CONFIG", "SET", "maxmemory", bytes]);
    }

    /// Time goes by: in Redis, everything that has a time gets an earlier one.
    fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        self.client.call(&["EVAL", AGE, "0", &ms.to_string()]);
    }
}

/// Both stores as they once were.
struct Snapshot {
    /// Names, how long they live yet, and values.
    keys: Vec<(Vec<u8>, i64, Vec<u8>)>,
    store: Store,
}

impl Snapshot {
    fn take(pair: &mut Pair) -> Self {
        let names = strings(pair.client.call(&["KEYS", "*"]));
        let keys = names.into_iter().map(|name| {
            let left = pair.client.call(&[b"PTTL", &name[..]]);
            let OwnedFrame::Integer(left_ms) = left else { panic!("{left:?}") };
            let value = strings(pair.client.call(&[b"DUMP", &name[..]])).remove(0);
            (name, left_ms, value)
        });
        Self { keys: keys.collect(), store: pair.store.clone() }
    }

    /// A failover to a replica that lacks what came after.
    fn restore(self, pair: &mut Pair) {
        pair.client.call(&["FLUSHALL"]);
        for (name, left_ms, value) in &self.keys {
            let left_ms = (*left_ms).max(0).to_string();
            pair.client.call(&[b"RESTORE", &name[..], left_ms.as_bytes(), value]);
        }
        let life = pair.store.life();
        pair.store = self.store;
        while pair.store.life() <= life {
            pair.store.restart(Survives::All);
        }
    }
}

/// What has a time in `namespace.lua`.
const AGE: &str = "
    local ms = tonumber(ARGV[1])
    for _, key in ipairs(redis.call('KEYS', '*')) do
      local left = redis.call('PTTL', key)
      if left >= 0 and left <= ms then
        redis.call('DEL', key)
      elseif left >= 0 then
        redis.call('PEXPIRE', key, left - ms)
      end
    end
    if redis.call('HEXISTS', '{ns}:recent', 'begun') == 1 then
      redis.call('HINCRBY', '{ns}:recent', 'begun', -ms)
    end
    local watched = redis.call('ZRANGE', '{ns}:watched', 0, -1)
    for _, topic in ipairs(watched) do
      redis.call('ZINCRBY', '{ns}:watched', -ms, topic)
    end
    for _, key in ipairs(redis.call('KEYS', '{ns}:count:*')) do
      local told = redis.call('HGETALL', key)
      for i = 1, #told, 2 do
        local number, time = told[i + 1]:match('^(%d+) (%d+)$')
        redis.call('HSET', key, told[i], number .. ' ' .. (time - ms))
      end
    end
    local meta = redis.call('HGETALL', '{ns}:meta')
    for i = 1, #meta, 2 do
      local number, time = meta[i + 1]:match('^(%d+) (%d+)$')
      if meta[i]:sub(1, 2) == 'p:' then
        redis.call('HSET', '{ns}:meta', meta[i], number .. ' ' .. (time - ms))
      end
    end
    return 'OK'";

fn sorted(names: &[Arc<str>]) -> Vec<Arc<str>> {
    let mut names = names.to_vec();
    names.sort();
    names
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|part| part == from).expect("it is there");
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

#[test]
fn the_script_and_its_model_answer_the_same() {
    // So that `MAXLEN ~` is exact.
    let Some(server) = Server::start(&["--stream-node-max-entries", "1"]) else { return };
    let mut seen = HashMap::new();
    for seed in 0..SEEDS {
        let mut pair = Pair::new(&server);
        steps::take(&mut pair, &mut Random(seed), &mut seen);
    }
    // What has never happened was not compared.
    for kind in steps::KINDS {
        assert!(seen.get(kind).is_some_and(|count| *count > 4), "{kind}: {seen:?}");
    }
}

const SEEDS: u64 = 10;
