//! The address of the client, as trusted proxies report it in a header field.
//!
//! A proxy appends the address of its own peer. A list is therefore read from its end, and only as
//! far as the proxies that wrote it are trusted. Everything before that was sent by the client.

use std::{borrow::Cow, net::IpAddr};

use super::{Peer, Request, TrustedPeers, fields::trim};

/// The header field in which trusted proxies report the client's address; see
/// [`Config::forwarded_field`](crate::Config::forwarded_field).
///
/// Only one field is used, because a proxy that appends to one passes the other one on unchanged
/// from the client.
///
/// ```
/// use starwheel::{Config, ForwardedField};
/// assert_eq!(Config::default().forwarded_field, ForwardedField::XForwardedFor);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ForwardedField {
    /// `X-Forwarded-For: 192.0.2.7, 10.0.0.1`: addresses, with or without a port. nginx, Caddy,
    /// HAProxy and common load balancers write it.
    #[default]
    XForwardedFor,
    /// `Forwarded: for=192.0.2.7, for="[2001:db8::7]:4711";proto=https` (RFC 7239).
    Forwarded,
}

impl Request {
    /// The address of the client, also behind [trusted proxies](crate::Config::trusted_proxies).
    ///
    /// It is the address of [`peer`](Self::peer), unless the peer is a trusted proxy. Then the
    /// [field](ForwardedField) that proxies append to is read from its end, over all of its lines:
    /// trusted addresses are skipped, and the first untrusted one is the client. An entry that is
    /// not an address (`unknown`, a name) ends the search at the last trusted one, as does the
    /// start of the field. IPv4-mapped addresses are returned as IPv4.
    ///
    /// `None` for a Unix socket, unless it is trusted and the field contains an address; also in a
    /// request built by hand. By default no proxy is trusted, and the fields are not read.
    ///
    /// ```
    /// use starwheel::{Config, Method, Peer, Response, Router, TrustedPeers, testing::Simulation};
    /// let router = Router::new().get("/", |req, _cx| match req.client_ip() {
    ///     Some(address) => Response::text(address.to_string()),
    ///     None => Response::no_content(),
    /// });
    /// let mut config = Config::default();
    /// config.trusted_proxies = TrustedPeers::networks(["10.0.0.0/8"])?;
    /// let mut simulation = Simulation::with_config(config, 0, router);
    /// let proxy = simulation.connect_from(Peer::Ip("10.0.0.1:4711".parse().unwrap()));
    /// // The client has sent a line of its own, the proxy has added one.
    /// let fields = [("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-For", "192.0.2.7")];
    /// simulation.request(proxy, Method::Get, "/", &fields, b"");
    /// simulation.turn();
    /// assert_eq!(simulation.response(proxy).text(), "192.0.2.7");
    /// # Ok::<(), starwheel::IpNetworkError>(())
    /// ```
    #[must_use]
    pub fn client_ip(&self) -> Option<IpAddr> {
        self.forwarded_ip.or_else(|| self.peer.ip())
    }

    /// Sets the peer, and determines the client's address. A newly read request has [`Peer::Unix`]:
    /// call this for each one.
    pub(crate) fn set_sender(&mut self, peer: Peer, trusted: &TrustedPeers, field: ForwardedField) {
        self.peer = peer;
        if trusted.contains(peer) {
            self.forwarded_ip = self.walk(trusted, field);
        }
    }

    /// For a client whose peer is not known: nobody has sent what can be trusted.
    #[cfg(feature = "hyper")]
    pub(crate) fn forget_forwarded(&mut self) {
        self.forwarded_ip = None;
    }

    /// The address that the trusted proxies report, if any.
    fn walk(&self, trusted: &TrustedPeers, field: ForwardedField) -> Option<IpAddr> {
        let mut client = None;
        for line in self.header_values(field.name()).rev() {
            let mut rest = line;
            while let Some(entry) = field.take_last(&mut rest) {
                // A proxy may have appended to an empty field (RFC 9110 section 5.6.1).
                if entry.is_empty() {
                    continue;
                }
                let Some(address) = field.address(entry) else { return client };
                client = Some(address);
                if !trusted.contains_ip(address) {
                    return client;
                }
            }
        }
        client
    }
}

impl ForwardedField {
    const fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }

    /// Removes the last entry of a line. Quotes are paired from the end, where trusted proxies
    /// write, so a quote that the client left open cannot swallow their entries.
    fn take_last<'a>(self, rest: &mut &'a [u8]) -> Option<&'a [u8]> {
        let line = *rest;
        if line.is_empty() {
            return None;
        }
        let comma = match self {
            Self::XForwardedFor => memchr::memrchr(b',', line),
            Self::Forwarded => last_unquoted(b',', line),
        };
        let (left, entry) = comma.map_or((&[][..], line), |at| (&line[..at], &line[at + 1..]));
        *rest = left;
        Some(trim(entry))
    }

    /// The address in an entry, if there is one.
    fn address(self, entry: &[u8]) -> Option<IpAddr> {
        match self {
            Self::XForwardedFor => node_address(std::str::from_utf8(entry).ok()?),
            Self::Forwarded => node_address(&node_of(entry)?),
        }
    }
}

/// The value of the one `for` of a `forwarded-element` (RFC 7239 section 4), without its quotes.
fn node_of(element: &[u8]) -> Option<Cow<'_, str>> {
    let (mut node, mut rest) = (None, Some(element));
    while let Some(pairs) = rest {
        let semicolon = last_unquoted(b';', pairs);
        let pair = trim(semicolon.map_or(pairs, |at| &pairs[at + 1..]));
        rest = semicolon.map(|at| &pairs[..at]);
        if pair.is_empty() {
            continue;
        }
        let name_end = memchr::memchr(b'=', pair)?;
        if pair[..name_end].eq_ignore_ascii_case(b"for")
            && node.replace(&pair[name_end + 1..]).is_some()
        {
            return None;
        }
    }
    unquoted(std::str::from_utf8(node?).ok()?)
}

/// The position of the last `separator` that is not inside a quoted string (RFC 9110 section 5.6.4).
fn last_unquoted(separator: u8, text: &[u8]) -> Option<usize> {
    let mut is_quoted = false;
    (0..text.len()).rev().find(|&at| {
        if text[at] == b'"' {
            let escapes = text[..at].iter().rev().take_while(|&&byte| byte == b'\\').count();
            is_quoted ^= escapes % 2 == 0;
        }
        text[at] == separator && !is_quoted
    })
}

fn unquoted(text: &str) -> Option<Cow<'_, str>> {
    let Some(rest) = text.strip_prefix('"') else { return Some(text.into()) };
    let inside = rest.strip_suffix('"')?;
    if !inside.contains(['\\', '"']) {
        return Some(inside.into());
    }
    let (mut plain, mut characters) = (String::new(), inside.chars());
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => characters.next()?,
            '"' => return None,
            _ => character,
        });
    }
    Some(plain.into())
}

/// An address with or without a port; IPv6 with a port in brackets (RFC 7239 section 6).
fn node_address(node: &str) -> Option<IpAddr> {
    let (address, port) = if let Some(rest) = node.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        (IpAddr::V6(address.parse().ok()?), port)
    } else if let Ok(address) = node.parse() {
        (address, "")
    } else {
        let (address, port) = node.split_at(node.find(':')?);
        (IpAddr::V4(address.parse().ok()?), port)
    };
    is_port(port).then(|| address.to_canonical())
}

/// Nothing, or a colon and a number or an obfuscated name (`_x`).
fn is_port(text: &str) -> bool {
    let Some(port) = text.strip_prefix(':') else { return text.is_empty() };
    let is_hidden = port.len() > 1 && port.starts_with('_');
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    is_hidden || is_number
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result for these lines in a server that trusts 10.0.0.0/8 and 2001:db8::/32.
    fn client(field: ForwardedField, lines: &[&str]) -> String {
        let trusted = TrustedPeers::networks(["10.0.0.0/8", "2001:db8::/32"]).unwrap();
        let fields: String =
            lines.iter().map(|line| format!("{}: {line}\r\n", field.name())).collect();
        let mut request =
            Request::parse(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes())
                .unwrap();
        request.set_sender(Peer::Ip(([10, 0, 0, 1], 1).into()), &trusted, field);
        request.client_ip().expect("an address").to_string()
    }

    #[test]
    fn the_client_is_the_last_address_that_is_not_trusted() {
        for (lines, expected) in [
            (&["192.0.2.7"][..], "192.0.2.7"),
            (&["203.0.113.9, 192.0.2.7"], "192.0.2.7"),
            (&["203.0.113.9", "192.0.2.7"], "192.0.2.7"),
            (&["203.0.113.9, 192.0.2.7", "10.0.0.3,10.0.0.2"], "192.0.2.7"),
            (&["203.0.113.9,192.0.2.7\t,\t2001:db8::1"], "192.0.2.7"),
            (&["2001:470::7"], "2001:470::7"),
            (&["::ffff:192.0.2.7"], "192.0.2.7"),
            (&["192.0.2.7, ::ffff:10.0.0.9"], "192.0.2.7"),
            // With ports.
            (&["192.0.2.7:4711"], "192.0.2.7"),
            (&["[2001:470::7]:4711"], "2001:470::7"),
            (&["[2001:470::7]"], "2001:470::7"),
            (&["192.0.2.7, 10.0.0.2:80, [2001:db8::1]:80"], "192.0.2.7"),
            // Empty members are ignored.
            (&["192.0.2.7, ,", "", ",10.0.0.2,"], "192.0.2.7"),
            // Only proxies.
            (&[], "10.0.0.1"),
            (&["", ","], "10.0.0.1"),
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ] {
            assert_eq!(client(ForwardedField::XForwardedFor, lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn an_entry_that_is_no_address_ends_the_walk() {
        for entry in [
            "unknown",
            "_hidden",
            "localhost",
            "-",
            "192.0.2",
            "192.0.2.7.",
            "192.0.2.07",
            "0x7f.1",
            "192.0.2.7:",
            "192.0.2.7:x",
            "192.0.2.7:65536",
            "192.0.2.7:+1",
            "[192.0.2.7]",
            "[::1",
            "::1]",
            "[::1]80",
            "[::1]:",
            "2001:470::7%eth0",
            "\"192.0.2.7\"",
            "for=192.0.2.7",
            "ä",
            "\u{a0}192.0.2.7",
            "192.0.2.7 192.0.2.8",
            "192.0.2.7;",
            "\u{2003}",
        ] {
            let line = format!("203.0.113.9, {entry}, 10.0.0.2");
            assert_eq!(client(ForwardedField::XForwardedFor, &[&line]), "10.0.0.2", "{entry}");
            let lines = ["203.0.113.9", entry];
            assert_eq!(client(ForwardedField::XForwardedFor, &lines), "10.0.0.1", "{entry}");
        }
    }

    #[test]
    fn forwarded_elements_name_the_client_too() {
        for (lines, expected) in [
            (&["for=192.0.2.7"][..], "192.0.2.7"),
            (&["for=203.0.113.9, for=192.0.2.7"], "192.0.2.7"),
            (&["for=203.0.113.9", "For=192.0.2.7;proto=https;by=10.0.0.1"], "192.0.2.7"),
            (&["proto=http; FOR=\"192.0.2.7:80\" , for=\"[2001:db8::1]:_x\""], "192.0.2.7"),
            (&["for=\"[2001:470::7]\""], "2001:470::7"),
            (&["; for=192.0.2.7 ;"], "192.0.2.7"),
            (&["for=\"1\\92.0.2.7\""], "192.0.2.7"),
            (&["by=\"a, for=203.0.113.9; \\\"\";for=192.0.2.7"], "192.0.2.7"),
            (&["for=192.0.2.7;host=\"a\\\\\", for=10.0.0.2"], "192.0.2.7"),
            // Text from the client cannot extend into what the proxy wrote.
            (&["for=\"203.0.113.9, for=192.0.2.7"], "192.0.2.7"),
            (&["for=203.0.113.9\\, for=192.0.2.7"], "192.0.2.7"),
            (&["for=203.0.113.9;x=\"\\, for=192.0.2.7;y=\"\\\"\""], "192.0.2.7"),
            // Elements without an address.
            (&["for=203.0.113.9, for=unknown"], "10.0.0.1"),
            (&["for=203.0.113.9, for=_hidden, for=10.0.0.2"], "10.0.0.2"),
            (&["for=203.0.113.9, proto=https"], "10.0.0.1"),
            (&["for=203.0.113.9, for=192.0.2.7;for=192.0.2.8"], "10.0.0.1"),
            (&["for=203.0.113.9, for"], "10.0.0.1"),
            (&["for=203.0.113.9, for=\"192.0.2.7"], "10.0.0.1"),
            (&["for=203.0.113.9, 192.0.2.7"], "10.0.0.1"),
        ] {
            assert_eq!(client(ForwardedField::Forwarded, lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn only_trusted_peers_are_believed() {
        let trusted = TrustedPeers::networks(["10.0.0.0/8"]).unwrap();
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7\r\n\
              Forwarded: for=203.0.113.9\r\n\r\n";
        let client = |peer, trusted: &TrustedPeers, field| {
            let mut request = Request::parse(head).unwrap();
            request.set_sender(peer, trusted, field);
            request.client_ip().map(|address| address.to_string())
        };
        let [proxy, stranger, mapped] = ["10.0.0.1:1", "11.0.0.1:1", "[::ffff:10.0.0.1]:1"]
            .map(|address| Peer::Ip(address.parse().unwrap()));
        let x_forwarded_for = ForwardedField::XForwardedFor;
        let ip = |text: &str| Some(text.to_owned());
        assert_eq!(client(proxy, &trusted, x_forwarded_for), ip("192.0.2.7"));
        assert_eq!(client(mapped, &trusted, x_forwarded_for), ip("192.0.2.7"));
        assert_eq!(client(proxy, &trusted, ForwardedField::Forwarded), ip("203.0.113.9"));
        assert_eq!(client(stranger, &trusted, x_forwarded_for), ip("11.0.0.1"));
        assert_eq!(client(proxy, &TrustedPeers::none(), x_forwarded_for), ip("10.0.0.1"));
        assert_eq!(client(Peer::Unix, &trusted, x_forwarded_for), None);
        let unix = trusted.clone().and_unix_sockets();
        assert_eq!(client(Peer::Unix, &unix, x_forwarded_for), ip("192.0.2.7"));
    }
}
