//! Clients that hop between workers with `Last-Event-ID`, over real sockets, against the publisher's own
//! log: nothing is missing, nothing comes twice, and there is no gap.
//!
//! The short form runs always. The long one, ten million deliveries at 20,000 events a second:
//! `cargo test --release -p starwheel-tests --test hops -- --ignored --nocapture`.

#[path = "support/client.rs"]
mod client;
#[path = "support/random.rs"]
mod random;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use client::PATIENCE;
use random::Random;
use starwheel::{Handle, JoinAt, Router, Sse, Topic, Workers};

/// What one client has seen.
#[derive(Debug, Default)]
struct Seen {
    delivered: u64,
    hops: u64,
}

fn topic() -> Topic {
    Topic::new("numbers").history(200_000, 32 << 20)
}

fn workers() -> (SocketAddr, Handle, thread::JoinHandle<std::io::Result<()>>) {
    let workers = Workers::new(2, |_worker| {
        // HTTP/1.0: events as they are, without chunks.
        Router::new().get("/", |_req, _cx| Sse::new().subscribe_at(&topic(), JoinAt::Oldest))
    })
    .unwrap();
    let address = workers.listen("127.0.0.1:0").unwrap();
    let handle = workers.handle();
    (address, handle, thread::spawn(move || workers.run()))
}

/// Publishes the numbers from 0 to `count` - 1, at most `rate` a second.
fn publish(handle: &Handle, count: u64, rate: Option<u64>) {
    let start = Instant::now();
    for number in 0..count {
        if let Some(rate) = rate {
            let due = Duration::from_nanos(number * 1_000_000_000 / rate);
            // By the millisecond, as a busy source would.
            if number % (rate / 1000).max(1) == 0 {
                thread::sleep(due.saturating_sub(start.elapsed()));
            }
        }
        while let Err(refused) = handle.publish(&topic(), number.to_string()) {
            assert!(refused.is_full());
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Hops until it has seen the last number: reads a random number of events, leaves in the middle of
/// one, and comes back to whichever worker takes it.
fn hop(address: SocketAddr, seed: u64, count: u64, events_per_visit: usize) -> Seen {
    let (mut random, mut seen, mut last_id) = (Random::new(seed), Seen::default(), String::new());
    while seen.delivered < count {
        let stay = 1 + random.below(events_per_visit) as u64;
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let resume = match last_id.as_str() {
            "" => String::new(),
            id => format!("Last-Event-ID: {id}\r\n"),
        };
        write!(socket, "GET / HTTP/1.0\r\n{resume}\r\n").unwrap();
        let (mut bytes, mut is_head, mut visited) = (Vec::new(), true, 0);
        let mut buffer = vec![0; 64 * 1024];
        while visited < stay && seen.delivered < count {
            let read = socket.read(&mut buffer).expect("events");
            assert!(read > 0, "a stream ended");
            bytes.extend_from_slice(&buffer[..read]);
            let end_of_head = b"\r\n\r\n";
            if is_head {
                let Some(at) = bytes.windows(4).position(|it| it == end_of_head) else { continue };
                assert!(bytes.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&bytes));
                bytes.drain(..at + 4);
                is_head = false;
            }
            // What comes after the last blank line has not been seen: its id does not count.
            let text = std::str::from_utf8(&bytes).unwrap();
            let whole = text.rfind("\n\n").map_or(0, |at| at + 2);
            for event in text[..whole].split_terminator("\n\n") {
                assert!(!event.contains("event: gap"), "a gap after {}", seen.delivered);
                for line in event.lines() {
                    if let Some(number) = line.strip_prefix("data: ") {
                        assert_eq!(number.parse(), Ok(seen.delivered), "the next one");
                        seen.delivered += 1;
                        visited += 1;
                    } else if let Some(id) = line.strip_prefix("id: ") {
                        id.clone_into(&mut last_id);
                    }
                }
            }
            bytes.drain(..whole);
        }
        seen.hops += 1;
    }
    seen
}

fn run(clients: u64, count: u64, rate: Option<u64>, events_per_visit: usize) -> Seen {
    let (address, handle, serving) = workers();
    let hopping: Vec<_> = (0..clients)
        .map(|seed| thread::spawn(move || hop(address, seed, count, events_per_visit)))
        .collect();
    publish(&handle, count, rate);
    let mut sum = Seen::default();
    for client in hopping {
        let seen = client.join().expect("nothing missing, nothing twice, no gap");
        sum.delivered += seen.delivered;
        sum.hops += seen.hops;
    }
    handle.shutdown();
    serving.join().unwrap().unwrap();
    sum
}

#[test]
fn clients_that_hop_between_workers_miss_nothing_and_get_nothing_twice() {
    let seen = run(8, 20_000, None, 2_000);
    assert_eq!(seen.delivered, 8 * 20_000);
    assert!(seen.hops > 8 * 10, "{seen:?}");
}

#[test]
#[ignore = "half a minute, in release"]
fn ten_million_deliveries_to_clients_that_hop() {
    let seen = run(20, 520_000, Some(20_000), 6_000);
    println!("{seen:?}");
    assert!(seen.delivered >= 10_000_000 && seen.hops >= 1_000, "{seen:?}");
}
