//! What one client has got over all its visits, and whether that is what it should have got.

use std::collections::HashMap;

use starwheel::testing::ParsedEvent;

use crate::log::{Id, Kind, Log, Published, Room, words};

/// A client that visits one machine after the other, with the id that it got last.
#[derive(Debug)]
pub(crate) struct Journey {
    pub(crate) rooms: Vec<Progress>,
    /// How many of the rooms the request of this visit names; its hook subscribes to the others.
    pub(crate) at_once: usize,
    /// What the browser would send; empty at first.
    pub(crate) id: String,
    /// Gap events so far.
    pub(crate) gaps: usize,
    pub(crate) events: usize,
    /// For error messages.
    pub(crate) story: Vec<String>,
}

/// How far a client has come in one room.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) room: usize,
    /// The index of the next event; `None` before anything is known.
    next: Option<usize>,
    /// The last event that it got.
    last: Option<usize>,
    /// A gap event came after the last event.
    has_gap: bool,
    /// Gap events in this visit.
    gaps: usize,
    /// Events in this visit.
    events: usize,
    /// The id that this visit began with.
    came_with: Option<Id>,
}

/// What each id stands for, over all clients.
pub(crate) type Ids = HashMap<String, String>;

impl Journey {
    pub(crate) fn new(rooms: Vec<usize>) -> Self {
        let rooms = rooms.into_iter().map(|room| Progress { room, ..Progress::default() });
        let (rooms, story) = (rooms.collect(), Vec::new());
        Self { rooms, at_once: 0, id: String::new(), gaps: 0, events: 0, story }
    }

    /// The client has got these in one visit, and holds this id then. It may have been told of a gap in
    /// a room at most so many times.
    pub(crate) fn follow(
        &mut self,
        log: &Log,
        ids: &mut Ids,
        (events, id): (&[ParsedEvent], &str),
        gaps_max: usize,
    ) {
        self.story.push(format!("with {:?}", self.id));
        for progress in &mut self.rooms {
            (progress.gaps, progress.events) = (0, 0);
            progress.came_with = log.id_in(&self.id, &log.rooms[progress.room]);
        }
        let mut last_place = 0;
        for event in events {
            self.story.push(format!("{} {:?} {}", event.name, event.data, event.last_event_id));
            if event.name == "gap" {
                self.gap(&event.data);
                continue;
            }
            self.events += 1;
            let (number, mark) = words(&event.data);
            let room = &log.rooms[number];
            let id = log.id_in(&event.last_event_id, room).filter(|_| room.has_history());
            if let Some(id) = id
                && !event.last_event_id.contains(['~', '.'])
            {
                assert!(id.place > last_place, "ids grow: {}", self.tell());
                last_place = id.place;
                // A stream whose topics are not even may get the id of a later place.
                if room.with_mark(mark).any(|index| room.published[index].place == id.place) {
                    let former = ids.insert(event.last_event_id.clone(), event.data.clone());
                    let former = former.filter(|former| *former != event.data);
                    assert_eq!(former, None, "an id of two events: {}", self.tell());
                }
            }
            assert!(id.is_some() || !room.has_history(), "no id: {}", self.tell());
            let at = self.rooms.iter().position(|it| it.room == number).expect("its room");
            self.rooms[at].event(room, mark, id).unwrap_or_else(|fault| {
                panic!("{fault}: {} of {room:#?}", self.tell());
            });
        }
        let told_twice = self.rooms.iter().find(|progress| progress.gaps > gaps_max);
        assert!(told_twice.is_none(), "{told_twice:?}, at most {gaps_max}: {}", self.tell());
        if !id.is_empty() {
            id.clone_into(&mut self.id);
        }
        self.compare_with_id(log);
    }

    fn gap(&mut self, topic: &str) {
        self.gaps += 1;
        let number: usize = topic.split(' ').nth(1).and_then(|it| it.parse().ok()).expect("a room");
        let at = self.rooms.iter().position(|it| it.room == number).expect("its room");
        self.rooms[at].gap();
        // The machine may not know the id; rooms without history say nothing then.
        self.rooms.iter_mut().for_each(|progress| progress.came_with = None);
    }

    /// An id speaks of all rooms, and tells the truth.
    fn compare_with_id(&mut self, log: &Log) {
        if self.id.contains('.') {
            return;
        }
        for at in 0..self.rooms.len() {
            let progress = &mut self.rooms[at];
            let room = &log.rooms[progress.room];
            let Some(id) = log.id_in(&self.id, room) else { return };
            if !room.has_history() || room.has_lost_its_end() {
                continue;
            }
            let Some(next) = progress.next else {
                progress.next = Some(room.after(id));
                continue;
            };
            let missing = room.published.get(next..room.after(id)).unwrap_or_default();
            let is_told = progress.has_gap || missing.iter().all(Published::is_undone);
            assert!(is_told, "the id hides {missing:?} of {}: {}", room.number, self.tell());
        }
    }

    /// Everything has arrived that was to come.
    pub(crate) fn check_end(&self, log: &Log) {
        for progress in &self.rooms {
            let room = &log.rooms[progress.room];
            let next = progress.next.unwrap_or(0);
            let missing = room.published.get(next..).unwrap_or_default();
            let is_unclear = room.kind == Kind::Plain && progress.next.is_none();
            // The end of a room that is not kept anymore is told with a gap.
            let is_told = progress.has_gap && room.may_be_dropped();
            let is_unclear = is_unclear || is_told || room.has_lost_its_end();
            assert!(
                is_unclear || missing.iter().all(Published::is_undone),
                "{missing:?} never came to {room:?}: {}",
                self.tell()
            );
        }
    }

    pub(crate) fn tell(&self) -> String {
        format!("{:#?}", self.story)
    }
}

impl Progress {
    /// At the start of a visit, the machine may not know the id, and the client starts over.
    fn gap(&mut self) {
        if self.events == 0 && self.gaps == 0 {
            self.next = None;
        }
        self.has_gap = true;
        self.gaps += 1;
    }

    fn event(&mut self, room: &Room, mark: u64, id: Option<Id>) -> Result<(), &'static str> {
        let index = match (id, self.next) {
            // The id tells which of the two it is, if it was published again.
            (Some(id), _) => {
                room.with_mark(mark).rfind(|index| room.published[*index].is_covered_by(id))
            }
            (None, _) if room.kind == Kind::State && self.events == 0 => {
                room.with_mark(mark).next()
            }
            (None, Some(next)) => room.with_mark(mark).find(|index| *index >= next),
            (None, None) => None,
        };
        let index = index.or_else(|| room.with_mark(mark).last());
        let index = index.ok_or("it has no place")?;
        match room.kind {
            Kind::History(_) => {}
            _ if !room.has_history() && room.with_mark(mark).count() > 1 => {
                // Without an id, it cannot be told from the one that was published again.
                (self.next, self.last, self.has_gap) = (None, None, false);
                self.events += 1;
                return Ok(());
            }
            Kind::State => return self.state(room, index),
            Kind::Plain if self.events == 0 => {
                let was_there = |id| room.published[index].is_covered_by(id);
                if self.came_with.is_some_and(was_there) {
                    return Err("again, although its id tells that it was there");
                }
                // What was published between two visits is lost, unless the machine is slower.
                (self.next, self.has_gap) = (Some(index), false);
            }
            Kind::Plain => {}
        }
        if let Some(next) = self.next {
            if index < next {
                return Err("twice, or too late");
            }
            let missing = &room.published[next..index];
            let saw_undone = self.last.is_some_and(|last| room.published[last].is_undone());
            let is_undone = room.published[index].is_undone();
            let may_miss = self.has_gap || room.has_lost_its_end();
            if !may_miss && missing.iter().any(|it| !it.is_undone()) {
                return Err("some are missing without a gap");
            }
            if !may_miss && saw_undone && !is_undone && room.has_history() {
                return Err("no gap after events that are undone");
            }
        }
        (self.last, self.next, self.has_gap) = (Some(index), Some(index + 1), false);
        self.events += 1;
        Ok(())
    }

    /// The newest event is what counts. A visit begins with the newest one at its machine, which may
    /// lag; and the newest one that is left comes again when events are undone, in any room.
    fn state(&mut self, room: &Room, index: usize) -> Result<(), &'static str> {
        let is_older = |last| index < last && !room.published[last].is_undone();
        if self.events > 0 && self.last.is_some_and(is_older) {
            return Err("an older state");
        }
        (self.last, self.next) = (Some(index), Some(index + 1));
        self.events += 1;
        Ok(())
    }
}
