//! One random scenario: workers, the ways to them, and clients that move between them.

use std::time::Duration;

use starwheel::{
    Backpressure, Config, Method, Request, Router, Sse, Topic, TrySendError,
    testing::{BodyEnd, Client, ClientResponse, Faults, LinkFaults, SimulatedWorkers},
};

use crate::{
    decoders,
    journey::Journey,
    log::{Kind, Log, NEVER_OVER, Room},
    random::Random,
};

/// Counts of a scenario, so that the test can check that the scenarios are useful.
#[derive(Debug, Default)]
pub(crate) struct Harvest {
    events: u64,
    hops: u64,
    gaps: u64,
    /// Visits that continued without a gap.
    exact: u64,
    refused: u64,
    /// Times that a worker was left out.
    left_out: u64,
    lossy_restarts: u64,
    restarts: u64,
    /// Topics that were finished.
    ends: u64,
    /// Events on finished topics.
    late: u64,
    /// Clients that were told to stay away.
    away: u64,
}

impl Harvest {
    pub(crate) fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.hops += other.hops;
        self.gaps += other.gaps;
        self.exact += other.exact;
        self.refused += other.refused;
        self.left_out += other.left_out;
        self.lossy_restarts += other.lossy_restarts;
        self.restarts += other.restarts;
        self.ends += other.ends;
        self.late += other.late;
        self.away += other.away;
    }

    pub(crate) fn scarce(&self) -> [u64; 11] {
        [
            self.events,
            self.hops,
            self.gaps,
            self.exact,
            self.refused,
            self.left_out,
            self.lossy_restarts,
            self.restarts,
            self.ends,
            self.late,
            self.away,
        ]
    }
}

pub(crate) fn live_through(random: Random, seed: u64) -> Harvest {
    let mut chaos = Chaos::new(random, seed);
    for _ in 0..20 + chaos.random.below(120) {
        chaos.step();
    }
    chaos.end()
}

/// The topics whose numbers a request names.
fn named(req: &Request, parameter: &str, topics: &[Topic]) -> Vec<Topic> {
    let numbers = req.query_value(parameter).unwrap_or_default();
    numbers
        .split(',')
        .filter_map(|number| Some(topics[number.parse::<usize>().ok()?].clone()))
        .collect()
}

struct Chaos {
    random: Random,
    workers: SimulatedWorkers,
    log: Log,
    travellers: Vec<Traveller>,
    stopped: Vec<bool>,
    /// Nothing is lost in this scenario, so no client may get a gap.
    is_calm: bool,
    harvest: Harvest,
}

struct Traveller {
    journey: Journey,
    /// Where it is, and the number of losses before it came.
    visit: Option<(usize, Client, usize)>,
}

impl Chaos {
    fn new(mut random: Random, seed: u64) -> Self {
        let is_calm = random.percent(40);
        let rooms = (0..1 + random.below(4)).map(|number| Room {
            number,
            backpressure: random.pick(&[Backpressure::Disconnect, Backpressure::DropOldest]),
            kind: match random.below(100) {
                0..20 if number > 0 => Kind::Local,
                20..35 if number > 0 => Kind::State,
                // A worker that is left out loses what is kept nowhere.
                35..50 if number > 0 && !is_calm => Kind::Plain,
                _ if is_calm => Kind::History(10_000),
                _ => Kind::History(random.pick(&[3, 20, 10_000])),
            },
            keep_finished: match is_calm {
                true => NEVER_OVER,
                false => random.pick(&[Duration::ZERO, Duration::from_secs(3), NEVER_OVER]),
            },
            published: Vec::new(),
        });
        let mut log = Log::default();
        log.rooms.extend(rooms);
        let topics: Vec<_> = log.rooms.iter().map(Room::topic).collect();
        let count = 2 + random.below(3);
        let workers = SimulatedWorkers::with_config(&Config::default(), seed, count, |_| {
            let topics = topics.clone();
            Router::new().get("/", move |req: &Request, _cx: &mut starwheel::Context<'_>| {
                let sse = named(req, "rooms", &topics)
                    .into_iter()
                    .fold(Sse::new(), |sse, topic| sse.subscribe(&topic));
                let later = named(req, "later", &topics);
                sse.on_connect(move |stream| {
                    later.iter().for_each(|topic| assert!(stream.subscribe(topic)));
                })
            })
        });
        let stopped = vec![false; count];
        let (travellers, harvest) = (Vec::new(), Harvest::default());
        Self { random, workers, log, travellers, stopped, is_calm, harvest }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..38 => self.publish(),
            38..40 => self.finish(),
            40..46 => self.set_out(),
            46..66 => self.hop(),
            66..70 => self.change_a_link(),
            70..75 => self.stop_or_resume(),
            75..78 => self.restart(),
            78..83 => self.slow_down_a_client(),
            83..96 => {
                let by = self.random.pick(&[0, 1, 10, 100]);
                self.workers.advance(Duration::from_millis(by));
            }
            96..98 => self.workers.advance(Duration::from_millis(2_500)),
            _ => drop(self.workers.turn_once()),
        }
        if self.random.percent(60) {
            self.workers.turn();
        }
    }

    fn publish(&mut self) {
        let room = self.random.below(self.log.rooms.len());
        let worker = self.random.below(self.workers.count());
        for _ in 0..self.random.pick(&[1, 1, 1, 3, 10]) {
            self.publish_one((room, worker), false);
        }
    }

    /// Finishes a topic, which may have been finished before.
    fn finish(&mut self) {
        let room = self.random.below(self.log.rooms.len());
        if self.log.rooms[room].kind != Kind::Plain {
            let worker = self.random.below(self.workers.count());
            self.publish_one((room, worker), true);
        }
    }

    fn publish_one(&mut self, (room, worker): (usize, usize), is_last: bool) {
        let mark = self.log.next_mark();
        let filling = "x".repeat(self.random.pick(&[0, 10, 100]));
        let event = format!("in {room} {mark} {filling}");
        let (topic, is_local) = (self.log.rooms[room].topic(), self.log.rooms[room].is_local());
        let before = self.workers.last_place();
        let by_context = self.random.below(3) == 0 || is_local;
        let handle = match self.random.below(2) {
            0 => self.workers[worker].handle(),
            _ => self.workers.handle(),
        };
        let published = match (by_context, is_last) {
            (true, false) => self.workers[worker].context().publish(&topic, event),
            (true, true) => self.workers[worker].context().finish(&topic, event),
            (false, false) => handle.publish(&topic, event),
            (false, true) => handle.finish(&topic, event),
        };
        let given = self.workers.last_place() - before;
        match published {
            Ok(()) if self.log.rooms[room].has_ended(worker) => {
                assert_eq!(given, 0, "a finished topic got an event");
                self.harvest.late += 1;
                return;
            }
            Ok(()) if is_local => {
                assert_eq!(given, 0);
                self.log.add_local(room, (mark, is_last), worker);
            }
            // Nobody listens.
            Ok(()) if given == 0 => assert_eq!(self.log.rooms[room].kind, Kind::Plain),
            Ok(()) => {
                assert_eq!(given, 1);
                self.log.add(room, (mark, is_last), before + 1);
            }
            Err(TrySendError::Full(_)) => {
                assert_eq!(given, 0, "a refused event got a place");
                self.harvest.refused += 1;
                return;
            }
            Err(TrySendError::Closed(_)) => panic!("no worker has stopped"),
        }
        self.harvest.ends += u64::from(is_last);
    }

    /// A new client comes for the first time.
    fn set_out(&mut self) {
        let all = self.log.rooms.len();
        let mut rooms: Vec<_> = (0..all).filter(|_| self.random.percent(60)).collect();
        // Without a history that spans workers, its ids would be those of a worker, or none.
        if !rooms.contains(&0) {
            rooms.push(0);
        }
        self.travellers.push(Traveller { journey: Journey::new(rooms), visit: None });
        self.visit(self.travellers.len() - 1);
    }

    /// A client is cut anywhere in what it has read, and connects to some worker.
    fn hop(&mut self) {
        if self.travellers.is_empty() {
            return self.set_out();
        }
        let traveller = self.random.below(self.travellers.len());
        self.leave(traveller);
        self.visit(traveller);
    }

    fn leave(&mut self, traveller: usize) {
        let Some((worker, client, losses_before)) = self.travellers[traveller].visit.take() else {
            return;
        };
        let mut received = self.workers[worker].received(client);
        if self.random.percent(50) {
            received.truncate(self.random.below(received.len() + 1));
        }
        self.workers[worker].reset(client);
        self.read(traveller, &received, (worker, losses_before));
    }

    fn read(&mut self, traveller: usize, received: &[u8], (worker, losses_before): (usize, usize)) {
        let losses = self.log.losses - losses_before + if self.is_calm { 0 } else { 1_000 };
        let journey = &mut self.travellers[traveller].journey;
        let gaps = journey.gaps;
        if let Some(mut answer) = ClientResponse::parse(received, Method::Get) {
            if answer.status == 204 {
                self.harvest.away += 1;
                return journey.check_that_it_may_stay_away(&self.log);
            }
            answer.body = decoders::decoded(&answer);
            let got = (&*answer.events(), &*answer.last_event_id());
            journey.follow(&self.log, worker, got, losses, !self.is_calm);
            self.harvest.exact += u64::from(journey.gaps == gaps);
        }
        let has_local = journey.rooms.iter().any(|it| self.log.rooms[it.room].is_local());
        assert!(
            !self.is_calm || has_local || journey.gaps == 0,
            "a gap for no reason: {:#?}",
            journey.story
        );
    }

    fn visit(&mut self, traveller: usize) {
        let worker = self.random.below(self.workers.count());
        let journey = &self.travellers[traveller].journey;
        let rooms: Vec<_> = journey.rooms.iter().map(|it| it.room.to_string()).collect();
        let at_once = rooms.len() - if self.random.percent(80) { 0 } else { rooms.len() / 2 };
        let (rooms, later) = rooms.split_at(at_once);
        self.travellers[traveller].journey.at_once = at_once;
        let journey = &self.travellers[traveller].journey;
        let target = format!("/?rooms={}&later={}", rooms.join(","), later.join(","));
        let client = self.workers[worker].connect();
        let coding = self.random.pick(&["identity", "identity", "zstd", "br", "gzip"]);
        let headers = [("Accept-Encoding", coding), ("Last-Event-ID", &*journey.id)];
        let headers = &headers[..if journey.id.is_empty() { 1 } else { 2 }];
        self.workers[worker].request(client, Method::Get, &target, headers, b"");
        self.travellers[traveller].visit = Some((worker, client, self.log.losses));
        self.harvest.hops += 1;
    }

    fn change_a_link(&mut self) {
        let worker = self.random.below(self.workers.count());
        let mut faults = LinkFaults::default();
        faults.delay_max = Duration::from_millis(self.random.pick(&[0, 0, 5, 50]));
        faults.history_delay_max = Duration::from_millis(self.random.pick(&[0, 0, 10, 200]));
        faults.queue_events = self.random.pick(&[2, 20, 65_536]);
        self.workers.set_link_faults(worker, faults);
    }

    fn stop_or_resume(&mut self) {
        let worker = self.random.below(self.workers.count());
        self.stopped[worker] = !self.stopped[worker];
        match self.stopped[worker] {
            true => self.workers.stop(worker),
            false => self.workers.resume(worker),
        }
    }

    fn restart(&mut self) {
        let lost = if self.is_calm { 0 } else { self.random.pick(&[0, 0, 1, 3, 1_000]) };
        if self.is_calm && self.stopped.contains(&true) {
            return;
        }
        let survives = self.workers.last_place().saturating_sub(lost).max(1);
        let losses = self.log.losses;
        self.workers.restart_sequencer(lost);
        self.log.undo_after(survives);
        self.harvest.restarts += 1;
        if self.is_calm {
            // A worker that has not heard of the restart does not know the ids after it.
            self.workers.advance(Duration::from_secs(1));
        }
        self.harvest.lossy_restarts += (self.log.losses - losses) as u64;
    }

    fn slow_down_a_client(&mut self) {
        if self.is_calm || self.travellers.is_empty() {
            return;
        }
        let traveller = self.random.below(self.travellers.len());
        let Some((worker, client, _)) = self.travellers[traveller].visit else { return };
        let mut faults = Faults::default();
        faults.socket_buffer_bytes = self.random.pick(&[300, 2_000, 64 * 1024]);
        self.workers[worker].set_faults(faults);
        match self.random.percent(50) {
            true => self.workers[worker].stall(client),
            false => self.workers[worker].resume(client),
        }
    }

    /// Everything is repaired, and all clients read to the end.
    fn end(mut self) -> Harvest {
        for worker in 0..self.workers.count() {
            self.workers.set_link_faults(worker, LinkFaults::default());
            self.workers.resume(worker);
            self.workers[worker].set_faults(Faults::default());
        }
        for traveller in &self.travellers {
            if let Some((worker, client, _)) = traveller.visit {
                self.workers[worker].resume(client);
            }
        }
        self.workers.advance(Duration::from_millis(500));
        // A client that was disconnected for being slow comes back.
        for traveller in 0..self.travellers.len() {
            let Some((worker, client, _)) = self.travellers[traveller].visit else { continue };
            let is_over = self.workers[worker].response(client).end != BodyEnd::Open;
            if is_over || !self.workers[worker].is_open(client) {
                self.leave(traveller);
                self.visit(traveller);
            }
        }
        self.workers.turn();
        for room in 0..self.log.rooms.len() {
            if !self.log.rooms[room].is_local() {
                let (topic, mark) = (self.log.rooms[room].topic(), self.log.next_mark());
                let before = self.workers.last_place();
                self.workers.handle().publish(&topic, format!("in {room} {mark}")).unwrap();
                if self.workers.last_place() > before {
                    assert!(!self.log.rooms[room].has_ended(0), "a finished topic got an event");
                    self.log.add(room, (mark, false), before + 1);
                }
            }
        }
        self.workers.turn();
        for traveller in 0..self.travellers.len() {
            if let Some((worker, client, losses_before)) = self.travellers[traveller].visit {
                let received = self.workers[worker].received(client);
                self.read(traveller, &received, (worker, losses_before));
                // One that stays away may do so before it has seen the topics of its hook.
                if self.workers[worker].response(client).status == 200 {
                    self.travellers[traveller].journey.check_end(&self.log);
                    self.check_that_it_ends(traveller, (worker, client));
                }
            }
            let journey = &self.travellers[traveller].journey;
            self.harvest.events += journey.events as u64;
            self.harvest.gaps += journey.gaps as u64;
        }
        let left_out = (0..self.workers.count()).map(|worker| self.workers.losses(worker));
        self.harvest.left_out = left_out.sum();
        self.harvest
    }

    /// A stream ends if all of its topics have, and its client stays away.
    fn check_that_it_ends(&mut self, traveller: usize, (worker, client): (usize, Client)) {
        let journey = &self.travellers[traveller].journey;
        let (is_over, story) = (journey.is_over(&self.log, worker), journey.tell());
        let answer = self.workers[worker].response(client);
        assert_eq!(answer.end != BodyEnd::Open, is_over, "the end of the stream: {story}");
        if !is_over || journey.rooms.iter().any(|it| self.log.rooms[it.room].is_local()) {
            return;
        }
        for _ in 0..3 {
            self.visit(traveller);
            self.workers.turn();
            let Some((worker, client, before)) = self.travellers[traveller].visit else { return };
            let answer = self.workers[worker].response(client);
            let received = self.workers[worker].received(client);
            self.read(traveller, &received, (worker, before));
            if answer.status == 204 {
                return;
            }
            let story = self.travellers[traveller].journey.tell();
            assert_eq!(answer.end, BodyEnd::Complete, "{story}");
        }
        panic!("it comes again and again: {}", self.travellers[traveller].journey.tell());
    }
}
