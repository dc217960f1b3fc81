//! More bytes than requested, or than any client reads.

use std::{
    io::{ErrorKind, Write},
    thread,
    time::Duration,
};

use crate::{
    client::{Client, get},
    testbed::{ALLOCATOR_BYTES, Neighbour, Testbed},
};

#[test]
fn stuck_subscribers_under_a_flood_cost_bounded_memory_and_others_lose_nothing() {
    let testbed = Testbed::start(&[]);
    let mut neighbour = Neighbour::of(&testbed);
    let mut readers: Vec<_> =
        (0..3).map(|_| Client::streaming(testbed.address, "/topic")).collect();
    let before = testbed.footprint();
    let stuck: Vec<_> = (0..20)
        .map(|_| {
            let mut client = Client::connect_with_buffer(testbed.address, 4096);
            client.open_stream("/topic");
            client
        })
        .collect();
    let mut publisher = Client::connect(testbed.address);
    let padding = "x".repeat(20_000);
    let mut published = 0;
    let cut = || testbed.figure("streams_closed_total{reason=\"slow\"}");
    while published < 600 || cut() < stuck.len() as u64 {
        assert!(published < 20_000, "those that do not read are never cut");
        // Fewer than the log holds: on a busy machine a good reader may be late too.
        for number in published..published + 20 {
            let body = format!("{number} {padding}");
            let length = body.len();
            publisher.send(format!(
                "POST /publish HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{body}"
            ));
            assert_eq!(publisher.answer().status, 204);
        }
        for reader in &mut readers {
            for number in published..published + 20 {
                assert_eq!(reader.data().split(' ').next(), Some(&*number.to_string()));
            }
        }
        published += 20;
        neighbour.ticks_on();
        let bound = stuck.len() as u64 * OUTBOX_BYTES + LOG_BYTES + ALLOCATOR_BYTES;
        testbed.has_grown_at_most(bound, before);
    }
    drop((stuck, publisher));
    testbed.is_back_at(before);
}

#[test]
fn stuck_streams_with_updaters_stay_in_bounded_memory() {
    let testbed = Testbed::start(&[]);
    let mut neighbour = Neighbour::of(&testbed);
    let before = testbed.footprint();
    let event_bytes = 100_000;
    let stuck: Vec<_> =
        (0..20).map(|_| Client::streaming(testbed.address, "/tick?ms=1&bytes=100000")).collect();
    (0..50).for_each(|_| neighbour.ticks_on());
    // A tick that is not taken immediately is kept completely, and no other runs until it is.
    assert!(testbed.figure("ticks_skipped_total") > 0);
    assert_eq!(testbed.figure("streams_closed_total{reason=\"slow\"}"), 0);
    testbed.has_grown_at_most(stuck.len() as u64 * 2 * event_bytes + ALLOCATOR_BYTES, before);
    drop(stuck);
    testbed.is_back_at(before);
}

#[test]
fn a_flood_of_pipelined_requests_is_answered_in_full_and_delays_no_other() {
    let testbed = Testbed::start(&[]);
    let mut neighbour = Neighbour::of(&testbed);
    let requests = 20_000;
    let mut client = Client::connect(testbed.address);
    let mut writing = client.socket().try_clone().unwrap();
    let writer =
        thread::spawn(move || writing.write_all(get("/hello").repeat(requests).as_bytes()));
    for number in 0..requests {
        let answer = client.answer();
        assert_eq!((answer.status, answer.body.as_str()), (200, "Hello, World!"));
        if number % 5_000 == 0 {
            neighbour.ticks_on();
        }
    }
    writer.join().unwrap().unwrap();
}

#[test]
fn a_pipelining_client_that_never_reads_is_held_back_in_bounded_memory() {
    let testbed = Testbed::start(&[]);
    let mut neighbour = Neighbour::of(&testbed);
    let before = testbed.footprint();
    let stuck: Vec<_> = (0..4)
        .map(|_| {
            let client = Client::connect(testbed.address);
            client.socket().set_write_timeout(Some(Duration::from_millis(200))).unwrap();
            let requests = get("/hello").repeat(10_000);
            let held_back =
                (0..1_000).find_map(|_| client.socket().write_all(requests.as_bytes()).err());
            let error = held_back.expect("the server stops reading");
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            client
        })
        .collect();
    neighbour.ticks_on();
    testbed.has_grown_at_most(stuck.len() as u64 * OUTBOX_BYTES + ALLOCATOR_BYTES, before);
    drop(stuck);
    testbed.is_back_at(before);
}

#[test]
fn junk_sent_to_a_stream_is_read_and_forgotten() {
    let testbed = Testbed::start(&[]);
    let mut neighbour = Neighbour::of(&testbed);
    let before = testbed.footprint();
    let mut flooder = Client::streaming(testbed.address, "/tick?ms=20");
    for _ in 0..32 {
        flooder.send(vec![b'x'; 1 << 20]);
        neighbour.ticks_on();
    }
    flooder.data();
    testbed.has_grown_at_most(ALLOCATOR_BYTES, before);
}

/// Defaults of `Limits::outbox_bytes` and of a topic's log.
const OUTBOX_BYTES: u64 = 256 << 10;
const LOG_BYTES: u64 = 1 << 20;
