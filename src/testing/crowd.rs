//! Large numbers of minimal clients.

use std::net::Ipv4Addr;

use super::{Simulation, network::SimulatedSocket};
use crate::{engine::Opening, http::Peer};

impl Simulation {
    /// Opens `count` connections that send one request each, then read and discard everything. No
    /// faults apply to them, and only two totals are kept, so a million of them cost what the
    /// engine needs plus 24 bytes each.
    ///
    /// Each connects from a different address. `head` is the request's head without the `Host` line
    /// and the empty line.
    ///
    /// ```
    /// use starwheel::{Router, Sse, testing::Simulation};
    /// use std::time::Duration;
    ///
    /// let router = Router::new().get("/clock", |_req, _cx| {
    ///     Sse::every(Duration::from_secs(1), |stream| stream.send("tick"))
    /// });
    /// let mut simulation = Simulation::new(router);
    /// simulation.crowd(10_000, "GET /clock HTTP/1.1\r\nAccept-Encoding: identity");
    /// assert_eq!(simulation.stats().streams, 10_000);
    ///
    /// let before = simulation.crowd_writes();
    /// simulation.advance(Duration::from_secs(3));
    /// assert_eq!(simulation.crowd_writes() - before, 30_000);
    /// ```
    pub fn crowd(&mut self, count: usize, head: &str) {
        let request = format!("{head}\r\nHost: test\r\n\r\n");
        self.tell_time();
        for nth in 0..count {
            let socket = SimulatedSocket::Crowd(self.crowd.clone());
            let ip = Ipv4Addr::from_bits(CROWD_NETWORK | self.crowd_size & 0x00ff_ffff);
            self.crowd_size += 1;
            // A connection over the limit is reset and not served.
            let peer = Peer::Ip((ip, 1024).into());
            if let Some(index) = self.engine.accept(socket, peer, Opening::Request) {
                self.engine.feed(index, request.as_bytes());
            }
            if (nth + 1) % ACCEPTED_PER_TURN == 0 {
                self.turn();
            }
        }
        self.turn();
    }

    /// Number of server writes that the crowds have received.
    #[must_use]
    pub fn crowd_writes(&self) -> u64 {
        self.crowd.writes()
    }

    /// Number of bytes that the crowds have received.
    #[must_use]
    pub fn crowd_bytes(&self) -> u64 {
        self.crowd.bytes()
    }
}

/// 10.0.0.0/8.
const CROWD_NETWORK: u32 = 10 << 24;
/// As in the reactor.
const ACCEPTED_PER_TURN: usize = 128;
