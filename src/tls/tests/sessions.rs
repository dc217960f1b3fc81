//! Established connections: data and key updates both ways, ends, memory, secrets.

use std::{mem, thread};

use super::*;
use crate::tls::session::RECORDS_PER_KEY;

#[test]
fn data_goes_both_ways_in_all_suites() {
    for suite in rustls::crypto::ring::ALL_CIPHER_SUITES.iter().filter(|it| it.tls13().is_some()) {
        let authority = Authority::new();
        let config = TlsConfig::builder(authority.certificate(&["localhost"])).build().unwrap();
        let provider = CryptoProvider { cipher_suites: vec![*suite], ..default_provider() };
        let mut client = Client::new(authority.client_config_with(provider), "localhost");
        let mut server = Server::new(&config);
        converse(&mut client, &mut server, usize::MAX);
        let data: Vec<u8> = (0..100_000_u32).map(|it| it as u8).collect();
        server.receive(&client.send(b"a request"));
        client.receive(&server.send(&data));
        assert_eq!(server.received, b"a request");
        assert_eq!(client.received, data, "{suite:?}");
        assert_eq!(client.connection.negotiated_cipher_suite(), Some(*suite));
    }
}

#[test]
fn a_request_in_the_flight_of_finished_is_received() {
    let (config, client_config) = localhost();
    let (mut client, mut server) = (Client::new(client_config, "localhost"), Server::new(&config));
    server.receive(&client.output());
    client.receive(&server.output());
    let mut flight = client.output();
    flight.extend(client.send(b"GET / HTTP/1.1\r\n\r\n"));
    client.connection.refresh_traffic_keys().unwrap();
    flight.extend(client.send(b"GET /2 HTTP/1.1\r\n\r\n"));
    server.receive(&flight);
    assert_eq!(server.received, b"GET / HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n");
    client.receive(&server.send(b"an answer"));
    assert_eq!(client.received, b"an answer");
}

/// RFC 8446 section 4.6.3.
#[test]
fn key_updates_of_the_client_are_obeyed() {
    let (mut client, mut server) = connected();
    for round in 0..100_u8 {
        // rustls asks for ours, too.
        client.connection.refresh_traffic_keys().unwrap();
        server.receive(&client.send(&[round]));
        assert_eq!(server.received.last(), Some(&round), "{:?}", server.fault);
        client.receive(&server.send(&[round]));
        assert_eq!(client.received.last(), Some(&round), "{:?}", client.error);
    }
    assert_eq!((server.received.len(), client.received.len()), (100, 100));
}

#[test]
fn our_key_updates_are_understood_by_others() {
    let (mut client, mut server) = connected();
    for round in 0..100_u8 {
        server.session().change_key();
        client.receive(&server.send(&[round]));
        server.receive(&client.send(&[round]));
        assert_eq!((client.received.last(), server.received.last()), (Some(&round), Some(&round)));
    }
}

#[test]
fn many_requests_for_a_key_update_get_one_answer() {
    let (mut client, mut server) = pair(Suite::Aes128GcmSha256);
    for _ in 0..20 {
        client.change_key_and_ask_for_another();
    }
    let (data, end) = received(&mut server, &flushed(&mut client));
    assert_eq!((data, end), (vec![], Ok(Received::Nothing)));
    assert!(!server.has_unsent(), "the answer waits for data");
    let answer = sent(&mut server, b"data");
    assert_eq!(answer.len(), (5 + 5 + 1 + 16) + (5 + 4 + 1 + 16), "one update, one record");
    assert_eq!(received(&mut client, &answer).0, b"data");
    assert_eq!(sent(&mut server, b"data").len(), 5 + 4 + 1 + 16);
}

/// RFC 8446 section 5.5.
#[test]
fn a_key_is_replaced_before_it_is_worn() {
    for suite in SUITES {
        let (mut client, mut server) = pair(suite);
        server.count_from(RECORDS_PER_KEY - 2, 0);
        client.count_from(0, RECORDS_PER_KEY - 2);
        let data = vec![7; 200_000];
        let bytes = sent(&mut server, &data);
        assert_eq!(received(&mut client, &bytes), (data, Ok(Received::Nothing)));
        assert_eq!(server.sent_records(), 13 - 3, "13 records, of which 3 had the old key");
        const { assert!(RECORDS_PER_KEY + 5 < 1 << 24) };
    }
}

#[test]
fn an_end_is_told_apart_from_a_cut() {
    let (mut client, mut server) = connected();
    let mut last = client.send(b"last words");
    client.connection.send_close_notify();
    last.extend(client.output());
    last.extend_from_slice(b"bytes that must be ignored");
    server.receive(&last);
    assert_eq!(server.received, b"last words");
    assert!(server.is_closed && server.fault.is_none());
    // It may still be answered.
    client.receive(&server.send(b"an answer"));
    assert_eq!(client.received, b"an answer");

    let (_client, mut server) = connected();
    let cut = server.session().receive(&mut vec![0; RECORD_BYTES_MAX], |_| Ok(0));
    assert!(matches!(cut, Err(ReceiveError::Fault(Fault::Cut))), "{cut:?}");
    assert!(!server.session().has_unsent(), "no alert answers a cut");
}

#[test]
fn our_end_is_a_close_notify_and_nothing_follows_it() {
    let (mut client, mut server) = connected();
    server.session().close();
    server.session().close();
    let bytes = server.output();
    assert_eq!(bytes.len(), 24, "one alert");
    client.receive(&bytes);
    assert!(client.connection.process_new_packets().unwrap().peer_has_closed());
    let write = |_: &[u8]| -> io::Result<usize> { panic!("nothing may be written") };
    let result = server.session().send(&[IoSlice::new(b"more")], &mut Vec::new(), write);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::BrokenPipe);
    server.receive(&client.send(b"still heard"));
    assert_eq!(server.received, b"still heard");
}

#[test]
fn data_before_a_fault_is_received_first() {
    let (mut client, mut server) = pair(Suite::Aes128GcmSha256);
    let mut bytes = sent(&mut client, b"good");
    bytes.extend_from_slice(&[23, 3, 3, 0, 17]);
    bytes.extend_from_slice(&[0; 17]);
    for _ in 0..2 {
        let (data, end) = received(&mut server, &mem::take(&mut bytes));
        assert!(data == b"good" || data.is_empty());
        assert_eq!(end, Err(Fault::BadRecordMac), "and it stays");
    }
}

/// Every cut of several records comes to the same data and the same end.
#[test]
fn the_outcome_does_not_depend_on_where_records_are_cut() {
    let (mut client, _) = pair(Suite::Aes256GcmSha384);
    let mut bytes = Vec::new();
    for data in ["", "a", "some more data", "last"] {
        match data {
            "" => client.say(ContentType::ApplicationData, b""),
            data => bytes.extend(sent(&mut client, data.as_bytes())),
        }
        client.change_key();
    }
    client.close();
    bytes.extend(flushed(&mut client));
    for cut in 0..=bytes.len() {
        let (_, mut server) = pair(Suite::Aes256GcmSha384);
        let (mut data, _) = received(&mut server, &bytes[..cut]);
        assert!(server.unread_bytes() < RECORD_BYTES_MAX);
        let (rest, end) = received(&mut server, &bytes[cut..]);
        data.extend(rest);
        assert_eq!((&data[..], end), (&b"asome more datalast"[..], Ok(Received::Closed)), "{cut}");
        assert_eq!(server.unread_bytes(), 0);
    }
    let (_, mut server) = pair(Suite::Aes256GcmSha384);
    let pieces = bytes.chunks(1).map(|byte| received(&mut server, byte).0);
    assert_eq!(pieces.flatten().collect::<Vec<_>>(), b"asome more datalast");
}

#[test]
fn what_is_left_of_a_handshake_may_be_longer_than_the_buffer() {
    let (mut client, _) = pair(Suite::Aes128GcmSha256);
    let data: Vec<u8> = (0..70_000_u32).map(|it| (it / 3) as u8).collect();
    let unread = sent(&mut client, &data);
    let secret = |byte| Secret::new(&[byte; 32]).unwrap();
    let mut server = Session::new(Agreed {
        suite: Suite::Aes128GcmSha256,
        sending: secret(SERVER),
        receiving: secret(CLIENT),
        sent_records: 0,
        unsent: Vec::new(),
        unread,
    });
    assert!(server.has_unread_record());
    assert_eq!(received(&mut server, &[]), (data, Ok(Received::Nothing)));
}

/// The promise of 400 bytes for an idle stream leaves room for this, with its allocation.
#[test]
fn a_session_takes_168_bytes_and_one_box() {
    assert_eq!(size_of::<Session>(), 168);
    let (mut client, mut server) = pair(Suite::Aes256GcmSha384);
    assert_eq!(received(&mut server, &sent(&mut client, b"data")).0, b"data");
    assert_eq!(received(&mut client, &sent(&mut server, b"data")).0, b"data");
    assert!(!server.holds_bytes() && !client.holds_bytes());
}

#[test]
fn nothing_secret_is_in_debug() {
    let (mut client, mut server) = connected();
    server.receive(&client.send(b"hush")[..10]);
    let established = server.established.take().unwrap();
    let debug = format!("{established:?} {:?}", established.session.secrets());
    let allowed = "Established { session: Session { suite: Aes256GcmSha384, input: Open, output: Open, \
                   unsent_bytes: 0, unread_bytes: 10, .. }, server_name: Some(\"localhost\"), \
                   protocol: Unspecified, client_certificates: [], beginning: Full, \
                   kept: Kept { server_name: false, client_certificates: false } } \
                   (Secret(..), Secret(..), Keys(..))";
    assert_eq!(debug, allowed);
    let (config, _) = localhost();
    let handshake = format!("{:?}", Handshake::new(&config).unwrap());
    assert_eq!(handshake, "Handshake { stage: Running, received_bytes: 0, unsent_bytes: 0, .. }");
}

#[test]
fn sessions_can_be_moved_to_other_threads() {
    let (mut client, server) = connected();
    let Server { established: Some(mut established), .. } = server else { unreachable!() };
    let bytes = thread::spawn(move || sent(&mut established.session, b"from there"));
    client.receive(&bytes.join().unwrap());
    assert_eq!(client.received, b"from there");
}
