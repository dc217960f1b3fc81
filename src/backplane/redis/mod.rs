//! The connections of a process to its Redis.
//!
//! ```text
//!   Membership ──► Thread: one poller, one phase at a time ──► Socket (TCP, Unix, TLS)
//!                    ├── Query: asks a Sentinel for the address of the master
//!                    └── Pair: two connections to one server
//!                          ├── the writer: Greet, Append, Recall, several on their way
//!                          └── the reader: Read, one at a time
//! ```
//!
//! Both connections log in, make sure that the server is a master, and learn which life of the server
//! it is. From then on, requests are written and their replies read, in order. Every failure ends both
//! connections, and another attempt follows. What was not answered then is lost, and the member sends
//! it again.
//!
//! `address`, `frames`, `exchange`, `handshake`, `connection`, `pair` and `sentinel` know no sockets and
//! no clock: bytes and `now` come in as arguments. They do not know what a request means: a
//! [`Codec`] writes requests (`commands`) and reads replies (`replies`). What the store does is in
//! `namespace.lua`.

mod address;
mod codec;
mod commands;
#[cfg(test)]
mod conformance;
mod connection;
mod down;
mod exchange;
mod frames;
mod handshake;
#[cfg(test)]
mod live_tests;
mod membership;
mod pair;
mod reconnecting;
mod replies;
mod route;
#[cfg(test)]
mod scripted_tests;
mod sentinel;
mod socket;
#[cfg(test)]
mod test_support;
mod thread;
#[cfg(feature = "redis-tls")]
mod tls;
#[cfg(not(feature = "redis-tls"))]
#[path = "no_tls.rs"]
mod tls;
mod wake;

use std::{sync::Arc, time::Duration};

use redis_protocol::resp2::types::OwnedFrame;

use self::{
    address::Address,
    codec::{Codec, ReplyError, Server},
    commands::{SCRIPT, Session},
    down::Down,
    membership::Membership,
    replies::decode,
    thread::{Link, Settings},
    wake::Wake,
};
use super::{
    BackplaneError,
    namespace::{Bell, GRACE, Namespace},
};
use crate::{
    reactor::draw_epoch,
    span::{
        MemberSettings,
        protocol::{Reply, Request},
    },
};

/// Connects a process with the store of its namespace.
pub(super) fn connect(
    options: &Options,
    namespace_name: &str,
    settings: MemberSettings,
    namespace: &Namespace,
) -> Result<(), BackplaneError> {
    // Another one in each life of a process: its batches count from 1.
    let member = draw_epoch()?;
    let client_name = format!("starwheel-{member}");
    let codec = Session::new(namespace_name, &member, &draw_epoch()?);
    let Options { address, tls_roots, tls_name } = options.clone();
    let link = Link::new(Settings { address, client_name, tls_roots, tls_name }, Box::new(codec))?;
    namespace.move_to_store(settings, Arc::new(link.wake()))?;
    namespace.set_thread(link.start(Arc::new(namespace.clone()))?);
    Ok(())
}

/// Where the store is.
#[derive(Debug, Clone)]
pub(super) struct Options {
    address: Address,
    /// Certificates in PEM.
    tls_roots: Option<Vec<u8>>,
    tls_name: Option<String>,
}

impl Options {
    pub(super) fn parse(address: &str) -> Result<Self, BackplaneError> {
        let address = Address::parse(address);
        let address = address.map_err(|error| BackplaneError::Address(error.to_string().into()))?;
        Ok(Self { address, tls_roots: None, tls_name: None })
    }

    #[cfg(feature = "redis-tls")]
    pub(super) fn trust(&mut self, pem: Vec<u8>) {
        self.tls_roots = Some(pem);
    }

    #[cfg(feature = "redis-tls")]
    pub(super) fn expect_name(&mut self, name: &str) {
        self.tls_name = Some(name.to_owned());
    }
}

impl Bell for Wake {
    fn ring(&self) {
        self.wake();
    }

    fn ring_for_the_end(&self) {
        self.end();
    }
}

impl Membership for Namespace {
    fn connected(&self) {
        self.connected();
    }

    fn disconnected(&self, why: Down) {
        if why == Down::TooLarge {
            self.read_less();
        }
        self.disconnected(&why);
    }

    fn next_request(&self) -> Option<Request> {
        self.next_request()
    }

    fn next_read(&self) -> Option<Request> {
        self.next_read()
    }

    fn answered(&self, reply: Reply) {
        self.answered(reply);
    }

    fn next_deadline(&self) -> Option<Duration> {
        self.next_deadline()
    }

    fn is_over(&self) -> bool {
        self.is_over()
    }

    fn is_drained(&self) -> bool {
        self.is_drained()
    }
}

impl Codec for Session {
    fn script(&self) -> &str {
        SCRIPT
    }

    fn encode(&self, request: &Request, server: &Server, out: &mut Vec<u8>) {
        self.encode(request, server, out);
    }

    fn decode(&self, request: &Request, frame: OwnedFrame) -> Result<Reply, ReplyError> {
        decode(request, &frame)
    }
}
