//! More connections than descriptors.

use std::{io::ErrorKind, net::TcpStream};

use crate::{
    client::{Client, wait_for},
    testbed::{Neighbour, Signal, Testbed},
};

#[test]
fn without_descriptors_streams_tick_and_closed_connections_make_room() {
    let testbed = Testbed::with_descriptors(64, &[]);
    let mut neighbour = Neighbour::of(&testbed);
    let crowd: Vec<_> = (0..150).map(|_| Client::connect(testbed.address)).collect();
    testbed.uses_all_descriptors(64);
    testbed.does_not_spin(&mut neighbour);
    // Closed connections make room, one by one, for waiting ones.
    are_all_served(crowd);
    assert_eq!(Client::connect(testbed.address).get("/hello").status, 200);
    neighbour.ticks_on();
}

#[test]
fn a_live_process_whose_descriptors_are_taken_away_accepts_again_when_it_gets_them_back() {
    let testbed = Testbed::start(&[]);
    let mut neighbour = Neighbour::of(&testbed);
    let mut crowd: Vec<_> =
        (0..30).map(|_| Client::streaming(testbed.address, "/tick?ms=200")).collect();
    let before = testbed.descriptors();
    testbed.may_have_descriptors(20); // Less than it has.
    let mut waiting: Vec<_> = (0..100).map(|_| Client::connect(testbed.address)).collect();
    waiting.iter_mut().for_each(|client| client.request("/hello"));
    testbed.does_not_spin(&mut neighbour);
    assert_eq!(testbed.descriptors(), before, "no connection was accepted");
    crowd.iter_mut().for_each(|client| drop(client.data()));

    // No connection closes or arrives: the server must find out that descriptors are available
    // again.
    testbed.may_have_descriptors(1_000);
    for client in &mut waiting {
        assert_eq!(client.answer().body, "Hello, World!");
    }
    crowd.iter_mut().for_each(|client| drop(client.data()));
    neighbour.ticks_on();
}

#[test]
fn a_drain_without_descriptors_does_not_spin() {
    let mut testbed = Testbed::with_descriptors(32, &["--drain-ms", "3600000"]);
    let mut neighbours: Vec<_> = (0..3).map(|_| Neighbour::of(&testbed)).collect();
    let crowd: Vec<_> = (0..60).map(|_| Client::connect(testbed.address)).collect();
    testbed.uses_all_descriptors(32);
    testbed.signal(Signal::Term);
    wait_for("the listener is closed", || {
        let error = TcpStream::connect(testbed.address).err()?;
        (error.kind() == ErrorKind::ConnectionRefused).then_some(())
    });
    testbed.does_not_spin(&mut neighbours[2]); // Its moment comes in an hour.
    testbed.signal(Signal::Term);
    assert_eq!(testbed.exit_code(), Some(0));
    drop(crowd);
}

fn are_all_served(mut crowd: Vec<Client>) {
    crowd.iter_mut().for_each(|client| client.request("/hello"));
    for mut client in crowd {
        assert_eq!(client.answer().body, "Hello, World!");
    }
}
