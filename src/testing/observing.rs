//! What a test can see of a simulation.

use std::time::Duration;

use super::{Client, ParsedEvent, ServerEnd, Simulation};
use crate::engine::Stats;

impl Simulation {
    /// Time since the start.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_millis(self.now_ms)
    }

    /// The engine's statistics.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        self.engine.stats()
    }

    /// The events that a client has read, as a browser would dispatch them.
    ///
    /// # Panics
    /// As [`response`](Self::response).
    #[must_use]
    pub fn events(&self, client: Client) -> Vec<ParsedEvent> {
        self.response(client).events()
    }

    /// The `Last-Event-ID` that a client would send if it reconnected now; empty if none. An id
    /// without an event counts too.
    ///
    /// ```
    /// use starwheel::{testing::Simulation, Event, Router, Sse, StatusCode};
    /// let mut simulation = Simulation::new(Router::new().get("/", |_req, _cx| {
    ///     Ok(Sse::new().send(Event::id_only(7).map_err(|_| starwheel::Response::error(StatusCode::INTERNAL_SERVER_ERROR, "id"))?))
    /// }));
    /// let client = simulation.get("/");
    /// assert_eq!(simulation.last_event_id(client), "7");
    /// ```
    ///
    /// # Panics
    /// As [`response`](Self::response).
    #[must_use]
    pub fn last_event_id(&self, client: Client) -> String {
        self.response(client).last_event_id()
    }

    /// Whether the server still holds its end of the connection. It may already have sent its FIN.
    #[must_use]
    pub fn is_open(&self, client: Client) -> bool {
        !self.network.lock().wires[client.0].is_closed()
    }

    /// Number of server writes that have reached a client, of any size.
    #[must_use]
    pub fn writes(&self, client: Client) -> u64 {
        self.network.lock().wires[client.0].writes
    }

    /// Number of attempts of the server to read from a client: system calls, if it were a socket.
    #[must_use]
    pub fn reads(&self, client: Client) -> u64 {
        self.network.lock().wires[client.0].reads
    }

    /// Turns so far: the wake-ups of a real reactor.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.turns
    }

    /// True when a shutdown or drain is complete.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.engine.is_stopped()
    }

    /// How the server's side of a connection ended, if it has.
    #[must_use]
    pub fn server_end(&self, client: Client) -> Option<ServerEnd> {
        self.network.lock().wires[client.0].server_end
    }
}
