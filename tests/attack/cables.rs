//! Clients that vanish silently: a cable is cut, a laptop closed, a middlebox forgets the
//! connection. Only the system's timeouts detect it; `tests/run` waits for them.

use std::time::{Duration, Instant};

use crate::{
    client::Client,
    testbed::{Footprint, Neighbour, Testbed},
};

#[test]
#[ignore = "takes half a minute"]
fn after_a_cable_cut_streams_with_traffic_are_closed_within_25_s() {
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
fn after_a_cable_cut_a_stuck_reader_is_disconnected_within_60_s() {
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
fn after_a_cable_cut_idle_connections_are_closed_within_60_s() {
    let testbed = Testbed::start(&["--idle-timeout-ms", "50000"]);
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

#[test]
#[ignore = "takes a minute"]
fn after_a_cable_cut_streams_without_comments_are_closed_within_60_s() {
    let testbed = Testbed::start(&["--keep-alive-ms", "3600000"]);
    let mut neighbour = Neighbour::of(&testbed);
    let before = testbed.footprint();
    let clients: Vec<_> = (0..20).map(|_| Client::streaming(testbed.address, "/topic")).collect();
    cut(&clients);
    are_given_up_within(60, &testbed, before, &mut neighbour);
}

/// Probes of streams that were opened together are sent together, and those that exceed the queue
/// of the loopback device are lost. Thousands of live clients, behind a proxy on the same machine
/// for example, were disconnected 25 s after they connected.
#[test]
#[ignore = "takes a minute"]
fn silent_streams_that_connected_together_are_not_disconnected() {
    let descriptors = starwheel::raise_descriptor_limit().unwrap();
    let each = usize::try_from(descriptors.min(9_000)).unwrap() / 3;
    assert!(each >= 1_500, "fewer would get through");
    // Both rely on probes in the first 30 s, if they are allowed to.
    let some_comments = Testbed::start(&[]);
    let no_comments = Testbed::start(&["--keep-alive-ms", "3600000"]);
    let crowds = [(&some_comments, "/idle"), (&no_comments, "/topic")].map(|(testbed, path)| {
        (0..each).map(|_| Client::streaming(testbed.address, path)).collect::<Vec<_>>()
    });
    let end = Instant::now() + Duration::from_secs(55);
    let mut neighbour = Neighbour::of(&some_comments);
    while Instant::now() < end {
        neighbour.ticks_on();
    }
    for testbed in [&some_comments, &no_comments] {
        assert_eq!(testbed.figure("streams_closed_total"), 0);
    }
    assert_eq!(some_comments.figure("streams"), each as u64 + 1);
    assert_eq!(no_comments.figure("streams"), each as u64);
    drop(crowds);
}

fn cut(clients: &[Client]) {
    clients.iter().for_each(Client::cut_cable);
}

/// The system's own timers decide; a busy machine adds little to them.
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
