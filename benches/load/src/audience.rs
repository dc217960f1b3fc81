//! A server, its subscribers, and the one who publishes to them.

use std::time::{Duration, Instant};

use crate::{
    Result,
    clients::Clients,
    publisher::Publisher,
    receipts::Receipts,
    server::{Cores, Program, Server},
};

pub struct Audience {
    server: Server,
    clients: Clients,
    publisher: Publisher,
    receipts: Receipts,
}

impl Audience {
    /// Starts the server and opens `streams` streams on `/topic`.
    pub fn gather(program: &Program, cores: Cores, streams: usize, bytes: usize) -> Result<Self> {
        let server = Server::start(program, cores)?;
        let mut clients = Clients::new(server.address())?;
        clients.open(streams, "/topic", Duration::ZERO, |_| {})?;
        let publisher = Publisher::connect(server.address(), bytes)?;
        let receipts = Receipts::new(streams);
        let mut audience = Self { server, clients, publisher, receipts };
        for _ in 0..WARM_UP_PUBLISHES {
            audience.publish(1)?;
        }
        Ok(audience)
    }

    /// Publishes `count` events in one write, waits until everybody has got them, and tells how
    /// long each delivery took, in nanoseconds.
    pub fn publish(&mut self, count: usize) -> Result<Vec<u64>> {
        self.publisher.publish(count, &mut self.receipts)?;
        let mut delays_ns = Vec::with_capacity(self.receipts.missing());
        self.clients.run_while(Instant::now() + DELIVERY_TIMEOUT, |arrival| {
            delays_ns.push(arrival.arrived_ns.saturating_sub(arrival.sent_ns));
            self.receipts.enter(arrival)
        })?;
        self.receipts.check()?;
        self.publisher.take_answers(count)?;
        Ok(delays_ns)
    }

    /// The server's time on a CPU, once it has gone to sleep: the kernel does not count the
    /// present slice of a thread that runs. Whatever arrives meanwhile has not been published.
    pub fn cpu_ns(&mut self) -> Result<u64> {
        self.clients.run_until(Instant::now() + FALL_ASLEEP, |arrival| {
            self.receipts.enter(arrival);
        })?;
        self.receipts.check()?;
        self.server.cpu_ns()
    }
}

const WARM_UP_PUBLISHES: usize = 3;
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(20);
const FALL_ASLEEP: Duration = Duration::from_millis(3);
/// What the floor takes.
pub const EVENT_BYTES_MAX: usize = 100_000;
