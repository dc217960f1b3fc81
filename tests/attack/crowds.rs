//! Very many connections, each short, aborted, or never complete.

use std::thread;

use socket2::{Domain, Socket, Type};

use crate::{
    client::{Client, get},
    testbed::{ALLOCATOR_BYTES, Neighbour, Testbed},
};

#[test]
fn twenty_thousand_short_connections_leak_nothing() {
    let testbed = Testbed::start(&[]);
    let mut neighbour = Neighbour::of(&testbed);
    let visits = |count: usize| {
        from_four_sides(count, |number| {
            let mut client = Client::connect(testbed.address);
            match number % 4 {
                0 => assert_eq!(client.get("/hello").status, 200),
                1 => client.open_stream("/tick?ms=1000"),
                2 => client.open_stream("/topic"),
                _ => drop(client),
            }
        });
    };
    let before = testbed.footprint();
    visits(1_000); // Tables and pools get their size.
    let before = testbed.warmed_up(before);
    visits(20_000);
    neighbour.ticks_on();
    testbed.is_back_at(before);
    // Not 40 bytes for each.
    testbed.has_grown_at_most(768 << 10, before);
}

#[test]
fn five_thousand_aborted_connections_leak_nothing() {
    let testbed = Testbed::start(&[]);
    let mut neighbour = Neighbour::of(&testbed);
    let request = get("/tick?ms=1&bytes=10000");
    let visits = |count: usize| {
        from_four_sides(count, |number| {
            let mut client = Client::connect(testbed.address);
            // Before, in the middle of, and after the request.
            client.send(&request[..number % (request.len() + 1)]);
            client.reset();
        });
    };
    let before = testbed.footprint();
    visits(500);
    let before = testbed.warmed_up(before);
    visits(5_000);
    neighbour.ticks_on();
    testbed.is_back_at(before);
    testbed.has_grown_at_most(768 << 10, before);
}

#[test]
fn half_open_connections_block_no_others() {
    let testbed = Testbed::start(&[]);
    let mut neighbour = Neighbour::of(&testbed);
    let before = testbed.footprint();
    let half_open: Vec<Socket> = (0..2_000)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).unwrap();
            let client = Client::over(socket.try_clone().unwrap().into());
            client.cut_cable(); // The answer to the first packet is never acknowledged.
            socket.connect(&testbed.address.into()).unwrap_err();
            socket
        })
        .collect();
    for _ in 0..10 {
        assert_eq!(Client::connect(testbed.address).get("/hello").status, 200);
        neighbour.ticks_on();
    }
    drop(half_open);
    testbed.is_back_at(before);
}

#[test]
fn silent_connections_whose_clients_are_gone_are_closed() {
    let testbed =
        Testbed::start(&["--first-request-timeout-ms", "500", "--linger-timeout-ms", "500"]);
    let mut neighbour = Neighbour::of(&testbed);
    let before = testbed.footprint();
    let silent: Vec<_> = (0..500)
        .map(|_| {
            let client = Client::connect(testbed.address);
            client.cut_cable(); // It will not see the FIN, and never send one.
            client
        })
        .collect();
    neighbour.ticks_on();
    testbed.is_back_at(before);
    testbed.has_grown_at_most(ALLOCATOR_BYTES, before);
    drop(silent);
}

/// Calls `visit` with all numbers below `count`, on four threads.
fn from_four_sides(count: usize, visit: impl Fn(usize) + Sync) {
    thread::scope(|scope| {
        for side in 0..4 {
            let visit = &visit;
            scope.spawn(move || (side..count).step_by(4).for_each(visit));
        }
    });
}
