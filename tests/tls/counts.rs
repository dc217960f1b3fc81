//! What is counted of TLS: each handshake once, with its reason, and what is held, to the last byte.

use std::{io::Write, time::Duration};

use starwheel::{Config, TlsStats, testing::Simulation};

use super::{GET, GET_LARGE, GET_TICKS, faults, routes};
use crate::https::Localhost;

fn assert_all_counted(simulation: &Simulation, seed: u64) {
    let TlsStats { handshaking, handshakes, failed, handshake_ms, .. } = simulation.stats().tls;
    let accepted = simulation.stats().accepted - simulation.stats().resets;
    assert_eq!(handshaking + handshakes + failed.total(), accepted, "seed {seed}");
    assert_eq!(handshake_ms.count(), handshakes, "seed {seed}");
}

#[test]
fn a_handshake_is_counted_by_its_end() {
    let localhost = Localhost::new();
    let mut simulation = Simulation::new(routes());
    let mut hello = Vec::new();
    localhost.session().write_tls(&mut hello).unwrap();
    let version = b"\x00\x2b\x00\x05\x04\x03\x04\x03\x03";
    let mut old = hello.clone();
    let at = old.windows(9).position(|it| it == version).expect("supported_versions");
    old[at + 6] = 3;
    let mut other_type = hello.clone();
    other_type[5] = 2;
    let tiny: Vec<u8> = std::iter::once(&[1_u8, 0, 0xff, 0xff][..])
        .chain([&[0; 600][..]])
        .flatten()
        .flat_map(|byte| [22, 3, 1, 0, 1, *byte])
        .collect();
    for bytes in [GET, &old, &other_type, &tiny, &hello[..50]] {
        let client = simulation.connect_tls(&localhost.server);
        simulation.send(client, bytes);
        simulation.turn();
    }
    let leaving = simulation.connect_tls(&localhost.server);
    simulation.half_close(leaving);
    let gone = simulation.connect_tls(&localhost.server);
    simulation.reset(gone);
    for _ in 0..3 {
        localhost.connect(&mut simulation).send(&mut simulation, GET);
    }
    assert_eq!(simulation.stats().tls.handshaking, 1);
    simulation.advance(Duration::from_secs(10));
    let tls = simulation.stats().tls;
    let reasons = tls.failed.by_reason().map(|(_, count)| count);
    // timed_out, not_tls, old_version, refused, too_long, overload, closed
    assert_eq!(reasons, [1, 1, 1, 1, 1, 0, 2]);
    assert_eq!((tls.handshaking, tls.handshakes, tls.resumed), (0, 3, 2), "with tickets");
    assert_eq!((tls.alerts_sent, tls.faults), (4, 0));
    assert_all_counted(&simulation, 0);
}

#[test]
fn a_clients_alerts_and_faults_are_told_apart() {
    let localhost = Localhost::new();
    let mut simulation = Simulation::new(routes());
    let stranger = Localhost::new();
    let mut distrustful = localhost.connect(&mut simulation);
    distrustful.session = stranger.session();
    distrustful.send(&mut simulation, GET);
    let tls = simulation.stats().tls;
    assert_eq!((tls.alerts_received, tls.failed.refused, tls.alerts_sent), (1, 1, 0));
    let mut client = localhost.connect(&mut simulation);
    client.send(&mut simulation, GET_TICKS);
    let mut record = client.seal(b"data");
    *record.last_mut().unwrap() ^= 1;
    simulation.send(client.client, &record);
    simulation.turn();
    let tls = simulation.stats().tls;
    assert_eq!((tls.alerts_sent, tls.faults, tls.alerts_received), (1, 1, 1));
    let mut client = localhost.connect(&mut simulation);
    client.send(&mut simulation, GET);
    client.session.send_close_notify();
    client.send(&mut simulation, b"");
    let tls = simulation.stats().tls;
    assert_eq!((tls.alerts_sent, tls.faults, tls.alerts_received), (1, 1, 1), "an orderly end");
}

#[test]
fn a_handshakes_time_is_from_accept_to_its_end() {
    let localhost = Localhost::new();
    let mut simulation = Simulation::new(routes());
    let mut client = localhost.connect(&mut simulation);
    simulation.advance(Duration::from_millis(30));
    client.converse(&mut simulation);
    simulation.advance(Duration::from_millis(70));
    client.send(&mut simulation, GET);
    let times = simulation.stats().tls.handshake_ms;
    assert_eq!((times.count(), times.sum()), (1, 100));
}

/// They are beyond the bound of the outbox: a record that has been cut must be kept.
#[test]
fn sealed_bytes_that_a_slow_client_does_not_take_are_counted() {
    let localhost = Localhost::new();
    let mut simulation = Simulation::new(routes());
    let mut client = localhost.connect(&mut simulation);
    client.send(&mut simulation, GET);
    simulation.set_faults(faults(|it| it.socket_buffer_bytes = 1_000));
    simulation.stall(client.client);
    let request = client.seal(GET_LARGE);
    simulation.send(client.client, &request);
    simulation.turn();
    let unsent_bytes = simulation.stats().tls.unsent_bytes;
    assert_eq!(unsent_bytes, 16_384 + 22 - 1_000, "the rest of one record");
    simulation.read_some(client.client, 400);
    simulation.turn();
    assert_eq!(simulation.stats().tls.unsent_bytes, unsent_bytes - 400);
    simulation.reset(client.client);
    simulation.turn();
    assert_eq!(simulation.stats().tls.unsent_bytes, 0);
}

/// Whatever the network does, and whenever a connection ends.
#[test]
fn each_handshake_is_counted_once_and_nothing_stays_held() {
    let localhost = Localhost::new();
    for seed in 0..60 {
        let mut simulation = Simulation::with_config(Config::default(), seed, routes());
        simulation.set_faults(faults(|it| {
            it.resets_percent = 2;
            it.short_reads_percent = 60;
            it.short_writes_percent = 60;
            it.would_block_percent = 20;
            it.socket_buffer_bytes = 5_000;
        }));
        for (nth, request) in [GET, GET_LARGE, GET_TICKS].into_iter().cycle().take(6).enumerate() {
            let mut client = localhost.connect(&mut simulation);
            client.session.writer().write_all(request).unwrap();
            client.session.refresh_traffic_keys().ok();
            for _ in 0..(seed as usize + nth) % 9 {
                client.converse(&mut simulation);
                assert_all_counted(&simulation, seed);
            }
            if nth % 2 == 0 {
                let part = client.seal(b"part");
                simulation.send(client.client, &part[..part.len() / 2]);
            }
        }
        simulation.turn();
        assert_all_counted(&simulation, seed);
        simulation.shutdown();
        let tls = simulation.stats().tls;
        assert_eq!(simulation.stats().connections, 0, "seed {seed}");
        assert_eq!(
            (tls.handshaking, tls.partial_bytes, tls.unsent_bytes),
            (0, 0, 0),
            "seed {seed}"
        );
        assert_all_counted(&simulation, seed);
    }
}
