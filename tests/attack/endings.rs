//! Clients that close their half of a connection, and closures that panic.

use std::{io::Write, net::Shutdown, thread};

use crate::{
    client::{Client, get, status},
    testbed::{Neighbour, Testbed},
};

#[test]
fn a_client_that_half_closes_gets_its_answer() {
    let testbed = Testbed::start(&[]);
    for path in ["/hello", "/health", "/nowhere", "/inject?data=x"] {
        let mut client = Client::connect(testbed.address);
        client.request(path);
        client.half_close();
        let answer = client.rest();
        assert!(answer.starts_with("HTTP/1.1 ") && answer.len() > 100, "{path}: {answer:?}");
    }
}

#[test]
fn a_client_that_half_closes_after_many_requests_gets_all_responses_without_spinning() {
    let testbed = Testbed::start(&[]);
    let mut neighbour = Neighbour::of(&testbed);
    let before = testbed.footprint();
    // More than the system and the server queue for a client that does not read.
    let requests = 50_000;
    let mut client = Client::connect_with_buffer(testbed.address, 4096);
    let mut writing = client.socket().try_clone().unwrap();
    let writer = thread::spawn(move || {
        writing.write_all(get("/hello").repeat(requests).as_bytes())?;
        writing.shutdown(Shutdown::Write)
    });
    testbed.stands_still(&mut neighbour);
    testbed.does_not_spin(&mut neighbour);
    assert!(testbed.figure("requests_total") < requests as u64, "they wait for the client to read");
    for _ in 0..requests {
        assert_eq!(client.answer().body, "Hello, World!");
    }
    writer.join().unwrap().unwrap();
    assert_eq!(client.rest(), "", "the connection ends after the last");
    testbed.is_back_at(before);
}

#[test]
fn streams_of_clients_that_half_close_end_and_nothing_spins() {
    let testbed = Testbed::start(&[]);
    let mut neighbour = Neighbour::of(&testbed);
    let before = testbed.footprint();
    let mut clients = Vec::new();
    for path in ["/tick?ms=1", "/tick?ms=60000", "/topic", "/idle", "/tick?ms=1&bytes=100000"] {
        for _ in 0..20 {
            clients.push(Client::streaming(testbed.address, path));
        }
    }
    clients.iter_mut().for_each(Client::half_close);
    // Although the client does not read the rest, and does not close.
    testbed.does_not_spin(&mut neighbour);
    assert_eq!(testbed.figure("streams"), 1, "the neighbour's");
    drop(clients);
    testbed.is_back_at(before);
}

#[test]
fn panicking_closures_end_only_their_streams_and_leak_nothing() {
    let mut testbed = Testbed::start(&[]);
    let mut neighbour = Neighbour::of(&testbed);
    let mut beside: Vec<_> =
        (0..50).map(|_| Client::streaming(testbed.address, "/tick?ms=20")).collect();
    let before = testbed.footprint();
    for _ in 0..10 {
        let mut panicking: Vec<_> = (0..20).map(|_| Client::connect(testbed.address)).collect();
        panicking.iter_mut().for_each(|client| client.request("/panic"));
        neighbour.ticks_on();
        for mut client in panicking {
            let answer = client.rest();
            assert_eq!(status(&answer), 200);
            assert!(!answer.ends_with("0\r\n\r\n"), "cut, not finished: {answer:?}");
        }
    }
    beside.iter_mut().for_each(|client| drop(client.data()));
    testbed.is_back_at(before);
    assert_eq!(testbed.figure("panics_total"), 200);
    neighbour.ticks_on();
    assert!(testbed.is_running());
}
