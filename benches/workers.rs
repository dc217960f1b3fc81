//! What it costs to publish through the sequencer of workers, by their number, beside a single reactor:
//! nanoseconds per event of 100 bytes on the publishing thread, in bursts that fit into the queues.
//!
//! `cargo bench -p starwheel-tests --bench workers`

use std::{
    hint::black_box,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use starwheel::{Handle, Reactor, Response, Router, Sse, Topic, Workers};

criterion_group!(benches, publish);
criterion_main!(benches);

fn publish(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publish 10,000 events of 100 bytes");
    group.throughput(Throughput::Elements(BURST)).sample_size(10);
    let reactor = || {
        let (sender, address) = std::sync::mpsc::channel();
        let spawned = Reactor::spawn_with("live", move || {
            let mut reactor = Reactor::new(routes(0))?;
            _ = sender.send(reactor.listen("127.0.0.1:0")?);
            Ok(reactor)
        });
        (spawned.expect("a reactor").handle(), address.recv().expect("an address"))
    };
    let (handle, address) = reactor();
    let clients = [subscribe(address, 0)];
    group.bench_function("one reactor", |bencher| {
        bencher.iter_custom(|rounds| bursts(rounds, &handle, &clients));
    });
    handle.shutdown();
    for count in [1, 2, 4] {
        let workers = Workers::new(count, |worker| routes(worker.number())).expect("workers");
        let (address, handle) = (workers.listen("127.0.0.1:0").expect("a port"), workers.handle());
        let serving = thread::spawn(move || workers.run());
        let clients: Vec<_> = (0..count).map(|worker| subscribe(address, worker)).collect();
        group.bench_function(format!("{count} workers"), |bencher| {
            bencher.iter_custom(|rounds| bursts(rounds, &handle, &clients));
        });
        handle.shutdown();
        serving.join().expect("no panic").expect("no error");
    }
}

fn routes(worker: usize) -> Router {
    Router::new()
        .get("/worker", move |_req, _cx| Response::text(worker.to_string()))
        .get("/news", |_req, _cx| Sse::new().subscribe(&news()))
}

/// Its log takes two bursts, so that no subscriber is slow.
fn news() -> Topic {
    Topic::new("news").log(2 * BURST as usize, 8 << 20)
}

/// A client on this worker, on a thread of its own: how many events it has seen.
fn subscribe(address: SocketAddr, worker: usize) -> Arc<AtomicU64> {
    loop {
        let mut socket = TcpStream::connect(address).expect("a connection");
        let mut buffer = vec![0; 1 << 18];
        socket.write_all(b"GET /worker HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        let read = socket.read(&mut buffer).expect("a response");
        if !buffer[..read].ends_with(worker.to_string().as_bytes()) {
            continue;
        }
        socket.write_all(b"GET /news HTTP/1.0\r\n\r\n").expect("sent");
        // It is subscribed when the head is here.
        let read = socket.read(&mut buffer).expect("a head");
        assert!(buffer[..read].windows(4).any(|end| end == b"\r\n\r\n"));
        let seen = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&seen);
        thread::spawn(move || {
            while let Ok(read @ 1..) = socket.read(&mut buffer) {
                let events = buffer[..read].iter().filter(|byte| **byte == b'#').count();
                counted.fetch_add(events as u64, Ordering::Relaxed);
            }
        });
        return seen;
    }
}

/// The time that publishing takes; between bursts, all events arrive.
fn bursts(rounds: u64, handle: &Handle, clients: &[Arc<AtomicU64>]) -> Duration {
    let (topic, event) = (news(), format!("#{}", "x".repeat(92)));
    let mut total = Duration::ZERO;
    for _ in 0..rounds {
        let before: Vec<_> = clients.iter().map(|seen| seen.load(Ordering::Relaxed)).collect();
        let start = Instant::now();
        for _ in 0..BURST {
            assert!(handle.publish(&topic, black_box(&*event)).is_ok(), "a burst fits");
        }
        total += start.elapsed();
        for (seen, before) in clients.iter().zip(before) {
            while seen.load(Ordering::Relaxed) < before + BURST {
                thread::yield_now();
            }
        }
    }
    total
}

const BURST: u64 = 10_000;
