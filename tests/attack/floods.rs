//! More bytes than anybody asked for.

use std::{
    io::{ErrorKind, Write},
    thread,
    time::Duration,
};

use crate::{
    client::{Client, get},
    testbed::{Neighbour, Testbed},
};

#[test]
fn a_flood_of_pipelined_requests_is_answered_in_full_and_delays_nobody() {
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
    let before = testbed.resident_bytes();
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
    let grown = testbed.resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes for {} clients", stuck.len());
}

#[test]
fn streams_that_are_never_read_stay_in_bounded_memory() {
    let testbed = Testbed::start(&[]);
    let mut neighbour = Neighbour::of(&testbed);
    let before = testbed.resident_bytes();
    let stuck: Vec<_> =
        (0..20).map(|_| Client::streaming(testbed.address, "/tick?ms=1&bytes=100000")).collect();
    (0..20).for_each(|_| neighbour.ticks_on());
    let grown = testbed.resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes for {} clients", stuck.len());
}

#[test]
fn junk_sent_to_a_stream_is_read_and_forgotten() {
    let testbed = Testbed::start(&[]);
    let mut neighbour = Neighbour::of(&testbed);
    let before = testbed.resident_bytes();
    let mut flooder = Client::streaming(testbed.address, "/tick?ms=20");
    for _ in 0..32 {
        flooder.send(vec![b'x'; 1 << 20]);
        neighbour.ticks_on();
    }
    flooder.data();
    let grown = testbed.resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes");
}
