//! One random scenario: machines, a store, and clients that move between machines.

use std::time::Duration;

use starwheel::{
    Backpressure, Config, Context, Method, Request, Router, Sse, Topic,
    testing::{Client, ClientResponse, Faults, LinkFaults, SimulatedMachines, StoreFaults},
};

use crate::{
    decoders,
    journey::{Ids, Journey},
    log::{Kind, Log, NEVER_OVER, Room},
    publishers::{Expectations, Publishers},
    random::Random,
    ticks::{Ticker, ticking},
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
    cuts: u64,
    kills: u64,
    generations: u64,
    lost: u64,
    /// Published again after it was lost.
    resent: u64,
    /// Times that a worker was left out.
    left_out: u64,
    /// Rooms that were finished.
    ends: u64,
    /// Clients that were told to stay away.
    pub(crate) away: u64,
}

impl Harvest {
    pub(crate) fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.hops += other.hops;
        self.gaps += other.gaps;
        self.exact += other.exact;
        self.refused += other.refused;
        self.cuts += other.cuts;
        self.kills += other.kills;
        self.generations += other.generations;
        self.lost += other.lost;
        self.resent += other.resent;
        self.left_out += other.left_out;
        self.ends += other.ends;
        self.away += other.away;
    }

    pub(crate) fn scarce(&self) -> [u64; 13] {
        [
            self.events,
            self.hops,
            self.gaps,
            self.exact,
            self.refused,
            self.cuts,
            self.kills,
            self.generations,
            self.lost,
            self.resent,
            self.left_out,
            self.ends,
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

pub(crate) struct Chaos {
    pub(crate) random: Random,
    pub(crate) machines: SimulatedMachines,
    pub(crate) log: Log,
    ids: Ids,
    pub(crate) travellers: Vec<Traveller>,
    pub(crate) tickers: Vec<Ticker>,
    publishers: Publishers,
    /// The number of the process of each machine.
    pub(crate) processes: Vec<usize>,
    pub(crate) stopped: Vec<bool>,
    pub(crate) expected: Expectations,
    /// What may cause a gap, so far.
    pub(crate) incidents: usize,
    /// Nothing that matters is lost in this scenario, so no client may get a gap.
    pub(crate) is_calm: bool,
    outbox_bytes: usize,
    pub(crate) harvest: Harvest,
}

pub(crate) struct Traveller {
    pub(crate) journey: Journey,
    pub(crate) visit: Option<Visit>,
}

#[derive(Clone, Copy)]
pub(crate) struct Visit {
    pub(crate) at: (usize, usize),
    pub(crate) client: Client,
    /// Incidents before it came.
    incidents: usize,
}

impl Chaos {
    fn new(mut random: Random, seed: u64) -> Self {
        let is_calm = random.percent(40);
        let rooms = (0..1 + random.below(4)).map(|number| Room {
            number,
            backpressure: random.pick(&[Backpressure::Disconnect, Backpressure::DropOldest]),
            kind: match random.below(100) {
                0..15 if number > 0 => Kind::State,
                // What is kept nowhere can be lost on the way.
                15..35 if number > 0 && !is_calm => Kind::Plain,
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
        let workers: Vec<_> = (0..2 + random.below(2)).map(|_| 1 + random.below(2)).collect();
        let config = Config::default();
        let mut machines = SimulatedMachines::with_config(&config, seed, &workers, move |_, _| {
            let topics = topics.clone();
            Router::new()
                .get("/", move |req: &Request, _cx: &mut Context<'_>| subscribed(req, &topics))
                .get("/tick", |_req, _cx| ticking())
        });
        let outbox_bytes = random.pick(&[3_000, 20_000, 1 << 24]);
        machines.set_outbox_bytes(outbox_bytes);
        (0..workers.len()).for_each(|machine| machines.kill(machine));
        let tickers = (0..workers.len()).map(|it| Ticker::start(&mut machines, (it, 0))).collect();
        Self {
            random,
            machines,
            log,
            ids: Ids::new(),
            travellers: Vec::new(),
            tickers,
            publishers: Publishers::default(),
            processes: vec![0; workers.len()],
            stopped: vec![false; workers.len()],
            expected: Expectations::default(),
            incidents: 0,
            is_calm,
            outbox_bytes,
            harvest: Harvest::default(),
        }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..35 => self.publish(),
            35..40 => self.set_out(),
            40..55 => self.hop(),
            55..75 => self.break_something(),
            75..78 => self.slow_down_a_client(),
            78..94 => {
                let by = self.random.pick(&[0, 1, 5, 20, 100]);
                self.machines.advance(Duration::from_millis(by));
            }
            94..97 => self.machines.advance(Duration::from_millis(2_500)),
            _ => drop(self.machines.turn_once()),
        }
        if self.random.percent(50) {
            self.machines.turn();
        }
        for machine in 0..self.machines.count() {
            // One publication more, and a quarter that is kept and may have to be sent again.
            let bytes_max = self.outbox_bytes + self.outbox_bytes / 4 + 10_000;
            assert!(self.machines.outbox_bytes(machine) <= bytes_max);
        }
    }

    fn publish(&mut self) {
        let machine = self.random.below(self.machines.count());
        let room = self.random.below(self.log.rooms.len());
        let room = &self.log.rooms[room];
        let process = (machine, self.processes[machine]);
        if room.kind != Kind::Plain && self.random.percent(5) {
            self.publishers.finish(&mut self.machines, &mut self.random, process, room);
        }
        for _ in 0..self.random.pick(&[1, 1, 3]) {
            self.publishers.publish(&mut self.machines, &mut self.random, process, room);
        }
    }

    /// A new client comes for the first time.
    fn set_out(&mut self) {
        let all = self.log.rooms.len();
        let mut rooms: Vec<_> = (0..all).filter(|_| self.random.percent(60)).collect();
        // Without a history, it would have no id.
        if !rooms.contains(&0) {
            rooms.push(0);
        }
        self.travellers.push(Traveller { journey: Journey::new(rooms), visit: None });
        self.visit(self.travellers.len() - 1);
    }

    /// A client is cut anywhere in what it has read, and connects to some machine.
    fn hop(&mut self) {
        if self.travellers.is_empty() {
            return self.set_out();
        }
        let traveller = self.random.below(self.travellers.len());
        self.leave(traveller);
        self.visit(traveller);
    }

    fn leave(&mut self, traveller: usize) {
        let Some(visit) = self.travellers[traveller].visit.take() else { return };
        let mut received = self.machines[visit.at].received(visit.client);
        if self.random.percent(50) {
            received.truncate(self.random.below(received.len() + 1));
        }
        self.machines[visit.at].reset(visit.client);
        self.read(traveller, &received, visit);
    }

    pub(crate) fn read(&mut self, traveller: usize, received: &[u8], visit: Visit) {
        self.log.update(&self.machines);
        let generations = self.machines.generations().len();
        let incidents = self.incidents + generations + self.left_out() - visit.incidents;
        let journey = &mut self.travellers[traveller].journey;
        let gaps = journey.gaps;
        if let Some(mut answer) = ClientResponse::parse(received, Method::Get) {
            if answer.status == 204 {
                self.harvest.away += 1;
                return self.check_that_it_may_stay_away(traveller);
            }
            answer.body = decoders::decoded(&answer);
            let got = (&*answer.events(), &*answer.last_event_id());
            // A machine may have heard of nothing that had happened before.
            journey.follow(&self.log, &mut self.ids, got, incidents + 3);
            self.harvest.exact += u64::from(journey.gaps == gaps);
        }
        let is_calm = !self.is_calm || journey.gaps == 0;
        assert!(is_calm, "a gap for no reason: {:#?}", journey.story);
    }

    fn left_out(&self) -> usize {
        let all = (0..self.machines.count())
            .flat_map(|it| (0..self.machines.workers(it)).map(move |worker| (it, worker)));
        all.map(|at| self.machines.losses(at) as usize).sum()
    }

    pub(crate) fn visit(&mut self, traveller: usize) {
        let machine = self.random.below(self.machines.count());
        let at = (machine, self.random.below(self.machines.workers(machine)));
        let journey = &mut self.travellers[traveller].journey;
        journey.story.push(format!("visit of {at:?} at {:?}", self.machines.now()));
        let rooms: Vec<_> = journey.rooms.iter().map(|it| it.room.to_string()).collect();
        let at_once = rooms.len() - if self.random.percent(80) { 0 } else { rooms.len() / 2 };
        let (rooms, later) = rooms.split_at(at_once);
        self.travellers[traveller].journey.at_once = at_once;
        let journey = &self.travellers[traveller].journey;
        let target = format!("/?rooms={}&later={}", rooms.join(","), later.join(","));
        let client = self.machines[at].connect();
        let coding = self.random.pick(&["identity", "identity", "zstd", "br", "gzip"]);
        let headers = [("Accept-Encoding", coding), ("Last-Event-ID", &*journey.id)];
        let headers = &headers[..if journey.id.is_empty() { 1 } else { 2 }];
        self.machines[at].request(client, Method::Get, &target, headers, b"");
        let generations = self.machines.generations().len();
        let incidents = self.incidents + generations + self.left_out();
        self.travellers[traveller].visit = Some(Visit { at, client, incidents });
        self.harvest.hops += 1;
    }

    fn slow_down_a_client(&mut self) {
        if self.is_calm || self.travellers.is_empty() {
            return;
        }
        let traveller = self.random.below(self.travellers.len());
        let Some(Visit { at, client, .. }) = self.travellers[traveller].visit else { return };
        self.incidents += 1_000;
        let mut faults = Faults::default();
        faults.socket_buffer_bytes = self.random.pick(&[300, 2_000, 64 * 1024]);
        self.machines[at].set_faults(faults);
        match self.random.percent(50) {
            true => self.machines[at].stall(client),
            false => self.machines[at].resume(client),
        }
    }

    /// Before a machine is killed.
    pub(crate) fn leave_machine(&mut self, machine: usize) {
        for traveller in 0..self.travellers.len() {
            if self.travellers[traveller].visit.is_some_and(|visit| visit.at.0 == machine) {
                self.leave(traveller);
            }
        }
        for ticker in self.tickers.extract_if(.., |ticker| ticker.at.0 == machine) {
            ticker.check(&self.machines);
        }
        self.harvest.left_out += (0..self.machines.workers(machine))
            .map(|it| self.machines.losses((machine, it)))
            .sum::<u64>();
        // They are counted by its next process from zero.
        self.incidents += self.left_out();
        self.harvest.cuts += self.machines.cuts(machine);
    }

    /// Everything is repaired, and all clients read to the end.
    fn end(mut self) -> Harvest {
        self.repair();
        self.machines.advance(Duration::from_secs(8));
        // A client that was disconnected comes back.
        for traveller in 0..self.travellers.len() {
            let visit = self.travellers[traveller].visit;
            if visit.is_none_or(|visit| self.is_over(visit)) {
                self.leave(traveller);
                self.visit(traveller);
            }
        }
        self.machines.turn();
        for room in &self.log.rooms {
            let process = (0, self.processes[0]);
            self.publishers.publish_last(&mut self.machines, process, room);
        }
        self.machines.advance(Duration::from_secs(1));
        self.log.update(&self.machines);
        for traveller in 0..self.travellers.len() {
            if let Some(visit) = self.travellers[traveller].visit {
                let received = self.machines[visit.at].received(visit.client);
                self.read(traveller, &received, visit);
                // One that stays away may do so before it has seen the topics of its hook.
                if self.machines[visit.at].response(visit.client).status == 200 {
                    self.travellers[traveller].journey.check_end(&self.log);
                    self.check_that_it_ends(traveller, visit);
                }
            }
            let journey = &self.travellers[traveller].journey;
            self.harvest.events += journey.events as u64;
            self.harvest.gaps += journey.gaps as u64;
        }
        self.tickers.iter().for_each(|ticker| ticker.check(&self.machines));
        self.check_ends();
        self.check_publishers();
        self.count();
        self.harvest
    }

    fn repair(&mut self) {
        self.machines.make_room();
        self.machines.resume_store();
        for machine in 0..self.machines.count() {
            self.machines.resume(machine);
            self.machines.set_store_faults(machine, StoreFaults::default());
            for worker in 0..self.machines.workers(machine) {
                let at = (machine, worker);
                self.machines.set_link_faults(at, LinkFaults::default());
                self.machines.resume_worker(at);
                self.machines[at].set_faults(Faults::default());
            }
        }
        for traveller in &self.travellers {
            if let Some(Visit { at, client, .. }) = traveller.visit {
                self.machines[at].resume(client);
            }
        }
    }

    fn check_publishers(&mut self) {
        let all = 0..self.machines.count();
        let has_sent_all = all.clone().all(|machine| self.machines.has_sent_all(machine));
        assert!(has_sent_all, "something was never sent");
        let living: Vec<_> = all.map(|machine| (machine, self.processes[machine])).collect();
        self.expected.remembers_keys &= self.machines.now() < Duration::from_secs(290);
        self.publishers.check(&self.machines, &living, self.expected);
    }

    fn count(&mut self) {
        self.harvest.left_out += self.left_out() as u64;
        let all = 0..self.machines.count();
        self.harvest.cuts += all.map(|machine| self.machines.cuts(machine)).sum::<u64>();
        self.harvest.ends = self.log.rooms.iter().filter(|room| room.has_ended()).count() as u64;
        self.harvest.refused = self.publishers.refused;
        self.harvest.generations = self.machines.generations().len() as u64 - 1;
        let places = self.machines.places().iter();
        self.harvest.lost = places.filter(|given| given.is_lost()).count() as u64;
        self.harvest.resent = Publishers::resent(&self.machines);
    }
}

impl Harvest {
    pub(crate) fn count_kill(&mut self) {
        self.kills += 1;
    }
}

fn subscribed(req: &Request, topics: &[Topic]) -> Sse {
    let sse = named(req, "rooms", topics)
        .into_iter()
        .fold(Sse::new(), |sse, topic| sse.subscribe(&topic));
    let later = named(req, "later", topics);
    sse.on_connect(move |stream| later.iter().for_each(|topic| assert!(stream.subscribe(topic))))
}

/// The topics whose numbers a request names.
fn named(req: &Request, parameter: &str, topics: &[Topic]) -> Vec<Topic> {
    let numbers = req.query_value(parameter).unwrap_or_default();
    let chosen = |number: &str| Some(topics[number.parse::<usize>().ok()?].clone());
    numbers.split(',').filter_map(chosen).collect()
}
