//! A drill: two machines, a publisher, clients that hop, a stream that ticks, and something that fails.

use std::{
    fs,
    os::unix::fs::symlink,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    client::Client,
    hopper::{Addresses, Hoppers, Seen},
    server::{Node, Redis},
};

pub(crate) const TOPICS: [&str; 3] = ["a", "b", "c"];
/// Events a second.
const RATE: u64 = 600;
const CLIENTS: u64 = 20;
const STAY_MS: u64 = 150;
/// How long something is away at least. Ticks that waited for it would be as late.
pub(crate) const AWAY: Duration = Duration::from_secs(3);
/// Before and after what fails.
const CALM: Duration = Duration::from_millis(1_500);

pub(crate) struct Drill {
    pub(crate) redis: Redis,
    /// It publishes.
    pub(crate) first: Node,
    pub(crate) second: Option<Node>,
    pub(crate) addresses: Addresses,
    settings: Vec<(String, String)>,
    hoppers: Hoppers,
    ticker: Ticker,
    _one_at_a_time: MutexGuard<'static, ()>,
}

/// What a drill has shown.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) seen: Seen,
    pub(crate) refused: u64,
    pub(crate) longest_pause: Duration,
}

impl Drill {
    /// `settings` are those of both machines.
    pub(crate) fn start(redis: Redis, settings: &[(&str, &str)]) -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let one_at_a_time = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        redis.point_address_here();
        let first = Node::start(&redis.url(), settings);
        let second = Node::start(&redis.url(), settings);
        let addresses: Addresses = Arc::new(Mutex::new(vec![first.address, second.address]));
        let names = TOPICS.join(",");
        first.post(&format!("/run?rate={RATE}&topics={names}"), "");
        let hoppers = Hoppers::start(CLIENTS, &addresses, &TOPICS, STAY_MS);
        let ticker = Ticker::start(second.address);
        thread::sleep(CALM);
        Self {
            redis,
            first,
            second: Some(second),
            addresses,
            settings: settings.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            hoppers,
            ticker,
            _one_at_a_time: one_at_a_time,
        }
    }

    /// Everything goes on for a while.
    pub(crate) fn go_on(&self, time: Duration) {
        thread::sleep(time);
    }

    /// The second machine is a new process.
    pub(crate) fn replace_second(&mut self) {
        let former = self.second.take().expect("it runs");
        *self.addresses.lock().unwrap() = vec![self.first.address];
        former.kill();
        let settings: Vec<_> = self.settings.iter().map(|(k, v)| (&**k, &**v)).collect();
        let next = Node::start(&self.redis.url(), &settings);
        *self.addresses.lock().unwrap() = vec![self.first.address, next.address];
        self.second = Some(next);
    }

    pub(crate) fn end(self, name: &str) -> Outcome {
        thread::sleep(CALM);
        self.first.post("/stop", "");
        self.first.wait_until_connected();
        // What was accepted last is counted.
        thread::sleep(Duration::from_millis(50));
        let (published, refused) = self.first.published();
        let seen = self.hoppers.end_after(published);
        let longest_pause = self.ticker.stop();
        let outcome = Outcome { seen, refused, longest_pause };
        eprintln!("{name}: {outcome:?}");
        assert_eq!((seen.missing, seen.twice), (0, 0), "{name}: {outcome:?}");
        outcome
    }
}

impl Outcome {
    /// Nobody noticed anything.
    pub(crate) fn has_no_gap(&self) -> &Self {
        assert_eq!(self.seen.gaps, 0, "{self:?}");
        self
    }

    /// Every client was notified, on every topic: once, and again if it left between the gap event and the
    /// id after it, because it then comes back with the id from before.
    pub(crate) fn has_a_gap_for_each(&self) -> &Self {
        let all = CLIENTS * TOPICS.len() as u64;
        assert!((all..=2 * all).contains(&self.seen.gaps), "{self:?}");
        self
    }

    /// Ticks did not wait for the store, which was away for longer.
    pub(crate) fn has_ticked(&self) -> &Self {
        assert!(self.longest_pause < AWAY, "{self:?}");
        self
    }
}

impl Redis {
    /// The address of the machines is a link, which can lead to another server later.
    pub(crate) fn point_address_here(&self) {
        self.point_address_to(self);
    }

    pub(crate) fn point_address_to(&self, other: &Self) {
        let link = self.address();
        _ = fs::remove_file(&link);
        symlink(other.socket(), link).unwrap();
    }
}

/// A stream that ticks every 100 ms, and the longest pause between two ticks.
struct Ticker {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Ticker {
    fn start(address: std::net::SocketAddr) -> Self {
        let is_over = Arc::<AtomicBool>::default();
        let ends = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let mut client = Client::streaming(address, "/tick");
            let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
            while !ends.load(Ordering::SeqCst) && client.event().is_some() {
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
            longest
        });
        Self { is_over, thread }
    }

    fn stop(self) -> Duration {
        self.is_over.store(true, Ordering::SeqCst);
        self.thread.join().expect("it has ticked")
    }
}
