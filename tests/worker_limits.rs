//! Limits and look-ups of several workers, against a model.

#[path = "support/random.rs"]
mod random;
#[path = "support/story.rs"]
mod story;

use std::{cell::RefCell, rc::Rc};

use random::Random;
use starwheel::{
    Config, Ending, Method, Peer, Router, Sse, StreamId, TagOverflow, Topic, TrustedPeers,
    testing::{BodyEnd, Client, SimulatedWorkers, Simulation},
};
use story::{Diary, HOUR};

const WORKERS: usize = 3;
const TOTAL: usize = 14;
const PER_ADDRESS: usize = 5;
const PER_TAG: usize = 2;
const TAGS: [&str; 3] = ["anna", "bert", "cleo"];

fn config(tag_overflow: TagOverflow) -> Config {
    let mut config = Config::default();
    let limits = &mut config.limits;
    limits.connections = Some(TOTAL);
    limits.connections_per_ip = Some(PER_ADDRESS);
    limits.streams_per_tag = Some(PER_TAG);
    limits.tag_overflow = tag_overflow;
    // Connections end only because a client or a limit ends them.
    (limits.first_request_timeout, limits.idle_timeout) = (HOUR, HOUR);
    config
}

fn room() -> Topic {
    Topic::new("room")
}

/// Streams in the order of their births on any worker.
type Born = Rc<RefCell<Vec<StreamId>>>;

/// `/anna` and so on: a stream with this tag.
fn router(born: &Born) -> Router {
    TAGS.iter().fold(Router::new(), |router, tag| {
        let born = Rc::clone(born);
        router.get(&format!("/{tag}"), move |_req, _cx| {
            let born = Rc::clone(&born);
            let note =
                move |stream: &mut starwheel::Stream<'_>| born.borrow_mut().push(stream.id());
            Sse::new().tag(*tag).subscribe(&room()).on_connect(note)
        })
    })
}

/// A connection that was admitted, as long as the server holds it.
struct Visitor {
    worker: usize,
    client: Client,
    address: usize,
    is_leaving: bool,
}

/// What a client asked for, and has no answer to yet.
struct Request {
    worker: usize,
    client: Client,
    tag: usize,
    /// The status of one that was not admitted.
    rejected: Option<u16>,
}

/// An open stream: of which connection, and which of all births.
#[derive(Debug, Clone, Copy)]
struct Open {
    worker: usize,
    client: Client,
    birth: usize,
}

/// Workers, and what should be true of them.
struct Story {
    workers: SimulatedWorkers,
    random: Random,
    replaces: bool,
    born: Born,
    births: usize,
    replaced: usize,
    refused: [u64; 2],
    visitors: Vec<Visitor>,
    requests: Vec<Request>,
    /// The streams of each tag, the oldest first.
    open: [Vec<Open>; TAGS.len()],
    has_ended: [bool; WORKERS],
}

impl Story {
    fn new(seed: u64) -> Self {
        let replaces = seed % 2 == 1;
        let overflow = if replaces { TagOverflow::ReplaceOldest } else { TagOverflow::Refuse };
        let born = Born::default();
        let workers =
            SimulatedWorkers::with_config(&config(overflow), seed, WORKERS, |_| router(&born));
        Self {
            workers,
            random: Random::new(seed),
            replaces,
            born,
            births: 0,
            replaced: 0,
            refused: [0; 2],
            visitors: Vec::new(),
            requests: Vec::new(),
            open: Default::default(),
            has_ended: [false; WORKERS],
        }
    }

    fn round(&mut self) {
        for _ in 0..self.random.below(6) {
            match self.random.below(10) {
                0..6 => self.come(),
                6..9 => self.leave(),
                _ => self.close_tag(),
            }
        }
        // The last one stays.
        let last = self.has_ended.iter().filter(|ended| !**ended).count() == 1;
        if !last && self.random.below(100) == 0 {
            self.end_worker();
        }
        let first = self.random.below(WORKERS);
        let mut is_settled = true;
        for worker in (first..WORKERS).chain(0..first) {
            if self.has_ended[worker] {
                continue;
            }
            match self.random.percent(80) {
                true => self.turn(worker),
                false => is_settled = false,
            }
        }
        self.assert_listed();
        if is_settled {
            self.workers.turn();
            self.assert_settled();
        }
    }

    fn come(&mut self) {
        let (worker, address, tag) =
            (self.random.below(WORKERS), self.random.below(4), self.random.below(TAGS.len()));
        if self.has_ended[worker] {
            return;
        }
        let of_address = self.visitors.iter().filter(|it| it.address == address).count();
        let rejected = match (of_address >= PER_ADDRESS, self.visitors.len() >= TOTAL) {
            (true, _) => Some(429),
            (false, true) => Some(503),
            (false, false) => None,
        };
        let peer = Peer::Ip(format!("192.0.2.{address}:1").parse().unwrap());
        let client = self.workers[worker].connect_from(peer);
        if rejected.is_none() {
            self.visitors.push(Visitor { worker, client, address, is_leaving: false });
        }
        if rejected.is_some() || self.random.percent(80) {
            let target = format!("/{}", TAGS[tag]);
            self.workers[worker].request(client, Method::Get, &target, &[], b"");
            self.requests.push(Request { worker, client, tag, rejected });
        }
    }

    fn leave(&mut self) {
        let asks = |client| self.requests.iter().any(|request| request.client == client);
        let can_leave = |it: &&mut Visitor| !it.is_leaving && !asks(it.client);
        let candidates: Vec<_> = self.visitors.iter_mut().filter(can_leave).collect();
        if candidates.is_empty() {
            return;
        }
        let nth = self.random.below(candidates.len());
        let visitor = candidates.into_iter().nth(nth).unwrap();
        visitor.is_leaving = true;
        let simulation = &mut self.workers[visitor.worker];
        match self.random.percent(50) {
            true => simulation.half_close(visitor.client),
            false => simulation.reset(visitor.client),
        }
    }

    fn close_tag(&mut self) {
        let (tag, worker) = (self.random.below(TAGS.len()), self.random.below(WORKERS));
        let ending = if self.random.percent(50) { Ending::Drop } else { Ending::Finish };
        let streams = std::mem::take(&mut self.open[tag]).len();
        if self.has_ended[worker] || self.random.percent(50) {
            self.workers.handle_of_all().close_tagged(TAGS[tag], ending).unwrap();
        } else {
            let mut context = self.workers[worker].context();
            assert_eq!(context.close_tagged_on_all(TAGS[tag], ending), streams);
        }
    }

    /// All that was of it is gone, as after a panic.
    fn end_worker(&mut self) {
        let worker = self.random.below(WORKERS);
        if self.has_ended[worker] {
            return;
        }
        self.workers[worker] = Simulation::new(Router::new());
        self.has_ended[worker] = true;
        self.visitors.retain(|visitor| visitor.worker != worker);
        self.requests.retain(|request| request.worker != worker);
        self.open.iter_mut().for_each(|open| open.retain(|it| it.worker != worker));
    }

    /// A worker takes its turns: ends come before births, and these in the order of the requests.
    fn turn(&mut self, worker: usize) {
        self.workers[worker].turn();
        let leaving: Vec<_> = self.visitors.iter().filter(|it| it.is_leaving).collect();
        for open in &mut self.open {
            open.retain(|it| {
                !leaving.iter().any(|gone| (gone.worker, gone.client) == (worker, it.client))
                    || it.worker != worker
            });
        }
        let requests = std::mem::take(&mut self.requests);
        let (now, later) = requests.into_iter().partition(|it| it.worker == worker);
        self.requests = later;
        for request in now {
            let status = request.rejected.unwrap_or_else(|| self.expect_stream(&request));
            let answer = self.workers[worker].response(request.client);
            assert_eq!(answer.status, status, "{}", answer.text());
            self.refused[0] += u64::from(status == 429);
            self.refused[1] += u64::from(status == 503);
        }
        let (visitors, workers) = (&mut self.visitors, &self.workers);
        visitors.retain(|it| it.worker != worker || workers[worker].is_open(it.client));
    }

    /// The status of a stream's response.
    fn expect_stream(&mut self, request: &Request) -> u16 {
        let open = &mut self.open[request.tag];
        if open.len() >= PER_TAG {
            if !self.replaces {
                return 429;
            }
            open.remove(0);
            self.replaced += 1;
        }
        let (worker, client) = (request.worker, request.client);
        open.push(Open { worker, client, birth: self.births });
        self.births += 1;
        200
    }

    /// The list of all workers is exact at any time, and never longer than the limit.
    fn assert_listed(&mut self) {
        assert_eq!(self.born.borrow().len(), self.births);
        for (tag, open) in TAGS.iter().zip(&self.open) {
            let expected: Vec<_> = open.iter().map(|it| self.born.borrow()[it.birth]).collect();
            assert!(expected.len() <= PER_TAG);
            for worker in (0..WORKERS).filter(|worker| !self.has_ended[*worker]) {
                let context = self.workers[worker].context();
                assert_eq!(context.tagged_on_all(tag), expected, "{tag}");
            }
        }
    }

    /// Every worker has done what the others have asked it for.
    fn assert_settled(&mut self) {
        let streams: usize = self.open.iter().map(Vec::len).sum();
        let running = || (0..WORKERS).filter(|worker| !self.has_ended[*worker]);
        let sum = |of: fn(&starwheel::Stats) -> u64| {
            running().map(|worker| of(self.workers[worker].stats())).sum::<u64>() as usize
        };
        assert_eq!(sum(|stats| stats.streams), streams);
        if running().count() == WORKERS {
            assert_eq!(sum(|stats| stats.closed.replaced), self.replaced);
        }
        let running: Vec<_> = running().collect();
        for worker in running {
            for (tag, open) in TAGS.iter().zip(&self.open) {
                let own = open.iter().filter(|it| it.worker == worker);
                let own: Vec<_> = own.map(|it| self.born.borrow()[it.birth]).collect();
                assert_eq!(self.workers[worker].context().tagged(tag), own);
            }
            let own = self.open.iter().flatten().filter(|it| it.worker == worker).count();
            let context = self.workers[worker].context();
            assert_eq!(context.subscribers(&room()), own);
            assert_eq!(context.subscribers_on_all(&room()), streams);
        }
    }

    /// All leave, and there is room for as many as at the beginning.
    fn end(&mut self) {
        for visitor in self.visitors.drain(..) {
            self.workers[visitor.worker].reset(visitor.client);
        }
        self.requests.clear();
        self.workers.turn();
        self.open = Default::default();
        self.births = self.born.borrow().len();
        self.assert_listed();
        let worker = self.has_ended.iter().position(|ended| !ended).unwrap();
        for place in 0..=TOTAL {
            let peer = Peer::Ip(format!("198.51.100.{place}:1").parse().unwrap());
            let client = self.workers[worker].connect_from(peer);
            self.workers[worker].request(client, Method::Get, "/nowhere", &[], b"");
            self.workers[worker].turn();
            let status = if place < TOTAL { 404 } else { 503 };
            assert_eq!(self.workers[worker].response(client).status, status, "place {place}");
        }
    }
}

#[test]
fn limits_and_lookups_of_all_workers_are_as_in_the_model() {
    let (mut replaced, mut refused, mut ended) = (0, [0; 2], 0);
    for seed in 0..200 {
        let mut story = Story::new(seed);
        (0..150).for_each(|_| story.round());
        story.end();
        replaced += story.replaced;
        refused[0] += story.refused[0];
        refused[1] += story.refused[1];
        ended += story.has_ended.iter().filter(|ended| **ended).count();
    }
    assert!(replaced > 1_000 && refused[0] > 1_000 && refused[1] > 1_000 && ended > 50);
}

#[test]
fn a_stream_on_a_worker_that_is_held_up_is_replaced_once_and_ends_later() {
    let diary = Diary::default();
    let mut config = config(TagOverflow::ReplaceOldest);
    config.limits.connections_per_ip = None;
    let mut workers = SimulatedWorkers::with_config(&config, 0, 2, {
        let diary = diary.clone();
        move |_worker| {
            let diary = diary.clone();
            Router::new().get("/", move |_req, _cx| {
                let diary = diary.clone();
                let note = move |_: &mut starwheel::Context<'_>, _id, reason| diary.note(reason);
                Sse::new().tag("anna").send("born").on_disconnect(note)
            })
        }
    });
    let old = [(); 2].map(|()| workers[1].get("/"));
    workers.stop(1);
    let new = [(); 3].map(|()| workers[0].get("/"));
    workers.turn();
    assert_eq!((workers[0].stats().streams, workers[1].stats().streams), (2, 2));
    assert_eq!(workers[0].stats().closed.replaced, 1, "of its own streams");
    assert_eq!(workers[0].context().tagged_on_all("anna").len(), 2);
    workers.resume(1);
    workers.turn();
    assert_eq!(diary.read(), ["replaced by a newer stream with the same tag"; 3]);
    for client in old {
        let answer = workers[1].response(client);
        assert_eq!(
            (answer.end, answer.last_event_id().as_str()),
            (BodyEnd::Complete, "starwheel-replaced")
        );
        // An `EventSource` asks another worker, and stops.
        let fields = [("Last-Event-ID", "starwheel-replaced")];
        let again = workers[0].connect();
        workers[0].request(again, Method::Get, "/", &fields, b"");
        workers.turn();
        assert_eq!(workers[0].response(again).status, 204);
    }
    let open = |client: &Client| workers[0].response(*client).end == BodyEnd::Open;
    assert_eq!(new.iter().map(open).collect::<Vec<_>>(), [false, true, true]);
}

#[test]
fn clients_of_proxies_and_balancers_count_on_all_workers() {
    let mut config = config(TagOverflow::Refuse);
    config.limits.connections_per_ip = Some(1);
    config.trusted_proxies = TrustedPeers::networks(["10.0.0.0/8"]).unwrap();
    let mut workers = SimulatedWorkers::with_config(&config, 0, 2, |_| router(&Born::default()));
    let proxy: Peer = Peer::Ip("10.0.0.1:4711".parse().unwrap());
    let ask = |workers: &mut SimulatedWorkers, worker: usize, tag: &str| {
        let simulation = &mut workers[worker];
        let client = simulation.connect_from(proxy);
        let fields = [("X-Forwarded-For", "192.0.2.7")];
        simulation.request(client, Method::Get, &format!("/{tag}"), &fields, b"");
        simulation.turn();
        (client, simulation.response(client).status)
    };
    let (first, status) = ask(&mut workers, 0, "anna");
    assert_eq!(status, 200);
    assert_eq!(ask(&mut workers, 1, "bert").1, 429);
    // The same client, through a balancer.
    let announced = |workers: &mut SimulatedWorkers, worker: usize| {
        let balancers = TrustedPeers::networks(["10.0.0.0/8"]).unwrap();
        let client = workers[worker].connect_with_proxy_protocol(proxy, &balancers);
        workers[worker].send(client, b"PROXY TCP4 192.0.2.7 10.0.0.9 4712 80\r\n");
        workers[worker].request(client, Method::Get, "/nowhere", &[], b"");
        workers.turn();
        (client, workers[worker].response(client).status)
    };
    assert_eq!(announced(&mut workers, 1).1, 429);
    workers[0].reset(first);
    workers.turn();
    let (second, status) = announced(&mut workers, 1);
    assert_eq!(status, 404);
    assert_eq!(ask(&mut workers, 0, "anna").1, 429);
    workers[1].reset(second);
    workers.turn();
    assert_eq!(ask(&mut workers, 0, "anna").1, 200);
}

#[test]
fn topics_with_equal_names_are_counted_over_all_workers_also_if_they_are_local() {
    let mut workers = SimulatedWorkers::new(2, |_worker| {
        Router::new().get("/", |_req, _cx| Sse::new().subscribe(&Topic::new("load").local()))
    });
    let local = Topic::new("load").local();
    let clients = [0, 1, 1].map(|worker| (worker, workers[worker].get("/")));
    let mut seen = [0; 2];
    workers[0].run(|cx| seen = [cx.subscribers(&local), cx.subscribers_on_all(&local)]);
    assert_eq!(seen, [1, 3]);
    let mut left = 3;
    for (worker, client) in clients {
        workers[worker].reset(client);
        workers[worker].turn();
        left -= 1;
        assert_eq!(workers[1].context().subscribers_on_all(&local), left);
    }
    let mut unsubscribed = Simulation::new(Router::new().get("/", |_req, _cx| Sse::new()));
    unsubscribed.get("/");
    unsubscribed.run(|cx| assert_eq!(cx.subscribers_on_all(&Topic::new("none")), 0));
}
