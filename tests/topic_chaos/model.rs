//! What each client of a random scenario must have got.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use starwheel::{Backpressure, Context, Event, JoinAt, StreamId, Topic, testing::ParsedEvent};

/// A topic and the options it was made with.
pub(crate) struct Room {
    pub(crate) topic: Topic,
    pub(crate) log_bytes: usize,
    pub(crate) has_history: bool,
    pub(crate) retains: bool,
    pub(crate) backpressure: Backpressure,
    /// The numbers of all events that were published on it and, as far as it goes, kept for somebody.
    pub(crate) published: Vec<u64>,
    pub(crate) largest_frame_bytes: usize,
}

/// What the closures of a scenario know.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) rooms: Vec<Room>,
    /// Events published so far; each carries its number.
    pub(crate) published: u64,
    pub(crate) visits: Vec<Visit>,
    pub(crate) live: BTreeMap<StreamId, usize>,
    pub(crate) ended: u64,
}

pub(crate) type Shared = Rc<RefCell<World>>;

/// One stream, from its request to its end.
#[derive(Debug, Default)]
pub(crate) struct Visit {
    /// The rooms asked for, and whether from the oldest event on.
    pub(crate) rooms: Vec<(usize, JoinsAt)>,
    /// The last event with an id that the client has seen in an earlier visit.
    pub(crate) resumes_behind: Option<u64>,
    pub(crate) announces: Option<usize>,
    pub(crate) id: Option<StreamId>,
    pub(crate) stays: BTreeMap<usize, Stay>,
    /// What had been published when its end was asked for, in order.
    pub(crate) closed_at: Option<u64>,
}

/// For how long a stream has had a topic, in numbers of events.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stay {
    pub(crate) from: u64,
    pub(crate) to: Option<u64>,
    pub(crate) begins: Begins,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JoinsAt {
    Live,
    Oldest,
}

/// What a stay begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begins {
    /// As a new client's: the next event, the retained one, or the oldest.
    Fresh(JoinsAt),
    /// Behind this event, or a gap.
    Behind(u64),
    /// While the stream ran: the next event, or the retained one.
    Later,
}

impl From<JoinsAt> for JoinAt {
    fn from(joins_at: JoinsAt) -> Self {
        match joins_at {
            JoinsAt::Live => Self::Live,
            JoinsAt::Oldest => Self::Oldest,
        }
    }
}

impl World {
    /// Publishes the next event; some bring an id of their own.
    pub(crate) fn publish(
        world: &Shared,
        cx: &mut Context<'_>,
        room: usize,
        bytes: usize,
        own_id: bool,
    ) {
        let mut world = world.borrow_mut();
        world.published += 1;
        let number = world.published;
        let room_number = room;
        let room = &mut world.rooms[room];
        let text = format!("{room_number} {number} {}", "x".repeat(bytes));
        room.largest_frame_bytes = room.largest_frame_bytes.max(text.len() + 80);
        let subscribers = cx.subscribers(&room.topic);
        let keeps = room.has_history || room.retains;
        if subscribers > 0 || keeps {
            room.published.push(number);
        }
        let topic = room.topic.clone();
        drop(world);
        let event = Event::new(text);
        let told = match own_id {
            true => cx.publish(&topic, event.id(format!("own {number}")).expect("an id")),
            false => cx.publish(&topic, event),
        };
        assert_eq!(told, subscribers);
    }

    /// Takes down that a stream is born.
    pub(crate) fn join(&mut self, visit: usize, id: StreamId) {
        let published = self.published;
        let Visit { rooms, resumes_behind, .. } = &self.visits[visit];
        let resumes_behind = *resumes_behind;
        let stays = rooms.iter().map(|&(room, joins_at)| {
            let begins = match resumes_behind {
                Some(number) if self.rooms[room].has_history => Begins::Behind(number),
                _ => Begins::Fresh(joins_at),
            };
            (room, Stay { from: published, to: None, begins })
        });
        self.visits[visit].stays = stays.collect();
        self.visits[visit].id = Some(id);
        assert_eq!(self.live.insert(id, visit), None);
    }

    pub(crate) fn leave(&mut self, id: StreamId) {
        assert!(self.live.remove(&id).is_some(), "told of its end twice");
        self.ended += 1;
    }

    /// How many live streams have a room, as far as the closures know.
    pub(crate) fn subscribers(&self, room: usize) -> usize {
        let has_room = |visit: &usize| {
            self.visits[*visit].stays.get(&room).is_some_and(|stay| stay.to.is_none())
        };
        self.live.values().filter(|visit| has_room(visit)).count()
    }

    /// The most that all logs may hold between turns.
    pub(crate) fn log_bytes_max(&self) -> usize {
        let bound = |room: &Room| room.log_bytes.max(room.largest_frame_bytes);
        self.rooms.iter().map(bound).sum()
    }
}

/// What one event is, to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Got {
    Event(u64),
    Gap,
}

/// The room and number of an event of a topic.
fn number_of(event: &ParsedEvent) -> Option<(usize, u64)> {
    let mut words = event.data.split(' ');
    let room = words.next()?.parse().ok()?;
    Some((room, words.next()?.parse().ok()?))
}

/// The last event with an id among these.
pub(crate) fn last_with_id(events: &[ParsedEvent]) -> Option<(String, u64)> {
    let id = events.last().map(|event| event.last_event_id.clone()).filter(|id| !id.is_empty())?;
    let bearer = events.iter().find(|event| event.last_event_id == id)?;
    Some((id, number_of(bearer)?.1))
}

/// How far a client has to have got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Complete {
    /// It may have been cut anywhere.
    UpToSomewhere,
    /// Everything that it was subscribed to when this had been published.
    UpTo(u64),
}

impl Visit {
    /// Compares what a client got with what was published. Returns how often it was skipped.
    pub(crate) fn check(&self, rooms: &[Room], events: &[ParsedEvent], complete: Complete) -> u64 {
        let numbers: Vec<_> = events.iter().filter_map(number_of).map(|(_, n)| n).collect();
        // One series for all topics; only a retained event of one joined later may be older.
        let is_older =
            |(room, stay): (&usize, &Stay)| stay.begins == Begins::Later && rooms[*room].retains;
        let retained_later = self.stays.iter().any(is_older);
        assert!(retained_later || numbers.is_sorted_by(|a, b| a < b), "{events:?} in {self:?}");
        let mut skips = 0;
        for event in events {
            let known = match number_of(event) {
                Some((room, _)) => self.stays.contains_key(&room),
                None => event.name == "gap" || event.data == "private",
            };
            assert!(known, "{event:?}");
        }
        for (&number, stay) in &self.stays {
            let room = &rooms[number];
            let got: Vec<_> = events
                .iter()
                .filter_map(|event| match number_of(event) {
                    Some((of, n)) => (of == number).then_some(Got::Event(n)),
                    None if event.name == "gap" => {
                        (event.data == room.topic.name()).then_some(Got::Gap)
                    }
                    None => None,
                })
                .collect();
            skips += stay.check(room, &got, complete, self.closed_at);
        }
        skips
    }
}

impl Stay {
    fn check(&self, room: &Room, got: &[Got], complete: Complete, closed_at: Option<u64>) -> u64 {
        let told = || format!("{got:?} of {:?} in {self:?}", room.published);
        let place_behind = |number| room.published.partition_point(|n| *n <= number);
        let end = [self.to, closed_at].into_iter().flatten().min();
        let joined = place_behind(self.from);
        let keeps = room.has_history || room.retains;
        let kept_last = if keeps { joined.saturating_sub(1) } else { joined };
        // The place of the next event that has to come, and where it may be found besides.
        let (mut next, mut missing_up_to) = match self.begins {
            Begins::Behind(number) => (place_behind(number), None),
            Begins::Fresh(JoinsAt::Live) | Begins::Later if room.retains => {
                (joined.saturating_sub(1), None)
            }
            Begins::Fresh(JoinsAt::Live) | Begins::Later => (joined, None),
            Begins::Fresh(JoinsAt::Oldest) => (0, Some(kept_last)),
        };
        let mut skips = 0;
        for (i, item) in got.iter().enumerate() {
            let Got::Event(number) = *item else {
                let drops = room.backpressure == Backpressure::DropOldest;
                if i == 0 && matches!(self.begins, Begins::Behind(_)) {
                    // It starts anew, where a new client does or later; or it fell behind later on.
                    (next, missing_up_to) = (0, Some(if drops { usize::MAX } else { joined }));
                } else {
                    assert!(drops, "a gap for no reason: {}", told());
                    missing_up_to = Some(usize::MAX);
                    skips += 1;
                }
                continue;
            };
            assert!(end.is_none_or(|end| number <= end), "behind its end: {}", told());
            let place = room.published.binary_search(&number).expect("it was published");
            assert!(place >= next, "{number} comes twice or too late: {}", told());
            if place > missing_up_to.take().unwrap_or(next) {
                let skipped = room.backpressure == Backpressure::Latest;
                assert!(skipped, "some are missing before {number}: {}", told());
                skips += 1;
            }
            next = place + 1;
        }
        if let Complete::UpTo(last) = complete
            && self.to.is_none()
        {
            let last = place_behind(end.map_or(last, |end| end.min(last)));
            let next = missing_up_to.map_or(next, |up_to| up_to.max(next));
            assert!(next >= last, "some are missing at the end: {}", told());
        }
        skips
    }
}
