//! What RFC 8446 forbids a client after the handshake: each with its section, the alert that
//! answers it, and the same outcome at every cut.

use super::*;

struct Case {
    section: &'static str,
    what: &'static str,
    /// Appends what the client sends.
    bytes: fn(&mut Session, &mut Vec<u8>),
    fault: Fault,
    alert: Option<u8>,
}

const UNEXPECTED_MESSAGE: Option<u8> = Some(10);
const BAD_RECORD_MAC: Option<u8> = Some(20);
const RECORD_OVERFLOW: Option<u8> = Some(22);
const ILLEGAL_PARAMETER: Option<u8> = Some(47);
const DECODE_ERROR: Option<u8> = Some(50);

#[rustfmt::skip]
const CASES: &[Case] = &[
    Case { section: "5", what: "change_cipher_spec after Finished",
        bytes: |_, out| out.extend([20, 3, 3, 0, 1, 1]),
        fault: Fault::UnexpectedRecord, alert: UNEXPECTED_MESSAGE },
    Case { section: "5", what: "an alert in the clear",
        bytes: |_, out| out.extend([21, 3, 3, 0, 2, 1, 0]),
        fault: Fault::UnexpectedRecord, alert: UNEXPECTED_MESSAGE },
    Case { section: "5", what: "a handshake message in the clear",
        bytes: |_, out| out.extend([22, 3, 3, 0, 4, 0, 0, 0, 0]),
        fault: Fault::UnexpectedRecord, alert: UNEXPECTED_MESSAGE },
    Case { section: "5", what: "a record of an unknown type",
        bytes: |_, out| out.extend([99, 3, 3, 0, 1, 1]),
        fault: Fault::UnexpectedRecord, alert: UNEXPECTED_MESSAGE },
    Case { section: "5", what: "a protected change_cipher_spec",
        bytes: |client, out| seal(client, &[1, 20], out),
        fault: Fault::UnexpectedRecord, alert: UNEXPECTED_MESSAGE },
    Case { section: "5", what: "a protected heartbeat",
        bytes: |client, out| seal(client, &[1, 24], out),
        fault: Fault::UnexpectedRecord, alert: UNEXPECTED_MESSAGE },
    Case { section: "5.2", what: "a record longer than 2^14 + 256",
        bytes: |_, out| out.extend([23, 3, 3, 0x41, 1]),
        fault: Fault::RecordOverflow, alert: RECORD_OVERFLOW },
    Case { section: "5.2", what: "a record of 65,535 bytes",
        bytes: |_, out| out.extend([23, 3, 3, 255, 255]),
        fault: Fault::RecordOverflow, alert: RECORD_OVERFLOW },
    Case { section: "5.4", what: "content of 2^14 + 1 bytes",
        bytes: |client, out| seal(client, &[vec![1; 16_385], vec![23]].concat(), out),
        fault: Fault::RecordOverflow, alert: RECORD_OVERFLOW },
    Case { section: "5.4", what: "padding beyond 2^14",
        bytes: |client, out| seal(client, &[vec![1, 23], vec![0; 16_384]].concat(), out),
        fault: Fault::RecordOverflow, alert: RECORD_OVERFLOW },
    Case { section: "5.2", what: "a record without anything",
        bytes: |_, out| out.extend([23, 3, 3, 0, 0]),
        fault: Fault::BadRecordMac, alert: BAD_RECORD_MAC },
    Case { section: "5.2", what: "a record shorter than a tag",
        bytes: |_, out| out.extend([23, 3, 3, 0, 15].into_iter().chain([0; 15])),
        fault: Fault::BadRecordMac, alert: BAD_RECORD_MAC },
    Case { section: "5.2", what: "a record that is not authentic",
        bytes: |client, out| {
            out.extend(sent(client, b"data"));
            *out.last_mut().unwrap() ^= 1;
        },
        fault: Fault::BadRecordMac, alert: BAD_RECORD_MAC },
    Case { section: "5.2", what: "another length in the header than was sealed",
        bytes: |client, out| {
            out.extend(sent(client, b"data"));
            out[4] -= 1;
            out.pop();
        },
        fault: Fault::BadRecordMac, alert: BAD_RECORD_MAC },
    Case { section: "5.3", what: "a record again",
        bytes: |client, out| {
            say(client, ContentType::ApplicationData, b"", out);
            out.extend_from_within(..);
        },
        fault: Fault::BadRecordMac, alert: BAD_RECORD_MAC },
    Case { section: "5.3", what: "a record that was left out",
        bytes: |client, out| {
            sent(client, b"lost");
            out.extend(sent(client, b"data"));
        },
        fault: Fault::BadRecordMac, alert: BAD_RECORD_MAC },
    Case { section: "5.4", what: "padding alone",
        bytes: |client, out| seal(client, &[0; 20], out),
        fault: Fault::UnexpectedRecord, alert: UNEXPECTED_MESSAGE },
    Case { section: "5.4", what: "a plaintext of no bytes",
        bytes: |client, out| seal(client, &[], out),
        fault: Fault::UnexpectedRecord, alert: UNEXPECTED_MESSAGE },
    Case { section: "5.4", what: "an alert without content",
        bytes: |client, out| say(client, ContentType::Alert, &[], out),
        fault: Fault::EmptyMessage, alert: UNEXPECTED_MESSAGE },
    Case { section: "5.4", what: "a handshake message without content, padded",
        bytes: |client, out| seal(client, &[22, 0, 0], out),
        fault: Fault::EmptyMessage, alert: UNEXPECTED_MESSAGE },
    Case { section: "5.1", what: "half an alert",
        bytes: |client, out| say(client, ContentType::Alert, &[1], out),
        fault: Fault::Malformed, alert: DECODE_ERROR },
    Case { section: "5.1", what: "two alerts in a record",
        bytes: |client, out| say(client, ContentType::Alert, &[1, 0, 1, 0], out),
        fault: Fault::Malformed, alert: DECODE_ERROR },
    Case { section: "6.2", what: "a fatal alert",
        bytes: |client, out| say(client, ContentType::Alert, &[2, 80], out),
        fault: Fault::Reported(80), alert: None },
    Case { section: "6", what: "an unknown alert that calls itself a warning",
        bytes: |client, out| say(client, ContentType::Alert, &[1, 255], out),
        fault: Fault::Reported(255), alert: None },
    Case { section: "4.1.2", what: "renegotiation",
        bytes: |client, out| say(client, ContentType::Handshake, &[1, 0, 0, 2, 3, 3], out),
        fault: Fault::UnexpectedMessage, alert: UNEXPECTED_MESSAGE },
    Case { section: "4.6.1", what: "a ticket from a client",
        bytes: |client, out| say(client, ContentType::Handshake, &[4, 0, 0, 0], out),
        fault: Fault::UnexpectedMessage, alert: UNEXPECTED_MESSAGE },
    Case { section: "4.6.2", what: "a certificate that nobody requested",
        bytes: |client, out| say(client, ContentType::Handshake, &[11, 0, 0, 4, 0, 0, 0, 0], out),
        fault: Fault::UnexpectedMessage, alert: UNEXPECTED_MESSAGE },
    Case { section: "4.4.4", what: "Finished again",
        bytes: |client, out| say(client, ContentType::Handshake, &[20, 0, 0, 32], out),
        fault: Fault::UnexpectedMessage, alert: UNEXPECTED_MESSAGE },
    Case { section: "4", what: "an unknown handshake message",
        bytes: |client, out| say(client, ContentType::Handshake, &[254], out),
        fault: Fault::UnexpectedMessage, alert: UNEXPECTED_MESSAGE },
    Case { section: "4.6.3", what: "an empty KeyUpdate",
        bytes: |client, out| say(client, ContentType::Handshake, &[24, 0, 0, 0], out),
        fault: Fault::Malformed, alert: DECODE_ERROR },
    Case { section: "4.6.3", what: "a KeyUpdate of two bytes",
        bytes: |client, out| say(client, ContentType::Handshake, &[24, 0, 0, 2, 0, 0], out),
        fault: Fault::Malformed, alert: DECODE_ERROR },
    Case { section: "4.6.3", what: "a KeyUpdate of 16 MB",
        bytes: |client, out| say(client, ContentType::Handshake, &[24, 255, 255, 255, 0], out),
        fault: Fault::Malformed, alert: DECODE_ERROR },
    Case { section: "4.6.3", what: "a KeyUpdate that requests 2",
        bytes: |client, out| say(client, ContentType::Handshake, &[24, 0, 0, 1, 2], out),
        fault: Fault::IllegalKeyUpdate, alert: ILLEGAL_PARAMETER },
    Case { section: "5.1", what: "two KeyUpdates in a record",
        bytes: |client, out| {
            let twice = [24, 0, 0, 1, 0, 24, 0, 0, 1, 0];
            say(client, ContentType::Handshake, &twice, out);
        },
        fault: Fault::UnexpectedMessage, alert: UNEXPECTED_MESSAGE },
    Case { section: "5.1", what: "data between the fragments of a KeyUpdate",
        bytes: |client, out| {
            say(client, ContentType::Handshake, &[24, 0], out);
            say(client, ContentType::ApplicationData, b"data", out);
        },
        fault: Fault::UnexpectedMessage, alert: UNEXPECTED_MESSAGE },
    Case { section: "5.1", what: "an alert between the fragments of a KeyUpdate",
        bytes: |client, out| {
            say(client, ContentType::Handshake, &[24, 0, 0, 1], out);
            say(client, ContentType::Alert, &[1, 0], out);
        },
        fault: Fault::UnexpectedMessage, alert: UNEXPECTED_MESSAGE },
    Case { section: "4.6.3", what: "data with the old key after a KeyUpdate",
        bytes: |client, out| {
            say(client, ContentType::Handshake, &[24, 0, 0, 1, 0], out);
            out.extend(sent(client, b"data"));
        },
        fault: Fault::BadRecordMac, alert: BAD_RECORD_MAC },
    Case { section: "none: a limit of ours", what: "33 empty records in a row",
        bytes: |client, out| {
            (0..33).for_each(|_| say(client, ContentType::ApplicationData, b"", out));
        },
        fault: Fault::NoData, alert: UNEXPECTED_MESSAGE },
    Case { section: "none: a limit of ours", what: "33 KeyUpdates in a row",
        bytes: |client, out| {
            (0..33).for_each(|_| client.change_key());
            out.extend(flushed(client));
        },
        fault: Fault::NoData, alert: UNEXPECTED_MESSAGE },
    Case { section: "none: a limit of ours", what: "33 user_canceled in a row",
        bytes: |client, out| (0..33).for_each(|_| say(client, ContentType::Alert, &[1, 90], out)),
        fault: Fault::NoData, alert: UNEXPECTED_MESSAGE },
];

/// What looks unusual and must work.
type Allowed = (&'static str, &'static str, fn(&mut Session, &mut Vec<u8>));

#[rustfmt::skip]
const ALLOWED: &[Allowed] = &[
    ("5.1", "any version in the header's second byte", |client, out| {
        // It is part of the additional data, so it must be sealed like that.
        seal_with_version(client, [3, 1], b"data", out);
    }),
    ("5.1", "any version", |client, out| seal_with_version(client, [9, 9], b"data", out)),
    ("5.4", "padding up to the limit", |client, out| {
        seal(client, &[b"data".to_vec(), vec![23], vec![0; 16_384 - 4]].concat(), out);
    }),
    ("5.1", "32 empty records in a row", |client, out| {
        (0..32).for_each(|_| say(client, ContentType::ApplicationData, b"", out));
        out.extend(sent(client, b"data"));
    }),
    ("4.6.3", "32 KeyUpdates in a row", |client, out| {
        (0..32).for_each(|_| client.change_key());
        out.extend(flushed(client));
        out.extend(sent(client, b"data"));
    }),
    ("5.1", "a KeyUpdate in fragments", |client, out| {
        for byte in [24, 0, 0, 1, 1] {
            say(client, ContentType::Handshake, &[byte], out);
        }
        client.use_next_key();
        out.extend(sent(client, b"data"));
    }),
    ("6.1", "user_canceled", |client, out| {
        say(client, ContentType::Alert, &[1, 90], out);
        out.extend(sent(client, b"data"));
    }),
];

fn say(client: &mut Session, content_type: ContentType, content: &[u8], out: &mut Vec<u8>) {
    client.say(content_type, content);
    out.extend(flushed(client));
}

/// Seals any bytes in the place of content, type and padding.
fn seal(client: &mut Session, inner: &[u8], out: &mut Vec<u8>) {
    seal_inner(client, [3, 3], inner, out);
}

fn seal_with_version(client: &mut Session, version: [u8; 2], data: &[u8], out: &mut Vec<u8>) {
    seal_inner(client, version, &[data, &[23]].concat(), out);
}

fn seal_inner(client: &mut Session, version: [u8; 2], inner: &[u8], out: &mut Vec<u8>) {
    let mut sealed = inner.to_vec();
    let [high, low] = ((inner.len() + 16) as u16).to_be_bytes();
    let header = [23, version[0], version[1], high, low];
    let number = client.sent_records();
    let cipher = client.secrets().2.cipher(SUITE);
    let tag = cipher.seal(number.into(), &header, &mut sealed);
    client.count_from(number + 1, 0);
    out.extend([&header[..], &sealed, &tag].concat());
}

const SUITE: Suite = Suite::Aes128GcmSha256;

#[test]
fn each_violation_gets_its_alert() {
    for Case { section, what, bytes, fault, alert } in CASES {
        let (mut client, mut server) = pair(SUITE);
        let mut violation = Vec::new();
        bytes(&mut client, &mut violation);
        let (data, end) = received(&mut server, &violation);
        assert_eq!((&data[..], end), (&b""[..], Err(*fault)), "section {section}: {what}");
        let answer = flushed(&mut server);
        let (_, heard) = received(&mut client, &answer);
        let expected = match alert {
            Some(description) => Err(Fault::Reported(*description)),
            None => Ok(Received::Nothing),
        };
        assert_eq!(heard, expected, "section {section}: {what}");
        let write = |_: &[u8]| -> io::Result<usize> { panic!("data after a fatal alert") };
        assert!(server.send(&[IoSlice::new(b"data")], &mut Vec::new(), write).is_err(), "{what}");
    }
}

/// At every byte, except in long records: there around their ends.
#[test]
fn the_outcome_of_a_violation_does_not_depend_on_cuts() {
    for Case { section, what, bytes, fault, alert } in CASES {
        let mut violation = Vec::new();
        bytes(&mut pair(SUITE).0, &mut violation);
        let cuts = (0..=violation.len()).filter(|cut| *cut < 60 || violation.len() - cut < 3);
        for cut in cuts {
            let (mut client, mut server) = pair(SUITE);
            let (_, first) = received(&mut server, &violation[..cut]);
            let (data, end) = received(&mut server, &violation[cut..]);
            assert!(first == Ok(Received::Nothing) || first == Err(*fault), "{what}: {first:?}");
            assert_eq!((&data[..], end), (&b""[..], Err(*fault)), "{section}, {what}, at {cut}");
            let (_, heard) = received(&mut client, &flushed(&mut server));
            assert_eq!(heard.err(), alert.map(Fault::Reported), "{section}, {what}, at {cut}");
        }
    }
}

#[test]
fn what_is_unusual_and_allowed_works() {
    for (section, what, bytes) in ALLOWED {
        let (mut client, mut server) = pair(SUITE);
        let mut unusual = Vec::new();
        bytes(&mut client, &mut unusual);
        let outcome = received(&mut server, &unusual);
        assert_eq!(outcome, (b"data".to_vec(), Ok(Received::Nothing)), "section {section}: {what}");
        let outcome = received(&mut client, &sent(&mut server, b"answer"));
        assert_eq!(outcome.0, b"answer", "section {section}: {what}");
    }
}

/// What is not TLS, or not TLS that we speak, in a first flight: the alert in the clear.
#[test]
fn a_bad_first_flight_is_refused_at_its_first_wrong_byte() {
    let (config, client_config) = localhost();
    let hello = Client::new(client_config, "localhost").output();
    let with = |at: usize, byte| {
        let mut hello = hello.clone();
        hello[at] = byte;
        hello
    };
    let fragment = [22, 3, 1, 0x40, 0].into_iter().chain([1, 0, 0xff, 0xff]).collect::<Vec<u8>>();
    let endless = [fragment, vec![0; 16_380]].concat().repeat(5);
    let tiny = |byte: &u8| [22, 3, 1, 0, 1, *byte];
    let in_pieces = [1, 0, 0xff, 0xff].iter().chain(&[0; 700]).flat_map(tiny).collect();
    for (what, bytes, alert) in [
        ("a request in the clear", b"GET / HTTP/1.1\r\n\r\n".to_vec(), 10),
        ("an SSH client", b"SSH-2.0-OpenSSH".to_vec(), 10),
        ("another major version", with(1, 2), 10),
        ("a record longer than the limit", with(3, 0x42), 22),
        ("data in the clear", with(0, 23), 10),
        ("an alert of an unknown length", [21, 3, 3, 0, 3, 1, 1, 1].to_vec(), 50),
        ("a hello of another type", with(5, 2), 50),
        ("an endless hello", endless, 0),
        ("a hello in very many records", in_pieces, 0),
    ] {
        for piece_bytes in [1, 3, usize::MAX] {
            let mut server = Server::new(&config);
            for piece in bytes.chunks(piece_bytes) {
                if server.error.is_none() {
                    server.receive(piece);
                }
            }
            assert!(server.error.is_some(), "{what}");
            let is_too_long = matches!(server.error, Some(HandshakeError::TooLong));
            assert_eq!(is_too_long, alert == 0, "{what}");
            let output = server.output();
            if alert > 0 {
                assert_eq!(output, [21, 3, 3, 0, 2, 2, alert], "{what}: {:?}", server.error);
            }
        }
    }
}
