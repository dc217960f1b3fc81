//! Clients that reconnect: what their ids mean, and what they got before.

use std::collections::BTreeMap;

use starwheel::testing::EventParser;

use crate::model::{Begins, MayBeLost, Progress, Room, begins_after, mark};

/// The id that a client holds, as far as it can be understood from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// Everything up to here, whatever the topic.
    Even(u64),
    /// The same, but less of some topics.
    Uneven(u64),
    /// That of a private event.
    Private,
}

/// What a client brings from an earlier visit.
#[derive(Debug, Clone)]
pub(crate) struct CameWith {
    pub(crate) id: String,
    pub(crate) held: Held,
    /// How far it had got in the rooms that its id speaks of.
    pub(crate) progress: BTreeMap<usize, Progress>,
    /// The last event of each room.
    pub(crate) last_of_each: BTreeMap<usize, u64>,
}

impl Held {
    pub(crate) fn of(id: &str) -> Self {
        if let Some(own) = id.strip_prefix("own ") {
            return Self::Even(own.parse().expect("a mark"));
        }
        if id.starts_with("mine") {
            return Self::Private;
        }
        let (up_to, rest) = id.split_once('~').map_or((id, None), |(it, rest)| (it, Some(rest)));
        let (_epoch, point) = up_to.split_once('-').expect("an id of ours");
        let (publish, events) = point.split_once('.').unwrap_or((point, "0"));
        let up_to = mark(publish.parse().expect("a sequence"), events.parse().expect("a number"));
        match rest {
            None => Self::Even(up_to),
            Some(_) => Self::Uneven(up_to),
        }
    }
}

impl CameWith {
    /// Where the stream starts in a room with history.
    pub(crate) fn begins(&self, number: usize, room: &Room) -> Begins {
        if self.held == Held::Private {
            return Begins::Lost;
        }
        // An id that the log of its topic has discarded is unknown to any topic.
        let may_be_lost = match self.id.starts_with("own") {
            true => MayBeLost::Always,
            false => MayBeLost::IfEvicted,
        };
        let last_got = self.last_of_each.get(&number).copied().unwrap_or(0);
        let progress = self.progress.get(&number).copied();
        let after_id = || begins_after(self.held, last_got, room);
        Begins::At(progress.unwrap_or_else(after_id), may_be_lost)
    }
}

/// Checks every id that a client has held: none is older than an earlier one. Returns their number.
pub(crate) fn check_ids(body: &[u8]) -> u64 {
    let (mut parser, mut held, mut up_to, mut ids) = (EventParser::default(), String::new(), 0, 0);
    for byte in body {
        parser.feed(&[*byte]);
        if parser.last_event_id() == held {
            continue;
        }
        parser.last_event_id().clone_into(&mut held);
        ids += 1;
        if let Held::Even(mark) | Held::Uneven(mark) = Held::of(&held) {
            assert!(mark >= up_to, "{held} moves the id back from {up_to}");
            up_to = mark;
        }
    }
    ids
}
