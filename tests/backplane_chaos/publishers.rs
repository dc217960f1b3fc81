//! What processes have published, and whether all of it came once and in order.

use std::collections::{HashMap, HashSet};

use starwheel::{TrySendError, testing::SimulatedMachines};

use crate::{
    log::{LAST, Room, words},
    random::Random,
};

/// Everything that was published by all processes.
#[derive(Debug, Default)]
pub(crate) struct Publishers {
    marks: u64,
    /// By process: what it was told that it is published, in order.
    accepted: HashMap<Process, Vec<u64>>,
    /// The mark of each event with a key: its room and the key.
    keys: HashMap<u64, (usize, usize)>,
    /// The room of each mark.
    rooms: HashMap<u64, usize>,
    /// Rooms that were finished: what comes later has no place.
    finished: HashSet<usize>,
    pub(crate) refused: u64,
}

/// A machine, and the number of its process.
pub(crate) type Process = (usize, usize);

/// What the log can be expected to have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expectations {
    /// The store remembers what each process has sent.
    pub(crate) remembers_batches: bool,
    /// No history has expired or was deleted, so none of an end.
    pub(crate) remembers_ends: bool,
    /// Keys have not expired.
    pub(crate) remembers_keys: bool,
}

impl Default for Expectations {
    fn default() -> Self {
        Self { remembers_batches: true, remembers_ends: true, remembers_keys: true }
    }
}

impl Publishers {
    pub(crate) fn publish(
        &mut self,
        machines: &mut SimulatedMachines,
        random: &mut Random,
        process: Process,
        room: &Room,
    ) {
        let count = random.pick(&[1, 1, 1, 2, 5]);
        let filling = "x".repeat(random.pick(&[0, 5, 100, 1_000]));
        let marks: Vec<u64> = (0..count).map(|n| self.marks + 1 + n).collect();
        self.marks += count;
        let number = room.number;
        self.rooms.extend(marks.iter().map(|mark| (*mark, number)));
        let event = |mark: u64| format!("in {number} {mark} {filling}");
        let (machine, topic) = (process.0, room.topic());
        let worker = random.below(machines.workers(machine));
        let published = match random.below(4) {
            0 => {
                let key = random.below(3);
                self.keys.insert(marks[0], (number, key));
                let handle = machines.handle(machine);
                let published = handle.publish_once(&topic, &key.to_string(), event(marks[0]));
                return self.note(process, &marks[..1], published.map_err(drop_event));
            }
            1 => {
                let mut cx = machines[(machine, worker)].context();
                let published = cx.publish(&topic, event(marks[0])).map_err(drop_event);
                return self.note(process, &marks[..1], published);
            }
            2 => {
                let handle = machines[(machine, worker)].handle();
                let published = handle.publish(&topic, event(marks[0])).map_err(drop_event);
                return self.note(process, &marks[..1], published);
            }
            _ => {
                let events: Vec<_> = marks.iter().map(|mark| event(*mark)).collect();
                machines.handle(machine).publish_batch(&topic, events)
            }
        };
        self.note(process, &marks, published.map_err(drop_event));
    }

    /// Finishes a room, which may have been finished before.
    pub(crate) fn finish(
        &mut self,
        machines: &mut SimulatedMachines,
        random: &mut Random,
        process: Process,
        room: &Room,
    ) {
        self.marks += 1;
        self.rooms.insert(self.marks, room.number);
        self.finished.insert(room.number);
        let event = format!("in {} {}{LAST}", room.number, self.marks);
        let worker = random.below(machines.workers(process.0));
        let finished = match random.below(2) {
            0 => machines[(process.0, worker)].context().finish(&room.topic(), event),
            _ => machines.handle(process.0).finish(&room.topic(), event),
        };
        self.note(process, &[self.marks], finished.map_err(drop_event));
    }

    /// One event that comes in any case.
    pub(crate) fn publish_last(
        &mut self,
        machines: &mut SimulatedMachines,
        process: Process,
        room: &Room,
    ) {
        self.marks += 1;
        self.rooms.insert(self.marks, room.number);
        let event = format!("in {} {} the last", room.number, self.marks);
        let published = machines.handle(process.0).publish(&room.topic(), event);
        self.note(process, &[self.marks], published.map_err(drop_event));
    }

    fn note(&mut self, process: Process, marks: &[u64], published: Result<(), TrySendError<()>>) {
        match published {
            Ok(()) => self.accepted.entry(process).or_default().extend(marks),
            Err(TrySendError::Full(())) => self.refused += 1,
            Err(TrySendError::Closed(())) => panic!("no process has stopped"),
        }
    }

    /// `living` are processes that have sent everything.
    pub(crate) fn check(
        &self,
        machines: &SimulatedMachines,
        living: &[Process],
        expected: Expectations,
    ) {
        let places = machines.places();
        let all = places.iter().map(|given| (words(&given.events[0].data).1, given));
        let all: Vec<_> = all.collect();
        let accepted: HashSet<u64> = self.accepted.values().flatten().copied().collect();
        let stray = all.iter().find(|(mark, _)| !accepted.contains(mark));
        assert!(stray.is_none(), "refused, but published: {stray:?}");
        for (process, marks) in &self.accepted {
            let own: HashSet<_> = marks.iter().collect();
            let live = all.iter().filter(|(mark, it)| own.contains(mark) && !it.is_lost());
            let live: Vec<_> = live.map(|(mark, _)| *mark).collect();
            let in_order = live.is_sorted_by(|one, next| one < next);
            let is_kept = expected.remembers_batches;
            assert!(!is_kept || in_order, "{process:?} has published {live:?}");
            if living.contains(process) {
                let come: HashSet<_> = all.iter().map(|(mark, _)| *mark).collect();
                let is_late = |mark: &u64| self.finished.contains(&self.rooms[mark]);
                let has_come = |mark: &u64| {
                    come.contains(mark) || self.keys.contains_key(mark) || is_late(mark)
                };
                let missing: Vec<_> = marks.iter().filter(|mark| !has_come(mark)).collect();
                assert!(missing.is_empty(), "{process:?} has published {missing:?}");
            }
        }
        if expected.remembers_keys && expected.remembers_batches {
            let mut seen = HashMap::new();
            for (mark, _) in all.iter().filter(|(_, given)| !given.is_lost()) {
                let Some(key) = self.keys.get(mark) else { continue };
                let former = seen.insert(key, mark);
                assert_eq!(former, None, "{key:?} was published twice: {mark}");
            }
        }
    }

    /// Events that were published again because they were lost.
    pub(crate) fn resent(machines: &SimulatedMachines) -> u64 {
        let mut seen = HashSet::new();
        let marks = machines.places().iter().map(|given| words(&given.events[0].data).1);
        marks.filter(|mark| !seen.insert(*mark)).count() as u64
    }
}

fn drop_event<T>(refused: TrySendError<T>) -> TrySendError<()> {
    match refused {
        TrySendError::Full(_) => TrySendError::Full(()),
        TrySendError::Closed(_) => TrySendError::Closed(()),
    }
}
