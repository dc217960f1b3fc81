//! The simulated connections of one process with the store, with faults.

use std::{collections::VecDeque, time::Duration};

use super::{
    links::Link,
    network::Random,
    store_server::{Ghost, Server},
};
use crate::{
    span::{
        Member,
        protocol::{Reply, Request},
    },
    time::millis,
};

/// Faults of the connections between one machine of
/// [`SimulatedMachines`](super::SimulatedMachines) and the store; none by default.
///
/// ```
/// use starwheel::testing::StoreFaults;
/// use std::time::Duration;
/// let mut faults = StoreFaults::default();
/// faults.delay_max = Duration::from_millis(20);
/// faults.cuts_percent = 1;
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StoreFaults {
    /// Each request and each reply arrives up to this much later than it could have. Their order
    /// stays.
    pub delay_max: Duration,
    /// Requests and replies that find the connection cut. Requests on the way at that moment are lost
    /// from some point on; the others may arrive when the next connection is in use already. Replies
    /// on the way are lost.
    pub cuts_percent: u8,
    /// A cut connection is replaced after up to this time. 100 ms by default.
    pub reconnect_max: Duration,
}

impl Default for StoreFaults {
    fn default() -> Self {
        Self {
            delay_max: Duration::ZERO,
            cuts_percent: 0,
            reconnect_max: Duration::from_millis(100),
        }
    }
}

/// One connection for requests that are answered at once, and one for `Read`.
#[derive(Debug)]
pub(super) struct Connection {
    member: String,
    faults: StoreFaults,
    random: Random,
    now_ms: u64,
    state: State,
    writing: Channel,
    reading: Channel,
    /// A `Read` that waits at the store, and since when.
    held: Option<(u64, Request)>,
    pub(super) cuts: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Down {
        until_ms: u64,
    },
    /// With the store in this life.
    Up {
        life: u64,
    },
}

/// What is on its way, in order.
#[derive(Debug, Default)]
struct Channel {
    requests: VecDeque<(u64, Request)>,
    replies: VecDeque<(u64, Reply)>,
    /// When each request without a reply was sent.
    sent_ms: VecDeque<u64>,
}

impl Connection {
    pub(super) fn new(member: String, seed: u64, now_ms: u64) -> Self {
        Self {
            member,
            faults: StoreFaults::default(),
            random: Random(seed),
            now_ms,
            state: State::Down { until_ms: now_ms },
            writing: Channel::default(),
            reading: Channel::default(),
            held: None,
            cuts: 0,
        }
    }

    pub(super) fn set_faults(&mut self, faults: StoreFaults) {
        self.faults = faults;
    }

    pub(super) fn set_now(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    /// The process: replies arrive, requests leave. True if anything happened.
    pub(super) fn serve(&mut self, member: &mut Member<Link>, server: &mut Server) -> bool {
        let State::Up { life } = self.state else { return self.connect(member, server) };
        if life != server.life() {
            self.cut(Some(member), server);
            return true;
        }
        let mut has_any = false;
        while let Some(reply) = self.next_reply() {
            has_any = true;
            if self.is_cut_now() {
                self.cut(Some(member), server);
                return true;
            }
            member.answered(reply, self.now_ms);
        }
        if self.is_silent() {
            self.cut(Some(member), server);
            return true;
        }
        while let Some(request) = member.next_request(self.now_ms) {
            has_any = true;
            self.writing.sent_ms.push_back(self.now_ms);
            let due_ms = self.after_a_delay(self.writing.last_request_ms());
            self.writing.requests.push_back((due_ms, request));
        }
        if let Some(read) = member.next_read(self.now_ms) {
            has_any = true;
            self.reading.sent_ms.push_back(self.now_ms);
            let due_ms = self.after_a_delay(self.reading.last_request_ms());
            self.reading.requests.push_back((due_ms, read));
        }
        if has_any && self.is_cut_now() {
            self.cut(Some(member), server);
        }
        has_any
    }

    /// The store: requests arrive, replies leave. True if anything happened. False also while the
    /// process is gone or stopped: the kernel takes both.
    pub(super) fn exchange(&mut self, server: &mut Server) -> bool {
        let State::Up { life } = self.state else { return false };
        if life != server.life() || server.is_stopped() {
            return false;
        }
        let mut has_any = false;
        while let Some(request) = take_due(&mut self.writing.requests, self.now_ms) {
            has_any = true;
            match server.apply(&self.member, &request) {
                Some(reply) => self.reply(reply),
                None => {
                    self.writing.replies.clear();
                    self.writing.requests.clear();
                    // An error instead of a reply: the process closes the connection.
                    self.writing.sent_ms.push_front(0);
                    return true;
                }
            }
        }
        if let Some(read) = take_due(&mut self.reading.requests, self.now_ms) {
            self.held = Some((self.now_ms, read));
        }
        if let Some((since_ms, read)) = &self.held
            && let Some(reply) = server.apply(&self.member, read)
            && (reply != Reply::Entries(Vec::new()) || self.now_ms >= since_ms + HELD_MS)
        {
            has_any = true;
            self.held = None;
            let due_ms = self.after_a_delay(self.reading.last_reply_ms());
            self.reading.replies.push_back((due_ms, reply));
        }
        has_any
    }

    /// The connection ends, at any moment; `member` is the process that notices it, if it exists.
    pub(super) fn cut(&mut self, member: Option<&mut Member<Link>>, server: &mut Server) {
        let State::Up { life } = self.state else { return };
        self.cuts += 1;
        let wait_ms = 1 + self.random.up_to(millis(self.faults.reconnect_max));
        self.state = State::Down { until_ms: self.now_ms + wait_ms };
        let arrive = self.random.up_to(self.writing.requests.len() as u64) as usize;
        let late_ms = self.random.up_to(2 * wait_ms);
        if life == server.life() {
            let name = &self.member;
            server.add_ghosts(self.writing.requests.drain(..arrive).map(|(due_ms, request)| {
                Ghost { due_ms: due_ms + late_ms, member: name.clone(), request }
            }));
        }
        (self.writing, self.reading) = (Channel::default(), Channel::default());
        self.held = None;
        if let Some(member) = member {
            member.disconnected();
        }
    }

    pub(super) fn next_due(&self, server: &Server) -> Option<u64> {
        match self.state {
            State::Down { until_ms } => Some(until_ms).filter(|_| !server.is_stopped()),
            State::Up { .. } => {
                let channels = [&self.writing, &self.reading];
                let replies = channels.iter().filter_map(|it| Some(it.replies.front()?.0));
                let silences =
                    channels.iter().filter_map(|it| Some(it.sent_ms.front()? + SILENCE_MS));
                replies.chain(silences).min()
            }
        }
    }

    /// The same for what happens at the store.
    pub(super) fn next_due_there(&self, server: &Server) -> Option<u64> {
        if server.is_stopped() || self.state != (State::Up { life: server.life() }) {
            return None;
        }
        let channels = [&self.writing, &self.reading];
        let requests = channels.iter().filter_map(|it| Some(it.requests.front()?.0));
        let held = self.held.as_ref().map(|(since_ms, _)| since_ms + HELD_MS);
        requests.chain(held).min()
    }

    fn connect(&mut self, member: &mut Member<Link>, server: &Server) -> bool {
        let State::Down { until_ms } = self.state else { return false };
        if server.is_stopped() || self.now_ms < until_ms {
            return false;
        }
        self.state = State::Up { life: server.life() };
        member.connected();
        true
    }

    fn next_reply(&mut self) -> Option<Reply> {
        for channel in [&mut self.writing, &mut self.reading] {
            if let Some(reply) = take_due(&mut channel.replies, self.now_ms) {
                channel.sent_ms.pop_front();
                return Some(reply);
            }
        }
        None
    }

    fn reply(&mut self, reply: Reply) {
        let due_ms = self.after_a_delay(self.writing.last_reply_ms());
        self.writing.replies.push_back((due_ms, reply));
    }

    fn after_a_delay(&mut self, last_ms: u64) -> u64 {
        last_ms.max(self.now_ms + self.random.up_to(millis(self.faults.delay_max)))
    }

    fn is_cut_now(&mut self) -> bool {
        self.random.percent(self.faults.cuts_percent)
    }

    /// Something was not answered for too long.
    fn is_silent(&self) -> bool {
        let is_due = |sent_ms: &u64| sent_ms + SILENCE_MS <= self.now_ms;
        [&self.writing, &self.reading].iter().any(|it| it.sent_ms.front().is_some_and(is_due))
    }
}

impl Channel {
    fn last_request_ms(&self) -> u64 {
        self.requests.back().map_or(0, |(due_ms, _)| *due_ms)
    }

    fn last_reply_ms(&self) -> u64 {
        self.replies.back().map_or(0, |(due_ms, _)| *due_ms)
    }
}

fn take_due<T>(queue: &mut VecDeque<(u64, T)>, now_ms: u64) -> Option<T> {
    let is_due = queue.front().is_some_and(|(due_ms, _)| *due_ms <= now_ms);
    if is_due { queue.pop_front().map(|(_, item)| item) } else { None }
}

/// How long the store holds a `Read` for which there is nothing.
const HELD_MS: u64 = 1_000;
/// A connection without an answer for so long is taken for dead.
const SILENCE_MS: u64 = 2_000;
