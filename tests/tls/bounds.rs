//! What clients over TLS may take: time for handshakes and records, bytes of both, and a share of the
//! turn.

use std::time::Duration;

use starwheel::{
    Config, Router, Sse,
    testing::{ServerEnd, Simulation},
};

use super::{GET, GET_TICKS, routes};
use crate::https::{End, HttpsClient, Localhost};

#[test]
fn a_client_that_says_nothing_or_only_half_a_handshake_is_closed() {
    let localhost = Localhost::new();
    for hello_bytes in [0, 3, 100] {
        let mut simulation = Simulation::new(routes());
        let client = simulation.connect_tls(&localhost.server);
        let mut hello = Vec::new();
        localhost.session().write_tls(&mut hello).unwrap();
        simulation.send(client, &hello[..hello_bytes]);
        simulation.advance(Duration::from_millis(9_999));
        assert_eq!(simulation.stats().connections, 1);
        simulation.advance(Duration::from_millis(1));
        assert_eq!(simulation.stats().connections, 0, "after {hello_bytes} bytes");
        assert_eq!(simulation.stats().timed_out, 1);
    }
}

/// From accept to the end, whatever comes in between.
#[test]
fn a_client_that_goes_slowly_through_its_handshake_is_closed() {
    let mut config = Config::default();
    config.limits.tls_handshake_timeout = Duration::from_secs(4);
    let localhost = Localhost::new();
    let mut simulation = Simulation::with_config(config, 0, routes());
    let mut client = localhost.connect(&mut simulation);
    for _ in 0..4 {
        assert_eq!(simulation.stats().connections, 1);
        let mut hello = [0; 40];
        let bytes = client.session.write_tls(&mut &mut hello[..]).unwrap();
        simulation.send(client.client, &hello[..bytes]);
        simulation.advance(Duration::from_secs(1));
    }
    assert_eq!((simulation.stats().connections, simulation.stats().timed_out), (0, 1));
    assert_eq!(simulation.server_end(client.client), Some(ServerEnd::Fin));
}

#[test]
fn the_first_request_has_its_own_time_after_the_handshake() {
    let localhost = Localhost::new();
    let mut simulation = Simulation::new(routes());
    let mut client = localhost.connect(&mut simulation);
    simulation.advance(Duration::from_secs(9));
    client.send(&mut simulation, b"");
    assert!(!client.session.is_handshaking());
    simulation.advance(Duration::from_millis(14_999));
    assert_eq!(simulation.stats().connections, 1, "10 s are over long ago");
    simulation.advance(Duration::from_millis(1));
    client.send(&mut simulation, b"");
    assert_eq!((simulation.stats().connections, simulation.stats().timed_out), (0, 1));
    assert_eq!(client.end(), Some(&End::CloseNotify));
}

/// It has one timeout for everything, also for its handshake.
#[test]
fn a_client_over_the_limit_gets_its_answer_after_a_handshake_or_none() {
    let mut config = Config::default();
    config.limits.connections = Some(1);
    config.limits.head_timeout = Duration::from_secs(3);
    let localhost = Localhost::new();
    let mut simulation = Simulation::with_config(config, 0, routes());
    let _served = localhost.connect(&mut simulation);
    let mut in_time = localhost.connect(&mut simulation);
    let mut silent = localhost.connect(&mut simulation);
    in_time.send(&mut simulation, b"");
    simulation.advance(Duration::from_millis(2_999));
    in_time.send(&mut simulation, GET);
    assert!(in_time.text().contains(" 503 "), "{}", in_time.text());
    simulation.advance(Duration::from_millis(1));
    assert!(simulation.server_end(silent.client).is_some());
    silent.send(&mut simulation, GET);
    assert_eq!(silent.text(), "");
}

#[test]
fn a_drain_waits_a_second_for_a_handshake() {
    let (localhost, mut simulation) = (Localhost::new(), Simulation::new(routes()));
    let mut prompt = localhost.connect(&mut simulation);
    let silent = localhost.connect(&mut simulation);
    simulation.drain(Duration::from_secs(10));
    simulation.advance(Duration::from_millis(900));
    prompt.send(&mut simulation, GET);
    assert!(prompt.text().ends_with("hello"), "{}", prompt.text());
    simulation.advance(Duration::from_millis(100));
    assert!(simulation.server_end(silent.client).is_some());
}

/// A storm of clients must not make ticks late. In a simulation, an answer has the price of 150 us.
#[test]
fn handshakes_of_a_turn_are_bounded_and_come_in_order() {
    let localhost = Localhost::new();
    for (share_us, answers_max) in [(0, 1), (200, 1), (300, 2), (1_000, 6), (10_000, 66)] {
        let share = Duration::from_micros(share_us);
        let config = with_limits(|limits| limits.tls_handshake_share = share);
        let mut simulation = Simulation::with_config(config, 0, routes());
        let mut clients: Vec<_> = (0..100).map(|_| localhost.connect(&mut simulation)).collect();
        for client in &mut clients {
            let hello = client.seal(b"");
            simulation.send(client.client, &hello);
        }
        let mut answered = 0;
        let mut has_more = true;
        while has_more {
            has_more = simulation.turn_once();
            let is_answered = |it: &HttpsClient| !simulation.received(it.client).is_empty();
            let first = clients.iter().take_while(|it| is_answered(it)).count();
            assert_eq!(clients.iter().filter(|it| is_answered(it)).count(), first, "in order");
            assert!(first - answered <= answers_max, "{answered} and then {first}");
            answered = first;
        }
        for client in &mut clients {
            client.send(&mut simulation, GET);
            assert!(client.text().ends_with("hello"));
        }
    }
}

/// Who comes last waits for all others, but a handshake that was answered ends at once.
#[test]
fn newcomers_wait_behind_others_and_hold_up_no_end() {
    let (localhost, mut simulation) = (Localhost::new(), Simulation::new(routes()));
    let mut early = localhost.connect(&mut simulation);
    let hello = early.seal(b"");
    simulation.send(early.client, &hello);
    simulation.turn();
    let waiting: Vec<_> = (0..40).map(|_| localhost.connect(&mut simulation)).collect();
    for mut client in waiting {
        let hello = client.seal(b"");
        simulation.send(client.client, &hello);
    }
    assert!(simulation.turn_once());
    let flight = simulation.take_received(early.client);
    early.session.read_tls(&mut &flight[..]).unwrap();
    early.session.process_new_packets().unwrap();
    let finished = early.seal(GET);
    simulation.send(early.client, &finished);
    let mut late = localhost.connect(&mut simulation);
    let hello = late.seal(b"");
    simulation.send(late.client, &hello);
    assert!(simulation.turn_once());
    assert_eq!(simulation.stats().tls.handshakes, 1);
    assert_eq!(simulation.stats().requests, 1);
    let mut turns = 0;
    while simulation.received(late.client).is_empty() {
        simulation.turn_once();
        turns += 1;
    }
    assert!((4..8).contains(&turns), "{turns} turns for 28 others");
}

/// Hellos in parts, and those that are asked for another key share, are not answered yet. They take
/// time all the same, and very many of them would take a turn.
#[test]
fn steps_without_an_answer_have_the_share_of_a_turn_too() {
    let localhost = Localhost::new();
    let config = with_limits(|limits| limits.tls_handshake_share = Duration::from_micros(600));
    let mut simulation = Simulation::with_config(config, 0, routes());
    let mut hello = Vec::new();
    localhost.session().write_tls(&mut hello).unwrap();
    let clients: Vec<_> = (0..100).map(|_| simulation.connect_tls(&localhost.server)).collect();
    for client in &clients {
        simulation.send(*client, &hello[..50]);
    }
    let (mut read_bytes, mut has_more) = (0, true);
    while has_more {
        has_more = simulation.turn_once();
        let partial_bytes = simulation.stats().tls.partial_bytes;
        assert!(partial_bytes - read_bytes <= 4 * 50, "{read_bytes} and then {partial_bytes}");
        read_bytes = partial_bytes;
    }
    assert_eq!(read_bytes, 100 * 50);
}

/// Clients that leave while they wait take nobody's turn.
#[test]
fn who_leaves_the_queue_of_handshakes_is_skipped() {
    let (localhost, mut simulation) = (Localhost::new(), Simulation::new(routes()));
    let mut clients: Vec<_> = (0..60).map(|_| localhost.connect(&mut simulation)).collect();
    for client in &mut clients {
        let hello = client.seal(b"");
        simulation.send(client.client, &hello);
    }
    assert!(simulation.turn_once());
    let last = clients.pop().unwrap();
    clients.iter().skip(6).for_each(|client| simulation.reset(client.client));
    simulation.turn();
    // Resets are seen by reads, which wait as all others.
    assert_eq!(simulation.stats().tls.handshaking, 7);
    assert!(!simulation.received(last.client).is_empty());
    let mut newcomer = localhost.connect(&mut simulation);
    newcomer.send(&mut simulation, GET);
    assert!(newcomer.text().ends_with("hello"), "in a slot that was used before");
}

/// A record of this much data, as the client would send it, and the client.
fn record(
    localhost: &Localhost,
    simulation: &mut Simulation,
    data: &[u8],
) -> (HttpsClient, Vec<u8>) {
    let mut client = localhost.connect(simulation);
    client.send(simulation, b"");
    let record = client.seal(data);
    (client, record)
}

fn with_limits(change: impl FnOnce(&mut starwheel::Limits)) -> Config {
    let mut config = Config::default();
    change(&mut config.limits);
    config
}

#[test]
fn a_record_must_be_complete_in_time() {
    let localhost = Localhost::new();
    for sent_bytes in [1, 5, 6, 50] {
        let mut simulation = Simulation::new(routes());
        let (mut client, record) = record(&localhost, &mut simulation, GET);
        simulation.send(client.client, &record[..sent_bytes]);
        simulation.advance(Duration::from_millis(9_999));
        let tls = simulation.stats().tls;
        assert_eq!((tls.partial_bytes, tls.records_timed_out), (sent_bytes as u64, 0));
        assert_eq!(simulation.stats().connections, 1);
        simulation.advance(Duration::from_millis(1));
        let (stats, tls) = (simulation.stats(), simulation.stats().tls);
        assert_eq!((stats.connections, stats.timed_out), (0, 1), "{sent_bytes}");
        assert_eq!((tls.partial_bytes, tls.records_timed_out, tls.alerts_sent), (0, 1, 0));
        client.send(&mut simulation, b"");
        assert_eq!(client.end(), None, "no close_notify: it is a cut");
        assert_eq!(simulation.server_end(client.client), Some(ServerEnd::Fin));
    }
}

#[test]
fn a_stream_whose_client_sends_a_part_of_a_record_is_cut() {
    let localhost = Localhost::new();
    let config = with_limits(|limits| limits.tls_record_timeout = Duration::from_millis(250));
    let router = Router::new().get("/", |_req, _cx| {
        Sse::new().on_disconnect(|_cx, _id, reason| {
            assert_eq!(reason.to_string(), "the connection failed: timed out");
        })
    });
    let mut simulation = Simulation::with_config(config, 0, router);
    let mut clients: Vec<_> = (0..3).map(|_| localhost.connect(&mut simulation)).collect();
    clients.iter_mut().for_each(|client| client.send(&mut simulation, GET));
    let record = clients[1].seal(b"anything");
    simulation.send(clients[1].client, &record[..10]);
    simulation.advance(Duration::from_millis(249));
    assert_eq!(simulation.stats().streams, 3);
    // More of it does not help.
    simulation.send(clients[1].client, &record[10..11]);
    simulation.advance(Duration::from_millis(1));
    let stats = simulation.stats();
    assert_eq!((stats.streams, stats.closed.io, stats.tls.records_timed_out), (2, 1, 1));
}

/// A client that uploads is always in the middle of a record.
#[test]
fn each_record_has_its_own_time() {
    let localhost = Localhost::new();
    let mut simulation = Simulation::new(routes());
    let mut client = localhost.connect(&mut simulation);
    let head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n";
    client.send(&mut simulation, head);
    let records: Vec<u8> = (0..100).flat_map(|_| client.seal(b"x")).collect();
    let record_bytes = records.len() / 100;
    simulation.send(client.client, &records[..10]);
    for record in records[10..].chunks(5 * record_bytes) {
        simulation.advance(Duration::from_millis(1_400));
        simulation.send(client.client, record);
    }
    client.send(&mut simulation, b"");
    assert!(client.text().ends_with("100 bytes"), "{}", client.text());
    assert_eq!(simulation.stats().tls.partial_bytes, 0);
    simulation.advance(Duration::from_secs(60));
    assert_eq!((simulation.stats().connections, simulation.stats().timed_out), (1, 0));
}

/// Also those without data: here a key update, and half of the next one.
#[test]
fn a_record_without_data_is_a_record() {
    let localhost = Localhost::new();
    let mut simulation = Simulation::new(routes());
    let mut client = localhost.connect(&mut simulation);
    client.send(&mut simulation, GET);
    let mut updates = Vec::new();
    for _ in 0..8 {
        client.session.refresh_traffic_keys().unwrap();
        while client.session.wants_write() {
            client.session.write_tls(&mut updates).unwrap();
        }
    }
    let update_bytes = updates.len() / 8;
    simulation.send(client.client, &updates[..3]);
    for part in updates[3..].chunks(update_bytes) {
        simulation.advance(Duration::from_secs(6));
        simulation.send(client.client, part);
    }
    simulation.advance(Duration::from_secs(12));
    assert_eq!((simulation.stats().connections, simulation.stats().timed_out), (1, 0));
    assert_eq!(simulation.stats().tls.key_updates, 8);
}

#[test]
fn incomplete_records_of_all_have_a_bound_and_only_those_who_exceed_it_are_closed() {
    let localhost = Localhost::new();
    let config = with_limits(|limits| limits.tls_partial_bytes = 50_000);
    let mut simulation = Simulation::with_config(config, 0, routes());
    let mut plain = simulation.connect();
    let mut ticking = localhost.connect(&mut simulation);
    ticking.send(&mut simulation, GET_TICKS);
    let mut idle = localhost.connect(&mut simulation);
    idle.send(&mut simulation, GET);
    let mut hostile: Vec<_> =
        (0..5).map(|_| record(&localhost, &mut simulation, &[b'x'; 16_000])).collect();
    for (nth, (client, record)) in hostile.iter_mut().enumerate() {
        simulation.send(client.client, &record[..15_000]);
        simulation.turn();
        let tls = simulation.stats().tls;
        let (refused, kept) = if nth < 3 { (0, nth + 1) } else { (nth - 2, 3) };
        assert_eq!(
            (tls.records_refused, tls.partial_bytes),
            (refused as u64, kept as u64 * 15_000)
        );
        client.send(&mut simulation, b"");
        let internal_error = rustls::AlertDescription::InternalError;
        let alert = End::Error(rustls::Error::AlertReceived(internal_error));
        assert_eq!(client.end(), (nth >= 3).then_some(&alert), "{nth}");
    }
    idle.send(&mut simulation, GET);
    assert_eq!(idle.text().matches("hello").count(), 2, "complete records need no room");
    for _ in 0..5 {
        simulation.advance(Duration::from_millis(100));
    }
    ticking.send(&mut simulation, b"");
    super::assert_five_ticks(&ticking);
    plain = {
        simulation.send(plain, GET);
        simulation.turn();
        plain
    };
    assert_eq!(simulation.response(plain).text(), "hello");
    // Those who were first may complete theirs.
    let (client, record) = &mut hostile[0];
    simulation.send(client.client, &record[15_000..]);
    simulation.turn();
    assert_eq!(simulation.stats().tls.partial_bytes, 30_000);
    assert_eq!(simulation.stats().tls.faults, 0);
}

#[test]
fn incomplete_handshakes_count_too() {
    let localhost = Localhost::new();
    let config = with_limits(|limits| limits.tls_partial_bytes = 40_000);
    let mut simulation = Simulation::with_config(config, 0, routes());
    let endless = [&[22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff][..], &[0; 16_380]].concat();
    let hostile: Vec<_> = (0..4).map(|_| simulation.connect_tls(&localhost.server)).collect();
    for &client in &hostile {
        simulation.send(client, &endless);
        simulation.turn();
    }
    let tls = simulation.stats().tls;
    assert_eq!((tls.failed.overload, tls.handshaking), (2, 2));
    assert!((32_000..40_000).contains(&tls.partial_bytes), "{}", tls.partial_bytes);
    assert_eq!(simulation.received(hostile[2]), [21, 3, 3, 0, 2, 2, 80]);
    let mut prompt = localhost.connect(&mut simulation);
    prompt.send(&mut simulation, GET);
    assert!(prompt.text().ends_with("hello"), "a hello in one piece needs no room");
    simulation.advance(Duration::from_secs(10));
    let tls = simulation.stats().tls;
    assert_eq!((tls.failed.timed_out, tls.handshaking, tls.partial_bytes), (2, 0, 0));
}
