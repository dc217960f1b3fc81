//! What clients have read: bytes and responses.

use super::{Client, ClientResponse, Simulation};
use crate::http::Method;

impl Simulation {
    /// Every byte that a client has read so far.
    #[must_use]
    pub fn received(&self, client: Client) -> Vec<u8> {
        self.network.lock().wires[client.0].received.clone()
    }

    /// The same, and discards it.
    pub fn take_received(&mut self, client: Client) -> Vec<u8> {
        self.network.lock().take_received(client.0)
    }

    /// Discards what a client has read so far.
    pub fn forget_received(&mut self, client: Client) {
        self.network.lock().wires[client.0].received.clear();
    }

    /// The first response that a client has read, without its framing.
    ///
    /// # Panics
    /// When the head is incomplete or not HTTP: that is what a test wants to know.
    #[must_use]
    pub fn response(&self, client: Client) -> ClientResponse {
        let received = self.received(client);
        ClientResponse::parse(&received, self.method(client, 0)).unwrap_or_else(|| {
            panic!("no complete head in {:?}", String::from_utf8_lossy(&received))
        })
    }

    /// All responses that a client has read, without interim ones (1xx); only the last may be
    /// incomplete. Responses to requests that were not made with [`get`](Self::get) or
    /// [`request`](Self::request) are parsed as responses to GET.
    ///
    /// # Panics
    /// When something in between is not HTTP.
    #[must_use]
    pub fn responses(&self, client: Client) -> Vec<ClientResponse> {
        let mut answers = Vec::new();
        let mut bytes = self.received(client);
        while let Some(mut answer) =
            ClientResponse::parse(&bytes, self.method(client, answers.len()))
        {
            bytes = std::mem::take(&mut answer.rest);
            if !answer.is_interim() {
                answers.push(answer);
            }
        }
        answers
    }

    fn method(&self, client: Client, number: usize) -> Method {
        self.methods[client.0].get(number).copied().unwrap_or(Method::Get)
    }
}
