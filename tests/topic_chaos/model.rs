//! What each client of a random scenario must have got.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use starwheel::{
    Backpressure, Context, Encode, Event, EventBuffer, JoinAt, StreamId, Topic,
    testing::ParsedEvent,
};

use crate::lineage::{CameWith, Held};

/// A topic and the options it was made with.
pub(crate) struct Room {
    pub(crate) topic: Topic,
    pub(crate) log_events: usize,
    pub(crate) log_bytes: usize,
    pub(crate) has_history: bool,
    pub(crate) retains: bool,
    pub(crate) backpressure: Backpressure,
    /// All events that were published on it and, as far as it goes, kept for somebody.
    pub(crate) published: Vec<u64>,
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
    pub(crate) largest_frame_bytes: usize,
    /// Its last event, once it has been finished.
    pub(crate) end: Option<u64>,
}

/// What the closures of a scenario know.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) rooms: Vec<Room>,
    /// Number of publishes so far that any stream could receive.
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
    /// The rooms that `on_connect` subscribes to.
    pub(crate) connects: Vec<usize>,
    pub(crate) came_with: Option<CameWith>,
    pub(crate) announces: Option<usize>,
    pub(crate) id: Option<StreamId>,
    pub(crate) stays: BTreeMap<usize, Stay>,
    /// What had been published when its end was asked for, in order.
    pub(crate) closed_at: Option<u64>,
}

/// For how long a stream has had a topic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stay {
    pub(crate) from: u64,
    pub(crate) to: Option<u64>,
    pub(crate) begins: Begins,
    pub(crate) since: Since,
}

/// When a stay began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    Birth,
    Later,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JoinsAt {
    Live,
    Oldest,
}

/// Where a stay starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begins {
    /// As a new client's: the next event, the retained one, or the oldest.
    Fresh(JoinsAt),
    /// Where the client had got to; or with a gap, if that may not be known any more.
    At(Progress, MayBeLost),
    /// With a gap, because the id says nothing.
    Lost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MayBeLost {
    Always,
    IfEvicted,
}

/// How far a client has got in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The place of the next event that has to come.
    pub(crate) next: usize,
    /// Up to where it may be found besides.
    pub(crate) missing_up_to: Option<usize>,
}

impl From<JoinsAt> for JoinAt {
    fn from(joins_at: JoinsAt) -> Self {
        match joins_at {
            JoinsAt::Live => Self::Live,
            JoinsAt::Oldest => Self::Oldest,
        }
    }
}

/// Events are named by the publish that they were part of, and their place in it.
const EVENTS_PER_PUBLISH: u64 = 4;

/// The first `events` events of a publish; all of them if it is zero.
pub(crate) fn mark(publish: u64, events: u64) -> u64 {
    let events = if events == 0 { EVENTS_PER_PUBLISH - 1 } else { events };
    publish * EVENTS_PER_PUBLISH + events
}

/// Events that are published together.
struct Together(Vec<Event<'static>>);

impl Encode for Together {
    fn encode(&self, out: &mut EventBuffer) {
        self.0.iter().for_each(|event| out.push(event));
    }
}

/// What to publish.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planned {
    pub(crate) bytes: usize,
    /// The events bring ids of their own.
    pub(crate) own_ids: bool,
    pub(crate) events: u64,
}

impl World {
    pub(crate) fn publish(world: &Shared, cx: &mut Context<'_>, room: usize, planned: Planned) {
        let end = world.borrow().rooms[room].end;
        if end.is_some() {
            let topic = world.borrow().rooms[room].topic.clone();
            return cx.publish(&topic, "too late").unwrap();
        }
        if let Some((topic, events)) = Self::prepare(world, cx, room, planned) {
            cx.publish(&topic, events).unwrap();
        }
    }

    /// Publishes the last event of a room.
    pub(crate) fn finish(world: &Shared, cx: &mut Context<'_>, room: usize, planned: Planned) {
        let end = world.borrow().rooms[room].end;
        if end.is_some() {
            let topic = world.borrow().rooms[room].topic.clone();
            return cx.finish(&topic, "too late").unwrap();
        }
        if let Some((topic, events)) = Self::prepare(world, cx, room, planned) {
            let room = &mut world.borrow_mut().rooms[room];
            room.end = room.published.last().copied();
            cx.finish(&topic, events).unwrap();
        }
    }

    /// What to publish; nothing, if nobody hears it.
    fn prepare(
        world: &Shared,
        cx: &mut Context<'_>,
        room: usize,
        planned: Planned,
    ) -> Option<(Topic, Together)> {
        let mut world = world.borrow_mut();
        let number = room;
        let subscribers = cx.subscribers(&world.rooms[room].topic);
        let room = &world.rooms[room];
        if subscribers == 0 && !room.has_history && !room.retains {
            assert_eq!(cx.subscribers(&room.topic.clone()), 0);
            cx.publish(&room.topic.clone(), "nobody hears this").unwrap();
            return None;
        }
        world.published += 1;
        let publish = world.published;
        let room = &mut world.rooms[number];
        let filling = "x".repeat(planned.bytes);
        let events = (1..=planned.events).map(|nth| {
            let mark = mark(publish, nth);
            room.published.push(mark);
            let event = Event::new(format!("{number} {mark} {filling}"));
            // An id that no log knows counts like that of a private event.
            let own = if room.has_history { "own" } else { "mine" };
            match planned.own_ids {
                true => event.id(format!("{own} {mark}")).expect("an id"),
                false => event,
            }
        });
        let events = Together(events.collect());
        let frame_bytes = (planned.bytes + 100) * events.0.len();
        room.frames += 1;
        room.bytes += frame_bytes;
        room.largest_frame_bytes = room.largest_frame_bytes.max(frame_bytes);
        let topic = room.topic.clone();
        drop(world);
        assert_eq!(cx.subscribers(&topic), subscribers);
        Some((topic, events))
    }

    /// Everything that has been published.
    pub(crate) fn now(&self) -> u64 {
        mark(self.published, 0)
    }

    /// Records that a stream has started.
    pub(crate) fn join(&mut self, visit: usize, id: StreamId) {
        let Visit { rooms, connects, .. } = &self.visits[visit];
        let connects = connects.iter().map(|room| (*room, JoinsAt::Live));
        let rooms: Vec<_> = rooms.iter().copied().chain(connects).collect();
        for (room, joins_at) in rooms {
            self.stay(visit, room, joins_at, Since::Birth);
        }
        self.visits[visit].id = Some(id);
        assert_eq!(self.live.insert(id, visit), None);
    }

    /// Records that a stream has got a topic.
    pub(crate) fn stay(&mut self, visit: usize, room: usize, joins_at: JoinsAt, since: Since) {
        let came_with = self.visits[visit].came_with.as_ref();
        let begins = match came_with {
            Some(came_with) if self.rooms[room].has_history => {
                came_with.begins(room, &self.rooms[room])
            }
            _ => Begins::Fresh(joins_at),
        };
        let stay = Stay { from: self.now(), to: None, begins, since };
        assert!(self.visits[visit].stays.insert(room, stay).is_none());
    }

    pub(crate) fn leave(&mut self, id: StreamId) {
        assert!(self.live.remove(&id).is_some(), "its end was reported twice");
        self.ended += 1;
    }

    /// How many live streams have a room, as far as the closures know.
    pub(crate) fn subscribers(&self, room: usize) -> usize {
        let has_room = |visit: &usize| {
            self.visits[*visit].stays.get(&room).is_some_and(|stay| stay.to.is_none())
        };
        self.live.values().filter(|visit| has_room(visit)).count()
    }

    /// Checks that a client was rightly sent away: its id speaks of the end of all its rooms.
    pub(crate) fn check_sent_away(&self, visit: &Visit) {
        let came_with = visit.came_with.as_ref().expect("only clients with an id are sent away");
        for &(number, _) in &visit.rooms {
            let room = &self.rooms[number];
            assert!(room.end.is_some(), "{number} goes on, for {visit:?}");
            let Begins::At(progress, _) = came_with.begins(number, room) else {
                panic!("its id says nothing: {visit:?}");
            };
            let seen = progress.missing_up_to.map_or(progress.next, |it| it.max(progress.next));
            assert!(seen >= room.published.len(), "{number} is not complete for {visit:?}");
        }
    }

    /// The most that all logs may hold between turns.
    pub(crate) fn log_bytes_max(&self) -> usize {
        let bound = |room: &Room| room.log_bytes.max(room.largest_frame_bytes);
        self.rooms.iter().map(bound).sum()
    }
}

impl Room {
    /// The place of the first event after this one.
    pub(crate) fn place_after(&self, mark: u64) -> usize {
        self.published.partition_point(|published| *published <= mark)
    }

    /// The place of the first event of the last publish before this place.
    fn last_publish_before(&self, place: usize) -> usize {
        let Some(last) = place.checked_sub(1) else { return 0 };
        let publish = |mark| mark / EVENTS_PER_PUBLISH;
        self.published.partition_point(|mark| publish(*mark) < publish(self.published[last]))
    }

    /// Whether the log may have discarded something.
    fn may_have_evicted(&self) -> bool {
        self.frames > self.log_events || self.bytes > self.log_bytes
    }
}

/// What one event is, to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Got {
    Event(u64),
    Gap,
}

/// The room and mark of an event of a topic.
fn number_of(event: &ParsedEvent) -> Option<(usize, u64)> {
    let mut words = event.data.split(' ');
    let room = words.next()?.parse().ok()?;
    Some((room, words.next()?.parse().ok()?))
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
        // One series for all topics; only what one that was joined later brings may be older.
        let joined_later = self.stays.values().any(|stay| stay.since == Since::Later);
        let numbers: Vec<_> = events.iter().filter_map(number_of).map(|(_, n)| n).collect();
        assert!(joined_later || numbers.is_sorted_by(|a, b| a < b), "{events:?} in {self:?}");
        for event in events {
            let known = match number_of(event) {
                Some((room, _)) => self.stays.contains_key(&room),
                None => event.name == "gap" || event.data == "private",
            };
            assert!(known, "{event:?}");
        }
        let mut skips = 0;
        for (&number, stay) in &self.stays {
            let (room, got) = (&rooms[number], self.got(number, &rooms[number], events));
            let (progress, skipped) = stay.follow(room, &got, self.closed_at);
            stay.check_end(room, progress, complete, self.closed_at);
            skips += skipped;
        }
        skips
    }

    /// How far a client has got in each room that its id speaks of for sure.
    pub(crate) fn progress(
        &self,
        rooms: &[Room],
        events: &[ParsedEvent],
    ) -> BTreeMap<usize, Progress> {
        let known = self.stays.iter().filter_map(|(&number, stay)| {
            let (room, got) = (&rooms[number], self.got(number, &rooms[number], events));
            let is_told = stay.since == Since::Birth || !got.is_empty();
            let speaks = room.has_history && stay.to.is_none() && is_told;
            speaks.then(|| (number, stay.follow(room, &got, self.closed_at).0))
        });
        known.collect()
    }

    /// The last event of each room that a client has got.
    pub(crate) fn last_of_each(&self, events: &[ParsedEvent]) -> BTreeMap<usize, u64> {
        events.iter().filter_map(number_of).collect()
    }

    fn got(&self, number: usize, room: &Room, events: &[ParsedEvent]) -> Vec<Got> {
        let of_room = events.iter().filter_map(|event| match number_of(event) {
            Some((of, mark)) => (of == number).then_some(Got::Event(mark)),
            None if event.name == "gap" => (event.data == room.topic.name()).then_some(Got::Gap),
            None => None,
        });
        of_room.collect()
    }
}

impl Stay {
    fn start(&self, room: &Room) -> Progress {
        let joined = room.place_after(self.from);
        let keeps = room.has_history || room.retains;
        let last_publish = room.last_publish_before(joined);
        let has_ended = room.end.is_some_and(|end| end <= self.from);
        let (next, missing_up_to) = match self.begins {
            Begins::At(progress, _) => return progress,
            Begins::Lost => (joined, None),
            Begins::Fresh(JoinsAt::Live) if room.retains || has_ended => (last_publish, None),
            Begins::Fresh(JoinsAt::Live) => (joined, None),
            Begins::Fresh(JoinsAt::Oldest) if keeps => (0, Some(last_publish)),
            Begins::Fresh(JoinsAt::Oldest) => (0, Some(joined)),
        };
        Progress { next, missing_up_to }
    }

    /// Where a client stands that has got these, and how often it was skipped.
    fn follow(&self, room: &Room, got: &[Got], closed_at: Option<u64>) -> (Progress, u64) {
        let story = || format!("{got:?} of {:?} in {self:?}", room.published);
        let drops = room.backpressure == Backpressure::DropOldest;
        let end = [self.to, closed_at].into_iter().flatten().min();
        let joined = room.place_after(self.from);
        let Progress { mut next, mut missing_up_to } = self.start(room);
        let mut skips = 0;
        for (i, item) in got.iter().enumerate() {
            let Got::Event(mark) = *item else {
                let may_be_lost = match self.begins {
                    Begins::At(_, MayBeLost::IfEvicted) => room.may_have_evicted(),
                    Begins::At(_, MayBeLost::Always) | Begins::Lost => true,
                    Begins::Fresh(_) => false,
                };
                if i == 0 && may_be_lost {
                    // It starts over, like a new client or later; or it fell behind later.
                    (next, missing_up_to) = (0, Some(if drops { usize::MAX } else { joined }));
                } else {
                    assert!(drops, "a gap for no reason: {}", story());
                    missing_up_to = Some(usize::MAX);
                    skips += 1;
                }
                continue;
            };
            assert!(i > 0 || self.begins != Begins::Lost, "a gap is missing: {}", story());
            assert!(end.is_none_or(|end| mark <= end), "after its end: {}", story());
            let place = room.published.binary_search(&mark).expect("it was published");
            assert!(place >= next, "{mark} arrives twice or too late: {}", story());
            if place > missing_up_to.take().unwrap_or(next) {
                let skipped = room.backpressure == Backpressure::Latest && room.may_have_evicted();
                assert!(skipped, "some are missing before {mark}: {}", story());
                // What was skipped before the client came back counts for the visit before.
                skips += u64::from(i > 0 || !matches!(self.begins, Begins::At(..)));
            }
            next = place + 1;
        }
        (Progress { next, missing_up_to }, skips)
    }

    fn check_end(&self, room: &Room, got: Progress, complete: Complete, closed_at: Option<u64>) {
        if let Complete::UpTo(last) = complete
            && self.to.is_none()
        {
            let end = closed_at.map_or(last, |end| end.min(last));
            let next = got.missing_up_to.map_or(got.next, |up_to| up_to.max(got.next));
            let story = || format!("{got:?} of {:?} in {self:?}", room.published);
            assert!(next >= room.place_after(end), "some are missing at the end: {}", story());
        }
    }
}

/// What a client's id says of a room that it is not known to have had.
pub(crate) fn begins_after(held: Held, last_got: u64, room: &Room) -> Progress {
    match held {
        Held::Even(mark) => Progress { next: room.place_after(mark), missing_up_to: None },
        // It may be among those that lag.
        Held::Uneven(mark) => Progress {
            next: room.place_after(last_got),
            missing_up_to: Some(room.place_after(mark)),
        },
        Held::Private => unreachable!("it belongs to no room"),
    }
}
