//! The PROXY protocol, versions 1 and 2: the header in which a load balancer that forwards TCP
//! names the client (HAProxy's `proxy-protocol.txt`).
//!
//! It knows no socket, trust or HTTP. Bytes come in any pieces, and the result does not depend on
//! where they are cut. A header is never guessed: the first byte that cannot belong to one is a
//! [`Fault`].
//!
//! ```text
//! version 1: PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n           at most 107 bytes
//! version 2: signature, version and command, family, length, addresses, TLVs
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Reads the header at the start of a connection.
#[derive(Debug, Default)]
pub(crate) struct HeaderReader {
    /// The part that has arrived; empty, and so without heap memory, while there is none.
    held: Vec<u8>,
}

/// The client of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The balancer itself, for example a health check (`LOCAL`), or a client it cannot name
    /// (`UNKNOWN`, a family other than TCP over IP): the connection keeps its address.
    Unannounced,
    /// The client at this address.
    Address(SocketAddr),
}

/// Why there is no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The first bytes are not those of a header.
    Missing,
    /// It does not follow the specification, or is longer than [`HEADER_BYTES_MAX`].
    Malformed,
}

impl HeaderReader {
    /// Takes the bytes of the header from the start of `input`. `None`: all of it was taken, and
    /// the header is incomplete. After `Some` or a fault the reader is finished.
    ///
    /// Keeps at most [`HEADER_BYTES_MAX`] bytes, and nothing if the header arrives in one piece.
    pub(crate) fn advance(&mut self, input: &mut &[u8]) -> Result<Option<Source>, Fault> {
        if self.held.is_empty() {
            let Some(header) = parse(input)? else {
                self.held.extend_from_slice(input);
                *input = &[];
                return Ok(None);
            };
            *input = &input[header.length_bytes..];
            return Ok(Some(header.source));
        }
        let held_bytes = self.held.len();
        let room_bytes = HEADER_BYTES_MAX.saturating_sub(held_bytes);
        self.held.extend_from_slice(&input[..input.len().min(room_bytes)]);
        let Some(header) = parse(&self.held)? else {
            *input = &[];
            return Ok(None);
        };
        *input = input.get(header.length_bytes.saturating_sub(held_bytes)..).unwrap_or_default();
        Ok(Some(header.source))
    }

    /// Whether a part of the header has arrived.
    pub(crate) fn has_begun(&self) -> bool {
        !self.held.is_empty()
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Header {
    length_bytes: usize,
    source: Source,
}

/// The header at the start of `bytes`; `None` if it is incomplete.
fn parse(bytes: &[u8]) -> Result<Option<Header>, Fault> {
    if begins(bytes, V1_SIGNATURE) {
        parse_v1(bytes)
    } else if begins(bytes, V2_SIGNATURE) {
        parse_v2(bytes)
    } else {
        Err(Fault::Missing)
    }
}

/// Whether `bytes` start with `signature`, or may do so once more bytes arrive.
fn begins(bytes: &[u8], signature: &[u8]) -> bool {
    let length = bytes.len().min(signature.len());
    bytes[..length] == signature[..length]
}

/// Section 2.1: a line of text.
fn parse_v1(bytes: &[u8]) -> Result<Option<Header>, Fault> {
    let window = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(line_end) = memchr::memchr2(b'\r', b'\n', window) else {
        return if window.len() == V1_BYTES_MAX { Err(Fault::Malformed) } else { Ok(None) };
    };
    match &window[line_end..] {
        [b'\r', b'\n', ..] => {}
        [b'\r'] if window.len() < V1_BYTES_MAX => return Ok(None),
        _ => return Err(Fault::Malformed),
    }
    let line = std::str::from_utf8(&window[V1_SIGNATURE.len()..line_end]);
    let source = v1_source(line.map_err(|_| Fault::Malformed)?).ok_or(Fault::Malformed)?;
    Ok(Some(Header { length_bytes: line_end + 2, source }))
}

/// The part after the signature, without the line end.
fn v1_source(line: &str) -> Option<Source> {
    let mut words = line.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        // Everything else up to the line end must be ignored.
        return Some(Source::Unannounced);
    }
    let mut address = || {
        let word = words.next()?;
        match family {
            "TCP4" => word.parse().ok().map(IpAddr::V4),
            // Without a zone: an address in a header has none.
            "TCP6" => word.parse().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let (source, _destination) = (address()?, address()?);
    let (source_port, _destination_port) = (port(words.next()?)?, port(words.next()?)?);
    words.next().is_none().then(|| announced(source, source_port))
}

/// A decimal number without leading zeros.
fn port(word: &str) -> Option<u16> {
    let is_canonical = word.bytes().all(|byte| byte.is_ascii_digit())
        && (word.len() == 1 || !word.starts_with('0'));
    word.parse().ok().filter(|_| is_canonical)
}

/// Section 2.2: 16 bytes, then as many as their length field says.
fn parse_v2(bytes: &[u8]) -> Result<Option<Header>, Fault> {
    let rest = bytes.get(V2_SIGNATURE.len()..).unwrap_or_default();
    let command = match rest.first() {
        None => return Ok(None),
        Some(0x20) => ProxyCommand::Local,
        Some(0x21) => ProxyCommand::Proxy,
        Some(_) => return Err(Fault::Malformed),
    };
    let [_, family, high, low, ref rest @ ..] = *rest else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let length_bytes = V2_SIGNATURE.len() + 4 + length;
    let addresses_bytes = match (command, family) {
        (ProxyCommand::Proxy, TCP_OVER_IPV4) => 12,
        (ProxyCommand::Proxy, TCP_OVER_IPV6) => 36,
        _ => 0,
    };
    if length < addresses_bytes || length_bytes > HEADER_BYTES_MAX {
        return Err(Fault::Malformed);
    }
    // TLVs follow the addresses; they are skipped.
    let Some(block) = rest.get(..length) else { return Ok(None) };
    let source = match (command, family, block) {
        (ProxyCommand::Proxy, TCP_OVER_IPV4, &[a, b, c, d, _, _, _, _, high, low, ..]) => {
            announced(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low]))
        }
        (ProxyCommand::Proxy, TCP_OVER_IPV6, block) => {
            v2_source_ipv6(block).ok_or(Fault::Malformed)?
        }
        _ => Source::Unannounced,
    };
    Ok(Some(Header { length_bytes, source }))
}

/// Source, destination, source port.
fn v2_source_ipv6(block: &[u8]) -> Option<Source> {
    let (address, rest) = block.split_first_chunk::<16>()?;
    let port = rest.get(16..)?.first_chunk::<2>()?;
    Some(announced(Ipv6Addr::from(*address).into(), u16::from_be_bytes(*port)))
}

fn announced(address: IpAddr, port: u16) -> Source {
    Source::Address(SocketAddr::new(address.to_canonical(), port))
}

#[derive(Debug, Clone, Copy)]
enum ProxyCommand {
    Local,
    Proxy,
}

const V1_SIGNATURE: &[u8] = b"PROXY ";
/// The longest line of version 1, its end included.
const V1_BYTES_MAX: usize = 107;
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Address family and transport: `AF_INET` and `AF_INET6` with `STREAM`.
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;
/// For both versions. The protocol allows 64 KiB of TLVs; balancers send some hundred bytes, and
/// nginx accepts as many as this.
const HEADER_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// The result for `bytes` in pieces of this size, and the rest.
    fn read(bytes: &[u8], piece_bytes: usize) -> Result<Option<(Source, Vec<u8>)>, Fault> {
        let mut reader = HeaderReader::default();
        for (number, piece) in bytes.chunks(piece_bytes).enumerate() {
            let mut input = piece;
            if let Some(source) = reader.advance(&mut input)? {
                let rest = [input, &bytes[bytes.len().min((number + 1) * piece_bytes)..]].concat();
                return Ok(Some((source, rest)));
            }
            assert!(input.is_empty() && reader.has_begun());
        }
        Ok(None)
    }

    #[track_caller]
    fn source_of(header: &[u8]) -> Source {
        let whole = [header, b"GET / HTTP"].concat();
        let outcomes = [whole.len(), 1, 2, 3, 7, 16].map(|piece_bytes| read(&whole, piece_bytes));
        for outcome in &outcomes {
            let (source, rest) = outcome.clone().unwrap().expect("a whole header");
            assert_eq!(rest, b"GET / HTTP");
            assert_eq!(Ok(Some((source, rest))), outcomes[0]);
        }
        for end in 0..header.len() {
            assert_eq!(read(&header[..end], header.len()), Ok(None), "{end} bytes of it");
        }
        outcomes[0].clone().unwrap().expect("a header").0
    }

    #[track_caller]
    fn fault_of(bytes: &[u8]) -> Fault {
        let outcomes = [bytes.len(), 1, 2, 3, 7].map(|piece_bytes| read(bytes, piece_bytes));
        let fault = outcomes[0].clone().expect_err("no header");
        for outcome in outcomes {
            assert_eq!(outcome, Err(fault), "{:?}", bytes.escape_ascii().to_string());
        }
        fault
    }

    fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [V2_SIGNATURE, &[command, family], &length, block].concat()
    }

    fn address(text: &str) -> Source {
        Source::Address(text.parse().unwrap())
    }

    #[test]
    fn version_1_announces_an_address() {
        for (line, expected) in [
            ("PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n", "192.0.2.7:4711"),
            ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255:65535"),
            ("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0:0"),
            ("PROXY TCP6 2001:db8::7 ::1 4711 80\r\n", "[2001:db8::7]:4711"),
            ("PROXY TCP6 ::ffff:192.0.2.7 ::ffff:10.0.0.1 4711 80\r\n", "192.0.2.7:4711"),
        ] {
            assert_eq!(source_of(line.as_bytes()), address(expected), "{line}");
        }
        let longest = format!("PROXY TCP6 {0} {0} 65535 65535\r\n", ["ffff"; 8].join(":"));
        assert_eq!(longest.len(), 104);
        source_of(longest.as_bytes());
    }

    #[test]
    fn version_1_may_not_know() {
        let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
        assert_eq!(longest.len(), V1_BYTES_MAX);
        for line in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN TCP4 1.2.3.4\r\n", &longest] {
            assert_eq!(source_of(line.as_bytes()), Source::Unannounced, "{line}");
        }
    }

    #[test]
    fn a_line_that_is_not_exactly_of_version_1_is_refused() {
        for line in [
            "PROXY \r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY UNKNOWNX\r\n",
            "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4\t1 2\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP4 1.2.3.4 ::1 1 2\r\n",
            "PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
            "PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.256 1 2\r\n",
            "PROXY TCP6 [::1] ::1 1 2\r\n",
            "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\rX",
            "PROXY UNKNOWN\n",
            "PROXY UNKNOWN\r\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 \u{a0}2\r\n",
        ] {
            assert_eq!(fault_of(line.as_bytes()), Fault::Malformed, "{line}");
        }
        assert_eq!(fault_of(b"PROXY TCP4 \xff 1.2.3.4 1 2\r\n"), Fault::Malformed);
        let too_long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
        assert_eq!(fault_of(too_long.as_bytes()), Fault::Malformed);
    }

    #[test]
    fn version_2_announces_an_address_and_its_tlvs_are_skipped() {
        let v4 = [192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0, 80];
        assert_eq!(source_of(&v2(0x21, 0x11, &v4)), address("192.0.2.7:4711"));
        let mut v6 = [0; 36];
        v6[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        v6[32..34].copy_from_slice(&[0x12, 0x67]);
        assert_eq!(source_of(&v2(0x21, 0x21, &v6)), address("[2001:db8::7]:4711"));
        v6[..16].copy_from_slice(&"::ffff:192.0.2.7".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(source_of(&v2(0x21, 0x21, &v6)), address("192.0.2.7:4711"));
        for tlvs in [&b"\x01\x00\x02h2"[..], b"\xff", &[b'\n'; 4096 - 16 - 12]] {
            let header = v2(0x21, 0x11, &[&v4, tlvs].concat());
            assert_eq!(source_of(&header), address("192.0.2.7:4711"));
        }
    }

    #[test]
    fn version_2_allows_local_and_families_other_than_tcp() {
        for (command, family) in [
            (0x20, 0x00),
            (0x20, 0x11),
            (0x20, 0xff),
            (0x21, 0x00),
            (0x21, 0x31),
            (0x21, 0x12),
            (0x21, 0xff),
        ] {
            for block in [&[][..], &[1; 12], &[1; 300]] {
                let header = v2(command, family, block);
                assert_eq!(source_of(&header), Source::Unannounced, "{command:x} {family:x}");
            }
        }
    }

    #[test]
    fn a_header_that_is_not_exactly_of_version_2_is_refused() {
        for command in [0x00, 0x01, 0x10, 0x11, 0x22, 0x2f, 0x30, 0x31, 0xff] {
            assert_eq!(fault_of(&v2(command, 0x11, &[1; 12])), Fault::Malformed, "{command:x}");
        }
        assert_eq!(fault_of(&v2(0x21, 0x11, &[1; 11])), Fault::Malformed);
        assert_eq!(fault_of(&v2(0x21, 0x21, &[1; 35])), Fault::Malformed);
        assert_eq!(fault_of(&v2(0x20, 0x00, &[1; 4096 - 15])), Fault::Malformed, "too long");
    }

    #[test]
    fn anything_else_is_no_header() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PROXY\tTCP4",
            b"PROXYTCP4",
            b"POST",
            b"proxy TCP4",
            b"\r\n\r\nGET",
            b"\r\n\r\n\0\r\nQUIT\r",
            b"\0",
            b"\x16\x03\x01",
            b" PROXY ",
            b"\r\nPROXY ",
        ] {
            assert_eq!(fault_of(bytes), Fault::Missing, "{:?}", bytes.escape_ascii().to_string());
        }
    }
}
