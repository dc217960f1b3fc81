//! The true log: what was published, in which order, and what a restart has lost.

use std::collections::BTreeMap;

use starwheel::{Backpressure, Topic};

/// A topic of the scenario.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) number: usize,
    pub(crate) backpressure: Backpressure,
    pub(crate) history: usize,
    /// It belongs to each worker alone, so nothing is known across workers.
    pub(crate) is_local: bool,
    /// In the order of their places.
    pub(crate) published: Vec<Published>,
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
    /// Number of restarts that lost something.
    pub(crate) losses: usize,
}

impl Room {
    /// A value of its own each time: nothing but the rooms' names is shared between workers.
    pub(crate) fn topic(&self) -> Topic {
        let topic = Topic::new(format!("room {}", self.number))
            .history(self.history, 1 << 20)
            .backpressure(self.backpressure);
        if self.is_local { topic.local() } else { topic }
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
        let of_rooms = self.rooms.iter_mut().flat_map(|room| &mut room.published);
        let mut is_lossy = false;
        for published in of_rooms.filter(|it| it.place > place) {
            is_lossy = true;
            published.is_undone = true;
        }
        self.losses += usize::from(is_lossy);
    }
}
