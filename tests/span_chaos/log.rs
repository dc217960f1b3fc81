//! The true log: what was published, in which order, and what a restart has lost.

use std::{collections::BTreeMap, time::Duration};

use starwheel::{Backpressure, Topic};

/// A topic of the scenario.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) number: usize,
    pub(crate) backpressure: Backpressure,
    pub(crate) kind: Kind,
    /// For how long its events are kept after its end.
    pub(crate) keep_finished: Duration,
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
    /// It has finished its topic.
    pub(crate) is_last: bool,
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
        let topic = topic.keep_finished(self.keep_finished);
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

    /// True if the room has been finished at this worker.
    pub(crate) fn has_ended(&self, worker: usize) -> bool {
        let is_here = |it: &&Published| it.worker.is_none_or(|other| other == worker);
        self.published.iter().filter(is_here).any(|it| it.is_last && !it.is_undone)
    }

    /// True if a restart has undone its end. Streams with other rooms had left it.
    pub(crate) fn has_lost_its_end(&self) -> bool {
        self.published.iter().any(|it| it.is_last && it.is_undone)
    }

    /// True if a room may have nothing left but its end.
    pub(crate) fn may_be_dropped(&self) -> bool {
        self.keep_finished < NEVER_OVER && self.published.iter().any(|it| it.is_last)
    }

    /// True if a client with an id of this place has seen an end, which may be undone by now.
    pub(crate) fn had_ended_at(&self, place: u64) -> bool {
        self.published.iter().any(|it| it.is_last && !self.is_local() && it.place <= place)
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

    pub(crate) fn add(&mut self, room: usize, (mark, is_last): (u64, bool), place: u64) {
        let former = self.places.insert(place, mark);
        assert_eq!(former, None, "place {place} was given twice");
        let published = Published { mark, place, worker: None, is_last, is_undone: false };
        self.rooms[room].published.push(published);
    }

    /// An event of a local room has no place.
    pub(crate) fn add_local(&mut self, room: usize, (mark, is_last): (u64, bool), worker: usize) {
        let worker = Some(worker);
        let published = Published { mark, place: 0, worker, is_last, is_undone: false };
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

/// Longer than any scenario.
pub(crate) const NEVER_OVER: Duration = Duration::from_secs(3600);
