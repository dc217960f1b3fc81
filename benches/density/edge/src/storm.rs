//! How late ticks are while many new connections want a response at the same time.
//!
//! A server has tickers, half of them over TLS. Waves of connections are accepted first; then all of
//! them send their request, or their `ClientHello`, at once. Only ticks count that were due or late
//! while a connection of the wave had no response head.

use std::{
    thread,
    time::{Duration, Instant},
};

use mio::{Events, Poll, Token};
use serde_json::{Value, json};
use starwheel_load::{
    clients::{Arrival, unix_ns},
    figures::{new_histogram, quantiles_json},
};

use crate::{
    Result,
    clients::{Client, Clients, Target},
    processes::Processes,
    setups::{ALL, Kind, Setup},
};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) waves: usize,
    /// Connections of a wave.
    pub(crate) handshakes: usize,
    /// Of each kind.
    pub(crate) tickers: usize,
}

/// The tickers of one kind, and when each of them has ticked.
struct Tickers {
    clients: Clients,
    stamps_ns: Vec<Vec<u64>>,
}

/// When a wave was in flight, in Unix time.
#[derive(Debug, Clone, Copy)]
struct Window {
    begin_ns: u64,
    end_ns: u64,
}

/// Connections come as `setup` says.
pub(crate) fn measure(processes: &Processes, setup: &Setup, sizes: Sizes) -> Result<Value> {
    let mut tickers = Vec::new();
    for kind in ALL.iter().filter(|setup| !matches!(setup.kind, Kind::Front(_))) {
        tickers.push(Tickers::open(&processes.target(kind), sizes.tickers)?);
    }
    let target = processes.target(setup);
    let (mut lateness, mut in_flight) = (new_histogram()?, Duration::ZERO);
    for _ in 0..sizes.waves {
        tickers.iter_mut().for_each(Tickers::forget);
        let mut wave = Wave::connect(&target, sizes.handshakes)?;
        read_for(&mut tickers, QUIET)?;
        let window = wave.run()?;
        in_flight += Duration::from_nanos(window.end_ns - window.begin_ns);
        read_for(&mut tickers, AFTERWARDS)?;
        for stamps in tickers.iter().flat_map(|tickers| &tickers.stamps_ns) {
            for late_ns in window.lateness_ns(stamps)? {
                lateness.saturating_record(late_ns);
            }
        }
        drop(wave);
        // The server has to close them.
        thread::sleep(QUIET);
        read_for(&mut tickers, AFTERWARDS)?;
    }
    Ok(json!({
        "waves": sizes.waves, "handshakes": sizes.handshakes, "tickers": sizes.tickers * 2,
        "interval_ms": INTERVAL.as_millis() as u64, "ticks": lateness.len(),
        "wave_ms": in_flight.as_secs_f64() * 1e3 / sizes.waves as f64,
        "lateness_us": quantiles_json(&lateness),
    }))
}

impl Tickers {
    fn open(target: &Target, count: usize) -> Result<Self> {
        let mut clients = Clients::new(target)?;
        let path = format!("/tick?ms={}", INTERVAL.as_millis());
        clients.open(count, &path, Duration::from_micros(1301))?;
        Ok(Self { clients, stamps_ns: vec![Vec::new(); count] })
    }

    fn forget(&mut self) {
        self.stamps_ns.iter_mut().for_each(Vec::clear);
    }

    fn read_until(&mut self, end: Instant) -> Result<()> {
        let Self { clients, stamps_ns } = self;
        clients.run_until(end, |arrival: Arrival| stamps_ns[arrival.stream].push(arrival.sent_ns))
    }
}

/// The stamps are the server's, so it does not matter when they are read.
fn read_for(tickers: &mut [Tickers], time: Duration) -> Result<()> {
    let each = time / u32::try_from(tickers.len())?;
    tickers.iter_mut().try_for_each(|tickers| tickers.read_until(Instant::now() + each))
}

struct Wave {
    poll: Poll,
    clients: Vec<Client>,
}

impl Wave {
    /// Returns when all connections stand; nothing has been sent on them.
    fn connect(target: &Target, count: usize) -> Result<Self> {
        let (poll, mut clients) = (Poll::new()?, Vec::with_capacity(count));
        for index in 0..count {
            let mut client = Client::connect(target, index, "/silent")?;
            client.register(poll.registry(), Token(index))?;
            clients.push(client);
        }
        let deadline = Instant::now() + TIMEOUT;
        for client in &clients {
            while !client.is_connected()? {
                if Instant::now() > deadline {
                    return Err("not all connections of a wave were accepted".into());
                }
                thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(Self { poll, clients })
    }

    /// Sends everything at once, and returns when all have their response heads.
    fn run(&mut self) -> Result<Window> {
        let mut buffer = vec![0; 16 * 1024];
        let mut events = Events::with_capacity(1024);
        let (begin_ns, deadline) = (unix_ns(), Instant::now() + TIMEOUT);
        for client in &mut self.clients {
            client.progress(&mut buffer, &mut |_| {})?;
        }
        let mut open = self.clients.iter().filter(|client| client.is_open()).count();
        while open < self.clients.len() {
            if Instant::now() > deadline {
                return Err(format!("{open} of {} have a response", self.clients.len()).into());
            }
            self.poll.poll(&mut events, Some(Duration::from_millis(100)))?;
            for event in &events {
                let client = &mut self.clients[event.token().0];
                if !client.is_open() {
                    client.progress(&mut buffer, &mut |_| {})?;
                    open += usize::from(client.is_open());
                }
            }
        }
        Ok(Window { begin_ns, end_ns: unix_ns() })
    }
}

impl Window {
    /// How late a ticker's ticks were that were due or late within the window. Its schedule is that of
    /// its typical tick before. After a tick, the next place in the future is due, as in starwheel.
    fn lateness_ns(self, stamps_ns: &[u64]) -> Result<Vec<u64>> {
        let interval = INTERVAL.as_nanos() as i64;
        let before = stamps_ns.iter().take_while(|&&stamp| stamp < self.begin_ns).count();
        let (before, after) = stamps_ns.split_at(before);
        let Some(&last) = before.last() else {
            return Err("a ticker has not ticked before the wave".into());
        };
        // Times from here on are relative to the last tick before.
        let since_last = |stamp_ns: u64| stamp_ns as i64 - last as i64;
        let mut offsets: Vec<i64> = before
            .iter()
            .map(|&stamp| (since_last(stamp) + interval / 2).rem_euclid(interval) - interval / 2)
            .collect();
        offsets.sort_unstable();
        let typical = offsets[offsets.len() / 2];

        let (mut lateness, mut place, mut previous) = (Vec::new(), 0, 0);
        for stamp in after.iter().map(|&stamp| since_last(stamp)) {
            place = (place + 1).max((previous - typical).div_euclid(interval) + 1);
            let due = typical + place * interval;
            previous = stamp;
            if due >= since_last(self.end_ns) {
                break;
            }
            lateness.push((stamp - due).max(0).unsigned_abs());
        }
        Ok(lateness)
    }
}

const INTERVAL: Duration = Duration::from_millis(10);
const QUIET: Duration = Duration::from_millis(200);
const AFTERWARDS: Duration = Duration::from_millis(60);
const TIMEOUT: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    /// In milliseconds, which is finer than any of these times.
    fn lateness_ms(window: (u64, u64), stamps: &[u64]) -> Vec<u64> {
        let window = Window { begin_ns: window.0 * 1_000_000, end_ns: window.1 * 1_000_000 };
        let stamps: Vec<u64> = stamps.iter().map(|ms| ms * 1_000_000).collect();
        window.lateness_ns(&stamps).unwrap().iter().map(|ns| ns / 1_000_000).collect()
    }

    #[test]
    fn ticks_on_time_are_not_late() {
        assert_eq!(lateness_ms((1025, 1045), &[1000, 1010, 1020, 1030, 1040, 1050]), [0, 0]);
    }

    #[test]
    fn places_that_were_skipped_count_as_one_late_tick() {
        let stamps = [1000, 1010, 1020, 1057, 1060, 1070];
        assert_eq!(lateness_ms((1025, 1065), &stamps), [27, 0]);
    }

    #[test]
    fn an_early_or_late_tick_before_does_not_move_the_schedule() {
        assert_eq!(lateness_ms((1041, 1055), &[1000, 1010, 1020, 1030, 1039, 1054, 1060]), [4]);
        assert_eq!(lateness_ms((1036, 1052), &[1000, 1010, 1020, 1035, 1040, 1050, 1060]), [0, 0]);
    }

    #[test]
    fn a_tick_that_is_late_beyond_the_window_counts() {
        assert_eq!(lateness_ms((1025, 1032), &[1000, 1010, 1020, 1038, 1040]), [8]);
    }
}
