//! Figures, by hand: `cargo test -p starwheel-tests --release --lib tls::tests::figures -- --ignored
//! --nocapture --test-threads 1`.

use std::{hint::black_box, time::Instant};

use super::*;
use crate::tls::record;

#[test]
#[ignore = "prints times; see the top of the file"]
fn time_of_a_record() {
    for suite in SUITES {
        for content_bytes in [106, 10_240] {
            let content = vec![7; content_bytes];
            let secret = Secret::new(&vec![1; suite.secret_bytes()]).unwrap();
            let keys = secret.keys(suite);
            let kept = keys.cipher(suite);
            let mut out = Vec::new();
            let push = |out: &mut Vec<u8>| out.extend_from_slice(&content);
            let kept_ns = nanos(|number| {
                out.clear();
                record::seal(&kept, number, ContentType::ApplicationData, push, &mut out);
            });
            let made_ns = nanos(|number| {
                out.clear();
                let cipher = keys.cipher(suite);
                record::seal(&cipher, number, ContentType::ApplicationData, push, &mut out);
            });
            let derived_ns = nanos(|_| drop(black_box(secret.keys(suite))));
            let (mut client, mut server) = pair(suite);
            let slices = [IoSlice::new(&content)];
            let mut scratch = Vec::new();
            let send_ns = nanos(|_| {
                drop(server.send(&slices, &mut scratch, |bytes| Ok(black_box(bytes).len())));
            });
            let records: Vec<_> = (0..ROUNDS).map(|_| sent(&mut client, &content)).collect();
            let (_, mut server) = pair(suite);
            let mut buffer = vec![0; RECORD_BYTES_MAX];
            let receive_ns = nanos(|number| {
                let mut record = &records[number as usize][..];
                let read = |room: &mut [u8]| record.read(room);
                black_box(server.receive(&mut buffer, read).unwrap());
            });
            println!(
                "{suite:?}, {content_bytes} bytes: sealed with a kept key {kept_ns} ns, with a new \
                 key {made_ns}, send {send_ns}, receive {receive_ns}; secret to key {derived_ns}"
            );
        }
    }
}

#[test]
#[ignore = "prints times; see the top of the file"]
fn time_of_a_handshake() {
    let (config, client_config) = localhost();
    let fresh = || {
        let mut client_config = client_config.clone();
        client_config.resumption = rustls::client::Resumption::disabled();
        Arc::new(client_config)
    };
    let resuming = Arc::new(client_config.clone());
    for (what, client_config) in [("full", fresh()), ("resumed", resuming)] {
        let mut fastest_nanos = u128::MAX;
        for _ in 0..HANDSHAKES {
            let mut client = Client::shared(&client_config, "localhost");
            let hello = client.output();
            let start = Instant::now();
            let mut server = Server::new(&config);
            server.receive(&hello);
            let flight = server.output();
            let mut spent_nanos = start.elapsed().as_nanos();
            client.receive(&flight);
            let finished = client.output();
            let start = Instant::now();
            server.receive(&finished);
            let tickets = server.output();
            spent_nanos += start.elapsed().as_nanos();
            client.receive(&tickets);
            assert_eq!(client.error, None);
            fastest_nanos = fastest_nanos.min(spent_nanos);
        }
        println!("{what} handshake of the server: {} us", fastest_nanos / 1000);
    }
    println!(
        "session: {} bytes, handshake: {} and rustls",
        size_of::<Session>(),
        size_of::<Handshake>()
    );
}

/// The fastest of many short batches: other work of the machine does not count.
fn nanos(mut work: impl FnMut(u64)) -> u128 {
    let mut numbers = 0..ROUNDS;
    let batches = (0..ROUNDS / BATCH).map(|_| {
        let start = Instant::now();
        numbers.by_ref().take(BATCH as usize).for_each(&mut work);
        start.elapsed().as_nanos() / u128::from(BATCH)
    });
    batches.min().unwrap()
}

const ROUNDS: u64 = 10_000;
const BATCH: u64 = 50;
const HANDSHAKES: usize = 500;
