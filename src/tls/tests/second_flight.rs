//! What a client may not send after the server has answered its hello. The alert is protected, and
//! a client of another make reads it.

use std::sync::Mutex;

use rustls::{AlertDescription, Error, KeyLog, crypto::ring::cipher_suite};

use super::*;
use crate::tls::record;

/// A server whose answer has reached the client.
fn answered(config: &TlsConfig, client: &mut Client) -> Server {
    let mut server = Server::new(config);
    server.receive(&client.output());
    client.receive(&server.output());
    assert_eq!(client.error, None);
    server
}

fn assert_alert(client: &mut Client, server: &mut Server, alert: AlertDescription, what: &str) {
    let output = server.output();
    client.receive(&output);
    let error = &server.error;
    assert_eq!(client.error, Some(Error::AlertReceived(alert)), "{what}: {error:?} {output:?}");
}

/// RFC 8446 section 6.2: "the implementation SHOULD send an appropriate fatal alert".
#[test]
fn a_bad_record_after_the_answer_gets_a_protected_alert() {
    let authority = Authority::new();
    let config = TlsConfig::builder(authority.certificate(&["localhost"])).build().unwrap();
    for suite in [
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS13_AES_256_GCM_SHA384,
        cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ] {
        let provider = CryptoProvider { cipher_suites: vec![suite], ..default_provider() };
        let client_config = Arc::new(authority.client_config_with(provider));
        for (what, bytes, alert) in [
            ("an unknown type", &[99, 3, 3, 0, 1, 1][..], AlertDescription::UnexpectedMessage),
            ("a request in the clear", b"GET / HTTP/1.1\r\n", AlertDescription::UnexpectedMessage),
            ("another major version", &[23, 2], AlertDescription::UnexpectedMessage),
            ("a record too long", &[23, 3, 3, 0x42, 0], AlertDescription::RecordOverflow),
        ] {
            for piece_bytes in [1, usize::MAX] {
                let mut client = Client::shared(&client_config, "localhost");
                let mut server = answered(&config, &mut client);
                for piece in bytes.chunks(piece_bytes) {
                    if server.error.is_none() {
                        server.receive(piece);
                    }
                }
                assert_alert(&mut client, &mut server, alert, what);
            }
        }
    }
}

/// After a part of the client's flight, too: here, before its `Finished`.
#[test]
fn an_alert_is_protected_until_the_handshake_ends() {
    let (config, client_config) = localhost();
    let client_config = Arc::new(client_config);
    for end in 0..64 {
        let mut client = Client::shared(&client_config, "localhost");
        let mut server = answered(&config, &mut client);
        let flight = client.output();
        server.receive(&flight[..end]);
        server.handshake.as_mut().unwrap().refuse(&HandshakeError::Overload);
        let alert = AlertDescription::InternalError;
        assert_alert(&mut client, &mut server, alert, &format!("after {end} bytes"));
    }
}

/// What only a client with its own keys can send: parts of a message of 65,535 bytes.
#[test]
fn a_flight_that_is_too_long_gets_a_protected_alert() {
    for part_bytes in [1, 200, 4000] {
        let (mut client, mut server, keys) = answered_with_keys();
        let message = [&[11, 0, 0xff, 0xff][..], &[0; 70_000]].concat();
        for (number, part) in message.chunks(part_bytes).enumerate() {
            if server.error.is_none() {
                server.receive(&keys.seal(number, ContentType::Handshake, part));
            }
        }
        assert!(matches!(server.error, Some(HandshakeError::TooLong)), "{:?}", server.error);
        let alert = AlertDescription::UnexpectedMessage;
        assert_alert(&mut client, &mut server, alert, &format!("parts of {part_bytes} bytes"));
    }
}

/// RFC 8446 section 5.1. rustls refuses it without an alert.
#[test]
fn a_record_between_the_parts_of_a_message_gets_a_protected_alert() {
    for (content_type, content) in
        [(ContentType::ApplicationData, &b"data"[..]), (ContentType::Alert, &[1, 90])]
    {
        let (mut client, mut server, keys) = answered_with_keys();
        server.receive(&keys.seal(0, ContentType::Handshake, &[20, 0, 0]));
        server.receive(&keys.seal(1, content_type, content));
        let alert = AlertDescription::UnexpectedMessage;
        assert_alert(&mut client, &mut server, alert, &format!("{content_type:?}"));
    }
}

/// RFC 8446 section 4.1.4: nothing is protected after a request for another key share.
#[test]
fn a_bad_record_after_a_hello_retry_request_gets_an_alert_in_the_clear() {
    let (config, client_config) = localhost_with_another_group();
    let mut client = Client::new(client_config, "localhost");
    let mut server = answered(&config, &mut client);
    server.receive(&[99]);
    assert_eq!(server.output(), [21, 3, 3, 0, 2, 2, 10], "{:?}", server.error);
}

const SUITE: Suite = Suite::Aes256GcmSha384;

/// The key of a client's flight, which tells.
#[derive(Debug, Default)]
struct Keys(Mutex<Option<Secret>>);

impl KeyLog for Keys {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        if label == "CLIENT_HANDSHAKE_TRAFFIC_SECRET" {
            *self.0.lock().unwrap() = Secret::new(secret);
        }
    }
}

impl Keys {
    fn seal(&self, number: usize, content_type: ContentType, content: &[u8]) -> Vec<u8> {
        let secret = self.0.lock().unwrap();
        let cipher = secret.as_ref().unwrap().keys(SUITE).cipher(SUITE);
        let mut sealed = Vec::new();
        let push = |out: &mut Vec<u8>| out.extend_from_slice(content);
        record::seal(&cipher, number as u64, content_type, push, &mut sealed);
        sealed
    }
}

fn answered_with_keys() -> (Client, Server, Arc<Keys>) {
    let authority = Authority::new();
    let config = TlsConfig::builder(authority.certificate(&["localhost"]))
        .client_certificates(ClientCertificates::required(&authority.pem).unwrap())
        .build()
        .unwrap();
    let suite = cipher_suite::TLS13_AES_256_GCM_SHA384;
    let provider = CryptoProvider { cipher_suites: vec![suite], ..default_provider() };
    let keys = Arc::new(Keys::default());
    let mut client_config = authority.client_config_with(provider);
    client_config.key_log = Arc::clone(&keys) as _;
    let mut client = Client::new(client_config, "localhost");
    let server = answered(&config, &mut client);
    (client, server, keys)
}
