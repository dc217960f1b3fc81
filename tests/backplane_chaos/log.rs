//! The true log: every place that the store has given, by topic.

use std::time::Duration;

use starwheel::{
    Backpressure, Topic,
    testing::{GivenPlace, SimulatedMachines},
};

/// A topic of the scenario.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) number: usize,
    pub(crate) backpressure: Backpressure,
    pub(crate) kind: Kind,
    /// For how long its events are kept after its end.
    pub(crate) keep_finished: Duration,
    /// In the order in which they got their places.
    pub(crate) published: Vec<Published>,
}

/// What a room keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The last events.
    History(usize),
    /// The last event, and slow clients get only that.
    State,
    Plain,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Published {
    pub(crate) mark: u64,
    pub(crate) place: u64,
    /// It has finished its topic.
    pub(crate) is_last: bool,
    generation: usize,
    lost_in: Option<usize>,
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) rooms: Vec<Room>,
    generations: Vec<String>,
}

/// What an id speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Id {
    generation: usize,
    pub(crate) place: u64,
}

impl Room {
    /// A value of its own each time: nothing but the rooms' names is shared between machines.
    pub(crate) fn topic(&self) -> Topic {
        let topic = Topic::new(format!("room {}", self.number)).backpressure(self.backpressure);
        let topic = topic.keep_finished(self.keep_finished);
        match self.kind {
            Kind::History(events) => topic.history(events, 1 << 20),
            Kind::State => topic.retain().backpressure(Backpressure::Latest),
            Kind::Plain => topic,
        }
    }

    /// How ids name it: the FNV-1a hash of its topic's name.
    fn key(&self) -> String {
        let mix = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let hash = self.topic().name().bytes().fold(0xcbf2_9ce4_8422_2325, mix);
        format!("{hash:016x}")
    }

    pub(crate) fn has_history(&self) -> bool {
        matches!(self.kind, Kind::History(_))
    }

    /// The index of the first event that a client with this id has not seen.
    pub(crate) fn after(&self, id: Id) -> usize {
        self.published.iter().rposition(|it| it.is_covered_by(id)).map_or(0, |last| last + 1)
    }

    /// True if its newest event has finished it.
    pub(crate) fn has_ended(&self) -> bool {
        self.published.iter().rfind(|it| !it.is_undone()).is_some_and(|it| it.is_last)
    }

    /// True if it has gone on after an end that the store had lost, or forgotten. Streams with other
    /// rooms had left it.
    pub(crate) fn has_lost_its_end(&self) -> bool {
        let end = self.published.iter().position(|it| it.is_last);
        end.is_some_and(|end| self.published[end].is_undone() || end + 1 < self.published.len())
    }

    /// True if it may have nothing left but its end.
    pub(crate) fn may_be_dropped(&self) -> bool {
        self.keep_finished < NEVER_OVER && self.has_ended()
    }

    /// True if a client with an id of this place has seen an end, which may be undone by now.
    pub(crate) fn had_ended_at(&self, place: u64) -> bool {
        self.published.iter().any(|it| it.is_last && it.place <= place)
    }

    /// An event that is published again, because it was lost, has the same mark.
    pub(crate) fn with_mark(&self, mark: u64) -> impl DoubleEndedIterator<Item = usize> + '_ {
        let numbered = self.published.iter().enumerate();
        numbered.filter(move |(_, it)| it.mark == mark).map(|(index, _)| index)
    }
}

impl Published {
    pub(crate) fn is_undone(&self) -> bool {
        self.lost_in.is_some()
    }

    pub(crate) fn is_covered_by(&self, id: Id) -> bool {
        let existed = self.lost_in.is_none_or(|lost_in| lost_in > id.generation);
        self.place <= id.place && self.generation <= id.generation && existed
    }
}

impl Log {
    pub(crate) fn update(&mut self, machines: &SimulatedMachines) {
        self.generations = machines.generations().to_vec();
        self.rooms.iter_mut().for_each(|room| room.published.clear());
        for given in machines.places() {
            let (room, mark) = words(&given.events[0].data);
            let &GivenPlace { place, generation, lost_in, .. } = given;
            let is_last = given.events[0].data.ends_with(LAST);
            let published = Published { mark, place, is_last, generation, lost_in };
            self.rooms[room].published.push(published);
        }
    }

    /// What an id of the namespace says of this room. A room that lags has a place of its own in it, and
    /// the id's first place does not tell its events apart: a store that has forgotten its batches takes
    /// one again, and then both copies may have come before that place.
    pub(crate) fn id_in(&self, id: &str, room: &Room) -> Option<Id> {
        let (name, places) = id.strip_prefix('_')?.split_once('-')?;
        let generation = self.generations.iter().position(|it| it == name)?;
        let (of_all, lagging) = places.split_once('~').unwrap_or((places, ""));
        let mut lagging = lagging.split('~').filter_map(|piece| piece.split_once(':'));
        let is_of_a_room = |topic: &str| self.rooms.iter().any(|room| room.key() == topic);
        let stray = lagging.clone().find(|(topic, _)| !is_of_a_room(topic));
        assert!(stray.is_none(), "{stray:?} of {id} is no room");
        let key = room.key();
        let own = lagging.find(|(topic, _)| *topic == key);
        let place = own.map_or(of_all, |(_, place)| place);
        let place = place.split('.').next()?.parse().ok()?;
        Some(Id { generation, place })
    }
}

/// The room and the mark of an event.
pub(crate) fn words(data: &str) -> (usize, u64) {
    let words: Vec<_> = data.split(' ').collect();
    (words[1].parse().expect("a room"), words[2].parse().expect("a mark"))
}

/// How the data of a last event ends.
pub(crate) const LAST: &str = " end";
/// Longer than any scenario.
pub(crate) const NEVER_OVER: Duration = Duration::from_secs(24 * 3600);
