//! What RFC 8446 forbids in a ClientHello: each with its section and the alert that answers it.
//!
//! Some of what a server must do has no row here:
//! * 4.1.4 and 4.2.2, a second ClientHello that differs too much: no client of these tests makes one;
//!   tlsfuzzer's `hrr` does. We send no cookie.
//! * 4.2.3, no signature in common: rustls has sent its ServerHello then, so its alert is encrypted.
//! * 4.2.6, 4.6.2: we never ask for a certificate after the handshake; `negative.rs` has the answer.
//! * 4.2.8, a share for a group that `supported_groups` does not have: servers MAY check it.
//! * 4.2.10, 4.5: early data is never accepted; `tests/tlsfuzzer` has conversations with it.
//! * 4.4.2, 4.4.3, client certificates: `handshakes.rs`.
//! * 4.4.4, Finished, and everything else that is encrypted: `tests/tlsfuzzer`.

use super::*;

/// A ClientHello in parts.
#[derive(Clone)]
struct Hello {
    version: [u8; 2],
    random: Vec<u8>,
    session_id: Vec<u8>,
    suites: Vec<u8>,
    compressions: Vec<u8>,
    /// Types and contents.
    extensions: Vec<(u16, Vec<u8>)>,
    /// Bytes after all of that.
    rest: Vec<u8>,
}

impl Hello {
    /// Takes the record of a client apart.
    fn parse(record: &[u8]) -> Self {
        let mut bytes = &record[9..];
        let mut take = |count: usize| {
            let (taken, rest) = bytes.split_at(count);
            bytes = rest;
            taken.to_vec()
        };
        let long = |bytes: Vec<u8>| usize::from(bytes[0]) * 256 + usize::from(bytes[1]);
        let version = take(2).try_into().unwrap();
        let random = take(32);
        let count = usize::from(take(1)[0]);
        let session_id = take(count);
        let count = long(take(2));
        let suites = take(count);
        let count = usize::from(take(1)[0]);
        let compressions = take(count);
        let mut left = long(take(2));
        let mut extensions = Vec::new();
        while left > 0 {
            let kind = long(take(2)) as u16;
            let count = long(take(2));
            extensions.push((kind, take(count)));
            left -= 4 + count;
        }
        Self { version, random, session_id, suites, compressions, extensions, rest: Vec::new() }
    }

    fn message(&self) -> Vec<u8> {
        let prefixed = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
        let extension = |(kind, content): &(u16, Vec<u8>)| {
            [&kind.to_be_bytes()[..], &prefixed(content)].concat()
        };
        let extensions: Vec<u8> = self.extensions.iter().flat_map(extension).collect();
        let body = [
            &self.version[..],
            &self.random,
            &[self.session_id.len() as u8],
            &self.session_id,
            &prefixed(&self.suites),
            &[self.compressions.len() as u8],
            &self.compressions,
            &prefixed(&extensions),
            &self.rest,
        ]
        .concat();
        let length = (body.len() as u32).to_be_bytes();
        [&[1], &length[1..], &body].concat()
    }

    fn record(&self) -> Vec<u8> {
        record_of(22, &self.message())
    }

    fn set(&mut self, kind: u16, content: &[u8]) {
        self.remove(kind);
        self.extensions.insert(0, (kind, content.to_vec()));
    }

    fn remove(&mut self, kind: u16) {
        self.extensions.retain(|it| it.0 != kind);
    }

    /// The only key share.
    fn share(&mut self, group: u16, key: &[u8]) {
        let entry = [&group.to_be_bytes()[..], &(key.len() as u16).to_be_bytes(), key].concat();
        self.set(KEY_SHARE, &[&(entry.len() as u16).to_be_bytes()[..], &entry].concat());
    }
}

fn record_of(content_type: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = (content.len() as u16).to_be_bytes();
    [&[content_type, 3, 1, high, low], content].concat()
}

const SUPPORTED_GROUPS: u16 = 10;
const SIGNATURE_ALGORITHMS: u16 = 13;
const PRE_SHARED_KEY: u16 = 41;
const SUPPORTED_VERSIONS: u16 = 43;
const PSK_KEY_EXCHANGE_MODES: u16 = 45;
const KEY_SHARE: u16 = 51;
const X25519: u16 = 0x1d;
const P256: u16 = 0x17;

/// A ticket that nobody has issued, and its binder.
const STRANGE_TICKET: &[u8] = &{
    let mut content = [0; 2 + 2 + 16 + 4 + 2 + 33];
    content[1] = 22; // The identities,
    content[3] = 16; // and the length of the only one.
    content[25] = 33; // The binders,
    content[26] = 32; // and the length of the only one.
    content
};

type Violation = (&'static str, &'static str, fn(&mut Hello), u8);
/// Section, what it is, and how to make it.
type Oddity = (&'static str, &'static str, fn(&mut Hello));

#[rustfmt::skip]
const VIOLATIONS: &[Violation] = &[
    ("4.1.1", "no suite in common", |it| it.suites = vec![0xfa, 0xfa, 0x13, 0x06], 40),
    ("4.1.1", "no suites", |it| it.suites.clear(), 50),
    ("4.1.1", "half a suite", |it| it.suites.truncate(3), 50),
    ("4.1.1", "no group in common", |it| {
        it.set(SUPPORTED_GROUPS, &[0, 2, 0xfa, 0xfa]);
        it.share(0xfafa, &[1]);
    }, 40),
    ("4.1.2", "a session id of 33 bytes", |it| it.session_id = vec![7; 33], 50),
    ("4.1.2", "no compression method", |it| it.compressions.clear(), 50),
    ("4.1.2", "compression alone", |it| it.compressions = vec![1], 47),
    ("4.1.2", "compression beside none", |it| it.compressions = vec![1, 0], 47),
    ("4.1.2", "bytes after the extensions", |it| it.rest = vec![0], 50),
    ("4.2", "an extension twice", |it| {
        let first = it.extensions[0].clone();
        it.extensions.insert(0, first);
    }, 47),
    ("4.2.1", "no versions", |it| it.set(SUPPORTED_VERSIONS, &[0]), 50),
    ("4.2.1", "half a version", |it| it.set(SUPPORTED_VERSIONS, &[3, 3, 4, 3]), 50),
    ("4.2.1", "TLS 1.2 alone", |it| it.set(SUPPORTED_VERSIONS, &[2, 3, 3]), 70),
    ("4.2.1", "a later version alone", |it| it.set(SUPPORTED_VERSIONS, &[2, 3, 5]), 70),
    ("4.2.1", "no extension for it, and TLS 1.3 in the old field", |it| {
        it.remove(SUPPORTED_VERSIONS);
        it.version = [3, 4];
    }, 70),
    ("4.2.3", "no signatures", |it| it.set(SIGNATURE_ALGORITHMS, &[0, 0]), 50),
    // The section wants missing_extension. It is refused by rustls, with handshake_failure.
    ("9.2", "no signature_algorithms", |it| it.remove(SIGNATURE_ALGORITHMS), 40),
    ("9.2", "no supported_groups", |it| it.remove(SUPPORTED_GROUPS), 40),
    ("9.2", "no key_share", |it| it.remove(KEY_SHARE), 40),
    ("4.2.7", "no groups", |it| it.set(SUPPORTED_GROUPS, &[0, 0]), 50),
    ("4.2.8", "a share of no bytes", |it| it.share(X25519, &[]), 50),
    ("4.2.8", "two shares of a group", |it| {
        let (_, share) = it.extensions.iter().find(|it| it.0 == KEY_SHARE).unwrap();
        let (length, entries) = share.split_at(2);
        assert!(length[0] == 0 && entries.len() < 128);
        let twice = [&[0, 2 * entries.len() as u8], entries, entries].concat();
        it.set(KEY_SHARE, &twice);
    }, 47),
    ("4.2.8.2", "a share of the wrong length", |it| it.share(X25519, &[9; 31]), 47),
    ("7.4.2", "a share that makes the secret zero", |it| it.share(X25519, &[0; 32]), 47),
    ("4.2.8.2", "a compressed point", |it| {
        it.set(SUPPORTED_GROUPS, &[0, 2, 0, 0x17]);
        it.share(P256, &[2; 33]);
    }, 47),
    ("4.2.8.2", "a point that is not on the curve", |it| {
        it.set(SUPPORTED_GROUPS, &[0, 2, 0, 0x17]);
        it.share(P256, &[4; 65]);
    }, 47),
    ("4.2.9", "a ticket, and no mode for it", |it| {
        it.remove(PSK_KEY_EXCHANGE_MODES);
        it.extensions.push((PRE_SHARED_KEY, STRANGE_TICKET.to_vec()));
    }, 109),
    ("4.2.9", "no modes", |it| it.set(PSK_KEY_EXCHANGE_MODES, &[0]), 50),
    ("4.2.11", "a ticket that is not the last extension", |it| {
        it.extensions.insert(0, (PRE_SHARED_KEY, STRANGE_TICKET.to_vec()));
    }, 47),
    ("4.2.11", "a ticket without its binder", |it| {
        let mut content = STRANGE_TICKET[..24].to_vec();
        content.extend([0, 0]);
        it.extensions.push((PRE_SHARED_KEY, content));
    }, 50),
];

#[rustfmt::skip]
const ALLOWED: &[Oddity] = &[
    ("4.1.2", "no session id", |it| it.session_id.clear()),
    ("4.1.2", "a session id of 32 bytes", |it| it.session_id = vec![7; 32]),
    ("4.1.2", "an unknown suite first", |it| it.suites.splice(..0, [0xfa, 0xfa]).for_each(drop)),
    ("4.2", "an unknown extension", |it| it.set(0xfafa, &[1, 2, 3])),
    ("4.2", "extensions in another order", |it| it.extensions.reverse()),
    ("4.2.1", "an unknown version first", |it| it.set(SUPPORTED_VERSIONS, &[4, 0xfa, 0xfa, 3, 4])),
    ("4.2.1", "any version in the old field", |it| it.version = [3, 1]),
    ("4.2.2", "a cookie that nobody has sent", |it| it.set(44, &[0, 1, 7])),
    ("4.2.9", "an unknown mode first", |it| it.set(PSK_KEY_EXCHANGE_MODES, &[2, 0xfa, 1])),
    ("4.2.11", "a ticket that nobody has issued", |it| {
        it.extensions.push((PRE_SHARED_KEY, STRANGE_TICKET.to_vec()));
    }),
];

fn hello() -> (TlsConfig, Hello) {
    let (config, client_config) = localhost();
    let mut hello = Hello::parse(&Client::new(client_config, "localhost").output());
    // Without a share of another group, which would serve as well.
    let (_, share) = hello.extensions.iter().find(|it| it.0 == KEY_SHARE).unwrap();
    let at = share.windows(4).position(|it| it == [0, 0x1d, 0, 32]).expect("a share of x25519");
    let key = share[at + 4..][..32].to_vec();
    hello.share(X25519, &key);
    (config, hello)
}

fn answer(config: &TlsConfig, bytes: &[u8], piece_bytes: usize) -> (Vec<u8>, String) {
    let mut server = Server::new(config);
    for piece in bytes.chunks(piece_bytes) {
        if server.error.is_none() {
            server.receive(piece);
        }
    }
    (server.output(), format!("{:?}", server.error))
}

#[test]
fn each_forbidden_hello_gets_its_alert() {
    let (config, hello) = hello();
    let mut wrong = Vec::new();
    for (section, what, change, alert) in VIOLATIONS {
        let mut changed = hello.clone();
        change(&mut changed);
        for piece_bytes in [usize::MAX, 7] {
            let (output, error) = answer(&config, &changed.record(), piece_bytes);
            if output != [21, 3, 3, 0, 2, 2, *alert] {
                wrong.push(format!(
                    "{section}, {what}: {:?} {error}",
                    &output[..output.len().min(7)]
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_allowed_hello_is_answered() {
    let (config, hello) = hello();
    for (section, what, change) in ALLOWED {
        let mut changed = hello.clone();
        change(&mut changed);
        let (output, error) = answer(&config, &changed.record(), usize::MAX);
        assert_eq!(output.get(5), Some(&2), "{section}, {what}: {error}, no ServerHello");
    }
}

/// A hello that ends too early, in its own length: at any byte.
#[test]
fn a_hello_that_is_too_short_is_refused() {
    let (config, hello) = hello();
    let message = hello.message();
    for end in 4..message.len() {
        let mut short = message[..end].to_vec();
        let [_, a, b, c] = ((end - 4) as u32).to_be_bytes();
        short[1..4].copy_from_slice(&[a, b, c]);
        let (output, error) = answer(&config, &record_of(22, &short), usize::MAX);
        assert_eq!(output.first(), Some(&21), "{end}: {error}");
    }
}

/// Sections 5, 5.1: in the clear, before and beside the first message.
#[test]
fn records_that_may_not_come_with_a_hello_are_refused() {
    let (config, hello) = hello();
    let (record, message) = (hello.record(), hello.message());
    let mut wrong = Vec::new();
    for (section, what, bytes, alert) in [
        (
            "5",
            "change_cipher_spec before the hello",
            [record_of(20, &[1]), record.clone()].concat(),
            10,
        ),
        // Section 5.1 forbids both and names no alert; section 5.4 has unexpected_message (10) for
        // the same in protected records. rustls says decode_error.
        ("5.1", "a handshake record without content", record_of(22, &[]), 50),
        ("5.1", "an alert without content", record_of(21, &[]), 50),
        ("4", "an unknown message", record_of(22, &[99, 0, 0, 0]), 10),
        ("4", "Finished first", record_of(22, &[&[20, 0, 0, 32][..], &[7; 32]].concat()), 10),
        (
            "5.1",
            "another record between the parts of a hello",
            [record_of(22, &message[..50]), record_of(20, &[1]), record_of(22, &message[50..])]
                .concat(),
            10,
        ),
        (
            "5.1",
            "bytes after a hello in its record",
            record_of(22, &[&message[..], &[11, 0]].concat()),
            10,
        ),
        ("5.1", "two hellos in a record", record_of(22, &message.repeat(2)), 10),
    ] {
        let (output, error) = answer(&config, &bytes, usize::MAX);
        if output != [21, 3, 3, 0, 2, 2, alert] {
            wrong.push(format!("{section}, {what}: {:?} {error}", &output[..output.len().min(7)]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
