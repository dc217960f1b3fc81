//! Clients that fall silent without a word: a cable is cut, a laptop closed, a box in between
//! forgets the connection. Only the system's time limits tell; `tests/run` waits for them.

use std::time::{Duration, Instant};

use crate::{
    client::Client,
    testbed::{Footprint, Neighbour, Testbed},
};

#[test]
#[ignore = "takes half a minute"]
fn behind_a_cut_cable_streams_with_traffic_are_given_up_within_25_s() {
    let testbed = Testbed::start(&[]);
    let mut neighbour = Neighbour::of(&testbed);
    let before = testbed.footprint();
    let clients: Vec<_> =
        (0..20).map(|_| Client::streaming(testbed.address, "/tick?ms=100")).collect();
    cut(&clients);
    are_given_up_within(25, &testbed, before, &mut neighbour);
}

#[test]
#[ignore = "takes half a minute"]
fn behind_a_cut_cable_a_stuck_reader_is_given_up_within_60_s() {
    let testbed = Testbed::start(&[]);
    let mut neighbour = Neighbour::of(&testbed);
    let before = testbed.footprint();
    let clients: Vec<_> =
        (0..20).map(|_| Client::streaming(testbed.address, "/tick?ms=1&bytes=100000")).collect();
    (0..20).for_each(|_| neighbour.ticks_on());
    cut(&clients);
    are_given_up_within(60, &testbed, before, &mut neighbour);
}

#[test]
#[ignore = "takes a minute"]
fn behind_a_cut_cable_idle_connections_are_given_up_within_60_s() {
    let testbed = Testbed::start(&["--idle-timeout-ms", "3600000", "--body-timeout-ms", "3600000"]);
    let mut neighbour = Neighbour::of(&testbed);
    let before = testbed.footprint();
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(Client::streaming(testbed.address, "/idle"));
        clients.push(Client::streaming(testbed.address, "/topic"));
        clients.push(Client::streaming(testbed.address, "/tick?ms=3600000"));
        clients.push(Client::connect(testbed.address));
        let mut asked = Client::connect(testbed.address);
        assert_eq!(asked.get("/hello").status, 200);
        clients.push(asked);
        let mut half_way = Client::connect(testbed.address);
        half_way.send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\n");
        clients.push(half_way);
    }
    cut(&clients);
    are_given_up_within(60, &testbed, before, &mut neighbour);
}

fn cut(clients: &[Client]) {
    clients.iter().for_each(Client::cut_cable);
}

/// The system's own timers decide, by the clock; how busy the machine is adds little to them.
fn are_given_up_within(
    seconds: u64,
    testbed: &Testbed,
    before: Footprint,
    neighbour: &mut Neighbour,
) {
    let start = Instant::now();
    while testbed.descriptors() > before.descriptors {
        neighbour.ticks_on();
        let waited = start.elapsed();
        assert!(waited < Duration::from_secs(seconds), "after {waited:?} they are still there");
    }
    testbed.is_back_at(before);
}
