//! The header of the PROXY protocol in any pieces: all ways to cut the same bytes come to the same
//! peer or refusal, and nothing is announced that a second reading of the specification does not find.
//!
//! The first byte chooses the beginning and the second one the size of the pieces; the rest follows.

#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use starwheel::{Context, Peer, Request, Response, TrustedPeers, testing::Simulation};

const BEGINNINGS: [&[u8]; 7] = [
    b"",
    b"PROXY ",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 ",
    b"PROXY TCP6 2001:db8::7 ::1 ",
    b"\r\n\r\n\0\r\nQUIT\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0",
];
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const BALANCER: &str = "10.0.0.1:4711";

fuzz_target!(|input: &[u8]| {
    let [beginning, size, rest @ ..] = input else { return };
    let header = [BEGINNINGS[usize::from(*beginning) % BEGINNINGS.len()], rest].concat();
    let bytes = [&header[..], GET].concat();
    let whole = outcome(&bytes, bytes.len());
    for size in [1, usize::from(*size) + 1] {
        assert_eq!(whole, outcome(&bytes, size), "pieces of {size}");
    }
    match reference(&bytes) {
        // Whether a request follows is the business of another target.
        Some((source, length)) if &bytes[length..] == GET => {
            assert_eq!(whole, (200, source.to_string()));
        }
        Some(_) => {}
        None => assert!(whole.0 == 400 || whole.0 == 0, "announced without a header: {whole:?}"),
    }
});

/// The first status, 0 without an answer, and the peer of the first request.
fn outcome(bytes: &[u8], piece_bytes: usize) -> (u16, String) {
    let balancers = TrustedPeers::networks(["10.0.0.0/8"]).unwrap();
    let mut simulation = Simulation::new(|req: &Request, _: &mut Context<'_>| {
        Response::text(req.peer().to_string())
    });
    let peer = Peer::Ip(BALANCER.parse().unwrap());
    let client = simulation.connect_with_proxy_protocol(peer, &balancers);
    for piece in bytes.chunks(piece_bytes) {
        simulation.send(client, piece);
        simulation.turn();
    }
    let answers = simulation.responses(client);
    let Some(answer) = answers.first() else { return (0, String::new()) };
    match answer.status {
        200 => (200, answer.text().to_owned()),
        status => (status, String::new()),
    }
}

/// Whom the header announces, and its length.
fn reference(bytes: &[u8]) -> Option<(SocketAddr, usize)> {
    let balancer = BALANCER.parse().unwrap();
    if bytes.starts_with(b"PROXY ") {
        let length = bytes.iter().take(107).position(|byte| *byte == b'\n')? + 1;
        let line = std::str::from_utf8(&bytes[6..length]).ok()?.strip_suffix("\r\n")?;
        let words: Vec<_> = line.split(' ').collect();
        let source = match words[..] {
            ["UNKNOWN", ..] if !line.contains('\r') => balancer,
            ["TCP4", from, to, from_port, to_port] => {
                let from: Ipv4Addr = from.parse().ok()?;
                to.parse::<Ipv4Addr>().ok()?;
                SocketAddr::new(from.into(), ports(from_port, to_port)?)
            }
            ["TCP6", from, to, from_port, to_port] => {
                let from: Ipv6Addr = from.parse().ok()?;
                to.parse::<Ipv6Addr>().ok()?;
                SocketAddr::new(IpAddr::from(from).to_canonical(), ports(from_port, to_port)?)
            }
            _ => return None,
        };
        return Some((source, length));
    }
    let rest = bytes.strip_prefix(b"\r\n\r\n\0\r\nQUIT\n")?;
    let length = 256 * usize::from(*rest.get(2)?) + usize::from(*rest.get(3)?);
    let block = rest.get(4..4 + length).filter(|_| length <= 4080)?;
    let port = |at: usize| Some(256 * u16::from(*block.get(at)?) + u16::from(*block.get(at + 1)?));
    let source = match rest[..2] {
        [0x21, 0x11] => {
            let address: [u8; 4] = block.get(..12)?[..4].try_into().ok()?;
            SocketAddr::new(address.into(), port(8)?)
        }
        [0x21, 0x21] => {
            let address: [u8; 16] = block.get(..36)?[..16].try_into().ok()?;
            SocketAddr::new(IpAddr::from(address).to_canonical(), port(32)?)
        }
        [0x20 | 0x21, _] => balancer,
        _ => return None,
    };
    Some((source, 16 + length))
}

/// The first of two ports, both as numbers are written.
fn ports(from: &str, to: &str) -> Option<u16> {
    let number = |word: &str| word.parse::<u16>().ok().filter(|it| it.to_string() == word);
    number(to)?;
    number(from)
}
