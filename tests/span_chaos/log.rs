//! The true log: what was published, in which order, and what a restart has lost.

use std::collections::BTreeMap;

use starwheel::{Backpressure, Topic};

/// A topic of the scenario.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) number: usize,
    pub(crate) backpressure: Backpressure,
    pub(crate) kind: Kind,
    /// In the order of their places.
    pub(crate) published: Vec<Published>,
}

/// What a room keeps, and whom it reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The last events.
    History(usize),
    /// The same, at each worker alone: nothing is known across workers.
    Local,
    /// The last event, and slow clients get only that.
    State,
    Plain,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Published {
    pub(crate) mark: u64,
    pub(crate) place: u64,
    /// The only worker where it arrives, if its room is local.
    pub(crate) worker: Option<usize>,
    /// A restart has lost it.
    pub(crate) is_undone: bool,
}

/// Everything that was published, in all rooms.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) rooms: Vec<Room>,
    marks: u64,
    /// Each place that was given, ever.
    places: BTreeMap<u64, u64>,
    pub(crate) restarts: usize,
    /// Number of restarts that lost something.
    pub(crate) losses: usize,
}

impl Room {
    /// A value of its own each time: nothing but the rooms' names is shared between workers.
    pub(crate) fn topic(&self) -> Topic {
        let topic = Topic::new(format!("room {}", self.number)).backpressure(self.backpressure);
        match self.kind {
            Kind::History(events) => topic.history(events, 1 << 20),
            Kind::Local => topic.history(10_000, 1 << 20).local(),
            Kind::State => topic.retain().backpressure(Backpressure::Latest),
            Kind::Plain => topic,
        }
    }

    pub(crate) fn is_local(&self) -> bool {
        self.kind == Kind::Local
    }

    pub(crate) fn has_history(&self) -> bool {
        matches!(self.kind, Kind::History(_))
    }

    /// The index of the first event after this place.
    pub(crate) fn after(&self, place: u64) -> usize {
        self.published.partition_point(|published| published.place <= place)
    }

    pub(crate) fn index_of(&self, mark: u64) -> usize {
        let found = self.published.iter().position(|published| published.mark == mark);
        found.expect("it was published")
    }
}

impl Log {
    /// A mark for the next event, so that its data can be written before its place is known.
    pub(crate) fn next_mark(&mut self) -> u64 {
        self.marks += 1;
        self.marks
    }

    pub(crate) fn add(&mut self, room: usize, mark: u64, place: u64) {
        let former = self.places.insert(place, mark);
        assert_eq!(former, None, "place {place} was given twice");
        let published = Published { mark, place, worker: None, is_undone: false };
        self.rooms[room].published.push(published);
    }

    /// An event of a local room has no place.
    pub(crate) fn add_local(&mut self, room: usize, mark: u64, worker: usize) {
        let published = Published { mark, place: 0, worker: Some(worker), is_undone: false };
        self.rooms[room].published.push(published);
    }

    /// A restart has lost everything after this place.
    pub(crate) fn undo_after(&mut self, place: u64) {
        self.restarts += 1;
        let of_rooms = self.rooms.iter_mut().flat_map(|room| &mut room.published);
        let mut is_lossy = false;
        for published in of_rooms.filter(|it| it.place > place) {
            is_lossy = true;
            published.is_undone = true;
        }
        self.losses += usize::from(is_lossy);
    }
}
