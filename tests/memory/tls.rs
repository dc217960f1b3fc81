//! What a TLS handshake keeps for a client that does not finish it.

use starwheel::{
    Config, Response, Router,
    testing::{Client, Simulation},
};

use crate::{https::Localhost, live_bytes};

#[test]
fn an_unfinished_handshake_takes_8_kb_and_what_the_client_has_sent() {
    let localhost = Localhost::new();
    let mut hello = Vec::new();
    localhost.session().write_tls(&mut hello).unwrap();
    // A hello of 2^16 bytes, which never ends.
    let record = [&[22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff][..], &[0; 16_380]].concat();
    let endless = [&record[..], &record, &record, &record[..15_000]].concat();
    for (what, sent, bytes_max) in [
        ("nothing", &[][..], 4_000),
        ("most of a hello", &hello[..200], 5_000),
        ("a hello", &hello, 8_000),
        // 64 KiB in the handshake, and as many in the simulated network.
        ("most of an endless hello", &endless, 8_000 + 2 * 65_536),
    ] {
        let bytes = bytes_per_client(&localhost, sent);
        assert!(bytes <= bytes_max, "{what}: {bytes}");
    }
}

/// The bound is for their bytes; the rest is what each of them takes besides.
#[test]
fn incomplete_records_take_no_more_memory_than_their_bound_allows() {
    let localhost = Localhost::new();
    let mut config = Config::default();
    config.limits.tls_partial_bytes = 400_000;
    let mut simulation = Simulation::with_config(config, 0, Router::new());
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| localhost.connect(&mut simulation)).collect();
    let records: Vec<_> = clients
        .iter_mut()
        .map(|client| {
            client.send(&mut simulation, b"");
            client.seal(&[b'x'; 16_000])
        })
        .collect();
    let bytes = live_bytes();
    for (client, record) in clients.iter().zip(&records) {
        for part in record[..15_000].chunks(100) {
            simulation.send(client.client, part);
            simulation.turn();
        }
    }
    let (taken, connections) = (live_bytes() - bytes, simulation.stats().connections as usize);
    assert_eq!(connections, 400_000 / 15_000);
    assert!(taken <= 2 * 400_000 + CLIENTS * 2_000, "{taken} bytes");
}

fn bytes_per_client(localhost: &Localhost, sent: &[u8]) -> usize {
    let mut simulation = Simulation::new(Router::new().get("/", |_req, _cx| Response::text("hi")));
    let _first = simulation.connect_tls(&localhost.server);
    let bytes = live_bytes();
    let clients: Vec<Client> =
        (0..CLIENTS).map(|_| simulation.connect_tls(&localhost.server)).collect();
    for client in clients {
        simulation.send(client, sent);
        simulation.turn();
        drop(simulation.take_received(client));
    }
    assert_eq!(simulation.stats().connections as usize, CLIENTS + 1);
    (live_bytes() - bytes) / CLIENTS
}

const CLIENTS: usize = 64;
