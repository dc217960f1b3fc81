//! More connections than the limit, and the responses to them.

use crate::{
    client::{Client, wait_for},
    testbed::{Neighbour, Testbed},
};

#[test]
fn connections_over_the_limit_are_refused_and_others_are_not_affected() {
    let testbed = Testbed::start(&["--connections", "100"]);
    let mut neighbour = Neighbour::of(&testbed);
    let mut inside: Vec<_> = (1..100).map(|_| Client::connect(testbed.address)).collect();
    inside.iter_mut().for_each(|client| assert_eq!(client.get("/hello").status, 200));
    for _ in 0..1_000 {
        let answer = Client::connect(testbed.address).get("/hello");
        assert_eq!(answer.status, 503);
        assert!(answer.head.to_lowercase().contains("\r\nretry-after: "), "{}", answer.head);
    }
    // An `EventSource` would not reconnect after any other response.
    let mut event_source = Client::connect(testbed.address);
    event_source.send("GET /tick HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n");
    event_source.stream_head();
    let delay = event_source.event().expect("a delay");
    assert!(delay.contains("\nretry: "), "{delay}");
    assert_eq!(event_source.event(), None);
    neighbour.ticks_on();
    inside.iter_mut().for_each(|client| assert_eq!(client.get("/hello").status, 200));
}

#[test]
fn slow_requests_beyond_the_limit_hold_few_descriptors_and_leave_them() {
    let testbed = Testbed::start(&["--connections", "10", "--head-timeout-ms", "1000"]);
    let mut neighbour = Neighbour::of(&testbed);
    let before = testbed.descriptors();
    let mut crowd: Vec<_> = (0..1_000).map(|_| Client::connect(testbed.address)).collect();
    for client in &mut crowd {
        // Connections that were reset may notice now.
        let _ = client.try_send(b"GET / HTTP/1.1\r\nHost:");
    }
    neighbour.ticks_on();
    let most = before + 9 + 256;
    assert!(testbed.descriptors() <= most, "{}", testbed.descriptors());
    wait_for("they are gone", || (testbed.descriptors() <= before + 9).then_some(()));
    neighbour.ticks_on();
}

#[test]
fn an_address_over_its_limit_gets_a_refusal() {
    let testbed = Testbed::start(&["--connections-per-ip", "2"]);
    let mut inside = [(); 2].map(|()| Client::connect(testbed.address));
    inside.iter_mut().for_each(|client| assert_eq!(client.get("/hello").status, 200));
    let answer = Client::connect(testbed.address).get("/hello");
    assert_eq!(answer.status, 429);
    assert!(answer.body.contains("your address"), "{}", answer.body);
}

#[test]
fn accepts_that_fail_for_want_of_descriptors_are_counted() {
    let testbed = Testbed::with_descriptors(64, &[]);
    let mut scraper = Client::connect(testbed.address);
    let failures = |scraper: &mut Client| {
        let text = scraper.get("/metrics").body;
        let (_, rest) = text.split_once("\nstarwheel_accept_failures_total ").expect("a count");
        rest.lines().next().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(failures(&mut scraper), 0);
    let _crowd: Vec<_> = (0..100).map(|_| Client::connect(testbed.address)).collect();
    testbed.uses_all_descriptors(64);
    wait_for("failures", || (failures(&mut scraper) > 1).then_some(()));
}
