//! One random scenario: what clients, network and closures do around topics, step by step.

use std::{rc::Rc, time::Duration};

use starwheel::{
    Backpressure, Config, Ending, Event, Request, Router, Sse, StreamId, Topic,
    testing::{BodyEnd, Client, ClientResponse, Faults, Simulation},
};

use crate::{
    decoders,
    lineage::{CameWith, Held, check_ids},
    model::{Complete, JoinsAt, Planned, Room, Shared, Since, Visit, World},
    random::Random,
};

/// Counts of a scenario, so that the test can check that the scenarios are useful.
#[derive(Debug, Default)]
pub(crate) struct Harvest {
    pub(crate) delivered: u64,
    pub(crate) passed_by: u64,
    pub(crate) gaps: u64,
    pub(crate) slow: u64,
    pub(crate) resumed: u64,
    pub(crate) skips: u64,
    /// Visits of clients that reconnected without a gap.
    pub(crate) exact: u64,
    /// Ids that clients have held.
    pub(crate) ids: u64,
    /// Streams whose topics had all ended.
    pub(crate) ended: u64,
    /// Clients that had seen the ends of all their topics.
    pub(crate) sent_away: u64,
}

/// A scenario of some 70 steps. `seed` is that of the network's faults.
pub(crate) fn live_through(random: Random, seed: u64) -> Harvest {
    let mut chaos = Chaos::new(random, seed);
    for _ in 0..20 + chaos.random.below(100) {
        if chaos.random.is_exhausted() {
            break;
        }
        chaos.step();
    }
    chaos.harvest()
}

/// A running scenario.
struct Chaos {
    random: Random,
    simulation: Simulation,
    world: Shared,
    /// The client of each visit.
    clients: Vec<Client>,
    faults: Faults,
    outbox_bytes: usize,
}

impl Chaos {
    fn new(mut random: Random, seed: u64) -> Self {
        let mut config = Config::default();
        config.limits.outbox_bytes = random.pick(&[1_000, 5_000, 256 * 1024]);
        config.limits.stall_timeout =
            Duration::from_millis(random.pick(&[1, 5_000, 60_000, 60_000]));
        config.keep_alive = Some(Duration::from_millis(random.pick(&[500, 4_000, 15_000])));
        let outbox_bytes = config.limits.outbox_bytes;
        let mut faults = Faults::default();
        faults.socket_buffer_bytes = random.pick(&[50, 300, 2_000, 64 * 1024]);
        let world = Shared::default();
        let rooms = (0..=random.below(5)).map(|number| random_room(number, &mut random)).collect();
        world.borrow_mut().rooms = rooms;
        let mut simulation = Simulation::with_config(config, seed, server(&world));
        simulation.set_faults(faults.clone());
        Self { random, simulation, world, clients: Vec::new(), faults, outbox_bytes }
    }

    /// One random action.
    fn step(&mut self) {
        match self.random.below(100) {
            0..40 => self.publish(),
            40..52 => self.visit(None),
            52..62 => self.visit_again(),
            62..70 => self.stall(),
            70..80 => self.read_on(),
            80..84 => self.go_away(),
            84..87 => self.close(),
            87..90 => self.send_privately(),
            90..93 => self.subscribe(),
            93..95 => self.unsubscribe(),
            95..97 => self.change_the_network(),
            97 => self.finish(),
            _ => {
                let by = Duration::from_millis(1 + self.random.below(20_000) as u64);
                self.simulation.advance(by);
            }
        }
        match self.random.below(10) {
            0..3 => {}
            3..5 => drop(self.simulation.turn_once()),
            _ => {
                self.simulation.turn();
                self.check();
            }
        }
    }

    fn publish(&mut self) {
        let room = self.random.below(self.world.borrow().rooms.len());
        let count = self.random.pick(&[1, 1, 1, 1, 2, 5, 20]);
        let events: Vec<_> = (0..count)
            .map(|_| {
                let bytes = self.random.pick(&[0, 10, 10, 10, 10, 100, 1_000, 4_000]);
                Planned {
                    bytes: self.random.below(bytes + 1),
                    own_ids: self.random.percent(10),
                    events: self.random.pick(&[1, 1, 1, 1, 2, 3]),
                }
            })
            .collect();
        let world = Rc::clone(&self.world);
        self.simulation.queue(move |cx| {
            for planned in events {
                World::publish(&world, cx, room, planned);
            }
        });
    }

    fn finish(&mut self) {
        let room = self.random.below(self.world.borrow().rooms.len());
        let bytes = self.random.pick(&[0, 10, 4_000]);
        let own_ids = self.random.percent(10);
        let planned = Planned { bytes, own_ids, events: self.random.pick(&[1, 1, 3]) };
        if !self.world.borrow().rooms[room].has_history {
            return;
        }
        let world = Rc::clone(&self.world);
        self.simulation.queue(move |cx| World::finish(&world, cx, room, planned));
    }

    /// A client connects for the first time, or reconnects.
    fn visit(&mut self, back: Option<(CameWith, usize)>) {
        let mut world = self.world.borrow_mut();
        let number = world.visits.len();
        let (mut query, mut visit) = (format!("visit={number}"), Visit::default());
        let all = world.rooms.len();
        let former = back.as_ref().map(|(_, former)| &world.visits[*former]);
        match former {
            Some(former) if self.random.percent(80) => {
                visit.rooms.clone_from(&former.rooms);
                visit.connects.clone_from(&former.connects);
            }
            _ => {
                for room in 0..all {
                    let oldest = self.random.percent(30);
                    let joins_at = if oldest { JoinsAt::Oldest } else { JoinsAt::Live };
                    match self.random.below(100) {
                        0..50 => visit.rooms.push((room, joins_at)),
                        50..60 => visit.connects.push(room),
                        _ => {}
                    }
                }
            }
        }
        if let Some((came_with, _)) = back {
            query += &format!("&last_event_id={}", came_with.id.replace(' ', "+"));
            visit.came_with = Some(came_with);
        }
        if self.random.percent(10) {
            query += "&says=mine+first";
        }
        visit.announces = self.random.percent(20).then(|| self.random.below(all));
        world.visits.push(visit);
        drop(world);
        let version = if self.random.percent(15) { "1.0" } else { "1.1\r\nHost: test" };
        let coding = self.random.pick(&["identity", "identity", "zstd", "br", "gzip"]);
        let client = self.simulation.connect();
        self.clients.push(client);
        self.simulation.send(
            client,
            format!("GET /?{query} HTTP/{version}\r\nAccept-Encoding: {coding}\r\n\r\n").as_bytes(),
        );
    }

    /// A client reconnects, perhaps while its old connection is open: cut after all that it has
    /// got, or anywhere before that.
    fn visit_again(&mut self) {
        let Some(number) = self.some_visit() else { return };
        let mut received = self.simulation.received(self.clients[number]);
        if self.random.percent(50) {
            received.truncate(self.random.below(received.len() + 1));
        }
        let world = self.world.borrow();
        let visit = &world.visits[number];
        let answer = parse(&received);
        let (events, mut id) = match &answer {
            Some(answer) => (answer.events(), answer.last_event_id()),
            None => Default::default(),
        };
        if let Some(came_with) = visit.came_with.as_ref().filter(|_| id.is_empty()) {
            id.clone_from(&came_with.id);
        }
        if id.is_empty() {
            assert!(events.iter().all(|event| event.last_event_id.is_empty()));
            return;
        }
        let held = Held::of(&id);
        let progress = visit.progress(&world.rooms, &events);
        let came_with = CameWith { id, held, progress, last_of_each: visit.last_of_each(&events) };
        drop(world);
        self.visit(Some((came_with, number)));
    }

    fn stall(&mut self) {
        if let Some(number) = self.some_visit() {
            self.simulation.stall(self.clients[number]);
        }
    }

    fn read_on(&mut self) {
        let Some(number) = self.some_visit() else { return };
        if self.random.percent(50) {
            self.simulation.resume(self.clients[number]);
        } else {
            self.simulation.read_some(self.clients[number], 1 + self.random.below(500));
        }
    }

    fn go_away(&mut self) {
        let Some(number) = self.some_visit() else { return };
        match self.random.percent(50) {
            true => self.simulation.reset(self.clients[number]),
            false => self.simulation.half_close(self.clients[number]),
        }
    }

    fn close(&mut self) {
        let ending = if self.random.percent(50) { Ending::Finish } else { Ending::Drop };
        let (world, random) = (Rc::clone(&self.world), self.random.next() as usize);
        self.simulation.queue(move |cx| {
            let mut world = world.borrow_mut();
            let Some((id, visit)) = some_stream(&world, random) else { return };
            if cx.close(id, ending) {
                world.visits[visit].closed_at = Some(world.now());
            }
        });
    }

    fn send_privately(&mut self) {
        let (world, random) = (Rc::clone(&self.world), self.random.next() as usize);
        self.simulation.queue(move |cx| {
            if let Some((id, _)) = some_stream(&world.borrow(), random) {
                let private = Event::new("private");
                let with_id = private.clone().id(format!("mine {random}")).expect("an id");
                match random >> 32 & 3 {
                    0 => cx.send(id, private),
                    1 => cx.send(id, with_id),
                    2 => cx.send_uncompressed(id, private),
                    _ => cx.send_uncompressed(id, with_id),
                };
            }
        });
    }

    fn subscribe(&mut self) {
        let room = self.random.below(self.world.borrow().rooms.len());
        let (world, random) = (Rc::clone(&self.world), self.random.next() as usize);
        self.simulation.queue(move |cx| {
            let mut world = world.borrow_mut();
            let Some((id, visit)) = some_stream(&world, random) else { return };
            // What is known of a stream's topics is one stay in each of them.
            if world.visits[visit].stays.contains_key(&room) {
                return;
            }
            if cx.subscribe(id, &world.rooms[room].topic) {
                world.stay(visit, room, JoinsAt::Live, Since::Later);
            }
        });
    }

    fn unsubscribe(&mut self) {
        let room = self.random.below(self.world.borrow().rooms.len());
        let (world, random) = (Rc::clone(&self.world), self.random.next() as usize);
        self.simulation.queue(move |cx| {
            let mut world = world.borrow_mut();
            let Some((id, visit)) = some_stream(&world, random) else { return };
            let published = world.now();
            let left = cx.unsubscribe(id, &world.rooms[room].topic);
            if left {
                let stay = world.visits[visit].stays.get_mut(&room).expect("a stay");
                assert_eq!(stay.to.replace(published), None);
            }
        });
    }

    fn change_the_network(&mut self) {
        let random = &mut self.random;
        let faults = &mut self.faults;
        faults.short_writes_percent = random.pick(&[0, 0, 30, 90]);
        faults.short_reads_percent = random.pick(&[0, 30]);
        faults.would_block_percent = random.pick(&[0, 0, 20, 60]);
        faults.interrupts_percent = random.pick(&[0, 20]);
        faults.spurious_readiness_percent = random.pick(&[0, 30]);
        faults.resets_percent = random.pick(&[0, 0, 0, 1, 4]);
        self.simulation.set_faults(faults.clone());
    }

    fn some_visit(&mut self) -> Option<usize> {
        let count = self.clients.len();
        (count > 0).then(|| self.random.below(count))
    }

    fn coded_answer(&self, visit: usize) -> Option<ClientResponse> {
        let received = self.simulation.received(self.clients[visit]);
        ClientResponse::parse(&received, starwheel::Method::Get)
    }

    /// What has to be true between turns.
    fn check(&mut self) {
        let world = Rc::clone(&self.world);
        let outbox_bytes_max = {
            let world = world.borrow();
            let largest = world.rooms.iter().map(|room| room.largest_frame_bytes).max();
            // One event of a topic, the gaps and the private event after it, and its bookmark; or
            // the head.
            self.outbox_bytes.max(largest.unwrap_or(0)) + 40 * world.rooms.len() + 1_000
        };
        let stats = self.simulation.stats();
        assert!(stats.log_bytes <= world.borrow().log_bytes_max() as u64, "{}", stats.log_bytes);
        assert_eq!(stats.streams, world.borrow().live.len() as u64);
        assert_eq!(stats.closed.total(), world.borrow().ended);
        assert_eq!(stats.panics, 0);
        self.simulation.run(move |cx| {
            let world = world.borrow();
            for (number, room) in world.rooms.iter().enumerate() {
                let subscribers = cx.subscribers(&room.topic);
                match room.end {
                    None => assert_eq!(subscribers, world.subscribers(number), "of {number}"),
                    // Those that have got the end have left.
                    Some(_) => assert!(subscribers <= world.subscribers(number), "of {number}"),
                }
            }
            for &id in world.live.keys() {
                let queued = cx.queued_bytes(id).unwrap_or(0);
                assert!(queued <= outbox_bytes_max, "{queued} bytes queued for {id}");
            }
        });
    }

    /// The network is repaired, and all clients read to the end.
    fn heal(&mut self) {
        let buffer = self.faults.socket_buffer_bytes;
        self.faults = Faults::default();
        self.faults.socket_buffer_bytes = buffer;
        self.simulation.set_faults(self.faults.clone());
        for client in &self.clients {
            self.simulation.resume(*client);
        }
        self.simulation.turn();
        self.check();
    }

    fn harvest(&mut self) -> Harvest {
        self.heal();
        let mut harvest = Harvest::default();
        let world = self.world.borrow();
        for (number, visit) in world.visits.iter().enumerate() {
            let Some(coded) = self.coded_answer(number) else { continue };
            if coded.end == BodyEnd::Complete {
                assert!(decoders::is_whole(&coded), "visit {number} was finished, not its coding");
            }
            if coded.status == 204 {
                world.check_sent_away(visit);
                harvest.sent_away += 1;
                continue;
            }
            let answer = decode(coded);
            let is_open = visit.id.is_some_and(|id| world.live.contains_key(&id));
            let complete = match (is_open, answer.end) {
                (true, _) => Complete::UpTo(world.now()),
                (false, BodyEnd::Complete) => {
                    // Otherwise all of its rooms have ended.
                    let mut stays = visit.stays.iter().filter(|(_, stay)| stay.to.is_none());
                    let all_ended = stays.all(|(room, _)| world.rooms[*room].end.is_some());
                    assert!(visit.closed_at.is_some() || all_ended, "nobody has closed {visit:?}");
                    Complete::UpTo(visit.closed_at.unwrap_or_else(|| world.now()))
                }
                (false, _) => Complete::UpToSomewhere,
            };
            let events = answer.events();
            harvest.skips += visit.check(&world.rooms, &events, complete);
            harvest.ids += check_ids(&answer.body);
            if visit.came_with.is_some() {
                harvest.resumed += 1;
                harvest.exact += u64::from(events.iter().all(|event| event.name != "gap"));
            }
        }
        let stats = self.simulation.stats();
        assert!(harvest.skips <= stats.passed_by, "skipped, but not passed by");
        // History and retained events remain.
        let kept = world.rooms.iter().filter(|room| room.has_history || room.retains);
        let kept: usize = kept.map(|room| room.log_bytes.max(room.largest_frame_bytes)).sum();
        assert!(stats.log_bytes <= kept as u64, "{} of {kept}", stats.log_bytes);
        harvest.delivered = stats.delivered;
        harvest.ended = stats.closed.topics_finished;
        harvest.passed_by = stats.passed_by;
        harvest.gaps = stats.gaps;
        harvest.slow = stats.closed.slow;
        drop(world);
        self.everybody_leaves();
        harvest
    }

    fn everybody_leaves(&mut self) {
        for client in &self.clients {
            self.simulation.reset(*client);
        }
        self.simulation.turn();
        let world = self.world.borrow();
        assert_eq!((self.simulation.stats().streams, world.live.len()), (0, 0));
        self.simulation.run(|cx| {
            assert!(world.rooms.iter().all(|room| cx.subscribers(&room.topic) == 0));
        });
    }
}

fn decode(mut answer: ClientResponse) -> ClientResponse {
    answer.body = decoders::decoded(&answer);
    answer
}

/// What a client makes of these bytes.
fn parse(received: &[u8]) -> Option<ClientResponse> {
    ClientResponse::parse(received, starwheel::Method::Get).map(decode)
}

fn random_room(number: usize, random: &mut Random) -> Room {
    let log_events = random.pick(&[1, 2, 5, 30, 1_000]);
    let log_bytes = random.pick(&[0, 500, 3_000, 30_000, 1_000_000]);
    let [has_history, retains] = [50, 40].map(|chance| random.percent(chance));
    let policies = [Backpressure::Disconnect, Backpressure::Latest, Backpressure::DropOldest];
    let backpressure = random.pick(&policies);
    let topic = Topic::new(format!("room-{number}")).keep_finished(Duration::from_secs(36_000));
    let topic = match has_history {
        true => topic.history(log_events, log_bytes),
        false => topic.log(log_events, log_bytes),
    };
    let topic = if retains { topic.retain() } else { topic };
    Room {
        topic: topic.backpressure(backpressure),
        log_events,
        log_bytes,
        has_history,
        retains,
        backpressure,
        published: Vec::new(),
        frames: 0,
        bytes: 0,
        largest_frame_bytes: 0,
        end: None,
    }
}

fn some_stream(world: &World, random: usize) -> Option<(StreamId, usize)> {
    let count = world.live.len();
    if count == 0 {
        return None;
    }
    world.live.iter().nth(random % count).map(|(id, visit)| (*id, *visit))
}

fn server(world: &Shared) -> Router {
    let world = Rc::clone(world);
    Router::new().get("/", move |req: &Request, _| {
        let visit: usize = req.query_value("visit").unwrap().parse().unwrap();
        let (joined, left) = (Rc::clone(&world), Rc::clone(&world));
        let world = world.borrow();
        let asked = &world.visits[visit];
        let announces = asked.announces;
        let connects: Vec<_> =
            asked.connects.iter().map(|room| world.rooms[*room].topic.clone()).collect();
        let says = req.query_value("says").map(|id| Event::new("private").id(id).expect("an id"));
        let sse = says.into_iter().fold(Sse::new(), |sse, event| sse.send(event));
        let sse = asked.rooms.iter().fold(sse, |sse, &(room, joins_at)| {
            sse.subscribe_at(&world.rooms[room].topic, joins_at.into())
        });
        sse.on_connect(move |stream| {
            joined.borrow_mut().join(visit, stream.id());
            connects.iter().for_each(|topic| assert!(stream.subscribe(topic)));
            if let Some(room) = announces {
                World::publish(&joined, &mut stream.context(), room, ANNOUNCEMENT);
            }
        })
        .on_disconnect(move |cx, id, _| {
            left.borrow_mut().leave(id);
            if let Some(room) = announces {
                World::publish(&left, cx, room, ANNOUNCEMENT);
            }
        })
    })
}

const ANNOUNCEMENT: Planned = Planned { bytes: 10, own_ids: false, events: 1 };
