//! Clients that hop between machines with `Last-Event-ID`, and what they have seen: each number of each
//! topic once and in order, or a gap event in between.

use std::{
    collections::BTreeMap,
    fmt,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{client::PATIENCE, random::Random};

/// Where machines are at the moment; some may be away.
pub(crate) type Addresses = Arc<Mutex<Vec<SocketAddr>>>;

/// What all clients of a drill have seen.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) events: u64,
    pub(crate) hops: u64,
    pub(crate) missing: u64,
    pub(crate) twice: u64,
    pub(crate) gaps: u64,
}

/// The last numbers; known once the publisher has stopped.
type Ends = Arc<Mutex<Option<Vec<(String, u64)>>>>;

/// One client.
pub(crate) struct Hopper {
    addresses: Addresses,
    random: Random,
    names: String,
    last_id: String,
    /// For each topic the last number, and whether a gap event came after it.
    topics: BTreeMap<String, (u64, bool)>,
    ends: Ends,
    stay_ms: u64,
    seen: Seen,
}

/// The clients of a drill.
pub(crate) struct Hoppers {
    threads: Vec<JoinHandle<Seen>>,
    ends: Ends,
}

impl Hoppers {
    /// `stay_ms` is how long they stay at one machine, on average.
    pub(crate) fn start(count: u64, addresses: &Addresses, topics: &[&str], stay_ms: u64) -> Self {
        let ends = Ends::default();
        let threads = (0..count)
            .map(|seed| {
                let hopper = Hopper {
                    addresses: Arc::clone(addresses),
                    random: Random::new(seed),
                    names: topics.join(","),
                    last_id: String::new(),
                    topics: topics.iter().map(|name| ((*name).to_owned(), (0, true))).collect(),
                    ends: Arc::clone(&ends),
                    stay_ms,
                    seen: Seen::default(),
                };
                thread::spawn(move || hopper.run())
            })
            .collect();
        Self { threads, ends }
    }

    /// The publisher has stopped after these numbers; all clients see the last of each topic.
    pub(crate) fn end_after(self, ends: Vec<(String, u64)>) -> Seen {
        *self.ends.lock().unwrap() = Some(ends);
        let mut sum = Seen::default();
        for thread in self.threads {
            let seen = thread.join().expect("a client has found nothing impossible");
            sum.events += seen.events;
            sum.hops += seen.hops;
            sum.missing += seen.missing;
            sum.twice += seen.twice;
            sum.gaps += seen.gaps;
        }
        sum
    }
}

impl Hopper {
    fn run(mut self) -> Seen {
        let mut ended_at = None;
        while !self.has_all() {
            if self.ends.lock().unwrap().is_some() {
                let since = *ended_at.get_or_insert_with(Instant::now);
                assert!(since.elapsed() < PATIENCE, "the last numbers do not come: {self:?}");
            }
            let addresses = self.addresses.lock().unwrap().clone();
            let address = self.random.pick(&addresses);
            self.seen.hops += 1;
            // A machine may be away.
            if self.visit(address).is_err() {
                thread::sleep(Duration::from_millis(20));
            }
        }
        self.seen
    }

    fn has_all(&self) -> bool {
        let ends = self.ends.lock().unwrap();
        let has = |(name, number): &(String, u64)| self.topics[name].0 >= *number;
        ends.as_ref().is_some_and(|ends| ends.iter().all(has))
    }

    /// Reads for a while, and leaves in the middle of whatever comes.
    fn visit(&mut self, address: SocketAddr) -> std::io::Result<()> {
        let timeout = Duration::from_secs(2);
        let mut socket = TcpStream::connect_timeout(&address, timeout)?;
        let stay = Duration::from_millis(1 + self.random.below(2 * self.stay_ms as usize) as u64);
        let leave_at = Instant::now() + stay;
        let resume = match self.last_id.as_str() {
            "" => String::new(),
            id => format!("Last-Event-ID: {id}\r\n"),
        };
        write!(socket, "GET /live?topics={} HTTP/1.0\r\n{resume}\r\n", self.names)?;
        let (mut bytes, mut is_head, mut buffer) = (Vec::new(), true, vec![0; 64 * 1024]);
        while Instant::now() < leave_at && !self.has_all() {
            socket.set_read_timeout(Some(Duration::from_millis(20)))?;
            match socket.read(&mut buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => bytes.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            }
            if is_head {
                let Some(at) = bytes.windows(4).position(|it| it == b"\r\n\r\n") else { continue };
                assert!(bytes.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&bytes));
                bytes.drain(..at + 4);
                is_head = false;
            }
            // What comes after the last blank line has not been seen: its id does not count.
            let whole = bytes.windows(2).rposition(|it| it == b"\n\n").map_or(0, |at| at + 2);
            let text: Vec<_> = bytes.drain(..whole).collect();
            for event in String::from_utf8(text).unwrap().split_terminator("\n\n") {
                self.follow(event);
            }
        }
        Ok(())
    }

    fn follow(&mut self, event: &str) {
        let mut data = None;
        for line in event.lines() {
            if let Some(id) = line.strip_prefix("id: ") {
                id.clone_into(&mut self.last_id);
            } else if let Some(text) = line.strip_prefix("data: ") {
                data = Some(text);
            }
        }
        let Some(data) = data else { return };
        if event.contains("event: gap") {
            self.seen.gaps += 1;
            self.topics.get_mut(data).expect("its topic").1 = true;
            return;
        }
        let mut words = data.split(' ');
        let name = words.next().expect("a topic");
        let number: u64 = words.next().and_then(|it| it.parse().ok()).expect("a number");
        let (last, has_gap) = self.topics.get_mut(name).expect("its topic");
        self.seen.events += 1;
        if !*has_gap && number > *last + 1 {
            eprintln!("missing: {name} {number} after {last}, id {}", self.last_id);
            self.seen.missing += number - *last - 1;
        } else if !*has_gap && number <= *last {
            eprintln!("twice: {name} {number} after {last}, id {}", self.last_id);
            self.seen.twice += 1;
        }
        (*last, *has_gap) = (number, false);
    }
}

impl fmt::Debug for Hopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Hopper");
        debug.field("last_id", &self.last_id).field("topics", &self.topics);
        debug.field("ends", &self.ends).finish_non_exhaustive()
    }
}
