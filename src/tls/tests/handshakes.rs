//! Handshakes with a rustls client: every cut, names, protocols, versions, suites, alerts.

use rustls::{
    AlertDescription, Error, HandshakeKind, ProtocolVersion, crypto::ring::cipher_suite,
    version::TLS12,
};

use super::*;
use crate::tls::handshake::{Beginning, Protocol};

/// A whole conversation: handshake, request, answer, ends.
fn talk(client: &mut Client, server: &mut Server, piece_bytes: usize) {
    converse(client, server, piece_bytes);
    let request = client.send(b"a request");
    request.chunks(piece_bytes).for_each(|piece| server.receive(piece));
    let answer = server.send(b"an answer");
    answer.chunks(piece_bytes).for_each(|piece| client.receive(piece));
    server.session().close();
    client.connection.send_close_notify();
    converse(client, server, piece_bytes);
    assert_eq!(
        (&server.received[..], &client.received[..]),
        (&b"a request"[..], &b"an answer"[..])
    );
    assert!(server.is_closed, "{:?}", server.fault);
    assert_eq!(client.error, None);
}

#[test]
fn a_conversation_succeeds_in_pieces_of_any_size() {
    let (config, client_config) = localhost();
    for piece_bytes in [1, 2, 3, 4, 5, 6, 7, 100, 1000] {
        let mut client = Client::new(client_config.clone(), "localhost");
        let mut server = Server::new(&config);
        talk(&mut client, &mut server, piece_bytes);
    }
}

/// The client's two flights, with a request in the second one, cut once at every byte.
#[test]
fn a_handshake_succeeds_wherever_a_flight_is_cut() {
    let (config, client_config) = localhost();
    let client_config = Arc::new(client_config);
    let mut cut = 0;
    loop {
        let mut client = Client::shared(&client_config, "localhost");
        let mut server = Server::new(&config);
        let first = client.output();
        let (before, after) = first.split_at(cut.min(first.len()));
        server.receive(before);
        let early = server.output();
        assert!(early.is_empty() || after.is_empty(), "an answer to half a hello");
        server.receive(after);
        client.receive(&[early, server.output()].concat());
        let mut second = client.output();
        second.extend(client.send(b"a request"));
        let (before, after) = second.split_at(cut.min(second.len()));
        server.receive(before);
        server.receive(after);
        assert_eq!(server.received, b"a request", "cut at {cut}");
        client.receive(&server.output());
        client.receive(&server.send(b"an answer"));
        assert_eq!(client.received, b"an answer", "cut at {cut}");
        if cut > first.len().max(second.len()) {
            return;
        }
        cut += 1;
    }
}

/// The client closes its connection after each byte of its flights.
#[test]
fn a_handshake_that_stops_anywhere_is_not_complete() {
    let (config, client_config) = localhost();
    let mut client = Client::new(client_config, "localhost");
    let hello = client.output();
    for end in 0..hello.len() {
        let mut server = Server::new(&config);
        server.receive(&hello[..end]);
        let handshake = server.handshake.take().unwrap();
        assert!(handshake.unsent().is_empty());
        assert!(handshake.finish(&[]).is_err());
    }
}

#[test]
fn the_certificate_is_that_of_the_requested_name() {
    let authority = Authority::new();
    let config = TlsConfig::builder(authority.certificate(&["first.test"]))
        .certificate(authority.certificate(&["second.test", "*.second.test"]))
        .certificate(authority.certificate(&["exact.second.test"]))
        .build()
        .unwrap();
    for (name, expected) in [
        ("first.test", Ok("first.test")),
        ("second.test", Ok("second.test")),
        ("SECOND.Test", Ok("second.test")),
        ("any.second.test", Ok("any.second.test")),
        ("exact.second.test", Ok("exact.second.test")),
        ("a.b.second.test", Err(())),
        ("other.test", Err(())),
    ] {
        let mut client = Client::new(authority.client_config(), name);
        let mut server = Server::new(&config);
        converse(&mut client, &mut server, usize::MAX);
        let established = server.established.as_ref();
        match expected {
            Ok(name) => assert_eq!(established.unwrap().server_name.as_deref(), Some(name)),
            // The client gets the first one and refuses it.
            Err(()) => {
                let refused = client.error.as_ref().unwrap();
                assert!(matches!(refused, Error::InvalidCertificate(_)), "{refused:?}");
                assert!(matches!(server.error, Some(HandshakeError::Refused(_))));
            }
        }
    }
}

#[test]
fn a_client_without_a_name_gets_the_first_certificate() {
    let authority = Authority::new();
    let config = TlsConfig::builder(authority.certificate(&["127.0.0.1", "first.test"]))
        .certificate(authority.certificate(&["second.test"]))
        .build()
        .unwrap();
    let mut client = Client::new(authority.client_config(), "127.0.0.1");
    let mut server = Server::new(&config);
    talk(&mut client, &mut server, usize::MAX);
    assert_eq!(server.established.unwrap().server_name, None);
}

/// RFC 7301.
#[test]
fn the_protocol_is_http_1() {
    let (config, client_config) = localhost();
    let protocols = |names: &[&str]| names.iter().map(|name| name.as_bytes().to_vec()).collect();
    for (offered, expected) in [
        (vec![], Some(Protocol::Unspecified)),
        (vec!["http/1.1"], Some(Protocol::Http1)),
        (vec!["h2", "http/1.1"], Some(Protocol::Http1)),
        (vec!["h2"], None),
    ] {
        let mut client_config = client_config.clone();
        client_config.alpn_protocols = protocols(&offered);
        let mut client = Client::new(client_config, "localhost");
        let mut server = Server::new(&config);
        converse(&mut client, &mut server, usize::MAX);
        assert_eq!(server.established.as_ref().map(|it| it.protocol), expected, "{offered:?}");
        let alert = Error::AlertReceived(AlertDescription::NoApplicationProtocol);
        assert_eq!(client.error, expected.is_none().then_some(alert));
    }
}

#[test]
fn clients_without_tls_1_3_are_refused_with_protocol_version() {
    let (config, client_config) = localhost();
    let authority = Authority::new();
    let issued = authority.issue(&["localhost"]);
    let server_config = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(issued.chain, issued.key)
        .unwrap();
    // It allows TLS 1.2; we do not.
    let allowing = TlsConfig::from_rustls_0_23(server_config);
    let provider = Arc::clone(client_config.crypto_provider());
    let client_config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_root_certificates(authority.roots())
        .with_no_client_auth();
    for config in [config, allowing] {
        let mut client = Client::new(client_config.clone(), "localhost");
        let mut server = Server::new(&config);
        converse(&mut client, &mut server, usize::MAX);
        let alert = Error::AlertReceived(AlertDescription::ProtocolVersion);
        assert_eq!(client.error, Some(alert), "{:?}", server.error);
        assert!(server.error.unwrap().is_old_version() && server.established.is_none());
    }
}

/// RFC 8446 section 4.1.4: the client's first key share is of a group that we do not have.
#[test]
fn a_client_is_asked_for_another_key_share() {
    for piece_bytes in [1, 7, usize::MAX] {
        let (config, client_config) = localhost_with_another_group();
        let mut client = Client::new(client_config, "localhost");
        let mut server = Server::new(&config);
        talk(&mut client, &mut server, piece_bytes);
        assert_eq!(server.established.unwrap().beginning, Beginning::Retried);
        let kind = client.connection.handshake_kind();
        assert_eq!(kind, Some(HandshakeKind::FullWithHelloRetryRequest));
    }
}

#[test]
fn the_client_chooses_the_suite() {
    let authority = Authority::new();
    let config = TlsConfig::builder(authority.certificate(&["localhost"])).build().unwrap();
    for suite in [
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_AES_256_GCM_SHA384,
    ] {
        let mut provider = default_provider();
        provider.cipher_suites.insert(0, suite);
        let mut client = Client::new(authority.client_config_with(provider), "localhost");
        let mut server = Server::new(&config);
        talk(&mut client, &mut server, 13);
        assert_eq!(client.connection.negotiated_cipher_suite(), Some(suite));
        assert_eq!(client.connection.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    }
}

#[test]
fn a_client_that_refuses_the_certificate_is_reported() {
    let (config, _) = localhost();
    let mut client = Client::new(Authority::new().client_config(), "localhost");
    let mut server = Server::new(&config);
    converse(&mut client, &mut server, usize::MAX);
    let error = server.error.map(|error| error.to_string());
    assert_eq!(error.as_deref(), Some("received fatal alert: UnknownCA"));
}

/// The client's last flight, a `change_cipher_spec` and `Finished`, with single bits changed.
#[test]
fn a_damaged_flight_never_ends_with_a_session() {
    let (config, client_config) = localhost();
    let client_config = Arc::new(client_config);
    for at in 0..6 + 5 + 53 {
        for bit in [0, 3, 7] {
            let mut client = Client::shared(&client_config, "localhost");
            let mut server = Server::new(&config);
            server.receive(&client.output());
            client.receive(&server.output());
            let mut flight = client.output();
            assert_eq!(flight.len(), 6 + 5 + 53 + 16);
            flight[at] ^= 1 << bit;
            server.receive(&flight);
            // RFC 8446 section 5.1: the version is ignored. rustls ignores the outer type, too.
            let is_ignored = [2, 6, 8].contains(&at);
            assert!(server.established.is_none() || is_ignored, "byte {at}, bit {bit}");
        }
    }
}
