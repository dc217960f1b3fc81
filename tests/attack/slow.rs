//! Clients that take their time.

use std::{io::ErrorKind, time::Duration, time::Instant};

use crate::{
    client::{Client, PATIENCE, field, wait_for},
    testbed::{Neighbour, Testbed},
};

#[test]
fn a_head_that_comes_too_slowly_is_refused() {
    let testbed = Testbed::start(&["--head-timeout-ms", "300"]);
    let mut neighbour = Neighbour::of(&testbed);
    let mut client = Client::connect(testbed.address);
    client.drips_until_refused("GET /hello HTTP/1.1\r\nHost: test\r\nX: ");
    neighbour.ticks_on();
}

#[test]
fn a_body_that_comes_too_slowly_is_refused() {
    let testbed = Testbed::start(&["--body-timeout-ms", "300"]);
    let mut neighbour = Neighbour::of(&testbed);
    let mut client = Client::connect(testbed.address);
    client.drips_until_refused(
        "POST /hello HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n",
    );
    let mut client = Client::connect(testbed.address);
    client.drips_until_refused(
        "POST /hello HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n8000\r\n",
    );
    neighbour.ticks_on();
}

#[test]
fn a_connection_without_a_request_is_closed_and_streams_are_not() {
    let testbed = Testbed::start(&["--idle-timeout-ms", "200"]);
    let mut neighbour = Neighbour::of(&testbed);
    let mut quiet = Client::connect(testbed.address);
    quiet.open_stream("/idle");
    let mut never_asked = Client::connect(testbed.address);
    let mut asked_once = Client::connect(testbed.address);
    assert_eq!(asked_once.get("/hello").status, 200);
    assert_eq!(never_asked.rest(), "");
    assert_eq!(asked_once.rest(), "");
    neighbour.ticks_on();
    quiet.socket().set_nonblocking(true).unwrap();
    let still_open = quiet.socket().peek(&mut [0]).unwrap_err();
    assert_eq!(still_open.kind(), ErrorKind::WouldBlock);
}

#[test]
fn clients_that_never_read_are_left_and_a_neighbour_ticks_on() {
    let testbed = Testbed::start(&["--stall-timeout-ms", "1000"]);
    let mut neighbour = Neighbour::of(&testbed);
    let stuck: Vec<_> =
        (0..5).map(|_| Client::streaming(testbed.address, "/tick?ms=10&bytes=1000000")).collect();
    let metrics = || Client::connect(testbed.address).get("/metrics").body;
    wait_for("all are left", || {
        metrics().contains("closed_total{reason=\"slow\"} 5\n").then_some(())
    });
    neighbour.ticks_on();
    drop(stuck);
}

#[test]
fn hundreds_of_slow_clients_hold_nobody_up() {
    let testbed = Testbed::start(&["--head-timeout-ms", "500"]);
    let mut neighbour = Neighbour::of(&testbed);
    let mut slow: Vec<_> = (0..300).map(|_| Client::connect(testbed.address)).collect();
    slow.iter_mut().for_each(|client| client.send("GET /hello HTTP/1.1\r\n"));
    neighbour.ticks_on();
    assert_eq!(Client::connect(testbed.address).get("/hello").status, 200);
    slow.iter_mut().for_each(|client| assert_eq!(client.answer().status, 408));
    neighbour.ticks_on();
}

impl Client {
    /// Sends `beginning` and then a byte now and then, until there is an answer: 408 behind 300 ms.
    fn drips_until_refused(&mut self, beginning: &str) {
        let start = Instant::now();
        self.send(beginning);
        self.socket().set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        while let Err(error) = self.socket().peek(&mut [0]) {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            assert!(start.elapsed() < PATIENCE, "it is never refused");
            let _refused_meanwhile = self.try_send(b"a");
        }
        // The server counts in whole milliseconds.
        let had = start.elapsed();
        assert!(had > Duration::from_millis(298), "it has more time than {had:?}");
        self.socket().set_read_timeout(Some(PATIENCE)).unwrap();
        let answer = self.answer();
        assert_eq!(answer.status, 408);
        assert_eq!(field(&answer.head, "connection"), Some("close"));
        assert_eq!(self.rest(), "", "the connection ends");
    }
}
