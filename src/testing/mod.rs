//! Test handlers and streams without sockets and without waiting.
//!
//! A [`Simulation`] drives the same engine as the reactor, with an in-memory network and a clock
//! that jumps. An hour of ticks takes milliseconds, the result is the same on every machine, and a
//! stream that never ends cannot hang a test.
//!
//! ```
//! use starwheel::{Router, Sse, testing::Simulation};
//! use std::time::Duration;
//!
//! let router = Router::new().get("/clock", |_req, _cx| {
//!     let mut count = 0;
//!     Sse::every(Duration::from_secs(1), move |stream| {
//!         count += 1;
//!         stream.send(format_args!("tick {count}"));
//!     })
//! });
//! let mut simulation = Simulation::new(router);
//! let browser = simulation.get("/clock");
//! simulation.advance(Duration::from_secs(3600));
//!
//! let events = simulation.events(browser);
//! assert_eq!(events.len(), 3601);
//! assert_eq!(events[3600].data, "tick 3601");
//! ```

mod call_clock;
mod client_response;
mod connecting;
mod crowd;
mod faults;
mod incoming;
mod links;
mod machine;
mod machines;
mod network;
mod observing;
mod parser;
mod reading;
mod store_link;
mod store_server;
mod workers;

pub use self::{
    call_clock::take_time,
    client_response::{BodyEnd, ClientResponse},
    faults::Faults,
    links::LinkFaults,
    machines::{SimulatedMachines, StoreKey, StoreRestart},
    network::ServerEnd,
    parser::{EventParser, ParsedEvent},
    store_link::StoreFaults,
    store_server::GivenPlace,
    workers::SimulatedWorkers,
};

use std::{fmt, time::Duration};

use self::network::{Crowd, Network, NeverAsleep, SimulatedSocket};
use crate::{
    engine::{Config, Context, Engine, Handle, Handler, Readiness, ShortRead},
    http::Method,
};

/// One engine with its clients and its clock.
///
/// Everything happens in [`advance`](Self::advance) and [`turn`](Self::turn), on the calling
/// thread. See the [module](self) for an example.
pub struct Simulation {
    engine: Engine<SimulatedSocket>,
    network: Network,
    crowd: Crowd,
    /// Total number of crowd clients so far.
    crowd_size: u32,
    /// For each client, its connection in the engine.
    connections: Vec<u32>,
    /// For each client, the methods of its requests through [`Simulation::request`].
    methods: Vec<Vec<Method>>,
    /// For step 2 of the next turn.
    commands: Vec<Command>,
    now_ms: u64,
    turns: u64,
}

type Command = Box<dyn FnOnce(&mut Context<'_>)>;

/// Identifies a client of a [`Simulation`].
///
/// ```
/// # use starwheel::{testing::Simulation, Response, Request, Context};
/// let mut simulation = Simulation::new(|_: &Request, _: &mut Context<'_>| Response::text("hi"));
/// let (anna, ben) = (simulation.connect(), simulation.connect());
/// assert_ne!(anna, ben);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Client(usize);

impl Simulation {
    /// A simulation with default settings and no faults.
    pub fn new(handler: impl Handler + 'static) -> Self {
        Self::with_config(Config::default(), 0, handler)
    }

    /// A simulation with your own settings. `seed` decides when [`Faults`] occur. For event ids,
    /// simulations with different seeds are different processes.
    pub fn with_config(config: Config, seed: u64, handler: impl Handler + 'static) -> Self {
        let mut engine =
            Engine::new(config, format!("sim{seed:x}"), Box::new(NeverAsleep), Box::new(handler));
        engine.set_call_clock(call_clock::nanos);
        engine.begin_turn(0, UNIX_SECONDS_AT_START);
        Self {
            engine,
            network: Network::new(seed),
            crowd: Crowd::default(),
            crowd_size: 0,
            connections: Vec::new(),
            methods: Vec::new(),
            commands: Vec::new(),
            now_ms: 0,
            turns: 0,
        }
    }

    /// Sets the faults that occur from now on.
    pub fn set_faults(&mut self, faults: Faults) {
        self.network.lock().set_faults(faults);
    }

    /// A new client connects and sends a GET request, which is answered in this call.
    pub fn get(&mut self, target: &str) -> Client {
        let client = self.connect();
        self.request(client, Method::Get, target, &[], b"");
        self.turn();
        client
    }

    /// A client sends an HTTP/1.1 request, which is handled in the next turn. `Host` is added, and
    /// `Content-Length` if there is a body. Call it several times for pipelining.
    ///
    /// ```
    /// use starwheel::{Method, Response, Router, testing::Simulation};
    /// let router = Router::new().post("/echo", |req, _cx| Response::text(req.body().to_vec()));
    /// let mut simulation = Simulation::new(router);
    /// let client = simulation.connect();
    /// simulation.request(client, Method::Post, "/echo", &[("Cookie", "id=7")], b"one");
    /// simulation.request(client, Method::Post, "/echo", &[], b"two");
    /// simulation.turn();
    /// let answers = simulation.responses(client);
    /// assert_eq!((answers[0].text(), answers[1].text()), ("one", "two"));
    /// ```
    pub fn request(
        &mut self,
        client: Client,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) {
        self.methods[client.0].push(method);
        let mut bytes = format!("{} {target} HTTP/1.1\r\nHost: test\r\n", method.as_str());
        for (name, value) in headers {
            bytes.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            bytes.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        bytes.push_str("\r\n");
        let mut bytes = bytes.into_bytes();
        bytes.extend_from_slice(body);
        self.send(client, &bytes);
    }

    /// A client sends bytes, which are handled in the next turn. From a [Unix](crate::Peer::Unix) peer
    /// they are a message that carries a descriptor, so a read stops at its end.
    pub fn send(&mut self, client: Client, bytes: &[u8]) {
        self.network.lock().send(client.0, bytes);
    }

    /// A client sends an urgent byte (RFC 6093, `MSG_OOB`). It is separate from the data, but a
    /// read of the server stops before it. On a Unix socket it is an ordinary byte.
    ///
    /// ```
    /// use starwheel::{Response, Router, testing::Simulation};
    /// let router = Router::new().get("/", |_req, _cx| Response::text("hi"));
    /// let mut simulation = Simulation::new(router);
    /// let client = simulation.connect();
    /// simulation.send(client, b"GET / HTTP/1.1\r\n");
    /// simulation.send_urgent(client, b'!');
    /// simulation.send(client, b"Host: test\r\n\r\n");
    /// simulation.turn();
    /// assert_eq!(simulation.response(client).text(), "hi");
    /// ```
    pub fn send_urgent(&mut self, client: Client, byte: u8) {
        self.network.lock().send_urgent(client.0, byte);
    }

    /// A client sends its FIN and continues to read.
    pub fn half_close(&mut self, client: Client) {
        self.network.lock().half_close(client.0);
    }

    /// A client's connection is reset.
    pub fn reset(&mut self, client: Client) {
        self.network.lock().reset(client.0);
    }

    /// A client stops reading: the kernel's buffers fill up.
    pub fn stall(&mut self, client: Client) {
        self.network.lock().set_stalled(client.0, true);
    }

    /// A stalled client reads again.
    pub fn resume(&mut self, client: Client) {
        self.network.lock().set_stalled(client.0, false);
    }

    /// A stalled client reads up to this many of the bytes that the kernel keeps for it, and stalls
    /// again.
    pub fn read_some(&mut self, client: Client, bytes_max: usize) {
        self.network.lock().read_some(client.0, bytes_max);
    }

    /// Runs a closure like [`Handle::run`](crate::Handle::run), and a turn.
    ///
    /// # Panics
    /// When the closure does, so that it may contain assertions. To see what a panic does to a
    /// reactor, use [`queue`](Self::queue).
    #[track_caller]
    pub fn run(&mut self, call: impl FnOnce(&mut Context<'_>)) {
        self.engine.begin_turn(self.now_ms, self.unix_seconds());
        let is_done = self.engine.run(call);
        self.turn();
        assert!(is_done, "the closure has panicked; its message is above");
    }

    /// The context between two turns, like [`Reactor::context`](crate::Reactor::context): at the
    /// current time of the clock. Its effects happen in the next turn.
    ///
    /// ```
    /// use starwheel::{Router, testing::Simulation};
    /// use std::time::Duration;
    /// let mut simulation = Simulation::new(Router::new());
    /// simulation.context().after(Duration::from_secs(1), |cx| cx.shutdown());
    /// simulation.advance(Duration::from_secs(1));
    /// assert!(simulation.is_stopped());
    /// ```
    pub fn context(&mut self) -> Context<'_> {
        self.engine.context(self.now_ms, self.unix_seconds())
    }

    /// Queues a closure for the next turn, like another thread that calls
    /// [`Handle::run`](crate::Handle::run) while this one sleeps.
    ///
    /// ```
    /// use starwheel::{Router, testing::Simulation};
    /// use std::time::Duration;
    /// let mut simulation = Simulation::new(Router::new());
    /// simulation.queue(|cx| assert_eq!(cx.now(), Duration::from_secs(5)));
    /// simulation.pause(Duration::from_secs(5));
    /// ```
    pub fn queue(&mut self, call: impl FnOnce(&mut Context<'_>) + 'static) {
        self.commands.push(Box::new(call));
    }

    /// A handle for other threads, or to test code that takes one. Its commands run in step 2 of
    /// the next turn, and [`Handle::stats`] is as of the last one. Sockets cannot be adopted: they
    /// are closed.
    ///
    /// ```
    /// use starwheel::{Router, Sse, Topic, testing::Simulation};
    /// let news = Topic::new("news");
    /// let watched = news.clone();
    /// let router = Router::new().get("/", move |_req, _cx| Sse::new().subscribe(&watched));
    /// let mut simulation = Simulation::new(router);
    /// let reader = simulation.get("/");
    /// simulation.handle().publish(&news, "to everybody").unwrap();
    /// simulation.turn();
    /// assert_eq!(simulation.events(reader)[0].data, "to everybody");
    /// ```
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.engine.handle()
    }

    /// Runs turns without moving the clock until there is no work left.
    ///
    /// # Panics
    /// When the work never ends: the engine spins.
    pub fn turn(&mut self) {
        for _ in 0..TURNS_AT_ONE_TIME_MAX {
            if !self.turn_once() {
                return;
            }
        }
        panic!("the engine spins: {TURNS_AT_ONE_TIME_MAX} turns at {:?}", self.now());
    }

    /// Runs exactly one turn; true when the next one already has work.
    pub fn turn_once(&mut self) -> bool {
        self.turns += 1;
        self.engine.begin_turn(self.now_ms, self.unix_seconds());
        for call in std::mem::take(&mut self.commands) {
            let _panicked = self.engine.run(call);
        }
        self.engine.obey_commands(|engine, adoption| {
            let (_socket, _client, first) = engine.take_apart(adoption);
            engine.discard(first);
        });
        let events = self.network.lock().take_events();
        for event in events {
            let readiness = Readiness {
                readable: event.readable,
                writable: event.writable,
                short_read: match event.read_on {
                    true => ShortRead::MayBeFollowed,
                    false => ShortRead::IsLast,
                },
            };
            // If the index now belongs to a newer wire, this one is closed.
            let index = self.connections[event.wire];
            let closed = self.network.lock().wires[event.wire].is_closed();
            if !closed {
                self.engine.ready(index, readiness);
            }
        }
        self.engine.end_turn();
        if self.engine.has_handles() {
            self.engine.publish_stats();
            if self.engine.is_stopped() {
                self.engine.close_mailbox();
            }
        } else {
            self.engine.refresh_stats();
        }
        let has_commands = self.engine.mailbox().depth() > 0;
        has_commands || self.engine.has_pending() || self.network.lock().has_events()
    }

    /// Moves the clock, and runs a turn at every deadline on the way, like the reactor.
    pub fn advance(&mut self, by: Duration) {
        let until_ms = self.now_ms + u64::try_from(by.as_millis()).unwrap_or(u64::MAX / 2);
        self.turn();
        while let Some(deadline_ms) = self.engine.next_deadline()
            && deadline_ms <= until_ms
        {
            self.now_ms = self.now_ms.max(deadline_ms);
            self.turn();
        }
        self.now_ms = until_ms;
        self.turn();
    }

    /// The process is suspended for a while: the clock moves, and no turn runs.
    pub fn pause(&mut self, length: Duration) {
        self.jump(length);
        self.turn();
    }

    /// Moves the clock without a turn, for tests that then check single turns.
    pub fn jump(&mut self, length: Duration) {
        self.now_ms += u64::try_from(length.as_millis()).unwrap_or(u64::MAX / 2);
    }

    /// Drains like [`Handle::drain`](crate::Handle::drain); advance the clock to complete it.
    pub fn drain(&mut self, window: Duration) {
        self.tell_time();
        self.engine.drain(window);
        self.turn();
    }

    /// Shuts down like [`Handle::shutdown`](crate::Handle::shutdown).
    pub fn shutdown(&mut self) {
        self.engine.shutdown();
        self.turn();
    }

    /// Sets the engine's time between two turns.
    fn tell_time(&mut self) {
        self.engine.tell_time(self.now_ms, self.unix_seconds());
    }

    fn unix_seconds(&self) -> u64 {
        UNIX_SECONDS_AT_START + self.now_ms / 1000
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("now_ms", &self.now_ms)
            .field("stats", self.stats())
            .finish_non_exhaustive()
    }
}

/// More than any test needs, and few enough to fail quickly.
const TURNS_AT_ONE_TIME_MAX: u32 = 1_000_000;
/// 2026-01-01 00:00:00 UTC.
const UNIX_SECONDS_AT_START: u64 = 1_767_225_600;
