//! Very many connections, and more than there are descriptors for.

use std::{io::ErrorKind, thread, time::Duration};

use crate::{
    client::{Client, get, wait_for},
    testbed::{Neighbour, Signal, Testbed},
};

#[test]
fn thousands_of_short_connections_leave_nothing_behind() {
    let testbed = Testbed::start(&[]);
    let mut neighbour = Neighbour::of(&testbed);
    let (descriptors, bytes) = (testbed.descriptors(), testbed.resident_bytes());
    for number in 0..3_000 {
        let mut client = Client::connect(testbed.address);
        match number % 3 {
            0 => assert_eq!(client.get("/hello").status, 200),
            1 => client.open_stream("/tick?ms=1000"),
            _ => drop(client),
        }
    }
    neighbour.ticks_on();
    wait_for("the descriptors are back", || (testbed.descriptors() == descriptors).then_some(()));
    let grown = testbed.resident_bytes().saturating_sub(bytes);
    assert!(grown < 16 << 20, "{grown} bytes");
}

#[test]
fn thousands_of_aborted_connections_leave_nothing_behind() {
    let testbed = Testbed::start(&[]);
    let mut neighbour = Neighbour::of(&testbed);
    let (descriptors, bytes) = (testbed.descriptors(), testbed.resident_bytes());
    let request = get("/tick?ms=1&bytes=10000");
    for number in 0..3_000 {
        let mut client = Client::connect(testbed.address);
        // Before, in the middle of, and behind the request.
        client.send(&request[..number % (request.len() + 1)]);
        client.reset();
    }
    neighbour.ticks_on();
    wait_for("the descriptors are back", || (testbed.descriptors() == descriptors).then_some(()));
    let grown = testbed.resident_bytes().saturating_sub(bytes);
    assert!(grown < 16 << 20, "{grown} bytes");
}

#[test]
fn without_descriptors_streams_tick_on_nothing_spins_and_accepting_comes_back() {
    let testbed = Testbed::with_descriptors(64, &[]);
    let mut neighbour = Neighbour::of(&testbed);
    let crowd: Vec<_> = (0..150).map(|_| Client::connect(testbed.address)).collect();
    testbed.uses_all_descriptors(64);
    neighbour.ticks_on();
    assert_little_cpu(&testbed);
    neighbour.ticks_on();

    // Those that are closed make room, one by one, for those that wait.
    let (mut waiting, mut served) = (Vec::new(), 0);
    for mut client in crowd {
        client.request("/hello");
        waiting.push(client);
    }
    for mut client in waiting.drain(..) {
        assert_eq!(client.answer().body, "Hello, World!");
        served += 1;
    }
    assert_eq!(served, 150);
    assert_eq!(Client::connect(testbed.address).get("/hello").status, 200);
    neighbour.ticks_on();
}

#[test]
fn a_drain_without_descriptors_does_not_spin() {
    let mut testbed = Testbed::with_descriptors(32, &["--drain-ms", "60000"]);
    let mut streams: Vec<_> =
        (0..3).map(|_| Client::streaming(testbed.address, "/tick?ms=50")).collect();
    let crowd: Vec<_> = (0..60).map(|_| Client::connect(testbed.address)).collect();
    testbed.uses_all_descriptors(32);
    testbed.signal(Signal::Term);
    wait_for("nobody listens", || {
        let error = std::net::TcpStream::connect(testbed.address).err()?;
        (error.kind() == ErrorKind::ConnectionRefused).then_some(())
    });
    assert_little_cpu(&testbed);
    streams[2].data();
    testbed.signal(Signal::Term);
    assert_eq!(testbed.exit_code(), Some(0));
    drop(crowd);
}

/// A ratio, so that the speed of the machine does not matter: one that spins would use 100 %.
fn assert_little_cpu(testbed: &Testbed) {
    let before = testbed.cpu_time();
    thread::sleep(Duration::from_secs(2));
    let used = testbed.cpu_time() - before;
    assert!(used < Duration::from_millis(600), "{used:?} of 2 s");
}
