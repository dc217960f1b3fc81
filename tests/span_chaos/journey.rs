//! What one client has got over all its visits, and whether that is what it should have got.

use starwheel::testing::ParsedEvent;

use crate::log::{Kind, Log, Published, Room};

/// A client that visits one worker after the other, with the id that it got last.
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
#[derive(Debug)]
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
    must_begin_with_gap: bool,
    /// The place in the id that this visit began with.
    came_with: u64,
}

impl Journey {
    pub(crate) fn new(rooms: Vec<usize>) -> Self {
        let fresh = |room| Progress {
            room,
            next: None,
            last: None,
            has_gap: false,
            gaps: 0,
            events: 0,
            must_begin_with_gap: false,
            came_with: 0,
        };
        let rooms = rooms.into_iter().map(fresh).collect();
        Self { rooms, at_once: 0, id: String::new(), gaps: 0, events: 0, story: Vec::new() }
    }

    /// The client has got these in one visit, and holds this id then. `losses` counts what may have
    /// happened during the visit.
    pub(crate) fn follow(
        &mut self,
        log: &Log,
        worker: usize,
        (events, id): (&[ParsedEvent], &str),
        losses: usize,
        may_start_over: bool,
    ) {
        // Once it has left all rooms with history that have ended, its ids are of local rooms.
        let has_local_id = !self.id.is_empty() && place_of(&self.id).is_none();
        let may_start_over = may_start_over || has_local_id;
        self.begin_visit(log, worker);
        let mut last_place = 0;
        for event in events {
            self.story.push(format!("{} {:?} {}", event.name, event.data, event.last_event_id));
            let words: Vec<_> = event.data.split(' ').collect();
            let number: usize = words[1].parse().expect("a room");
            let room = &log.rooms[number];
            let at = self.rooms.iter().position(|it| it.room == number).expect("its room");
            if event.name == "gap" {
                self.gaps += 1;
                self.rooms[at].gap(may_start_over);
                continue;
            }
            self.events += 1;
            let index = room.index_of(words[2].parse().expect("a mark"));
            let place = room.published[index].place;
            // An older retained event may come after others.
            if !room.is_local() && room.kind != Kind::State {
                assert!(place > last_place, "order of places: {}", self.tell());
                last_place = place;
            }
            if room.has_history() {
                self.check_id(&event.last_event_id, place);
            }
            self.rooms[at].event(room, worker, index).unwrap_or_else(|fault| {
                panic!("{fault}: {} of {room:?}", self.tell());
            });
        }
        let most = losses + 1;
        let told_twice = self.rooms.iter().find(|progress| progress.gaps > most);
        assert!(told_twice.is_none(), "{told_twice:?}, {losses} losses: {}", self.tell());
        if !id.is_empty() {
            id.clone_into(&mut self.id);
        }
        self.compare_with_id(log);
    }

    /// An id of the namespace says nothing of local rooms: they begin with a gap.
    fn begin_visit(&mut self, log: &Log, worker: usize) {
        self.story.push(format!("visit of {worker} with {:?}", self.id));
        let came_with_id = place_of(&self.id).is_some();
        // The worker may not know the generation of the id.
        let place = place_of(&self.id).filter(|_| log.restarts == 0).unwrap_or(0);
        for progress in &mut self.rooms {
            (progress.gaps, progress.events) = (0, 0);
            progress.must_begin_with_gap = false;
            progress.came_with = place;
            if log.rooms[progress.room].is_local() {
                (progress.next, progress.has_gap) = (None, false);
                progress.must_begin_with_gap = came_with_id;
            }
        }
    }

    /// An id is never older than its event.
    fn check_id(&self, id: &str, place: u64) {
        let of_id = place_of(id).expect("an id of the namespace");
        assert!(of_id >= place, "{id} at {place}: {}", self.tell());
    }

    /// An id speaks of all rooms, and tells the truth.
    fn compare_with_id(&mut self, log: &Log) {
        if self.id.contains(['~', '.']) {
            return;
        }
        let Some(place) = place_of(&self.id) else { return };
        for at in 0..self.rooms.len() {
            let progress = &mut self.rooms[at];
            let room = &log.rooms[progress.room];
            if !room.has_history() || room.has_lost_its_end() {
                continue;
            }
            let Some(next) = progress.next else {
                progress.next = Some(room.after(place));
                continue;
            };
            let missing = room.published.get(next..room.after(place)).unwrap_or_default();
            let is_told = progress.has_gap || missing.iter().all(|it| it.is_undone);
            assert!(is_told, "the id hides {missing:?} of {}: {}", room.number, self.tell());
        }
    }

    /// The client has been told to stay away: its id speaks of the end of all rooms of its request.
    pub(crate) fn check_that_it_may_stay_away(&self, log: &Log) {
        for progress in &self.rooms[..self.at_once] {
            let room = &log.rooms[progress.room];
            let has_ended = match place_of(&self.id) {
                Some(place) => room.had_ended_at(place),
                // Its id is of local rooms.
                None => room.is_local() && room.published.iter().any(|it| it.is_last),
            };
            assert!(has_ended, "{} goes on: {}", room.number, self.tell());
        }
    }

    /// True if all of its rooms have been finished.
    pub(crate) fn is_over(&self, log: &Log, worker: usize) -> bool {
        self.rooms.iter().all(|progress| log.rooms[progress.room].has_ended(worker))
    }

    /// Everything has arrived that was to come.
    pub(crate) fn check_end(&self, log: &Log) {
        for progress in &self.rooms {
            let room = &log.rooms[progress.room];
            let next = progress.next.unwrap_or(0);
            let missing = room.published.get(next..).unwrap_or_default();
            // The end of a room that is not kept anymore is told with a gap.
            let is_told = progress.has_gap && room.may_be_dropped() || room.has_lost_its_end();
            let is_complete = room.is_local() || missing.is_empty() || is_told;
            assert!(is_complete, "{missing:?} never came to {}: {}", room.number, self.tell());
        }
    }

    pub(crate) fn tell(&self) -> String {
        format!("{:#?}", self.story)
    }
}

impl Progress {
    /// At the start of a visit, the worker may not know the id, and the client starts over.
    fn gap(&mut self, may_start_over: bool) {
        if may_start_over && self.events == 0 && self.gaps == 0 {
            self.next = None;
        }
        self.has_gap = true;
        self.gaps += 1;
        self.must_begin_with_gap = false;
    }

    fn event(&mut self, room: &Room, worker: usize, index: usize) -> Result<(), &'static str> {
        if self.must_begin_with_gap {
            return Err("a local room without a gap");
        }
        if room.published[index].worker.is_some_and(|other| other != worker) {
            return Err("from the local room of another worker");
        }
        let was_for_us = |it: &&Published| it.worker.is_none_or(|other| other == worker);
        match room.kind {
            Kind::History(_) | Kind::Local => {}
            Kind::State => return self.state(room, index),
            Kind::Plain if self.events == 0 => {
                if room.published[index].place <= self.came_with {
                    return Err("again, although its id tells that it was there");
                }
                // What was published between two visits is lost, unless the worker is slower.
                (self.next, self.has_gap) = (Some(index), false);
            }
            Kind::Plain => {}
        }
        if let Some(next) = self.next {
            if index < next {
                return Err("twice, or too late");
            }
            let missing = &room.published[next..index];
            let saw_undone = self.last.is_some_and(|last| room.published[last].is_undone);
            let is_undone = room.published[index].is_undone;
            let may_miss = self.has_gap || room.has_lost_its_end();
            if !may_miss && missing.iter().filter(was_for_us).any(|it| !it.is_undone) {
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

    /// The newest event is what counts. A visit begins with the newest one at its worker, which may
    /// lag; and the newest one that is left comes again when events are undone, in any room.
    fn state(&mut self, room: &Room, index: usize) -> Result<(), &'static str> {
        let is_older = |last| index < last && !room.published[last].is_undone;
        if self.events > 0 && self.last.is_some_and(is_older) {
            return Err("an older state");
        }
        (self.last, self.next) = (Some(index), Some(index + 1));
        self.events += 1;
        Ok(())
    }
}

/// The place in an id of the namespace.
fn place_of(id: &str) -> Option<u64> {
    let (_, places) = id.strip_prefix('_')?.split_once('-')?;
    places.split(['~', '.']).next()?.parse().ok()
}
